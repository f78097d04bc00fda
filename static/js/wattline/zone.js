/**
 * Times of a facility's zone for a chart whose axis knows no zones.
 *
 * plotly shows a number as if it were UTC, so the zone's offset is added. One offset holds for the
 * whole window: on the two days of the year on which the clock changes, the axis follows the new
 * time at once and stays even; adding each point's own offset would fold the line onto itself.
 */

const formats = new Map();

function format(zone) {
  let found = formats.get(zone);
  if (!found) {
    found = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    formats.set(zone, found);
  }
  return found;
}

/** The offset of `zone` from UTC at `time`, in ms; RangeError when the zone is unknown. */
export function zoneOffsetMs(zone, time) {
  const part = {};
  for (const { type, value } of format(zone).formatToParts(time)) part[type] = Number(value);
  const local = Date.UTC(
    part.year,
    part.month - 1,
    part.day,
    part.hour,
    part.minute,
    part.second,
  );
  return local - Math.floor(time / 1000) * 1000;
}

/** The time of day of `time` in `zone`, as `14:05:09`. */
export function timeOfDay(zone, time) {
  const at = new Date(time + zoneOffsetMs(zone, time));
  return at.toISOString().slice(11, 19);
}

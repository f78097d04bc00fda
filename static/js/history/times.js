/** Times of a facility in words, in the language of the page. */

import { civil } from "./calendar.js";

// English pages write days before months, as the rest of the page does.
const named = globalThis.document?.documentElement.lang || "en";
const language = named === "en" ? "en-GB" : named;
const formats = new Map();

function write(zone, time, options) {
  const key = `${zone} ${JSON.stringify(options)}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.DateTimeFormat(language, { timeZone: zone, hourCycle: "h23", ...options });
    formats.set(key, format);
  }
  return format.format(time);
}

const two = (number) => String(number).padStart(2, "0");

/** `14:05` or `14:05:09`. */
export function clock(zone, time, seconds = true) {
  const at = civil(zone, time);
  return `${two(at.hour)}:${two(at.minute)}${seconds ? `:${two(at.second)}` : ""}`;
}

export const day = (zone, time) => write(zone, time, { day: "numeric", month: "short" });
export const date = (zone, time) =>
  write(zone, time, { day: "numeric", month: "short", year: "numeric" });
const month = (zone, time) => write(zone, time, { month: "short" });
const monthOfYear = (zone, time) => write(zone, time, { month: "short", year: "numeric" });

/** An instant: `14:05:09` today, else with its date. */
export function moment(zone, time, now) {
  const is = date(zone, time) === date(zone, now);
  return is ? clock(zone, time) : `${date(zone, time)}, ${clock(zone, time)}`;
}

/** The mark of an axis: its text, and whether something begins there (a day, a year). */
export function mark(zone, time, unit) {
  const at = civil(zone, time);
  const midnight = at.hour === 0 && at.minute === 0 && at.second === 0;
  if (unit === "month") {
    return at.month === 1 ? [monthOfYear(zone, time), true] : [month(zone, time), false];
  }
  if (unit === "day") return [day(zone, time), at.day === 1];
  if (midnight) return [day(zone, time), true];
  return [clock(zone, time, unit === "second"), false];
}

/** The period from `begin` to `end` of a resolution, as the head of what is told about it. */
export function period(zone, begin, end, resolution) {
  if (resolution === "raw") return `${date(zone, begin)}, ${clock(zone, begin)}`;
  if (resolution === "month") return monthOfYear(zone, begin);
  if (resolution === "day") return write(zone, begin, {
    weekday: "short", day: "numeric", month: "short", year: "numeric",
  });
  return `${date(zone, begin)}, ${clock(zone, begin, false)}–${clock(zone, end, false)}`;
}

/** A time for a field of type datetime-local. */
export function field(zone, time) {
  const { year, month: number, day: of } = civil(zone, time);
  return `${String(year).padStart(4, "0")}-${two(number)}-${two(of)}T${clock(zone, time, false)}`;
}

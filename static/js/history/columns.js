/**
 * The answers of the history of a page (`portal/charts/history.py` has the layout), and tracks: what
 * is known of one line of a chart, as readings or as periods.
 *
 * A track has columns of equal length: `begin` and `end` (ms; equal for readings), `mean` (the value
 * of a reading) and, for periods, `low`, `high`, `energy`, `returned`, `last`; NaN is unknown. `gap`
 * has 1 where nothing is known between the entry before and this one.
 */

const TYPES = { u4: Uint32Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
// How long a reading stands for itself where none follows (as that of a live page).
const HELD_MS = 60_000;

export class Track {
  constructor({ raw, begin, end = begin, mean, gap, step = 0, ...more }) {
    Object.assign(this, { raw, begin, end, mean, gap, step }, more);
    this.length = begin.length;
  }

  /** How many entries begin before `time`, or at it. */
  until(time) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.begin[middle] <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The entry that tells of `time`, -1 when none does. */
  entryAt(time) {
    const i = this.until(time) - 1;
    if (i < 0) return -1;
    if (!this.raw) return time < this.end[i] ? i : -1;
    if (i + 1 < this.length && !this.gap[i + 1]) return i;
    return time - this.begin[i] <= Math.max(HELD_MS, 3 * this.step) ? i : -1;
  }

  /**
   * As `entryAt`; the last period goes on for as long again twice, because the one that is running
   * is not known before it is over and counted.
   */
  newestAt(time) {
    const found = this.entryAt(time);
    const last = this.length - 1;
    if (found >= 0 || this.raw || last < 0 || time < this.end[last]) return found;
    return time < this.end[last] + 2 * (this.end[last] - this.begin[last]) ? last : -1;
  }

  /** The value at `time`: that of the reading which holds then, the mean of a period, or null. */
  valueAt(time) {
    const i = this.newestAt(time);
    if (i < 0) return null;
    const value = this.mean[i];
    return Number.isNaN(value) ? null : value;
  }
}

/** @param {ArrayBuffer} buffer */
export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const column = ([type, place, count]) => new TYPES[type](buffer, 4 + length + place, count);
  const tracks = new Map();
  for (const channel of head.channels) {
    const columns = Object.fromEntries(
      Object.entries(channel.columns).map(([name, told]) => [name, column(told)]),
    );
    const track = columns.value ? readings(head, channel, columns) : periods(head, channel, columns);
    tracks.set(`${channel.device}/${channel.number}`, track);
  }
  return { from: head.start, to: head.end, resolution: head.resolution, reason: head.reason, tracks };
}

function marks(places, length) {
  const gap = new Uint8Array(length);
  for (const place of places) gap[place] = 1;
  return gap;
}

function readings(head, channel, { time, value, gap }) {
  const [numerator, denominator] = channel.scale;
  return new Track({
    raw: true,
    step: channel.step,
    begin: Float64Array.from(time, (ms) => head.start + ms),
    mean: Float64Array.from(value, (raw) => (raw * numerator) / denominator),
    gap: marks(gap, time.length),
  });
}

function periods(head, channel, columns) {
  const { length } = columns.begin;
  const known = (name) => columns[name] ?? new Float64Array(length).fill(NaN);
  return new Track({
    raw: false,
    begin: Float64Array.from(columns.begin, (seconds) => head.start + seconds * 1000),
    end: Float64Array.from(columns.end, (seconds) => head.start + seconds * 1000),
    gap: marks(columns.gap, length),
    mean: known("mean"),
    low: known("minimum"),
    high: known("maximum"),
    last: known("last"),
    energy: known("energy"),
    returned: known("returned"),
    coverage: columns.coverage,
  });
}

/**
 * The sum of several tracks; null when one of them is not there. Known where all of them are. The
 * extremes of a sum are not the sum of the extremes: they stay unknown.
 *
 * @param {(Track | undefined)[]} parts
 */
export function total(parts) {
  if (parts.length === 0 || parts.some((part) => !part)) return null;
  if (parts.length === 1) return parts[0];
  return parts.every((part) => part.raw) ? totalReadings(parts) : totalPeriods(parts);
}

function totalReadings(parts) {
  const instants = new Set();
  for (const part of parts) for (const time of part.begin) instants.add(time);
  const begin = [];
  const mean = [];
  const gap = [];
  let broken = 0;
  for (const time of Float64Array.from(instants).sort()) {
    const values = parts.map((part) => part.valueAt(time));
    // A gap in one of them since the last point is one in the sum.
    broken |= parts.some((part) => {
      const i = part.until(time) - 1;
      return i >= 0 && part.gap[i] && part.begin[i] === time;
    });
    if (values.includes(null)) {
      broken = 1;
      continue;
    }
    begin.push(time);
    mean.push(values.reduce((sum, value) => sum + value, 0));
    gap.push(begin.length > 1 && broken ? 1 : 0);
    broken = 0;
  }
  return new Track({
    raw: true,
    step: Math.max(...parts.map((part) => part.step)),
    begin: Float64Array.from(begin),
    mean: Float64Array.from(mean),
    gap: Uint8Array.from(gap),
  });
}

function totalPeriods(parts) {
  const [first, ...others] = parts;
  const rows = [];
  for (let i = 0; i < first.length; i += 1) {
    const row = [i];
    for (const other of others) {
      const k = other.until(first.begin[i]) - 1;
      if (k >= 0 && other.begin[k] === first.begin[i]) row.push(k);
    }
    if (row.length === parts.length) rows.push(row);
  }
  const sum = (name) =>
    Float64Array.from(rows, (row) => row.reduce((all, k, part) => all + parts[part][name][k], 0));
  const begin = Float64Array.from(rows, ([i]) => first.begin[i]);
  const end = Float64Array.from(rows, ([i]) => first.end[i]);
  const unknown = new Float64Array(rows.length).fill(NaN);
  return new Track({
    raw: false,
    begin,
    end,
    gap: Uint8Array.from(begin, (time, i) => (i > 0 && end[i - 1] !== time ? 1 : 0)),
    mean: sum("mean"),
    low: unknown,
    high: unknown,
    last: sum("last"),
    energy: sum("energy"),
    returned: sum("returned"),
    coverage: Float64Array.from(rows, (row) =>
      Math.min(...row.map((k, part) => parts[part].coverage[k])),
    ),
  });
}

/** The readings that a live series holds in [from, to], as a track of its own. */
export function trackOfSeries(series, from, to) {
  const begin = [];
  const mean = [];
  const gap = [];
  const gapMs = series.gapMs;
  let broken = 0;
  for (let i = 0; i < series.length; i += 1) {
    const time = series.times[i];
    if (i > 0 && time - series.times[i - 1] > gapMs) broken = 1;
    if (Number.isNaN(series.values[i])) {
      broken = 1;
      continue;
    }
    if (time < from || time > to) continue;
    begin.push(time);
    mean.push(series.values[i]);
    gap.push(begin.length > 1 && broken ? 1 : 0);
    broken = 0;
  }
  return new Track({
    raw: true,
    step: series.nominalStepMs,
    begin: Float64Array.from(begin),
    mean: Float64Array.from(mean),
    gap: Uint8Array.from(gap),
  });
}

/**
 * The readings of one channel over a moving window, in the order of time however they arrive.
 *
 * Two typed arrays grow by doubling and are trimmed from the front: appending is the ordinary
 * case, a late frame is merged in. A missing sample is kept as NaN, so that it breaks the line.
 */

const FIRST_CAPACITY = 1024;
// Beyond this the oldest readings go, whatever the window: a device that floods cannot fill the
// memory of a page that is left open.
const MAX_POINTS = 50_000;
// So many steps between neighbours are looked at to learn how often a device really measures.
const STEPS_SEEN = 31;
// A step this much longer than the usual one is a gap: one missing sample already is.
const GAP_FACTOR = 1.5;

export class Series {
  /**
   * @param {number} stepMs how often the device is set to measure
   * @param {number} windowMs how long readings are kept
   */
  constructor(stepMs, windowMs) {
    this.nominalStepMs = stepMs;
    this.windowMs = windowMs;
    this.length = 0;
    this.times = new Float64Array(FIRST_CAPACITY);
    this.values = new Float64Array(FIRST_CAPACITY);
  }

  /** The latest reading that is not missing, or null: `{time, value}`. */
  get last() {
    for (let i = this.length - 1; i >= 0; i -= 1) {
      if (!Number.isNaN(this.values[i])) return { time: this.times[i], value: this.values[i] };
    }
    return null;
  }

  /**
   * Add readings; `times` ascending, ms since the Unix epoch. A reading of the same instant is
   * replaced.
   */
  add(times, values) {
    for (let i = 0; i < times.length; i += 1) this.#insert(times[i], values[i]);
    this.#trim();
  }

  #insert(time, value) {
    let at = this.length;
    while (at > 0 && this.times[at - 1] > time) at -= 1;
    if (at > 0 && this.times[at - 1] === time) {
      this.values[at - 1] = value;
      return;
    }
    if (this.length === this.times.length) this.#grow();
    if (at < this.length) {
      this.times.copyWithin(at + 1, at, this.length);
      this.values.copyWithin(at + 1, at, this.length);
    }
    this.times[at] = time;
    this.values[at] = value;
    this.length += 1;
  }

  #grow() {
    const times = new Float64Array(this.times.length * 2);
    const values = new Float64Array(this.times.length * 2);
    times.set(this.times);
    values.set(this.values);
    this.times = times;
    this.values = values;
  }

  #trim() {
    if (this.length === 0) return;
    const oldest = this.times[this.length - 1] - this.windowMs;
    let first = Math.max(0, this.length - MAX_POINTS);
    while (first < this.length && this.times[first] < oldest) first += 1;
    // Moving the rest for every single reading would cost more than keeping a few too many.
    if (first < 64 && this.length - first < MAX_POINTS) return;
    this.times.copyWithin(0, first, this.length);
    this.values.copyWithin(0, first, this.length);
    this.length -= first;
  }

  /** The longest step that is still no gap (ms). */
  get gapMs() {
    const steps = [];
    for (let i = Math.max(1, this.length - STEPS_SEEN); i < this.length; i += 1) {
      steps.push(this.times[i] - this.times[i - 1]);
    }
    steps.sort((a, b) => a - b);
    const usual = steps.length >= 3 ? steps[steps.length >> 1] : 0;
    return GAP_FACTOR * Math.max(usual, this.nominalStepMs);
  }

  /** The value that holds at `time`: the reading at or before it, null across a gap. */
  at(time, gapMs = this.gapMs) {
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= time) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return null;
    const value = this.values[low - 1];
    return time - this.times[low - 1] <= gapMs && !Number.isNaN(value) ? value : null;
  }

  /**
   * The line to draw from `from` to `to`: at most about `maxPoints` points, gaps as null.
   *
   * More readings than that are thinned to the smallest and the largest of each bucket, in their
   * order, so that no peak disappears. Buckets lie on fixed instants: a line that moves on does
   * not flicker.
   *
   * @returns {{x: number[], y: (number | null)[]}} x in ms since the Unix epoch
   */
  line(from, to, maxPoints) {
    let first = 0;
    while (first < this.length && this.times[first] < from) first += 1;
    if (first > 0) first -= 1; // the line comes in from beyond the left edge
    let end = this.length;
    while (end > first && this.times[end - 1] > to) end -= 1;
    const bucketMs = end - first > maxPoints ? Math.ceil((2 * (to - from)) / maxPoints) : 0;
    const gapMs = this.gapMs;
    const x = [];
    const y = [];
    let i = first;
    while (i < end) {
      if (i > first && this.times[i] - this.times[i - 1] > gapMs) {
        x.push(this.times[i - 1] + 1);
        y.push(null);
      }
      if (bucketMs === 0) {
        x.push(this.times[i]);
        y.push(Number.isNaN(this.values[i]) ? null : this.values[i]);
        i += 1;
      } else {
        i = this.#bucket(i, end, bucketMs, gapMs, x, y);
      }
    }
    return { x, y };
  }

  /** Append the extremes of the bucket that starts at reading `i`; the index of what follows. */
  #bucket(i, end, bucketMs, gapMs, x, y) {
    const bucket = Math.floor(this.times[i] / bucketMs);
    let low = i;
    let high = i;
    let next = i;
    while (
      next < end &&
      Math.floor(this.times[next] / bucketMs) === bucket &&
      !Number.isNaN(this.values[next]) &&
      (next === i || this.times[next] - this.times[next - 1] <= gapMs)
    ) {
      if (this.values[next] < this.values[low]) low = next;
      if (this.values[next] > this.values[high]) high = next;
      next += 1;
    }
    if (next === i) {
      x.push(this.times[i]);
      y.push(null);
      return i + 1;
    }
    for (const k of low === high ? [low] : [Math.min(low, high), Math.max(low, high)]) {
      x.push(this.times[k]);
      y.push(this.values[k]);
    }
    return next;
  }
}

// How long a newest value is shown as the current one: an unwatched device reports in batches.
const CURRENT_MS = 60_000;

/** The sum of the newest values of some series, null when one of them has none that still holds. */
export function newestSum(parts, now) {
  let sum = 0;
  for (const part of parts) {
    const last = part?.last ?? null;
    if (last === null || now - last.time > Math.max(CURRENT_MS, 2 * part.gapMs)) return null;
    sum += last.value;
  }
  return parts.length > 0 ? sum : null;
}

/**
 * The sum of several series: a point wherever one of them has one, null where any of them has a
 * gap. Each value holds until the next reading of its channel.
 *
 * @param {Series[]} parts
 * @returns {{x: number[], y: (number | null)[]}}
 */
export function sumLine(parts, from, to, maxPoints) {
  if (parts.length === 0) return { x: [], y: [] };
  if (parts.length === 1) return parts[0].line(from, to, maxPoints);
  const gaps = parts.map((part) => part.gapMs);
  const instants = new Set();
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 1) instants.add(part.times[i]);
  }
  const stepMs = Math.max(...parts.map((part) => part.nominalStepMs));
  const total = new Series(stepMs, to - from + 60_000);
  const times = [...instants].sort((a, b) => a - b);
  const values = times.map((time) => {
    let sum = 0;
    for (const [index, part] of parts.entries()) {
      const value = part.at(time, gaps[index]);
      if (value === null) return NaN;
      sum += value;
    }
    return sum;
  });
  total.add(times, values);
  return total.line(from, to, maxPoints);
}

/**
 * Draws lines, bands and bars of tracks on a canvas: quick enough to follow a finger with three
 * dozen lines, which SVG is not. Numbers in, pixels out; knows nothing of pages.
 */

// The same edges as those of the live charts, so that nothing jumps from one to the other.
export const EDGE = { left: 58, right: 16, top: 10, bottom: 26 };
const GRID_STEPS = [1, 2, 2.5, 5, 10];
const BAR_WIDTH = 0.82;
const BAND_OPACITY = 0.16;

/** Steps of a scale from `low` to `high`, at most about `most`: `{low, high, step}` enclosing both. */
export function scaleOf(low, high, most) {
  const span = high - low || Math.abs(high) || 1;
  const decade = 10 ** Math.floor(Math.log10(span / most));
  const step = decade * GRID_STEPS.find((one) => span / (one * decade) <= most + 1e-9);
  return { low: Math.floor(low / step + 1e-9) * step, high: Math.ceil(high / step - 1e-9) * step, step };
}

/** The lowest and highest value that a line has in a view, `[Infinity, -Infinity]` without any. */
export function extent(track, { from, to }, { bars = false } = {}) {
  let low = Infinity;
  let high = -Infinity;
  const take = (value) => {
    if (value < low) low = value;
    if (value > high) high = value;
  };
  for (let i = Math.max(0, track.until(from) - 1); i < track.length; i += 1) {
    if (track.begin[i] > to) break;
    if (bars) {
      take(0);
      take(track.energy[i]);
      continue;
    }
    take(track.mean[i]);
    if (!track.raw) {
      take(track.low[i]);
      take(track.high[i]);
    }
  }
  return [low, high];
}

export class Plot {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  /** Take the size of the element; false when it has none. */
  #fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = globalThis.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(width * ratio)) this.canvas.width = Math.round(width * ratio);
    if (this.canvas.height !== Math.round(height * ratio)) this.canvas.height = Math.round(height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    Object.assign(this, { width, height });
    return width > 0 && height > 0;
  }

  /** Where a time is, in px from the left. */
  x(time) {
    return EDGE.left + (time - this.from) * this.perMs;
  }

  #y(value) {
    return this.floor - (value - this.low) * this.perUnit;
  }

  #measure() {
    const { from, to } = this.view;
    const { low, high } = this.scale;
    this.from = from;
    this.perMs = (this.width - EDGE.left - EDGE.right) / (to - from);
    this.low = low;
    this.floor = this.height - EDGE.bottom;
    this.perUnit = (this.floor - EDGE.top) / (high - low);
  }

  /**
   * @param {object} picture
   * @param {{from: number, to: number}} picture.view
   * @param {{low: number, high: number, step: number}} picture.scale
   * @param {{time: number, label: string, strong: boolean}[]} picture.ticks
   * @param {(value: number) => string} picture.label of a step of the scale
   * @param {object} picture.look colours and font
   * @param {object[]} picture.lines `{track, colour, bars, band, pale, shift}`
   * @param {{time: number, colour: string, dashed: boolean}[]} picture.rules upright lines
   * @param {[number, number] | null} picture.chosen a span that is being chosen
   */
  draw(picture) {
    Object.assign(this, { view: picture.view, scale: picture.scale });
    if (!this.#fit()) return;
    this.#measure();
    const { context } = this;
    context.clearRect(0, 0, this.width, this.height);
    this.#axes(picture);
    context.save();
    context.beginPath();
    context.rect(EDGE.left, 0, this.width - EDGE.left - EDGE.right, this.height - EDGE.bottom + 1);
    context.clip();
    const bars = picture.lines.filter((line) => line.bars);
    bars.forEach((line, place) => this.#bars(line, place, bars.length));
    const lines = picture.lines.filter((line) => !line.bars);
    for (const line of lines) if (line.band) this.#band(line);
    for (const line of lines) this.#line(line);
    for (const rule of picture.rules) this.#rule(rule);
    if (picture.chosen) this.#chosen(picture.chosen, picture.look);
    context.restore();
  }

  #axes({ ticks, scale, label, look }) {
    const { context } = this;
    const floor = this.height - EDGE.bottom;
    context.font = look.font;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    const count = Math.round((scale.high - scale.low) / scale.step);
    for (let number = 0; number <= count; number += 1) {
      const value = scale.low + number * scale.step;
      const y = Math.round(this.#y(value)) + 0.5;
      context.strokeStyle = Math.abs(value) < scale.step / 1e6 ? look.zero : look.grid;
      context.beginPath();
      context.moveTo(EDGE.left, y);
      context.lineTo(this.width - EDGE.right, y);
      context.stroke();
      context.fillStyle = look.text;
      context.fillText(label(value), EDGE.left - 6, y);
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "center";
    for (const { time, label: text, strong } of ticks) {
      const x = this.x(time);
      if (x < EDGE.left - 0.5 || x > this.width - EDGE.right + 0.5) continue;
      context.strokeStyle = strong ? look.zero : look.grid;
      context.beginPath();
      context.moveTo(Math.round(x) + 0.5, EDGE.top);
      context.lineTo(Math.round(x) + 0.5, floor);
      context.stroke();
      const half = context.measureText(text).width / 2;
      const place = Math.min(Math.max(x, half + 2), this.width - half - 2);
      context.fillStyle = look.text;
      context.fillText(text, place, floor + 17);
    }
  }

  /** Calls `part(first, end)` for each run of entries without a gap that a view touches. */
  #runs(track, shift, part) {
    const { from, to } = this.view;
    let i = Math.max(0, track.until(from - shift) - 1);
    let first = i;
    for (; i < track.length && track.begin[i] + shift <= to; i += 1) {
      const unknown = Number.isNaN(track.mean[i]);
      if (unknown || (i > first && track.gap[i])) {
        if (i > first) part(first, i);
        first = unknown ? i + 1 : i;
      }
    }
    const end = Math.min(track.length, i + 1);
    if (i < track.length && (track.gap[i] || Number.isNaN(track.mean[i]))) part(first, i);
    else if (end > first) part(first, end);
  }

  #line({ track, colour, pale, shift = 0, width = 1.6 }) {
    const { context } = this;
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineJoin = "round";
    context.globalAlpha = pale ? 0.75 : 1;
    context.setLineDash(pale ? [4, 3] : []);
    context.beginPath();
    this.#runs(track, shift, (first, end) => {
      if (track.raw) this.#points(track, shift, first, end);
      else this.#steps(track, shift, first, end);
    });
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  /** Readings, joined; of many in one column of pixels the first, the extremes and the last. */
  #points(track, shift, first, end) {
    const { context, perMs, perUnit, floor, low: base } = this;
    const { begin, mean } = track;
    const offset = EDGE.left + (shift - this.from) * perMs;
    const y = (i) => floor - (mean[i] - base) * perUnit;
    context.moveTo(offset + begin[first] * perMs, y(first));
    let i = first;
    while (i < end) {
      const x = offset + begin[i] * perMs;
      // The readings until the next column of pixels begins.
      const until = begin[i] + (Math.floor(x) + 1 - x) / perMs;
      let low = i;
      let high = i;
      let next = i + 1;
      for (; next < end && begin[next] < until; next += 1) {
        if (mean[next] < mean[low]) low = next;
        if (mean[next] > mean[high]) high = next;
      }
      context.lineTo(x, y(i));
      if (next > i + 1) {
        context.lineTo(x, y(Math.min(low, high)));
        context.lineTo(x, y(Math.max(low, high)));
        context.lineTo(offset + begin[next - 1] * perMs, y(next - 1));
      }
      i = next;
    }
    // A reading alone between two gaps is a dot.
    if (end - first === 1) context.lineTo(offset + begin[first] * perMs + 2, y(first));
  }

  /** The means of periods: level while each lasts. */
  #steps(track, shift, first, end) {
    const { context } = this;
    for (let i = first; i < end; i += 1) {
      const y = this.#y(track.mean[i]);
      if (i === first) context.moveTo(this.x(track.begin[i] + shift), y);
      else context.lineTo(this.x(track.begin[i] + shift), y);
      context.lineTo(this.x(track.end[i] + shift), y);
    }
  }

  #band({ track, colour, shift = 0 }) {
    const { context } = this;
    context.fillStyle = colour;
    context.globalAlpha = BAND_OPACITY;
    context.beginPath();
    this.#runs(track, shift, (first, end) => {
      for (let i = first; i < end; i += 1) {
        if (Number.isNaN(track.low[i])) continue;
        const [x, right] = [this.x(track.begin[i] + shift), this.x(track.end[i] + shift)];
        const [top, bottom] = [this.#y(track.high[i]), this.#y(track.low[i])];
        context.rect(x, top, right - x, Math.max(1, bottom - top));
      }
    });
    context.fill();
    context.globalAlpha = 1;
  }

  #bars({ track, colour, pale, shift = 0 }, place, count) {
    const { context } = this;
    context.fillStyle = colour;
    context.globalAlpha = pale ? 0.35 : 1;
    const zero = this.#y(0);
    for (let i = Math.max(0, track.until(this.view.from - shift) - 1); i < track.length; i += 1) {
      const left = this.x(track.begin[i] + shift);
      if (left > this.width) break;
      const value = track.energy[i];
      if (Number.isNaN(value)) continue;
      const room = this.x(track.end[i] + shift) - left;
      const width = Math.max(1, (room * BAR_WIDTH) / count);
      const x = left + (room * (1 - BAR_WIDTH)) / 2 + place * width;
      const y = this.#y(value);
      context.fillRect(x, Math.min(y, zero), width, Math.max(Math.abs(zero - y), value ? 1 : 0));
    }
    context.globalAlpha = 1;
  }

  #rule({ time, colour, dashed }) {
    const { context } = this;
    const x = Math.round(this.x(time)) + 0.5;
    context.strokeStyle = colour;
    context.lineWidth = 1;
    context.setLineDash(dashed ? [3, 3] : []);
    context.beginPath();
    context.moveTo(x, EDGE.top);
    context.lineTo(x, this.height - EDGE.bottom);
    context.stroke();
    context.setLineDash([]);
  }

  #chosen([a, b], look) {
    const { context } = this;
    context.fillStyle = look.accent;
    context.globalAlpha = 0.14;
    context.fillRect(Math.min(a, b), EDGE.top, Math.abs(b - a), this.height - EDGE.top - EDGE.bottom);
    context.globalAlpha = 1;
  }
}

/**
 * The past in one chart card: canvas above the live chart, values in its legend, a box at the
 * pointer, and the same as a table, as CSV and as a picture.
 */

import { localNumber, prefixOf, readable } from "../wattline/units.js";
import { Track, total } from "./columns.js";
import { EDGE, Plot, extent, scaleOf } from "./plot.js";
import { period } from "./times.js";

const SCALE_EVERY_PX = 44;
const MOST_TOLD = 14;

export class Card {
  /** @param {import("../wattline/chart.js").LiveChart} live its card, lines and legend */
  constructor(live) {
    this.live = live;
    this.frame = live.element.querySelector(".wl-chart");
    this.canvas = document.createElement("canvas");
    this.canvas.className = "wl-past";
    this.canvas.setAttribute("aria-hidden", "true");
    this.tip = document.createElement("div");
    this.tip.className = "wl-tip";
    this.tip.setAttribute("aria-hidden", "true");
    this.tip.hidden = true;
    this.frame.append(this.canvas, this.tip);
    this.plot = new Plot(this.canvas);
    this.made = new WeakMap(); // layer → tracks by line
    this.pointer = null; // px
    this.chosen = null;
    this.kept = null; // the scale while somebody moves the chart
    this.onScreen = true;
    new IntersectionObserver((entries) => {
      this.onScreen = entries.at(-1).isIntersecting;
    }).observe(this.frame);
  }

  /** Channels `device/channel` of the lines that are shown. */
  get channels() {
    return this.live.lines
      .filter((line) => line.shown)
      .flatMap((line) => line.sources.map((source) => source.join("/")));
  }

  get isRegister() {
    return this.live.spec.register;
  }

  #track(layer, index) {
    let tracks = this.made.get(layer);
    if (!tracks) this.made.set(layer, (tracks = new Map()));
    if (!tracks.has(index)) {
      const parts = this.live.lines[index].sources.map((one) => layer.tracks.get(one.join("/")));
      tracks.set(index, total(parts));
    }
    return tracks.get(index);
  }

  /** The lines to draw: of `layer`, and paler those of the period before, moved by `shift`. */
  #lines(layer, view, pale = false, shift = 0) {
    const lines = [];
    for (const [index, line] of this.live.lines.entries()) {
      const track = line.shown && layer ? this.#track(layer, index) : null;
      if (!track) continue;
      const bars = this.isRegister && !track.raw && !track.energy.every(Number.isNaN);
      const since = { from: view.from - shift, to: view.to - shift };
      lines.push({
        index,
        name: line.name,
        colour: this.#colour(index),
        track: this.isRegister && !bars ? growth(track, since) : track,
        bars,
        band: !track.raw && !bars && !pale && !this.isRegister,
        pale,
        shift,
        since,
      });
    }
    return lines;
  }

  #colour(index) {
    const { colorway } = this.live.template.layout;
    return colorway[index % colorway.length];
  }

  /**
   * @param {object} scene
   * @param {{from: number, to: number}} scene.view
   * @param {object | null} scene.layer
   * @param {{layer: object, shift: number} | null} scene.before
   * @param {object[]} scene.ticks
   * @param {number} scene.at the instant whose values the legend shows
   * @param {number} scene.now
   * @param {boolean} scene.moving the scale only grows meanwhile
   * @param {string} scene.accent colour of the instant
   */
  draw(scene) {
    const { view, layer, before, ticks, at, now, accent } = scene;
    this.scene = scene;
    const own = this.#lines(layer, view);
    const former = before ? this.#lines(before.layer, view, true, before.shift) : [];
    const lines = [...former, ...own];
    this.lines = { own, former };
    const scale = this.#scale(lines, scene.moving);
    const { font, xaxis } = this.live.template.layout;
    const most = Math.max(Math.abs(scale.low), Math.abs(scale.high));
    const unit = own[0]?.bars ? "Wh" : this.live.spec.unit;
    const [factor, prefix] = prefixOf(most, unit);
    const suffix = unit === "1" || !unit ? "" : ` ${prefix}${unit}`;
    const digits = Math.max(0, -Math.floor(Math.log10(scale.step / factor) + 1e-9));
    const finer = /^25/.test(String((scale.step / factor) * 10 ** digits * 10)) ? 1 : 0;
    const rules = [{ time: now, colour: xaxis.zerolinecolor, dashed: true }];
    if (at < view.to - (view.to - view.from) * 1e-4) rules.push({ time: at, colour: accent });
    if (this.pointer !== null) {
      rules.push({ time: this.#timeAt(this.pointer, view), colour: font.color, dashed: true });
    }
    this.plot.draw({
      view,
      scale,
      ticks,
      lines,
      rules,
      chosen: this.chosen,
      label: (value) => `${localNumber(value / factor, Math.min(4, digits + finer))}${suffix}`,
      look: {
        font: `${font.size}px ${font.family}`,
        text: font.color,
        grid: xaxis.gridcolor,
        zero: xaxis.zerolinecolor,
        accent,
      },
    });
    this.live.waiting.hidden = own.length > 0 && own.some(({ track }) => touches(track, view));
    this.#showValues(scene);
  }

  #timeAt(x, { from, to }) {
    return from + this.fraction(x) * (to - from);
  }

  /** Where `x` px lie between the left (0) and the right edge (1) of the plot. */
  fraction(x) {
    return (x - EDGE.left) / Math.max(1, this.canvas.clientWidth - EDGE.left - EDGE.right);
  }

  #scale(lines, moving) {
    let [low, high] = [Infinity, -Infinity];
    for (const { track, bars, since } of lines) {
      const [a, b] = extent(track, since, { bars });
      [low, high] = [Math.min(low, a), Math.max(high, b)];
    }
    if (low > high) [low, high] = this.kept ? [this.kept.low, this.kept.high] : [0, 1];
    if (this.live.spec.layout.yaxis.rangemode === "tozero") {
      [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    }
    if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 50, high + Math.abs(low) / 50];
    if (moving && this.kept) {
      // A scale that follows every pixel would make the lines dance.
      [low, high] = [Math.min(low, this.kept.low), Math.max(high, this.kept.high)];
    }
    const room = this.canvas.clientHeight - EDGE.top - EDGE.bottom;
    this.kept = scaleOf(low, high, Math.max(2, Math.round(room / SCALE_EVERY_PX)));
    return this.kept;
  }

  // --- values ---------------------------------------------------------------------------------

  #told(line, time, { newest = false } = {}) {
    const i = newest ? line.track.newestAt(time) : line.track.entryAt(time);
    if (i < 0) return null;
    const value = line.bars ? line.track.energy[i] : line.track.mean[i];
    if (Number.isNaN(value)) return null;
    const { decimals } = this.live.lines[line.index];
    const unit = line.bars ? "Wh" : this.live.spec.unit;
    return { i, value, text: readable(value, unit, line.bars ? 0 : decimals).join(" ") };
  }

  #showValues({ view, at }) {
    const pointed = this.pointer === null ? null : this.#timeAt(this.pointer, view);
    const time = pointed ?? at;
    const newest = pointed === null;
    const texts = new Map(
      this.lines.own.map((line) => [line.index, this.#told(line, time, { newest })?.text]),
    );
    for (const [index, button] of this.live.buttons.entries()) {
      const output = button.querySelector("output");
      const text = texts.get(index) ?? "–";
      if (output.textContent !== text) output.textContent = text;
    }
    this.#showTip(pointed);
  }

  #showTip(time) {
    const rows = time === null ? [] : this.#rows(time);
    this.tip.hidden = rows.length === 0;
    if (rows.length === 0) return;
    const { zone, layer, words } = this.scene;
    const first = this.lines.own.find((line) => line.track.entryAt(time) >= 0);
    const i = first?.track.entryAt(time) ?? -1;
    const head = document.createElement("strong");
    head.textContent = first
      ? period(zone, first.track.begin[i], first.track.end[i], layer.resolution)
      : period(zone, time, time, "raw");
    const list = rows.slice(0, MOST_TOLD).map((row) => rowOf(row));
    const covered = first && !first.track.raw ? first.track.coverage[i] : 1;
    if (covered < 0.995) list.push(note(words.measured.replace("%s", percent(covered))));
    this.tip.replaceChildren(head, ...list);
    const { clientWidth } = this.frame;
    const right = this.pointer > clientWidth / 2;
    this.tip.style.left = right ? "auto" : `${this.pointer + 14}px`;
    this.tip.style.right = right ? `${clientWidth - this.pointer + 14}px` : "auto";
  }

  #rows(time) {
    const rows = [];
    for (const line of this.lines.own) {
      const told = this.#told(line, time);
      if (told) rows.push({ ...line, text: told.text, span: this.#span(line, told.i) });
    }
    for (const line of this.lines.former) {
      const told = this.#told(line, time - line.shift);
      if (told) rows.push({ ...line, text: told.text, span: this.scene.words.before });
    }
    return rows;
  }

  #span(line, i) {
    if (!line.band || Number.isNaN(line.track.low[i])) return "";
    const { decimals } = this.live.lines[line.index];
    const [low, high] = [line.track.low[i], line.track.high[i]].map((value) =>
      readable(value, this.live.spec.unit, decimals).join(" "),
    );
    return `${low} … ${high}`;
  }

  // --- as a table -------------------------------------------------------------------------------

  /**
   * What the view shows, as `{columns: string[], rows: {begin, end, values: (number | null)[]}[]}`;
   * values in the unit of the chart, energies in Wh.
   */
  table() {
    const { view } = this.scene;
    const columns = [];
    const rows = new Map();
    for (const line of this.lines.own) {
      const parts = this.#parts(line);
      for (const [label, column] of parts) {
        columns.push(label);
        const { track } = line;
        for (let i = Math.max(0, track.until(view.from) - 1); i < track.length; i += 1) {
          if (track.begin[i] >= view.to) break;
          if (track.raw ? track.begin[i] < view.from : track.end[i] <= view.from) continue;
          const key = track.begin[i];
          if (!rows.has(key)) rows.set(key, { begin: key, end: track.end[i], values: [] });
          rows.get(key).values[columns.length - 1] = Number.isNaN(column[i]) ? null : column[i];
        }
      }
    }
    const sorted = [...rows.values()].sort((a, b) => a.begin - b.begin);
    for (const row of sorted) {
      row.values = Array.from(columns, (_, i) => row.values[i] ?? null);
    }
    return { columns, rows: sorted };
  }

  #parts({ name, track, bars, band }) {
    const { words } = this.scene;
    const unit = bars ? "Wh" : this.live.spec.unit;
    const of = (what) => [name, what, unit === "1" ? "" : `[${unit}]`].filter(Boolean).join(" ");
    if (bars) return [[of(""), track.energy]];
    if (!band) return [[of(""), track.mean]];
    const parts = [[of(words.mean), track.mean]];
    if (track.low.some((value) => !Number.isNaN(value))) {
      parts.push([of(words.least), track.low], [of(words.most), track.high]);
    }
    return parts;
  }
}

/** A register as what it has grown by since the view began. */
function growth(track, { from, to }) {
  const column = track.raw ? track.mean : track.last;
  let i = track.until(from) - (track.raw ? 0 : 1);
  if (i < 0 || track.begin[i] > to) i = 0;
  while (i < track.length && Number.isNaN(column[i])) i += 1;
  const base = i < track.length ? column[i] : 0;
  const mean = Float64Array.from(column, (value) => value - base);
  const { raw, begin, end, gap, step, coverage } = track;
  const unknown = mean.map(() => NaN);
  return new Track({ raw, begin, end, gap, step, coverage, mean, low: unknown, high: unknown });
}

function touches(track, { from, to }) {
  const i = track.until(to) - 1;
  return i >= 0 && (track.raw ? track.begin[i] >= from : track.end[i] > from);
}

const percent = (part) => `${Math.floor(part * 100)} %`;

function rowOf({ colour, name, text, span, pale }) {
  const row = document.createElement("span");
  row.className = "wl-tip-row";
  const mark = document.createElement("i");
  mark.style.background = colour;
  if (pale) mark.style.opacity = "0.5";
  const value = document.createElement("b");
  value.textContent = text;
  const more = document.createElement("small");
  more.textContent = span;
  row.append(mark, name, value, more);
  return row;
}

function note(text) {
  const element = document.createElement("small");
  element.textContent = text;
  return element;
}

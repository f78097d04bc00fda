/**
 * One live chart: draws the lines of its specification (`portal/charts/live.py`) from the series of
 * their channels, and keeps the legend next to it.
 */

import { newestSum, sumLine } from "./series.js";
import { decimalsOf, prefixOf, readable } from "./units.js";

// plotly is a classic script that defines this global before any module runs.
const { Plotly } = globalThis;

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false };
// More points than this in a line cost time and show nothing more on 1 000 pixels.
export const MAX_POINTS = 500;
const TICK_EVERY_PX = 80;

export class LiveChart {
  /**
   * @param {HTMLElement} element its card: .wl-plot, .wl-waiting and perhaps .wl-legend
   * @param {object} spec
   * @param {(device: number, channel: number) => import("./series.js").Series} seriesOf
   */
  constructor(element, spec, seriesOf) {
    this.spec = spec;
    this.element = element;
    this.plot = element.querySelector(".wl-plot");
    this.waiting = element.querySelector(".wl-waiting");
    this.lines = spec.lines.map((line) => ({
      ...line,
      decimals: decimalsOf(line.resolution),
      parts: line.sources.map(([device, channel]) => seriesOf(device, channel)),
    }));
    this.devices = new Set(spec.lines.flatMap((line) => line.sources.map(([device]) => device)));
    this.visible = true; // and drawn once before the observer has its first say
    this.dirty = true;
    this.empty = true;
    this.drawnAt = -Infinity;
    this.#readLegend();
    new IntersectionObserver(
      (entries) => {
        this.visible = entries.at(-1).isIntersecting;
      },
      { rootMargin: "300px 0px" },
    ).observe(element);
  }

  #readLegend() {
    this.buttons = [...this.element.querySelectorAll(".wl-legend button")];
    for (const [index, button] of this.buttons.entries()) {
      button.addEventListener("click", () => {
        const line = this.lines[index];
        line.shown = !line.shown;
        button.setAttribute("aria-pressed", String(line.shown));
        this.dirty = true;
      });
    }
  }

  /** Take over a plotly template: the page changed between light and dark. */
  setTheme(template) {
    this.template = template;
    for (const [index, button] of this.buttons.entries()) {
      button.style.setProperty("--wl-series", this.#colour(index));
    }
    this.dirty = true;
  }

  #colour(index) {
    const { colorway } = this.template.layout;
    return colorway[index % colorway.length];
  }

  /** The newest value of line `index` at `now`, null when there is none that still holds. */
  latest(index, now) {
    return newestSum(this.lines[index].parts, now);
  }

  /**
   * Draw the window [from, to] (ms since the Unix epoch); `zoneOffset` (ms) makes plotly, which
   * knows no zones, show the facility's time.
   */
  draw(from, to, zoneOffset) {
    this.dirty = false;
    const { layout, unit, register } = this.spec;
    let points = 0; // of all lines
    let most = 0; // of those that are shown
    const drawn = this.lines.map((line) => {
      const { x, y } = sumLine(line.parts, from, to, MAX_POINTS);
      points += x.length;
      const base = register ? (y.find((value) => value !== null) ?? 0) : 0;
      const values = base ? y.map((value) => (value === null ? null : value - base)) : y;
      if (line.shown) for (const value of values) most = Math.max(most, Math.abs(value ?? 0));
      return { x, y: values };
    });
    // plotly would write "10kW": values are brought to the prefix here, the unit stands apart.
    const [factor, prefix] = prefixOf(most, unit);
    const suffix = unit === "1" || !unit ? "" : ` ${prefix}${unit}`;
    const data = this.lines.map((line, index) => {
      const { x, y } = drawn[index];
      return {
        type: "scatter",
        mode: "lines",
        name: line.name,
        x: x.map((time) => time + zoneOffset),
        y: factor === 1 ? y : y.map((value) => (value === null ? null : value / factor)),
        hovertemplate: `%{y:.5~r}${suffix}`,
        visible: line.shown,
        connectgaps: false,
        line: { color: this.#colour(index), width: 1.6 },
      };
    });
    if (this.spec.fill) data.push(this.#area(data[0]));
    this.empty = points === 0;
    this.waiting.hidden = !this.empty;
    Plotly.react(
      this.plot,
      data,
      {
        ...layout,
        template: this.template,
        meta: { factor },
        xaxis: {
          ...layout.xaxis,
          nticks: Math.max(3, Math.round(this.plot.clientWidth / TICK_EVERY_PX)),
          range: [from + zoneOffset, to + zoneOffset],
        },
        yaxis: { ...layout.yaxis, ticksuffix: suffix },
      },
      CONFIG,
    );
    for (const [index, button] of this.buttons.entries()) {
      const value = this.#shownValue(index, drawn[index].y, to);
      button.querySelector("output").textContent =
        value === null ? "–" : readable(value, unit, this.lines[index].decimals).join(" ");
    }
  }

  /** The area below a line. plotly would fill gaps, too: here it goes down to zero at their edges. */
  #area({ x, y }) {
    const corners = { x: [], y: [] };
    const put = (time, value) => {
      corners.x.push(time);
      corners.y.push(value);
    };
    for (const [i, value] of y.entries()) {
      if (value === null) continue;
      if (i > 0 && y[i - 1] === null) put(x[i], 0);
      put(x[i], value);
      if (i + 1 < y.length && y[i + 1] === null) put(x[i], 0);
    }
    return {
      type: "scatter",
      mode: "lines",
      ...corners,
      hoverinfo: "skip",
      line: { width: 0 },
      fill: "tozeroy",
      fillcolor: `${this.#colour(0)}1f`,
    };
  }

  #shownValue(index, y, now) {
    const latest = this.latest(index, now);
    if (latest === null || !this.spec.register) return latest;
    return y.findLast((value) => value !== null) ?? null;
  }
}

/**
 * The bar of time above the charts: where the page is in time, and the controls that lead elsewhere.
 */

import { civil, instantOf, shifted } from "./calendar.js";
import { SPEEDS } from "./playback.js";
import { date, field, moment } from "./times.js";

const REACH_MS = { "6h": 6 * 3_600_000, "24h": 86_400_000, "7d": 7 * 86_400_000 };

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export class Bar {
  /** @param {HTMLElement} element @param {object} handlers */
  constructor(element, handlers) {
    Object.assign(this, { element, handlers });
    const part = (what) => element.querySelector(`[data-time="${what}"]`);
    this.parts = Object.fromEntries(
      ["state", "detail", "period", "slider", "reach", "speed", "pause", "play", "live", "custom",
        "compare", "trouble", "former", "next"].map((what) => [what, part(what)]),
    );
    this.isSliding = false;
    this.#listen(part);
  }

  #listen(part) {
    const { parts, handlers } = this;
    parts.period.addEventListener("change", () => this.#chosen(parts.period.value));
    parts.former.addEventListener("click", () => handlers.onStep(-1));
    parts.next.addEventListener("click", () => handlers.onStep(1));
    part("nearer").addEventListener("click", () => handlers.onZoom(2));
    part("further").addEventListener("click", () => handlers.onZoom(0.5));
    parts.pause.addEventListener("click", () => {
      handlers.onPause();
      parts.play.hidden || parts.play.focus();
    });
    parts.play.addEventListener("click", () => {
      handlers.onPlay(this.speed);
      parts.pause.hidden || parts.pause.focus();
    });
    parts.speed.addEventListener("change", () => handlers.onSpeed(this.speed));
    parts.live.addEventListener("click", () => {
      handlers.onLive();
      parts.pause.focus();
    });
    parts.compare.addEventListener("click", () => {
      handlers.onCompare(parts.compare.getAttribute("aria-pressed") !== "true");
    });
    parts.slider.addEventListener("input", () => {
      this.isSliding = true;
      handlers.onRewind(this.now + Number(parts.slider.value) * 1000);
    });
    parts.slider.addEventListener("change", () => {
      this.isSliding = false;
    });
    parts.custom.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  get speed() {
    const speed = Number(this.parts.speed.value);
    return SPEEDS.includes(speed) ? speed : 1;
  }

  #chosen(value) {
    const isCustom = value === "custom";
    this.parts.custom.hidden = !isCustom;
    if (!isCustom) {
      this.handlers.onPreset(value);
      return;
    }
    const { zone } = this.handlers;
    const { from, to } = this.state?.view ?? { from: this.now - 3_600_000, to: this.now };
    this.parts.custom.elements.from.value = field(zone, from);
    this.parts.custom.elements.to.value = field(zone, to);
    this.parts.custom.elements.from.focus();
  }

  #submit() {
    const { from, to } = this.parts.custom.elements;
    const [a, b] = [from.value, to.value].map((text) => this.#instant(text));
    const sentence =
      a === null || b === null
        ? this.handlers.words.no_time
        : a >= b
          ? this.handlers.words.empty_period
          : "";
    to.setCustomValidity(sentence);
    if (sentence) {
      to.reportValidity();
      to.addEventListener("input", () => to.setCustomValidity(""), { once: true });
      return;
    }
    this.parts.custom.hidden = true;
    this.handlers.onPeriod({ from: a, to: b });
  }

  /** The instant of a field of type datetime-local in the facility's zone. */
  #instant(text) {
    const found = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)/.exec(text);
    if (!found) return null;
    const [year, month, day, hour, minute] = found.slice(1).map(Number);
    return instantOf(this.handlers.zone, year, month, day, hour, minute);
  }

  /**
   * @param {object} state mode, view, name, at, pausedAt, now, comparing, speed, layer, loading,
   *   trouble
   */
  show(state) {
    const { parts } = this;
    this.state = state;
    this.now = state.now;
    const isLive = state.view === null;
    this.element.dataset.mode = isLive ? "live" : state.mode;
    parts.state.dataset.state = isLive ? "live" : state.mode === "play" ? "partly" : "past";
    setText(parts.state, this.#label(state));
    setText(parts.detail, isLive ? "" : this.#detail(state));
    setText(parts.trouble, state.trouble);
    this.element.toggleAttribute("data-loading", Boolean(state.loading));
    const isMoving = isLive || state.mode === "play";
    parts.pause.hidden = !isMoving;
    parts.play.hidden = isMoving;
    parts.live.disabled = isLive;
    parts.former.disabled = isLive;
    parts.next.disabled = isLive || shifted(this.handlers.zone, state.view, 1).from > state.now;
    parts.compare.setAttribute("aria-pressed", String(state.comparing));
    const value = isLive ? "live" : (state.name ?? "other");
    if (parts.custom.hidden && parts.period.value !== value) parts.period.value = value;
    this.#slide(state);
  }

  #slide({ view, at, now }) {
    const { slider, reach } = this.parts;
    const length = REACH_MS[reach.value] ?? REACH_MS["24h"];
    const least = String(-length / 1000);
    if (slider.min !== least) slider.min = least;
    const value = view === null ? 0 : Math.max(-length, Math.min(0, at - now)) / 1000;
    if (!this.isSliding) slider.value = String(Math.round(value));
    const { zone, words } = this.handlers;
    const text = view === null ? words.now : moment(zone, at, now);
    if (slider.getAttribute("aria-valuetext") !== text) slider.setAttribute("aria-valuetext", text);
  }

  #label({ mode, view, name, pausedAt, speed, now }) {
    const { words, strings, zone } = this.handlers;
    if (view === null) return strings.live;
    if (mode === "play") return words.replay.replace("%s", speed);
    if (name) return words.presets[name];
    if (pausedAt !== null) return words.paused.replace("%s", moment(zone, pausedAt, now));
    return this.#span(view);
  }

  /** A period in words: full days by their dates. */
  #span({ from, to }) {
    const { zone } = this.handlers;
    const isDay = (time) => {
      const { hour, minute, second } = civil(zone, time);
      return hour + minute + second === 0;
    };
    if (!isDay(from) || !isDay(to)) return `${moment(zone, from, null)} – ${moment(zone, to, null)}`;
    const last = date(zone, to - 1);
    return date(zone, from) === last ? last : `${date(zone, from)} – ${last}`;
  }

  #detail({ mode, view, name, at, layer, now }) {
    const { words, zone } = this.handlers;
    const parts = [];
    if (mode === "play") parts.push(moment(zone, at, now));
    else if (name) parts.push(this.#span(view));
    if (layer) parts.push(words.resolutions[layer.resolution]);
    if (mode !== "play") parts.push(words.values_of.replace("%s", moment(zone, at, now)));
    return parts.join(" · ");
  }
}

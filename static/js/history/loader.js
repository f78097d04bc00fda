/**
 * Keeps what the charts need: asks for the period that is looked at with a margin, gives what is
 * there until the finer has come, and drops a question that has been overtaken.
 */

import { HOUR } from "./calendar.js";
import { decode } from "./columns.js";

const LAYERS_KEPT = 12;
const ASK_AFTER_MS = 90;
// Points that a view is worth: 365 days of a year, but not its hours.
const POINTS = 300;
// Up to here all readings of a few channels are quick to read, and are drawn as they are.
const SHORT_MS = 6 * HOUR;
const ALL_POINTS = 8_000;
// A curve that was thinned has at least so much of the points that were asked for.
const THINNED_HAS = 0.7;
const MARGIN = 0.25;
// A layer that was asked for more than this many times the view would show too little of it.
const TOO_COARSE = 3;

/** What to ask of the server for a view: `{from, to, points}` in full quarters of an hour. */
export function questionOf(view) {
  const span = view.to - view.from;
  const quarter = HOUR / 4;
  const from = Math.floor((view.from - MARGIN * span) / quarter) * quarter;
  const to = Math.ceil((view.to + MARGIN * span) / quarter) * quarter;
  const points = span <= SHORT_MS ? ALL_POINTS : Math.round((POINTS * (to - from)) / span);
  return { from, to, points };
}

const covers = (layer, view) => layer.from <= view.from && layer.to >= view.to;
const overlap = (layer, view) =>
  Math.max(0, Math.min(layer.to, view.to) - Math.max(layer.from, view.from));

/** Whether a layer says all about a view that the server would say. */
export function suffices(layer, view) {
  if (!covers(layer, view)) return false;
  if (!layer.complete && view.to - view.from <= SHORT_MS && layer.points < ALL_POINTS) return false;
  return layer.complete || layer.to - layer.from <= TOO_COARSE * (view.to - view.from);
}

/** The layer to draw: the finest that covers the view, or else the one that covers most of it. */
export function best(layers, view) {
  let found = null;
  for (const layer of layers) {
    if (found === null || better(layer, found, view)) found = layer;
  }
  return found !== null && overlap(found, view) > 0 ? found : null;
}

function better(one, other, view) {
  const [a, b] = [overlap(one, view), overlap(other, view)];
  if (Math.abs(a - b) > 1) return a > b;
  if (one.complete !== other.complete) return one.complete;
  const [x, y] = [one.to - one.from, other.to - other.from];
  return x === y ? one.at >= other.at : x < y;
}

export class Loader {
  #timer = null;
  #abort = null;
  #asked = null;
  #count = 0;

  /**
   * @param {object} options
   * @param {string} options.address of the history of the page
   * @param {() => string[]} options.channels keys `device/channel` that are needed
   * @param {() => void} options.onChange something has come, or is on its way
   * @param {(text: string) => void} options.onTrouble why nothing comes
   */
  constructor({ address, channels, onChange, onTrouble }) {
    Object.assign(this, { address, channels, onChange, onTrouble });
    this.layers = [];
  }

  get isLoading() {
    return this.#asked !== null;
  }

  /** Take in what is known without asking, like the readings of a live page. */
  add(layer) {
    this.#count += 1;
    this.layers.push({ at: this.#count, ...layer });
    if (this.layers.length > LAYERS_KEPT) this.layers.shift();
  }

  /** The layers that have all channels that are needed. */
  usable(channels = this.channels()) {
    return this.layers.filter((layer) => channels.every((key) => layer.tracks.has(key)));
  }

  best(view) {
    return best(this.usable(), view) ?? best(this.layers, view);
  }

  /** See to it that `view` can be shown; `fresh` asks although something is there already. */
  want(view, { fresh = false } = {}) {
    const channels = this.channels();
    if (channels.length === 0) return;
    if (!fresh && this.usable(channels).some((layer) => suffices(layer, view))) {
      this.#forget();
      return;
    }
    const question = questionOf(view);
    const key = `${question.from} ${question.to} ${question.points} ${channels.join()}`;
    if (this.#asked?.key === key) return;
    this.#forget();
    this.#asked = { key };
    this.#timer = setTimeout(() => this.#ask(question, channels, key), ASK_AFTER_MS);
  }

  #forget() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#abort = null;
    this.#asked = null;
  }

  async #ask({ from, to, points }, channels, key) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const named = channels.map((one) => one.replace("/", ".")).join(",");
    const query = new URLSearchParams({ channels: named, from, to, points });
    try {
      const answer = await fetch(`${this.address}?${query}`, { signal });
      if (signal.aborted) return;
      if (!answer.ok || answer.redirected) {
        this.onTrouble(await trouble(answer));
      } else {
        const layer = decode(await answer.arrayBuffer());
        if (signal.aborted) return;
        this.onTrouble("");
        this.add({ ...layer, points, complete: isComplete(layer, points) });
      }
    } catch (error) {
      if (signal.aborted) return;
      this.onTrouble(error instanceof TypeError ? "offline" : String(error));
    }
    if (this.#asked?.key === key) this.#asked = null;
    this.onChange();
  }
}

/** Whether a layer has every reading: so few that they were not thinned. */
export function isComplete({ resolution, tracks }, points) {
  const few = THINNED_HAS * points - 4;
  return resolution === "raw" && [...tracks.values()].every((track) => track.length < few);
}

async function trouble(answer) {
  if (answer.redirected || answer.status === 403) return "ended";
  if (answer.status !== 400) return "offline";
  const { text } = await answer.json();
  return text;
}

/**
 * Where a live page is in time, and what it draws then: back, forth, nearer, further, and playing
 * what has been. The live page of `../wattline/live.js` goes on beneath and is there again at once.
 */

import { charts, clock, page, scheduleDraw, setPast } from "../wattline/live.js";
import { put } from "../wattline/numbers.js";
import { marksOf } from "./axis.js";
import { shifted } from "./calendar.js";
import { Card } from "./card.js";
import { Loader, suffices } from "./loader.js";
import { liveLayer, needed } from "./needs.js";
import { Playback } from "./playback.js";

export const { zone, strings, window_ms: windowMs } = page;
export const words = page.history;
const LEAST_MS = 10_000;
const MOST_MS = 20 * 366 * 86_400_000;
const EARLIEST = Date.UTC(1971, 0, 2);
// Played readings are fetched for so long a time of watching ahead.
const AHEAD_MS = 10_000;
// A view that reaches up to now is taken anew so often.
export const FRESH_MS = 15_000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

export const playback = new Playback();
export const cards = charts.map((chart) => new Card(chart));
let view = null; // {from, to}, null while live
let name = null; // of the preset that `view` is
let home = null; // the view to go back to
let comparing = false;
let moving = false;
let trouble = "";
let scheduled = false;
let accent = "";
let pushed = false; // whether the address of this movement is in the history of the browser

/** Who keeps the address of the page, and who shows where it is: set by `main.js`. */
export const hooks = { remember() {}, show() {} };

/** What the address tells: `view` is null while live. */
export const place = () => ({ view, name, comparing });

export function compare(on) {
  comparing = on;
}

/** What comes now is a step of its own in the history of the browser. */
export function newStep() {
  pushed = false;
}

// --- what is needed -------------------------------------------------------------------------

const options = {
  address: page.history.address,
  channels: () => needed(cards),
  onChange: () => schedule(),
  onTrouble: (code) => {
    trouble = { offline: words.no_connection, ended: strings.not_allowed }[code] ?? code;
  },
};
export const loader = new Loader(options);
const before = new Loader(options);

/** What is asked for: the view, and what is played next. */
function wanted() {
  if (playback.mode !== "play") return view;
  return { from: view.from, to: view.to + playback.speed * AHEAD_MS };
}

const former = () => shifted(zone, view, -1);

export function load({ fresh = false } = {}) {
  if (!view) return;
  const now = clock.now();
  loader.want(wanted(), { fresh: fresh && view.to > now - FRESH_MS && view.from < now });
  if (comparing) before.want(former());
}

// --- modes ----------------------------------------------------------------------------------

const shownAt = () => playback.at ?? Math.min(view ? view.to - 1 : Infinity, clock.now());

const past = {
  sum(names) {
    const at = shownAt();
    const layer = view && loader.best(view);
    let sum = 0;
    for (const key of names) {
      const value = layer?.tracks.get(key)?.valueAt(at) ?? null;
      if (value === null) return null;
      sum += value;
    }
    return sum;
  },
};

export function takeAccent() {
  accent = getComputedStyle(document.documentElement).getPropertyValue("--wl-accent");
}

function enter() {
  if (document.body.dataset.time === "past") return;
  document.body.dataset.time = "past";
  for (const card of cards) {
    card.live.waiting.dataset.live ??= card.live.waiting.textContent;
    card.live.waiting.textContent = words.nothing;
  }
  put("latency", "–");
  takeAccent();
  setPast(past);
}

export function leave() {
  playback.live();
  view = null;
  home = null;
  name = null;
  comparing = false;
  trouble = "";
  delete document.body.dataset.time;
  delete document.body.dataset.resolution;
  for (const card of cards) {
    card.live.waiting.textContent = card.live.waiting.dataset.live ?? "";
    card.tip.hidden = true;
    card.kept = null;
  }
  setPast(null);
}

/** Show a view; `at` is the instant whose values are told, null for the last. */
export function show(next, { preset = null, at = null, isHome = true } = {}) {
  enter();
  view = bounded(next);
  name = preset;
  if (isHome) home = { view, name };
  playback.still(at);
  load();
  schedule();
}

function bounded({ from, to }) {
  const span = Math.min(MOST_MS, Math.max(LEAST_MS, to - from));
  const latest = Math.max(clock.now() + span / 2, home?.view.to ?? -Infinity);
  const start = Math.min(Math.max(from, EARLIEST), latest - span / 2);
  return { from: start, to: start + span };
}

/** The live page becomes the past: its readings are there already. */
export function freeze() {
  if (view) return;
  const now = clock.now();
  loader.add(liveLayer(now - windowMs, now));
  show({ from: now - windowMs, to: now }, { at: now });
}

export function backToLive() {
  leave();
  hooks.remember("push");
  schedule();
}

export function pause() {
  if (!view) freeze();
  else playback.still(shownAt());
  hooks.remember("push");
  schedule();
}

export function play(speed) {
  if (!view) freeze();
  let at = shownAt();
  // From the end of what is shown there is nothing to play: it begins anew.
  if (at >= view.to - 1 && at >= clock.now() - 2_000) at = view.from;
  playback.play(at, speed, performance.now());
  name = null;
  hooks.remember("replace");
  follow();
}

/** Rewind to an instant; a view that is longer than what there is to choose from stays. */
export function rewind(at) {
  if (!view) freeze();
  if (playback.mode === "play") playback.play(at, playback.speed, performance.now());
  else playback.still(at);
  name = null;
  if (at < view.from || at > view.to) {
    const span = view.to - view.from;
    view = { from: at - span, to: at };
    home = { view, name };
  }
  load();
  schedule();
  hooks.remember("replace");
}

// --- playing --------------------------------------------------------------------------------

let playing = false;

function follow() {
  if (playing) return;
  playing = true;
  step();
}

function step() {
  playback.tick(performance.now(), clock.now());
  if (playback.mode === "live") {
    backToLive();
  } else if (playback.mode === "play") {
    const span = view.to - view.from;
    if (playback.at > view.to || playback.at < view.from) {
      view = { from: playback.at - span, to: playback.at };
      home = { view, name };
    }
    load();
    schedule();
  }
  playing = playback.mode === "play";
  if (!playing) return;
  if (calm.matches) setTimeout(step, 250);
  else requestAnimationFrame(step);
}

// --- drawing --------------------------------------------------------------------------------

export function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

function draw() {
  scheduled = false;
  const now = clock.now();
  if (view) {
    const layer = loader.best(view);
    const shift = comparing ? view.from - former().from : 0;
    const earlier = comparing ? before.best(former()) : null;
    const marks = marksOf(zone, view);
    for (const card of cards) {
      // Those beside the screen are drawn once it stands still.
      if (!card.live.visible || (moving && !card.onScreen)) continue;
      card.draw({
        view, layer, zone, words, now, moving, accent,
        before: earlier && { layer: earlier, shift },
        ticks: marks(card.canvas.clientWidth),
        at: shownAt(),
      });
    }
    scheduleDraw();
    document.body.dataset.resolution = layer?.resolution ?? "";
  }
  hooks.show({
    mode: playback.mode, view, name, at: view && shownAt(), pausedAt: playback.at, now, comparing,
    speed: playback.speed, layer: view && loader.best(view),
    loading: loader.isLoading && !(view && suffices(loader.best(view) ?? { from: 0, to: 0 }, view)),
    trouble,
  });
}

// --- moving ---------------------------------------------------------------------------------

export function move(by) {
  const step = (view.to - view.from) * by;
  view = bounded({ from: view.from + step, to: view.to + step });
  adjusted();
}

export function zoom(factor, around) {
  const at = view.from + (view.to - view.from) * Math.min(1, Math.max(0, around));
  const span = Math.min(MOST_MS, Math.max(LEAST_MS, (view.to - view.from) / factor));
  const from = at - (at - view.from) * (span / (view.to - view.from));
  view = bounded({ from, to: from + span });
  adjusted();
}

function adjusted() {
  name = null;
  if (playback.at !== null && (playback.at < view.from || playback.at > view.to)) {
    if (playback.mode === "play") playback.play(view.from, playback.speed, performance.now());
    else playback.still(null);
  }
  load();
  schedule();
}

export function begin() {
  freeze();
  moving = true;
}

export function settle() {
  moving = false;
  hooks.remember(pushed ? "replace" : "push");
  pushed = true;
  schedule();
}

export function reset() {
  if (!home) return;
  show(home.view, { preset: home.name });
  hooks.remember("replace");
}

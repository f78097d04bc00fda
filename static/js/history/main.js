/**
 * Time on a live page: back, forth, nearer, further, and playing what has been; the live page of
 * `../wattline/live.js` goes on beneath and is there again at once. All texts come from the page.
 */

import { channels, charts, clock, page, scheduleDraw, setPast } from "../wattline/live.js";
import { put } from "../wattline/numbers.js";
import { read, written } from "./address.js";
import { Bar } from "./bar.js";
import { periodOf, shifted, ticks } from "./calendar.js";
import { Card } from "./card.js";
import { trackOfSeries } from "./columns.js";
import { listen } from "./gestures.js";
import { Loader, suffices } from "./loader.js";
import { Playback } from "./playback.js";
import { offerSaving } from "./menu.js";
import { mark } from "./times.js";

const { zone, strings, window_ms: windowMs } = page;
const words = page.history;
const LEAST_MS = 10_000;
const MOST_MS = 20 * 366 * 86_400_000;
const EARLIEST = Date.UTC(1971, 0, 2);
const TICK_EVERY_PX = 80;
// Played readings are fetched for so long a time of watching ahead.
const AHEAD_MS = 10_000;
// A view that reaches up to now is taken anew so often.
const FRESH_MS = 15_000;
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const playback = new Playback();
const cards = charts.map((chart) => new Card(chart));
let view = null; // {from, to}, null while live
let name = null; // of the preset that `view` is
let home = null; // the view to go back to
let comparing = false;
let moving = false;
let trouble = "";
let scheduled = false;
let pushed = false; // whether the address of this movement is in the history of the browser

// --- what is needed -------------------------------------------------------------------------

/** Channels of figures beside the charts: flow, table, tiles. */
const beside = new Set(
  [...document.querySelectorAll("[data-latest], [data-flow]")]
    .flatMap(({ dataset }) => (dataset.latest ?? dataset.flow).split(" "))
    .map((key) => key.replace(/^-/, ""))
    .filter((key) => channels.has(key)),
);

function needed() {
  return [...new Set([...beside, ...cards.flatMap((card) => card.channels)])].sort();
}

const options = {
  address: page.history.address,
  channels: needed,
  onChange: () => schedule(),
  onTrouble: (code) => {
    trouble = { offline: words.no_connection, ended: strings.not_allowed }[code] ?? code;
  },
};
const loader = new Loader(options);
const before = new Loader(options);

/** What the live page holds, as a layer of readings. */
function liveLayer(from, to) {
  const tracks = new Map();
  for (const [key, { series }] of channels) tracks.set(key, trackOfSeries(series, from, to));
  return { from, to, resolution: "raw", reason: "short", tracks, complete: true };
}

/** What is asked for: the view, and what is played next. */
function wanted() {
  if (playback.mode !== "play") return view;
  return { from: view.from, to: view.to + playback.speed * AHEAD_MS };
}

const former = () => shifted(zone, view, -1);

function load({ fresh = false } = {}) {
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

function enter() {
  if (document.body.dataset.time === "past") return;
  document.body.dataset.time = "past";
  for (const card of cards) {
    card.live.waiting.dataset.live ??= card.live.waiting.textContent;
    card.live.waiting.textContent = words.nothing;
  }
  put("latency", "–");
  setPast(past);
}

function leave() {
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
function show(next, { preset = null, at = null, isHome = true } = {}) {
  enter();
  view = bounded(next);
  name = preset;
  if (isHome) home = { view, name };
  if (playback.mode !== "play" || at !== null) playback.still(at);
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
function freeze() {
  if (view) return;
  const now = clock.now();
  loader.add(liveLayer(now - windowMs, now));
  show({ from: now - windowMs, to: now }, { at: now });
}

function backToLive() {
  leave();
  remember("push");
  schedule();
}

function pause() {
  if (!view) freeze();
  else playback.still(shownAt());
  remember("push");
  schedule();
}

function play(speed) {
  if (!view) freeze();
  let at = shownAt();
  // From the end of what is shown there is nothing to play: it begins anew.
  if (at >= view.to - 1 && at >= clock.now() - 2_000) at = view.from;
  playback.play(at, speed, performance.now());
  name = null;
  remember("replace");
  follow();
}

/** Rewind to an instant; a view that is longer than what there is to choose from stays. */
function rewind(at) {
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
  remember("replace");
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

function schedule() {
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
    const marks = marksOf();
    const accent = getComputedStyle(document.documentElement).getPropertyValue("--wl-accent");
    for (const card of cards) {
      if (!card.live.visible) continue;
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
  bar.show({
    mode: playback.mode, view, name, at: view && shownAt(), pausedAt: playback.at, now, comparing,
    speed: playback.speed, layer: view && loader.best(view),
    loading: loader.isLoading && !(view && suffices(loader.best(view) ?? { from: 0, to: 0 }, view)),
    trouble,
  });
}

/** The marks of the axis by the width of a chart; those of one width are found once. */
function marksOf() {
  const known = new Map();
  return (width) => {
    const most = Math.max(2, Math.round(width / TICK_EVERY_PX));
    if (!known.has(most)) {
      const { unit, times } = ticks(zone, view.from, view.to, most);
      known.set(most, times.map((time) => {
        const [label, strong] = mark(zone, time, unit);
        return { time, label, strong };
      }));
    }
    return known.get(most);
  };
}

// --- moving ---------------------------------------------------------------------------------

function move(by) {
  const step = (view.to - view.from) * by;
  view = bounded({ from: view.from + step, to: view.to + step });
  adjusted();
}

function zoom(factor, around) {
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

function begin() {
  freeze();
  moving = true;
}

function settle() {
  moving = false;
  remember(pushed ? "replace" : "push");
  pushed = true;
  schedule();
}

function reset() {
  if (!home) return;
  show(home.view, { preset: home.name });
  remember("replace");
}

for (const card of cards) {
  listen(card.frame, {
    fraction: (x) => card.fraction(x),
    begin,
    settle,
    move: (by) => view && move(by),
    zoom: (factor, around) => view && zoom(factor, around),
    choosing: (a, b) => {
      if (!view) return;
      for (const one of cards) one.chosen = a === null ? null : [a, b];
      schedule();
    },
    choose: (a, b) => {
      freeze();
      const span = view.to - view.from;
      show({ from: view.from + a * span, to: view.from + b * span }, { isHome: false });
      remember("push");
    },
    tap: (part) => {
      if (!view || part < 0 || part > 1) return;
      const at = Math.min(clock.now(), view.from + part * (view.to - view.from));
      if (playback.mode === "play") playback.play(at, playback.speed, performance.now());
      else playback.still(at);
      remember("replace");
      schedule();
    },
    hover: (x) => {
      if (!view) return;
      const inside = x !== null && card.fraction(x) >= 0 && card.fraction(x) <= 1;
      for (const one of cards) one.pointer = null;
      card.pointer = inside ? x : null;
      schedule();
    },
    reset,
  });
  offerSaving(card, {
    zone,
    words,
    title: page.history.title,
    // The live page has no view: what it shows is taken as it is.
    prepare: () => {
      const now = clock.now();
      const span = view ?? { from: now - windowMs, to: now };
      if (!view) {
        card.draw({
          view: span, layer: liveLayer(span.from, span.to), zone, words, now, accent: "#000",
          moving: false, before: null, ticks: [], at: now,
        });
      }
      return { view: span, resolution: view ? (loader.best(view)?.resolution ?? "raw") : "raw" };
    },
  });
}

// --- the bar --------------------------------------------------------------------------------

const bar = new Bar(document.getElementById("time"), {
  zone,
  words,
  strings,
  onPreset: (preset) => {
    if (preset === "live") return backToLive();
    pushed = false;
    show(periodOf(preset, zone, clock.now()), { preset });
    remember("push");
  },
  onPeriod: (next) => {
    pushed = false;
    show(next);
    remember("push");
  },
  onStep: (count) => {
    freeze();
    show(shifted(zone, view, count), { at: null });
    playback.still(null);
    remember("push");
  },
  onZoom: (factor) => {
    begin();
    zoom(factor, 0.5);
    settle();
  },
  onPause: pause,
  onPlay: play,
  onSpeed: (speed) => {
    if (playback.mode === "play") playback.play(playback.at, speed, performance.now());
    playback.speed = speed;
  },
  onRewind: rewind,
  onLive: backToLive,
  onCompare: (on) => {
    comparing = on;
    if (on && !view) freeze();
    load();
    schedule();
    remember("replace");
  },
});

// --- the address ----------------------------------------------------------------------------

const lineKey = (line) => line.sources[0].join(".");
const lines = charts.flatMap((chart) => chart.buttons.map((button, i) => [chart, i, button]));
for (const [chart, i] of lines) chart.lines[i].usual = chart.lines[i].shown;

function switched(on) {
  return lines
    .map(([chart, i]) => chart.lines[i])
    .filter((line) => line.shown === on && line.usual !== on)
    .map(lineKey);
}

function remember(how) {
  const at = playback.mode === "still" ? playback.at : null;
  const state = { name, view, at, compare: comparing, on: switched(true), off: switched(false) };
  const address = `${location.pathname}${written(location.search, state)}${location.hash}`;
  if (address === `${location.pathname}${location.search}${location.hash}`) return;
  history[how === "push" ? "pushState" : "replaceState"](null, "", address);
}

function restore() {
  const state = read(location.search, zone, clock.now());
  for (const [chart, i, button] of lines) {
    const line = chart.lines[i];
    const key = lineKey(line);
    line.shown = state.on.includes(key) || (line.usual && !state.off.includes(key));
    button.setAttribute("aria-pressed", String(line.shown));
    chart.dirty = true;
  }
  comparing = state.compare && state.view !== null;
  pushed = false;
  if (state.view) {
    playback.still(null);
    show(state.view, { preset: state.name, at: state.at });
  } else if (view) {
    leave();
  }
  schedule();
}

addEventListener("popstate", restore);
document.addEventListener("click", (event) => {
  if (!event.target.closest(".wl-legend button")) return;
  load();
  schedule();
  remember("replace");
});
document.addEventListener("wattline:theme", () => setTimeout(schedule));
addEventListener("resize", schedule);
addEventListener("scroll", () => view && schedule(), { passive: true });
setInterval(() => {
  if (document.hidden) return;
  load({ fresh: playback.mode === "still" });
}, FRESH_MS);
setInterval(schedule, 1_000);
restore();

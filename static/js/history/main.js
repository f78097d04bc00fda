/**
 * Time on a live page: the charts, the bar and the address lead along it (`course.js`). All texts
 * come from the page.
 */

import { charts, clock, page } from "../wattline/live.js";
import { read, written } from "./address.js";
import { marksOf } from "./axis.js";
import { Bar } from "./bar.js";
import { periodOf, shifted } from "./calendar.js";
import * as course from "./course.js";
import { listen } from "./gestures.js";
import { Lines } from "./lines.js";
import { offerSaving } from "./menu.js";
import { liveLayer } from "./needs.js";

const { cards, hooks, place, playback, strings, windowMs, words, zone } = course;

for (const card of cards) {
  listen(card.frame, {
    fraction: (x) => card.fraction(x),
    begin: course.begin,
    settle: course.settle,
    move: (by) => place().view && course.move(by),
    zoom: (factor, around) => place().view && course.zoom(factor, around),
    choosing: (a, b) => {
      if (!place().view) return;
      for (const one of cards) one.chosen = a === null ? null : [a, b];
      course.schedule();
    },
    choose: (a, b) => {
      course.freeze();
      const { view } = place();
      const span = view.to - view.from;
      course.show({ from: view.from + a * span, to: view.from + b * span }, { isHome: false });
      hooks.remember("push");
    },
    tap: (part) => {
      const { view } = place();
      if (!view || part < 0 || part > 1) return;
      const at = Math.min(clock.now(), view.from + part * (view.to - view.from));
      if (playback.mode === "play") playback.play(at, playback.speed, performance.now());
      else playback.still(at);
      hooks.remember("replace");
      course.schedule();
    },
    hover: (x) => {
      if (!place().view) return;
      const inside = x !== null && card.fraction(x) >= 0 && card.fraction(x) <= 1;
      for (const one of cards) one.pointer = null;
      card.pointer = inside ? x : null;
      course.schedule();
    },
    reset: course.reset,
  });
  offerSaving(card, {
    zone,
    words,
    title: page.history.title,
    // The live page has no view: what it shows is taken as it is.
    prepare: () => {
      const { view } = place();
      const now = clock.now();
      const span = view ?? { from: now - windowMs, to: now };
      if (!view) {
        card.draw({
          view: span, layer: liveLayer(span.from, span.to), zone, words, now, accent: "#000",
          moving: false, before: null, at: now,
          ticks: marksOf(zone, span)(card.canvas.clientWidth),
        });
      }
      return { view: span, resolution: view ? (course.loader.best(view)?.resolution ?? "raw") : "raw" };
    },
  });
}

// --- the bar --------------------------------------------------------------------------------

const bar = new Bar(document.getElementById("time"), {
  zone,
  words,
  strings,
  onPreset: (preset) => {
    if (preset === "live") return course.backToLive();
    course.newStep();
    course.show(periodOf(preset, zone, clock.now()), { preset });
    hooks.remember("push");
  },
  onPeriod: (next) => {
    course.newStep();
    course.show(next);
    hooks.remember("push");
  },
  onStep: (count) => {
    course.freeze();
    course.show(shifted(zone, place().view, count), { at: null });
    playback.still(null);
    hooks.remember("push");
  },
  onZoom: (factor) => {
    course.begin();
    course.zoom(factor, 0.5);
    course.settle();
  },
  onPause: course.pause,
  onPlay: course.play,
  onSpeed: (speed) => {
    if (playback.mode === "play") playback.play(playback.at, speed, performance.now());
    playback.speed = speed;
  },
  onRewind: course.rewind,
  onLive: course.backToLive,
  onCompare: (on) => {
    course.compare(on);
    if (on && !place().view) course.freeze();
    course.load();
    course.schedule();
    hooks.remember("replace");
  },
});
hooks.show = (state) => bar.show(state);

// --- the address ----------------------------------------------------------------------------

const lines = new Lines(charts);

hooks.remember = (how) => {
  const { view, name, comparing } = place();
  const at = playback.mode === "still" ? playback.at : null;
  const state = { name, view, at, compare: comparing, ...lines.switched };
  const address = `${location.pathname}${written(location.search, state)}${location.hash}`;
  if (address === `${location.pathname}${location.search}${location.hash}`) return;
  history[how === "push" ? "pushState" : "replaceState"](null, "", address);
};

function restore() {
  const state = read(location.search, zone, clock.now());
  lines.restore(state);
  course.compare(state.compare && state.view !== null);
  course.newStep();
  if (state.view) {
    playback.still(null);
    course.show(state.view, { preset: state.name, at: state.at });
  } else if (place().view) {
    course.leave();
  }
  course.schedule();
}

addEventListener("popstate", restore);
document.addEventListener("click", (event) => {
  if (!event.target.closest(".wl-legend button")) return;
  course.load();
  course.schedule();
  hooks.remember("replace");
});
document.addEventListener("wattline:theme", () => {
  course.takeAccent();
  setTimeout(course.schedule);
});
addEventListener("resize", course.schedule);
addEventListener("scroll", () => place().view && course.schedule(), { passive: true });
setInterval(() => {
  if (document.hidden) return;
  course.load({ fresh: playback.mode === "still" });
}, course.FRESH_MS);
setInterval(course.schedule, 1_000);
restore();

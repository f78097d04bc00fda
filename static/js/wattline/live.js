/**
 * The live page of a facility or a device: connects what the socket brings with the charts, the
 * tables and the line about the connection. All texts come from the page, in its language.
 */

import { LiveChart } from "./chart.js";
import { RunningMedian, ServerClock } from "./clock.js";
import { LiveConnection, NOT_SIGNED_IN } from "./connection.js";
import { Fills } from "./fills.js";
import { put, showNumbers } from "./numbers.js";
import { decodeData } from "./protocol.js";
import { BACKFILL, FILL, LINK, LIVE, parseRecords } from "./records.js";
import { Sequences } from "./sequences.js";
import { Series } from "./series.js";
import { decimalsOf } from "./units.js";
import { zoneOffsetMs } from "./zone.js";

const page = JSON.parse(document.getElementById("page").textContent);
const { strings, zone, window_ms: windowMs } = page;

// Drawing more often than this shows nothing more; a window without news still moves on.
const DRAW_AT_MOST_EVERY_MS = 250;
const MOVE_EVERY_MS = 2_000;

const clock = new ServerClock();
const latency = new RunningMedian();
const channels = new Map(); // "device/channel" → {series, unit, decimals, resolution}
const sequences = new Map(); // device → Sequences
const devices = new Map(); // device → {stepMs, liveAt, lastTime, connection}

for (const device of page.devices) {
  devices.set(device.id, {
    stepMs: device.step_ms,
    liveAt: -Infinity,
    lastTime: null,
    connection: 0,
  });
  sequences.set(device.id, new Sequences());
  for (const channel of device.channels) {
    channels.set(`${device.id}/${channel.number}`, {
      series: new Series(device.step_ms, windowMs + 30_000),
      unit: channel.unit,
      resolution: Number(channel.resolution),
      decimals: decimalsOf(channel.resolution),
    });
  }
}

export { channels, charts, clock, page, scheduleDraw };

const charts = page.charts.map(
  (spec) =>
    new LiveChart(
      document.getElementById(spec.key),
      spec,
      (device, channel) => channels.get(`${device}/${channel}`).series,
    ),
);

// --- readings ---------------------------------------------------

/** Put a DATA body into the series of its channels; the time of its newest sample. */
function store(device, body) {
  let newest = -Infinity;
  let samples = 0;
  for (const block of decodeData(body).blocks) {
    const times = Array.from(block.times, Number);
    newest = Math.max(newest, times.at(-1));
    samples = Math.max(samples, times.length);
    for (const [index, number] of block.channels.entries()) {
      const channel = channels.get(`${device}/${number}`);
      if (!channel) continue; // registered after this page was made
      const column = block.values[index];
      const present = block.present?.[index];
      const values = times.map((_, i) =>
        present && !present[i] ? NaN : Number(column[i]) * channel.resolution,
      );
      channel.series.add(times, values);
    }
  }
  for (const chart of charts) if (chart.devices.has(device)) chart.dirty = true;
  return { newest, samples };
}

let unpainted = []; // sample times of live readings that are not on the screen yet

function receive(message) {
  for (const { kind, device, sequence, body } of parseRecords(message)) {
    const known = sequences.get(device);
    if (!known) continue;
    if (kind === LINK) {
      // The end of an older connection comes after the beginning of the one that replaced it.
      const state = devices.get(device);
      if (sequence < state.connection) continue;
      state.connection = sequence;
      showLink(device, JSON.parse(new TextDecoder().decode(body)).kind);
      continue;
    }
    const fresh =
      (kind === LIVE && known.takeLive(sequence)) ||
      (kind === BACKFILL && known.takeStored(sequence)) ||
      (kind === FILL && known.takeFill(sequence));
    if (!fresh) continue;
    const { newest, samples } = store(device, body);
    const state = devices.get(device);
    state.lastTime = Math.max(state.lastTime ?? -Infinity, newest);
    if (kind === LIVE && samples === 1) {
      state.liveAt = clock.now();
      unpainted.push(newest);
    }
  }
  scheduleDraw();
}

const fills = new Fills(
  (request) => connection.send({ fill: request }),
  () => clock.local(),
);

function handle(message) {
  if (message.description) {
    fills.reset();
    compare(message.description);
  } else if (message.backfilled) {
    for (const [device, sequence] of Object.entries(message.backfilled)) {
      sequences.get(Number(device))?.backfilled(sequence);
    }
    scheduleDraw();
  } else if (message.filled) {
    const { device, from, to } = message.filled;
    fills.answered(device, sequences.get(device), from, to);
  } else if (message.lost !== undefined) {
    put("lost", strings.late.replace("%s", message.lost));
  }
}

/** The servers' description against that of this page: links, and whether the page is outdated. */
function compare(description) {
  for (const device of description.devices) {
    showLink(device.id, device.connected ? "connected" : "disconnected");
  }
  const ids = (list) => list.map((device) => device.id).sort((a, b) => a - b).join();
  if (ids(description.devices) !== ids(page.devices)) notice(strings.outdated, true);
}

// --- what the page shows beside the charts ---------------------------------------------------

function showLink(device, kind) {
  const online = { connected: true, seen: true, disconnected: false }[kind];
  if (online === undefined) return;
  for (const element of document.querySelectorAll(`[data-link="${device}"]`)) {
    element.dataset.state = online ? "online" : "offline";
    element.textContent = online ? strings.online : strings.link_offline;
  }
  const states = [...document.querySelectorAll("[data-link]")];
  const count = states.filter((element) => element.dataset.state === "online").length;
  put("online", String(count));
}

function showState(state, code) {
  const element = document.querySelector('[data-show="state"]');
  element.dataset.state = state;
  element.textContent = strings[state];
  if (state === "ended") {
    notice(code === NOT_SIGNED_IN ? strings.signed_out : strings.not_allowed, true);
  }
  if (state !== "live") put("latency", "–");
}

function notice(text, reload) {
  const element = document.getElementById("notice");
  element.querySelector("[data-text]").textContent = text;
  element.querySelector("a").hidden = !reload;
  element.hidden = false;
}

// --- drawing ---------------------------------------------------

let drawnAt = 0;
let scheduled = false;

function scheduleDraw() {
  if (scheduled || document.hidden) return;
  scheduled = true;
  const wait = Math.max(0, drawnAt + DRAW_AT_MOST_EVERY_MS - performance.now());
  setTimeout(() => requestAnimationFrame(draw), wait);
}

// Who gives the values while the page shows the past (`../history/main.js`), null while it is live.
let past = null;

/** Leave the charts to somebody who shows the past, or (null) take them back. Frames go on coming. */
export function setPast(other) {
  past = other;
  for (const chart of charts) chart.dirty = true;
  scheduleDraw();
}

/** In a task of its own. */
function soon() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => requestAnimationFrame(draw));
}

/**
 * Draw what has news, and what stands still too long, all in one animation frame. A chart's first
 * drawing takes as long as many later ones: one in a frame, so that the page can be used meanwhile.
 */
function draw() {
  scheduled = false;
  const to = clock.now();
  const offset = zoneOffsetMs(zone, to);
  drawnAt = performance.now();
  let begun = false;
  for (const chart of past ? [] : charts) {
    const still = drawnAt - chart.drawnAt >= MOVE_EVERY_MS - 100;
    // Outside the screen only the first readings are drawn, so that scrolling meets no empty chart.
    if (chart.visible ? chart.dirty || still : chart.dirty && chart.empty) {
      if (chart.drawnAt === -Infinity) {
        if (begun) {
          soon();
          continue;
        }
        begun = true;
      }
      chart.draw(to - windowMs, to, offset);
      chart.drawnAt = drawnAt;
    }
  }
  showNumbers({ channels, charts, devices, strings, past }, to);
  const painted = past ? [] : unpainted;
  unpainted = [];
  // The frame that was just drawn is on the screen when the next one begins.
  if (painted.length > 0) requestAnimationFrame(() => showLatency(painted));
}

function showLatency(sampleTimes) {
  if (!clock.known) return;
  const now = clock.now();
  for (const time of sampleTimes) latency.add(now - time);
  put("latency", `${Math.max(0, Math.round(latency.value))} ms`);
}

function applyTheme() {
  const template = page.templates[document.documentElement.dataset.bsTheme];
  for (const chart of charts) chart.setTheme(template);
  scheduleDraw();
}

// --- start ---------------------------------------------------

const connection = new LiveConnection({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`,
  watch: () => {
    const have = {};
    for (const [device, known] of sequences) {
      if (known.highest !== null) have[device] = known.highest;
    }
    return { ...page.target, have };
  },
  clock,
  onState: showState,
  onMessage: handle,
  onRecords: receive,
});

applyTheme();
document.addEventListener("wattline:theme", applyTheme);
document.addEventListener("click", (event) => {
  if (event.target.closest(".wl-legend button")) scheduleDraw();
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  connection.hurry();
  for (const chart of charts) chart.dirty = true;
  scheduleDraw();
});
addEventListener("online", () => connection.hurry());
addEventListener("scroll", scheduleDraw, { passive: true });
addEventListener("pagehide", () => connection.stop());
addEventListener("pageshow", (event) => {
  if (event.persisted) connection.start();
});
setInterval(() => fills.run(sequences), 500);
setInterval(scheduleDraw, MOVE_EVERY_MS / 2);
connection.start();

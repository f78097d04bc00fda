/**
 * The home of a consumer: live power, the flow between its parts, today's energy. All texts come
 * from the page, in its language.
 */

import { ServerClock } from "../wattline/clock.js";
import { LiveConnection, NOT_SIGNED_IN } from "../wattline/connection.js";
import { decodeData } from "../wattline/protocol.js";
import { LINK, parseRecords } from "../wattline/records.js";
import { showFlow } from "./flow.js";
import { ago, joined, power } from "./format.js";
import { forget, forgetOthers, keep } from "./keeping.js";
import { homeOf, Readings } from "./readings.js";
import { offerInstallation, startWorker } from "./worker.js";

const page = JSON.parse(document.getElementById("page").textContent);
const { addresses, language, strings } = page;

const SHOW_AT_MOST_EVERY_MS = 250;
const AGE_EVERY_MS = 1_000;
const TODAY_EVERY_MS = 60_000;
const KEEP_FIRST_MS = 3_000;
const KEEP_EVERY_MS = 15_000;

const clock = new ServerClock();
// Until the socket has measured it: what the servers' clock said when they made the page.
clock.observe(clock.local(), clock.local(), page.now_ms);
const readings = new Readings(page.devices, page.parts);
const labels = Object.fromEntries(
  [...document.querySelectorAll("[data-legend]")].map((one) => [
    one.dataset.legend,
    one.textContent.trim(),
  ]),
);
const sequences = new Map(); // device → the newest sequence number seen
let connected = false;
let ended = false;

const find = (name) => document.querySelector(`[data-show="${name}"]`);

function put(name, text) {
  const element = find(name);
  if (element && element.textContent !== text) element.textContent = text;
}

// --- what is shown ---------------------------------------------------

/** Until the socket brings readings: what the servers knew when they made the page. */
function fromPage() {
  if (!page.power) return { parts: {}, home: null, time: null, known: false };
  const { grid, generation, storage, measured_ms: time } = page.power;
  const parts = {};
  for (const [name, watts] of Object.entries({ grid, generation, storage })) {
    if (name in page.parts) parts[name] = watts;
  }
  return { parts, home: homeOf(parts), time, known: grid !== null };
}

function current() {
  const state = readings.state(clock.now());
  return state.time === null ? fromPage() : state;
}

let shownAt = 0;
let waiting = false;

function schedule() {
  if (waiting || document.hidden) return;
  waiting = true;
  const wait = Math.max(0, shownAt + SHOW_AT_MOST_EVERY_MS - performance.now());
  setTimeout(() => requestAnimationFrame(show), wait);
}

function show() {
  waiting = false;
  shownAt = performance.now();
  const { parts, home, time, known } = current();
  const fresh = known && connected;
  const [number, unit] = home === null ? ["–", "W"] : power(Math.max(0, home), language);
  put("number", number);
  put("unit", unit);
  put("verb", known || home === null ? strings.uses : strings.used);
  put("age", time === null ? strings.waiting : ago(clock.now() - time, strings));
  find("number").closest("section").dataset.stale = String(!fresh);
  const silent = find("silent");
  if (silent) silent.hidden = known || time === null;
  const all = { home, ...Object.fromEntries(Object.keys(page.parts).map((n) => [n, parts[n] ?? null])) };
  put("summary", showFlow(document.querySelector(".hm-flow"), all, { language, strings, labels }));
}

function showState(state, code) {
  connected = state === "live";
  find("dot").dataset.state = state;
  if (state === "ended") end(code === NOT_SIGNED_IN ? strings.ended : strings.not_allowed);
  else put("state", strings[state]);
  schedule();
}

/** The session is over: what this device kept goes, too. */
function end(text) {
  ended = true;
  put("state", text);
  const bar = document.querySelector("[data-ended]");
  bar.querySelector("[data-text]").textContent = text;
  bar.hidden = false;
  forget();
}

// --- readings ---------------------------------------------------

function receive(message) {
  let fresh = false;
  for (const { kind, device, sequence, body } of parseRecords(message)) {
    if (kind === LINK || !readings.devices.has(device)) continue;
    sequences.set(device, Math.max(sequence, sequences.get(device) ?? 0));
    fresh = readings.take(device, decodeData(body).blocks) || fresh;
  }
  if (fresh) schedule();
}

const connection = new LiveConnection({
  url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${addresses.socket}`,
  watch: () => ({ facility: page.facility.id, have: Object.fromEntries(sequences) }),
  clock,
  onState: showState,
  onMessage: () => {}, // the newest reading is all that counts here: holes are left as they are
  onRecords: receive,
});

// --- today ---------------------------------------------------

async function refreshToday() {
  const section = document.querySelector("[data-today]");
  if (document.hidden || ended || section.contains(document.activeElement)) return;
  let answer;
  try {
    answer = await fetch(addresses.today, { headers: { "X-Wattline-Part": "1" } });
  } catch {
    return; // no network: what is shown stays, the next round tries again
  }
  if (answer.status === 401) end(strings.ended);
  if (!answer.ok) return;
  const opened = section.querySelector("details")?.open;
  section.innerHTML = await answer.text();
  const details = section.querySelector("details");
  if (details && opened) details.open = true;
}

// --- for times without a connection ---------------------------------------------------

function keepValues() {
  const { parts, home, time } = current();
  if (ended || time === null) return;
  const today = find("today");
  const unit = today?.nextElementSibling?.textContent ?? "";
  keep(page.tag, {
    place: page.facility.name,
    zone: page.zone,
    language,
    time,
    home,
    parts,
    today: today ? joined([today.textContent, unit]) : null,
  });
}

// --- start ---------------------------------------------------

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    keepValues();
    return;
  }
  connection.hurry();
  schedule();
  refreshToday();
});
addEventListener("online", () => connection.hurry());
addEventListener("pagehide", () => connection.stop());
addEventListener("pageshow", (event) => {
  // A page that comes out of the browser's memory may be somebody else's by now.
  if (event.persisted) location.reload();
});
for (const menu of document.querySelectorAll(".hm-menu")) {
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
}
document.querySelector("[data-sign-out]").addEventListener("submit", () => {
  ended = true;
  forget();
});
offerInstallation(document.querySelector("[data-install]"));
startWorker(addresses.worker, addresses.scope, (load) => {
  const bar = document.querySelector("[data-update]");
  bar.querySelector("button").addEventListener("click", load, { once: true });
  bar.hidden = false;
});

show();
setInterval(schedule, AGE_EVERY_MS);
setInterval(refreshToday, TODAY_EVERY_MS);
await forgetOthers(page.tag);
setTimeout(keepValues, KEEP_FIRST_MS);
setInterval(keepValues, KEEP_EVERY_MS);
connection.start();

/**
 * The figures of a live page beside its charts: newest values, sums, flow, ages. While the page
 * shows the past, `past` gives the values of the instant that is shown.
 */

import { showFlow } from "./flow.js";
import { newestSum } from "./series.js";
import { readable } from "./units.js";

// A device that sent single samples and fell silent for so many steps is not live any more.
const LIVE_STEPS = 4;

/** Write `text` into the element that shows `name`. */
export function put(name, text) {
  const element = document.querySelector(`[data-show="${name}"]`);
  if (element && element.textContent !== text) element.textContent = text;
}

/** The sum of the channels `device/channel`; with `-` before it a channel is subtracted. */
function latestOf({ channels, past }, keys, now) {
  const names = keys.split(" ");
  const sum = (wanted) => {
    if (wanted.length === 0) return 0;
    return past ? past.sum(wanted) : newestSum(wanted.map((name) => channels.get(name)?.series), now);
  };
  const plus = sum(names.filter((name) => !name.startsWith("-")));
  const minus = sum(names.filter((name) => name.startsWith("-")).map((name) => name.slice(1)));
  const { unit, decimals } = channels.get(names[0].replace("-", "")) ?? {};
  return { value: plus === null || minus === null ? null : plus - minus, unit, decimals };
}

/**
 * @param {object} state
 * @param {Map<string, {series: object, unit: string, decimals: number}>} state.channels
 * @param {import("./chart.js").LiveChart[]} state.charts
 * @param {Map<number, object>} state.devices
 * @param {Record<string, string>} state.strings
 * @param {{sum: (names: string[]) => number | null} | null} state.past
 */
export function showNumbers(state, now) {
  const { charts, devices, strings, past } = state;
  for (const element of document.querySelectorAll("[data-latest]")) {
    const { value, unit, decimals } = latestOf(state, element.dataset.latest, now);
    const text = value === null ? "–" : readable(value, unit, decimals).join(" ");
    if (element.textContent !== text) element.textContent = text;
  }
  showFlow((keys) => latestOf(state, keys, now));
  for (const element of document.querySelectorAll("[data-sum]")) {
    const chart = charts.find((one) => one.spec.key === element.dataset.sum);
    const value = sumOf(chart, past, now);
    const [number, unit] = value === null ? ["–", ""] : readable(value, chart.spec.unit, 0);
    element.firstElementChild.textContent = number;
    element.lastElementChild.textContent = unit;
  }
  showAges(devices, strings, now);
}

function sumOf(chart, past, now) {
  if (!chart) return null;
  if (!past) return chart.latest(0, now);
  return past.sum(chart.lines[0].sources.map((source) => source.join("/")));
}

function showAges(devices, strings, now) {
  let live = 0;
  let newest = -Infinity;
  for (const [id, device] of devices) {
    if (now - device.liveAt < LIVE_STEPS * device.stepMs + 1000) live += 1;
    newest = Math.max(newest, device.lastTime ?? -Infinity);
    const element = document.querySelector(`[data-age="${id}"]`);
    if (element && device.lastTime !== null) {
      element.textContent = ago(now - device.lastTime, strings);
    }
  }
  put("live", String(live));
  put("age", newest === -Infinity ? "–" : ago(now - newest, strings));
}

function ago(ms, strings) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return strings.seconds_ago.replace("%s", seconds);
  if (seconds < 5400) return strings.minutes_ago.replace("%s", Math.round(seconds / 60));
  return strings.hours_ago.replace("%s", Math.round(seconds / 3600));
}

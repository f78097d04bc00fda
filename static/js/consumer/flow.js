/**
 * The picture of the flow: what each node says, which way its line runs and how strongly.
 */

import { joined, power } from "./format.js";

// Less than this is noise of the meters: nothing flows.
const NOTHING_W = 5;
const LEVELS = 5;

/** `in` towards the middle, `out` from it, `none`. */
export function directionOf(part, watts) {
  if (watts === null || Math.abs(watts) < NOTHING_W) return "none";
  const towards = part === "storage" || part === "home" ? watts < 0 : watts > 0;
  return towards ? "in" : "out";
}

/** 0 (nothing) to 5, by the share of the largest flow; a small home does not look like a big one. */
export function levelOf(watts, largest) {
  if (watts === null || Math.abs(watts) < NOTHING_W) return 0;
  return Math.max(1, Math.ceil(LEVELS * Math.sqrt(Math.abs(watts) / Math.max(largest, 1000))));
}

/** What a node says about its power. */
export function wordOf(part, watts, strings) {
  if (watts === null) return strings.unknown;
  if (Math.abs(watts) < NOTHING_W) return strings.idle;
  if (part === "grid") return watts > 0 ? strings.from_grid : strings.to_grid;
  if (part === "generation") return watts > 0 ? strings.producing : strings.idle;
  if (part === "storage") return watts > 0 ? strings.charging : strings.discharging;
  return strings.using;
}

/** Show the parts, `home` among them, in the picture below `root`. */
export function showFlow(root, parts, { language, strings, labels }) {
  const largest = Math.max(0, ...Object.values(parts).map((watts) => Math.abs(watts ?? 0)));
  const said = [];
  for (const [part, watts] of Object.entries(parts)) {
    const text = watts === null ? "–" : joined(power(Math.abs(watts), language));
    const word = wordOf(part, watts, strings);
    put(root.querySelector(`[data-value="${part}"]`), text);
    put(root.querySelector(`[data-word="${part}"]`), word);
    const run = root.querySelector(`[data-run="${part}"]`);
    if (run) {
      run.dataset.direction = directionOf(part, watts);
      run.dataset.level = String(levelOf(watts, largest));
    }
    said.push(`${labels[part] ?? part}: ${text} ${word}`);
  }
  return said.join(", ");
}

function put(element, text) {
  if (element && element.textContent !== text) element.textContent = text;
}

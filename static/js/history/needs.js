/** What the page needs to know of the past, and what the live page knows of it already. */

import { channels } from "../wattline/live.js";
import { trackOfSeries } from "./columns.js";

/** Channels of figures beside the charts: flow, table, tiles. */
const beside = new Set(
  [...document.querySelectorAll("[data-latest], [data-flow]")]
    .flatMap(({ dataset }) => (dataset.latest ?? dataset.flow).split(" "))
    .map((key) => key.replace(/^-/, ""))
    .filter((key) => channels.has(key)),
);

/** The channels that a page shows somewhere, of the lines of `cards` and beside them. */
export function needed(cards) {
  return [...new Set([...beside, ...cards.flatMap((card) => card.channels)])].sort();
}

/** What the live page holds, as a layer of readings. */
export function liveLayer(from, to) {
  const tracks = new Map();
  for (const [key, { series }] of channels) tracks.set(key, trackOfSeries(series, from, to));
  return { from, to, resolution: "raw", reason: "short", tracks, complete: true };
}

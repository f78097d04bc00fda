/**
 * The flow of power between grid, generation, storage and loads: the value of each node and the
 * way it flows. The servers' last known values stand there until the first readings come.
 */

import { readable } from "./units.js";

// Below this many watts nothing flows that is worth an arrow (as portal/enterprise/park does).
const STILL_W = 5;

/** @param {(keys: string) => {value: number | null, unit: string}} latestOf */
export function showFlow(latestOf) {
  for (const node of document.querySelectorAll("[data-flow]")) {
    const { value, unit } = latestOf(node.dataset.flow);
    if (value === null) {
      if ("known" in node.dataset) show(node, "–", "none");
      continue;
    }
    node.dataset.known = "";
    const direction = Math.abs(value) <= STILL_W ? "none" : value > 0 ? "plus" : "minus";
    show(node, readable(Math.abs(value), unit, 0).join(" "), direction);
  }
}

function show(node, text, direction) {
  const element = node.querySelector("[data-value]");
  if (element.textContent !== text) element.textContent = text;
  if (node.dataset.direction === direction) return;
  node.dataset.direction = direction;
  const line = node.parentElement.querySelector(
    `.wl-flow-line[data-node="${node.dataset.node}"]`,
  );
  line.dataset.direction = direction;
}

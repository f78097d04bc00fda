/**
 * What is looked at, as a part of the page's address: so that a view can be sent to somebody, kept,
 * and gone back to. Other parameters of the page stay.
 *
 *   ?period=yesterday                    a preset
 *   ?from=1793577600000&to=1793664000000 any period; with &at= the instant that is shown
 *   &compare=1                           with the period before
 *   &on=7.3,7.4&off=7.0                  lines that were switched on and off
 */

import { periodOf } from "./calendar.js";

const NAMES = ["period", "from", "to", "at", "compare", "on", "off"];
const LEAST_MS = 1_000;

/** `{name, view, at, compare, on, off}` of an address; what makes no sense is left out. */
export function read(search, zone, now) {
  const given = new URLSearchParams(search);
  const name = given.get("period");
  const [from, to, at] = ["from", "to", "at"].map((one) => {
    const text = given.get(one) ?? "";
    return /^\d{1,14}$/.test(text) ? Number(text) : null;
  });
  const list = (one) => (given.get(one) ?? "").split(",").filter((key) => /^\d+\.\d+$/.test(key));
  const preset = name === null ? null : periodOf(name, zone, now);
  const custom = from !== null && to !== null && to - from >= LEAST_MS ? { from, to } : null;
  return {
    name: preset && name,
    view: preset ?? custom,
    at,
    compare: given.get("compare") === "1",
    on: list("on"),
    off: list("off"),
  };
}

/** The query of an address with this state in the place of what it had. */
export function written(search, { name, view, at, compare, on, off }) {
  const query = new URLSearchParams(search);
  for (const one of NAMES) query.delete(one);
  if (name) query.set("period", name);
  else if (view) {
    query.set("from", String(Math.round(view.from)));
    query.set("to", String(Math.round(view.to)));
    if (at !== null) query.set("at", String(Math.round(at)));
  }
  if (view && compare) query.set("compare", "1");
  if (on.length > 0) query.set("on", on.join(","));
  if (off.length > 0) query.set("off", off.join(","));
  const text = query.toString().replaceAll("%2C", ",");
  return text ? `?${text}` : "";
}

/**
 * The page without a network: shows what was known last and when, and leaves when there is a
 * connection again.
 */

import { joined, power } from "./format.js";
import { kept } from "./keeping.js";

const { strings } = JSON.parse(document.getElementById("page").textContent);
// A connection that exists does not reach the servers for sure: it is tried now and then.
const TRY_EVERY_MS = 20_000;

const put = (name, text) => {
  document.querySelector(`[data-show="${name}"]`).textContent = text;
};

function show(found) {
  const { language } = found;
  put("place", found.place);
  if (found.home !== null) {
    const [number, unit] = power(found.home, language);
    put("number", number);
    put("unit", unit);
  }
  // Of the page's language, the variety that the browser prefers: 24 hours or 12, day or month first.
  const variety = navigator.languages.find((one) => one.split("-")[0] === language);
  const when = new Intl.DateTimeFormat(variety ?? language, {
    dateStyle: "medium",
    timeStyle: "short",
    timeZone: found.zone,
  }).format(found.time);
  put("age", strings.measured.replace("%s", when));
  const rows = Object.entries(found.parts)
    .filter(([name, watts]) => watts !== null && strings[name])
    .map(([name, watts]) => [strings[name], joined(power(watts, language))]);
  if (found.today) rows.push([strings.today, found.today]);
  const list = document.querySelector('[data-show="parts"]');
  list.replaceChildren(...rows.map(row));
}

function row([label, figure]) {
  const group = document.createElement("div");
  const term = document.createElement("dt");
  const value = document.createElement("dd");
  term.textContent = label;
  value.textContent = figure;
  group.append(term, value);
  return group;
}

async function again() {
  try {
    await fetch("/health/live", { cache: "no-store" });
  } catch {
    return; // still none
  }
  location.reload();
}

const found = await kept();
if (found?.time) show(found);
else put("age", strings.none);
document.querySelector("[data-again]").addEventListener("click", () => location.reload());
addEventListener("online", again);
setInterval(again, TRY_EVERY_MS);

/**
 * The bars of a day (`portal/charts/day.py`): energy by quarters of an hour, drawn once and again
 * when the page changes between light and dark.
 */

import { prefixOf } from "./units.js";
import { zoneOffsetMs } from "./zone.js";

const { Plotly } = globalThis;
const page = JSON.parse(document.getElementById("page").textContent);
const QUARTER_MS = 900_000;
const TICK_EVERY_PX = 80;

function draw(spec) {
  const template = page.templates[document.documentElement.dataset.bsTheme];
  const { colorway } = template.layout;
  const card = document.getElementById(spec.key);
  const plot = card.querySelector(".wl-plot");
  const most = Math.max(0, ...spec.bars.flatMap((bar) => bar.values.map(Math.abs)));
  const [factor, prefix] = prefixOf(most, "Wh");
  const shift = zoneOffsetMs(page.zone, spec.range[0]);
  // Every quarter by the clock of its own moment: on the day of a change of clocks an hour is
  // missing or drawn twice as wide, as in the bill.
  const local = (time) => time + zoneOffsetMs(page.zone, time);
  const data = spec.bars.map((bar) => ({
    type: "bar",
    name: bar.name,
    x: spec.starts.map((time) => local(time) + QUARTER_MS / 2),
    y: bar.values.map((value) => (value === null ? null : Number((value / factor).toPrecision(4)))),
    width: QUARTER_MS * 0.86,
    hovertemplate: `%{y} ${prefix}Wh`,
    marker: { color: colorway[bar.colour], opacity: bar.pale ? 0.5 : 1 },
  }));
  Plotly.react(
    plot,
    data,
    {
      ...spec.layout,
      template,
      xaxis: {
        ...spec.layout.xaxis,
        nticks: Math.max(3, Math.round(plot.clientWidth / TICK_EVERY_PX)),
        range: [spec.range[0] + shift, local(spec.range[1])],
      },
      yaxis: { ...spec.layout.yaxis, ticksuffix: ` ${prefix}Wh` },
    },
    { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false },
  );
  for (const [index, item] of card.querySelectorAll(".wl-legend li").entries()) {
    item.style.setProperty("--wl-series", colorway[spec.bars[index].colour]);
  }
}

if (page.day) {
  draw(page.day);
  document.addEventListener("wattline:theme", () => draw(page.day));
}

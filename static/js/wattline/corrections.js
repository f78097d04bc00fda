/**
 * The curves of a correction's preview (`portal/enterprise/corrections/pages.py`): the readings
 * before and after, drawn once and again when the page changes between light and dark.
 */

import { prefixOf } from "./units.js";
import { zoneOffsetMs } from "./zone.js";

const { Plotly } = globalThis;
const page = JSON.parse(document.getElementById("comparison").textContent);
const TICK_EVERY_PX = 120;

function draw() {
  const template = page.templates[document.documentElement.dataset.bsTheme];
  const { colorway } = template.layout;
  const plot = document.querySelector("#correction-chart .wl-plot");
  let most = 0;
  for (const line of page.lines) {
    for (const value of line.values) most = Math.max(most, Math.abs(value ?? 0));
  }
  const [factor, prefix] = prefixOf(most, page.unit);
  const unit = `${prefix}${page.unit}`;
  const data = page.lines.map((line) => ({
    type: "scatter",
    mode: line.values.length < 3 ? "markers" : "lines",
    name: line.name,
    x: line.times.map((time) => time + zoneOffsetMs(page.zone, time)),
    y: line.values.map((value) => (value === null ? null : value / factor)),
    hovertemplate: `%{y:.4~g} ${unit}`,
    line: { color: colorway[line.colour], width: 1.5, dash: line.colour === 7 ? "dot" : "solid" },
    connectgaps: false,
  }));
  Plotly.react(
    plot,
    data,
    {
      ...page.layout,
      template,
      xaxis: {
        ...page.layout.xaxis,
        nticks: Math.max(2, Math.round(plot.clientWidth / TICK_EVERY_PX)),
      },
      yaxis: { ...page.layout.yaxis, ticksuffix: unit ? ` ${unit}` : "" },
    },
    { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false },
  );
  for (const [index, item] of document.querySelectorAll("#preview .wl-legend li").entries()) {
    item.style.setProperty("--wl-series", colorway[page.lines[index].colour]);
  }
}

draw();
document.addEventListener("wattline:theme", draw);

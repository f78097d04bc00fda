/** The menu of a chart: as a table, as CSV, as a picture; of exactly what it shows. */

import { csvOf, download, fill, pictureOf } from "./saving.js";
import { moment } from "./times.js";

/**
 * @param {import("./card.js").Card} card
 * @param {object} context
 * @param {() => {view: object, resolution: string}} context.prepare what is shown, drawn for sure
 */
export function offerSaving(card, { zone, words, title, prepare }) {
  const { element } = card.live;
  const menu = element.querySelector(".wl-chart-menu");
  const panel = element.querySelector(".wl-chart-table");
  if (!menu || !panel) return;
  const heading = element.querySelector("h2").textContent;

  const named = ({ view }, ending) => {
    const part = (time) => moment(zone, time, null).replaceAll(/[^\p{L}\p{N}]+/gu, "-");
    const words_ = `${title} ${heading}`.replaceAll(/[^\p{L}\p{N}]+/gu, "-");
    return `${words_}_${part(view.from)}_${part(view.to)}.${ending}`;
  };

  const actions = {
    table() {
      const isOpen = panel.hidden;
      panel.hidden = !isOpen;
      button("table").setAttribute("aria-expanded", String(isOpen));
      if (isOpen) tell();
    },
    csv() {
      const shown = prepare();
      const text = csvOf(card.table(), zone, words);
      download(named(shown, "csv"), new Blob([text], { type: "text/csv;charset=utf-8" }));
    },
    async png() {
      const shown = prepare();
      const style = getComputedStyle(document.documentElement);
      const note = `${moment(zone, shown.view.from, null)} – ${moment(zone, shown.view.to, null)} · ${zone}`;
      const blob = await pictureOf(card.canvas, `${title} · ${heading}`, note, {
        surface: style.getPropertyValue("--wl-surface"),
        text: style.getPropertyValue("--wl-text"),
        family: card.live.template.layout.font.family,
      });
      download(named(shown, "png"), blob);
    },
  };

  function button(action) {
    return menu.querySelector(`[data-action="${action}"]`);
  }

  function tell() {
    const { resolution } = prepare();
    fill(panel.querySelector("table"), panel.querySelector("[data-more]"), card.table(), {
      zone,
      resolution,
      words,
    });
  }

  menu.addEventListener("click", (event) => {
    const action = event.target.closest("[data-action]")?.dataset.action;
    if (!action) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    actions[action]();
  });
  panel.querySelector("[data-close]").addEventListener("click", () => {
    actions.table();
    menu.querySelector("summary").focus();
  });
  // What is shown changes; the table follows once it stands still.
  let told = "";
  setInterval(() => {
    if (panel.hidden || document.hidden) return;
    const shown = prepare();
    const key = JSON.stringify([shown, card.channels]);
    if (key === told) return;
    told = key;
    tell();
  }, 700);
}

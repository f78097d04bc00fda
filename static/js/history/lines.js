/** Which lines of the charts somebody has switched on or off, for the address of the page. */

const keyOf = (line) => line.sources[0].join(".");

export class Lines {
  /** @param {import("../wattline/chart.js").LiveChart[]} charts as the page was made */
  constructor(charts) {
    this.all = charts.flatMap((chart) =>
      chart.buttons.map((button, i) => ({ chart, button, line: chart.lines[i] })),
    );
    for (const { line } of this.all) line.usual = line.shown;
  }

  /** The lines that differ from the page as it is usually: `{on, off}`, as `device.channel`. */
  get switched() {
    const those = (on) =>
      this.all
        .map(({ line }) => line)
        .filter((line) => line.shown === on && line.usual !== on)
        .map(keyOf);
    return { on: those(true), off: those(false) };
  }

  /** Switch the lines as an address says. */
  restore({ on, off }) {
    for (const { chart, button, line } of this.all) {
      const key = keyOf(line);
      line.shown = on.includes(key) || (line.usual && !off.includes(key));
      button.setAttribute("aria-pressed", String(line.shown));
      chart.dirty = true;
    }
  }
}

/** The marks of the time axis, which all charts of one width share. */

import { ticks } from "./calendar.js";
import { mark } from "./times.js";

const TICK_EVERY_PX = 80;

/** The marks of a view by the width of a chart; those of one width are found once. */
export function marksOf(zone, view) {
  const known = new Map();
  return (width) => {
    const most = Math.max(2, Math.round(width / TICK_EVERY_PX));
    if (!known.has(most)) {
      const { unit, times } = ticks(zone, view.from, view.to, most);
      const marks = times.map((time) => {
        const [label, strong] = mark(zone, time, unit);
        return { time, label, strong };
      });
      known.set(most, marks);
    }
    return known.get(most);
  };
}

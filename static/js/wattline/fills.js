/**
 * Fetching what is missing: asks storage for the holes in the devices' sequence numbers, a few at
 * a time, and again later for what was not committed yet.
 */

// A hole closes by itself when the frame is only late; at once, storage would not have it yet.
const FIRST_ASK_MS = 700;
const LAST_ASK_MS = 15_000;

export class Fills {
  #due = new Map(); // device → {at, wait}
  #asked = new Set();

  /**
   * @param {(request: {device: number, from: number, to: number}) => boolean} ask
   * @param {() => number} now ms
   */
  constructor(ask, now) {
    this.ask = ask;
    this.now = now;
  }

  /** The connection is new: what was asked on the old one will not be answered. */
  reset() {
    this.#asked.clear();
    for (const entry of this.#due.values()) entry.at = this.now();
  }

  /** Ask for every hole that is due; call it about once a second. */
  run(devices) {
    for (const [device, sequences] of devices) {
      if (sequences.missing.length === 0) {
        this.#due.delete(device);
        continue;
      }
      const entry = this.#due.get(device);
      if (!entry) {
        this.#due.set(device, { at: this.now() + FIRST_ASK_MS, wait: FIRST_ASK_MS });
      } else if (!this.#asked.has(device) && entry.at <= this.now()) {
        const [from, to] = sequences.missing[0];
        if (this.ask({ device, from, to })) this.#asked.add(device);
      }
    }
  }

  /** The answer to a request: all from `from` to `to` has come (an empty range: nothing yet). */
  answered(device, sequences, from, to) {
    this.#asked.delete(device);
    const progress = to >= from;
    if (progress) sequences.covered(from, to);
    const entry = this.#due.get(device);
    if (!entry) return;
    entry.wait = progress ? FIRST_ASK_MS : Math.min(LAST_ASK_MS, entry.wait * 2);
    entry.at = this.now() + (progress ? 0 : entry.wait);
  }
}

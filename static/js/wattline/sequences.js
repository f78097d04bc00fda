/**
 * What has been received from one device, by sequence number: everything up to `highest` except
 * the ranges in `missing`. It decides whether a frame is new, so that no point is drawn twice, and
 * which frames are to be fetched from storage, so that none is left out.
 *
 * Firmware log lines and events share the device's numbering with the frames. A hole may therefore
 * hold no frame at all; only storage knows, and its answer names the range that it covers.
 */
export class Sequences {
  constructor() {
    this.highest = null;
    /** @type {[number, number][]} inclusive, ascending, disjoint */
    this.missing = [];
  }

  /** Storage has given everything up to `sequence` that belongs into the window. */
  backfilled(sequence) {
    if (this.highest === null || sequence > this.highest) this.highest = sequence;
  }

  /** Take a frame out of the backfill; false when it is known already. */
  takeStored(sequence) {
    if (this.highest !== null && sequence <= this.highest) return this.#fill(sequence, sequence);
    this.highest = sequence;
    return true;
  }

  /** Take a live frame; false when it is known already. What it jumps over becomes missing. */
  takeLive(sequence) {
    if (this.highest !== null && sequence <= this.highest) return this.#fill(sequence, sequence);
    if (this.highest !== null && sequence > this.highest + 1) {
      this.missing.push([this.highest + 1, sequence - 1]);
    }
    this.highest = sequence;
    return true;
  }

  /** Take a frame that was asked for; false when it is not missing (any more). */
  takeFill(sequence) {
    return this.#fill(sequence, sequence);
  }

  /** Storage has given everything that there is between `first` and `last`, both included. */
  covered(first, last) {
    this.#fill(first, last);
  }

  #fill(first, last) {
    let found = false;
    const rest = [];
    for (const [from, to] of this.missing) {
      if (to < first || from > last) {
        rest.push([from, to]);
        continue;
      }
      found = true;
      if (from < first) rest.push([from, first - 1]);
      if (to > last) rest.push([last + 1, to]);
    }
    this.missing = rest;
    return found;
  }
}

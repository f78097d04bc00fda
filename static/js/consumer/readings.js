/**
 * The newest reading of each channel, and the power of the parts of a home that follows from them.
 *
 * The meter at the mains counts in from the grid, generation is positive when it gives, storage
 * when it takes: what the home uses is grid + generation − storage. A part whose devices have been
 * silent for too long is unknown; without generation or storage the rest still makes a sum, because
 * an inverter sleeps at night.
 */

export class Readings {
  #latest = new Map(); // "device/channel" → {time, value}

  /**
   * @param {{id: number, known_ms: number, resolutions: Record<string, number>}[]} devices
   * @param {Record<string, [number, number][]>} parts device and channel of each source
   */
  constructor(devices, parts) {
    this.devices = new Map(devices.map((device) => [device.id, device]));
    this.parts = parts;
  }

  /** Take the newest sample of each channel out of decoded blocks; whether any was newer. */
  take(deviceId, blocks) {
    const device = this.devices.get(deviceId);
    if (!device) return false;
    let fresh = false;
    for (const block of blocks) {
      for (const [row, number] of block.channels.entries()) {
        const resolution = device.resolutions[number];
        if (resolution === undefined) continue;
        const at = lastPresent(block, row);
        if (at < 0) continue;
        const time = Number(block.times[at]);
        const key = `${deviceId}/${number}`;
        if (time <= (this.#latest.get(key)?.time ?? -Infinity)) continue;
        this.#latest.set(key, { time, value: Number(block.values[row][at]) * resolution });
        fresh = true;
      }
    }
    return fresh;
  }

  /**
   * A part at `now`: `{watts, time, known}`, `time` being the oldest of its readings; null when it
   * has none, or not all.
   */
  part(name, now) {
    const sources = this.parts[name];
    if (!sources) return null;
    let watts = 0;
    let time = Infinity;
    let known = true;
    for (const [device, channel] of sources) {
      const reading = this.#latest.get(`${device}/${channel}`);
      if (!reading) return null;
      watts += reading.value;
      time = Math.min(time, reading.time);
      known &&= now - reading.time <= this.devices.get(device).known_ms;
    }
    return { watts, time, known };
  }

  /**
   * Everything at `now`: watts by part (null: unknown), what the home uses, when that was measured
   * (null: never), and whether it is of now.
   */
  state(now) {
    const found = {};
    for (const name of Object.keys(this.parts)) found[name] = this.part(name, now);
    const mains = found.grid ?? null;
    if (mains === null) return { parts: watts(found, true), home: null, time: null, known: false };
    // What was heard last shows the former balance as a whole, of now only what is of now.
    const shown = watts(found, mains.known);
    return { parts: shown, home: homeOf(shown), time: mains.time, known: mains.known };
  }
}

/**
 * What the home uses by the watts of its parts (null: silent); null without the mains, and where
 * the sum is less than nothing because of a silent part: what is fed in comes from that one.
 */
export function homeOf(parts) {
  if ((parts.grid ?? null) === null) return null;
  const home = parts.grid + (parts.generation ?? 0) - (parts.storage ?? 0);
  return home < 0 && Object.values(parts).includes(null) ? null : home;
}

function watts(found, knownOnly) {
  const usable = (part) => part !== null && (part.known || !knownOnly);
  return Object.fromEntries(
    Object.entries(found).map(([name, part]) => [name, usable(part) ? part.watts : null]),
  );
}

function lastPresent(block, row) {
  const present = block.present?.[row];
  let at = block.times.length - 1;
  while (present && at >= 0 && !present[at]) at -= 1;
  return at;
}

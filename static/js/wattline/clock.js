/**
 * The servers' clock as seen from this browser, by the round trips of the socket's pings.
 *
 * As in NTP, an answer is taken to have been made half-way through its round trip; of the last
 * few round trips the quickest is believed, because it leaves the least room for an error.
 */

const ROUND_TRIPS_KEPT = 8;

export class ServerClock {
  /** @param {() => number} now ms since the Unix epoch by this browser, monotonic */
  constructor(now = () => performance.timeOrigin + performance.now()) {
    this.local = now;
    this.roundTrips = [];
  }

  /** An answer that the server made at `serverMs` came at `receivedMs` for a ping of `sentMs`. */
  observe(sentMs, receivedMs, serverMs) {
    if (receivedMs < sentMs) return;
    this.roundTrips.push({
      ms: receivedMs - sentMs,
      offset: serverMs - (sentMs + receivedMs) / 2,
    });
    if (this.roundTrips.length > ROUND_TRIPS_KEPT) this.roundTrips.shift();
  }

  /** Forget everything: the other end may be another machine now. */
  reset() {
    this.roundTrips = [];
  }

  get known() {
    return this.roundTrips.length > 0;
  }

  /** Server minus browser, ms; 0 while unknown. */
  get offset() {
    if (!this.known) return 0;
    return this.roundTrips.reduce((best, trip) => (trip.ms < best.ms ? trip : best)).offset;
  }

  /** Now, by the servers' clock (ms since the Unix epoch). */
  now() {
    return this.local() + this.offset;
  }
}

/** The median of the last `size` measurements. */
export class RunningMedian {
  constructor(size = 15) {
    this.size = size;
    this.measured = [];
  }

  add(value) {
    this.measured.push(value);
    if (this.measured.length > this.size) this.measured.shift();
  }

  get value() {
    if (this.measured.length === 0) return null;
    const sorted = [...this.measured].sort((a, b) => a - b);
    return sorted[sorted.length >> 1];
  }
}

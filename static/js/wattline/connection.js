/**
 * The WebSocket of a live page: it asks for what the page shows, measures the servers' clock, and
 * comes back by itself when the connection is lost.
 */

// Waits between attempts: doubled from the first up to the last, drawn at random from the upper
// half, so that the pages of a whole company do not return in one instant after an outage.
const FIRST_WAIT_MS = 500;
const LAST_WAIT_MS = 20_000;
// A connection that held so long was a good one: the next loss starts with the first wait again.
const GOOD_AFTER_MS = 10_000;
const PING_EVERY_MS = 5_000;
// Without any sign of the server for so long the connection counts as lost: a phone that changed
// from one network to another is never told so.
const SILENCE_MS = 15_000;

/** Close codes of /ws/live/ after which trying again is useless. */
export const NOT_SIGNED_IN = 4401;
export const NOT_ALLOWED = 4403;
const FINAL = new Set([NOT_SIGNED_IN, NOT_ALLOWED]);

/** The wait before attempt number `attempt` (0 is the first after a loss), in ms. */
export function waitBefore(attempt, random = Math.random) {
  const full = Math.min(LAST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
  return full / 2 + (random() * full) / 2;
}

export class LiveConnection {
  #socket = null;
  #attempt = 0;
  #timers = { retry: null, ping: null };
  #openedAt = 0;
  #heardAt = 0;
  #stopped = false;

  /**
   * @param {object} options
   * @param {string} options.url
   * @param {() => object} options.watch the message that asks for what the page shows
   * @param {import("./clock.js").ServerClock} options.clock
   * @param {(state: string, code: number) => void} options.onState
   *   `connecting`, `live`, `offline` (it will try again) or `ended`; the code of the close
   * @param {(message: object) => void} options.onMessage a JSON message other than a pong
   * @param {(message: ArrayBuffer) => void} options.onRecords a binary message
   * @param {typeof WebSocket} [options.WebSocket]
   */
  constructor(options) {
    this.options = { WebSocket: globalThis.WebSocket, ...options };
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    this.#stopped = false;
    this.#connect();
  }

  /** Close for good. */
  stop() {
    this.#stopped = true;
    this.#clearTimers();
    this.#socket?.close(1000);
  }

  /** Try at once when waiting: the network has come back, or somebody looks at the page again. */
  hurry() {
    if (this.#timers.retry === null) return;
    clearTimeout(this.#timers.retry);
    this.#timers.retry = null;
    this.#connect();
  }

  /** Send a JSON message; false when there is no connection. */
  send(message) {
    if (this.#socket?.readyState !== 1) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #connect() {
    const { WebSocket, url, watch, onState, clock } = this.options;
    onState(this.#attempt === 0 ? "connecting" : "offline", 0);
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heardAt = clock.local();
    socket.onopen = () => {
      this.#openedAt = clock.local();
      clock.reset();
      this.#ping();
      this.send({ watch: watch() });
      onState("live", 0);
    };
    socket.onmessage = (event) => this.#receive(event);
    socket.onclose = (event) => this.#lost(socket, event.code);
    this.#timers.ping ??= setInterval(() => this.#ping(), PING_EVERY_MS);
  }

  #receive(event) {
    const { clock, onMessage, onRecords } = this.options;
    this.#heardAt = clock.local();
    if (typeof event.data !== "string") {
      onRecords(event.data);
      return;
    }
    const message = JSON.parse(event.data);
    if (message.pong === undefined) onMessage(message);
    else clock.observe(message.pong, this.#heardAt, message.server_ms);
  }

  #ping() {
    const { clock } = this.options;
    if (this.#socket && clock.local() - this.#heardAt > SILENCE_MS) {
      const silent = this.#socket;
      this.#lost(silent, 1006); // the closing handshake of a dead connection takes minutes
      silent.close();
      return;
    }
    this.send({ ping: clock.local() });
  }

  #lost(socket, code) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#clearTimers();
    if (this.#stopped) return;
    const { onState, clock } = this.options;
    if (FINAL.has(code)) {
      onState("ended", code);
      return;
    }
    if (this.#openedAt && clock.local() - this.#openedAt > GOOD_AFTER_MS) this.#attempt = 0;
    this.#openedAt = 0;
    const wait = waitBefore(this.#attempt);
    this.#attempt += 1;
    onState("offline", code);
    this.#timers.retry = setTimeout(() => {
      this.#timers.retry = null;
      this.#connect();
    }, wait);
  }

  #clearTimers() {
    clearTimeout(this.#timers.retry);
    clearInterval(this.#timers.ping);
    this.#timers = { retry: null, ping: null };
  }
}

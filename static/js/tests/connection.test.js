import assert from "node:assert/strict";
import { test } from "node:test";

import { ServerClock } from "../wattline/clock.js";
import { LiveConnection, NOT_ALLOWED, waitBefore } from "../wattline/connection.js";

test("waits double up to a bound, and never all fall on one instant", () => {
  assert.deepEqual([0, 1, 2, 20].map((attempt) => waitBefore(attempt, () => 0)), [250, 500, 1000, 10_000]);
  assert.deepEqual([0, 1, 2, 20].map((attempt) => waitBefore(attempt, () => 1)), [500, 1000, 2000, 20_000]);
});

/** The end of a connection that the test plays the server of. */
class Peer {
  static all = [];
  readyState = 0;
  sent = [];

  constructor(url) {
    this.url = url;
    Peer.all.push(this);
  }

  open() {
    this.readyState = 1;
    this.onopen();
  }

  send(text) {
    this.sent.push(JSON.parse(text));
  }

  close(code = 1006) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    this.onclose({ code });
  }
}

function connect(t) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  Peer.all = [];
  const states = [];
  const messages = [];
  const clock = new ServerClock(() => Date.now());
  const connection = new LiveConnection({
    url: "ws://test/ws/live/",
    watch: () => ({ facility: 3 }),
    clock,
    onState: (state) => states.push(state),
    onMessage: (message) => messages.push(message),
    onRecords: (message) => messages.push(message),
    WebSocket: Peer,
  });
  connection.start();
  return { connection, states, messages, clock };
}

test("it asks for what the page shows and measures the clock", (t) => {
  const { states, clock, messages } = connect(t);
  const [peer] = Peer.all;
  peer.open();
  assert.deepEqual(peer.sent, [{ ping: 0 }, { watch: { facility: 3 } }]);
  t.mock.timers.tick(100);
  peer.onmessage({ data: JSON.stringify({ pong: 0, server_ms: 7050 }) });
  assert.equal(clock.offset, 7000);
  peer.onmessage({ data: JSON.stringify({ lost: 3 }) });
  const bytes = new ArrayBuffer(3);
  peer.onmessage({ data: bytes });
  assert.deepEqual(messages, [{ lost: 3 }, bytes]);
  assert.deepEqual(states, ["connecting", "live"]);
});

test("it comes back after a loss", (t) => {
  const { states } = connect(t);
  Peer.all[0].open();
  Peer.all[0].close();
  assert.equal(Peer.all.length, 1);
  t.mock.timers.tick(500);
  assert.equal(Peer.all.length, 2);
  Peer.all[1].open();
  assert.deepEqual(states, ["connecting", "live", "offline", "offline", "live"]);
});

test("it does not come back when access has ended", (t) => {
  const { states } = connect(t);
  Peer.all[0].open();
  Peer.all[0].close(NOT_ALLOWED);
  t.mock.timers.tick(100_000);
  assert.equal(Peer.all.length, 1);
  assert.equal(states.at(-1), "ended");
});

test("a silent connection counts as lost", (t) => {
  connect(t);
  Peer.all[0].open();
  t.mock.timers.tick(20_000);
  t.mock.timers.tick(500);
  assert.equal(Peer.all[0].readyState, 3);
  assert.equal(Peer.all.length, 2);
});

test("it does not wait when the network has come back", (t) => {
  const { connection } = connect(t);
  Peer.all[0].close();
  connection.hurry();
  connection.hurry();
  assert.equal(Peer.all.length, 2);
});

test("stop is for good", (t) => {
  const { connection } = connect(t);
  Peer.all[0].open();
  connection.stop();
  t.mock.timers.tick(100_000);
  assert.equal(Peer.all.length, 1);
  assert.equal(connection.send({ ping: 0 }), false);
});

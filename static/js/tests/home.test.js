// The consumer view: figures, power from readings, and what the picture of the flow says.

import assert from "node:assert/strict";
import test from "node:test";

import { directionOf, levelOf, wordOf } from "../consumer/flow.js";
import { ago, joined, power } from "../consumer/format.js";
import { Readings } from "../consumer/readings.js";

const NOW = 1_790_000_000_000;
const DEVICES = [
  { id: 1, known_ms: 180_000, resolutions: { 0: 0.1 } },
  { id: 2, known_ms: 180_000, resolutions: { 0: 1 } },
  { id: 3, known_ms: 180_000, resolutions: { 4: 1 } },
];
const PARTS = { grid: [[1, 0]], generation: [[2, 0]], storage: [[3, 4]] };

const block = (channel, times, values, present) => ({
  channels: [channel],
  times: times.map(BigInt),
  values: [values.map(BigInt)],
  present: present && [present],
});

test("power has three digits and its prefix, as on the servers", () => {
  const cases = [
    [0, "0 W"],
    [-0.2, "0 W"],
    [840.4, "840 W"],
    [999.4, "999 W"],
    [999.6, "1.00 kW"],
    [1240, "1.24 kW"],
    [9995, "10.0 kW"],
    [12_440, "12.4 kW"],
    [124_400, "124 kW"],
    [-2150, "−2.15 kW"],
    [3_200_000, "3.20 MW"],
  ];
  for (const [watts, text] of cases) {
    assert.equal(joined(power(watts, "en")).replace("\u00a0", " "), text);
  }
  assert.deepEqual(power(1240, "de"), ["1,24", "kW"]);
});

test("how long ago is told in the largest fitting unit", () => {
  const strings = { now: "now", seconds: "%s s", minutes: "%s min", hours: "%s h", days: "%s d" };
  const told = [500, 3000, 89_000, 120_000, 7_200_000, 200_000_000].map((ms) => ago(ms, strings));
  assert.deepEqual(told, ["now", "3 s", "89 s", "2 min", "2 h", "2 d"]);
});

test("the home uses what the grid, generation and storage leave", () => {
  const readings = new Readings(DEVICES, PARTS);
  assert.equal(readings.state(NOW).home, null);
  assert.ok(readings.take(1, [block(0, [NOW - 4000, NOW - 2000], [1, -5000])]));
  assert.ok(readings.take(2, [block(0, [NOW - 2000], [3000])]));
  assert.ok(readings.take(3, [block(4, [NOW - 2000], [1200])]));
  assert.deepEqual(readings.state(NOW), {
    parts: { grid: -500, generation: 3000, storage: 1200 },
    home: 1300,
    time: NOW - 2000,
    known: true,
  });
});

test("an older reading, a missing sample and an unknown device change nothing", () => {
  const readings = new Readings(DEVICES, PARTS);
  readings.take(1, [block(0, [NOW], [100])]);
  assert.equal(readings.take(1, [block(0, [NOW - 1], [999])]), false);
  assert.equal(readings.take(1, [block(0, [NOW + 1], [999], [false])]), false);
  assert.equal(readings.take(9, [block(0, [NOW + 1], [999])]), false);
  assert.equal(readings.take(1, [block(7, [NOW + 1], [999])]), false);
  assert.equal(readings.part("grid", NOW).watts, 10);
});

test("what is fed in while a part is silent is not taken for a home that uses nothing", () => {
  const readings = new Readings(DEVICES, PARTS);
  readings.take(1, [block(0, [NOW], [-30_000])]);
  assert.equal(readings.state(NOW).home, null);
  assert.equal(readings.state(NOW).parts.grid, -3000);
  readings.take(2, [block(0, [NOW], [3200])]);
  assert.equal(readings.state(NOW).home, 200);
  readings.take(2, [block(0, [NOW + 1], [2990])]);
  readings.take(3, [block(4, [NOW], [0])]);
  // All are heard: what is missing is the moment between two samples.
  assert.equal(readings.state(NOW + 1).home, -10);
});

test("a sleeping inverter is left out, a silent meter makes everything what it was", () => {
  const readings = new Readings(DEVICES, PARTS);
  readings.take(1, [block(0, [NOW], [10_000])]);
  readings.take(2, [block(0, [NOW - 600_000], [800])]);
  assert.deepEqual(readings.state(NOW).parts, { grid: 1000, generation: null, storage: null });
  assert.equal(readings.state(NOW).home, 1000);
  const later = readings.state(NOW + 600_000);
  assert.deepEqual([later.known, later.home, later.time], [false, 1800, NOW]);
});

test("lines run towards the middle where power comes from", () => {
  assert.equal(directionOf("grid", 100), "in");
  assert.equal(directionOf("grid", -100), "out");
  assert.equal(directionOf("generation", 100), "in");
  assert.equal(directionOf("storage", 100), "out");
  assert.equal(directionOf("storage", -100), "in");
  assert.equal(directionOf("home", 100), "out");
  assert.equal(directionOf("home", 3), "none");
  assert.equal(directionOf("grid", null), "none");
});

test("levels grow with the share of the largest flow", () => {
  assert.equal(levelOf(0, 5000), 0);
  assert.equal(levelOf(null, 5000), 0);
  assert.equal(levelOf(10, 20), 1);
  assert.equal(levelOf(5000, 5000), 5);
  assert.ok(levelOf(500, 5000) < levelOf(2500, 5000));
});

test("words say which way it goes", () => {
  const strings = { to_grid: "into", from_grid: "from", idle: "idle", unknown: "?", using: "use" };
  assert.equal(wordOf("grid", -100, strings), "into");
  assert.equal(wordOf("grid", 100, strings), "from");
  assert.equal(wordOf("grid", 2, strings), "idle");
  assert.equal(wordOf("grid", null, strings), "?");
  assert.equal(wordOf("home", 100, strings), "use");
});

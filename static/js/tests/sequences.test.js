import assert from "node:assert/strict";
import { test } from "node:test";

import { Fills } from "../wattline/fills.js";
import { Sequences } from "../wattline/sequences.js";

test("frames in order are taken once", () => {
  const seen = new Sequences();
  seen.backfilled(10);
  assert.deepEqual([11, 12, 12, 11, 10].map((n) => seen.takeLive(n)), [true, true, false, false, false]);
  assert.deepEqual(seen.missing, []);
});

test("the backfill may jump over log lines without leaving a hole", () => {
  const seen = new Sequences();
  assert.deepEqual([3, 7, 7, 9].map((n) => seen.takeStored(n)), [true, true, false, true]);
  seen.backfilled(12);
  assert.equal(seen.takeLive(13), true);
  assert.deepEqual(seen.missing, []);
});

test("a live frame that jumps leaves a hole, which is filled once", () => {
  const seen = new Sequences();
  seen.backfilled(10);
  seen.takeLive(15);
  assert.deepEqual(seen.missing, [[11, 14]]);
  assert.equal(seen.takeFill(12), true);
  assert.equal(seen.takeFill(12), false);
  assert.deepEqual(seen.missing, [[11, 11], [13, 14]]);
  assert.equal(seen.takeLive(13), true, "a late live frame closes its part of the hole");
  seen.covered(11, 14);
  assert.deepEqual(seen.missing, []);
  assert.equal(seen.takeFill(14), false, "storage has said that there is no frame 14");
});

test("after a reconnect the backfill closes holes that were open", () => {
  const seen = new Sequences();
  seen.backfilled(10);
  seen.takeLive(14);
  assert.equal(seen.takeStored(12), true);
  assert.deepEqual(seen.missing, [[11, 11], [13, 13]]);
});

test("any order of arrival ends with every frame exactly once", () => {
  let state = 12345;
  const random = () => (state = (state * 1103515245 + 12345) % 2 ** 31) / 2 ** 31;
  for (let round = 0; round < 300; round += 1) {
    const seen = new Sequences();
    const taken = new Map();
    const take = (n, fresh) => fresh && taken.set(n, (taken.get(n) ?? 0) + 1);
    const frames = new Set();
    for (let n = 1; n <= 40; n += 1) if (random() < 0.8) frames.add(n); // the rest are log lines
    const committed = Math.floor(random() * 20);
    for (const n of frames) if (n <= committed) take(n, seen.takeStored(n));
    seen.backfilled(committed);
    for (const n of frames) {
      if (n > committed && random() < 0.5) take(n, seen.takeLive(n));
      if (random() < 0.1) take(n, seen.takeLive(n)); // a repeated frame
    }
    seen.takeLive(41);
    while (seen.missing.length > 0) {
      const [from, to] = seen.missing[0];
      const covered = Math.min(to, from + Math.floor(random() * 5));
      for (const n of frames) if (n >= from && n <= covered) take(n, seen.takeFill(n));
      for (const n of frames) if (n >= from && n <= covered) take(n, seen.takeFill(n));
      seen.covered(from, covered);
    }
    assert.deepEqual([...taken.keys()].sort((a, b) => a - b), [...frames].sort((a, b) => a - b));
    assert.deepEqual([...new Set(taken.values())], frames.size ? [1] : []);
  }
});

test("a hole is asked for after a moment, once until answered, and later again", () => {
  let now = 0;
  const asked = [];
  const fills = new Fills((request) => asked.push(request) > 0, () => now);
  const seen = new Sequences();
  seen.backfilled(1);
  seen.takeLive(5);
  const devices = new Map([[7, seen]]);
  fills.run(devices);
  assert.deepEqual(asked, []);
  now = 1000;
  fills.run(devices);
  fills.run(devices);
  assert.deepEqual(asked, [{ device: 7, from: 2, to: 4 }]);
  fills.answered(7, seen, 2, 3); // 4 is not committed yet
  now = 2000;
  fills.run(devices);
  assert.deepEqual(asked.at(-1), { device: 7, from: 4, to: 4 });
  fills.answered(7, seen, 4, 3); // still nothing: wait longer
  fills.run(devices);
  assert.equal(asked.length, 2);
  now = 60_000;
  fills.run(devices);
  assert.equal(asked.length, 3);
  fills.answered(7, seen, 4, 4);
  fills.run(devices);
  assert.deepEqual(seen.missing, []);
});

test("a new connection asks again", () => {
  let now = 0;
  const asked = [];
  const fills = new Fills((request) => asked.push(request) > 0, () => now);
  const seen = new Sequences();
  seen.backfilled(1);
  seen.takeLive(3);
  const devices = new Map([[7, seen]]);
  fills.run(devices);
  now = 1000;
  fills.run(devices);
  fills.reset();
  fills.run(devices);
  assert.equal(asked.length, 2);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { Series, newestSum, sumLine } from "../wattline/series.js";

const WINDOW = 900_000;

function series(times, values = times, step = 2000) {
  const made = new Series(step, WINDOW);
  made.add(times, values);
  return made;
}

test("readings that arrive late are merged in by time", () => {
  const merged = series([0, 2000, 8000], [1, 2, 5]);
  merged.add([4000, 6000], [3, 4]);
  assert.deepEqual(merged.line(0, 10_000, 500), {
    x: [0, 2000, 4000, 6000, 8000],
    y: [1, 2, 3, 4, 5],
  });
});

test("a reading of the same instant is not doubled", () => {
  const twice = series([0, 2000], [1, 2]);
  twice.add([0, 2000], [1, 2]);
  assert.equal(twice.length, 2);
});

test("one missing sample breaks the line", () => {
  assert.deepEqual(series([0, 2000, 4000, 8000], [1, 2, 3, 4]).line(0, 9000, 500), {
    x: [0, 2000, 4000, 4001, 8000],
    y: [1, 2, 3, null, 4],
  });
});

test("a sample marked as missing breaks the line", () => {
  assert.deepEqual(series([0, 2000, 4000], [1, NaN, 3]).line(0, 9000, 500).y, [1, null, 3]);
});

test("a device that measures more seldom than it is set to is drawn as a line", () => {
  const slow = series([0, 3000, 6000, 9000, 12_000], [1, 2, 3, 4, 5], 1000);
  assert.equal(slow.line(0, 20_000, 500).y.includes(null), false);
});

test("a device that is set to measure seldom is drawn as a line although it bursts", () => {
  const burst = series([0, 100, 200, 300, 10_300], [1, 2, 3, 4, 5], 10_000);
  assert.equal(burst.line(0, 20_000, 500).y.includes(null), false);
});

test("what leaves the window is dropped, the memory stays bounded", () => {
  const long = new Series(1000, WINDOW);
  for (let second = 0; second < 20_000; second += 1) long.add([second * 1000], [second]);
  assert.ok(long.length <= 901 + 64, `${long.length} readings kept`);
  assert.ok(long.times.length <= 2048);
  assert.equal(long.last.value, 19_999);
});

test("a flood inside the window is bounded as well", () => {
  const flood = new Series(1, WINDOW);
  const times = Array.from({ length: 120_000 }, (_, index) => index);
  flood.add(times, times);
  assert.ok(flood.length <= 50_000, `${flood.length} readings kept`);
  assert.equal(flood.last.value, 119_999);
});

test("the line comes in from beyond the left edge", () => {
  assert.deepEqual(series([0, 2000, 4000]).line(1000, 5000, 500).x, [0, 2000, 4000]);
});

test("thinning keeps every peak and stays within the points asked for", () => {
  const times = Array.from({ length: 9000 }, (_, index) => index * 100);
  const values = times.map((time) => Math.sin(time / 5000));
  values[4321] = 50;
  values[7777] = -50;
  const thin = series(times, values, 100);
  const line = thin.line(0, 900_000, 500);
  assert.ok(line.x.length <= 510, `${line.x.length} points`);
  assert.equal(Math.max(...line.y), 50);
  assert.equal(Math.min(...line.y), -50);
  assert.deepEqual(line.x, [...line.x].sort((a, b) => a - b));
});

test("thinning keeps gaps", () => {
  const times = Array.from({ length: 4000 }, (_, index) => index * 100 + (index >= 2000 ? 60_000 : 0));
  const line = series(times, times, 100).line(0, 900_000, 500);
  assert.equal(line.y.filter((value) => value === null).length, 1);
});

test("a thinned line does not flicker while the window moves", () => {
  const times = Array.from({ length: 9000 }, (_, index) => index * 100);
  const values = times.map((time) => Math.sin(time / 700));
  const moving = series(times, values, 100);
  const before = moving.line(0, 900_000, 500);
  const after = moving.line(2000, 902_000, 500);
  const drawn = new Set(before.x);
  const inside = after.x.filter((time) => time > 10_000 && time < 890_000);
  assert.deepEqual(inside.filter((time) => !drawn.has(time)), []);
});

test("the last reading is the last one that is not missing", () => {
  assert.deepEqual(series([0, 2000], [7, NaN]).last, { time: 0, value: 7 });
  assert.equal(new Series(2000, WINDOW).last, null);
});

test("a value holds until the next reading, but not across a gap", () => {
  const held = series([0, 2000, 4000, 20_000], [1, 2, 3, 4]);
  assert.equal(held.at(2999), 2);
  assert.equal(held.at(-1), null);
  assert.equal(held.at(10_000), null);
  assert.equal(held.at(20_000), 4);
});

test("the sum of two meters that measure at different instants holds each until its next reading", () => {
  const one = series([0, 2000, 4000], [10, 20, 30]);
  const other = series([1000, 3000, 5000], [1, 2, 3]);
  assert.deepEqual(sumLine([one, other], 1, 6000, 500), {
    x: [0, 1000, 2000, 3000, 4000, 5000],
    y: [null, 11, 21, 22, 32, 33],
  });
});

test("the sum has a gap where one meter has one", () => {
  const one = series([0, 2000, 4000, 6000, 8000, 10_000], [1, 1, 1, 1, 1, 1]);
  const other = series([0, 2000, 4000, 10_000], [2, 2, 2, 2]);
  assert.deepEqual(sumLine([one, other], 0, 12_000, 500).y, [3, 3, 3, 3, null, 3]);
});

test("the newest values add up while all of them hold", () => {
  const one = series([0, 2000], [10, 20]);
  const other = series([0, 1000], [1, NaN]);
  assert.equal(newestSum([one, other], 3000), 21);
  assert.equal(newestSum([one, other], 60_500), null);
  assert.equal(newestSum([one, undefined], 3000), null);
  assert.equal(newestSum([], 3000), null);
});

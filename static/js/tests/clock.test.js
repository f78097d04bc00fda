import assert from "node:assert/strict";
import { test } from "node:test";

import { RunningMedian, ServerClock } from "../wattline/clock.js";
import { timeOfDay, zoneOffsetMs } from "../wattline/zone.js";
import { decimalsOf, prefixOf, readable } from "../wattline/units.js";

const HOUR = 3_600_000;

test("the quickest round trip tells the offset", () => {
  const clock = new ServerClock(() => 1000);
  assert.equal(clock.now(), 1000);
  clock.observe(0, 400, 5000 + 350); // slow on the way there
  clock.observe(500, 520, 5000 + 510);
  clock.observe(900, 1300, 5000 + 920);
  assert.equal(clock.offset, 5000);
  assert.equal(clock.now(), 6000);
});

test("old round trips are forgotten", () => {
  const clock = new ServerClock(() => 0);
  clock.observe(0, 2, 101);
  for (let i = 0; i < 8; i += 1) clock.observe(0, 20, 210);
  assert.equal(clock.offset, 200);
});

test("a clock that was set back between ping and pong is not believed", () => {
  const clock = new ServerClock(() => 0);
  clock.observe(10, 5, 100);
  assert.equal(clock.known, false);
});

test("the running median forgets", () => {
  const median = new RunningMedian(3);
  assert.equal(median.value, null);
  for (const value of [1000, 5, 7, 6]) median.add(value);
  assert.equal(median.value, 6);
});

test("zones have their offset at the time in question", () => {
  const winter = Date.UTC(2026, 0, 15, 12);
  const summer = Date.UTC(2026, 6, 15, 12);
  assert.equal(zoneOffsetMs("Europe/Berlin", winter), HOUR);
  assert.equal(zoneOffsetMs("Europe/Berlin", summer), 2 * HOUR);
  assert.equal(zoneOffsetMs("Asia/Kolkata", winter), 5.5 * HOUR);
  assert.equal(zoneOffsetMs("Australia/Lord_Howe", winter), 11 * HOUR);
  assert.equal(zoneOffsetMs("Australia/Lord_Howe", summer), 10.5 * HOUR);
  assert.equal(zoneOffsetMs("UTC", winter + 0.75), 0);
});

test("the offset changes in the very second in which the clock changes", () => {
  const change = Date.UTC(2026, 9, 25, 1); // 03:00 CEST becomes 02:00 CET
  assert.equal(zoneOffsetMs("Europe/Berlin", change - 1), 2 * HOUR);
  assert.equal(zoneOffsetMs("Europe/Berlin", change), HOUR);
});

test("midnight is 00:00, not 24:00", () => {
  assert.equal(timeOfDay("Europe/Berlin", Date.UTC(2026, 0, 14, 23, 0, 5)), "00:00:05");
});

test("values are shown with a prefix where a person would", () => {
  assert.deepEqual(readable(1234.5, "W"), ["1.23", "kW"]);
  assert.deepEqual(readable(-312, "W", 0), ["−312", "W"]);
  assert.deepEqual(readable(-0.001, "W", 1), ["0.0", "W"]);
  assert.deepEqual(readable(2_345_678, "Wh"), ["2.35", "MWh"]);
  assert.deepEqual(readable(1234.5, "V", 1), ["1,234.5", "V"]);
  assert.deepEqual(readable(0.98, "1", 2), ["0.98", ""]);
  assert.deepEqual(readable(50.01, "Hz", 2), ["50.01", "Hz"]);
  assert.deepEqual(readable(12_345, "°C", 1), ["12,345.0", "°C"]);
});

test("an axis takes the prefix of its largest value", () => {
  assert.deepEqual(prefixOf(999, "W"), [1, ""]);
  assert.deepEqual(prefixOf(12_000, "W"), [1e3, "k"]);
  assert.deepEqual(prefixOf(2e6, "Wh"), [1e6, "M"]);
  assert.deepEqual(prefixOf(1_200, "V"), [1, ""]);
  assert.deepEqual(prefixOf(12_000, "°C"), [1, ""]);
});

test("a resolution tells the decimals", () => {
  assert.deepEqual(["1", "0.1", "0.01", "0.001", "0.0001", "10", "0.5"].map(decimalsOf), [0, 1, 2, 3, 3, 0, 1]);
});

import assert from "node:assert/strict";
import { test } from "node:test";

import { decimalsOf, readable } from "../wattline/units.js";

test("a value takes the prefix that leaves three digits", () => {
  assert.deepEqual(readable(4213, "W"), ["4.21", "kW"]);
  assert.deepEqual(readable(42_130, "W"), ["42.1", "kW"]);
  assert.deepEqual(readable(421_300, "W"), ["421", "kW"]);
  assert.deepEqual(readable(-1_240_000, "Wh"), ["−1.24", "MWh"]);
});

test("small values, volts and ratios stay as they are", () => {
  assert.deepEqual(readable(312, "W", 0), ["312", "W"]);
  assert.deepEqual(readable(229.84, "V", 1), ["229.8", "V"]);
  assert.deepEqual(readable(0.98, "1"), ["0.98", ""]);
  assert.deepEqual(readable(-0.001, "A"), ["0.00", "A"]);
});

test("a resolution says how many decimals are worth showing", () => {
  assert.equal(decimalsOf("0.1"), 1);
  assert.equal(decimalsOf("1"), 0);
  assert.equal(decimalsOf("0.00001"), 3);
});

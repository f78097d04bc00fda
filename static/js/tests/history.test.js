import assert from "node:assert/strict";
import { test } from "node:test";

import { read, written } from "../history/address.js";
import { HOUR, civil, instantOf, periodOf, shifted, startOfDay, ticks } from "../history/calendar.js";
import { Track, decode, total, trackOfSeries } from "../history/columns.js";
import { best, isComplete, questionOf, suffices } from "../history/loader.js";
import { Playback } from "../history/playback.js";
import { extent, scaleOf } from "../history/plot.js";
import { csvOf, isoIn } from "../history/saving.js";
import { Series } from "../wattline/series.js";

const BERLIN = "Europe/Berlin";
const at = (text) => Date.parse(text);

test("a day has the hours that its clocks show", () => {
  for (const [noon, hours] of [
    ["2026-10-25T12:00:00Z", 25],
    ["2026-03-29T12:00:00Z", 23],
    ["2026-11-20T12:00:00Z", 24],
  ]) {
    const { from, to } = periodOf("today", BERLIN, at(noon));
    assert.equal((to - from) / HOUR, hours);
    assert.equal(civil(BERLIN, from).hour, 0);
  }
});

test("a midnight that clocks skip is the instant at which they do", () => {
  // In Beirut the 27th of March 2022 began at one o'clock.
  const from = instantOf("Asia/Beirut", 2022, 3, 27);
  assert.equal(from, at("2022-03-26T22:00:00Z"));
  assert.equal(civil("Asia/Beirut", from).hour, 1);
});

test("of a time that was twice the first is taken", () => {
  assert.equal(instantOf(BERLIN, 2026, 10, 25, 2, 30), at("2026-10-25T00:30:00Z"));
});

test("the period before a month is a month, before a day a day", () => {
  const month = periodOf("last-month", BERLIN, at("2026-04-10T08:00:00Z"));
  const before = shifted(BERLIN, month, -1);
  assert.deepEqual(before, { from: at("2026-01-31T23:00:00Z"), to: at("2026-02-28T23:00:00Z") });
  const long = { from: at("2026-10-24T22:00:00Z"), to: at("2026-10-25T23:00:00Z") };
  assert.deepEqual(shifted(BERLIN, long, 1), {
    from: at("2026-10-25T23:00:00Z"),
    to: at("2026-10-26T23:00:00Z"),
  });
  assert.deepEqual(shifted(BERLIN, shifted(BERLIN, long, 1), -1), long);
  assert.deepEqual(shifted(BERLIN, { from: 1_000, to: 3_500 }, -1), { from: -1_500, to: 1_000 });
});

test("the axis of a day of 25 hours has its hour of two o'clock twice", () => {
  const { from, to } = periodOf("today", BERLIN, at("2026-10-25T12:00:00Z"));
  const { unit, step, times } = ticks(BERLIN, from, to, 30);
  assert.deepEqual([unit, step, times.length], ["hour", 1, 26]);
  const hours = times.map((time) => civil(BERLIN, time).hour);
  assert.deepEqual(hours.slice(0, 5), [0, 1, 2, 2, 3]);
});

test("ticks lie on the clock of the zone and inside of what is shown", () => {
  for (const zone of [BERLIN, "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns"]) {
    for (const span of [60_000, HOUR, 26 * HOUR, 40 * 24 * HOUR, 800 * 24 * HOUR]) {
      const from = at("2026-03-20T05:07:13Z");
      const { unit, times } = ticks(zone, from, from + span, 8);
      assert.ok(times.length >= 1 && times.length <= 11, `${zone} ${span}: ${times.length}`);
      assert.deepEqual(times, [...new Set(times)].sort((a, b) => a - b));
      for (const time of times) {
        assert.ok(time >= from && time <= from + span);
        const { hour, minute, second, day } = civil(zone, time);
        if (unit !== "second") assert.equal(second, 0);
        if (unit === "hour") assert.equal(minute, 0);
        if (unit === "day" || unit === "month") assert.equal(hour + minute, 0);
        if (unit === "month") assert.equal(day, 1);
      }
    }
  }
});

function readings(times, values, gaps = []) {
  const gap = new Uint8Array(times.length);
  for (const place of gaps) gap[place] = 1;
  return new Track({
    raw: true, step: 2_000, begin: Float64Array.from(times), mean: Float64Array.from(values), gap,
  });
}

test("a reading holds until the next one, and not across a gap", () => {
  const track = readings([0, 2_000, 600_000], [1, 2, 3], [2]);
  assert.deepEqual(
    [-1, 0, 1_999, 2_000, 61_000, 63_000, 600_000, 660_001].map((time) => track.valueAt(time)),
    [null, 1, 1, 2, 2, null, 3, null],
  );
});

test("a sum of readings is known where all of its parts are", () => {
  const one = readings([0, 2_000, 4_000, 600_000], [1, 2, 3, 4], [3]);
  const two = readings([0, 2_000, 600_000, 602_000], [10, 20, 30, 40], [2]);
  const sum = total([one, two]);
  assert.deepEqual([...sum.begin], [0, 2_000, 4_000, 600_000, 602_000]);
  assert.deepEqual([...sum.mean], [11, 22, 23, 34, 44]);
  assert.deepEqual([...sum.gap], [0, 0, 0, 1, 0]);
  assert.equal(total([one, undefined]), null);
});

function periodsOf(begins, means, length = HOUR) {
  const nothing = Float64Array.from(begins, () => NaN);
  return new Track({
    raw: false,
    begin: Float64Array.from(begins),
    end: Float64Array.from(begins, (time) => time + length),
    gap: Uint8Array.from(begins, (time, i) => (i > 0 && time - begins[i - 1] > length ? 1 : 0)),
    mean: Float64Array.from(means),
    low: Float64Array.from(means, (value) => value - 1),
    high: Float64Array.from(means, (value) => value + 1),
    last: nothing, energy: nothing, returned: nothing,
    coverage: Float64Array.from(begins, () => 1),
  });
}

test("a sum of periods has those that all parts have, and no extremes", () => {
  const sum = total([periodsOf([0, HOUR, 3 * HOUR], [1, 2, 3]), periodsOf([HOUR, 3 * HOUR], [10, 20])]);
  assert.deepEqual([...sum.begin], [HOUR, 3 * HOUR]);
  assert.deepEqual([...sum.mean], [12, 23]);
  assert.deepEqual([...sum.gap], [0, 1]);
  assert.ok(sum.low.every(Number.isNaN));
});

test("a period tells of its own time alone, the last one a little longer", () => {
  const track = periodsOf([0, 2 * HOUR], [5, 6]);
  assert.equal(track.valueAt(HOUR - 1), 5);
  assert.equal(track.valueAt(HOUR), null);
  assert.equal(track.entryAt(3 * HOUR), -1);
  assert.equal(track.valueAt(4 * HOUR), 6);
  assert.equal(track.valueAt(6 * HOUR), null);
});

test("columns come as numbers, whatever their types are", () => {
  const head = JSON.stringify({
    start: 1_000, end: 9_000, resolution: "raw", reason: "short",
    channels: [{
      device: 7, number: 1, unit: "V", step: 2_000, scale: [1, 10],
      columns: { time: ["u4", 0, 2], value: ["i4", 8, 2], gap: ["u4", 16, 1] },
    }],
  });
  const text = head + " ".repeat((8 - ((head.length + 4) % 8)) % 8);
  const buffer = new ArrayBuffer(4 + text.length + 24);
  new DataView(buffer).setUint32(0, text.length, true);
  new Uint8Array(buffer, 4).set(new TextEncoder().encode(text));
  new Uint32Array(buffer, 4 + text.length, 2).set([0, 4_000]);
  new Int32Array(buffer, 12 + text.length, 2).set([-2_301, 2_301]);
  new Uint32Array(buffer, 20 + text.length, 1).set([1]);
  const { tracks, from, resolution } = decode(buffer);
  const track = tracks.get("7/1");
  assert.deepEqual([from, resolution], [1_000, "raw"]);
  assert.deepEqual([...track.begin], [1_000, 5_000]);
  assert.deepEqual([...track.mean], [-230.1, 230.1]);
  assert.deepEqual([...track.gap], [0, 1]);
});

test("what a live page holds becomes a track with the same gaps", () => {
  const series = new Series(2_000, 900_000);
  series.add([0, 2_000, 4_000, 6_000, 30_000], [1, 2, NaN, 4, 5]);
  const track = trackOfSeries(series, 1_000, 40_000);
  assert.deepEqual([...track.begin], [2_000, 6_000, 30_000]);
  assert.deepEqual([...track.gap], [0, 1, 1]);
});

test("what is asked for encloses the view in full quarters", () => {
  const view = { from: 100_000_000, to: 100_000_000 + 24 * HOUR };
  const { from, to, points } = questionOf(view);
  assert.ok(from < view.from && to > view.to);
  assert.deepEqual([from % 900_000, to % 900_000], [0, 0]);
  assert.ok(points > 300 && points < 600);
  assert.ok(suffices({ from, to, complete: false }, view));
  assert.ok(!suffices({ from, to, complete: false }, { from: view.from, to: view.from + HOUR }));
  assert.ok(suffices({ from, to, complete: true }, { from: view.from, to: view.from + HOUR }));
  const short = { from: view.from, to: view.from + 5 * HOUR };
  const around = { from: view.from - HOUR, to: view.from + 6 * HOUR, complete: false };
  assert.ok(!suffices({ ...around, points: 400 }, short));
  assert.ok(suffices({ ...around, points: 8_000 }, short));
  assert.ok(!suffices({ from, to, complete: true }, { from: from - 1, to: view.to }));
});

test("what may have been thinned is not taken for all", () => {
  const layer = (length, resolution = "raw") => ({ resolution, tracks: new Map([["7/0", { length }]]) });
  assert.ok(isComplete(layer(0), 40) && isComplete(layer(20), 40));
  assert.ok(!isComplete(layer(30), 40) && !isComplete(layer(40), 40));
  assert.ok(!isComplete(layer(20, "quarter"), 40));
});

test("the coarser is shown until the finer has come", () => {
  const year = { from: 0, to: 1_000, complete: false, at: 1 };
  const day = { from: 400, to: 500, complete: false, at: 2 };
  const view = { from: 440, to: 460 };
  assert.equal(best([year], view), year);
  assert.equal(best([year, day], view), day);
  assert.equal(best([year, day], { from: 440, to: 900 }), year);
  assert.equal(best([day], { from: 600, to: 900 }), null);
});

test("what is played goes on by the clock and ends in what is live", () => {
  const playback = new Playback();
  playback.play(1_000, 60, 500);
  playback.tick(600, 1e9);
  assert.equal(playback.at, 7_000);
  playback.still(playback.at);
  playback.tick(5_000, 1e9);
  assert.deepEqual([playback.mode, playback.at], ["still", 7_000]);
  playback.play(7_000, 600, 5_000);
  playback.tick(6_000, 20_000);
  assert.deepEqual([playback.mode, playback.at], ["live", null]);
});

test("an address brings the view back", () => {
  const now = at("2026-11-21T10:00:00Z");
  const view = { from: 1_793_000_000_000, to: 1_793_000_900_000 };
  const state = { name: null, view, at: view.to, compare: true, on: ["7.3"], off: ["7.0", "8.1"] };
  const text = written("?level=20", state);
  assert.equal(
    text,
    "?level=20&from=1793000000000&to=1793000900000&at=1793000900000&compare=1&on=7.3&off=7.0,8.1",
  );
  assert.deepEqual(read(text, BERLIN, now), state);
  const preset = written(text, { ...state, name: "yesterday" });
  const found = read(preset, BERLIN, now);
  assert.deepEqual([found.name, found.view], ["yesterday", periodOf("yesterday", BERLIN, now)]);
  const live = { name: null, view: null, at: null, compare: false, on: [], off: [] };
  assert.equal(written(text, live), "?level=20");
});

test("an address that makes no sense shows what is live", () => {
  for (const text of ["?period=never", "?from=5", "?from=9&to=3", "?from=x&to=y", "?period=toString"]) {
    const { name, view } = read(text, BERLIN, 0);
    assert.deepEqual([name, view], [null, null]);
  }
});

test("a scale has round steps and holds what there is", () => {
  for (const [low, high] of [[0, 1], [-312, 4_870], [229.1, 231.7], [0, 0.003], [-5, -1]]) {
    const scale = scaleOf(low, high, 5);
    assert.ok(scale.low <= low && scale.high >= high);
    assert.ok((scale.high - scale.low) / scale.step <= 7 + 1e-6);
  }
});

test("the extent of a view is that of what it shows", () => {
  const track = periodsOf([0, HOUR, 2 * HOUR], [10, 99, 20]);
  assert.deepEqual(extent(track, { from: 0, to: HOUR - 1 }), [9, 11]);
  assert.deepEqual(extent(track, { from: 0, to: 3 * HOUR }), [9, 100]);
});

test("a file has times with their offset, and no formulas", () => {
  assert.equal(isoIn(BERLIN, at("2026-10-25T00:30:00Z")), "2026-10-25T02:30:00.000+02:00");
  assert.equal(isoIn(BERLIN, at("2026-10-25T01:30:00Z")), "2026-10-25T02:30:00.000+01:00");
  assert.equal(isoIn("America/St_Johns", 0), "1969-12-31T20:30:00.000-03:30");
  const rows = [{ begin: 0, end: 0, values: [1.5, null] }];
  const text = csvOf({ columns: ["=A1", 'Say "so", L1'], rows }, "UTC", { time: "Time" });
  assert.equal(
    text,
    `Time,'=A1,"Say ""so"", L1"\r\n1970-01-01T00:00:00.000+00:00,1.5,\r\n`,
  );
});

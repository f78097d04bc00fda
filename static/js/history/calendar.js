/**
 * Periods and ticks in the calendar of a facility: days begin at its midnight and have 23, 24 or 25
 * hours, whatever the browser's own zone is. Instants are ms since the Unix epoch.
 */

import { zoneOffsetMs } from "../wattline/zone.js";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

/** What clock and calendar show in `zone` at `time`; `month` counts from 1. */
export function civil(zone, time) {
  const at = new Date(time + zoneOffsetMs(zone, time));
  return {
    year: at.getUTCFullYear(),
    month: at.getUTCMonth() + 1,
    day: at.getUTCDate(),
    hour: at.getUTCHours(),
    minute: at.getUTCMinutes(),
    second: at.getUTCSeconds(),
  };
}

/**
 * The first instant at which `zone` shows this time; numbers may overflow as those of Date.UTC. A
 * time that clocks skip is the instant at which they do.
 */
export function instantOf(zone, year, month, day, hour = 0, minute = 0) {
  const local = Date.UTC(year, month - 1, day, hour, minute);
  const offsets = [local - DAY, local + DAY].map((time) => zoneOffsetMs(zone, time));
  const candidates = offsets.map((offset) => local - offset).sort((a, b) => a - b);
  const found = candidates.find((time) => time + zoneOffsetMs(zone, time) === local);
  if (found !== undefined) return found;
  let [low, high] = candidates;
  const before = zoneOffsetMs(zone, low);
  while (high - low > SECOND) {
    const middle = Math.floor((low + high) / 2 / SECOND) * SECOND;
    if (zoneOffsetMs(zone, middle) === before) low = middle;
    else high = middle;
  }
  return high;
}

/** Where the local day of `time` begins, or the one `days` later. */
export function startOfDay(zone, time, days = 0) {
  const { year, month, day } = civil(zone, time);
  return instantOf(zone, year, month, day + days);
}

/** Where the local month of `time` begins, or the one `months` later. */
export function startOfMonth(zone, time, months = 0) {
  const { year, month } = civil(zone, time);
  return instantOf(zone, year, month + months, 1);
}

const year = (zone, time, years = 0) => instantOf(zone, civil(zone, time).year + years, 1, 1);

const PERIODS = {
  hour: (zone, now) => [now - HOUR, now],
  today: (zone, now) => [startOfDay(zone, now), startOfDay(zone, now, 1)],
  yesterday: (zone, now) => [startOfDay(zone, now, -1), startOfDay(zone, now)],
  "7d": (zone, now) => [startOfDay(zone, now, -6), startOfDay(zone, now, 1)],
  "30d": (zone, now) => [startOfDay(zone, now, -29), startOfDay(zone, now, 1)],
  month: (zone, now) => [startOfMonth(zone, now), startOfMonth(zone, now, 1)],
  "last-month": (zone, now) => [startOfMonth(zone, now, -1), startOfMonth(zone, now)],
  year: (zone, now) => [year(zone, now), year(zone, now, 1)],
  "last-year": (zone, now) => [year(zone, now, -1), year(zone, now)],
};

/** The period of a preset at `now`: `{from, to}`; null for a name that is none. */
export function periodOf(name, zone, now) {
  if (!Object.hasOwn(PERIODS, name)) return null;
  const [from, to] = PERIODS[name](zone, now);
  return { from, to };
}

/**
 * The period as long as this one, `count` further on: full months and full days stay such, whatever
 * their length is.
 */
export function shifted(zone, { from, to }, count) {
  const isMidnight = [from, to].every((time) => startOfDay(zone, time) === time);
  if (!isMidnight) {
    const step = (to - from) * count;
    return { from: from + step, to: to + step };
  }
  const [a, b] = [civil(zone, from), civil(zone, to)];
  if (a.day === 1 && b.day === 1) {
    const months = ((b.year - a.year) * 12 + b.month - a.month) * count;
    return { from: startOfMonth(zone, from, months), to: startOfMonth(zone, to, months) };
  }
  const noon = ({ year, month, day }) => Date.UTC(year, month - 1, day);
  const days = ((noon(b) - noon(a)) / DAY) * count;
  return { from: startOfDay(zone, from, days), to: startOfDay(zone, to, days) };
}

// --- ticks ------------------------------------------------------------------------------------

const SMALL = [1, 2, 5, 10, 15, 30].flatMap((n) => [n * SECOND]).concat(
  [1, 2, 5, 10, 15, 30].map((n) => n * MINUTE),
);
const HOURS = [1, 2, 3, 6, 12];
const DAYS = [1, 2, 7];
const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120];

/**
 * Where the axis from `from` to `to` has its marks, at most about `most`:
 * `{step, unit, times}` with `unit` one of second, minute, hour, day and month.
 */
export function ticks(zone, from, to, most) {
  const span = to - from;
  const small = SMALL.find((step) => span / step <= most);
  if (small) {
    const unit = small < MINUTE ? "second" : "minute";
    return { unit, step: small, times: even(zone, from, to, small) };
  }
  const hours = HOURS.find((step) => span / HOUR / step <= most);
  if (hours) return { unit: "hour", step: hours, times: fullHours(zone, from, to, hours) };
  const days = DAYS.find((step) => span / DAY / step <= most);
  if (days) return { unit: "day", step: days, times: fullDays(zone, from, to, days) };
  const months = MONTHS.find((step) => span / (30 * DAY) / step <= most) ?? MONTHS.at(-1);
  return { unit: "month", step: months, times: fullMonths(zone, from, to, months) };
}

/** The next instant after `time` at which the clock of `zone` shows a multiple of `step`. */
function next(zone, time, step) {
  const shown = time + zoneOffsetMs(zone, time);
  return time + step - (((shown % step) + step) % step);
}

function even(zone, from, to, step) {
  const times = [];
  for (let time = next(zone, from - 1, step); time <= to; time = next(zone, time, step)) {
    times.push(time);
  }
  return times;
}

function fullHours(zone, from, to, step) {
  return even(zone, from, to, HOUR).filter((time) => civil(zone, time).hour % step === 0);
}

function fullDays(zone, from, to, step) {
  const times = [];
  const first = civil(zone, from);
  for (let number = 0; ; number += 1) {
    const time = instantOf(zone, first.year, first.month, first.day + number);
    if (time > to) return times;
    const { day } = civil(zone, time);
    // Steps begin anew with each month, and leave its last days out rather than crowd the first.
    const fits = step === 1 || ((day - 1) % step === 0 && day <= 31 - step + (step > 2 ? -2 : 0));
    if (time >= from && fits) times.push(time);
  }
}

function fullMonths(zone, from, to, step) {
  const times = [];
  const first = civil(zone, from);
  for (let number = 0; ; number += 1) {
    const time = instantOf(zone, first.year, first.month + number, 1);
    if (time > to) return times;
    const { year: at, month } = civil(zone, time);
    const fits = step <= 12 ? (month - 1) % step === 0 : month === 1 && at % (step / 12) === 0;
    if (time >= from && fits) times.push(time);
  }
}

/**
 * A value with its unit as a person reads it: `1.24 kW`, `229.8 V`, `−312 W`.
 */

const PREFIXED = new Set(["W", "var", "VA", "Wh", "varh", "A", "V", "Hz"]);
const KILO_AND_UP = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];
// Volts, amperes and hertz of a building are read as they are.
const PLAIN_UP_TO = { V: 1e4, A: 1e4, Hz: 1e6 };

const language = globalThis.document?.documentElement.lang || "en";
const formats = new Map();

/** `value` with `digits` decimals as the page's language writes it, with a real minus sign. */
export function localNumber(value, digits) {
  let format = formats.get(digits);
  if (!format) {
    format = new Intl.NumberFormat(language, {
      minimumFractionDigits: digits,
      maximumFractionDigits: digits,
    });
    formats.set(digits, format);
  }
  return format.format(value).replace(/^-(0([.,]0+)?)$/, "$1").replace("-", "−");
}

/** Decimals that leave three significant digits (portal/frame/quantities.py does the same). */
function digitsOf(scaled) {
  if (Math.abs(scaled) < 10) return 2;
  return Math.abs(scaled) < 100 ? 1 : 0;
}

/** Factor and prefix by which a value of this size is read in `unit`, e.g. `[1000, "k"]`. */
export function prefixOf(size, unit) {
  if (!PREFIXED.has(unit) || size < (PLAIN_UP_TO[unit] ?? 1e3)) return [1, ""];
  return KILO_AND_UP.find(([factor]) => size >= factor);
}

/** `value` split into number and unit, e.g. `["1.24", "kW"]`. */
export function readable(value, unit, decimals = 2) {
  let scaled = value;
  let prefix = "";
  const size = Math.abs(value);
  if (PREFIXED.has(unit) && size >= (PLAIN_UP_TO[unit] ?? 1e3)) {
    [scaled, prefix] = KILO_AND_UP.filter(([factor]) => size >= factor).map(([factor, name]) => [
      value / factor,
      name,
    ])[0];
  }
  const digits = prefix ? digitsOf(scaled) : decimals;
  return [localNumber(scaled, digits), unit === "1" ? "" : prefix + unit];
}

/** The decimals that a channel of `resolution` (in its unit) is worth showing with, 3 at most. */
export function decimalsOf(resolution) {
  const decimals = Math.ceil(-Math.log10(Number(resolution)) - 1e-9);
  return Math.min(3, Math.max(0, decimals));
}

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
  const digits = prefix ? 2 : decimals;
  const text = scaled.toFixed(digits).replace(/^-(0(\.0+)?)$/, "$1").replace("-", "−");
  return [text, unit === "1" ? "" : prefix + unit];
}

/** The decimals that a channel of `resolution` (in its unit) is worth showing with, 3 at most. */
export function decimalsOf(resolution) {
  const decimals = Math.ceil(-Math.log10(Number(resolution)) - 1e-9);
  return Math.min(3, Math.max(0, decimals));
}

/**
 * Power and energy as people read them: number and unit apart, the number in the reader's format.
 * The servers' side is `portal/consumer/figures.py`.
 */

const PREFIXES = [
  [1e9, "G"],
  [1e6, "M"],
  [1e3, "k"],
];

/** `value` split into number and unit with three digits, e.g. `["1.24", "kW"]`. */
function figure(value, unit, language, smallest = 1) {
  const size = Math.max(Math.abs(value), smallest);
  // 999.6 W is 1.00 kW: what counts is the size after rounding.
  const [factor, prefix] = PREFIXES.find(([one]) => Math.round(size) >= one) ?? [1, ""];
  const scaled = value / factor;
  const whole = String(Math.trunc(Math.abs(scaled) + 0.005)).length;
  const decimals = factor === 1 ? 0 : Math.max(0, Math.min(2, 3 - whole));
  const text = new Intl.NumberFormat(language, {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
    useGrouping: false,
    signDisplay: "negative",
  }).format(scaled);
  return [text.replace("-", "−"), prefix + unit];
}

/** Power: `["840", "W"]`, `["1.24", "kW"]`. */
export const power = (watts, language) => figure(watts, "W", language);

/** Number and unit on one line, which does not break between them. */
export const joined = ([number, unit]) => `${number}\u00a0${unit}`;

/** How long ago, in the words of `strings`. */
export function ago(ms, strings) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 2) return strings.now;
  if (seconds < 90) return strings.seconds.replace("%s", seconds);
  if (seconds < 5400) return strings.minutes.replace("%s", Math.round(seconds / 60));
  if (seconds < 172_800) return strings.hours.replace("%s", Math.round(seconds / 3600));
  return strings.days.replace("%s", Math.round(seconds / 86_400));
}

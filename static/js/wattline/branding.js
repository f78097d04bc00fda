/**
 * The preview of a tenant's colours: while a colour is typed, the sample of its theme takes it. The
 * server decides whether it may be (portal/frame/colours.py, from which the shares come).
 */

const COLOUR = /^#[0-9a-f]{6}$/i;
const SOFT_PERCENT = { light: 12, dark: 22 };
const ON_ACCENT = ["#ffffff", "#0b1220"];

function luminance(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => {
    const value = Number.parseInt(colour.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

function show(field) {
  const theme = field.dataset.accent;
  const sample = document.querySelector(`[data-sample-of="${theme}"]`);
  const colour = COLOUR.test(field.value) ? field.value : sample.dataset.default;
  const [on] = ON_ACCENT.toSorted((a, b) => contrast(b, colour) - contrast(a, colour));
  const soft = `color-mix(in srgb, ${colour} ${SOFT_PERCENT[theme]}%, var(--wl-surface))`;
  sample.style.setProperty("--wl-accent", colour);
  sample.style.setProperty("--wl-accent-soft", soft);
  sample.style.setProperty("--wl-on-accent", on);
}

for (const field of document.querySelectorAll("[data-accent]")) {
  field.addEventListener("input", () => show(field));
  if (field.value) show(field);
}

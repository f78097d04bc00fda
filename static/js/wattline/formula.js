/**
 * The editor of a formula, `<form data-formula>`: names of channels (`data-insert`) are written where
 * the caret is; a check that names a place in the text (`data-position`) has it pointed out.
 */

const form = document.querySelector("form[data-formula]");
const field = form?.elements.namedItem("text");

const needsSpace = (character) => character !== undefined && /[A-Za-z0-9_.]/.test(character);

const insert = (name) => {
  const { selectionStart: start, selectionEnd: end, value } = field;
  const before = needsSpace(value[start - 1]) ? " " : "";
  const after = needsSpace(value[end]) ? " " : "";
  field.setRangeText(`${before}${name}${after}`, start, end, "end");
  field.focus();
  field.dispatchEvent(new Event("input", { bubbles: true }));
};

const point = () => {
  const told = form.querySelector("[data-position]");
  field.setAttribute("aria-invalid", String(form.querySelector(".wl-formula-error") !== null));
  if (!told || told.querySelector("mark")) return;
  const at = Number(told.dataset.position);
  const rest = field.value.slice(at).match(/^([A-Za-z0-9_.]+|[\s\S])/);
  if (!rest) return;
  const place = document.createElement("code");
  const mark = document.createElement("mark");
  mark.textContent = rest[0];
  place.className = "wl-formula";
  place.append(field.value.slice(Math.max(0, at - 30), at), mark, field.value.slice(at + rest[0].length, at + 30));
  told.append(place);
};

if (field) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-insert]");
    if (button) insert(button.dataset.insert);
  });
  form.addEventListener("htmx:afterSwap", point);
}

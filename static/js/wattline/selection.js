/**
 * Rows of a list that are chosen for one action: `<form data-selection="device">` counts the boxes of
 * that name, chooses all of the page, and shows its buttons once something is chosen. Without this
 * module the boxes and buttons work all the same; the server says when nothing was chosen.
 */

const form = document.querySelector("[data-selection]");
const all = form?.querySelector("[data-selection-all]");
const count = form?.querySelector("output");

const boxes = () => [
  ...document.querySelectorAll(`input[type="checkbox"][name="${form.dataset.selection}"]`),
];

function refresh() {
  const found = boxes();
  const chosen = found.filter((box) => box.checked).length;
  all.checked = chosen > 0 && chosen === found.length;
  all.indeterminate = chosen > 0 && chosen < found.length;
  all.disabled = found.length === 0;
  const { none, one, many } = count.dataset;
  const text = chosen === 0 ? none : chosen === 1 ? one : many.replace("%s", String(chosen));
  if (count.textContent !== text) count.textContent = text;
  form.toggleAttribute("data-empty", chosen === 0);
}

if (form) {
  all.addEventListener("change", () => {
    for (const box of boxes()) box.checked = all.checked;
    refresh();
  });
  document.addEventListener("change", (event) => {
    if (event.target.name === form.dataset.selection) refresh();
  });
  // Another page of the list, or the list filtered: its boxes are new.
  document.addEventListener("htmx:afterSwap", refresh);
  // A page that "back" restores has its boxes as they were left.
  window.addEventListener("pageshow", refresh);
  refresh();
}

/** Lists that HTMX brings: addresses without empty filters, and what is being loaded is said. */

document.addEventListener("htmx:configRequest", (event) => {
  if (!event.target.closest("[data-list-filter]")) return;
  const { parameters } = event.detail;
  for (const name of Object.keys(parameters)) {
    if (parameters[name] === "") delete parameters[name];
  }
});
for (const [name, busy] of [
  ["htmx:beforeRequest", "true"],
  ["htmx:afterRequest", "false"],
]) {
  document.addEventListener(name, (event) => {
    event.detail.target?.setAttribute("aria-busy", busy);
  });
}

// Filters take a phone's whole screen: there they are folded until one is used or asked for.
const phone = matchMedia("(width < 700px)");
function fold() {
  for (const more of document.querySelectorAll("[data-filter-more]")) {
    more.open = !phone.matches || "narrowed" in more.dataset;
  }
}
phone.addEventListener("change", fold);
fold();

// Typing has been listened to already: leaving the field must not bring the list a second time,
// under the pointer that has just opened one of its entries.
document.addEventListener(
  "change",
  (event) => {
    if (event.target.matches("[data-list-filter] input[type=search]")) event.stopPropagation();
  },
  true,
);

// What was typed before this script was there, or is what the browser kept over a reload.
document.addEventListener("DOMContentLoaded", () => {
  for (const field of document.querySelectorAll("[data-list-filter] input[type=search]")) {
    if (field.value !== field.defaultValue) field.form.requestSubmit();
  }
});

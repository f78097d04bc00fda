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

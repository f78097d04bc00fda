// Runs before the page is painted (a classic script in the head), so that a dark page never
// flashes light. The choice of the person wins over that of the system.
(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const stored = () => {
    try {
      return localStorage.getItem("wattline-theme");
    } catch {
      return null; // storage is switched off in this browser: the system decides
    }
  };
  const apply = () => {
    const theme = stored() ?? (system.matches ? "dark" : "light");
    document.documentElement.dataset.bsTheme = theme;
    document.dispatchEvent(new CustomEvent("wattline:theme", { detail: theme }));
  };
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = document.documentElement.dataset.bsTheme === "dark" ? "light" : "dark";
    try {
      localStorage.setItem("wattline-theme", next);
    } catch {
      document.documentElement.dataset.bsTheme = next;
    }
    apply();
  });
})();

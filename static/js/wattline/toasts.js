/**
 * Messages at the edge of the page. Good news goes by itself; what went wrong stays until it is
 * closed, and so does a message while the pointer or the focus is on it.
 */

const SHOWN_MS = 7000;
const list = document.getElementById("toasts");

function close(toast) {
  toast.remove();
}

function keep(toast) {
  return toast.matches(":hover") || toast.contains(document.activeElement);
}

function goByItself(toast) {
  if (["error", "warning"].includes(toast.dataset.tone)) return;
  const wait = () => setTimeout(() => (keep(toast) ? wait() : close(toast)), SHOWN_MS);
  wait();
}

/** Show `text`; `tone` is success, info, warning or error. */
export function toast(text, tone = "info") {
  const element = document.createElement("div");
  element.className = "wl-toast";
  element.dataset.tone = tone;
  element.setAttribute("role", tone === "error" ? "alert" : "status");
  const line = document.createElement("p");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "wl-tool";
  button.dataset.toastClose = "";
  button.setAttribute("aria-label", list.dataset.close);
  button.textContent = "×";
  element.append(line, button);
  list.append(element);
  line.textContent = text; // after it is in the page, so that it is read out
  goByItself(element);
}

for (const shown of list?.children ?? []) goByItself(shown);

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-toast-close]");
  if (button) close(button.closest(".wl-toast"));
});
document.addEventListener("wattline:toasts", (event) => {
  for (const { text, tone } of event.detail.toasts) toast(text, tone);
});
for (const failure of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failure, () => toast(list.dataset.failed, "error"));
}

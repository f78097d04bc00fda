/**
 * Keeps parts of a page current: an element with `data-refresh="10"` is taken anew from the same
 * address every 10 s, while somebody looks at the page.
 */

async function refresh(element) {
  if (document.hidden || element.contains(document.activeElement)) return;
  let answer;
  try {
    answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  } catch {
    return; // no network: what is shown stays, the next round tries again
  }
  if (answer.redirected || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const replacement = fresh.querySelector("[data-refresh]");
  if (replacement) element.replaceChildren(...replacement.childNodes);
}

for (const element of document.querySelectorAll("[data-refresh]")) {
  const period = Number(element.dataset.refresh) * 1000;
  setInterval(() => refresh(element), period);
  document.addEventListener("visibilitychange", () => refresh(element));
}

/**
 * Keeps parts of a page current: inside an element with `data-refresh="10"` the elements whose ids
 * are named in `data-refresh-parts` are taken anew from the page's address every 10 s, while
 * somebody looks at the page.
 */

let asking = false;

async function refresh(element) {
  if (document.hidden || asking || element.querySelector(".htmx-request")) return;
  asking = true;
  try {
    await take(element);
  } catch {
    // No network: what is shown stays, the next round tries again.
  } finally {
    asking = false;
  }
}

async function take(element) {
  const address = location.href;
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (answer.redirected || !answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  // Meanwhile the list may show another page, or HTMX may be about to.
  if (location.href !== address || element.querySelector(".htmx-request")) return;
  for (const id of element.dataset.refreshParts.split(" ")) {
    const part = document.getElementById(id);
    const replacement = fresh.getElementById(id);
    // What somebody has the focus in would lose it.
    if (!part || !replacement || part.contains(document.activeElement)) continue;
    if (part.innerHTML === replacement.innerHTML) continue;
    part.replaceChildren(...replacement.childNodes);
    globalThis.htmx?.process(part);
  }
}

for (const element of document.querySelectorAll("[data-refresh]")) {
  setInterval(() => refresh(element), Number(element.dataset.refresh) * 1000);
  document.addEventListener("visibilitychange", () => refresh(element));
}

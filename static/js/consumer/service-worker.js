// The service worker of the consumer view. The server puts `const SETUP = {…}` before it: version,
// scope, the page for times without a network and the files that it is made of.
//
// Pages are never kept, they are about somebody: without a network the page of `SETUP.offline` is
// shown, which is about nobody and is filled with what `keeping.js` kept. That is removed as soon
// as a page of this view leads to the sign-in.

const SHELL = `wattline-home-shell-${SETUP.version}`;
const KEPT = "wattline-home-kept";
const FILES = new Set(SETUP.shell);

addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(SHELL).then((cache) =>
      // The page itself anew; the files have the hash of their content in their names.
      cache.addAll([new Request(SETUP.offline, { cache: "reload" }), ...SETUP.shell]),
    ),
  );
});

addEventListener("activate", (event) => {
  event.waitUntil(takeOver());
});

async function takeOver() {
  const names = await caches.keys();
  const former = names.filter((name) => name.startsWith("wattline-home-shell-") && name !== SHELL);
  await Promise.all(former.map((name) => caches.delete(name)));
  await registration.navigationPreload?.enable();
  await clients.claim();
}

addEventListener("message", (event) => {
  if (event.data === "take-over") skipWaiting();
});

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate" && url.pathname.startsWith(SETUP.scope)) {
    event.respondWith(page(event, url));
  } else if (FILES.has(url.pathname)) {
    event.respondWith(file(request));
  }
});

async function page(event, url) {
  let answer;
  try {
    answer = (await event.preloadResponse) ?? (await fetch(event.request));
  } catch {
    return caches.match(SETUP.offline, { cacheName: SHELL });
  }
  // A home leads elsewhere only when nobody is signed in any more.
  const home = url.pathname === SETUP.scope || url.pathname.startsWith(`${SETUP.scope}facilities/`);
  if (home && answer.type === "opaqueredirect") event.waitUntil(caches.delete(KEPT));
  return answer;
}

async function file(request) {
  return (await caches.match(request.url, { cacheName: SHELL })) ?? fetch(request);
}

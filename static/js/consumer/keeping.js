/**
 * What this device keeps for times without a connection: the last known values of one home, with
 * the mark of the session that they belong to. Nothing else about a person is kept, and this goes
 * when the session does. The service worker uses the same cache.
 */

const CACHE = "wattline-home-kept";
const KEY = "/home/kept";

// Only a page that came over a secure connection (or from the own machine) has caches.
const usable = () => "caches" in globalThis;

/** Keep values of the session `tag`, in the place of what was kept before. */
export async function keep(tag, values) {
  if (!usable()) return;
  const cache = await caches.open(CACHE);
  await cache.put(KEY, Response.json({ tag, ...values }));
}

/** What was kept, or null. */
export async function kept() {
  if (!usable()) return null;
  const found = await caches.match(KEY, { cacheName: CACHE });
  return found ? found.json() : null;
}

/** Forget everything that was kept. */
export async function forget() {
  if (usable()) await caches.delete(CACHE);
}

/** Forget what belongs to another session than `tag`. */
export async function forgetOthers(tag) {
  const found = await kept();
  if (found && found.tag !== tag) await forget();
}

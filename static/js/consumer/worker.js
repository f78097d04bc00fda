/**
 * The service worker from the page's side: registers it, offers a new version once it is ready,
 * and offers to install the application where the browser lets a page do so.
 */

/**
 * @param {string} address of the service worker
 * @param {string} scope
 * @param {(load: () => void) => void} offer a new version waits; `load` changes over to it
 */
export async function startWorker(address, scope, offer) {
  if (!("serviceWorker" in navigator)) return;
  const container = navigator.serviceWorker;
  // The first worker takes over a page that had none: nothing new to load then.
  let replaced = container.controller !== null;
  let reloading = false;
  container.addEventListener("controllerchange", () => {
    if (!replaced) {
      replaced = true;
    } else if (!reloading) {
      reloading = true;
      location.reload();
    }
  });
  const registration = await container.register(address, { scope });
  const waiting = () => {
    const worker = registration.waiting;
    if (worker && container.controller) offer(() => worker.postMessage("take-over"));
  };
  waiting();
  registration.addEventListener("updatefound", () => {
    registration.installing?.addEventListener("statechange", waiting);
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) registration.update().catch(() => {}); // no network: next time
  });
}

/** Show `button` when the browser offers to install, and do so when it is pressed. */
export function offerInstallation(button) {
  let offered = null;
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    offered = event;
    button.hidden = false;
  });
  button.addEventListener("click", async () => {
    await offered?.prompt();
    offered = null;
    button.hidden = true;
  });
  addEventListener("appinstalled", () => {
    button.hidden = true;
  });
}

// The service worker from the page's side: the first one takes over in silence, a later one is
// offered and loads the page anew once.

import assert from "node:assert/strict";
import test from "node:test";

import { startWorker } from "../consumer/worker.js";

class Container extends EventTarget {
  constructor(controller) {
    super();
    this.controller = controller;
    this.registration = Object.assign(new EventTarget(), { waiting: null, installing: null });
  }

  async register(address, { scope }) {
    this.registered = [address, scope];
    return this.registration;
  }
}

/** A browser with this container; how often the page was loaded anew. */
function browser(container) {
  const loads = [];
  Object.defineProperty(globalThis, "navigator", {
    value: { serviceWorker: container },
    configurable: true,
  });
  globalThis.location = { reload: () => loads.push("reload") };
  globalThis.document = Object.assign(new EventTarget(), { hidden: false });
  return loads;
}

/** A new version that waits, and what it is told. */
function arrive(container) {
  const told = [];
  const worker = Object.assign(new EventTarget(), { postMessage: (text) => told.push(text) });
  container.registration.installing = worker;
  container.registration.dispatchEvent(new Event("updatefound"));
  container.registration.waiting = worker;
  worker.dispatchEvent(new Event("statechange"));
  return told;
}

test("the first worker takes over in silence", async () => {
  const container = new Container(null);
  const loads = browser(container);
  const offers = [];
  await startWorker("/home/service-worker.js", "/home/", (load) => offers.push(load));
  assert.deepEqual(container.registered, ["/home/service-worker.js", "/home/"]);
  arrive(container);
  container.controller = {};
  container.dispatchEvent(new Event("controllerchange"));
  assert.deepEqual([offers.length, loads], [0, []]);
});

test("a new version is offered, and loads the page once when it is taken", async () => {
  const container = new Container({});
  const loads = browser(container);
  const offers = [];
  await startWorker("/home/service-worker.js", "/home/", (load) => offers.push(load));
  const told = arrive(container);
  assert.deepEqual([offers.length, told, loads], [1, [], []]);
  offers[0]();
  assert.deepEqual(told, ["take-over"]);
  container.dispatchEvent(new Event("controllerchange"));
  container.dispatchEvent(new Event("controllerchange"));
  assert.deepEqual(loads, ["reload"]);
});

test("a version that was waiting before the page came is offered at once", async () => {
  const container = new Container({});
  browser(container);
  container.registration.waiting = { postMessage: () => {} };
  const offers = [];
  await startWorker("/home/service-worker.js", "/home/", (load) => offers.push(load));
  assert.equal(offers.length, 1);
});

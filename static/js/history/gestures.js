/**
 * Fingers, mouse, wheel and keys on a chart, as changes of the period that it shows.
 *
 * Drag: along; with Shift: choose a span to look at. Two fingers, or the wheel with Ctrl: nearer and
 * further. Tap: an instant. Double click: back. Keys: arrows, plus, minus, Home.
 */

const DRAG_PX = 4;
const CHOSEN_PX = 8;
const WHEEL_SPEED = 0.0022;
const KEY_STEP = 0.2;
const KEY_ZOOM = 1.6;

/**
 * @param {HTMLElement} element
 * @param {object} handlers
 * @param {(x: number) => number} handlers.fraction the place of `x` px between left (0) and right (1)
 * @param {(by: number) => void} handlers.move by a part of the period; positive is later
 * @param {(factor: number, around: number) => void} handlers.zoom above 1 shows less of time
 * @param {() => void} handlers.begin a movement begins
 * @param {() => void} handlers.settle a movement is over
 * @param {(from: number, to: number) => void} handlers.choose fractions
 * @param {(from: number | null, to: number) => void} handlers.choosing px, null when it is over
 * @param {(at: number) => void} handlers.tap fraction
 * @param {(x: number | null) => void} handlers.hover px
 * @param {() => void} handlers.reset
 */
export function listen(element, handlers) {
  const fingers = new Map(); // pointer → {x, first}
  let gesture = null; // drag, pinch, choose
  const px = (event) => event.clientX - element.getBoundingClientRect().left;
  const part = (a, b) => handlers.fraction(b) - handlers.fraction(a);

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    fingers.set(event.pointerId, { x: px(event), first: px(event) });
    if (fingers.size === 2) {
      if (gesture === null) handlers.begin();
      gesture = "pinch";
    }
  });

  element.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    const x = px(event);
    if (!finger) {
      if (event.pointerType !== "touch") handlers.hover(x);
      return;
    }
    if (gesture === null && Math.abs(x - finger.first) > DRAG_PX) {
      gesture = event.shiftKey ? "choose" : "drag";
      element.setPointerCapture(event.pointerId);
      handlers.hover(null);
      if (gesture === "drag") handlers.begin();
    }
    if (gesture === "drag") handlers.move(-part(finger.x, x));
    else if (gesture === "choose") handlers.choosing(finger.first, x);
    else if (gesture === "pinch") pinch(event.pointerId, finger, x);
    finger.x = x;
  });

  function pinch(pointer, finger, x) {
    const other = [...fingers].find(([id]) => id !== pointer)?.[1];
    if (!other) return;
    const [before, after] = [Math.abs(finger.x - other.x), Math.abs(x - other.x)];
    if (before < 12 || after < 12) return;
    handlers.zoom(after / before, handlers.fraction(other.x));
  }

  function end(event) {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    fingers.delete(event.pointerId);
    if (fingers.size > 0) return;
    const done = gesture;
    gesture = null;
    if (done === null && event.type === "pointerup") {
      handlers.tap(handlers.fraction(finger.x));
    } else if (done === "choose") {
      handlers.choosing(null, 0);
      const [a, b] = [finger.first, finger.x].sort((one, two) => one - two);
      if (event.type === "pointerup" && b - a >= CHOSEN_PX) {
        handlers.choose(handlers.fraction(a), handlers.fraction(b));
      }
    } else if (done !== null) {
      handlers.settle();
    }
  }
  for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, end);
  element.addEventListener("pointerleave", () => handlers.hover(null));

  let wheeling = null;
  element.addEventListener(
    "wheel",
    (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      // The wheel alone belongs to the page.
      if (!event.ctrlKey && !event.metaKey && !sideways) return;
      event.preventDefault();
      if (wheeling === null) handlers.begin();
      clearTimeout(wheeling);
      wheeling = setTimeout(() => {
        wheeling = null;
        handlers.settle();
      }, 160);
      if (sideways) handlers.move(part(0, event.deltaX));
      else handlers.zoom(Math.exp(-event.deltaY * WHEEL_SPEED), handlers.fraction(px(event)));
    },
    { passive: false },
  );

  element.addEventListener("dblclick", (event) => {
    event.preventDefault();
    handlers.reset();
  });

  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target !== element) return;
    const action = {
      ArrowLeft: () => handlers.move(-KEY_STEP),
      ArrowRight: () => handlers.move(KEY_STEP),
      "+": () => handlers.zoom(KEY_ZOOM, 0.5),
      "=": () => handlers.zoom(KEY_ZOOM, 0.5),
      "-": () => handlers.zoom(1 / KEY_ZOOM, 0.5),
      Home: () => handlers.reset(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    if (event.key !== "Home") handlers.begin();
    action();
    if (event.key !== "Home") handlers.settle();
  });
}

/** Counts down what is left of an impersonation, and loads the page again when it has ended. */

const shown = document.querySelector("[data-seconds-left]");

function start(element) {
  const endsAt = performance.now() + Number(element.dataset.secondsLeft) * 1000;
  const tick = () => {
    const left = Math.max(0, Math.ceil((endsAt - performance.now()) / 1000));
    const seconds = String(left % 60).padStart(2, "0");
    element.textContent = `${Math.floor(left / 60)}:${seconds}`;
    if (left > 0) return;
    clearInterval(timer);
    // What was typed is lost with the right to save it; the address is asked for anew.
    location.assign(location.href);
  };
  const timer = setInterval(tick, 1000);
  tick();
}

if (shown) start(shown);

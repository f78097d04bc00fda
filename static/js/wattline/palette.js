/**
 * The command palette: Ctrl-K or ⌘K, or the search button. The field keeps the focus and points to
 * the option that Enter opens (the listbox pattern of ARIA); options are ordinary links.
 */

const palette = document.getElementById("palette");
const apple = /Mac|iPhone|iPad/.test(navigator.platform);
const DELAY_MS = 120;

class Palette {
  #dialog;
  #field;
  #found;
  #status;
  #asked = null;
  #timer = 0;

  constructor(dialog) {
    this.#dialog = dialog;
    this.#field = dialog.querySelector("input");
    this.#found = dialog.querySelector("[role=listbox]");
    this.#status = dialog.querySelector("[role=status]");
    this.#field.addEventListener("input", () => {
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#ask(), DELAY_MS);
    });
    this.#field.addEventListener("keydown", (event) => this.#key(event));
  }

  open() {
    if (this.#dialog.open) return;
    this.#field.value = "";
    this.#dialog.showModal();
    this.#ask();
  }

  close() {
    this.#dialog.close();
  }

  get isOpen() {
    return this.#dialog.open;
  }

  async #ask() {
    this.#asked?.abort(); // of two answers only that to the last question counts
    this.#asked = new AbortController();
    const address = `${this.#dialog.dataset.suggest}?q=${encodeURIComponent(this.#field.value)}`;
    let answer;
    try {
      answer = await fetch(address, { signal: this.#asked.signal });
    } catch {
      return; // asked anew, or no network: what is shown stays
    }
    if (answer.redirected) {
      location.reload(); // signed out meanwhile: the page leads to the sign-in and back
      return;
    }
    if (!answer.ok) return;
    this.#found.innerHTML = await answer.text();
    this.#select(this.#options[0]);
    const text = this.#status.dataset.count.replace("{n}", this.#options.length);
    this.#status.textContent = text;
  }

  get #options() {
    return [...this.#found.querySelectorAll("[role=option]")];
  }

  get #selected() {
    return this.#found.querySelector('[aria-selected="true"]');
  }

  #select(option) {
    this.#selected?.setAttribute("aria-selected", "false");
    option?.setAttribute("aria-selected", "true");
    option?.scrollIntoView({ block: "nearest" });
    if (option) this.#field.setAttribute("aria-activedescendant", option.id);
    else this.#field.removeAttribute("aria-activedescendant");
  }

  #key(event) {
    const options = this.#options;
    const at = options.indexOf(this.#selected);
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1 };
    if (event.key in steps && options.length) {
      event.preventDefault();
      this.#select(options.at(steps[event.key] % options.length));
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      this.#selected?.click();
    }
  }
}

if (palette) {
  const shown = new Palette(palette);
  document.addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || event.altKey || event.shiftKey) return;
    if (!(apple ? event.metaKey : event.ctrlKey)) return;
    event.preventDefault();
    if (shown.isOpen) shown.close();
    else shown.open();
  });
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-palette-open]");
    if (!opener || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    shown.open();
  });
  palette.addEventListener("click", (event) => {
    if (event.target === palette) shown.close();
  });
  if (apple) {
    for (const key of document.querySelectorAll("[data-shortcut]")) {
      key.textContent = key.dataset.shortcut;
    }
  }
}

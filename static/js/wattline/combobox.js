/**
 * A choice that can be searched: `<select data-combobox>` becomes a combobox with a list (the pattern
 * of WAI-ARIA, "editable combobox with list autocomplete"). The select stays in the form and keeps
 * the value; without this module it is what it was.
 *
 * Every word that is typed must be in an option, in any order; accents and case do not count.
 */

const MOST = 100;
const FEW = 8;

const plain = (text) =>
  text
    .normalize("NFKD")
    .replace(/\p{Mn}/gu, "")
    .toLowerCase();

class Combobox {
  constructor(select) {
    this.select = select;
    this.options = [...select.options].map((option) => ({
      option,
      label: option.textContent.trim(),
      group: option.parentElement.label ?? "",
      words: plain(`${option.textContent} ${option.parentElement.label ?? ""} ${option.value}`),
      starts: plain(option.textContent).split(/[^\p{L}\p{N}]+/u),
    }));
    this.build();
    this.show();
  }

  build() {
    const { select } = this;
    const id = select.id;
    this.box = document.createElement("div");
    this.box.className = "wl-combobox";
    this.input = document.createElement("input");
    Object.assign(this.input, { type: "text", id, autocomplete: "off", spellcheck: false });
    this.list = document.createElement("ul");
    Object.assign(this.list, { id: `${id}-list`, hidden: true });
    this.list.setAttribute("role", "listbox");
    for (const [name, value] of Object.entries({
      role: "combobox",
      "aria-expanded": "false",
      "aria-autocomplete": "list",
      "aria-controls": this.list.id,
    })) {
      this.input.setAttribute(name, value);
    }
    for (const name of ["aria-describedby", "aria-invalid"]) {
      if (select.hasAttribute(name)) this.input.setAttribute(name, select.getAttribute(name));
    }
    const label = document.querySelector(`label[for="${CSS.escape(id)}"]`);
    if (label) this.list.setAttribute("aria-label", label.textContent.trim());
    this.input.required = select.required;
    this.input.disabled = select.disabled;
    select.id = `${id}-value`;
    select.hidden = true;
    select.required = false;
    select.after(this.box);
    this.box.append(this.input, this.list);
    this.listen();
  }

  listen() {
    this.input.addEventListener("input", (event) => {
      event.stopPropagation();
      this.open(this.input.value);
    });
    // What is typed is no change of the form before something is chosen.
    this.input.addEventListener("change", (event) => event.stopPropagation());
    // What is there is replaced by what is typed.
    this.input.addEventListener("focus", () => this.input.select());
    this.input.addEventListener("click", () => {
      this.input.select();
      this.open("");
    });
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (event) => this.key(event));
    // The focus stays in the field while the mouse chooses.
    this.list.addEventListener("mousedown", (event) => event.preventDefault());
    this.list.addEventListener("click", (event) => {
      const item = event.target.closest("[role=option]");
      if (item) this.choose(this.found[Number(item.dataset.at)]);
    });
  }

  key(event) {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves) {
      event.preventDefault();
      if (this.list.hidden) this.open("");
      else this.move(this.at + moves[event.key]);
    } else if (event.key === "Enter" && !this.list.hidden) {
      event.preventDefault();
      if (this.found[this.at]) this.choose(this.found[this.at]);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      event.stopPropagation();
      this.close();
    } else if (event.key === "Tab" && !this.list.hidden && this.input.value.trim() && this.typed) {
      if (this.found[this.at]) this.choose(this.found[this.at]);
    }
  }

  open(text) {
    this.typed = text !== "";
    const words = plain(text).split(/\s+/).filter(Boolean);
    // What begins with the words that are typed comes before what only has them inside.
    const begins = (one) => words.every((word) => one.starts.some((start) => start.startsWith(word)));
    const having = this.options.filter((one) => words.every((word) => one.words.includes(word)));
    const fitting = [...having.filter(begins), ...having.filter((one) => !begins(one))];
    this.found = fitting.slice(0, MOST);
    this.list.replaceChildren(...this.found.map((one, at) => this.item(one, at)));
    if (fitting.length > MOST || fitting.length === 0) {
      const more = document.createElement("li");
      more.setAttribute("role", "presentation");
      more.textContent = fitting.length === 0 ? "–" : `… ${fitting.length - MOST}`;
      this.list.append(more);
    }
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    const current = this.found.findIndex((one) => one.option.selected);
    this.move(this.typed ? 0 : Math.max(0, current));
  }

  item(one, at) {
    const item = document.createElement("li");
    item.setAttribute("role", "option");
    item.id = `${this.input.id}-option-${at}`;
    item.dataset.at = String(at);
    item.textContent = one.label;
    if (one.group) {
      const group = document.createElement("small");
      group.textContent = one.group;
      item.append(group);
    }
    return item;
  }

  move(to) {
    const items = this.list.querySelectorAll("[role=option]");
    this.at = items.length === 0 ? -1 : (to + items.length) % items.length;
    items.forEach((item, at) => item.setAttribute("aria-selected", String(at === this.at)));
    const item = items[this.at];
    if (item) {
      this.input.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    } else {
      this.input.removeAttribute("aria-activedescendant");
    }
  }

  choose(one) {
    this.select.value = one.option.value;
    this.close();
    this.select.dispatchEvent(new Event("change", { bubbles: true }));
  }

  close() {
    this.list.hidden = true;
    this.list.replaceChildren();
    this.input.setAttribute("aria-expanded", "false");
    this.input.removeAttribute("aria-activedescendant");
    this.show();
  }

  /** The field says what is chosen; what was typed and not chosen goes. */
  show() {
    const chosen = this.select.selectedOptions[0];
    const empty = !chosen || chosen.value === "";
    this.input.value = empty ? "" : chosen.textContent.trim();
    this.input.placeholder = empty && chosen ? chosen.textContent.trim() : "";
  }
}

for (const select of document.querySelectorAll("select[data-combobox]")) {
  if (select.options.length > FEW) new Combobox(select);
}

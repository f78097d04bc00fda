/**
 * The side menu with its groups, which small screens open, and menus that hang from a button
 * (`details.wl-menu`).
 */

const side = document.getElementById("side");
const opener = document.querySelector("[data-side-open]");
// Everything beside the open menu is out of reach: the keyboard stays in the menu.
const beside = document.querySelector(".wl-body");

const YEAR_S = 365 * 24 * 3600;
const groups = [...document.querySelectorAll("[data-menu-group]")];

// The server opens the groups that the person keeps open: nothing moves once the page is shown.
// A click comes before what it does: its group is about to be the other way round.
function keepGroups(clicked) {
  const open = groups.filter((group) => group.open !== (group === clicked));
  const codes = open.map((group) => group.dataset.menuGroup).join(".");
  document.cookie = `wattline_menu=${codes}; path=/; max-age=${YEAR_S}; samesite=lax`;
}

// The entry of this page is in view, however long the menu is.
function showCurrent() {
  const current = side?.querySelector("[aria-current=page]");
  if (!current) return;
  const hidden = current.getBoundingClientRect().bottom - side.getBoundingClientRect().bottom;
  if (hidden > 0) side.scrollTop += hidden + side.clientHeight / 3;
}

for (const group of groups) {
  group.querySelector("summary").addEventListener("click", () => keepGroups(group));
}
showCurrent();

function setSide(open) {
  if (!side || !opener) return;
  side.toggleAttribute("data-open", open);
  opener.setAttribute("aria-expanded", String(open));
  beside.inert = open;
  if (open) side.querySelector("[data-side-close]").focus();
  else opener.focus();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-side-open]")) setSide(true);
  else if (event.target.closest("[data-side-close]")) setSide(false);
  for (const menu of document.querySelectorAll("details.wl-menu[open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  if (side?.hasAttribute("data-open")) setSide(false);
  for (const menu of document.querySelectorAll("details.wl-menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

// Arrow keys move between the buttons of a list of choices, and from its search field into it.
document.addEventListener("keydown", (event) => {
  if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
  const dialog = event.target.closest("dialog, main");
  const list = dialog?.querySelector("[data-arrows]");
  if (!list || !event.target.matches("[type=search], [data-arrows] *")) return;
  const choices = [...list.querySelectorAll("button")];
  const step = event.key === "ArrowDown" ? 1 : -1;
  const next = choices[choices.indexOf(event.target) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

/**
 * Dialogs: a question before a form with `data-confirm` is sent, and forms that HTMX loads into
 * `#dialog-body` (`hx-get="…" hx-target="#dialog-body"`). The browser's own dialog keeps the focus
 * inside, closes on Escape and gives the focus back.
 */

const question = document.getElementById("confirm");
const dialog = document.getElementById("dialog");

function ask(form, submitter) {
  const title = question.querySelector("h2");
  const yes = question.querySelector('[value="yes"]');
  title.textContent = form.dataset.confirmTitle ?? title.dataset.title;
  question.querySelector("p").textContent = form.dataset.confirm;
  yes.textContent = form.dataset.confirmAction ?? submitter?.textContent ?? yes.dataset.label;
  question.returnValue = "no";
  question.showModal();
  const answered = () => {
    if (question.returnValue !== "yes") return;
    form.dataset.confirmed = "";
    form.requestSubmit(submitter);
  };
  question.addEventListener("close", answered, { once: true });
}

document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!question || !form.matches("[data-confirm]")) return;
    if ("confirmed" in form.dataset) {
      delete form.dataset.confirmed;
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    ask(form, event.submitter);
  },
  { capture: true },
);

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "dialog-body") return;
  const heading = dialog.querySelector("h1, h2");
  if (heading) dialog.setAttribute("aria-label", heading.textContent.trim());
  if (!dialog.open) dialog.showModal();
});
document.addEventListener("wattline:close-dialog", () => dialog?.close());
document.addEventListener("click", (event) => {
  if (event.target === dialog || event.target.closest("[data-dialog-close]")) {
    event.target.closest("dialog")?.close();
  }
});

// What is wrong with a form that came back is read out first; samples of the style page stay quiet.
document.querySelector(":not([data-sample]) > [data-form-errors]")?.focus();

/** The facility picker: Enter in its search field searches, and does not send the form around it. */

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("[data-picker] input[type=search]")) {
    event.preventDefault();
  }
});

// Choosing a facility is choosing "only these".
document.addEventListener("change", (event) => {
  if (!event.target.checked || !event.target.matches("[data-picker] input[type=checkbox]")) return;
  const only = event.target.form?.querySelector('input[name="reach"][value="chosen"]');
  if (only) only.checked = true;
});

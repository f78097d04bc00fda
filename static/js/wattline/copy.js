/** Buttons `data-copy="id"` that copy the text of an element, line by line. */

for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    const lines = [...source.querySelectorAll("code")].map((code) => code.textContent.trim());
    await navigator.clipboard.writeText((lines.length ? lines : [source.textContent.trim()]).join("\n"));
    button.textContent = button.dataset.done;
  });
}

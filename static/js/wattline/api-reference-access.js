// What Swagger UI lacks for people who read by keyboard, by ear or in the dark.

const DARK = "dark-mode"; // the class by which its style sheet is dark

function follow(root) {
  const theme = () => root.classList.toggle(DARK, root.dataset.bsTheme === "dark");
  document.addEventListener("wattline:theme", theme);
  theme();
}

// Its headings begin at the third level below the title; beside its main part stands much that is
// in no landmark.
function mend(place) {
  for (const [selector, name, value] of [
    [".information-container", "role", "region"],
    [".information-container", "aria-label", place.dataset.about],
    [".scheme-container", "role", "region"],
    [".scheme-container", "aria-label", place.dataset.access],
    ["section.models", "role", "region"],
    ["section.models", "aria-label", place.dataset.models],
    ["h3.opblock-tag", "aria-level", "2"],
    ["section.models h4", "aria-level", "2"],
    [".opblock-body h4, .opblock-section-header h4", "aria-level", "3"],
    [".opblock-body h5", "aria-level", "4"],
    [".servers select", "aria-label", place.dataset.servers],
    [".response-col_description .markdown, pre.microlight, .highlight-code pre", "tabindex", "0"],
  ]) {
    for (const element of place.querySelectorAll(selector)) {
      if (element.getAttribute(name) !== value) element.setAttribute(name, value);
    }
  }
}

// A link inside of a button is two things to press in one: of both, the button does it all.
export const plainLinks = () => ({
  components: {
    DeepLink: ({ text }) => text,
  },
});

export function makeAccessible(place) {
  follow(document.documentElement);
  new MutationObserver(() => mend(place)).observe(place, { childList: true, subtree: true });
}

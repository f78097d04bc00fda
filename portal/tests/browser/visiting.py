"""Visits of signed-in people to the pages, and what axe-core finds on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Final, Literal

from django.conf import settings
from playwright.sync_api import Browser, Page, ViewportSize

from portal.tests.browser.conftest import Copy

Theme = Literal["light", "dark"]

DESK: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
# Swagger UI draws a long reference only where it is in sight: in this window all of it is.
TALL: Final[ViewportSize] = {"width": 1280, "height": 20_000}
# A form that is refused is answered by 422, and its summary has the focus: what the browser
# mentions of that on its console.
# A request that a newer one replaces (hx-sync) is aborted, which htmx mentions in two words; one
# that fails is told by a third.
_MENTIONED: Final = (
    "status of 422",
    "Autofocus processing was blocked",
    "htmx:afterRequest",
    "htmx:sendAbort",
)
# What depends on colours alone; the other rules say the same in both themes.
_COLOURS: Final = ("color-contrast", "link-in-text-block")
# Every rule at both widths and every colour in both themes, each once: theme, window, rules (None:
# all). Neighbours differ in one thing, because each change lays the page out anew.
_LOOKS: Final[tuple[tuple[Theme, ViewportSize, Sequence[str] | None], ...]] = (
    ("light", DESK, None),
    ("dark", DESK, _COLOURS),
    ("dark", PHONE, None),
    ("light", PHONE, _COLOURS),
)
# Colours would move over in transitions, and each that is inherited starts those of the children in
# the next frame, however long a frame takes: without transitions they are there at once. In a layer
# an important rule wins over the important ones of the page.
_HOLD_STILL: Final = """() => {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync("@layer { *, ::before, ::after { transition: none !important; } }");
  document.adoptedStyleSheets.push(sheet);
}"""
_RUN_AXE: Final = """async (rules) => {
  const { documentElement: root } = document;
  const over = () => root.scrollWidth - root.clientWidth;
  const frame = () => new Promise((next) => requestAnimationFrame(next));
  // What the page draws anew for its theme and width is there after two frames; charts, which are
  // drawn when there is time, are waited for while they are too wide.
  for (const _ of [1, 2]) await frame();
  const end = performance.now() + 10_000;
  while (over() > 0 && performance.now() < end) await frame();
  const options = { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } };
  if (rules) options.runOnly = { type: "rule", values: rules };
  const { violations } = await axe.run(document, options);
  const said = violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, any, all, none }) => {
      const why = [...any, ...all, ...none].map(({ message }) => message).join("; ");
      return `${id} (${help}) at ${target.join(" ")}: ${why}`;
    }));
  return over() > 0 ? [...said, `the page is ${over()} px wider than the window`] : said;
}"""


@cache
def axe_source() -> str:
    """The source of axe-core, for a page to run once."""
    return (settings.BASE_DIR / "node_modules/axe-core/axe.min.js").read_text("utf-8")


@contextmanager
def visits(browser: Browser, copy: Copy, *cookies: str) -> Iterator[tuple[Page, ...]]:
    """A page for each session cookie; what a console says against its page is a failure."""
    said: list[str] = []

    def heard(text: str) -> None:
        if not any(known in text for known in _MENTIONED):
            said.append(text)

    with ExitStack() as stack:
        pages = []
        for signed_in in cookies:
            context = stack.enter_context(
                browser.new_context(base_url=copy.url, viewport=DESK, reduced_motion="reduce")
            )
            name, _, value = signed_in.partition("=")
            context.add_cookies([{"name": name, "value": value, "url": copy.url}])
            page = context.new_page()
            page.on("console", lambda message: heard(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            pages.append(page)
        yield tuple(pages)
    assert said == []


def violations(page: Page) -> list[str]:
    """What axe-core finds on the page as it is now, light and dark, on a desk and on a phone, each
    with where it was; and whether the page is wider than its window.
    """
    page.evaluate(axe_source())
    page.evaluate(_HOLD_STILL)
    found: list[str] = []
    for theme, size, rules in _LOOKS:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        page.set_viewport_size(size)
        page.locator(f"html[data-bs-theme={theme}]").wait_for(state="attached")
        said: list[str] = page.evaluate(_RUN_AXE, rules)
        found += [f"{theme} {size['width']}: {one}" for one in said]
    page.emulate_media(color_scheme="light", reduced_motion="reduce")
    page.set_viewport_size(DESK)
    return found

"""Visits of signed-in people to the pages, and what axe-core finds on them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, Final, Literal

from django.conf import settings
from playwright.sync_api import Browser, Page, ViewportSize

from portal.tests.browser.conftest import Copy

DESK: Final[ViewportSize] = {"width": 1280, "height": 900}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
THEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
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
RUN_AXE: Final = """async (theme) => {
  const root = document.documentElement;
  // Colours move over in transitions, and each one that is inherited starts those of the children
  // in the next frame: still is what has not moved for some frames, however long these take.
  const moving = () => document.getAnimations().filter((one) =>
    one instanceof CSSTransition && one.playState === "running");
  const end = performance.now() + 10_000;
  for (let still = 0; still < 4;) {
    await new Promise((next) => requestAnimationFrame(next));
    const transitions = moving();
    still = root.dataset.bsTheme === theme && !transitions.length ? still + 1 : 0;
    if (performance.now() > end) {
      const property = transitions[0]?.transitionProperty ?? "nothing";
      throw new Error(`not within 10 s: ${theme} is ${root.dataset.bsTheme}, ${property} moves`);
    }
  }
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  return violations.flatMap(({ id, help, nodes }) =>
    nodes.map(({ target, any, all, none }) => {
      const said = [...any, ...all, ...none].map(({ message }) => message).join("; ");
      return `${id} (${help}) at ${target.join(" ")}: ${said}`;
    }));
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
    """What axe-core finds on the page as it is now, light and dark, on a desk and on a phone."""
    page.evaluate(axe_source())
    found: list[Any] = []
    for theme in THEMES:
        page.emulate_media(color_scheme=theme)
        for size in (DESK, PHONE):
            page.set_viewport_size(size)
            found += page.evaluate(RUN_AXE, theme)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)
    return [str(one) for one in found]

"""Accessibility: axe-core finds no violation on any page, in both themes, on desk and phone.

The pages are those that each person finds by the routes and by following links, so that one which
comes later is looked at without being listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from portal import survey
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import DESK, PHONE, RUN_AXE, THEMES, axe_source, violations
from portal.tests.permission_rows.world import World, make_world

pytestmark = [pytest.mark.browser]

# Each looks at the pages that those before did not find.
PEOPLE: Final = ("own admin", "above operator", "own consumer", "none nobody")


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[World, Copy]]:
    """The people and objects of the permission table behind a running web process."""
    with django_db_blocker.unblock():
        world = make_world()
        folder = tmp_path_factory.mktemp("axe")
        running = Copy(folder, world.park.tenant, world.park.manager, free_port(), free_port())
        try:
            running.start_web()
            yield world, running
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture(scope="module")
def looked_at() -> set[str]:
    """The routes that have been looked at."""
    return set()


def _context(browser: Browser, world: World, copy: Copy, name: str) -> BrowserContext:
    context = browser.new_context(viewport=DESK, reduced_motion="reduce")
    user = world.person(name).user
    if user is not None:
        cookie, _, value = session_cookie(user).partition("=")
        context.add_cookies([{"name": cookie, "value": value, "url": copy.url}])
    return context


def _get(context: BrowserContext, copy: Copy) -> survey.Get:
    def get(path: str) -> survey.Answer:
        answer = context.request.get(f"{copy.url}{path}", fail_on_status_code=False)
        kind = answer.headers.get("content-type", "")
        text = answer.text() if kind.startswith("text/html") else ""
        return survey.Answer(answer.status, kind, urlsplit(answer.url).path, text)

    return get


@pytest.mark.parametrize("name", PEOPLE)
def test_no_page_has_a_violation(
    site: tuple[World, Copy], browser: Browser, looked_at: set[str], name: str
) -> None:
    world, copy = site
    context = _context(browser, world, copy, name)
    found: list[str] = []
    for known in survey.explore(_get(context, copy)):
        if known.route in looked_at:
            continue
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(f"{copy.url}{known.path}")
        page.evaluate(axe_source())
        for theme in THEMES:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            for size in (DESK, PHONE):
                page.set_viewport_size(size)
                where = f"{known.route} {size['width']} {theme}"
                found += [f"{where}: {one}" for one in page.evaluate(RUN_AXE, theme)]
        page.close()
        looked_at.add(known.route)
    context.close()
    assert not found, "\n".join(found)


def test_every_page_of_the_product_was_looked_at(looked_at: set[str]) -> None:
    """A page that nobody links to and that needs an argument would be missed in silence."""
    assert {"login", "overview", "facility", "device", "design"} <= looked_at


# Each colour moves when the theme changes, and that of the paragraph after those around it. On the
# way the contrast is too small.
_MOVING = """<!DOCTYPE html><html lang="en" data-bs-theme="light"><title>Moving</title><style>
  :root {{ --ink: #000; --paper: #fff; }}
  [data-bs-theme="dark"] {{ --ink: {ink}; --paper: #000; }}
  * {{ color: var(--ink); transition: color 300ms; }}
  body, p {{ color: inherit; background: var(--paper); transition: background 300ms, color 300ms; }}
</style><main><h1>Moving</h1><p>from light to dark</p></main></html>"""
_FOLLOW = """() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const { dataset } = document.documentElement;
  const follow = () => { dataset.bsTheme = dark.matches ? "dark" : "light"; };
  dark.addEventListener("change", () => setTimeout(follow, 50));
}"""


@pytest.mark.parametrize(("ink", "bad"), [("#fff", 0), ("#333", 2)])
def test_colours_are_judged_when_they_have_come_to_rest(
    browser: Browser, ink: str, bad: int
) -> None:
    page = browser.new_page()
    page.set_content(_MOVING.format(ink=ink))
    page.evaluate(_FOLLOW)
    found = violations(page)
    page.close()
    # The heading and the paragraph, on a desk and on a phone.
    assert [one.partition(" ")[0] for one in found] == ["color-contrast"] * bad * 2

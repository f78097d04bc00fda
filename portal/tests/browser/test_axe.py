"""Accessibility: axe-core finds no violation on any page, in both themes, on desk and phone.

The pages are those that each person finds by the routes and by following links, so that one which
comes later is looked at without being listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from portal import survey
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import DESK, PHONE, RUN_AXE, THEMES
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


@pytest.fixture(scope="module")
def axe(served_files: None) -> str:
    """The source of axe-core."""
    file: Path = settings.BASE_DIR / "node_modules" / "axe-core" / "axe.min.js"
    return file.read_text(encoding="utf-8")


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


def _violations(page: Page, axe: str, theme: str) -> list[str]:
    page.evaluate(axe)
    found: list[Any] = page.evaluate(RUN_AXE, theme)
    return [str(one) for one in found]


@pytest.mark.parametrize("name", PEOPLE)
def test_no_page_has_a_violation(
    site: tuple[World, Copy], browser: Browser, axe: str, looked_at: set[str], name: str
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
        for theme in THEMES:
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            for size in (DESK, PHONE):
                page.set_viewport_size(size)
                where = f"{known.route} {size['width']} {theme}"
                found += [f"{where}: {one}" for one in _violations(page, axe, theme)]
        page.close()
        looked_at.add(known.route)
    context.close()
    assert not found, "\n".join(found)


def test_every_page_of_the_product_was_looked_at(looked_at: set[str]) -> None:
    """A page that nobody links to and that needs an argument would be missed in silence."""
    assert {"login", "overview", "facility", "device", "design"} <= looked_at

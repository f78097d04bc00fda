"""Accessibility: axe-core finds no violation on any page, in both themes, on desk and phone, and no
page is wider than its window.

The pages are those of the permission table, which has every route: one that comes later is looked
at without being listed, and one that the table's people cannot open is missed by a test.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Browser, BrowserContext, Page
from pytest_django import DjangoDbBlocker

from billing.models import Mode
from billing.tests import factories as billing
from devices.tests import factories
from portal.benchmarks.live import session_cookie
from portal.tests import home
from portal.tests.asking import path_of
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import violations
from portal.tests.permission_rows import AREAS
from portal.tests.permission_rows.notation import Row
from portal.tests.permission_rows.world import Person, World, make_world
from tenants.models import User
from tenants.scope import open_scope

pytestmark = [pytest.mark.browser]

# A page is looked at as the first of them sees it who may open it.
PEOPLE: Final = ("own admin", "above operator", "own consumer", "none nobody")
HOME: Final = "consumer"
# They lead on, or answer with a file or a part of a page.
NOT_AT_HOME: Final = {"consumer:sign-in", "consumer:callback", "consumer:bill-pdf"}
# A file that the store of the table's objects does not have.
FILES: Final = {"release-image"}
# Routes that the people of the table do not get: what stands in for each.
ELSEWHERE: Final = {
    # Looked at below: an agreement of a kind that the table has not.
    "payg-register",
    # Looked at in test_billing.py: a line needs a bill that was computed from readings.
    "bill-line",
    # Steps that need a code, a second factor or a session of a certain age: test_account.py and
    # test_people.py go through them.
    "mfa_authenticate", "account_reauthenticate", "mfa_reauthenticate",
    "mfa_reauthenticate_webauthn", "account-email-confirm", "mfa_edit_webauthn",
    "mfa_remove_webauthn", "mfa_deactivate_totp", "mfa_view_recovery_codes", "invitation-accept",
    "claim-code", "oauth:authorize", "company-start", "company-callback",
    # They lead back to a list when nothing was chosen, or to a page that is looked at.
    "command-many", "settings-many", "rollout-edit",
    # They answer programs, or with a file.
    "api:unknown", "bill-file", "brand-file", "firmware-payload", "health-ready",
    "oauth:userinfo",
}  # fmt: skip


def _gets(area: str) -> list[Row]:
    """The rows of what people open with a browser."""
    return [
        row
        for row in AREAS[area].rows
        if row.method == "GET"
        and row.scopes is None
        and row.route not in FILES
        and not row.route.startswith("ddi:")
    ]


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


@contextmanager
def _visiting(browser: Browser, copy: Copy, *cookies: str) -> Iterator[Page]:
    """One tab for all pages that somebody opens."""
    context = browser.new_context(base_url=copy.url, reduced_motion="reduce")
    for cookie in cookies:
        name, _, value = cookie.partition("=")
        context.add_cookies([{"name": name, "value": value, "url": copy.url}])
    yield context.new_page()
    context.close()


def _is_page(context: BrowserContext, path: str) -> bool:
    """Whether it is there, as a document of its own: no part of a page, no file, no data."""
    answer = context.request.get(path, max_redirects=0)
    assert answer.status == 200, f"{path}: {answer.status}"
    return (
        answer.headers.get("content-type", "").startswith("text/html")
        and "<html" in answer.text()[:500].lower()
    )


def _look(page: Page, paths: dict[str, str]) -> list[str]:
    """What is found on these pages, each with its route."""
    found: list[str] = []
    for route, path in paths.items():
        if _is_page(page.context, path):
            page.goto(path)
            found += [f"{route} {one}" for one in violations(page)]
    return found


def _cookies(user: User | None) -> list[str]:
    return [] if user is None else [session_cookie(user)]


@pytest.mark.parametrize("area", [name for name in AREAS if name != HOME and _gets(name)])
def test_no_page_has_a_violation(site: tuple[World, Copy], browser: Browser, area: str) -> None:
    world, copy = site
    paths: dict[str, dict[str, str]] = {name: {} for name in PEOPLE}
    for row in _gets(area):
        for name in PEOPLE:
            if world.person(name).expected(row) == 200:
                query = urlencode(row.form(world) if row.form else {})
                paths[name][row.route] = f"{path_of(row, world)}{query and '?'}{query}"
                break
    found: list[str] = []
    for name in PEOPLE:
        if paths[name]:
            with _visiting(browser, copy, *_cookies(world.person(name).user)) as page:
                found += _look(page, paths[name])
    assert not found, "\n".join(found)


def test_no_page_of_a_home_has_a_violation(site: tuple[World, Copy], browser: Browser) -> None:
    world, copy = site
    rows = [row for row in _gets(HOME) if row.route not in NOT_AT_HOME]
    paths = {row.route: path_of(row, world) for row in rows}
    kept = home.signed_in(world.park.consumer(0)).cookies[settings.HOME_COOKIE_NAME]
    with _visiting(browser, copy, f"{kept.key}={kept.value}") as page:
        found = _look(page, paths)
    assert not found, "\n".join(found)


def test_no_page_of_a_unit_without_a_key_has_a_violation(
    site: tuple[World, Copy], browser: Browser
) -> None:
    world, copy = site
    with open_scope(world.park.scope):
        made = billing.agreement(world.park.branches[0].facility, mode=Mode.PAYG)
    with _visiting(browser, copy, *_cookies(world.person("own admin").user)) as page:
        found = _look(page, {"payg-register": reverse("payg-register", args=[made.pk])})
    assert found == []


def test_every_page_is_looked_at() -> None:
    """A page that nobody of the table may open would be missed in silence."""
    people = [Person("own", "admin", None), Person("above", "operator", None)]
    people += [Person("own", "consumer", None), Person("none", "nobody", None)]
    assert tuple(person.name for person in people[:3]) == PEOPLE[:3]
    missed = {
        row.route
        for area in AREAS
        if area != HOME
        for row in _gets(area)
        if all(person.expected(row) != 200 for person in people)
    }
    assert missed == ELSEWHERE


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
    assert [one.split()[2] for one in found] == ["color-contrast"] * bad * 2

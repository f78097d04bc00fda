"""Overview, facility and device in a real browser: what changes without loading the page again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from django.db import connections
from playwright.sync_api import Browser, Page, expect

from devices.domain import queries
from portal.devstack.servers import Endpoints
from portal.tests.browser.conftest import PASSWORD, Copy, eventually
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(databases=["default", "owner"]),
]

# What the worker does in a running product.
_WORK = "from devices.tasks import refresh_power, roll_up; roll_up(); refresh_power()"


@pytest.fixture
def troubles() -> list[str]:
    return []


@pytest.fixture
def page(browser: Browser, copy: Copy, troubles: list[str]) -> Iterator[Page]:
    """A signed-in manager on the overview."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("console", console)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(f"{copy.url}/")
    page.get_by_label("E-mail address").fill(copy.manager.email)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    yield page
    context.close()


def _work(copy: Copy) -> None:
    eventually(_has_frames, "the first frame is stored", seconds=90)
    copy.start("work", "manage.py", "shell", "--no-imports", "-c", _WORK)
    assert copy.processes.pop("work").wait(60) == 0, copy.log("work")


def _has_frames() -> bool:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM telemetry_frame)")
        row = cursor.fetchone()
    return bool(row and row[0])


def test_the_overview_comes_alive_without_being_loaded_again(
    page: Page, copy: Copy, troubles: list[str]
) -> None:
    page.evaluate("globalThis.stayed = true")
    row = page.get_by_role("row").filter(has_text="Recording")
    expect(row).to_be_visible(timeout=30_000)
    _work(copy)
    expect(row.locator(".wl-state")).to_have_text("Online", timeout=30_000)
    expect(row.locator("td").nth(2)).to_have_text(re.compile(r"^[\d.,]+\sk?W$"), timeout=15_000)
    tile = page.locator(".wl-tile").filter(has_text="Power now")
    expect(tile.locator(".wl-value")).to_have_text(re.compile(r"^[\d.,]+ k?W$"))
    assert page.evaluate("globalThis.stayed") is True
    assert troubles == []


def test_the_refresh_leaves_a_search_alone(page: Page, troubles: list[str]) -> None:
    search = page.get_by_role("searchbox", name="Search").last
    search.fill("nothing has this name")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    page.wait_for_timeout(11_000)
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    expect(search).to_have_value("nothing has this name")
    expect(search).to_be_focused()
    assert troubles == []


def test_a_facility_shows_its_day(page: Page, copy: Copy, troubles: list[str]) -> None:
    _work(copy)
    page.get_by_role("link", name=re.compile("Recording")).click(timeout=30_000)
    bars = "() => document.querySelector('#chart-day .wl-plot').data?.map(({name}) => name)"
    eventually(lambda: page.evaluate(bars) == ["Used"], "the bars of the day")
    axis = page.locator("#chart-total .ytick text").last
    expect(axis).to_have_text(re.compile(r"^[\d.,]+ k?W$"))
    page.get_by_role("button", name="Switch between light and dark").click()
    eventually(lambda: page.evaluate(bars) == ["Used"], "the bars in the dark")
    assert troubles == []


def test_a_device_shows_older_lines_when_asked(
    page: Page, copy: Copy, servers: Endpoints, troubles: list[str]
) -> None:
    with open_scope(Scope((copy.tenant.pk,))):
        (device,) = queries.devices()
    now = datetime.now(UTC)
    with psycopg.connect(servers.database_url) as owner, owner.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO device_log VALUES (%s, %s, %s, %s, %s, %s, %s)",
            [
                (now, copy.tenant.pk, device.device_id, 10**6 + n, now, 2 + n % 2, f"note {n:03}")
                for n in range(120)
            ],
        )
    page.goto(f"{copy.url}/devices/{device.device_id}/")
    log = page.locator("#log")
    expect(log.locator("li", has_text="note")).to_have_count(50)
    log.get_by_role("link", name="Show older lines").click()
    expect(log.locator("li", has_text="note")).to_have_count(100)
    log.get_by_label("Least level").select_option(label="Warning and above")
    expect(log.locator("li", has_text="note 118")).to_have_count(0)
    expect(log.locator("li", has_text="note 119")).to_have_count(1)
    page.get_by_role("button", name="Suspend").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The device is disconnected")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_be_hidden()
    assert troubles == []


_NAMES = (
    "SELECT f.id, d.id, f.name, d.name FROM devices_device d"
    " JOIN devices_facility f ON f.id = d.facility_id ORDER BY d.id LIMIT 1"
)


@pytest.fixture
def long_names(copy: Copy, servers: Endpoints) -> Iterator[tuple[int, int]]:
    """The ids of a facility and a device whose names have no place to break."""
    with psycopg.connect(servers.database_url, autocommit=True) as owner:
        eventually(lambda: owner.execute(_NAMES).fetchone() is not None, "the device is registered")
        row = owner.execute(_NAMES).fetchone()
        assert row is not None
        facility, device, *names = row
        _name(owner, (facility, device), ["W" * 110, "W" * 110])
        yield facility, device
        _name(owner, (facility, device), names)


def _name(owner: psycopg.Connection[Any], ids: tuple[int, int], names: list[str]) -> None:
    owner.execute("UPDATE devices_facility SET name = %s WHERE id = %s", [names[0], ids[0]])
    owner.execute("UPDATE devices_device SET name = %s WHERE id = %s", [names[1], ids[1]])


def test_long_names_widen_no_page(page: Page, copy: Copy, long_names: tuple[int, int]) -> None:
    facility, device = long_names
    too_wide = []
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for path in ("/", f"/facilities/{facility}/", f"/devices/{device}/"):
            page.goto(f"{copy.url}{path}")
            expect(page.get_by_text("W" * 110).first).to_be_visible()
            if page.evaluate("document.documentElement.scrollWidth - innerWidth") > 0:
                too_wide.append((width, path))
    assert too_wide == []

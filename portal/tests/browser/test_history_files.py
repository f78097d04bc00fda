"""History as files in a real Chromium: a table is imported in the background, and comes back as a
download. No violation of the policy anywhere.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.models import Facility
from devices.tests import factories
from portal.tests.browser.conftest import PASSWORD, Copy, free_port
from portal.tests.browser.visiting import violations
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser, pytest.mark.django_db(databases=["default", "owner"])]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Copy, Facility]]:
    """The web process, a worker, and an administrator of a park."""
    with django_db_blocker.unblock():
        tenant = factories.tenant()
        with open_scope(Scope((tenant.pk,))):
            admin = factories.member(tenant, Role.ADMIN).user
            place = factories.facility(tenant)
        admin.set_password(PASSWORD)
        admin.save(update_fields=["password"])
        running = Copy(tmp_path_factory.mktemp("history"), tenant, admin, free_port(), free_port())
        try:
            running.start_web()
            running.start(
                "worker",
                *("-m", "celery", "--app", "portal", "worker", "--pool", "solo"),
                *("--loglevel", "warning"),
            )
            yield running, place
        finally:
            for name in reversed(list(running.processes)):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def page(site: tuple[Copy, Facility], browser: Browser) -> Iterator[Page]:
    """A page of a signed-in browser; what its console says against the page fails the test."""
    copy, _place = site
    context = browser.new_context(base_url=copy.url, viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.goto("/history/imports/")
    opened.get_by_label("E-mail address").fill(copy.manager.email)
    opened.get_by_role("button", name="Continue").click()
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Sign in", exact=True).click()
    expect(opened.get_by_role("heading", name="Meter data", level=1)).to_be_visible()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    yield opened
    context.close()
    assert said == []


def test_a_table_is_imported_and_exported_again(
    page: Page, site: tuple[Copy, Facility], tmp_path: Path
) -> None:
    _copy, place = site
    file = tmp_path / "year.csv"
    rows = "".join(
        f"2026-01-{day:02} {hour:02}:{minute:02};{hour},{minute:02}\n"
        for day in range(1, 32)
        for hour in range(24)
        for minute in (0, 15, 30, 45)
        if (day, hour) != (7, 5)
    )
    file.write_text(f"Zeit;Verbrauch (kWh)\n{rows}")
    page.get_by_role("link", name="Import a file").click()
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    assert violations(page) == []
    page.get_by_label("What “Verbrauch (kWh)” is").select_option("import")
    page.get_by_label("Serial number of the meter").fill("AT-7")
    page.get_by_label("Decimal mark").select_option(",")
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_text("AT-7: 2,972 new readings")).to_be_visible()
    expect(page.get_by_text("2026-01-07")).to_be_visible()
    assert violations(page) == []
    # Where the meter is has been left open: that is asked for before anything is stored.
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Choose the facility of the meters that are new.")).to_be_visible()
    page.get_by_role("link", name="Change the settings").click()
    facility = page.get_by_role("combobox", name="Facility of new meters")
    facility.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Check the file").click()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("Were there already")).to_be_visible(timeout=60_000)
    assert violations(page) == []

    page.goto("/exports/new/")
    page.get_by_label("Facility", exact=True).select_option(str(place.pk))
    page.get_by_role("button", name="Show its channels").click()
    page.get_by_label("AT-7: Verbrauch (kWh) (W)").check()
    assert violations(page) == []
    page.get_by_label("First day").fill("2026-01-01")
    page.get_by_label("Last day").fill("2026-01-31")
    page.get_by_role("button", name="Export", exact=True).click()
    link = page.get_by_role("link", name="Download")
    expect(link).to_be_visible(timeout=60_000)
    assert violations(page) == []
    with page.expect_download() as download:
        link.click()
    text = gzip.decompress(download.value.path().read_bytes()).decode()
    found = list(csv.reader(text.splitlines()))
    assert found[0] == ["time_utc", "time_local", "AT-7 verbrauch_kwh (W)"]
    # The file was in UTC; the last hour of the month is one of February in Berlin.
    assert len(found) == 1 + 2972 - 4
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_text("No exports")).to_be_visible()

"""Correcting readings in a real Chromium: the form shows what a kind needs, the preview draws both
curves, and no page has a violation of accessibility or of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from devices.tests.factories import START, Park
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import violations, visits

pytestmark = [pytest.mark.browser]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Copy, Park, str]]:
    """The web process, a park with an hour of power, and the cookie of its manager."""
    with django_db_blocker.unblock():
        park = factories.park()
        for minute in range(60):
            at = START + timedelta(minutes=minute)
            values = [[6000 + 40 * minute] * 30, [23000] * 30]
            factories.store_frame(park.branches[0].device, minute + 10, at, values)
        folder = tmp_path_factory.mktemp("corrections")
        running = Copy(folder, park.tenant, park.manager, free_port(), free_port())
        try:
            running.start_web()
            yield running, park, session_cookie(park.manager)
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def page(site: tuple[Copy, Park, str], browser: Browser) -> Iterator[Page]:
    """A page of the manager; what its console says against the page fails the test."""
    copy, _park, signed_in = site
    with visits(browser, copy, signed_in) as (opened,):
        yield opened


def test_readings_are_corrected_after_a_look_at_the_preview(
    page: Page, site: tuple[Copy, Park, str]
) -> None:
    _copy, park, _cookie = site
    page.goto(f"/devices/{park.branches[0].device.pk}/")
    page.get_by_role("link", name="Corrections").click()
    expect(page.get_by_role("heading", name="Corrections", level=1)).to_be_visible()
    page.get_by_role("link", name="New correction").click()

    # Each kind shows the fields that it needs, and no others.
    expect(page.get_by_label("Factor")).to_be_visible()
    expect(page.get_by_label("Move by, minutes")).to_be_hidden()
    page.get_by_label("Shift in time").check()
    expect(page.get_by_label("Factor")).to_be_hidden()
    expect(page.get_by_label("Move by, minutes")).to_be_visible()
    page.get_by_label("Replace").check()
    expect(page.get_by_label("Readings", exact=False).first).to_be_visible()
    expect(page.get_by_label("Move by, minutes")).to_be_hidden()
    page.get_by_label("Scale").check()

    page.get_by_label("From").fill("2026-03-01T13:00")
    page.get_by_label("Until").fill("2026-03-01T13:30")
    page.get_by_label("Factor").fill("0.5")
    page.get_by_label("Reason").fill("The ratio was wrong.")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="What changes")).to_be_visible()
    expect(page.locator("#correction-chart .scatterlayer .trace")).to_have_count(2)
    assert violations(page) == []

    page.get_by_role("button", name="Correct the readings").click()
    expect(page.get_by_text("The readings are corrected.")).to_be_visible()
    expect(page.get_by_text("× 0.5")).to_be_visible()
    assert violations(page) == []

    page.get_by_role("link", name="Withdraw: Scale").click()
    expect(page.locator("#correction-chart .scatterlayer .trace")).to_have_count(2)
    assert violations(page) == []
    page.get_by_label("Reason").fill("It was right.")
    page.get_by_role("button", name="Withdraw the correction").click()
    expect(page.get_by_text("Withdrawn: It was right.")).to_be_visible()

"""Groups and settings in a real Chromium: a rule is tried while it is written, chosen devices are
changed after a preview, and no page has a violation of accessibility or of the policy.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from devices.tests.factories import Park
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
    """The web process, a park with two devices, and the cookie of its manager."""
    with django_db_blocker.unblock():
        park = factories.park()
        folder = tmp_path_factory.mktemp("control")
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


def test_a_rule_is_tried_while_it_is_written(site: tuple[Copy, Park, str], page: Page) -> None:
    _copy, park, _cookie = site
    first, second = (branch.device for branch in park.branches)
    page.goto("/groups/new/rule/")
    held = page.locator(".wl-held")
    expect(held).to_contain_text("at least one condition")
    page.get_by_label("Facility, with its areas").first.select_option(
        str(park.branches[0].facility.pk)
    )
    expect(held).to_contain_text(first.serial)
    expect(held).not_to_contain_text(second.serial)
    page.locator("#id_firmware").fill("newest")
    expect(held).to_contain_text("no range of versions")
    page.locator("#id_firmware").fill("")
    expect(held).to_contain_text(first.serial)
    assert violations(page) == []
    page.get_by_label("Name", exact=True).fill("First house")
    # What was typed is being tried: the page is left when it has been.
    page.wait_for_load_state("networkidle")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="First house")).to_be_visible()
    expect(page.get_by_role("link", name=first.name)).to_be_visible()
    assert violations(page) == []


def test_chosen_devices_are_changed_after_a_preview(
    site: tuple[Copy, Park, str], page: Page
) -> None:
    _copy, park, _cookie = site
    page.goto("/devices/")
    page.get_by_label(f"Choose {park.branches[0].device.name}").check()
    page.locator("#chosen").get_by_role("button", name="Change settings").click()
    page.get_by_label("Samples in a frame").fill("12")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_role("heading", name="Who gets it")).to_be_visible()
    assert violations(page) == []
    page.get_by_role("button", name="Change settings").click()
    expect(page.get_by_role("heading", name="Devices", exact=True)).to_be_visible()

    page.goto(f"/devices/{park.branches[0].device.pk}/settings/")
    row = page.get_by_role("row").filter(has_text="Samples in a frame").first
    expect(row).to_contain_text("12")
    expect(row).to_contain_text("Being told")
    assert violations(page) == []


def test_all_devices_of_a_list_can_be_changed(page: Page) -> None:
    page.goto("/devices/")
    page.get_by_role("link", name="Change settings of all of these").click()
    expect(page.get_by_text("Of 2 devices.")).to_be_visible()

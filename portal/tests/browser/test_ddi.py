"""Tokens and settings of DDI in a real Chromium: shown once, asked before they are replaced."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from portal.benchmarks.live import session_cookie
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import violations, visits
from portal.tests.ddi_world import Ddi, speaking
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = [pytest.mark.browser]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Copy, Ddi, str]]:
    """The web process, a device that has told of itself, and the cookie of an administrator."""
    with django_db_blocker.unblock():
        ddi = speaking()
        ddi.tell("/configData", {"data": {"board": "rev 2", "firmware_version": "1.0.7"}}, "PUT")
        with open_scope(ddi.scope):
            admin = factories.member(ddi.tenant, Role.ADMIN).user
        folder = tmp_path_factory.mktemp("ddi")
        running = Copy(folder, ddi.tenant, admin, free_port(), free_port())
        try:
            running.start_web()
            yield running, ddi, session_cookie(admin)
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def page(site: tuple[Copy, Ddi, str], browser: Browser) -> Iterator[Page]:
    """A page of the administrator; what its console says against the page fails the test."""
    copy, _ddi, signed_in = site
    with visits(browser, copy, signed_in) as (opened,):
        yield opened


def test_token_of_a_device_is_replaced_after_a_question(
    page: Page, site: tuple[Copy, Ddi, str]
) -> None:
    _copy, ddi, _cookie = site
    page.goto(f"/devices/{ddi.device.pk}/")
    page.get_by_role("link", name="Updates over DDI").last.click()
    expect(page.get_by_role("heading", name="Updates over DDI", level=1)).to_be_visible()
    expect(page.get_by_text("rev 2")).to_be_visible()
    assert violations(page) == []

    page.get_by_role("button", name="New token").click()
    page.get_by_role("dialog").get_by_role("button", name="New token").click()
    shown = page.locator("#token")
    expect(shown).to_be_visible()
    assert violations(page) == []
    assert ddi.ask().status_code == 401
    ddi.token = shown.inner_text()
    assert ddi.ask().status_code == 200


def test_settings_and_gateway_token(page: Page, site: tuple[Copy, Ddi, str]) -> None:
    page.goto("/firmware/ddi/")
    page.get_by_label("Devices ask every (seconds)").fill("600")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings have been changed.")).to_be_visible()
    assert violations(page) == []
    # The first token takes nothing away: nobody is asked.
    page.get_by_role("button", name="New token").click()
    expect(page.locator("#token")).to_be_visible()
    page.get_by_role("link", name="Done").click()
    expect(page.get_by_role("button", name="Withdraw")).to_be_visible()
    assert violations(page) == []

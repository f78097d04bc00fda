"""Inviting somebody in a real Chromium: the picker by keyboard, the mail by the worker, the link,
and the door that closes at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.models import Facility
from devices.tests import factories
from portal.tests.browser.conftest import PASSWORD, Copy, eventually, free_port
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser, pytest.mark.django_db(databases=["default", "owner"])]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[tuple[Copy, list[Facility]]]:
    """The web process, the worker that sends mail, and an administrator."""
    with django_db_blocker.unblock():
        tenant = factories.tenant()
        with open_scope(Scope((tenant.pk,))):
            admin = factories.member(tenant, Role.ADMIN).user
            facilities = [factories.facility(tenant) for _ in range(3)]
        admin.set_password(PASSWORD)
        admin.save(update_fields=["password"])
        running = Copy(tmp_path_factory.mktemp("people"), tenant, admin, free_port(), free_port())
        try:
            running.start_web()
            running.start(
                "worker",
                *("-m", "celery", "--app", "portal", "worker", "--pool", "solo"),
                *("--loglevel", "warning"),
            )
            yield running, facilities
        finally:
            for name in reversed(list(running.processes)):
                running.stop(name)
            factories.remove_everything()


def sign_in(page: Page, site: Copy) -> None:
    page.goto(f"{site.url}/people/")
    page.get_by_label("E-mail address").fill(site.manager.email)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="People", level=1)).to_be_visible()


def mail_to(address: str) -> Path | None:
    """The newest mail to an address."""
    found = sorted(Path(settings.MAIL_DIR).glob(f"*{address}*.eml"))
    return found[-1] if found else None


def link_in(mail: Path) -> str:
    text = mail.read_text(encoding="utf-8").replace("=\r\n", "").replace("=\n", "")
    found = re.search(r"/invitations/accept/[\w-]+/", text.replace("=3D", "="))
    assert found is not None
    return found[0]


def test_somebody_is_invited_joins_and_is_shut_out(
    site: tuple[Copy, list[Facility]], browser: Browser
) -> None:
    copy, (wanted, other, _third) = site
    address = f"ada{factories.number()}@example.org"
    with browser.new_context(base_url=copy.url) as context:
        page = context.new_page()
        sign_in(page, copy)
        page.get_by_role("link", name="Invite somebody").click()
        page.get_by_label("E-mail address").fill(address)
        page.get_by_label("Role", exact=True).select_option("technician")
        search = page.get_by_role("searchbox", name="Search facilities")
        search.fill(wanted.name)
        expect(page.get_by_label(other.name)).to_have_count(0)
        search.press("Enter")  # searches, and sends nothing
        page.get_by_label(wanted.name).check()
        expect(page.get_by_label("Only these facilities")).to_be_checked()
        search.fill(other.name)
        expect(page.get_by_label(other.name)).to_be_visible()
        expect(page.get_by_label(wanted.name)).to_be_checked()
        page.get_by_role("button", name="Invite", exact=True).click()
        expect(page.get_by_text(f"{address} has been invited")).to_be_visible()
        eventually(lambda: mail_to(address) is not None, f"the mail {copy.log('worker')}")
        mail = mail_to(address)
        assert mail is not None

        with browser.new_context(base_url=copy.url, timezone_id="Europe/Berlin") as theirs:
            joined = theirs.new_page()
            joined.goto(link_in(mail))
            joined.get_by_label("Your name").fill("Ada Byron")
            joined.get_by_label("Password", exact=True).fill(PASSWORD)
            joined.get_by_label("Password again").fill(PASSWORD)
            joined.get_by_role("button", name="Create the account and join").click()
            expect(joined.get_by_role("link", name=wanted.name)).to_be_visible()
            expect(joined.get_by_role("link", name=other.name)).to_have_count(0)

            page.goto("/people/")
            page.get_by_role("link", name="Ada Byron").click()
            page.get_by_role("button", name="Deactivate").click()
            page.get_by_role("dialog").get_by_role("button", name="Deactivate").click()
            expect(page.get_by_text("has no access any more")).to_be_visible()
            joined.reload()
            expect(joined.get_by_role("link", name=wanted.name)).to_have_count(0)

"""Administration in a real Chromium: acting as somebody, audit log, tenant tree, application."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings
from playwright.sync_api import Browser, Page, expect
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from portal.devstack.servers import Endpoints
from portal.tests.browser.conftest import PASSWORD, Copy, eventually, free_port
from tenants.models import Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [pytest.mark.browser, pytest.mark.django_db(databases=["default", "owner"])]


class Site:
    """An operator with a reseller and a client below; the web process and the worker."""

    def __init__(self, folder: Path) -> None:
        self.root = factories.operator()
        self.reseller = factories.tenant(self.root, TenantKind.RESELLER)
        self.client = factories.tenant(self.reseller)
        self.operator = self._member(self.root, Role.OPERATOR)
        self.manager = self._member(self.client, Role.MANAGER)
        with open_scope(Scope((self.client.pk,))):
            self.facilities = [factories.facility(self.client) for _ in range(60)]
        self.running = Copy(folder, self.root, self.operator, free_port(), free_port())

    def _member(self, of: Tenant, role: Role) -> User:
        with open_scope(Scope((of.pk,))):
            user = factories.member(of, role).user
        user.set_password(PASSWORD)
        user.save(update_fields=["password"])
        return user


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Site]:
    with django_db_blocker.unblock():
        made = Site(tmp_path_factory.mktemp("administration"))
        try:
            made.running.start_web()
            made.running.start(
                "worker",
                *("-m", "celery", "--app", "portal", "worker", "--pool", "solo"),
                *("--loglevel", "warning"),
            )
            yield made
        finally:
            for name in reversed(list(made.running.processes)):
                made.running.stop(name)
            factories.remove_everything()


@pytest.fixture
def page(browser: Browser, site: Site) -> Iterator[Page]:
    """The operator's page; a message of the browser's policy or an error fails the test."""
    opened = browser.new_page(base_url=site.running.url)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text) if _bad(message) else None)
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto("/tenants/")
    opened.get_by_label("E-mail address").fill(site.operator.email)
    opened.get_by_role("button", name="Continue").click()
    opened.get_by_label("Password").fill(PASSWORD)
    opened.get_by_role("button", name="Sign in", exact=True).click()
    expect(opened.get_by_role("heading", name="Tenants", exact=True)).to_be_visible()
    yield opened
    opened.close()
    assert said == []


def _bad(message: object) -> bool:
    kind, text = getattr(message, "type", ""), getattr(message, "text", "")
    return kind == "error" and "403" not in text  # pages that are refused on purpose


def _begin(page: Page, person: User) -> None:
    page.goto("/impersonation/")
    page.get_by_role("link", name=f"Act as {person.email}").click()
    page.get_by_label("Reason").fill("The chart of the bakery stays empty")
    page.get_by_label("Ticket").fill("HD-4711")
    page.get_by_role("button", name="Begin").click()
    expect(page.get_by_role("region", name="Impersonation")).to_be_visible()


def test_support_acts_as_a_person_and_stops(page: Page, site: Site) -> None:
    _begin(page, site.manager)
    banner = page.get_by_role("region", name="Impersonation")
    expect(banner).to_contain_text(f"you act as {site.manager.email}")
    expect(banner.get_by_role("timer")).to_have_text(re.compile(r"^(29:\d\d|30:00)$"))
    page.goto("/account/")
    expect(page.get_by_role("heading", name="Not while you act as somebody else")).to_be_visible()
    page.get_by_role("region", name="Impersonation").get_by_role("button", name="End").click()
    expect(page.get_by_role("region", name="Impersonation")).to_have_count(0)
    page.get_by_role("navigation", name="Main").get_by_text("Administration").click()
    expect(page.get_by_role("link", name="Audit log")).to_be_visible()
    letters = Path(settings.MAIL_DIR)

    def told() -> bool:
        return any(
            "HD-4711" in file.read_text(encoding="utf-8", errors="replace")
            for file in letters.glob(f"*{site.manager.email}.eml")
        )

    eventually(told, f"the person is told by mail {site.running.log('worker')}")


def test_an_open_page_leaves_when_the_time_is_up(
    page: Page, site: Site, servers: Endpoints
) -> None:
    _begin(page, site.manager)
    with psycopg.connect(servers.database_url, autocommit=True) as owner:  # the test's own
        owner.execute(  # transaction would not be seen by the web process
            "UPDATE tenants_impersonation SET ends_at = clock_timestamp() + interval '4 s'"
            " WHERE ended_at IS NULL"
        )
    page.reload()
    expect(page.get_by_role("timer")).to_have_text(re.compile(r"^0:0\d$"))
    expect(page.get_by_text("The impersonation has ended")).to_be_visible(timeout=10_000)
    expect(page.get_by_role("region", name="Impersonation")).to_have_count(0)


def test_the_audit_log_is_searched_read_and_taken(page: Page, site: Site, tmp_path: Path) -> None:
    page.goto("/audit/")
    page.get_by_label("Action").select_option("facility.create")
    expect(page).to_have_url(re.compile("action=facility.create"))
    entries = page.locator(".wl-trail-entry")
    expect(entries).to_have_count(50)
    page.get_by_role("link", name="Show older entries").click()
    expect(entries).to_have_count(60)
    page.get_by_label("Text").fill(site.facilities[7].name)
    expect(entries).to_have_count(1)
    entries.locator("summary").click()
    expect(entries.get_by_role("row", name=f"Name – {site.facilities[7].name}")).to_be_visible()
    page.goto(page.url)
    with page.expect_download() as taken:
        page.get_by_role("link", name="JSON").click()
    file = tmp_path / "audit.json"
    taken.value.save_as(file)
    (entry,) = json.loads(file.read_text(encoding="utf-8"))
    assert entry["subject_name"] == site.facilities[7].name


def test_a_tenant_of_a_branch_is_suspended_and_resumed(page: Page, site: Site) -> None:
    branch = page.locator("summary", has_text=site.reseller.name)
    branch.press("Enter")
    page.get_by_role("link", name=site.client.name).click()
    page.get_by_role("button", name="Suspend").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("refused at once")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Suspended since")).to_have_count(0)
    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("Suspended since")).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The tenant is let in again.")).to_be_visible()


def test_the_secret_of_an_application_is_copied(page: Page) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/applications/new/")
    page.get_by_role("link", name="Service account").click()
    page.get_by_role("textbox", name="Name").fill("Nightly export")
    page.get_by_role("button", name="Register").click()
    secret = page.locator("#secret").inner_text()
    assert len(secret) == 64
    shown = page.get_by_role("status").filter(has_text="shown only now")
    shown.get_by_role("button", name="Copy").click()
    expect(shown.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    page.get_by_role("link", name="Applications", exact=True).first.click()
    page.get_by_role("link", name="Nightly export").click()
    expect(page.locator("#secret")).to_have_count(0)

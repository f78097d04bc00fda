"""Billing in a real Chromium: a tariff is written with its checks beside it and published; a run is
accepted and approved by a second person, and its bill opened down to the readings; a customer reads
it and sees it paid once the bank's statement was taken; tariffs are compared; a token is agreed to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.conf import settings
from playwright.sync_api import Browser, FilePayload, Page, expect
from pypdf import PdfReader
from pytest_django import DjangoDbBlocker

from billing.models import Mode
from billing.tests import factories as billing
from billing.tests.test_statements import entry, statement, transaction
from devices.domain import operations
from devices.tests import factories
from portal.benchmarks.live import session_cookie
from portal.tests import home
from portal.tests.browser.conftest import Copy, free_port
from portal.tests.browser.visiting import violations, visits
from portal.tests.test_billing_run_pages import Office, office
from tenants.permissions import Role
from tenants.scope import open_scope
from tenants.tests import factories as people

pytestmark = [pytest.mark.browser]


@dataclass
class Site:
    """A tenant with an agreement and a month of readings, and the pages of two administrators."""

    copy: Copy
    office: Office
    asks: Page
    approves: Page


@pytest.fixture(scope="module")
def portal(
    tmp_path_factory: pytest.TempPathFactory,
    served_files: None,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Copy]:
    """A web process for all tests, each of which has a tenant of its own."""
    with django_db_blocker.unblock():
        tenant = factories.tenant()
        manager, folder = factories.user(), tmp_path_factory.mktemp("billing")
        running = Copy(folder, tenant, manager, free_port(), free_port())
        try:
            running.start_web()
            yield running
        finally:
            for name in list(running.processes):
                running.stop(name)
            factories.remove_everything()


@pytest.fixture
def site(portal: Copy, browser: Browser) -> Iterator[Site]:
    """Of a new tenant."""
    made = office()
    cookies = [session_cookie(person) for person in made.people]
    with visits(browser, portal, *cookies) as (asks, approves):
        yield Site(portal, made, asks, approves)


@pytest.fixture
def resident(site: Site, browser: Browser) -> Iterator[Page]:
    """The page of the customer at home, whose agreement it is."""
    [agreement] = site.office.agreements
    with open_scope(site.office.scope):
        membership = people.member(site.office.tenant, Role.CONSUMER)
        operations.grant_facility(
            membership_id=membership.pk, facility_id=agreement.facility_id, actor_id=None
        )
        agreement.user = membership.user
        agreement.save(update_fields=["user"])
    kept = home.signed_in(membership.user).cookies[settings.HOME_COOKIE_NAME]
    with visits(browser, site.copy, f"{kept.key}={kept.value}") as (page,):
        yield page


def _choose(page: Page, field: str, text: str) -> None:
    """The option of a field that has the text."""
    page.locator(field).evaluate(
        "(one, text) => { one.value = [...one.options].find((o) => o.text.includes(text)).value; }",
        text,
    )


def test_a_tariff_is_written_checked_and_published(site: Site) -> None:
    page = site.asks
    page.goto("/billing/tariffs/")
    page.get_by_role("link", name="New tariff").click()
    page.get_by_label("Name", exact=True).fill("Households")
    page.get_by_role("button", name="Create").click()
    check = page.locator("#version-check")
    expect(check).to_contain_text("No problem")
    expect(check.locator("svg[role=img]").first).to_be_visible()
    assert violations(page) == []
    source = page.get_by_label("Source")
    sound = source.input_value()
    source.fill(sound.replace("off-peak: 0.26", "off-peak: cheap"))
    expect(check.locator(".wl-problems li")).to_contain_text("Line")
    source.fill(sound.replace("off-peak: 0.26", "off-peak: 0.25"))
    expect(check).to_contain_text("0.25")
    page.get_by_role("button", name="Keep the draft").click()
    expect(page.get_by_role("heading", name="Households")).to_contain_text("Draft")
    assert violations(page) == []
    page.get_by_role("link", name="Preview on real use").click()
    page.get_by_label("Month").fill("2026-03")
    _choose(page, "#id_agreement", site.office.agreements[0].number)
    page.get_by_role("button", name="Compute").click()
    expect(page.get_by_role("heading", name="Line by line")).to_be_visible()
    assert violations(page) == []
    page.go_back()
    page.go_back()
    page.get_by_role("button", name="Publish").click()
    page.get_by_role("dialog").get_by_role("button", name="Publish").click()
    expect(page.get_by_role("table")).to_contain_text("Published")
    assert violations(page) == []


def test_a_run_is_approved_by_another_and_its_bill_opened_to_readings(site: Site) -> None:
    page, other = site.asks, site.approves
    page.goto("/billing/runs/new/")
    page.get_by_label("First day").fill("2026-03-01")
    page.get_by_role("button", name="Begin").click()
    site.office.work()
    page.reload()
    expect(page.locator("#list")).to_contain_text("First bill")
    assert violations(page) == []
    page.get_by_role("checkbox", name=re.compile("^Choose ")).check()
    page.get_by_label("Reason").fill("A new customer")
    page.get_by_role("button", name="Accept").click()
    expect(page.locator("#list")).to_contain_text("A new customer")
    address = page.url
    page.get_by_role("link", name="Approve").click()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_role("alert")).to_contain_text("somebody else")
    other.goto(address)
    other.get_by_role("link", name="Approve").click()
    other.get_by_role("button", name="Approve").click()
    expect(other.locator("#run-standing")).to_be_visible()
    site.office.work()

    bill = site.office.bill()
    page.goto("/billing/bills/")
    page.get_by_role("link", name=bill.number).click()
    expect(page.get_by_text(bill.sha256)).to_be_visible()
    assert violations(page) == []
    page.locator("table a").first.click()
    expect(page.get_by_role("heading", name="By day")).to_be_visible()
    assert violations(page) == []
    page.goto(f"{page.url.partition('?')[0]}?day=2026-03-05")
    expect(page.get_by_role("heading", name=re.compile("5 March"))).to_be_visible()
    page.locator("tbody a").first.click()
    expect(page).to_have_url(re.compile(r"/devices/\d+/\?from=\d+&to=\d+&at=\d+"))


def test_a_bill_is_restated_and_a_wallet_topped_up(site: Site) -> None:
    page, made = site.asks, site.office
    bill = made.finish()
    made.change_tariff()
    page.goto("/billing/restatements/")
    expect(page.locator("#list")).to_contain_text("The tariff was corrected")
    assert violations(page) == []
    page.get_by_role("link", name="Settle").click()
    page.get_by_role("button", name="Make credit note and new bill").click()
    expect(page.get_by_text("A credit note has taken this bill back.")).to_be_visible()
    expect(page.get_by_role("link", name="Credit note")).to_be_visible()

    page.goto(f"/billing/agreements/{made.prepaid()}/")
    page.get_by_role("link", name="Prepaid wallet").click()
    page.get_by_role("link", name="Top up").click()
    page.get_by_label("Amount").fill("25.00")
    page.locator("form.wl-form button.wl-button").click()
    expect(page.locator("main")).to_contain_text("25.00")
    page.goto(f"/billing/agreements/{bill.agreement_id}/")
    expect(page.get_by_role("heading", name="Account")).to_be_visible()
    assert violations(page) == []


def test_a_customer_sees_a_bill_paid_when_the_banks_statement_was_taken(
    site: Site, resident: Page
) -> None:
    bill = site.office.finish()
    page = resident
    page.goto("/home/bills/")
    page.get_by_role("link", name="March 2026").click()
    expect(page.get_by_text("Please pay by")).to_be_visible()
    assert violations(page) == []
    with page.expect_download() as saved:
        page.get_by_role("link", name="The document (PDF)").click()
    assert bill.number in PdfReader(saved.value.path()).pages[0].extract_text()

    asks = site.asks
    asks.goto("/billing/payments/files/new/")
    paid = entry(f"{bill.total:.2f}", transaction(f"{bill.total:.2f}", text=bill.number))
    file: FilePayload = {
        "name": "april.xml",
        "mimeType": "application/xml",
        "buffer": statement(paid),
    }
    asks.get_by_label("File", exact=True).set_input_files(file)
    asks.get_by_role("button", name="Look at it").click()
    row = asks.get_by_role("row").filter(has_text=bill.number)
    expect(row.get_by_role("link")).to_have_text(site.office.agreements[0].number)
    assert violations(asks) == []
    asks.get_by_role("button", name="Take these payments").click()
    expect(asks.locator("#list")).to_contain_text("april.xml")

    page.reload()
    expect(page.get_by_text("This bill is paid.")).to_be_visible()


def test_tariffs_are_compared_and_ranked(site: Site) -> None:
    page, made = site.asks, site.office
    [agreement] = made.agreements
    energy = {"name": "energy", "kind": "energy", "prices": "0.01"}
    with open_scope(made.scope):
        cheap = billing.tariff(
            made.tenant,
            {"tariff": 1, "name": "Cheap", "currency": "EUR", "components": [energy]},
        )
    page.goto(f"/billing/agreements/{agreement.pk}/")
    page.locator(f'a[href="/billing/comparisons/?agreement={agreement.pk}"]').click()
    page.get_by_label("First day").fill("2026-03-01")
    page.get_by_label("Last day").fill("2026-03-31")
    page.get_by_label("Battery (kWh)").fill("5")
    page.get_by_role("button", name="Compute").click()
    ranked = page.get_by_role("region", name="The cheapest first").get_by_role("row")
    expect(ranked).to_have_count(3)
    expect(ranked.nth(1)).to_contain_text(cheap.name)
    expect(ranked.nth(2)).to_contain_text("As agreed")
    assert violations(page) == []


def test_a_token_without_a_payment_needs_a_second_person(site: Site) -> None:
    page, other, made = site.asks, site.approves, site.office
    with open_scope(made.scope):
        of = made.agreements[0]
        tariff = of.tariffs.get().tariff
        agreement = billing.agreement(
            of.facility, by=tariff, channels=(made.channel,), mode=Mode.PAYG
        )
        unit = made.channel.device
    page.goto(f"/billing/agreements/{agreement.pk}/prepaid/")
    page.get_by_role("link", name="Register a unit").click()
    _choose(page, "#id_device", unit.name)
    page.get_by_label("Key", exact=True).fill("0123456789abcdef" * 2)
    page.get_by_label("Starting code").fill("123456789")
    page.get_by_label("A day costs").fill("0.50")
    page.get_by_role("button", name="Register").click()
    page.get_by_role("link", name="Issue a token").click()
    page.get_by_label("Days").fill("3")
    page.get_by_label("Reason").fill("The storm")
    page.get_by_role("button", name="Issue").click()
    expect(page.get_by_text("as soon as somebody else agrees")).to_be_visible()
    waiting = page.get_by_role("region", name="Tokens that wait for a second person")
    expect(waiting).to_contain_text("somebody else has to agree")
    expect(waiting.get_by_role("link", name="Issue", exact=True)).to_have_count(0)
    assert violations(page) == []

    other.goto(page.url)
    other.get_by_role("link", name="Issue", exact=True).click()
    other.get_by_role("button", name="Issue the token").click()
    tokens = other.get_by_role("region", name="Newest tokens")
    expect(tokens).to_contain_text(re.compile(r"\d{3} \d{3} \d{3}.*3 days.*The storm", re.DOTALL))
    assert violations(other) == []

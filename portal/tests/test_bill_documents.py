"""Documents of bills in the portal: given out, sent, and the journal that bookkeeping takes."""

from __future__ import annotations

import io
from datetime import date

import pytest
from django.test import Client
from pypdf import PdfReader

from billing.models import Bill, BillDelivery, BillFile, EntryKind
from billing.tests import factories
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import member, tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def here() -> Tenant:
    return tenant()


@pytest.fixture
def bill(here: Tenant) -> Bill:
    with open_scope(Scope((here.pk,))):
        agreement = factories.agreement(facility(here))
        made = factories.bill(agreement)
        factories.entry(agreement, made.total, EntryKind.BILL, bill=made)
    return made


@pytest.fixture
def browser(here: Tenant) -> Client:
    client = Client()
    with open_scope(Scope((here.pk,))):
        client.force_login(member(here, Role.OPERATOR).user)
    return client


def test_a_document_is_made_when_it_is_asked_for(browser: Client, here: Tenant, bill: Bill) -> None:
    for _again in range(2):
        response = browser.get(f"/billing/bills/{bill.pk}/files/pdf/")
        assert response.status_code == 200
        assert response["Content-Type"] == "application/pdf"
        assert response["Content-Disposition"] == f'attachment; filename="{bill.number}.pdf"'
        text = PdfReader(io.BytesIO(response.content)).pages[0].extract_text()
        assert f"Bill {bill.number}" in text
    with open_scope(Scope((here.pk,))):
        # Nothing is known of the seller, so that there is no e-invoice.
        assert [one.kind for one in BillFile.objects.all()] == ["pdf"]
    none = browser.get(f"/billing/bills/{bill.pk}/files/ubl/", follow=True)
    assert "An e-invoice names the seller" in none.content.decode()
    assert browser.get(f"/billing/bills/{bill.pk}/files/other/").status_code == 404


def test_a_document_that_is_lost_is_told(browser: Client, here: Tenant, bill: Bill) -> None:
    with open_scope(Scope((here.pk,))):
        BillFile.objects.create(
            tenant=here,
            bill=bill,
            facility_id=bill.facility_id,
            kind="pdf",
            sha256="0" * 64,
            size=1,
            created_at=factories.START,
        )
    response = browser.get(f"/billing/bills/{bill.pk}/files/pdf/", follow=True)
    assert "The document is not in the store as it was made." in response.content.decode()


def test_a_bill_is_sent_to_an_address(browser: Client, here: Tenant, bill: Bill) -> None:
    address = f"/billing/bills/{bill.pk}/mail/"
    assert 'name="to"' in browser.get(address).content.decode()
    refused = browser.post(address, {"to": "nobody"})
    assert refused.status_code == 422
    sent = browser.post(address, {"to": "maria@example.org"}, follow=True)
    assert "The bill is sent to maria@example.org within minutes." in sent.content.decode()
    with open_scope(Scope((here.pk,))):
        assert BillDelivery.objects.get().to == "maria@example.org"


def test_the_journal_is_downloaded_and_that_is_told(
    browser: Client, here: Tenant, bill: Bill
) -> None:
    assert 'name="first"' in browser.get("/billing/journal/").content.decode()
    wrong = browser.get("/billing/journal/", {"first": "2026-04-02", "last": "2026-04-01"})
    assert "The last day is before the first." in wrong.content.decode()
    response = browser.get("/billing/journal/", {"first": "2026-04-01", "last": "2026-04-30"})
    assert response["Content-Disposition"] == (
        'attachment; filename="journal-2026-04-01-2026-04-30.csv"'
    )
    head, line = response.getvalue().decode("utf-8-sig").splitlines()
    assert head.startswith("Umsatz (ohne Soll/Haben-Kz);Soll/Haben-Kennzeichen;WKZ Umsatz;Konto")
    with open_scope(Scope((here.pk,))):
        customer = bill.agreement.customer.number
        entry = AuditEntry.objects.get(action="export.journal")
    assert line.startswith(f"119,00;S;EUR;{customer};01.04.2026;")
    assert date.fromisoformat(str((entry.after or {})["end"])) == date(2026, 5, 1)

"""Pages of billing: lists, an agreement, a bill, a tariff, a run; who sees which."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.models import (
    Agreement,
    Bill,
    BillRun,
    BillRunItem,
    Customer,
    EntryKind,
    ItemState,
    Tariff,
)
from billing.tests import factories as billing
from devices.domain import operations
from devices.models import Facility
from devices.tests import factories as devices
from tenants.models import Membership, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories


@dataclass(frozen=True)
class Books:
    """A tenant that bills `count` customers, each at a facility of its own."""

    tenant: Tenant
    facilities: tuple[Facility, ...]
    agreements: tuple[Agreement, ...]
    bills: tuple[Bill, ...]
    tariff: Tariff
    run: BillRun

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    def browser(self, role: Role = Role.ADMIN) -> Client:
        """Of a new member."""
        with open_scope(self.scope):
            return signed_in(factories.member(self.tenant, role))


def signed_in(of: Membership) -> Client:
    """A browser with a session."""
    client = Client()
    client.force_login(of.user)
    return client


def keep(count: int = 1) -> Books:
    """Agreements by one tariff, a final bill of each, its payment, and a run with all of them."""
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        kind = devices.device_type(tenant)
        facilities = tuple(devices.facility(tenant) for _ in range(count))
        tariff = billing.tariff(tenant)
        agreements = []
        for at in facilities:
            meter = devices.device(at, kind).device.channels.get(number=0)
            agreements.append(billing.agreement(at, by=tariff, channels=(meter,)))
        bills = tuple(billing.bill(one) for one in agreements)
        run = BillRun.objects.create(
            tenant=tenant, first_on=billing.FIRST, end_on=billing.END, known_at=billing.START
        )
        for one, billed in zip(agreements, bills, strict=True):
            billing.entry(one, billed.total, EntryKind.BILL, bill=billed)
            billing.entry(one, Decimal(-19), EntryKind.PAYMENT)
            BillRunItem.objects.create(
                tenant=tenant,
                run=run,
                agreement=one,
                facility_id=one.facility_id,
                state=ItemState.HELD,
                findings=[{"code": "first"}],
            )
    return Books(tenant, facilities, tuple(agreements), bills, tariff, run)


def _text(client: Client, name: str, *keys: int) -> str:
    answer = client.get(reverse(name, args=keys))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_bill_shows_its_lines_sums_and_evidence(db: None) -> None:
    books = keep()
    billed = books.bills[0]
    text = _text(books.browser(), "bill", billed.pk)
    assert "119.00\N{NO-BREAK SPACE}EUR" in text
    assert "100.00\N{NO-BREAK SPACE}EUR" in text
    assert billed.sha256 in text
    assert "March 2026" in text
    assert reverse("agreement", args=[books.agreements[0].pk]) in text


def test_an_agreement_shows_meters_tariffs_bills_and_what_is_owed(db: None) -> None:
    books = keep()
    agreement = books.agreements[0]
    text = _text(books.browser(), "agreement", agreement.pk)
    # 119.00 were billed and 19.00 paid.
    assert "100.00\N{NO-BREAK SPACE}EUR" in text
    assert "\N{MINUS SIGN}19.00\N{NO-BREAK SPACE}EUR" in text
    assert reverse("tariff", args=[books.tariff.pk]) in text
    assert reverse("bill", args=[books.bills[0].pk]) in text
    with open_scope(books.scope):
        customer = Customer.objects.get(pk=agreement.customer_id)
    assert customer.name in text
    assert agreement.number in _text(books.browser(), "customer", customer.pk)


def test_what_an_account_has_in_credit_is_called_so_wherever_it_stands(db: None) -> None:
    books = keep()
    agreement = books.agreements[0]
    with open_scope(books.scope):
        billing.entry(agreement, Decimal("-140.00"), EntryKind.PAYMENT)
    client = books.browser()
    shown = (
        _text(client, "agreement-list"),
        _text(client, "agreement", agreement.pk),
        _text(client, "customer", agreement.customer_id),
    )
    assert ["40.00\N{NO-BREAK SPACE}EUR in credit" in text for text in shown] == [True] * 3
    file = client.get(f"{reverse('agreement-list')}?export=csv").getvalue().decode()
    assert "-40.00" in file


def test_lists_find_what_belongs_to_a_customer_or_month(db: None) -> None:
    books = keep(3)
    client = books.browser()
    with open_scope(books.scope):
        customer = Customer.objects.get(pk=books.agreements[1].customer_id)
    numbers = [one.number for one in books.bills]

    def shown(query: str) -> list[bool]:
        page = client.get(f"{reverse('bill-list')}?{query}").content.decode()
        return [f">{number}</a>" in page for number in numbers]

    assert shown(f"q={customer.name.rpartition(' ')[2]}") == [False, True, False]
    assert shown("month=2026-03") == [True, True, True]
    assert shown("month=2026-04") == [False, False, False]
    assert shown("estimated=yes") == [False, False, False]
    listed = client.get(f"{reverse('agreement-list')}?owing=owes").content.decode()
    assert all(one.number in listed for one in books.agreements)


def test_a_run_shows_its_checklist_and_the_accounts_of_a_finding(db: None) -> None:
    books = keep(2)
    client = books.browser()
    text = _text(client, "bill-run", books.run.pk)
    assert "First bill" in text
    address = reverse("bill-run", args=[books.run.pk])
    assert books.agreements[0].number in client.get(f"{address}?finding=first").content.decode()
    assert books.agreements[0].number not in client.get(f"{address}?finding=zero").content.decode()


def test_a_tariff_shows_which_version_holds(db: None) -> None:
    books = keep()
    with open_scope(books.scope):
        late = billing.version(books.tariff, {}, valid_from=date(2100, 1, 1))
        draft = billing.version(books.tariff, {}, valid_from=date(2100, 2, 1), published=False)
    text = _text(books.browser(), "tariff", books.tariff.pk)
    assert text.count("In force") == 1
    for one in (late, draft):
        assert one.sha256[:12] in text


def test_who_is_granted_one_facility_sees_its_bills_and_no_tariffs(db: None) -> None:
    books = keep(2)
    with open_scope(books.scope):
        member = factories.member(books.tenant, Role.MANAGER)
        operations.grant_facility(
            membership_id=member.pk, facility_id=books.facilities[0].pk, actor_id=None
        )
    client = signed_in(member)
    listed = _text(client, "bill-list")
    assert [one.number in listed for one in books.bills] == [True, False]
    assert books.bills[0].number in _text(client, "agreement", books.agreements[0].pk)
    assert client.get(reverse("bill", args=[books.bills[1].pk])).status_code == 404
    assert client.get(reverse("tariff", args=[books.tariff.pk])).status_code == 404
    assert books.tariff.name not in _text(client, "tariff-list")


@pytest.mark.parametrize("count", [1, 3])
def test_pages_take_the_same_queries_however_much_there_is(
    count: int, db: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    books = keep(count)
    client = books.browser()
    client.get(reverse("bill-list"))
    for address, most in (
        (reverse("bill-list"), 13),
        (reverse("bill", args=[books.bills[0].pk]), 13),
        (reverse("agreement-list"), 13),
        (reverse("agreement", args=[books.agreements[0].pk]), 22),
        (reverse("customer-list"), 13),
        (reverse("customer", args=[books.agreements[0].customer_id]), 13),
        (reverse("tariff-list"), 13),
        (reverse("tariff", args=[books.tariff.pk]), 13),
        (reverse("bill-run-list"), 13),
        (reverse("bill-run", args=[books.run.pk]), 17),
    ):
        with django_assert_max_num_queries(most):
            assert client.get(address).status_code == 200


# --- forms -------------------------------------------------------------------------------


def test_a_customer_is_created_changed_and_protected(db: None) -> None:
    books = keep()
    client = books.browser()
    address = reverse("customer-create")
    assert client.get(address).status_code == 200
    given = {"name": "Ada Lovelace", "kind": "person", "language": "de", "country": "de"}
    assert "name" in client.post(address, {**given, "name": " "}).context["form"].errors
    made = client.post(address, given)
    with open_scope(books.scope):
        row = Customer.objects.get(name="Ada Lovelace")
    assert (made["Location"], row.country) == (reverse("customer", args=[row.pk]), "DE")
    client.post(reverse("customer-edit", args=[row.pk]), {**given, "city": "London"})
    protect = reverse("customer-protect", args=[row.pk])
    assert client.post(protect, {}).status_code == 422
    client.post(protect, {"reason": "Dialysis at home", "until": "2100-01-01"})
    text = _text(client, "customer", row.pk)
    assert "Dialysis at home" in text
    assert "London" in text
    client.post(reverse("customer-unprotect", args=[row.pk]), {"reason": "Moved"})
    assert "Dialysis at home" not in _text(client, "customer", row.pk)


def _priced(books: Books) -> Tariff:
    """A tariff that agreements can be made with."""
    document = {
        "tariff": 1,
        "name": "Plain",
        "currency": "EUR",
        "components": [{"kind": "energy", "name": "energy", "prices": "0.30"}],
    }
    with open_scope(books.scope):
        return billing.tariff(books.tenant, document)


def test_an_agreement_is_made_and_handed_over_at_a_move(db: None) -> None:
    books = keep()
    client = books.browser()
    tariff = _priced(books)
    with open_scope(books.scope):
        at = devices.facility(books.tenant)
        meter = devices.device(at, devices.device_type(books.tenant)).device.channels.filter(
            quantity="active_power"
        )[0]
        first, second = (billing.customer(books.tenant) for _ in range(2))
    place = _text(client, "agreement-place")
    assert at.name in place
    address = f"{reverse('agreement-create')}?facility={at.pk}"
    given = {
        "customer": first.pk,
        "starts_on": "2026-03-01",
        "tariff": tariff.pk,
        "meters": [meter.pk],
        "mode": "postpaid",
        "cycle": "month",
        "payment_days": 14,
    }
    assert client.get(address).status_code == 200
    refused = client.post(address, {**given, "starts_on": ""})
    assert set(refused.context["form"].errors) == {"starts_on"}
    assert client.post(address, given).status_code == 302
    with open_scope(books.scope):
        row = Agreement.objects.get(facility=at)
    assert meter.device.name in _text(client, "agreement", row.pk)
    left = client.post(
        reverse("agreement-move-out", args=[row.pk]),
        {"ends_on": "2026-05-01", "successor": second.pk},
    )
    with open_scope(books.scope):
        row.refresh_from_db()
        following = Agreement.objects.get(customer=second)
    assert (row.ends_on, following.starts_on) == (date(2026, 5, 1), date(2026, 5, 1))
    assert left["Location"] == reverse("agreement", args=[following.pk])
    edit = reverse("agreement-edit", args=[following.pk])
    client.post(edit, {"number": "S-7", "cycle": "year", "payment_days": 30})
    assert "S-7" in _text(client, "agreement", following.pk)


def test_another_tariff_and_another_meter_count_from_a_day_on(db: None) -> None:
    books = keep()
    client = books.browser()
    row = books.agreements[0]
    tariff = _priced(books)
    with open_scope(books.scope):
        kind = devices.device_type(books.tenant)
        other = devices.device(row.facility, kind).device.channels.get(number=0)
        meter = row.meters.get()
    change = reverse("agreement-tariff", args=[row.pk])
    given = {"tariff": tariff.pk, "starts_on": "2026-06-01"}
    assert client.post(change, {**given, "starts_on": "2020-01-01"}).status_code == 422
    assert client.post(change, given).status_code == 302
    exchange = reverse("agreement-meter-change", args=[row.pk, meter.pk])
    askew = client.post(exchange, {"channel": other.pk, "at": "2026-06-01T10:07"})
    assert askew.status_code == 422
    done = client.post(exchange, {"channel": other.pk, "at": "2026-06-01T10:15"})
    assert done.status_code == 302
    text = _text(client, "agreement", row.pk)
    assert tariff.name in text
    assert other.device.name in text
    add = reverse("agreement-meter-add", args=[row.pk])
    twice = client.post(add, {"channel": other.pk, "flow": "import", "share": "1"})
    assert twice.status_code == 422


def test_settings_are_kept_and_a_wrong_account_is_told(db: None) -> None:
    books = keep()
    client = books.browser()
    address = reverse("billing-settings")
    assert client.get(address).status_code == 200
    given = {"legal_name": "Energy Ltd", "currency": "EUR", "estimate_percent": "12.5"}
    wrong = client.post(address, {**given, "iban": "DE00 1234"})
    assert set(wrong.context["form"].errors) == {"iban"}
    assert client.post(address, given).status_code == 302
    assert "Energy Ltd" in client.get(address).content.decode()


def test_a_payment_is_entered_once_however_often_it_is_sent(db: None) -> None:
    books = keep()
    client = books.browser()
    address = reverse("agreement-payment", args=[books.agreements[0].pk])
    key = client.get(address).context["form"].initial["key"]
    given = {"key": key, "amount": "40.00", "received_on": "2026-04-05"}
    assert client.post(address, {**given, "amount": "0"}).status_code == 422
    for _ in range(2):
        assert client.post(address, given).status_code == 302
    text = _text(client, "agreement", books.agreements[0].pk)
    assert text.count("\N{MINUS SIGN}40.00\N{NO-BREAK SPACE}EUR") == 1
    # 119.00 were billed, 19.00 paid before.
    assert "60.00\N{NO-BREAK SPACE}EUR" in text

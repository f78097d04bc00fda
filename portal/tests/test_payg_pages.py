"""Pay-as-you-go units in the portal, and what customers see of their credit."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.models import (
    Agreement,
    AgreementMeter,
    Bill,
    BillDelivery,
    BillLine,
    Mode,
    PaygToken,
    PaygUnit,
    Restatement,
    RestatementState,
    TokenKind,
    TokenRequest,
    Wallet,
)
from billing.tests import factories as billing
from devices.models import Device
from devices.tests.factories import Park, park, remove_everything
from portal.tests import home
from portal.tests.test_billing_pages import Books, keep
from tenants.permissions import Role
from tenants.scope import open_scope

KEY = "0123456789abcdef0123456789abcdef"


def _by_the_day(books: Books) -> tuple[int, int]:
    """An agreement that pays by the day, and a device for it."""
    agreement = books.agreements[0]
    with open_scope(books.scope):
        agreement.mode = Mode.PAYG
        agreement.save()
        meters = AgreementMeter.objects.filter(agreement=agreement)
        return agreement.pk, Device.objects.get(channels__in=meters.values("channel")).pk


def _sent(browser: Client, route: str, pk: int, **fields: object) -> tuple[int, str]:
    answer = browser.post(reverse(route, args=[pk]), fields, follow=True)
    return answer.status_code, answer.content.decode()


def _registered(books: Books, browser: Client) -> tuple[int, int]:
    pk, device = _by_the_day(books)
    fields = {
        "device": device,
        "secret": KEY,
        "starting_code": "123456789",
        "price_per_day": "0.50",
        "divider": "1",
        "count": "0",
    }
    wrong = {**fields, "secret": "short"}
    status, page = _sent(browser, "payg-register", pk, **wrong)
    assert (status, "32 hexadecimal digits" in page) == (422, True)
    status, page = _sent(browser, "payg-register", pk, **fields)
    assert (status, "The unit was registered." in page) == (200, True)
    assert KEY not in page
    with open_scope(books.scope):
        return pk, PaygUnit.objects.get().pk


def test_a_token_waits_for_a_second_person_and_goes_to_the_unit(db: None) -> None:
    books = keep()
    first, second = books.browser(), books.browser()
    pk, _unit = _registered(books, first)
    assert first.get(reverse("payg-register", args=[pk])).status_code == 404
    wish = {"kind": "add_time", "days": "3", "reason": "Storm"}
    status, page = _sent(first, "payg-issue", pk, **{**wish, "kind": "counter_sync"})
    assert (status, "no days" in page) == (422, True)
    status, page = _sent(first, "payg-issue", pk, **wish)
    assert (status, "somebody else agrees" in page, "Storm" in page) == (200, True, True)
    with open_scope(books.scope):
        request = TokenRequest.objects.get().pk
    agree, refuse = (reverse(f"payg-request-{one}", args=[request]) for one in ("agree", "refuse"))
    for address in (reverse("prepaid", args=[pk]), reverse("payg-token-list")):
        own, other = (one.get(address).content.decode() for one in (first, second))
        assert ("somebody else has to agree" in own, agree in own, refuse in own) == (
            True, False, True,
        )  # fmt: skip
        assert ("you have asked for it" in other, agree in other, refuse in other) == (
            False, True, True,
        )  # fmt: skip
    reader = books.browser(Role.MANAGER).get(reverse("payg-token-list")).content.decode()
    assert ("Storm" in reader, agree in reader) == (True, False)
    status, page = _sent(first, "payg-request-agree", request)
    assert (status, "somebody else has to agree" in page) == (422, True)
    status, page = _sent(second, "payg-request-agree", request)
    assert (status, "The token was issued." in page) == (200, True)
    with open_scope(books.scope):
        token = PaygToken.objects.get()
    status, page = _sent(first, "payg-token-send", token.pk)
    assert "The token is on its way to the unit." in page
    listed = first.get(reverse("payg-token-list")).content.decode()
    assert " ".join(token.token[at : at + 3] for at in (0, 3, 6)) in listed
    assert "Straight to the unit" in listed


def test_a_token_is_refused_with_a_reason(db: None) -> None:
    books = keep()
    browser = books.browser()
    pk, _unit = _registered(books, browser)
    _sent(browser, "payg-issue", pk, kind="add_time", days="3", reason="Storm")
    with open_scope(books.scope):
        request = TokenRequest.objects.get().pk
    status, _page = _sent(books.browser(), "payg-request-refuse", request, reason="")
    assert status == 422
    _status, page = _sent(books.browser(), "payg-request-refuse", request, reason="Paid")
    assert "No token is issued." in page
    with open_scope(books.scope):
        assert TokenRequest.objects.get().state == "refused"
        assert not PaygToken.objects.exists()
    page = books.browser(Role.MANAGER).get(reverse("prepaid", args=[pk])).content.decode()
    assert reverse("payg-issue", args=[pk]) not in page


def test_the_list_of_tokens_takes_as_many_queries_for_three_as_for_one(db: None) -> None:
    books = keep()
    browser = books.browser()
    _pk, unit = _registered(books, browser)
    counts = []
    for count in (2, 4, 6):
        with open_scope(books.scope):
            row = PaygUnit.objects.get(pk=unit)
            PaygToken.objects.create(
                tenant_id=row.tenant_id, unit=row, facility_id=row.facility_id,
                kind=TokenKind.ADD_TIME, token=f"12345678{count}", count=count, value=1,
                issued_at=billing.START,
            )  # fmt: skip
        with CaptureQueriesContext(connection) as counted:
            page = browser.get(reverse("payg-token-list")).content.decode()
        counts.append(len(counted))
    assert counts[0] == counts[2]
    assert page.count("123 456 78") == 3


def test_a_restatement_shows_old_and_new_lines_and_a_bill_to_whom_it_went(db: None) -> None:
    books = keep()
    old, agreement = books.bills[0], books.agreements[0]
    with open_scope(books.scope):
        draft = billing.bill(billing.agreement(books.facilities[0]), final=False)
        Bill.objects.filter(pk=draft.pk).update(agreement=agreement, revision=2)
        BillLine.objects.filter(bill=draft).update(amount=Decimal("80.25"))
        row = billing.restatement(old)
        Restatement.objects.filter(pk=row.pk).update(
            state=RestatementState.DRAFTED, new_bill=draft, difference=Decimal("-19.75")
        )
        BillDelivery.objects.create(
            tenant=books.tenant, bill=old, facility=books.facilities[0], key="final:1",
            to="customer@example.org", language="en", due_at=billing.START,
            created_at=billing.START,
        )  # fmt: skip
    page = books.browser().get(reverse("restatement", args=[row.pk])).content.decode()
    for amount in ("100.00", "80.25", "\N{MINUS SIGN}19.75"):
        assert f"{amount}\N{NO-BREAK SPACE}EUR" in page
    assert reverse("restatement-settle", args=[row.pk]) in page
    looking = books.browser(Role.MANAGER).get(reverse("restatement", args=[row.pk]))
    assert reverse("restatement-settle", args=[row.pk]) not in looking.content.decode()
    listed = books.browser().get(reverse("restatement-list")).content.decode()
    assert reverse("restatement", args=[row.pk]) in listed
    bill = books.browser().get(reverse("bill", args=[old.pk])).content.decode()
    assert "customer@example.org" in bill


# --- the consumer view -------------------------------------------------------------------


@pytest.fixture
def homes(transactional_db: None) -> Iterator[Park]:
    yield park()
    remove_everything()


def _own(of: Park, mode: Mode, branch: int = 0) -> Agreement:
    """An agreement of the consumer of a facility."""
    with open_scope(of.scope):
        at = of.branches[branch].facility
        return billing.agreement(at, mode=mode, user=of.consumer(branch))


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_a_customer_sees_the_own_wallet_and_sets_when_to_be_warned(homes: Park) -> None:
    own, other = _own(homes, Mode.PREPAID), _own(homes, Mode.PREPAID, 1)
    with open_scope(homes.scope):
        billing.wallet(own, balance=Decimal("12.50"))
        billing.wallet(other, balance=Decimal("99.75"))
    browser = home.signed_in(homes.consumer(0))
    page = browser.get("/home/prepaid/").content.decode()
    assert "12.50\N{NO-BREAK SPACE}EUR" in page
    assert own.number in page
    assert "99.75" not in page
    address = f"/home/prepaid/{own.pk}/warning/"
    assert browser.post(address, {"low_balance": "-1"}).status_code == 422
    assert browser.post(address, {"low_balance": "8"}).status_code == 302
    assert (
        browser.post(f"/home/prepaid/{other.pk}/warning/", {"low_balance": "8"}).status_code == 404
    )
    with open_scope(homes.scope):
        assert Wallet.objects.get(agreement=own).low_balance == 8
        assert Wallet.objects.get(agreement=own).look_at is not None
        assert Wallet.objects.get(agreement=other).low_balance == 5


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_a_customer_sees_the_days_left_and_the_tokens_of_the_own_unit(homes: Park) -> None:
    own = _own(homes, Mode.PAYG)
    until = datetime.now(UTC) + timedelta(days=3, hours=1)
    with open_scope(homes.scope):
        unit = billing.payg_unit(own, homes.branches[0].device, paid_until=until)
        PaygToken.objects.create(
            tenant_id=unit.tenant_id, unit=unit, facility_id=unit.facility_id,
            kind=TokenKind.ADD_TIME, token="123456789", count=2, value=3,
            issued_at=billing.START,
        )  # fmt: skip
    page = home.signed_in(homes.consumer(0)).get("/home/prepaid/").content.decode()
    assert "3 days left" in page
    assert "123 456 789" in page
    nobody = home.signed_in(homes.consumer(1)).get("/home/prepaid/").content.decode()
    assert "123 456 789" not in nobody
    assert "You pay nothing beforehand" in nobody

"""Pages of agreements that pay beforehand: topped up in the portal, on again at once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from billing.domain import wallet_operations
from billing.models import (
    AccountEntry,
    AgreementMeter,
    EntryKind,
    Mode,
    PaygToken,
    Payment,
    Wallet,
)
from billing.tests import factories as billing
from devices.models import Device
from portal.tests.test_billing_pages import Books, keep
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db


def _prepaid(books: Books, mode: Mode = Mode.PREPAID) -> int:
    agreement = books.agreements[0]
    with open_scope(books.scope):
        agreement.mode = mode
        agreement.save()
        if mode == Mode.PREPAID:
            assert wallet_operations.open_missing(now=billing.START) == 1
        else:
            device = Device.objects.get(channels__in=AgreementMeter.objects.values("channel"))
            billing.payg_unit(agreement, device)
            # What the bills of before have left open.
            billing.entry(agreement, Decimal(-100), EntryKind.CREDIT_NOTE)
    return agreement.pk


def _sent(browser: Client, route: str, pk: int, **fields: str) -> tuple[int, str]:
    answer = browser.post(reverse(route, args=[pk]), fields, follow=True)
    return answer.status_code, answer.content.decode()


def test_a_wallet_is_topped_up_once_however_often_the_form_is_sent() -> None:
    books = keep()
    pk = _prepaid(books)
    browser = books.browser()
    for _again in range(2):
        status, page = _sent(browser, "prepaid-top-up", pk, amount="25.50", key="one")
        assert status == 200
        assert "The payment was taken." in page
    with open_scope(books.scope):
        assert Payment.objects.get().amount == Decimal("25.50")
        # 19 were paid in before the wallet was opened.
        assert Wallet.objects.get().balance == Decimal("44.50")
    assert "44.50" in page


def test_a_payment_for_a_unit_shows_its_token() -> None:
    books = keep()
    pk = _prepaid(books, Mode.PAYG)
    _status, page = _sent(books.browser(), "prepaid-top-up", pk, amount="10", key="one")
    with open_scope(books.scope):
        (token,) = PaygToken.objects.all()
        assert AccountEntry.objects.filter(key=f"payg:{token.pk}").exists()
    assert token.value == 20
    assert " ".join(token.token[at : at + 3] for at in (0, 3, 6)) in page


def test_a_balance_and_limits_are_changed_with_a_reason() -> None:
    books = keep()
    pk = _prepaid(books)
    browser = books.browser()
    status, page = _sent(browser, "prepaid-adjust", pk, amount="-4", key="one", reason="")
    assert status == 422
    status, page = _sent(browser, "prepaid-adjust", pk, amount="-4", key="one", reason="Too much")
    assert "Too much" in page
    # What the form begins with may be sent as it is.
    limits = browser.get(reverse("prepaid-limits", args=[pk])).context["form"]
    shown = {name: limits[name].value() for name in ("low_balance", "emergency_credit")}
    status, page = _sent(browser, "prepaid-limits", pk, **{k: str(v) for k, v in shown.items()})
    assert (status, "The changes were saved." in page) == (200, True)
    too_much = {"amount": "9" * 20, "key": "two"}
    status, page = _sent(browser, "prepaid-top-up", pk, **too_much)
    assert (status, "no more than 14 digits" in page) == (422, True)
    wrong = {"low_balance": "3", "emergency_credit": "0", "friendly_from": "18:00"}
    status, page = _sent(browser, "prepaid-limits", pk, **wrong)
    assert (status, "Give both ends" in page) == (422, True)
    right = {**wrong, "friendly_to": "08:00", "holidays": "DE-BY", "friendly_weekend": "on"}
    status, page = _sent(browser, "prepaid-limits", pk, **right)
    assert (status, "DE-BY" in page) == (200, True)
    with open_scope(books.scope):
        wallet = Wallet.objects.get()
        assert (wallet.balance, wallet.low_balance, wallet.holidays) == (15, 3, "DE-BY")


def test_who_only_looks_gets_no_forms() -> None:
    books = keep()
    pk = _prepaid(books)
    page = books.browser(Role.MANAGER).get(reverse("prepaid", args=[pk])).content.decode()
    assert "Balance" in page
    assert "Top up" not in page
    page = books.browser(Role.MANAGER).get(reverse("agreement", args=[pk])).content.decode()
    assert reverse("prepaid", args=[pk]) in page

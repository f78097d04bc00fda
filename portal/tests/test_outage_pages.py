"""The screen for whoever answers the telephone: a unit is found, and why it is dark is told."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.urls import reverse

from billing.domain import wallet_operations
from billing.domain.wallet_operations import WalletRules
from billing.models import AgreementMeter, Customer, Mode
from billing.tests import factories as billing
from devices.models import Device, DeviceConfiguration, DeviceState
from portal.tests.test_billing_pages import Books, keep
from tenants.models import User
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db


def _spent(books: Books) -> Device:
    """A unit whose wallet is spent (19 were paid in), and that says that it is off."""
    agreement = books.agreements[0]
    with open_scope(books.scope):
        device = Device.objects.get(channels__in=AgreementMeter.objects.values("channel"))
        device.state = DeviceState.ACTIVE
        device.save()
        Customer.objects.update(phone="0761 1234567", protected=False)
        agreement.mode = Mode.PREPAID
        agreement.save()
        wallet = wallet_operations.open_wallet(
            agreement_id=agreement.pk, rules=WalletRules(), actor_id=None
        )
        wallet_operations.adjust(
            wallet_id=wallet.pk, amount=Decimal("-22.20"), reason="Test", key="a",
            now=billing.START, actor_id=None,
        )  # fmt: skip
        row, _made = DeviceConfiguration.objects.get_or_create(
            device=device, defaults={"tenant": books.tenant, "desired": {}}
        )
        row.reported, row.reported_at = {"output": 0}, billing.START
        row.save()
    return device


def test_a_caller_is_found_and_told_why() -> None:
    books = keep()
    device = _spent(books)
    browser = books.browser()
    answer = browser.get(reverse("outage-search"), {"q": "0761 123 4567"}, follow=True)
    assert answer.redirect_chain == [(reverse("outage", args=[device.pk]), 302)]
    page = answer.content.decode()
    for text in ("The prepaid balance is used up", "Certain", "3.20", "0761 1234567"):
        assert text in page
    assert "Ask for a payment" in page


def test_it_is_told_in_german() -> None:
    books = keep()
    device = _spent(books)
    browser = books.browser(Role.MANAGER)
    User.objects.update(language="de")
    page = browser.get(reverse("outage", args=[device.pk])).content.decode()
    assert "Das Guthaben ist verbraucht" in page


def test_several_are_listed_and_nothing_is_said_so() -> None:
    books = keep(3)
    browser = books.browser()
    page = browser.get(reverse("outage-search"), {"q": "Facility"}).content.decode()
    assert page.count('class="wl-mono"') == 3
    page = browser.get(reverse("outage-search"), {"q": "nobody"}).content.decode()
    assert "Nothing was found" in page
    assert browser.get(reverse("outage", args=[1 << 40])).status_code == 404

"""What the clock does for agreements that pay beforehand: burn, issue, tell."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core import mail
from pytest_django import Settings

from billing import tasks as billing_tasks
from billing.models import (
    AgreementMeter,
    AgreementTariff,
    Customer,
    EntryKind,
    Mode,
    PaygToken,
    Wallet,
    WalletMovement,
    WalletState,
)
from billing.tests import factories as billing
from devices.models import Device
from portal import tasks
from portal.tests.test_billing_pages import Books, keep
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db

STANDING = {
    "tariff": 1,
    "name": "By the day",
    "currency": "EUR",
    "components": [{"name": "base", "kind": "standing", "amount": "1.00", "per": "day"}],
}


@pytest.fixture
def books(settings: Settings) -> Books:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    made = keep()
    with open_scope(made.scope):
        Customer.objects.update(email="maria@example.com", language="de")
        billing.version(AgreementTariff.objects.get().tariff, STANDING, revision=2)
    return made


def test_wallets_are_opened_burned_and_told_of_by_the_clock(books: Books) -> None:
    agreement = books.agreements[0]
    with open_scope(books.scope):
        agreement.mode = Mode.PREPAID
        agreement.save()
    for _round in range(2):
        billing_tasks.burn_wallets()
        tasks.tell_prepaid()
    with open_scope(books.scope):
        wallet = Wallet.objects.get()
        # The days since the bill, a euro each, are more than the 19 that were paid in.
        assert (wallet.state, wallet.problem) == (WalletState.SPENT, "")
        moved = list(WalletMovement.objects.values_list("amount", flat=True))
        assert sum(moved) == wallet.balance < 0
    (letter,) = mail.outbox
    assert (letter.to, letter.subject) == (
        ["maria@example.com"],
        "Ihre Versorgung ist abgeschaltet",
    )


def test_tokens_are_issued_and_mailed_by_the_clock(books: Books, settings: Settings) -> None:
    agreement = books.agreements[0]
    with open_scope(books.scope):
        agreement.mode = Mode.PAYG
        agreement.save()
        device = Device.objects.get(channels__in=AgreementMeter.objects.values("channel"))
        billing.payg_unit(agreement, device)
        # 119 less 19 are still owed.
        billing.entry(agreement, Decimal(-105), EntryKind.PAYMENT)
    billing_tasks.issue_tokens()
    # A mail server that is away costs nobody what was paid for.
    here = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1
    tasks.tell_prepaid()
    settings.EMAIL_BACKEND = here
    for _round in range(2):
        billing_tasks.issue_tokens()
        tasks.tell_prepaid()
    with open_scope(books.scope):
        (token,) = PaygToken.objects.all()
    assert token.value == 10
    (letter,) = mail.outbox
    assert token.token in letter.body.replace(" ", "")
    assert letter.subject == "Ihr Code für 10 Tage"

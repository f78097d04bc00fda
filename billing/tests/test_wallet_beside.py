"""Wallets burned, filled and followed by several workers at once, each with its own connection."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db.models import Sum

from billing.domain import payments_operations, wallet_operations
from billing.models import AccountEntry, Mode, MovementKind, Wallet, WalletMovement
from billing.payments.values import Received
from billing.tests import factories
from billing.tests.readings import meter, power, quarters, tariff
from billing.tests.test_runs_beside import beside
from devices.tests.factories import facility, remove_everything
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
NOW = BEGIN + timedelta(days=3)
WALLETS = 6


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    remove_everything()


def _homes() -> tuple[Tenant, list[int], list[int]]:
    """A tenant with wallets over two days of the same use; the ids of agreements and wallets."""
    of = tenant()
    with open_scope(Scope((of.pk,))):
        at = facility(of)
        channel = power(at)
        quarters(channel, BEGIN, [250.0] * 192)
        by = tariff(at)
        made = [factories.agreement(at, by=by, mode=Mode.PREPAID) for _ in range(WALLETS)]
        for one in made:
            meter(one, channel, BEGIN)
        return of, [one.pk for one in made], [factories.wallet(one).pk for one in made]


def test_two_workers_take_what_was_used_once() -> None:
    of, _agreements, wallets = _homes()

    def burn() -> int:
        with open_scope(Scope((of.pk,))):
            return wallet_operations.burn(wallet_ids=wallets, now=NOW)

    counts = beside(burn, burn, burn)
    # Who finds a wallet held leaves it to its holder, or comes after and finds nothing to take.
    assert max(counts) > 0
    with open_scope(Scope((of.pk,))):
        wallet_operations.burn(wallet_ids=wallets, now=NOW)
        rows = list(Wallet.objects.order_by("pk"))
        burned = list(WalletMovement.objects.filter(kind=MovementKind.BURN))
        assert len(burned) == WALLETS
        assert {row.wallet_id for row in burned} == set(wallets)
        assert len({row.balance for row in rows}) == 1
        assert rows[0].balance == burned[0].amount
        assert rows[0].balance < 0


def test_payments_and_burns_beside_each_other_lose_nothing() -> None:
    of, agreements, wallets = _homes()

    def burn() -> int:
        with open_scope(Scope((of.pk,))):
            return wallet_operations.burn(wallet_ids=wallets, now=NOW)

    def pay() -> int:
        for pk in agreements:
            with open_scope(Scope((of.pk,))):
                payments_operations.enter(
                    agreement_id=pk,
                    received=Received(
                        external_id=f"till {pk}",
                        amount=Decimal(20),
                        currency="EUR",
                        received_on=BEGIN.date(),
                    ),
                    now=NOW,
                    actor_id=None,
                )
        return len(agreements)

    beside(burn, pay, burn, pay)
    with open_scope(Scope((of.pk,))):
        wallet_operations.burn(wallet_ids=wallets, now=NOW)
        for row in Wallet.objects.all():
            moved = WalletMovement.objects.filter(wallet=row)
            kinds = sorted(moved.values_list("kind", flat=True))
            assert kinds == [MovementKind.BURN, MovementKind.ENTRY]
            assert moved.aggregate(sum=Sum("amount"))["sum"] == row.balance
            credit = AccountEntry.objects.filter(agreement=row.agreement_id)
            assert credit.aggregate(sum=Sum("amount"))["sum"] == -20

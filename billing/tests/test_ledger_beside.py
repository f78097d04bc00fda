"""Money that moves on several connections at once: nothing is given back twice, and nobody who has
paid stays without supply.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db.models import Sum

from billing.domain import (
    customers_operations,
    dunning_operations,
    payments_operations,
    payments_refunds_operations,
)
from billing.models import AccountEntry, Agreement, DunningCase, Payment, Provider
from billing.payments.values import Received
from billing.tests import factories
from billing.tests.dunning_world import Behind, at, set_policy
from billing.tests.test_runs_beside import beside
from devices.models import DeviceConfiguration
from devices.tests.factories import facility, remove_everything
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

NOW = datetime(2026, 5, 4, 10, tzinfo=UTC)
TODAY = date(2026, 5, 4)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    remove_everything()


def _nobodys() -> tuple[Tenant, Agreement, Payment]:
    """A payment of 100 that nobody knows, and an agreement that it may be for."""
    of = tenant()
    with open_scope(Scope((of.pk,))):
        agreement = factories.agreement(facility(of))
        taken = payments_operations.take(
            tenant_id=of.pk,
            provider=Provider.BANK,
            payments=[Received("B1", Decimal(100), "EUR", TODAY)],
            now=NOW,
            actor_id=None,
        )
        return of, agreement, taken.payments[0]


def _refund(of: Tenant, payment: Payment, key: str) -> bool:
    with open_scope(Scope((of.pk,))):
        try:
            payments_refunds_operations.refund(
                payment_id=payment.pk,
                amount=Decimal(60),
                reason="Paid twice",
                on=TODAY,
                now=NOW,
                actor_id=None,
                key=key,
            )
        except ValidationError:
            return False
    return True


def test_two_refunds_at_once_give_back_no_more_than_was_paid() -> None:
    of, _agreement, payment = _nobodys()
    done = beside(lambda: _refund(of, payment, "one"), lambda: _refund(of, payment, "two"))
    assert sorted(done) == [False, True]


def test_a_refund_while_somebody_says_whose_the_payment_is_reaches_the_account() -> None:
    of, agreement, payment = _nobodys()

    def assign() -> bool:
        with open_scope(Scope((of.pk,))):
            payments_operations.assign(
                payment_id=payment.pk, agreement_id=agreement.pk, now=NOW, actor_id=None
            )
        return True

    assert beside(assign, lambda: _refund(of, payment, "one")) == [True, True]
    with open_scope(Scope((of.pk,))):
        assert AccountEntry.objects.aggregate(sum=Sum("amount"))["sum"] == -40


def test_who_pays_or_is_protected_while_the_supply_is_cut_gets_it_back() -> None:
    of = tenant()
    with open_scope(Scope((of.pk,))):
        set_policy(of)
        payer, protected = Behind.make(of), Behind.make(of)
        for one in (payer, protected):
            one.until(29)
        cases = list(DunningCase.objects.order_by("pk").values_list("pk", flat=True))
    then = at(33)

    def drive() -> bool:
        for pk in cases:
            with open_scope(Scope((of.pk,))):
                dunning_operations.drive(case_id=pk, now=then)
        return True

    def pay() -> bool:
        with open_scope(Scope((of.pk,))):
            payer.pay("105.00", then)
        return True

    def protect() -> bool:
        with open_scope(Scope((of.pk,))):
            customers_operations.protect_customer(
                customer_id=protected.agreement.customer_id,
                reason="Dialysis",
                now=then,
                actor_id=None,
            )
        return True

    assert beside(drive, pay, protect) == [True] * 3
    with open_scope(Scope((of.pk,))):
        assert len(cases) == 2
        for one in (payer, protected):
            desired = DeviceConfiguration.objects.get(device=one.device).desired
            assert (desired.get("output", 1), desired["power_limit_w"]) == (1, -1)

"""Whatever happens to an account that is dunned: who is protected or owes nothing is never cut, and
who was cut is asked back in the moment in which that is so.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.domain import (
    agreements_operations,
    customers_operations,
    dunning_facts,
    dunning_settings,
    payments_refunds_operations,
)
from billing.domain.dunning_facts import Account
from billing.models import Agreement, EntryKind, Payment
from billing.tests import factories
from billing.tests.dunning_world import Behind, at, set_policy
from devices.commands.kinds import NO_POWER_LIMIT
from devices.models import Command, DeviceConfiguration
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

EVENTS = ("days", "days", "pay", "all", "refund", "bill", "protect", "unprotect", "plan", "leave")


class Life:
    """An account, a driver that looks each day at ten, and people who do things at eleven."""

    def __init__(self, of: Tenant) -> None:
        self.behind = Behind.make(of)
        self.day = 0
        self.paid = 0

    @property
    def agreement(self) -> Agreement:
        rows = Agreement.objects.select_related("facility", "customer")
        return rows.get(pk=self.behind.agreement.pk)

    def account(self) -> Account:
        return dunning_facts.account_of(self.agreement, now=at(self.day, 11))

    def happens(self, event: str, number: int) -> None:
        now = at(self.day, 11)
        customer_id = self.agreement.customer_id
        if event == "days":
            self.days(number // 8 + 1)
        elif event in ("pay", "all"):
            owed = self.account().balance.owed
            self.pay(Decimal(number) if event == "pay" else owed)
        elif event == "refund":
            self.refund(Decimal(number))
        elif event == "bill":
            due = now.date() + timedelta(days=number % 5)
            factories.entry(self.agreement, Decimal(number), EntryKind.BILL, due_on=due)
        elif event == "protect":
            customers_operations.protect_customer(
                customer_id=customer_id, reason="Dialysis", now=now, actor_id=None
            )
        elif event == "unprotect":
            customers_operations.unprotect_customer(
                customer_id=customer_id, reason="Has ended", actor_id=None
            )
        elif event == "plan":
            self.plan(now.date() + timedelta(days=number))
        else:
            agreements_operations.move_out(
                agreement_id=self.agreement.pk,
                ends_on=now.date() + timedelta(days=number % 9),
                reason="Has left",
                actor_id=None,
            )

    def days(self, number: int, *, step: int = 1) -> None:
        for _ in range(number):
            self.day += step
            before = set(Command.objects.values_list("pk", flat=True))
            behind = self.account()
            self.behind.look(at(self.day))
            cut = Command.objects.exclude(pk__in=before).exclude(arguments__output=1)
            if cut.exclude(arguments__power_limit_w=NO_POWER_LIMIT).exists():
                assert not behind.facts.protected
                assert not behind.facts.rests
                assert not behind.facts.over
                assert behind.facts.overdue >= 10

    def pay(self, amount: Decimal) -> None:
        if amount:
            self.paid += 1
            self.behind.pay(str(amount), at(self.day, 11), f"P{self.agreement.pk}:{self.paid}")

    def refund(self, amount: Decimal) -> None:
        payment = Payment.objects.filter(agreement=self.agreement, amount__gt=0).first()
        if payment is not None:
            payments_refunds_operations.refund(
                payment_id=payment.pk,
                amount=amount,
                reason="Paid twice",
                on=at(self.day).date(),
                now=at(self.day, 11),
                actor_id=None,
            )

    def plan(self, on: date) -> None:
        overdue = self.account().facts.overdue
        dunning_settings.agree_plan(
            agreement_id=self.agreement.pk,
            parts=[(on, overdue)],
            reason="",
            now=at(self.day, 11),
            actor_id=None,
        )

    def is_back_at_once(self) -> None:
        told = DeviceConfiguration.objects.get(device=self.behind.device).desired
        facts = self.account().facts
        if facts.protected or facts.overdue == 0:
            assert told.get("output", 1) == 1

    def holds(self) -> None:
        """Who must not be cut is not, as far as a minute's look tells."""
        self.behind.look(at(self.day, 11) + timedelta(minutes=2))
        facts = self.account().facts
        wanted = DeviceConfiguration.objects.filter(device=self.behind.device).first()
        desired = {} if wanted is None else wanted.desired
        if facts.protected or facts.rests or facts.over or facts.overdue < 10:
            assert desired.get("output", 1) == 1
            assert desired.get("power_limit_w", NO_POWER_LIMIT) == NO_POWER_LIMIT


@settings(max_examples=5)
@given(st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(1, 40)), min_size=1, max_size=5))
def test_nobody_is_cut_who_must_not_be(happenings: list[tuple[str, int]]) -> None:
    # A tenant for each: the look for accounts that have fallen behind goes by its clock.
    of = tenant()
    with open_scope(Scope((of.pk,))):
        set_policy(of, quiet_weekdays=(), region="", restore_percent=60)
        life = Life(of)
        # Everything has been cut by then.
        life.days(4, step=10)
        assert life.behind.case().disabled
        for event, number in happenings:
            try:
                with transaction.atomic():
                    life.happens(event, number)
            except ValidationError:
                assert event in ("refund", "unprotect", "plan", "leave")
            if event in ("pay", "all", "protect"):
                life.is_back_at_once()
            life.holds()

"""An account that is behind, with a unit that supplies it alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.domain import (
    dunning_opening_operations,
    dunning_operations,
    dunning_settings,
    payments_operations,
)
from billing.domain.dunning_settings import PolicyDraft
from billing.models import (
    Agreement,
    DunningCase,
    DunningEvent,
    DunningPolicy,
    EntryKind,
    Payment,
)
from billing.payments.values import Received
from billing.tests import factories
from devices.models import Channel, Command, Device
from devices.tests.factories import device, device_type, facility
from tenants.models import Tenant

STEPS: list[dict[str, Any]] = [
    {"kind": "reminder", "after_days": 3},
    {"kind": "fee", "after_days": 10, "fee": "5.00"},
    {"kind": "limit", "after_days": 20, "limit_w": 1000},
    {"kind": "disable", "after_days": 30},
]


def at(day: int, hour: int = 10) -> datetime:
    """So many days after 1 April 2026, a Wednesday on which the bills of the factories are due, by
    the clock in Berlin.
    """
    return datetime(2026, 4, 1, hour - 2, tzinfo=UTC) + timedelta(days=day)


@dataclass
class Behind:
    """An agreement that owes 100 EUR, and its unit."""

    tenant: Tenant
    agreement: Agreement
    device: Device
    day: int = 0

    @classmethod
    def make(cls, of: Tenant, *, owes: str = "100.00", **customer: Any) -> Behind:
        """In a new facility, which a unit supplies that is active."""
        place = facility(of)
        unit = device(place, device_type(of)).device
        channel = Channel.objects.filter(device=unit).order_by("pk")[0]
        who = factories.customer(of, email="anna@example.org", **customer)
        agreement = factories.agreement(place, of=who, channels=(channel,))
        made = cls(of, agreement, unit)
        made.owe(owes)
        return made

    def owe(self, amount: str) -> None:
        """A bill that was due on 1 April."""
        bill = factories.bill(self.agreement, total=Decimal(amount))
        factories.entry(self.agreement, bill.total, EntryKind.BILL, bill=bill)

    def pay(self, amount: str, now: datetime, external_id: str = "P1") -> Payment:
        """By hand."""
        return payments_operations.enter(
            agreement_id=self.agreement.pk,
            received=Received(external_id, Decimal(amount), "EUR", now.date()),
            now=now,
            actor_id=None,
        )

    def look(self, now: datetime) -> list[str]:
        """What the driver does at an instant: the kinds of what happened."""
        before = DunningEvent.objects.count()
        if not DunningCase.objects.filter(closed_at__isnull=True).exists():
            policy = DunningPolicy.objects.get(tenant=self.tenant)
            dunning_opening_operations.open_cases(policy_id=policy.pk, now=now)
        for _tenant, case_id in dunning_operations.due_cases(now=now):
            dunning_operations.drive(case_id=case_id, now=now)
        rows = DunningEvent.objects.order_by("pk").values_list("kind", flat=True)
        return list(rows[before:])

    def until(self, day: int) -> list[str]:
        """What happens when the driver looks each day at ten, from the day it looked last."""
        since, self.day = self.day + 1, day
        return [kind for one in range(since, day + 1) for kind in self.look(at(one))]

    def case(self) -> DunningCase:
        """The newest case."""
        found = DunningCase.objects.filter(agreement=self.agreement).first()
        assert found is not None
        return found

    def commands(self) -> list[tuple[str, dict[str, Any], str]]:
        """What the unit was asked for, in order."""
        rows = Command.objects.filter(device=self.device).order_by("pk")
        return [(row.kind, row.arguments, row.state) for row in rows]


def set_policy(of: Tenant, **changes: Any) -> None:
    """All four steps, not at weekends and on holidays of Bavaria, from 8 to 18 o'clock."""
    values = {"steps": STEPS, "region": "DE-BY", "minimum": Decimal(10), **changes}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    draft = PolicyDraft(**values)
    dunning_settings.set_policy(tenant_id=of.pk, draft=draft, now=now, actor_id=None)

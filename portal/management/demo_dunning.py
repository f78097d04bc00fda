"""An account of the demo that does not pay: reminded, charged, switched off, paid, restored.

The weeks before are driven with the clock of those weeks, as the tasks would have done. What
happens to the unit happens now: it is switched off over its connection, and when it has said so the
customer pays, and it comes back. Each part happens once, however often the demo is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection

from billing.domain import (
    dunning_opening_operations,
    dunning_operations,
    dunning_settings,
    ledger_operations,
    payments_operations,
)
from billing.domain.dunning_settings import PolicyDraft
from billing.domain.ledger_operations import Draft
from billing.models import Agreement, DunningCase, DunningPolicy, EntryKind
from billing.payments.values import Received
from devices.domain import control_queries
from devices.models import Device
from devices.simulator.park import UTILITY
from devices.telemetry import status
from portal.management.demo_contracts import BEHIND, Contract
from portal.management.demo_history import timeline
from tenants.models import Tenant

_OWED: Final = Decimal("148.20")
_FEE: Final = Decimal("5.00")
_CARRIED: Final = "Nachzahlung, aus dem früheren Programm übernommen"
_STEPS: Final[list[dict[str, Any]]] = [
    {"kind": "reminder", "after_days": 3},
    {"kind": "fee", "after_days": 10, "fee": str(_FEE)},
    {"kind": "disable", "after_days": 21},
]
# The last step falls on the day on which the demo begins: the unit goes off when its account says.
_LATE_DAYS: Final = 21


@dataclass(frozen=True, slots=True)
class Overdue:
    """A customer supplied by a unit, and what becomes of it."""

    name: str = "overdue"
    tenant: str = UTILITY
    contract: Contract = BEHIND

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Do what is possible now; whether it has come to its end, now or earlier. Raises as the
        operations do.
        """
        device = Device.objects.filter(tenant=tenant, serial=self.contract.serial).first()
        if device is None:
            return True
        agreement = Agreement.objects.filter(tenant=tenant, number=self.contract.number).first()
        if agreement is None:
            return timeline() is None
        case = DunningCase.objects.filter(agreement=agreement).first()
        if case is None:
            link = status.links(connection, [device.pk]).get(device.pk)
            if link is not None and link.connected:
                self._fall_behind(agreement, now)
            return False
        if case.closed_at is not None:
            return True
        output = control_queries.output_of(device_id=device.pk)
        if not case.disabled or output.reported is not False:
            return False
        self._pay(agreement, now)
        return True

    def _fall_behind(self, agreement: Agreement, now: datetime) -> None:
        """Weeks pass without a payment; then the unit is asked to switch off."""
        policy = DunningPolicy.objects.filter(tenant=agreement.tenant_id).first()
        if policy is None:
            # At any hour of any day, so that the demo shows it whenever it is started.
            draft = PolicyDraft(steps=_STEPS, quiet_weekdays=(), hour_from=0, hour_to=24)
            policy = dunning_settings.set_policy(
                tenant_id=agreement.tenant_id, draft=draft, now=now, actor_id=None
            )
        today = now.astimezone(ZoneInfo(agreement.facility.time_zone)).date()
        due = today - timedelta(days=_LATE_DAYS)
        owed = Draft(EntryKind.FEE, f"demo:{self.name}", _OWED, due, due, text=_CARRIED)
        ledger_operations.charge(agreement, owed, actor_id=None, now=now)
        for days in range(_LATE_DAYS - 1, -1, -1):
            then = now - timedelta(days=days)
            DunningPolicy.objects.filter(pk=policy.pk, next_at__gt=then).update(next_at=then)
            dunning_opening_operations.open_cases(policy_id=policy.pk, now=then)
            dunning_operations.review(agreement_ids=[agreement.pk], now=then)

    def _pay(self, agreement: Agreement, now: datetime) -> None:
        received = Received(
            f"demo:{self.name}",
            _OWED + _FEE,
            "EUR",
            now.date(),
            payer=agreement.customer.name,
            text=f"Nachzahlung und Mahngebühr {agreement.number}",
        )
        payments_operations.enter(
            agreement_id=agreement.pk, received=received, now=now, actor_id=None
        )


OVERDUE: Final = Overdue()

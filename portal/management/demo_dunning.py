"""An account of the demo that does not pay: reminded, charged, switched off, paid, restored.

The weeks before are driven with the clock of those weeks, as the tasks would have done. What
happens to the unit happens now: it is switched off over its connection, and when it has said so the
customer pays, and it comes back. Each part happens once, however often the demo is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import connection

from billing.domain import (
    agreements_operations,
    customers_operations,
    dunning_operations,
    dunning_settings,
    ledger_operations,
    payments_operations,
    tariffs_operations,
)
from billing.domain.agreements_values import AgreementValues, MeterValues, TariffValues
from billing.domain.customers_operations import CustomerValues
from billing.domain.dunning_settings import PolicyDraft
from billing.domain.ledger_operations import Draft
from billing.models import Agreement, DunningCase, DunningPolicy, EntryKind, Tariff
from billing.payments.values import Received
from devices.domain import control_queries
from devices.models import Channel, Device
from devices.simulator.park import UTILITY
from devices.telemetry import status
from tenants.models import Tenant

_OWED: Final = Decimal("148.20")
_FEE: Final = Decimal("5.00")
_LATE_DAYS: Final = 24
_STEPS: Final[list[dict[str, Any]]] = [
    {"kind": "reminder", "after_days": 3},
    {"kind": "fee", "after_days": 10, "fee": str(_FEE)},
    {"kind": "disable", "after_days": 21},
]
_TARIFF: Final = """
tariff: 1
name: Household
currency: EUR
components:
  - {kind: standing, name: base, label: Grundpreis, amount: 9.90, per: month}
  - {kind: energy, name: energy, label: Arbeitspreis, prices: 0.3190}
  - {kind: tax, name: vat, label: Umsatzsteuer, percent: 19, of: all}
"""


@dataclass(frozen=True, slots=True)
class Overdue:
    """A customer supplied by the unit with a serial, and what becomes of it."""

    name: str = "overdue"
    tenant: str = UTILITY
    serial: str = "AE012-METER"

    def act(self, tenant: Tenant, now: datetime) -> bool:
        """Do what is possible now; whether it has come to its end, now or earlier. Raises as the
        operations do.
        """
        device = Device.objects.filter(tenant=tenant, serial=self.serial).first()
        if device is None:
            return True
        agreement = Agreement.objects.filter(tenant=tenant, number=self._number).first()
        case = DunningCase.objects.filter(agreement=agreement).first() if agreement else None
        if case is None:
            link = status.links(connection, [device.pk]).get(device.pk)
            if link is None or not link.connected:
                return False
            self._fall_behind(agreement or self._agree(tenant, device, now), now)
            return False
        if case.closed_at is not None:
            return True
        output = control_queries.output_of(device_id=device.pk)
        if not case.disabled or output.reported is not False:
            return False
        self._pay(case.agreement, now)
        return True

    @property
    def _number(self) -> str:
        return f"DEMO-{self.serial}"

    def _agree(self, tenant: Tenant, device: Device, now: datetime) -> Agreement:
        values = CustomerValues(
            name="Jonas Weber",
            email="jonas.weber@auental.example",
            language="de",
            street="Sonnhalde 2",
            postal_code="79539",
            city="Auental",
            country="DE",
        )
        customer = customers_operations.create_customer(
            tenant_id=tenant.pk, values=values, actor_id=None
        )
        channel = Channel.objects.get(device=device, key="active_power")
        first = (now - timedelta(days=90)).date().replace(day=1)
        zone = ZoneInfo(device.facility.time_zone)
        return agreements_operations.create_agreement(
            tenant_id=tenant.pk,
            values=AgreementValues(
                customer_id=customer.pk,
                facility_id=device.facility_id,
                starts_on=first,
                number=self._number,
                currency="EUR",
            ),
            tariff=TariffValues(self._tariff(tenant, now).pk),
            meters=[MeterValues(channel.pk, starts_at=datetime.combine(first, time(), zone))],
            actor_id=None,
        )

    def _tariff(self, tenant: Tenant, now: datetime) -> Tariff:
        """A tariff of the tenant that is not archived; a plain one where there is none."""
        published = Tariff.objects.filter(
            tenant=tenant, archived_at__isnull=True, currency="EUR", versions__state="published"
        )
        found = published.order_by("pk").first()
        if found is not None:
            return found
        made = tariffs_operations.create_tariff(
            tenant_id=tenant.pk, name="Household", currency="EUR", actor_id=None
        )
        first = (now - timedelta(days=400)).date().replace(day=1)
        version = tariffs_operations.draft_version(
            tariff_id=made.pk,
            valid_from=first,
            source=_TARIFF,
            reason="Der Tarif der letzten Jahre",
            actor_id=None,
        )
        tariffs_operations.publish_version(version_id=version.pk, now=now, actor_id=None)
        return made

    def _fall_behind(self, agreement: Agreement, now: datetime) -> None:
        """Weeks pass without a payment; then the unit is asked to switch off."""
        policy = DunningPolicy.objects.filter(tenant=agreement.tenant_id).first()
        if policy is None:
            # At any hour of any day, so that the demo shows it whenever it is started.
            draft = PolicyDraft(steps=_STEPS, quiet_weekdays=(), hour_from=0, hour_to=24)
            policy = dunning_settings.set_policy(
                tenant_id=agreement.tenant_id, draft=draft, now=now, actor_id=None
            )
        due = now.date() - timedelta(days=_LATE_DAYS)
        owed = Draft(
            EntryKind.FEE, f"demo:{self.name}", _OWED, due, due, text="Abschlag, Stromlieferung"
        )
        ledger_operations.charge(agreement, owed, actor_id=None, now=now)
        for days in range(_LATE_DAYS - 1, -1, -1):
            then = now - timedelta(days=days)
            DunningPolicy.objects.filter(pk=policy.pk, next_at__gt=then).update(next_at=then)
            dunning_operations.open_cases(policy_id=policy.pk, now=then)
            dunning_operations.review(agreement_ids=[agreement.pk], now=then)

    def _pay(self, agreement: Agreement, now: datetime) -> None:
        received = Received(
            f"demo:{self.name}",
            _OWED + _FEE,
            "EUR",
            now.date(),
            payer=agreement.customer.name,
            text=f"Abschlag und Mahngebühr {agreement.number}",
        )
        payments_operations.enter(
            agreement_id=agreement.pk, received=received, now=now, actor_id=None
        )


OVERDUE: Final = Overdue()

"""The conservation ledger, checked."""

from __future__ import annotations

from datetime import datetime

from django.db import connection

from devices.ingest.ledger import Imbalance, check
from devices.models import Device
from devices.telemetry import status

IMBALANCE_EVENT = "ledger_imbalance"


def audit(*, now: datetime) -> tuple[Imbalance, ...]:
    """Check the devices of the scope; imbalances become an event in the device's history."""
    found = tuple(check(status.balance(connection)))
    tenants = dict(
        Device.objects.filter(pk__in=[imbalance.device_id for imbalance in found]).values_list(
            "pk", "tenant_id"
        )
    )
    for device_id, tenant_id in tenants.items():
        status.record_event(
            connection,
            tenant_id=tenant_id,
            device_id=device_id,
            occurred_at=now,
            kind=IMBALANCE_EVENT,
            data={"problems": [row.problem for row in found if row.device_id == device_id]},
        )
    return found

"""Years of roll-ups for benchmarks: some days of them, packed by the product and then repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from django.db import connection, connections

from devices.benchmarks.storage import pack_all
from devices.models import Device
from devices.telemetry import rollup_store
from devices.telemetry.quarter_reads import Span, read_quarters
from devices.telemetry.rollup_codec import DAY_MS, NUMBERS
from devices.telemetry.segment_store import milliseconds
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

# A calendar that no facility has: so all days are counted in that of their facility.
_OTHER: Final = "none"


def repeat_quarters(end: datetime, *, days: int, pattern_days: int) -> None:
    """Repeat the quarters of the last `pattern_days` before `end` until there are `days` of them.

    The first repetitions go the way that the roller and the packing take, until there are as many
    full days (UTC) as the pattern has; these are repeated within the database. The oldest day (UTC)
    is there from its beginning on.
    """
    scope = _everything()
    with open_scope(scope):
        devices = list(Device.objects.order_by("pk").values_list("pk", "tenant_id"))
        rollup_store.hold(connection, [device_id for device_id, _ in devices])
    tenants = dict(devices)
    for device_id in tenants:
        with open_scope(scope):
            _repeat_rows(device_id, tenants[device_id], end, min(days, 2 * pattern_days))
    pack_all(scope)
    midnight = end.replace(hour=0, minute=0, second=0, microsecond=0)
    oldest = (end - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    with connections["owner"].cursor() as cursor:
        for back in range(pattern_days, days + pattern_days, pattern_days):
            cursor.execute(
                "INSERT INTO rollup_packed (starts_at, tenant_id, device_id, body)"
                " SELECT starts_at - make_interval(days => %s), tenant_id, device_id, body"
                " FROM rollup_packed WHERE starts_at >= %s AND starts_at < %s"
                " ORDER BY device_id, starts_at"
                " ON CONFLICT (device_id, starts_at) DO UPDATE SET body = excluded.body",
                [back, midnight - timedelta(days=pattern_days), midnight],
            )
        cursor.execute("DELETE FROM rollup_packed WHERE starts_at < %s", [oldest])
        cursor.execute("UPDATE rollup_progress SET calendar = %s", [_OTHER])
        cursor.execute("ANALYZE rollup_packed")
    pack_all(scope)


def _repeat_rows(device_id: int, tenant_id: int, end: datetime, days: int) -> None:
    """The quarters of a device as rows, until there are `days` of them."""
    end_ms = milliseconds(end)
    known = read_quarters(connection, [Span(device_id, end_ms - days * DAY_MS, end_ms)])
    length = -(-(end_ms - int(known.starts.min())) // DAY_MS)
    count = len(known.starts)
    for back in range(length, days, length):
        rollup_store.keep(
            connection,
            replace(known, starts=known.starts - back * DAY_MS),
            tenants=np.full(count, tenant_id),
            devices=np.full(count, device_id),
            channels=known.series % NUMBERS,
        )


def count_quarters() -> int:
    """How many quarters of channels are stored, packed or not."""
    with open_scope(_everything()):
        ids = list(Device.objects.order_by("pk").values_list("pk", flat=True))
        ends = 100 * 366 * DAY_MS
        return sum(
            len(read_quarters(connection, [Span(device_id, 0, ends)]).starts) for device_id in ids
        )


def _everything() -> Scope:
    return Scope(tuple(Tenant.objects.using("owner").values_list("pk", flat=True)))

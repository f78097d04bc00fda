"""Seals in the database. Every function takes an open Django connection."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

_SEALS: Final = """
SELECT device_id, day, leaves FROM segment_seal
JOIN unnest(%s::bigint[], %s::date[]) AS wanted(device_id, day) USING (device_id, day)
"""
_KEEP: Final = """
INSERT INTO segment_seal AS kept (device_id, day, tenant_id, leaves, renewed_at)
SELECT device_id, day, tenant_id, leaves, now()
FROM unnest(%s::bigint[], %s::date[], %s::bigint[], %s::bytea[])
  AS made(device_id, day, tenant_id, leaves)
ON CONFLICT (device_id, day) DO UPDATE
SET leaves = excluded.leaves, renewed_at = excluded.renewed_at
"""
# One statement, which sees one state: a segment and its seal are renewed together.
_BETWEEN: Final = """
SELECT NULL::timestamptz, day, tenant_id, leaves FROM segment_seal
WHERE device_id = %(device)s AND day BETWEEN %(first)s AND %(last)s
UNION ALL
SELECT starts_at, NULL::date, tenant_id, body FROM telemetry_segment
WHERE device_id = %(device)s AND starts_at >= %(start)s AND starts_at < %(end)s
"""


class Seal(NamedTuple):
    """The leaves of a device's day (UTC)."""

    device_id: int
    day: date
    tenant_id: int
    leaves: bytes


def seals_of(
    connection: BaseDatabaseWrapper, wanted: Collection[tuple[int, date]]
) -> dict[tuple[int, date], bytes]:
    """The leaves of days of devices, where there are any."""
    devices, days = [device_id for device_id, _ in wanted], [day for _, day in wanted]
    with connection.cursor() as cursor:
        cursor.execute(_SEALS, [devices, days])
        return {(device_id, day): bytes(leaves) for device_id, day, leaves in cursor.fetchall()}


def keep(connection: BaseDatabaseWrapper, seals: Sequence[Seal]) -> None:
    """Write seals over those of the same device and day."""
    devices, days, tenants, leaves = (list(column) for column in zip(*seals, strict=True))
    parameters: list[Any] = [devices, days, tenants, leaves]
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, parameters)


class Sealed(NamedTuple):
    """Of a device: the leaves of its days (UTC), the bodies of its segments by their start, and its
    tenants.
    """

    leaves: dict[date, bytes]
    bodies: dict[datetime, bytes]
    tenant_ids: set[int]


def between(connection: BaseDatabaseWrapper, device_id: int, first: date, last: date) -> Sealed:
    """What is sealed and what is there of a device, from a day to another, both included, at one
    moment.
    """
    parameters: dict[str, Any] = {
        "device": device_id,
        "first": first,
        "last": last,
        "start": datetime.combine(first, time(), UTC),
        "end": datetime.combine(last + timedelta(days=1), time(), UTC),
    }
    found = Sealed({}, {}, set())
    with connection.cursor() as cursor:
        cursor.execute(_BETWEEN, parameters)
        for starts_at, day, tenant_id, data in cursor.fetchall():
            found.tenant_ids.add(tenant_id)
            if starts_at is None:
                found.leaves[day] = bytes(data)
            else:
                found.bodies[starts_at] = bytes(data)
    return found

"""Seals in the database. Every function takes an open Django connection."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
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
_BETWEEN: Final = """
SELECT device_id, day, leaves FROM segment_seal
WHERE device_id = ANY(%s) AND day BETWEEN %s AND %s ORDER BY device_id, day
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


def between(
    connection: BaseDatabaseWrapper, device_ids: Collection[int], first: date, last: date
) -> dict[tuple[int, date], bytes]:
    """The leaves of devices from a day to another, both included."""
    with connection.cursor() as cursor:
        cursor.execute(_BETWEEN, [list(device_ids), first, last])
        return {(device_id, day): bytes(leaves) for device_id, day, leaves in cursor.fetchall()}

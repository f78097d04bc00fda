"""Retention in the database: the rules that count, and removing what is over.

Every function takes an open Django connection, inside a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from devices.telemetry.retention_schema import LOCK
from devices.telemetry.segment import HOUR_MS
from devices.telemetry.segment_store import milliseconds, moment

_REMOVALS: Final = """
SELECT tenant_id, starts_at, ends_at, first_device, last_device, removed_at, days, rule_tenant, kept
FROM retention_removal
WHERE tenant_id = ANY(%s) AND data_class = %s AND starts_at < %s AND ends_at > %s
ORDER BY id
"""
_GONE: Final = """
SELECT wanted.device_id, wanted.starts_at
FROM unnest(%s::bigint[], %s::timestamptz[]) AS wanted(device_id, starts_at)
JOIN segment_seal s ON s.device_id = wanted.device_id
  AND s.day = (wanted.starts_at AT TIME ZONE 'UTC')::date
WHERE substr(s.leaves,
    1 + 32 * extract(hour FROM wanted.starts_at AT TIME ZONE 'UTC')::integer, 32)
    <> decode(repeat('00', 32), 'hex')
  AND NOT EXISTS (SELECT FROM telemetry_segment kept
    WHERE kept.device_id = wanted.device_id AND kept.starts_at = wanted.starts_at)
"""
_READINGS: Final = """
SELECT count(*), coalesce(sum(value_count), 0), count(DISTINCT device_id), min(starts_at) FROM (
  SELECT value_count, device_id, starts_at FROM telemetry_segment
  WHERE tenant_id = %s AND starts_at < %s LIMIT %s
) over_
"""


class Rule(NamedTuple):
    """What counts for a tenant: days (None: for ever) by the rule of a tenant (None: nobody's)."""

    data_class: str
    days: int | None
    rule_tenant: int | None


class Removal(NamedTuple):
    """What a door removed: of the devices `first_device` to `last_device` of a tenant, all readings
    in [start_ms, end_ms) but what was `kept` by a hold: (device or None for all, from, to).
    """

    tenant_id: int
    start_ms: int
    end_ms: int
    first_device: int
    last_device: int
    removed_at: datetime
    days: int
    rule_tenant: int
    kept: tuple[tuple[int | None, int, int], ...]

    def covers(self, tenant_id: int, device_id: int, hour_ms: int) -> bool:
        """Whether it took an hour of a device away."""
        return (
            tenant_id == self.tenant_id
            and self.first_device <= device_id <= self.last_device
            and self.start_ms <= hour_ms < self.end_ms
            and not any(
                device in (None, device_id) and start < hour_ms + HOUR_MS and end > hour_ms
                for device, start, end in self.kept
            )
        )


class Over(NamedTuple):
    """What a rule would remove: segments, their values, devices, and since when; `is_more`: and
    more, which nobody has counted.
    """

    rows: int
    values: int
    devices: int
    since: datetime | None
    is_more: bool


def rules(connection: BaseDatabaseWrapper, tenant_id: int) -> list[Rule]:
    """The rules that count for a tenant of the scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_retention_of(%s)", [tenant_id])
        return list(map(Rule._make, cursor.fetchall()))


def remove_over(
    connection: BaseDatabaseWrapper, tenant_id: int, data_class: str, *, most: int
) -> int | None:
    """Remove about `most` rows of a tenant of the scope that are over, the oldest first; returns
    how many, None when somebody else was at work on them.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT door_remove_over(%s, %s, %s)", [tenant_id, data_class, most])
        removed: int | None = cursor.fetchone()[0]
        return removed


def drop_over(connection: BaseDatabaseWrapper, data_class: str, *, within: str) -> int | None:
    """Drop the oldest chunk that is over for all whose rows are in it; returns how many (0 or 1),
    None when somebody else was at work on it. `within`: the longest a statement may take, as
    PostgreSQL writes it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [within])
        cursor.execute("SELECT door_drop_over(%s)", [data_class])
        dropped: int | None = cursor.fetchone()[0]
        return dropped


def readings_before(
    connection: BaseDatabaseWrapper, tenant_id: int, before: datetime, *, most: int
) -> Over:
    """What there is of a tenant's segments before an instant; of more than `most`, these."""
    with connection.cursor() as cursor:
        cursor.execute(_READINGS, [tenant_id, before, most + 1])
        rows, values, devices, since = cursor.fetchone()
        return Over(min(rows, most), int(values), devices, since, rows > most)


def wait_for_removals(connection: BaseDatabaseWrapper) -> None:
    """Let nothing be removed until the end of the transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock_shared(%s)", [LOCK])


def gone(
    connection: BaseDatabaseWrapper, wanted: Collection[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Of hours of devices (start in ms since the Unix epoch), those whose segment was sealed and is
    no longer there.
    """
    if not wanted:
        return set()
    devices = [device_id for device_id, _ in wanted]
    with connection.cursor() as cursor:
        cursor.execute(_GONE, [devices, [moment(start_ms) for _, start_ms in wanted]])
        return {(device_id, milliseconds(starts_at)) for device_id, starts_at in cursor.fetchall()}


def removals(
    connection: BaseDatabaseWrapper,
    tenant_ids: Iterable[int],
    start_ms: int,
    end_ms: int,
    *,
    data_class: str = "readings",
) -> Sequence[Removal]:
    """What was removed of a class (readings or quarters) of tenants that touches a period, the
    latest last.
    """
    parameters: list[Any] = [
        sorted(set(tenant_ids)), data_class, moment(end_ms), moment(start_ms),
    ]  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_REMOVALS, parameters)
        return [
            Removal._make(
                [
                    tenant_id,
                    milliseconds(starts_at),
                    milliseconds(ends_at),
                    *others,
                    tuple((device, start, end) for device, start, end in json.loads(kept)),
                ]
            )
            for tenant_id, starts_at, ends_at, *others, kept in cursor.fetchall()
        ]

"""The narrow tables beside the frames: links, cursors, log lines, events, quarantine, ledger.

Every function takes an open Django connection and sees what the wall lets it see. Instants are UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import (
    BooleanField,
    DateTimeField,
    Expression,
    F,
    Func,
    IntegerField,
    TextField,
    Value,
)
from django.db.models.lookups import Exact
from psycopg import sql

from devices.ingest.ledger import DeviceTotals

# A page never asks for more lines at once.
MAX_LINES: Final = 500


@dataclass(frozen=True, slots=True)
class Link:
    """A device's connection, as the bridge last told it; `last_seen_at` counts frames too."""

    device_id: int
    connected: bool
    changed_at: datetime | None
    last_seen_at: datetime | None
    firmware_version: str
    clock_offset_ms: int | None


@dataclass(frozen=True, slots=True)
class LinkCount:
    """The active devices of a facility: how many of them are connected, and measure the mains."""

    facility_id: int
    tenant_id: int
    devices: int
    connected: int
    mains: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a device's messages have come: committed of those that it has produced."""

    device_id: int
    committed: int
    produced: int
    last_received_at: datetime | None
    last_sample_at: datetime | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A message that failed a check of its content, with the reason; `message` are its bytes."""

    id: int
    received_at: datetime
    device_id: int
    sequence: int | None
    reason: str
    detail: str
    message: bytes


def connected(device_id: Expression | F) -> Func:
    """For a query set: whether the device of an id expression has a connection; null without a
    link.

    These expressions are sub-queries on the narrow tables. A list that is sorted by another column
    and cut to a page evaluates them for the rows of that page alone.
    """
    return _of_link("l.connected", device_id, BooleanField())


def is_connected(device_id: Expression | F) -> Exact:
    """For a filter: the device of an id expression has a connection."""
    return Exact(connected(device_id), Value(value=True))


def hardware_revision(device_id: Expression | F) -> Func:
    """For a query set: what the device said it is when it last connected; null or '' where it has
    not said it.
    """
    return _of_link("l.hardware_revision", device_id, TextField())


def firmware_version(device_id: Expression | F) -> Func:
    """For a query set: what the device said it runs when it last connected; null without a link."""
    return _of_link("l.firmware_version", device_id, TextField())


def last_seen_at(device_id: Expression | F) -> Func:
    """For a query set: when the device was last heard of; null before its first connection."""
    return _of_link(
        "greatest(l.last_seen_at,"
        " (SELECT c.last_received_at FROM device_cursor c WHERE c.device_id = l.device_id))",
        device_id,
        DateTimeField(null=True),
    )


def _of_link(column: str, device_id: Expression | F, output_field: Any) -> Func:
    return Func(
        device_id,
        template="(SELECT %(column)s FROM device_link l WHERE l.device_id = %(expressions)s)",
        column=column,
        output_field=output_field,
    )


def devices_connected(facility_id: Expression | F) -> Func:
    """For a query set: how many active devices of the facility of an id expression are connected.

    Devices of its areas count with the areas.
    """
    return Func(
        facility_id,
        template="(SELECT count(*) FROM devices_device d JOIN device_link l ON l.device_id = d.id"
        " WHERE d.facility_id = %(expressions)s AND d.state = 'active' AND l.connected)",
        output_field=IntegerField(),
    )


def open_accounts(connection: BaseDatabaseWrapper, tenant_id: int, device_id: int) -> None:
    """The rows that a new device needs: its cursor and its link."""
    with connection.cursor() as cursor:
        for table in ("device_cursor", "device_link"):
            cursor.execute(
                sql.SQL("INSERT INTO {table} (device_id, tenant_id) VALUES (%s, %s)").format(
                    table=sql.Identifier(table)
                ),
                [device_id, tenant_id],
            )


def links(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> dict[int, Link]:
    """The links of some devices by id."""
    rows = _rows(
        connection,
        "SELECT device_id, l.connected, l.changed_at,"
        " greatest(l.last_seen_at, c.last_received_at), l.firmware_version, l.clock_offset_ms"
        " FROM device_link l LEFT JOIN device_cursor c USING (device_id)"
        " WHERE device_id = ANY(%s)",
        [list(device_ids)],
    )
    return {row[0]: Link(*row) for row in rows}


def firmware_versions(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """What devices of the scope run, as they told it; '' where one has not told it yet."""
    rows = _rows(connection, "SELECT DISTINCT firmware_version FROM device_link", [])
    return frozenset(row[0] for row in rows)


def linked_bridges(connection: BaseDatabaseWrapper) -> frozenset[str]:
    """The bridges that connected devices of the scope are linked to; those that ask from time to
    time (`mark_seen`) have none.
    """
    rows = _rows(
        connection, "SELECT DISTINCT bridge FROM device_link WHERE connected AND bridge <> ''", []
    )
    return frozenset(row[0] for row in rows)


def mark_seen(connection: BaseDatabaseWrapper, device_id: int, at: datetime) -> bool:
    """A device that keeps no connection was heard of; True when it counted as disconnected, and
    counts as connected now. Of one that a bridge has had, only the instant is noted.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET last_seen_at = greatest(last_seen_at, %s)"
            " WHERE device_id = %s AND (connected OR bridge <> '')",
            [at, device_id],
        )
        if cursor.rowcount:
            return False
        cursor.execute(
            "UPDATE device_link SET connected = true, changed_at = %s,"
            " last_seen_at = greatest(last_seen_at, %s)"
            " WHERE device_id = %s AND NOT connected AND bridge = ''",
            [at, at, device_id],
        )
        return bool(cursor.rowcount)


def set_firmware_version(connection: BaseDatabaseWrapper, device_id: int, version: str) -> None:
    """What a device says that it runs."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET firmware_version = %s WHERE device_id = %s",
            [version, device_id],
        )


def close_silent(
    connection: BaseDatabaseWrapper, silence_s: Mapping[int, int], at: datetime
) -> list[tuple[int, int]]:
    """Mark devices without a bridge as disconnected that were not heard of for as many seconds as
    their tenant says; returns (device, tenant) of each.
    """
    rows = _rows(
        connection,
        "UPDATE device_link l SET connected = false, changed_at = %s"
        " FROM unnest(%s::bigint[], %s::int[]) AS t (tenant_id, seconds)"
        " WHERE l.connected AND l.bridge = '' AND l.tenant_id = t.tenant_id"
        " AND l.last_seen_at < %s - make_interval(secs => t.seconds)"
        " RETURNING l.device_id, l.tenant_id",
        [at, list(silence_s), list(silence_s.values()), at],
    )
    return [(row[0], row[1]) for row in rows]


def close_links(
    connection: BaseDatabaseWrapper, bridges: Sequence[str], at: datetime
) -> list[tuple[int, int, str]]:
    """Mark the scope's links over these bridges as disconnected.

    Returns (device, tenant, bridge) of each link that was open.
    """
    return [
        (row[0], row[1], row[2])
        for row in _rows(
            connection,
            "UPDATE device_link SET connected = false, changed_at = %s"
            " WHERE connected AND bridge = ANY(%s) RETURNING device_id, tenant_id, bridge",
            [at, list(bridges)],
        )
    ]


def cursors(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> dict[int, Cursor]:
    """The cursors of some devices by id."""
    rows = _rows(
        connection,
        "SELECT device_id, committed, produced, last_received_at, last_sample_at"
        " FROM device_cursor WHERE device_id = ANY(%s)",
        [list(device_ids)],
    )
    return {row[0]: Cursor(*row) for row in rows}


def has_reported(connection: BaseDatabaseWrapper, device_id: int) -> bool:
    """Whether the device has ever produced a message, or history was imported for it: what it is,
    is final from then on.
    """
    return bool(reported(connection, [device_id]))


def link_counts(connection: BaseDatabaseWrapper) -> list[LinkCount]:
    """How many devices each facility of the scope has, see `LinkCount`; by id."""
    rows = _rows(
        connection,
        "SELECT f.id, f.tenant_id, count(d.id), count(d.id) FILTER (WHERE l.connected),"
        " count(d.id) FILTER (WHERE d.placement = 'mains')"
        " FROM devices_facility f"
        " LEFT JOIN devices_device d ON d.facility_id = f.id AND d.state = 'active'"
        " LEFT JOIN device_link l ON l.device_id = d.id"
        " GROUP BY f.id, f.tenant_id ORDER BY f.id",
        [],
    )
    return [LinkCount(*row) for row in rows]


def sampled_since(connection: BaseDatabaseWrapper) -> list[tuple[int, datetime]]:
    """Devices of the scope with samples that their power does not know of yet: the device and its
    last sample, by id.
    """
    rows = _rows(
        connection,
        "SELECT c.device_id, c.last_sample_at FROM device_cursor c"
        " LEFT JOIN devices_devicepower p USING (device_id)"
        " WHERE c.last_sample_at IS NOT NULL"
        " AND (p.sampled_at IS NULL OR c.last_sample_at > p.sampled_at)"
        " ORDER BY c.device_id",
        [],
    )
    return [(row[0], row[1]) for row in rows]


def take_turn(connection: BaseDatabaseWrapper, work: str) -> bool:
    """Whether nobody else does some work; if so, nobody else will before this transaction ends."""
    rows = _rows(
        connection,
        "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))",
        [f"wattline:{work}"],
    )
    return bool(rows[0][0])


def reported(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> frozenset[int]:
    """Those of some devices that have ever produced a message, or whose history was imported."""
    rows = _rows(
        connection,
        "SELECT device_id FROM device_cursor"
        " WHERE device_id = ANY(%s) AND produced + committed > 0"
        " UNION SELECT device_id FROM telemetry_latest WHERE device_id = ANY(%s)",
        [list(device_ids), list(device_ids)],
    )
    return frozenset(row[0] for row in rows)


def record_event(
    connection: BaseDatabaseWrapper,
    *,
    tenant_id: int,
    device_id: int,
    occurred_at: datetime,
    kind: str,
    data: dict[str, Any],
) -> None:
    """Append an event of the system itself (no sequence number) to a device's history."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO device_event"
            " (received_at, tenant_id, device_id, sequence, occurred_at, kind, data)"
            " VALUES (%s, %s, %s, NULL, %s, %s, %s)",
            [occurred_at, tenant_id, device_id, occurred_at, kind, json.dumps(data)],
        )


def quarantine(
    connection: BaseDatabaseWrapper, *, limit: int, device_id: int | None = None
) -> list[Quarantined]:
    """The last quarantined messages of the scope or of one device, newest first.

    At most MAX_LINES.
    """
    condition = sql.SQL("true") if device_id is None else sql.SQL("device_id = %s")
    rows = _rows(
        connection,
        sql.SQL(
            "SELECT id, received_at, device_id, sequence, reason, detail, message"
            " FROM telemetry_quarantine WHERE {condition}"
            " ORDER BY received_at DESC, id DESC LIMIT %s"
        ).format(condition=condition),
        [*([] if device_id is None else [device_id]), min(limit, MAX_LINES)],
    )
    return [Quarantined(*row) for row in rows]


def balance(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int] | None = None
) -> list[DeviceTotals]:
    """What the conservation check needs, for some devices or all of the scope, by device.

    One statement, hence one snapshot: cursor, ledger and frames are of the same moment. Counted are
    the frames that are there and those that have become segments.
    """
    device = sql.SQL("true") if device_ids is None else sql.SQL("c.device_id = ANY(%(devices)s)")
    query = sql.SQL(
        "SELECT c.device_id, c.committed, c.produced,"
        " coalesce(l.stored, 0), coalesce(l.duplicate, 0), coalesce(l.quarantined, 0),"
        " coalesce(l.skipped, 0), coalesce(l.other, 0),"
        " coalesce(f.frames, 0) + coalesce(p.moved_frames, 0), coalesce(f.doubled, 0)"
        " FROM device_cursor c"
        " LEFT JOIN rollup_progress p USING (device_id)"
        " LEFT JOIN (SELECT device_id, sum(stored)::bigint AS stored,"
        " sum(duplicate)::bigint AS duplicate, sum(quarantined)::bigint AS quarantined,"
        " sum(skipped)::bigint AS skipped, sum(other)::bigint AS other"
        " FROM ledger_hour GROUP BY device_id) l USING (device_id)"
        " LEFT JOIN (SELECT device_id, count(*) AS frames,"
        " count(*) - count(DISTINCT sequence) AS doubled"
        " FROM telemetry_frame GROUP BY device_id) f USING (device_id)"
        " WHERE {device} ORDER BY c.device_id"
    ).format(device=device)
    with connection.cursor() as cursor:
        cursor.execute(query, {"devices": list(device_ids or ())})
        return [DeviceTotals(*row) for row in cursor.fetchall()]


def _rows(
    connection: BaseDatabaseWrapper, query: str | sql.Composed, parameters: list[Any]
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return list(cursor.fetchall())

"""Roll-ups in the database: what has to be computed, from which frames, and where it is kept.

Who rolls up claims devices by locking their rows of `rollup_progress`; whom another one is at work
on is passed over. A device's frames become visible in the order of their sequence numbers, in the
transaction that moves its cursor: so all frames between the number in `rollup_progress` and the
cursor's are new, whenever they were measured, and no other is.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.protocol.data import Int64s
from devices.telemetry import rollup_statements as statements
from devices.telemetry.rollup import Floats, Quarters
from devices.telemetry.schema import CLOCK_TOLERANCE

# A frame may have waited in a bridge while later ones came by another. Nothing is under way for
# so long: a bridge that cannot hand on stops reading.
_UNDER_WAY: Final = timedelta(hours=1)
LONG: Final = timedelta(hours=6)
_DAY_MS: Final = 24 * 3_600_000
_ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)


# What is newer than the last roll-ups by more than this does not wait for the next turn.
_NEWER: Final = timedelta(minutes=10)


class Claim(NamedTuple):
    """A device whose frames (`rolled`, `committed`] are new; none of them came before `since`."""

    device_id: int
    tenant_id: int
    rolled: int
    committed: int
    since: datetime


class Done(NamedTuple):
    """Up to which number a claimed device is rolled up; of its new frames the last arrival and the
    newest sample (ms since the Unix epoch), None without any.
    """

    device_id: int
    sequence: int
    received_at: datetime | None = None
    sampled_ms: int | None = None


class NewFrame(NamedTuple):
    """When a new frame was measured (ms since the Unix epoch, both included) and arrived.

    `body` is there for a frame of more than LONG alone: the clock of the device may have been set
    within it, so that its ends do not tell where its samples lie.
    """

    device_id: int
    sequence: int
    start_ms: int
    end_ms: int
    received_at: datetime
    value_count: int
    body: bytes | None


class Span(NamedTuple):
    """Of a device, from when to when frames are needed (ms since the Unix epoch)."""

    device_id: int
    start_ms: int
    end_ms: int


class Source(NamedTuple):
    """A channel that a facility's energy is counted from.

    `flow` is one of FLOWS; `part` is `energy` (a register, or the whole of a power), `forward` or
    `returned` (what flowed in one direction, of a power).
    """

    facility_id: int
    device_id: int
    channel: int
    flow: str
    part: str


FLOWS: Final = ("import", "export", "generation", "charge", "discharge")


def has_newcomers(connection: BaseDatabaseWrapper) -> bool:
    """Whether a device of the scope has samples far newer than those that were rolled up, because
    it is new or has come back.

    Devices begin with log lines and events: those alone are no news.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM device_cursor c LEFT JOIN rollup_progress p"
            " USING (device_id) WHERE c.committed > coalesce(p.sequence, 0)"
            " AND c.last_sample_at"
            " > coalesce(p.sampled_at + make_interval(secs => %s), '-infinity'))",
            [_NEWER.total_seconds()],
        )
        return bool(cursor.fetchone()[0])


def claim(connection: BaseDatabaseWrapper, *, after: int, limit: int) -> list[Claim]:
    """Lock up to `limit` devices with new frames, from the first id above `after` on."""
    with connection.cursor() as cursor:
        cursor.execute(statements.JOIN)
        cursor.execute(statements.CLAIM, [_ALWAYS + _UNDER_WAY, after, limit])
        return [
            Claim(device_id, tenant_id, rolled, committed, received_at - _UNDER_WAY)
            for device_id, tenant_id, rolled, committed, received_at in cursor.fetchall()
        ]


def hold(connection: BaseDatabaseWrapper, device_ids: Iterable[int]) -> None:
    """Lock some devices, in order, and wait for who is at work on them: nobody else may write their
    roll-ups, or pack them, until the end of the transaction.
    """
    ids = sorted(set(device_ids))
    with connection.cursor() as cursor:
        cursor.execute(statements.JOIN_SOME, [ids])
        cursor.execute(statements.HOLD, [ids])


def new_frames(
    connection: BaseDatabaseWrapper, claims: Sequence[Claim], *, limit: int
) -> list[NewFrame]:
    """The new frames of claimed devices by device and sequence, at most `limit` of each device."""
    parameters: list[Any] = [
        [one.device_id for one in claims],
        [one.rolled for one in claims],
        [one.committed for one in claims],
        [one.since for one in claims],
        LONG,
        min(one.since for one in claims),
        limit,
    ]
    with connection.cursor() as cursor:
        cursor.execute(statements.NEW, parameters)
        return list(map(NewFrame._make, cursor.fetchall()))


def frames_in(
    connection: BaseDatabaseWrapper, spans: Sequence[Span]
) -> list[tuple[int, int, bytes]]:
    """(device, sequence, DATA body) of the frames that touch the spans, by device and sequence; a
    frame that touches several comes several times.
    """
    starts = [_moment(span.start_ms) for span in spans]
    parameters: list[Any] = [
        [span.device_id for span in spans],
        starts,
        [_moment(span.end_ms) for span in spans],
        CLOCK_TOLERANCE,
        min(starts) - CLOCK_TOLERANCE,
    ]
    with connection.cursor() as cursor:
        cursor.execute(statements.FRAMES, parameters)
        return list(cursor.fetchall())


def keep(
    connection: BaseDatabaseWrapper,
    quarters: Quarters,
    *,
    tenants: Int64s,
    devices: Int64s,
    channels: Int64s,
) -> None:
    """Write roll-ups over those of the same quarters; `tenants`, `devices` and `channels` are (n,)
    as the roll-ups. What is kept of the local days that they belong to is forgotten. The caller
    has claimed or holds the devices.
    """
    columns: list[Int64s | Floats] = [
        quarters.starts,
        tenants,
        devices,
        channels,
        quarters.n,
        quarters.minimum,
        quarters.maximum,
        quarters.mean,
        quarters.first,
        quarters.last,
        quarters.energy,
        quarters.returned,
        np.minimum(quarters.coverage, 1.0),
    ]
    with connection.cursor() as cursor:
        cursor.execute(statements.KEEP, [column.tolist() for column in columns])
        cursor.execute(statements.FORGET_DAYS, _days(devices, quarters.starts))


def _days(devices: Int64s, starts: Int64s) -> list[Any]:
    """The devices and UTC days of some quarters with the first and the last of each, and bounds for
    the local days that may hold one.
    """
    order = np.lexsort((starts, devices))
    devices, starts = devices[order], starts[order]
    new = (np.diff(devices, prepend=-1) != 0) | (np.diff(starts // _DAY_MS, prepend=-1) != 0)
    begins = np.flatnonzero(new)
    firsts = starts[begins]
    lasts = starts[np.append(begins[1:], len(starts)) - 1]
    return [
        devices[begins].tolist(),
        list(map(_moment, firsts.tolist())),
        list(map(_moment, lasts.tolist())),
        _moment(int(firsts.min())) - timedelta(days=2),
        _moment(int(lasts.max())),
    ]


def advance(connection: BaseDatabaseWrapper, done: Sequence[Done]) -> None:
    """Note how far claimed devices are rolled up."""
    with connection.cursor() as cursor:
        cursor.execute(statements.ADVANCE, [list(column) for column in zip(*done, strict=True)])


def mark_facilities(connection: BaseDatabaseWrapper, touched: Sequence[tuple[int, int]]) -> None:
    """Let the sums of the facilities of (device, start of a quarter in ms) be computed again."""
    if touched:
        with connection.cursor() as cursor:
            cursor.execute(statements.MARK, [list(column) for column in zip(*touched, strict=True)])


def mark_device(connection: BaseDatabaseWrapper, device_id: int) -> None:
    """Let all sums of a device's facility that the device has measured in be computed again."""
    with connection.cursor() as cursor:
        cursor.execute(statements.MARK_DEVICE, [device_id] * 3)


def take_dirty(connection: BaseDatabaseWrapper, *, limit: int) -> list[tuple[int, datetime, int]]:
    """Take (facility, start, tenant) of up to `limit` quarters to be summed, the newest first.

    They are gone with the commit: sum them in the same transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute(statements.TAKE, [limit])
        return list(cursor.fetchall())


def _moment(milliseconds: int) -> datetime:
    return _ALWAYS + timedelta(milliseconds=milliseconds)

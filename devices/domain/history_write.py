"""Readings from files into segments, with their seals: a device and a period in one transaction.

What is stored already is not stored again, so that the same file changes nothing; what says
otherwise is kept beside what was said before and counts from now on (`devices.telemetry.segment`).
Needs an open scope, and a transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
from django.db import connection

from devices.domain import seals
from devices.files.content import Quality
from devices.files.steps import Samples
from devices.protocol.data import Bools, Int64s
from devices.telemetry import import_store, redo_store
from devices.telemetry import segment_store as store
from devices.telemetry.redo_store import Cause, Redo
from devices.telemetry.segment import HOUR_MS, Readings, known_second, merged
from devices.telemetry.segment_codec import decode, encode

Hour = dict[int, Readings]


class FramesPendingError(RuntimeError):
    """Frames of the period have not become segments: they came before, and must stand before."""


@dataclass(frozen=True, slots=True)
class Column:
    """What a file says of one channel; `quality_number` is the channel that keeps how the values
    came about, None where nothing is said of that.
    """

    number: int
    quality_number: int | None
    samples: Samples


@dataclass(frozen=True, slots=True)
class Compared:
    """Readings by what they meet: nothing, another value, the same."""

    new: int = 0
    changed: int = 0
    same: int = 0

    def __add__(self, other: Compared) -> Compared:
        return Compared(self.new + other.new, self.changed + other.changed, self.same + other.same)


@dataclass(slots=True)
class _Written:
    """What one device's hours become."""

    compared: Compared = field(default_factory=Compared)
    segments: list[store.Kept] = field(default_factory=list)
    replaced: dict[tuple[int, int], bytes] = field(default_factory=dict)
    newest: Hour = field(default_factory=dict)


def compare(device_id: int, columns: Sequence[Column]) -> Compared:
    """What the readings of a device would meet; nothing is changed."""
    found = Compared()
    for starts in _portions(columns):
        bodies = store.segments_of(connection, {(device_id, start) for start in starts})
        for start_ms in starts:
            body = bodies.get((device_id, start_ms))
            kept = {} if body is None else decode(start_ms, body)
            for column in columns:
                samples = column.samples.between(start_ms, start_ms + HOUR_MS)
                found += _met(kept.get(column.number), samples)
    return found


def write(
    *, tenant_id: int, device_id: int, columns: Sequence[Column], now: datetime, import_id: int
) -> Compared:
    """Store what a file says of some channels of a device, and have its roll-ups computed again.

    `now` is when it arrived. Raises FramesPendingError.
    """
    import_store.lock(connection, tenant_id, device_id)
    done = _Written()
    for starts in _portions(columns):
        if import_store.has_frames(connection, device_id, starts[0], starts[-1] + HOUR_MS):
            raise FramesPendingError(f"device {device_id}")
        bodies = store.segments_of(connection, {(device_id, start) for start in starts})
        for start_ms in starts:
            body = bodies.get((device_id, start_ms))
            _write_hour(done, tenant_id, device_id, start_ms, body, columns, known_second(now))
    if done.segments:
        store.keep(connection, done.segments)
        seals.renew(connection, done.segments, done.replaced)
        store.keep_latest(connection, {device_id: tenant_id}, {device_id: done.newest})
        redo_store.ask_again(
            connection,
            _periods(device_id, [store.milliseconds(one.starts_at) for one in done.segments]),
            cause=Cause.IMPORT,
            cause_id=import_id,
        )
    return done.compared


# Hours whose segments are read at once.
_AT_ONCE: Final = 1_000


def _portions(columns: Sequence[Column]) -> Iterator[list[int]]:
    """The starts of the hours that the columns have readings in, in order."""
    hours = np.unique(np.concatenate([one.samples.times // HOUR_MS for one in columns]))
    starts: list[int] = (hours * HOUR_MS).tolist()
    for at in range(0, len(starts), _AT_ONCE):
        yield starts[at : at + _AT_ONCE]


def _write_hour(
    done: _Written,
    tenant_id: int,
    device_id: int,
    start_ms: int,
    body: bytes | None,
    columns: Sequence[Column],
    known: int,
) -> None:
    kept = {} if body is None else decode(start_ms, body)
    fresh: Hour = {}
    for column in columns:
        samples = column.samples.between(start_ms, start_ms + HOUR_MS)
        if not len(samples):
            continue
        done.compared += _met(kept.get(column.number), samples)
        fresh[column.number] = _readings(samples.times, samples.raw, known)
        if column.quality_number is not None:
            told = _told(kept.get(column.quality_number), samples)
            if told.any():
                codes = samples.quality.astype(np.int64)
                fresh[column.quality_number] = _readings(samples.times[told], codes[told], known)
    hour = merged(kept, fresh)
    written = encode(start_ms, hour)
    if written == body:
        return
    if body is not None:
        done.replaced[device_id, start_ms] = body
    values = sum(map(len, hour.values()))
    starts_at = store.moment(start_ms)
    done.segments.append(store.Kept(starts_at, tenant_id, device_id, values, written))
    done.newest.update(fresh)


def _readings(times: Int64s, raw: Int64s, known: int) -> Readings:
    return Readings(times, np.full(len(times), known, np.int64), raw)


def _met(kept: Readings | None, samples: Samples) -> Compared:
    if kept is None or not len(samples):
        return Compared(new=len(samples))
    counting = kept.counting()
    place = np.minimum(np.searchsorted(counting.times, samples.times), len(counting) - 1)
    there = counting.times[place] == samples.times
    same = int((there & (counting.raw[place] == samples.raw)).sum())
    met = int(there.sum())
    return Compared(new=len(samples) - met, changed=met - same, same=same)


def _told(kept: Readings | None, samples: Samples) -> Bools:
    """Of which readings the quality is kept: those that were not simply measured, and those that
    were not until now. So a file of measured values costs nothing.
    """
    told: Bools = samples.quality != Quality.ACTUAL
    if kept is None:
        return told
    counting = kept.counting()
    doubted = counting.times[counting.raw != Quality.ACTUAL]
    told |= np.isin(samples.times, doubted)
    return told


def _periods(device_id: int, starts: Sequence[int]) -> list[Redo]:
    """The hours as few periods."""
    found: list[Redo] = []
    for start_ms in starts:
        end_ms = start_ms + HOUR_MS
        if found and found[-1].end_ms == start_ms:
            found[-1] = found[-1]._replace(end_ms=end_ms)
        else:
            found.append(Redo(device_id, start_ms, end_ms))
    return found

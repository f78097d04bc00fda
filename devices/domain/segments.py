"""Moving: frames that have become old become segments, and the chunks that they leave are dropped.

Moving needs an open scope, and works on what it holds. A step is one transaction: what it moves is
in a segment and no longer in a frame, or nothing has changed. So it may be killed at any moment,
repeated and done by several at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from django.db import connection, transaction

from devices.domain import removed, seals
from devices.protocol.data import decode_many
from devices.telemetry import segment_store as store
from devices.telemetry.segment import Arrival, Readings, gathered, known_second, merged
from devices.telemetry.segment_codec import decode, encode

# Devices claimed, and frames of each, in one transaction.
MAX_DEVICES: Final = 200
MAX_FRAMES: Final = 4_000
# Values in one transaction: 4 million take about 300 MB.
MAX_VALUES: Final = 4_000_000
# Frames stay as they came for one to two hours: live charts begin with frames of the last minutes,
# and what was under way for a while finds its hour still open. What comes even later is moved the
# next time: a rule of economy, not of correctness.
CLOSED_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a step did.

    `last` is the highest device id that it is done with, None when none was left; `crowded` says
    whether a device had more old frames than one turn takes.
    """

    last: int | None
    frames: int = 0
    segments: int = 0
    crowded: bool = False


def closed_before(now: datetime) -> datetime:
    """The full hour before which frames may be moved."""
    return (now - CLOSED_AFTER).replace(minute=0, second=0, microsecond=0)


@transaction.atomic
def move(*, before: datetime, after: int = 0, limit: int = MAX_DEVICES) -> Moved:
    """Move the rolled-up frames that arrived before an instant, of up to `limit` devices with ids
    above `after` (fewer when they have more than MAX_VALUES values), into segments; one
    transaction.
    """
    claims = store.claim(connection, after=after, limit=limit)
    if not claims:
        return Moved(None)
    frames = store.old_frames(
        connection, claims, before=before, limit=MAX_FRAMES, values=MAX_VALUES
    )
    last = claims[-1].device_id
    if not frames:
        return Moved(last)
    is_full = sum(frame.value_count for frame in frames) >= MAX_VALUES
    if is_full:  # perhaps in the midst of a device
        last = frames[-1].device_id
    tenants = {one.device_id: one.tenant_id for one in claims}
    bodies = decode_many([bytes(frame.body) for frame in frames])
    arrivals: dict[int, list[Arrival]] = defaultdict(list)
    for frame, data in zip(frames, bodies, strict=True):
        arrivals[frame.device_id].append(Arrival(known_second(frame.received_at), data.blocks))
    fresh = {device_id: gathered(messages) for device_id, messages in arrivals.items()}
    kept = removed.without_late(fresh, tenants)
    segments, replaced = _segments(kept, tenants)
    if segments:
        store.keep(connection, segments)
        seals.renew(connection, segments, replaced)
        store.keep_latest(connection, tenants, _newest(kept))
    moved = [_counted(device_id, list(some)) for device_id, some in groupby(frames, _device)]
    store.delete(connection, moved)
    crowded = is_full or any(one.frames >= MAX_FRAMES for one in moved)
    return Moved(last, len(frames), len(segments), crowded)


@transaction.atomic
def prepare_chunks(*, now: datetime) -> int:
    """Make the chunks that will be written to, so that nobody who moves or rolls up holds up the
    others; returns how many. Chunks are everybody's: it needs no scope.
    """
    return store.prepare_chunks(connection, at=now)


@transaction.atomic
def drop_empty_chunks(*, before: datetime) -> int:
    """Drop the hours of arrival of which nothing is left; returns how many. Chunks are everybody's:
    it needs no scope.
    """
    return store.drop_empty_chunks(connection, before=before)


def _device(frame: store.OldFrame) -> int:
    return frame.device_id


def _counted(device_id: int, frames: Sequence[store.OldFrame]) -> store.Moved:
    values = sum(frame.value_count for frame in frames)
    return store.Moved(device_id, frames[-1].sequence, len(frames), values)


Fresh = Mapping[int, Mapping[int, Mapping[int, Readings]]]  # device: hour (ms): channel


def _segments(
    fresh: Fresh, tenants: Mapping[int, int]
) -> tuple[list[store.Kept], dict[tuple[int, int], bytes]]:
    """The segments of what has come, with what was in them before; and the bodies that they
    replace, by device and start.
    """
    wanted = [(device_id, start_ms) for device_id, hours in fresh.items() for start_ms in hours]
    before = store.segments_of(connection, wanted)
    found = []
    for device_id, start_ms in wanted:
        hour = fresh[device_id][start_ms]
        if (device_id, start_ms) in before:
            hour = merged(decode(start_ms, before[device_id, start_ms]), hour)
        values = sum(len(readings) for readings in hour.values())
        starts_at = store.moment(start_ms)
        body = encode(start_ms, hour)
        found.append(store.Kept(starts_at, tenants[device_id], device_id, values, body))
    return found, before


def _newest(fresh: Fresh) -> dict[int, dict[int, Readings]]:
    """Of each channel the readings of the last hour that has any."""
    return {
        device_id: {
            channel: readings
            for start_ms in sorted(hours)
            for channel, readings in hours[start_ms].items()
        }
        for device_id, hours in fresh.items()
        if hours
    }

"""Sealing segments, and proving by the seals that a period is what it was."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from devices.telemetry import retention_store, seal, seal_store
from devices.telemetry.segment import HOUR_MS
from devices.telemetry.segment_store import Kept, milliseconds

logger = logging.getLogger(__name__)

DAY: Final = timedelta(days=1)
GONE: Final = "it was sealed and is gone"
# Days of a device that are compared at once: up to 168 segments.
AT_ONCE: Final = 7 * DAY


@dataclass(frozen=True, slots=True)
class Difference:
    """A segment that is not what its seal says; `problem` is a sentence."""

    device_id: int
    starts_at: datetime
    problem: str


@dataclass(frozen=True, slots=True)
class Removed:
    """Sealed segments that were removed at `removed_at` under a rule of so many days, which is the
    rule of a tenant.
    """

    removed_at: datetime
    days: int
    rule_tenant: int
    segments: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found: `root` is that of the seals, hex; `removed` what retention has taken
    away, which is no difference.
    """

    root: str
    days: int
    segments: int
    differences: tuple[Difference, ...]
    removed: tuple[Removed, ...] = ()


def renew(
    connection: BaseDatabaseWrapper,
    segments: Sequence[Kept],
    before: Mapping[tuple[int, int], bytes],
) -> None:
    """Seal segments that have just been written, in their transaction.

    `before` has the bodies that they replace, by device and start (ms). A body that was not what
    its seal says keeps the old leaf, so that the difference stays to be found; one that retention
    had removed is sealed anew.
    """
    found: dict[tuple[int, date], bytes] = {}
    tenants = {one.device_id: one.tenant_id for one in segments}
    found.update(
        seal_store.seals_of(connection, {(one.device_id, one.starts_at.date()) for one in segments})
    )
    for one in segments:
        key = (one.device_id, one.starts_at.date())
        day = found.get(key, seal.EMPTY_DAY)
        start_ms, hour = milliseconds(one.starts_at), one.starts_at.hour
        replaced = before.get((one.device_id, start_ms))
        leaf = seal.NOTHING if replaced is None else seal.leaf(one.device_id, start_ms, replaced)
        known = seal.leaves_of(day)[hour] == leaf
        if known or (replaced is None and _was_removed(connection, one)):
            day = seal.with_leaf(day, hour, seal.leaf(one.device_id, start_ms, one.body))
        else:
            logger.error(
                "segment_not_as_sealed device=%d starts_at=%s", one.device_id, one.starts_at
            )
        found[key] = day
    seal_store.keep(
        connection,
        [
            seal_store.Seal(device_id, day, tenants[device_id], leaves)
            for (device_id, day), leaves in sorted(found.items())
        ],
    )


def _was_removed(connection: BaseDatabaseWrapper, one: Kept) -> bool:
    """Whether retention had taken the hour away, which an import then brings back."""
    start_ms = milliseconds(one.starts_at)
    known = retention_store.removals(connection, [one.tenant_id], start_ms, start_ms + HOUR_MS)
    return any(removal.covers(one.tenant_id, one.device_id, start_ms) for removal in known)


def verify(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], first: date, last: date
) -> Verified:
    """Compare the segments of devices with their seals, from a day to another (UTC), both included.

    Frames that have not become segments are not looked at: nothing has been sealed of them.
    """
    roots: dict[int, list[bytes]] = defaultdict(list)
    differences: list[Difference] = []
    removals: Counter[tuple[datetime, int, int]] = Counter()
    days = segments = 0
    for device_id in sorted(device_ids):
        for begin, end in _portions(first, last):
            sealed = seal_store.between(connection, device_id, begin, end)
            segments += len(sealed.bodies)
            lost: list[Difference] = []
            known = {at.date() for at in sealed.bodies} | set(sealed.leaves)
            for day in sorted(known):
                days += 1
                leaves = sealed.leaves.get(day, seal.EMPTY_DAY)
                roots[device_id].append(seal.root(seal.leaves_of(leaves)))
                lost += _differences(device_id, day, sealed.bodies, leaves)
            differences += _unexplained(connection, sealed, lost, removals)
    whole = seal.root([seal.root(roots[device_id]) for device_id in sorted(roots)])
    removed = tuple(Removed(*by, count) for by, count in sorted(removals.items()))
    return Verified(whole.hex(), days, segments, tuple(differences), removed)


def _unexplained(
    connection: BaseDatabaseWrapper,
    sealed: seal_store.Sealed,
    found: Sequence[Difference],
    removals: Counter[tuple[datetime, int, int]],
) -> list[Difference]:
    """The differences that no rule of retention has made; the others are counted."""
    gone = [one for one in found if one.problem == GONE]
    if not gone:
        return list(found)
    starts = [milliseconds(one.starts_at) for one in gone]
    known = retention_store.removals(
        connection, sealed.tenant_ids, min(starts), max(starts) + HOUR_MS
    )
    left = []
    for one in found:
        by = [
            removal
            for removal in known
            if one.problem == GONE
            and removal.covers(removal.tenant_id, one.device_id, milliseconds(one.starts_at))
        ]
        if by:
            removals[by[-1].removed_at, by[-1].days, by[-1].rule_tenant] += 1
        else:
            left.append(one)
    return left


def _portions(first: date, last: date) -> Iterator[tuple[date, date]]:
    """A period in parts whose segments fit into memory."""
    while first <= last:
        end = min(first + AT_ONCE - DAY, last)
        yield first, end
        first = end + DAY


def _differences(
    device_id: int, day: date, bodies: Mapping[datetime, bytes], leaves: bytes
) -> list[Difference]:
    found = []
    for hour, sealed in enumerate(seal.leaves_of(leaves)):
        starts_at = datetime.combine(day, time(hour), UTC)
        body = bodies.get(starts_at)
        if body is None:
            problem = "" if sealed == seal.NOTHING else GONE
        elif sealed == seal.NOTHING:
            problem = "it is there and was never sealed"
        else:
            same = seal.leaf(device_id, milliseconds(starts_at), body) == sealed
            problem = "" if same else "its bytes are not those that were sealed"
        if problem:
            found.append(Difference(device_id, starts_at, problem))
    return found

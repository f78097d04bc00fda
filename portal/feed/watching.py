"""What a socket may watch, and what storage has of it.

Every function opens the scope itself: they run in worker threads, one transaction each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import connection

from devices.domain import queries
from devices.telemetry import reads, status
from devices.telemetry.schema import CLOCK_TOLERANCE
from portal.charts.window import MAX_DEVICES, WINDOW, describe_device
from tenants.permissions import Permission
from tenants.scope import Scope, open_scope

# Sequence numbers that one answer looks through. A window holds fewer frames, even at ten a
# second, so that what lies further back is older than the window.
MAX_FILL: Final = 10_000

Frame = reads.Frame


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """The user may not watch this (any more); `signed_in` tells whether the session still holds."""

    def __init__(self, reason: str, *, signed_in: bool = True) -> None:
        super().__init__(reason)
        self.signed_in = signed_in


class TargetKind(StrEnum):
    """What a page shows."""

    FACILITY = "facility"
    DEVICE = "device"


# What a user needs to watch a target.
PERMISSIONS: Final = {
    TargetKind.FACILITY: (Permission.FACILITIES_VIEW, Permission.READINGS_VIEW),
    TargetKind.DEVICE: (Permission.DEVICES_VIEW, Permission.READINGS_VIEW),
}


@dataclass(frozen=True, slots=True)
class Target:
    """A facility or a device by its id; `tenant_id` is the tenant that the user acted in at first.

    Later checks ask about the same tenant, so that a page stays open when the user switches to
    another one elsewhere. The page belongs to the impersonation in which it was opened, too.
    """

    kind: TargetKind
    id: int
    tenant_id: int | None = None
    impersonation_id: int | None = None


@dataclass(frozen=True, slots=True)
class Watching:
    """What a socket is allowed to watch: equal as long as nothing about it has changed.

    `acts_as`: the user whose changes of rights concern it beside those of its own. `until`: when
    the permission ends by itself.
    """

    target: Target
    scope: Scope
    device_ids: tuple[int, ...]
    description: dict[str, Any]
    acts_as: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """Frames from storage, by device and sequence, complete up to `committed` of each device."""

    frames: tuple[Frame, ...]
    committed: dict[int, int]


def look(*, scope: Scope, target: Target) -> Watching:
    """The devices behind `target`, mains first; raises Refused where the scope holds none."""
    with open_scope(scope):
        devices = _devices(target)[:MAX_DEVICES]
    return Watching(
        target=target,
        scope=scope,
        device_ids=tuple(device.device_id for device in devices),
        description={
            "window_ms": WINDOW // timedelta(milliseconds=1),
            "devices": [describe_device(device) for device in devices],
        },
    )


def _devices(target: Target) -> Sequence[queries.DeviceFacts]:
    try:
        if target.kind is TargetKind.FACILITY:
            return queries.facility_detail(facility_id=target.id).devices
    except queries.FacilityNotFound:
        raise Refused("no such facility in your access") from None
    if not (devices := queries.devices(device_ids=[target.id])):
        raise Refused("no such device in your access")
    return devices


def backfill(*, scope: Scope, device_ids: Collection[int], have: Mapping[int, int]) -> Stored:
    """The stored frames of the last 15 minutes, without those up to the sequences in `have`."""
    now = datetime.now(UTC)
    with open_scope(scope):
        # The cursors first: whatever they count as committed, the frames read after them contain.
        cursors = status.cursors(connection, list(device_ids))
        frames = reads.read_frames(
            connection, list(device_ids), now - WINDOW, now + CLOCK_TOLERANCE
        )
    return Stored(
        tuple(frame for frame in frames if frame.sequence > have.get(frame.device_id, 0)),
        {device_id: cursor.committed for device_id, cursor in cursors.items()},
    )


def fill(*, scope: Scope, device_id: int, first: int, last: int) -> Stored:
    """The stored frames with sequences `first` to `last`, as far as they lie in the window."""
    since = datetime.now(UTC) - WINDOW
    with open_scope(scope):
        found = reads.read_sequences(
            connection,
            device_id,
            max(first, last - MAX_FILL + 1),
            last,
            received_since=since - CLOCK_TOLERANCE,
        )
    return Stored(
        tuple(frame for frame in found.frames if frame.ended_at >= since),
        {device_id: found.committed},
    )

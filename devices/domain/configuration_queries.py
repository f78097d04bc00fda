"""The settings of a device as pages and the API read them. Needs an open scope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

from devices.commands.states import OPEN
from devices.configuration.settings import SETTING_KINDS, Value, difference
from devices.domain.queries import DeviceNotFound
from devices.models import (
    Channel,
    Command,
    ConfigurationChange,
    Device,
    DeviceConfiguration,
)
from devices.protocol.settings import limits_text, parse_limits

MOST_CHANGES: Final = 20

PhysicalLimit = tuple[Decimal | None, Decimal | None]


@dataclass(frozen=True, slots=True)
class ChangeEntry:
    """A change of what is wanted; `author` is '' where the system or a service account made it."""

    version: int
    changed_at: datetime
    author: str
    origin: str
    reason: str
    before: Mapping[str, Value | None]
    after: Mapping[str, Value | None]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a device: as wanted, as it says (None: it has never said), and the keys in
    which they differ; `pending` are those that commands under way are to set.
    """

    device: Device
    desired: Mapping[str, Value]
    reported: Mapping[str, Value] | None
    different: tuple[str, ...]
    pending: frozenset[str]
    version: int
    desired_at: datetime | None
    reported_at: datetime | None
    attempts: int
    next_at: datetime | None
    drift: str
    drift_detail: str
    channels: Sequence[Channel]
    changes: Sequence[ChangeEntry]


def settings_of(*, device_id: int) -> Settings:
    """All of it; five queries. Raises DeviceNotFound."""
    device = Device.objects.select_related("facility", "device_type").filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound(f"device {device_id}")
    row = DeviceConfiguration.objects.filter(device_id=device_id).first()
    row = row or DeviceConfiguration(device=device, tenant_id=device.tenant_id)
    return Settings(
        device=device,
        desired=row.desired,
        reported=row.reported,
        different=() if row.reported is None else difference(row.desired, row.reported),
        pending=_pending(device_id),
        version=row.version,
        desired_at=row.desired_at,
        reported_at=row.reported_at,
        attempts=row.attempts,
        next_at=row.next_at,
        drift=row.drift,
        drift_detail=row.drift_detail,
        channels=list(
            Channel.objects.filter(device_id=device_id, derived=False).order_by("number")
        ),
        changes=[_change(one) for one in _changes(device_id)],
    )


def _pending(device_id: int) -> frozenset[str]:
    rows = Command.objects.filter(
        device_id=device_id, state__in=[state.value for state in OPEN], kind__in=SETTING_KINDS
    )
    return frozenset(key for some in rows.values_list("subjects", flat=True) for key in some)


def _changes(device_id: int) -> Sequence[ConfigurationChange]:
    rows = ConfigurationChange.objects.filter(device_id=device_id).select_related("changed_by")
    return list(rows.order_by("-version")[:MOST_CHANGES])


def _change(row: ConfigurationChange) -> ChangeEntry:
    user = row.changed_by
    return ChangeEntry(
        version=row.version,
        changed_at=row.changed_at,
        author="" if user is None else user.get_full_name() or user.email,
        origin=row.origin,
        reason=row.reason,
        before=row.before,
        after=row.after,
    )


def physical_limits(text: Any, channels: Sequence[Channel]) -> dict[int, PhysicalLimit]:
    """Limits in the units of their channels, by number; those of channels that are gone are left
    out.
    """
    by_number = {channel.number: channel.resolution for channel in channels}
    return {
        number: (
            None if low is None else low * by_number[number],
            None if high is None else high * by_number[number],
        )
        for number, (low, high) in parse_limits(str(text or "")).items()
        if number in by_number
    }


def raw_limits(limits: Mapping[int, PhysicalLimit], channels: Sequence[Channel]) -> str:
    """Limits as they travel: rounded inwards to the resolution of their channel. Raises
    ProtocolError where they are not in order or too many.
    """
    by_number = {channel.number: channel.resolution for channel in channels}
    return limits_text(
        {
            number: (
                _raw(low, by_number[number], ROUND_CEILING),
                _raw(high, by_number[number], ROUND_FLOOR),
            )
            for number, (low, high) in limits.items()
        }
    )


def _raw(value: Decimal | None, resolution: Decimal, rounding: str) -> int | None:
    return None if value is None else int((value / resolution).to_integral_value(rounding))

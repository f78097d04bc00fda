"""Derived channels that come ready-made: power where a device measures voltage and current alone is
made with the device; others are offered, and made when a person asks for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.derived_operations import Derivation, derive_channel
from devices.formulas.ready_made import ReadyMade, offered
from devices.models import Channel, Device, Measurement, Placement

NAMES: Final[Mapping[str, str | Promise]] = MappingProxyType(
    {
        "active_power": gettext_lazy("Active power"),
        "power_dc": gettext_lazy("Power"),
        "apparent_power": gettext_lazy("Apparent power"),
        "power_factor": gettext_lazy("Power factor"),
        "energy_today": gettext_lazy("Energy today"),
        "energy_returned_today": gettext_lazy("Energy returned today"),
        "state_of_charge": gettext_lazy("State of charge"),
    }
)


def offered_for(device: Device) -> tuple[ReadyMade, ...]:
    """What suits a device and it has not got yet; one query."""
    units = dict(device.channels.values_list("key", "unit"))
    return offered(units, battery=device.placement == Placement.STORAGE)


def needed_by(channels: Iterable[Measurement]) -> tuple[ReadyMade, ...]:
    """What a device with these channels cannot do without: its power, where it measures none."""
    measured = list(channels)
    if any(one.quantity == "active_power" for one in measured):
        return ()
    suits = offered({one.key: one.unit for one in measured})
    return tuple(one for one in suits if one.quantity == "active_power")[:1]


def add_needed(
    device: Device, channels: Iterable[Measurement], *, actor_id: int | None, now: datetime
) -> None:
    """Make what a new device needs; its power counts into the facility's total as one that is
    measured.
    """
    for one in needed_by(channels):
        _add(device, one, one.text, True, actor_id, now)


def add_ready_made(
    *,
    device_id: int,
    key: str,
    answers: Mapping[str, float],
    actor_id: int | None,
    now: datetime,
) -> Channel:
    """Make what is offered under a key; `answers`: what it asks for, in its units.

    Raises ValidationError where it is not offered (any more), or an answer is missing.
    """
    device = Device.objects.get(pk=device_id)
    found = next((one for one in offered_for(device) if one.key == key), None)
    if found is None:
        raise ValidationError(
            {"key": [_("The device has this channel already, or cannot have it.")]}
        )
    missing = [name for name, _unit in found.asks if answers.get(name) is None]
    if missing:
        raise ValidationError({name: [_("Say this first.")] for name in missing})
    return _add(device, found, found.filled(**answers), False, actor_id, now)


def _add(
    device: Device,
    one: ReadyMade,
    text: str,
    in_total: bool,
    actor_id: int | None,
    now: datetime,
) -> Channel:
    return derive_channel(
        device_id=device.pk,
        values=Derivation(one.key, str(NAMES[one.key]), one.quantity, text, in_total=in_total),
        actor_id=actor_id,
        now=now,
    )

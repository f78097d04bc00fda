"""By which names a formula calls channels: its device's own by their keys, those of other devices
of the facility as `device.key`.

A device is called by its name in small letters (`Main meter` → `main_meter`), or by its serial
where others have that name. What a name stands for is settled when a formula is written.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from devices.models import Channel, Device

_WORDS: Final = {"and", "or", "not"}
# A facility with more devices is asked by serial; the editor offers these.
MOST_DEVICES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Named:
    """A channel that a formula may use; `name` as it is offered, `label` for people."""

    name: str
    channel_id: int
    device_id: int
    unit: str
    quantity: str
    derived: bool
    label: str


@dataclass(frozen=True, slots=True)
class Names:
    """What the formulas of a device may use: `offered`, each under one name, its own first;
    `known`: by every name that is understood.
    """

    offered: Sequence[Named]
    known: Mapping[str, Named]

    @property
    def units(self) -> dict[str, str]:
        """The units by name."""
        return {name: one.unit for name, one in self.known.items()}

    def name_of(self, channel_id: int) -> str | None:
        """How a channel is called today; None when it is none of these."""
        return next((one.name for one in self.offered if one.channel_id == channel_id), None)


def slug(text: str) -> str:
    """A text as part of a name: small letters, digits and `_`, beginning with a letter."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    ascii_only = plain.encode("ascii", "ignore").decode().lower()
    found = re.sub(r"[^a-z0-9]+", "_", ascii_only).strip("_")
    if not found or found[0].isdigit() or found in _WORDS:
        return f"d_{found}".rstrip("_")
    return found[:60].rstrip("_")


def names_for(device: Device) -> Names:
    """The channels that formulas of a device may use; two queries."""
    devices = list(
        Device.objects.filter(facility_id=device.facility_id)
        .order_by("pk")
        .values_list("pk", "name", "serial")[:MOST_DEVICES]
    )
    called = _called(devices)
    channels = Channel.objects.filter(device__facility_id=device.facility_id)
    own: list[Named] = []
    others: list[Named] = []
    known: dict[str, Named] = {}
    titles = {device_id: name for device_id, name, _ in devices}
    for row in channels.order_by("device_id", "number").values_list(
        "pk", "device_id", "key", "unit", "quantity", "derived", "name"
    ):
        channel_id, device_id, key, unit, quantity, derived, name = row
        if device_id not in called:
            continue
        mine = device_id == device.pk
        label = name if mine else f"{titles[device_id]}: {name}"
        prefixes = called[device_id]
        shown = key if mine else f"{prefixes[0]}.{key}"
        one = Named(shown, channel_id, device_id, unit, quantity, derived, label)
        (own if mine else others).append(one)
        if mine:
            known[key] = one
        for prefix in prefixes:
            known.setdefault(f"{prefix}.{key}", one)
    return Names([*own, *others], known)


def _called(devices: Sequence[tuple[int, str, str]]) -> dict[int, tuple[str, ...]]:
    """The names of devices, the one that is offered first."""
    by_name = Counter(slug(name) for _, name, _ in devices)
    serials = Counter(slug(serial) for _, _, serial in devices)
    found = {}
    for device_id, name, serial in devices:
        titled, marked = slug(name), slug(serial)
        names = [titled] if by_name[titled] == 1 and not serials[titled] else []
        if serials[marked] == 1:
            names.append(marked)
        names.append(f"d_{device_id}")
        found[device_id] = tuple(dict.fromkeys(names))
    return found

"""What simulated devices need before they may connect: types, facilities, devices, secrets.

Everything here can be repeated: what exists is kept. A device whose secret the caller no longer
has gets a new one. All functions need an open scope that contains the tenant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from devices.domain import operations
from devices.domain.operations import Address, ChannelSpec, Eviction
from devices.domain.secrets import DeviceSecret
from devices.models import Device, DeviceType, Facility, FacilityKind, Placement
from devices.simulator.catalogue import ChannelType, MeterType
from devices.simulator.recordings import RecordedDevice

# Readings of recordings come from unknown meters: wide limits, which a broken row still exceeds.
RECORDED_LIMIT: Final = Decimal(10_000_000)


class ProvisionError(Exception):
    """A device cannot be prepared; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class WantedDevice:
    """A device that shall stand in a facility."""

    serial: str
    name: str
    type: MeterType
    placement: Placement


def ensure_type(tenant_id: int, meter: MeterType) -> DeviceType:
    """The tenant's device type of a code, made when it is missing."""
    found = DeviceType.objects.filter(tenant_id=tenant_id, code=meter.code).first()
    if found is not None:
        return found
    return operations.create_device_type(
        tenant_id=tenant_id,
        code=meter.code,
        name=meter.name,
        manufacturer=meter.manufacturer,
        channels=[_spec(channel) for channel in meter.channels],
        step_ms=meter.step_ms,
        samples=meter.samples,
        capabilities=meter.capabilities,
        actor_id=None,
    )


def _spec(channel: ChannelType) -> ChannelSpec:
    return ChannelSpec(
        number=channel.number,
        key=channel.key,
        name=channel.name,
        quantity=channel.quantity,
        resolution=channel.resolution,
        minimum=channel.minimum,
        maximum=channel.maximum,
        in_total=channel.in_total,
    )


def ensure_facility(
    tenant_id: int,
    name: str,
    *,
    kind: FacilityKind,
    time_zone: str,
    address: Address | None = None,
) -> Facility:
    """The tenant's facility of a name, made when it is missing."""
    found = Facility.objects.filter(tenant_id=tenant_id, name=name, parent=None).first()
    if found is not None:
        return found
    return operations.create_facility(
        tenant_id=tenant_id,
        name=name,
        kind=kind,
        time_zone=time_zone,
        address=address,
        actor_id=None,
    )


def ensure_devices(
    facility: Facility, wanted: Iterable[WantedDevice], keys: dict[str, Any]
) -> list[Eviction]:
    """Register what is missing, and give a new secret to what `keys` has no valid one of.

    `keys` maps serials to entries with `secret` (base32) and `device_type`; it is completed.
    Returns the notices to be published after the commit.
    """
    evictions = []
    known = {
        device.serial: device
        for device in Device.objects.filter(serial__in=[device.serial for device in wanted])
    }
    for device in wanted:
        entry = keys.setdefault(device.serial, {})
        entry["device_type"] = device.type.code
        existing = known.get(device.serial)
        if existing is not None and existing.facility_id != facility.pk:
            raise ProvisionError(
                f"{device.serial} is registered in another facility: choose another seed or tenant"
            )
        if existing is None:
            registered = operations.register_device(
                tenant_id=facility.tenant_id,
                facility_id=facility.pk,
                device_type_id=ensure_type(facility.tenant_id, device.type).pk,
                serial=device.serial,
                name=device.name,
                placement=device.placement,
                hardware_revision="simulated rev A",
                actor_id=None,
            )
            entry["secret"] = registered.secret.text
        elif not _fits(entry.get("secret"), existing):
            rotated = operations.rotate_secret(device_id=existing.pk, actor_id=None)
            entry["secret"] = rotated.secret.text
            evictions.append(rotated.eviction)
    return evictions


def _fits(secret: str | None, device: Device) -> bool:
    if secret is None:
        return False
    try:
        return DeviceSecret.parse(secret).sha256 == bytes(device.secret_sha256)
    except ValueError:
        return False


def recorded_type(
    code: str, name: str, device: RecordedDevice, columns: Sequence[str] | None = None
) -> tuple[MeterType, list[dict[str, Any]]]:
    """A device type with a channel for each column of a recording, or for some of them.

    Also returns which column each channel plays, for the device's entry in a keyring. The quantity
    follows the column's name; what has no telling name is a power, as in most recordings of
    circuits. Columns named mains count into the facility's total.
    """
    channels: list[ChannelType] = []
    played: list[dict[str, Any]] = []
    for group in device.groups:
        for column, resolution in zip(group.names, group.resolutions, strict=True):
            if columns is not None and column not in columns:
                continue
            number = len(channels)
            channels.append(
                ChannelType(
                    number=number,
                    key=_key(column, number),
                    name=column.replace("_", " ").strip()[:80].capitalize() or "Channel",
                    quantity=_quantity(column),
                    resolution=resolution,
                    minimum=-RECORDED_LIMIT,
                    maximum=RECORDED_LIMIT,
                    in_total="main" in column.lower(),
                )
            )
            played.append({"number": number, "column": column, "resolution": str(resolution)})
    samples = max(1, min(60, round(60_000 / max(1, device.step_ms))))
    step_ms = max(1, device.step_ms)
    return MeterType(code, name, "Recorded", tuple(channels), step_ms, samples), played


def recorded_devices(
    name: str, recorded: Sequence[RecordedDevice]
) -> tuple[list[WantedDevice], dict[str, dict[str, Any]]]:
    """Devices that play all of a recording, and what to add to their entries in a keyring."""
    wanted = []
    entries: dict[str, dict[str, Any]] = {}
    for number, device in enumerate(recorded, start=1):
        serial = f"REC-{code_of(name)}-{number:02d}"
        meter, played = recorded_type(
            f"REC-{code_of(name)}-{number:02d}", f"Recording {name}", device
        )
        wanted.append(
            WantedDevice(serial, device.name or f"Recording {name}", meter, Placement.MAINS)
        )
        entries[serial] = {"channels": played, "recorded": device.name}
    return wanted, entries


def code_of(name: str) -> str:
    """A name as a part of serial numbers and codes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-")[:40] or "recording"


def _key(column: str, number: int) -> str:
    """A channel key: lower-case letters, digits and underscores, beginning with a letter."""
    plain = re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_")[:40]
    return plain if plain[:1].isalpha() else f"c_{plain or number}"[:40]


_QUANTITIES: Final = (
    (r"volt|(^|_)u(_|\d|$)|(^|_)v(_|\d|$)", "voltage"),
    (r"current|amp|(^|_)i(_|\d|$)|^a(_|\d|$)", "current"),
    (r"freq|hz", "frequency"),
    (r"power_?factor|cos", "power_factor"),
    (r"temp|degc|°c", "temperature"),
    (r"soc|charge_(level|percent)", "state_of_charge"),
    (r"irradi|w_m2", "irradiance"),
    (r"reactive|var(_|$)", "reactive_power"),
    (r"(^|_)wh(_|$)", "energy_import"),
)


def _quantity(column: str) -> str:
    name = column.lower()
    return next(
        (quantity for pattern, quantity in _QUANTITIES if re.search(pattern, name)),
        "active_power",
    )

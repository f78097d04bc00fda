"""Who plays what: members of a fleet from the demo's park, from a number, or from a recording."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from devices.simulator import keyring
from devices.simulator.catalogue import SMART_METER
from devices.simulator.clock import system_ms
from devices.simulator.fleet import Member
from devices.simulator.http_device import HttpProfile
from devices.simulator.model.chance import Chance
from devices.simulator.model.household import Equipment, household_loads
from devices.simulator.model.site import HOUR_S, MAINS, Layout, ModelSource, Site, Snapshot
from devices.simulator.model.weather import Place
from devices.simulator.park import CHAIN, FACILITIES, GATEWAYS
from devices.simulator.payg import PaygKeys
from devices.simulator.recordings import RecordedDevice
from devices.simulator.replay import (
    PlayedChannel,
    RecordedSource,
    ReplayError,
    all_channels,
    compressed,
    load,
)
from devices.simulator.reporter import REAL_TIME, Pace, Source
from devices.simulator.session import Identity

log = logging.getLogger("wattline.simulate")

Axis = Literal["now", "compress", "keep"]

# A looped recording has one place on the time axis for ever: whoever starts or restarts plays the
# same reading at the same instant. 1 January 2026, 00:00 UTC.
LOOP_ANCHOR_MS: Final = 1_767_225_600_000


@dataclass(slots=True)
class Cast:
    """Devices to run, and the sites that they measure, by facility number; `over_http` are those
    that have no connection and ask for their updates.
    """

    members: list[Member]
    sites: dict[int, Site]
    over_http: list[HttpProfile] = field(default_factory=list)


def identity(serial: str, entry: Mapping[str, Any]) -> Identity:
    """The identity of a keyring entry; raises KeyringError when it is incomplete."""
    try:
        secret, device_type = str(entry["secret"]), str(entry["device_type"])
    except KeyError as error:
        raise keyring.KeyringError(
            f"device {serial} has no {error.args[0]}: run `manage.py demo` again"
        ) from None
    return Identity(serial, keyring.secret_bytes(secret), device_type, hardware="simulated rev A")


def _member(serial: str, entry: Mapping[str, Any], source: Source) -> Member:
    """A device of the model; one that sells its output has the key `payg`. Raises KeyringError."""
    return Member(identity(serial, entry), source, payg=PaygKeys.of(entry.get("payg")))


def demo(state: Mapping[str, Any], web: str) -> Cast:
    """The devices of the demo's park that `state` (the demo's state file) has secrets of; `web` is
    the address of the portal, which some of them ask for their updates.

    The recording is played where its file is there; otherwise a sentence says that it is not.
    """
    devices: Mapping[str, Any] = state.get("devices", {})
    cast = Cast([], {})
    for facility in FACILITIES:
        site = facility.site(int(state["epoch_s"]))
        cast.sites[facility.number] = site
        cast.members += [
            _member(device.serial, devices[device.serial], ModelSource(site, device.meter))
            for device in facility.devices
            if device.serial in devices
        ]
    tokens: Mapping[str, str] = state.get("ddi_tokens", {})
    cast.over_http += [
        HttpProfile(
            f"{web}/{CHAIN}/controller/v1/{device.serial}", tokens[device.serial], device.type.code
        )
        for _facility, device in GATEWAYS
        if device.serial in tokens
    ]
    recording = state.get("recording")
    if recording:
        path = Path(recording["path"])
        if path.is_file():
            channels = {serial: devices[serial]["channels"] for serial in recording["devices"]}
            cast.members += looped(path, devices, channels)
        else:
            log.warning("%s is not there: the recorded house stays silent", path)
    return cast


def looped(
    path: Path, devices: Mapping[str, Any], channels: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Member]:
    """Devices that play a recording round and round in real time; raises ReplayError."""
    recorded = load(path)[0]
    return [
        Member(
            identity(serial, devices[serial]),
            RecordedSource(recorded, played(wanted), start_ms=LOOP_ANCHOR_MS, loop=True),
        )
        for serial, wanted in channels.items()
    ]


def played(channels: Sequence[Mapping[str, Any]]) -> list[PlayedChannel]:
    """Channels as a keyring entry holds them: number, column, resolution."""
    return [
        PlayedChannel(
            int(channel["number"]), str(channel["column"]), Decimal(str(channel["resolution"]))
        )
        for channel in channels
    ]


def restore(cast: Cast, snapshots: Mapping[str, Any]) -> None:
    """Spare the way from the epoch by the snapshots that `snapshots_of` made."""
    for number, site in cast.sites.items():
        found = snapshots.get(str(number))
        if found and found.get("epoch_s") == site.epoch_s:
            site.resume(Snapshot(int(found["hour"]), found["energy_ws"], float(found["charge"])))


def snapshots_of(cast: Cast) -> dict[str, Any]:
    """The state of all sites, to be kept for the next start."""
    return {
        str(number): {
            "epoch_s": site.epoch_s,
            "hour": site.snapshot.hour,
            "energy_ws": dict(site.snapshot.energy_ws),
            "charge": site.snapshot.charge,
        }
        for number, site in cast.sites.items()
    }


def fleet_serials(count: int, seed: int) -> list[str]:
    """The serial numbers of a fleet."""
    return [f"SIM{seed}-{number:05d}" for number in range(1, count + 1)]


def fleet(devices: Mapping[str, Any], *, count: int, seed: int) -> Cast:
    """`count` households with a smart meter each, whose epoch is the present hour."""
    epoch_s = int(system_ms() / 1_000) // HOUR_S * HOUR_S
    cast = Cast([], {})
    for number, serial in enumerate(fleet_serials(count, seed)):
        chance = Chance(seed, "fleet", number)
        equipment = Equipment(
            people=1 + int(5 * chance.at(0)),
            heat_pump_watts=chance.between(1_500, 2_600, 1) if chance.at(2) < 0.3 else 0.0,
            vehicle_watts=11_000.0 if chance.at(3) < 0.25 else 0.0,
        )
        home_seed = int(chance.at(4) * 2**48)
        layout = Layout(
            place=Place(48.1, 7.85),
            time_zone="Europe/Berlin",
            feeders={"home": tuple(household_loads(home_seed, equipment))},
            impedance=0.12,
            region=seed,
        )
        site = Site(seed=home_seed, layout=layout, epoch_s=epoch_s)
        cast.sites[number] = site
        cast.members.append(_member(serial, devices[serial], ModelSource(site, MAINS)))
    return cast


FLEET_TYPE: Final = SMART_METER


@dataclass(frozen=True, slots=True)
class Playback:
    """How a recording is played: `speed` times as fast, from the beginning or round and round.

    `axis`: `now` lets the readings keep their distances and ends at the present when the recording
    has been played; `compress` divides the distances by the speed and begins at the present;
    `keep` leaves the times as recorded.
    """

    speed: float = 1
    axis: Axis = "now"
    loop: bool = False
    minutes: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 1_000_000:
            raise ReplayError(f"a speed of {self.speed}: set it above 0 and up to 1000000")
        if self.loop and self.axis != "compress" and self.speed != 1:
            raise ReplayError(
                "a loop faster than time would run ahead of it: add --axis compress, or drop "
                "--speed or --loop"
            )
        if self.loop and self.axis == "keep":
            raise ReplayError("a loop cannot keep the recorded times: drop --loop or --axis keep")


def replay(
    path: Path, devices: Mapping[str, Mapping[str, Any]], playback: Playback
) -> list[Member]:
    """Devices that play a recording; raises ReplayError.

    Each entry has secret, device type, and perhaps `channels` (number, column, resolution) and
    `recorded` (the name of the device within the recording). Without channels the recorded ones
    are played as they are numbered there. Entries are matched to recorded devices in order.
    """
    recorded = load(path, minutes=playback.minutes)
    by_name = {device.name: device for device in recorded}
    members = []
    now_ms = int(system_ms())
    for index, (serial, entry) in enumerate(devices.items()):
        name = entry.get("recorded")
        if name is not None and name not in by_name:
            raise ReplayError(f"{path} has no device {name}: it has {', '.join(by_name)}")
        device = by_name[name] if name is not None else recorded[min(index, len(recorded) - 1)]
        wanted = played(entry["channels"]) if "channels" in entry else all_channels(device)
        source, pace = _on_axis(device, wanted, playback, now_ms)
        members.append(Member(identity(serial, entry), source, pace, source.start_ms))
    return members


def _on_axis(
    device: RecordedDevice, channels: Sequence[PlayedChannel], playback: Playback, now_ms: int
) -> tuple[RecordedSource, Pace]:
    speed = playback.speed
    if playback.axis == "compress":
        faster = compressed(device, speed)
        return RecordedSource(faster, channels, start_ms=now_ms, loop=playback.loop), REAL_TIME
    if playback.axis == "keep":
        source = RecordedSource(device, channels)
        return source, Pace(now_ms, source.start_ms - 1, speed)
    length_ms = RecordedSource(device, channels).length_ms
    start_ms = now_ms - round(length_ms * (1 - 1 / speed)) if speed > 1 else now_ms
    source = RecordedSource(device, channels, start_ms=start_ms, loop=playback.loop)
    return source, Pace(now_ms, start_ms - 1, speed) if speed != 1 else REAL_TIME

"""Options of `manage.py simulate` that say how devices are updated, and what goes wrong then."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from django.core.management.base import CommandError

from devices.simulator.faults import UpdateFaults
from devices.simulator.firmware import FirmwareOptions
from devices.simulator.flash import SECTOR
from devices.simulator.image import Behaviour
from devices.simulator.layout import Layout

NO_OWN: Final[Mapping[str, UpdateFaults]] = MappingProxyType({})
_FAULTS: Final = ("deaf", "bad-flash", "never-returns", "lies", "tampers")
_NUMBERS: Final = tuple(field.name for field in fields(Behaviour) if field.type in ("float", float))
_SWITCHES: Final = {"self-test": ("self_test", False), "hangs": ("hangs", True)}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the group of options."""
    firmware = parser.add_argument_group("firmware")
    firmware.add_argument(
        "--firmware-key",
        action="append",
        default=[],
        metavar="HEX",
        help="devices can be updated, and trust this public key (more than once for more keys)",
    )
    firmware.add_argument(
        "--flash", type=int, default=128, metavar="KIB", help="the largest image that fits"
    )
    firmware.add_argument(
        "--update-fault", action="append", default=[], choices=_FAULTS, help="what goes wrong"
    )
    firmware.add_argument(
        "--power-cut", type=int, default=0, metavar="BYTES", help="mean, written between failures"
    )
    firmware.add_argument("--down", type=float, default=0, metavar="BYTES/S", help="down-link")
    firmware.add_argument(
        "--after-update",
        metavar="NAME=VALUE,…",
        help="how every new firmware acts: "
        + ", ".join((*(f"{name}=" for name in _NUMBERS), *_SWITCHES)),
    )
    firmware.add_argument(
        "--faulty", type=float, default=1.0, metavar="SHARE", help="of the devices, 0 … 1"
    )


def update_faults(options: Mapping[str, Any]) -> UpdateFaults:
    """The faults that the options name; raises CommandError."""
    try:
        chosen = {name.replace("-", "_"): True for name in options["update_fault"]}
        after = options["after_update"]
        return UpdateFaults(
            **chosen,
            power_cut_bytes=options["power_cut"],
            bytes_per_s=options["down"],
            after=None if after is None else behaviour(after),
        )
    except ValueError as error:
        raise CommandError(f"simulate: {error}") from error


def firmware_options(
    options: Mapping[str, Any], known_keys: Sequence[str], own: Mapping[str, UpdateFaults] = NO_OWN
) -> FirmwareOptions | None:
    """What the options say; None for devices that cannot be updated. Raises CommandError.

    `known_keys`: the public keys that the demo has, in hexadecimal; `own`: faults of single devices
    by serial.
    """
    faults = update_faults(options)
    try:
        keys = tuple(_key(text) for text in (*known_keys, *options["firmware_key"]))
    except ValueError as error:
        raise CommandError(f"simulate: {error}") from error
    if not keys:
        if faults != UpdateFaults():
            raise CommandError("simulate: no device can be updated: add --firmware-key HEX")
        return None
    if not 0 <= options["faulty"] <= 1:
        raise CommandError(f"simulate: --faulty {options['faulty']}: a share lies in 0 … 1")
    if not 16 <= options["flash"] <= 16_384 or options["flash"] * 1_024 % SECTOR:
        raise CommandError(
            f"simulate: --flash {options['flash']}: give 16 … 16384, a multiple of 4"
        )
    layout = Layout(options["flash"] * 1_024)
    return FirmwareOptions(keys, layout, faults, options["faulty"], own)


def behaviour(text: str) -> Behaviour:
    """A behaviour such as `gaps=0.2,drain=1.15,self-test`; raises ValueError."""
    found: dict[str, Any] = {}
    for part in text.split(","):
        name, equals, value = part.strip().partition("=")
        if name in _SWITCHES and not equals:
            switched, on = _SWITCHES[name]
            found[switched] = on
        elif name in _NUMBERS and equals:
            try:
                found[name] = float(value)
            except ValueError:
                raise ValueError(f"--after-update: {value} is no number for {name}") from None
        else:
            allowed = ", ".join((*(f"{one}=…" for one in _NUMBERS), *_SWITCHES))
            raise ValueError(f"--after-update: {part} is none of {allowed}")
    return Behaviour(**found)


def _key(text: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise ValueError(f"--firmware-key {text[:80]}: give the 64 hexadecimal digits of a key")
    return key

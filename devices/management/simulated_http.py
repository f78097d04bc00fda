"""Simulated devices that ask for their updates over HTTP: options of `manage.py simulate`."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError

from devices.simulator.faults import UpdateFaults
from devices.simulator.http_device import HttpDevice, HttpProfile

FOLDER = "http"


def add_arguments(parser: ArgumentParser, *, portal: str) -> None:
    """Add the group of options; `portal` is the address of this installation."""
    group = parser.add_argument_group("updates over HTTP (hawkBit's DDI)")
    group.add_argument("--token", metavar="TOKEN", help="the target token of the device of --ddi")
    group.add_argument(
        "--web", default=portal, metavar="URL", help="the portal that devices of the demo ask"
    )


def single(options: Mapping[str, Any], faults: UpdateFaults) -> HttpDevice:
    """The device of --ddi; raises CommandError."""
    address = str(options["ddi"]).rstrip("/")
    parts = urlsplit(address)
    path = parts.path.strip("/").split("/")
    if parts.scheme not in ("http", "https") or path[1:3] != ["controller", "v1"] or len(path) != 4:
        raise CommandError(
            f"simulate: --ddi {address}: give https://HOST/TENANT/controller/v1/SERIAL"
        )
    if not options["token"]:
        raise CommandError(
            "simulate: --ddi needs --token TOKEN: the target token from the device's page"
        )
    after = faults.after
    if faults.power_cut_bytes or (after is not None and after.self_test):
        raise CommandError(
            "simulate: a device of --ddi has no flash memory and no readings: of the faults, give "
            "--update-fault, --down or --after-update self-test"
        )
    (made,) = devices([HttpProfile(address, options["token"])], options["state"], faults)
    return made


def devices(profiles: Sequence[HttpProfile], state: Path, faults: UpdateFaults) -> list[HttpDevice]:
    """Devices with their memories below the simulator's state folder."""
    return [HttpDevice(profile, state / FOLDER / profile.serial, faults) for profile in profiles]


async def run_single(device: HttpDevice, seconds: float | None) -> None:
    """Ask until SIGTERM or SIGINT, or for so many seconds."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    await device.run(stop)

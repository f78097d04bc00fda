"""`manage.py simulate`: devices that speak to the bridge as real ones do, over TLS alone."""

from __future__ import annotations

import asyncio
import logging
import signal
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from redis import Redis

from devices.domain.operations import Eviction
from devices.management import provision, simulated_firmware, simulated_http
from devices.models import FacilityKind, Placement
from devices.simulator import casting, keyring
from devices.simulator.buffer import BufferUnusableError
from devices.simulator.casting import Cast, Playback
from devices.simulator.client import Address, client_tls
from devices.simulator.clock import system_ms
from devices.simulator.device import DeviceOptions
from devices.simulator.faults import NO_UPDATE_FAULTS, Faults
from devices.simulator.fleet import Fleet, Member, Summary
from devices.simulator.park import FAULTS
from devices.simulator.replay import ReplayError, load
from devices.simulator.reporter import Thinning
from tenants.domain.queries import all_tenant_ids
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

log = logging.getLogger("wattline.simulate")

BUFFERS = "buffers"
SNAPSHOTS = "snapshots.json"
# A device of the demo that starts for the first time has measured this long without a link, so
# that the first page somebody opens shows all of yesterday, and live charts that are not empty. Of
# what is older than RECENT_MS it has kept a sample a minute.
PAST_MS = 48 * 3_600_000
RECENT_MS = 20 * 60_000
SNAPSHOTS_EVERY_S = 1_800


class Command(BaseCommand):
    """One of: the demo's park, a fleet of households, a recording, a device over HTTP."""

    help = "Play devices: the demo's, a fleet of N households, a recording, or one over HTTP."
    requires_system_checks = ()
    _firmware_keys: Sequence[str] = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--demo", action="store_true", help="the devices of the demo tenants")
        what.add_argument("--fleet", type=int, metavar="N", help="N households with a smart meter")
        what.add_argument("--replay", type=Path, metavar="FILE", help="a recording (CSV, .csv.gz)")
        what.add_argument(
            "--ddi", metavar="URL", help="a device that asks HOST/TENANT/controller/v1/SERIAL"
        )
        parser.add_argument("--seed", type=int, default=1, help="of a fleet, and of the faults")
        parser.add_argument(
            "--tenant", metavar="SLUG", help="register what is missing as this tenant's"
        )
        parser.add_argument(
            "--devices",
            type=Path,
            metavar="FILE",
            help="secrets of registered devices: JSON, {serial: {secret, device_type, channels}}",
        )
        replay = parser.add_argument_group("replay")
        replay.add_argument("--speed", type=float, default=1.0, metavar="X")
        replay.add_argument("--axis", choices=("now", "compress", "keep"), default="now")
        replay.add_argument("--loop", action="store_true", help="begin again at the end")
        replay.add_argument("--minutes", type=float, help="play only the beginning")
        faults = parser.add_argument_group("faults")
        faults.add_argument("--skew", type=float, default=0, metavar="S", help="wrong clocks")
        faults.add_argument("--drift", type=float, default=0, metavar="PPM", help="fast clocks")
        faults.add_argument("--drop-rate", type=float, default=0, help="links broken, per message")
        faults.add_argument(
            "--cut-every", type=float, default=0, metavar="S", help="mean, per link"
        )
        faults.add_argument("--duplicate-rate", type=float, default=0, help="sent twice")
        faults.add_argument("--corrupt-rate", type=float, default=0, help="a bit flipped")
        faults.add_argument("--slow", type=float, default=0, metavar="BYTES/S", help="up-link")
        faults.add_argument("--reboot-every", type=float, default=0, metavar="S", help="mean")
        simulated_firmware.add_arguments(parser)
        simulated_http.add_arguments(parser, portal=settings.PUBLIC_URL)
        parser.add_argument("--seconds", type=float, help="stop after this time")
        parser.add_argument("--host", default="localhost")
        parser.add_argument("--port", type=int, default=settings.BRIDGE_PORT)
        parser.add_argument("--ca", type=Path, default=settings.TLS_DIR / "ca.pem")
        parser.add_argument("--state", type=Path, default=settings.HOME / "simulator")

    def handle(self, *args: object, **options: Any) -> None:
        if options["ddi"]:
            device = simulated_http.single(options, simulated_firmware.update_faults(options))
            uvloop.run(simulated_http.run_single(device, options["seconds"]))
            self.stdout.write(f"simulate: switched off; {device.firmware} runs")
            return
        try:
            cast = self._cast(options)
            fleet_options = _device_options(options, self._firmware_keys)
            summary = uvloop.run(_run(cast, fleet_options, options))
        except (
            keyring.KeyringError,
            ReplayError,
            BufferUnusableError,
            provision.ProvisionError,
        ) as error:
            raise CommandError(f"simulate: {error}") from error
        self.stdout.write(f"simulate: switched off; {summary.work}")

    def _cast(self, options: dict[str, Any]) -> Cast:
        if options["demo"]:
            path = settings.HOME / "demo.json"
            state = keyring.load(path)
            if not state:
                raise CommandError(f"simulate: {path} is not there: run `manage.py demo` first")
            self._firmware_keys = state.get("firmware_keys", ())
            cast = casting.demo(state, options["web"])
            casting.restore(cast, keyring.load(options["state"] / SNAPSHOTS))
            return replace(cast, members=_with_past(cast.members, options["state"] / BUFFERS))
        if options["fleet"] is not None:
            count, seed = options["fleet"], options["seed"]
            if not 1 <= count <= 100_000:
                raise CommandError(f"simulate: a fleet of {count}: give a number from 1 to 100000")
            keys = _fleet_keys(options, count, seed)
            return casting.fleet(keys, count=count, seed=seed)
        playback = Playback(options["speed"], options["axis"], options["loop"], options["minutes"])
        path = options["replay"]
        return Cast(casting.replay(path, _replay_keys(options, path), playback), {})


def _with_past(members: Sequence[Member], buffers: Path) -> list[Member]:
    """Let members that have no buffer yet begin in the past."""
    now_ms = int(system_ms())
    return [
        member
        if member.begin_ms is not None or (buffers / member.identity.serial).exists()
        else replace(
            member,
            begin_ms=member.pace.at(now_ms - PAST_MS),
            thinning=Thinning(member.pace.at(now_ms - RECENT_MS)),
        )
        for member in members
    ]


def _device_options(options: dict[str, Any], firmware_keys: Sequence[str]) -> DeviceOptions:
    ca: Path = options["ca"]
    if not ca.is_file():
        raise CommandError(f"simulate: {ca} is not there: run `make up` once, or give --ca")
    try:
        faults = Faults(
            cut_rate=options["drop_rate"],
            cut_after_s=options["cut_every"],
            duplicate_rate=options["duplicate_rate"],
            corrupt_rate=options["corrupt_rate"],
            bytes_per_s=options["slow"],
        )
    except ValueError as error:
        raise CommandError(f"simulate: {error}") from error
    return DeviceOptions(
        address=Address(options["host"], options["port"]),
        tls=client_tls(ca),
        state=options["state"] / BUFFERS,
        faults=faults,
        skew_ms=options["skew"] * 1_000,
        drift_ppm=options["drift"],
        reboot_every_s=options["reboot_every"],
        firmware=simulated_firmware.firmware_options(
            options, firmware_keys, own=FAULTS if options["demo"] else simulated_firmware.NO_OWN
        ),
    )


async def _run(cast: Cast, device_options: DeviceOptions, options: dict[str, Any]) -> Summary:
    fleet = Fleet(
        cast.members, device_options, seed=options["seed"], sites=list(cast.sites.values())
    )
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()

    def stop() -> None:
        stopped.set()
        fleet.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    snapshots = options["state"] / SNAPSHOTS if options["demo"] else None
    log.info("%d devices, to %s port %d", len(cast.members), options["host"], options["port"])
    keeping = asyncio.create_task(_keep(cast, snapshots)) if snapshots else None
    asking = asyncio.gather(
        *(
            device.run(stopped)
            for device in simulated_http.devices(cast.over_http, options["state"], NO_UPDATE_FAULTS)
        )
    )
    try:
        return await fleet.run(seconds=options["seconds"])
    finally:
        stopped.set()
        await asking
        if keeping and snapshots:
            keeping.cancel()
            keyring.save(snapshots, casting.snapshots_of(cast))


async def _keep(cast: Cast, path: Path) -> None:
    """Save the state of the sites now and then, so that a restart has little to compute."""
    while True:
        await asyncio.sleep(SNAPSHOTS_EVERY_S)
        keyring.save(path, casting.snapshots_of(cast))


def _tenant(slug: str) -> Tenant:
    try:
        return Tenant.objects.get(slug=slug)
    except Tenant.DoesNotExist:
        raise CommandError(f"simulate: there is no tenant {slug}: give the slug of one") from None


def _fleet_keys(options: dict[str, Any], count: int, seed: int) -> dict[str, Any]:
    """Secrets of the fleet; with --tenant, missing devices are registered first."""
    path = options["devices"] or options["state"] / f"fleet-{seed}.json"
    keys = keyring.load(path)
    serials = casting.fleet_serials(count, seed)
    if options["tenant"] is None:
        missing = [serial for serial in serials if serial not in keys]
        if missing:
            raise CommandError(
                f"simulate: {path} has no secret of {missing[0]} and {len(missing) - 1} more: add "
                "--tenant SLUG to register them"
            )
        return keys
    wanted = [
        provision.WantedDevice(serial, f"Smart meter {serial}", casting.FLEET_TYPE, Placement.MAINS)
        for serial in serials
    ]
    _register(options["tenant"], f"Fleet {seed}", wanted, keys)
    keyring.save(path, keys)
    return keys


def _replay_keys(options: dict[str, Any], path: Path) -> dict[str, Any]:
    """Secrets of the devices that play a recording, registered first with --tenant."""
    if options["tenant"] is None:
        if options["devices"] is None:
            raise CommandError(
                "simulate: who shall play the recording? Give --tenant SLUG to register a device "
                "for it, or --devices FILE with the secrets of registered ones"
            )
        keys = keyring.load(options["devices"])
        if not keys:
            raise CommandError(f"simulate: {options['devices']} holds no devices")
        return keys
    name = path.name.split(".")[0]
    state = options["devices"] or options["state"] / f"replay-{provision.code_of(name)}.json"
    keys = keyring.load(state)
    wanted, played = provision.recorded_devices(name, load(path))
    _register(options["tenant"], f"Recording {name}", wanted, keys)
    for serial, entry in played.items():
        keys[serial] |= entry
    keyring.save(state, keys)
    return {serial: keys[serial] for serial in played}


def _register(
    slug: str, facility_name: str, wanted: list[provision.WantedDevice], keys: dict[str, Any]
) -> None:
    with open_scope(Scope(all_tenant_ids())):
        tenant = _tenant(slug)
        facility = provision.ensure_facility(
            tenant.pk, facility_name, kind=FacilityKind.SITE, time_zone=tenant.time_zone
        )
        evictions = provision.ensure_devices(facility, wanted, keys)
        transaction.on_commit(lambda: publish(evictions))


def publish(evictions: list[Eviction]) -> None:
    """Tell the bridges which credentials have changed."""
    if evictions:
        with Redis.from_url(settings.REDIS_URL) as redis:
            for eviction in evictions:
                redis.publish(eviction.channel, eviction.payload)

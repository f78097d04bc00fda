"""A roll-out to thousands of devices: how long, how many bytes, and what it costs everybody else.

All of the product on this machine: bridge, writer, live reader, Celery's worker and beat. Devices
report as ever, take a signed image in waves, restart and confirm, each over the real protocol. A
small fleet that somebody watches sends a sample a second meanwhile: latency is the time from a
sample's stamp to its publication to the viewers' processes, before the roll-out and during it. The
devices' own work shares the processors; it gives way to the servers' (`--niceness 0`: it does not),
as devices in the field take nothing from them. `ok`: every device runs the new image and has said
so once, no reading is missing, and no payload came wrong.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import psutil
import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings
from django.core.files import File
from django.db import connections
from django.utils import timezone
from redis.asyncio import Redis

from devices.benchmarks import ingest
from devices.benchmarks.fleet import FleetDevice
from devices.benchmarks.stack import Stack, StackError, open_stack
from devices.benchmarks.updates import UpdateOptions
from devices.benchmarks.watching import (
    Latencies,
    cpu_seconds,
    device_ids,
    end,
    line_of,
    live_beats,
    percentile_ms,
    phase,
    process_of,
    watched,
)
from devices.domain.selection import Selection
from devices.models import DeviceType
from devices.protocol import Manifest
from devices.simulator.image import build_image
from firmware.artifacts import store
from firmware.artifacts.signing import SignatureFile
from firmware.domain import key_operations, release_operations, rollout_operations
from firmware.domain.release_checks import Draft as ReleaseDraft
from firmware.domain.rollout_operations import Draft
from tenants.domain.operations import create_user, grant_membership
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

READY_S: Final = 900.0
CHECK_S: Final = 1.0
OLD, NEW = "1.0.0", "1.1.0"
TYPE: Final = "bench"
# Processes of the product: what they use is what the roll-out costs.
SERVERS: Final = ("bridge", "writer", "live", "worker", "beat", "redis", "postgres")
IN_ALL: Final = False


def add_arguments(parser: ArgumentParser) -> None:
    """Size of the roll-out, and what goes on beside it."""
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256 * 1024, help="bytes of the image")
    parser.add_argument("--live", type=int, default=50, help="devices that are watched meanwhile")
    parser.add_argument("--report", type=float, default=60.0, help="seconds between two frames")
    parser.add_argument("--before", type=float, default=20.0, help="seconds measured before it")
    parser.add_argument("--rate", type=int, default=0, help="bytes/s in all, 0: no limit")
    parser.add_argument("--downloads", type=int, default=500, help="at once, 0: no limit")
    parser.add_argument("--restart", type=float, default=20.0, help="seconds an update takes")
    parser.add_argument("--soak", type=int, default=1, help="seconds between two waves")
    parser.add_argument("--niceness", type=int, default=19, help="of the devices that update")
    parser.add_argument("--most", type=float, default=3_600.0, help="give up after so many seconds")


@dataclass(slots=True)
class Measured:
    """What was seen while the roll-out ran."""

    seconds: float = 0.0
    cpu_s: dict[str, float] = field(default_factory=dict)
    rss_mb: dict[str, float] = field(default_factory=dict)
    frames: tuple[int, int] = (0, 0)  # stored when it began and when it ended
    states: dict[str, int] = field(default_factory=dict)
    waves_s: list[float] = field(default_factory=list)


def run(options: Namespace) -> dict[str, object]:
    """Measure once."""
    image = build_image(NEW, device_type=TYPE, size=options.size)
    with open_stack() as stack, _stored(image):
        devices = ingest.register_many(options.devices + options.live, 8)
        key = Ed25519PrivateKey.generate()
        rollout_id = _prepare(options, key, image, devices[: options.devices])
        stack.start_writer()
        # All devices come from one address here.
        stack.start_bridge("bridge", "--max-connections-per-address", "20000")
        stack.manage("live", "run_live")
        stack.wait("live", partial(live_beats, stack))
        _start_celery(stack)
        return uvloop.run(_measure(stack, options, key, devices, rollout_id))


@contextmanager
def _stored(image: bytes) -> Iterator[None]:
    """The store is that of this copy, which the worker reads: nothing is left in it."""
    digest = hashlib.sha256(image).hexdigest()
    known = store.exists(digest)
    try:
        yield
    finally:
        if not known and store.exists(digest):
            store.remove(digest)


def _start_celery(stack: Stack) -> None:
    celery = [sys.executable, "-m", "celery", "--app", "portal", "--quiet"]
    stack.start("worker", [*celery, "worker", "--concurrency", "2", "--without-gossip"])
    stack.start("beat", [*celery, "beat", "--schedule", str(stack.folder / "celery-beat")])


def _prepare(
    options: Namespace, key: Ed25519PrivateKey, image: bytes, devices: list[FleetDevice]
) -> int:
    """A release that a second person approved, and a roll-out of it that has not started."""
    tenant = Tenant.objects.using("owner").get(slug="benchmark")
    with open_scope(Scope((tenant.pk,))):
        people = []
        for name in ("maker", "approver"):
            user = create_user(email=f"{name}@example.com", password=None)
            grant_membership(tenant_id=tenant.pk, user_id=user.pk, role=Role.ADMIN, actor_id=None)
            people.append(user.pk)
        maker, approver = people
        pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key_operations.add_key(tenant_id=tenant.pk, name="Benchmark", pem=pem, actor_id=maker)
        release = _release(tenant.pk, key, image, maker)
        release_operations.approve_release(
            release_id=release, actor_id=approver, now=timezone.now()
        )
        ids = device_ids()
        chosen = tuple(ids[device.serial] for device in devices)
        draft = Draft(
            "Benchmark",
            release,
            Selection(devices=chosen).to_json(),
            {
                "waves": [{"percent": 1}, {"percent": 10}, {"percent": 100}],
                "soak_s": options.soak,
                "success_percent": 100,
                "max_downloads": options.downloads or None,
                "bytes_per_s": options.rate or None,
            },
        )
        row = rollout_operations.create(tenant_id=tenant.pk, draft=draft, actor_id=maker)
        rollout_operations.approve(rollout_id=row.pk, now=timezone.now(), actor_id=approver)
        return row.pk


def _release(tenant_id: int, key: Ed25519PrivateKey, image: bytes, actor_id: int) -> int:
    manifest = Manifest(TYPE, (), NEW, hashlib.sha256(image).digest(), len(image))
    signed = SignatureFile.make(key, manifest).dump().encode()
    draft = ReleaseDraft(
        device_type_id=DeviceType.objects.get(code=TYPE).pk,
        image=File(io.BytesIO(image), name="image.bin"),
        signature=File(io.BytesIO(signed), name="image.json"),
    )
    row = release_operations.create_release(tenant_id=tenant_id, draft=draft, actor_id=actor_id)
    return row.pk


async def _measure(
    stack: Stack,
    options: Namespace,
    key: Ed25519PrivateKey,
    devices: list[FleetDevice],
    rollout_id: int,
) -> dict[str, object]:
    ids = await asyncio.to_thread(_ids)
    updating, live = devices[: options.devices], devices[options.devices :]
    common: dict[str, Any] = {
        "port": stack.bridge_port,
        "ca": str(settings.TLS_DIR / "ca.pem"),
        "key": key.public_key().public_bytes_raw().hex(),
        "image": hashlib.sha256(b"before").hexdigest(),
        "version": OLD,
    }
    fleet = UpdateOptions(
        devices=updating, report_s=options.report, restart_s=options.restart, **common
    )
    viewed = UpdateOptions(devices=live, report_s=1.0, samples=1, **common)
    latencies = Latencies()
    generator = "devices.benchmarks.updates"
    async with (
        process_of(
            stack, generator, asdict(fleet), open_end=True, niceness=options.niceness
        ) as reporting,
        process_of(stack, generator, asdict(viewed), open_end=True) as watching,
        Redis.from_url(stack.environment["REDIS_URL"]) as redis,
        watched(redis, [ids[device.serial] for device in live], latencies),
    ):
        async with asyncio.timeout(READY_S):
            for process in (reporting, watching):
                if await line_of(process) != b"ready":
                    raise StackError(f"the devices were not let in: {stack.tail('bridge')}")
        await phase(options.before, latencies, latencies.before)
        latencies.now = latencies.during
        measured = await _roll_out(stack, options, rollout_id)
        latencies.now = None
        told = await end(watching)
        got = await end(reporting)
    return _result(options, measured, got, told, latencies, await asyncio.to_thread(_outcome))


async def _roll_out(stack: Stack, options: Namespace, rollout_id: int) -> Measured:
    """Start it, and wait until it is over."""
    measured = Measured()
    cpu = await asyncio.to_thread(_cpu_seconds, stack)
    frames = await asyncio.to_thread(_frames)
    begun = time.monotonic()
    await _start(stack, rollout_id)
    done = 0
    while time.monotonic() - begun < options.most:
        await asyncio.sleep(CHECK_S)
        state, waves, measured.states = await asyncio.to_thread(_progress, rollout_id)
        if waves > done:
            measured.waves_s += [round(time.monotonic() - begun, 1)] * (waves - done)
            done = waves
        for name, used in _resident_mb(stack).items():
            measured.rss_mb[name] = max(measured.rss_mb.get(name, 0.0), used)
        if state != "running":
            break
    measured.seconds = time.monotonic() - begun
    after = await asyncio.to_thread(_cpu_seconds, stack)
    measured.cpu_s = {
        name: round(after[name] - cpu.get(name, 0.0), 2) for name in SERVERS if name in after
    }
    measured.frames = (frames, await asyncio.to_thread(_frames))
    return measured


def _cpu_seconds(stack: Stack) -> dict[str, float]:
    """Processor time so far of each server, with the processes that the worker has made."""
    used = cpu_seconds(stack)
    for child in psutil.Process(stack.processes["worker"].pid).children(recursive=True):
        times = child.cpu_times()
        used["worker"] += times.user + times.system
    return used


def _resident_mb(stack: Stack) -> dict[str, float]:
    """Of each server; the worker with the processes that it has made, whose memory is shared."""
    used: dict[str, float] = {}
    for name, process in stack.processes.items():
        if name in SERVERS:
            with suppress(psutil.NoSuchProcess):
                own = psutil.Process(process.pid)
                family = [own, *own.children(recursive=True)]
                used[name] = round(sum(one.memory_info().rss for one in family) / 1e6, 1)
    return used


async def _start(stack: Stack, rollout_id: int) -> None:
    """Start the roll-out in a process of its own, as a page does: this one takes the latencies."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "manage.py", "shell", "--verbosity", "0", "--command"),
        f"from firmware.benchmarks import rollout; rollout.start({rollout_id})",
        cwd=settings.BASE_DIR,
        env=stack.environment,
    )
    if await process.wait():
        raise StackError("the roll-out was not started")


def start(rollout_id: int) -> None:
    """Start a roll-out of the benchmark."""
    tenant = Tenant.objects.using("owner").get(slug="benchmark")
    with open_scope(Scope((tenant.pk,))):
        rollout_operations.start(rollout_id=rollout_id, now=timezone.now(), actor_id=None)


def _rows(query: str, *values: int) -> list[tuple[Any, ...]]:
    try:
        with connections["owner"].cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall())
    finally:
        connections.close_all()  # those of this thread


def _ids() -> dict[str, int]:
    return dict(_rows("SELECT serial, id FROM devices_device"))


def _frames() -> int:
    return int(_rows("SELECT count(*) FROM telemetry_frame")[0][0])


def _progress(rollout_id: int) -> tuple[str, int, dict[str, int]]:
    """State of the roll-out, waves that are done, targets by state."""
    state = _rows("SELECT state FROM firmware_rollout WHERE id = %s", rollout_id)[0][0]
    waves = _rows(
        "SELECT count(*) FROM firmware_rolloutwave WHERE rollout_id = %s AND state = 'done'",
        rollout_id,
    )[0][0]
    states = _rows(
        "SELECT state, count(*) FROM firmware_rollouttarget WHERE rollout_id = %s GROUP BY 1",
        rollout_id,
    )
    return state, int(waves), dict(states)


def _outcome() -> dict[str, int]:
    """What the database holds of the devices at the end."""
    versions = dict(
        _rows("SELECT firmware_version, count(*) FROM device_link GROUP BY firmware_version")
    )
    (row,) = _rows(
        "SELECT count(*), count(DISTINCT (device_id, sequence)),"
        " (SELECT count(*) FROM telemetry_quarantine),"
        " (SELECT count(*) FROM (SELECT FROM firmware_rollouttarget WHERE state = 'succeeded'"
        "   GROUP BY device_id HAVING count(*) > 1) AS twice) FROM telemetry_frame"
    )
    names = ("stored", "distinct", "quarantined", "updated_twice")
    return {**dict(zip(names, row, strict=True)), "running_new": versions.get(NEW, 0)}


def _result(
    options: Namespace,
    measured: Measured,
    got: dict[str, Any],
    told: dict[str, Any],
    latencies: Latencies,
    outcome: dict[str, int],
) -> dict[str, object]:
    confirmed = measured.states.get("succeeded", 0)
    before, during = (
        percentile_ms(latencies.before, 99),
        percentile_ms(latencies.during, 99),
    )
    stored = measured.frames[1] - measured.frames[0]
    return {
        "ok": confirmed == outcome["running_new"] == got["confirmed"] == options.devices
        and got["wrong"] == got["unsigned"] == got["refused"] == told["refused"] == 0
        and outcome["updated_twice"] == outcome["quarantined"] == 0
        and outcome["stored"] == outcome["distinct"],
        "devices": options.devices,
        "size": options.size,
        "niceness": options.niceness,
        "confirmed": confirmed,
        "seconds": round(measured.seconds, 1),
        "waves_s": measured.waves_s,
        "bytes": got["bytes"],
        "mb_per_s": round(got["bytes"] / measured.seconds / 1e6, 2),
        "cpu_s": measured.cpu_s,
        "cpu_ms_per_device": round(
            sum(measured.cpu_s.values()) * 1_000 / max(1, options.devices), 1
        ),
        "rss_mb": measured.rss_mb,
        "live_p50_ms_before": percentile_ms(latencies.before, 50),
        "live_p50_ms_during": percentile_ms(latencies.during, 50),
        "live_p99_ms_before": before,
        "live_p99_ms_during": during,
        "live_frames": [len(latencies.before), len(latencies.during)],
        "frames_per_s": round(stored / measured.seconds, 1),
        "states": measured.states,
        "devices_say": {name: value for name, value in got.items() if not name.endswith("_at")},
        **outcome,
    }

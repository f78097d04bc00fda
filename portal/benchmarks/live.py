"""Latency from a sensor's sample to a viewer's socket, with many live devices and viewers.

Real bridge, queue, writer, live reader and web process on this machine, devices over TLS that send
one sample of eight channels every two seconds, viewers signed in by session cookie on a facility of
five devices each. A frame's latency is the time from its sample's timestamp, taken when it is sent,
to its bytes at the viewer. At the end every viewer must hold every frame of its devices once.
"""

from __future__ import annotations

import asyncio
import sys
import time
from argparse import ArgumentParser, Namespace
from collections import defaultdict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final

import numpy as np
import uvloop
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from redis import Redis

from devices.benchmarks.fleet import FleetDevice, FleetOptions
from devices.benchmarks.ingest import send
from devices.benchmarks.series import CHANNELS
from devices.benchmarks.stack import Stack, open_stack
from devices.domain.operations import (
    ChannelSpec,
    create_device_type,
    create_facility,
    register_device,
)
from devices.ingest import heartbeat
from devices.protocol.varint import read_uvarint
from portal.benchmarks.viewer import Viewer, viewing
from portal.feed.records import Kind, Record
from tenants.domain.operations import create_user, grant_membership
from tenants.models import Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

INTERVAL_S: Final = 2.0
DEVICES_EACH: Final = 5
VIEWERS_OF_A_USER: Final = 20
# After the last frame: for holes to be asked for and answered.
SETTLE_S: Final = 30.0
ASK_EVERY_S: Final = 0.25


def add_arguments(parser: ArgumentParser) -> None:
    """Size and length of the load."""
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1)


@dataclass
class Park:
    """What the benchmark registered: devices by facility, and sessions for the viewers."""

    devices: list[FleetDevice] = field(default_factory=list)
    facilities: list[int] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when a frame is missing at a viewer or was taken twice."""
    with open_stack() as stack:
        park = _register(options)
        stack.start_writer()
        stack.start_bridge()
        stack.manage("live", "run_live")
        stack.wait("live", partial(_beats, stack.redis, "live"))
        _start_web(stack)
        fleet = FleetOptions(
            port=stack.bridge_port,
            ca=str(settings.TLS_DIR / "ca.pem"),
            devices=park.devices,
            samples=1,
            seconds=options.seconds,
            interval_s=INTERVAL_S,
            seed=options.seed,
        )
        before = stack.cpu_seconds()
        watched = uvloop.run(_watch(stack, park, fleet, options.viewers))
        after = stack.cpu_seconds()
        cpu = {name: round(after[name] - before.get(name, 0.0), 2) for name in sorted(after)}
        return {**_result(options, watched), "cpu_s": cpu}


def _register(options: Namespace) -> Park:
    """A tenant with a facility for each viewer, its devices, and signed-in users."""
    tenant = Tenant.objects.using("owner").create(
        kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
    )
    park = Park()
    with open_scope(Scope((tenant.pk,))):
        device_type = create_device_type(
            tenant_id=tenant.pk,
            code="bench",
            name="Benchmark",
            channels=[
                ChannelSpec(
                    number=number,
                    key=channel.key,
                    name=channel.key,
                    quantity=channel.quantity,
                    resolution=Decimal(channel.resolution),
                    minimum=Decimal(channel.minimum),
                    maximum=Decimal(channel.maximum),
                )
                for number, channel in enumerate(CHANNELS)
            ],
            actor_id=None,
        )
        for number in range(options.devices):
            if number % DEVICES_EACH == 0:
                facility = create_facility(
                    tenant_id=tenant.pk, name=f"Site {number}", time_zone="UTC", actor_id=None
                )
                park.facilities.append(facility.pk)
            registered = register_device(
                tenant_id=tenant.pk,
                facility_id=facility.pk,
                device_type_id=device_type.pk,
                serial=f"bench-{number}",
                name=f"Bench {number}",
                actor_id=None,
            )
            park.devices.append(
                FleetDevice(
                    registered.device.serial, registered.secret.value.hex(), device_type.code
                )
            )
        for number in range(0, options.viewers, VIEWERS_OF_A_USER):
            user = create_user(email=f"viewer-{number}@example.com", password=None)
            grant_membership(tenant_id=tenant.pk, user_id=user.pk, role=Role.MANAGER, actor_id=None)
            park.cookies += [session_cookie(user)] * VIEWERS_OF_A_USER
    return park


def session_cookie(user: User) -> str:
    """A signed-in session of `user`, as `name=value`."""
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return f"{settings.SESSION_COOKIE_NAME}={session.session_key}"


def _beats(redis: Redis, name: str) -> bool:
    return any(beat.name == name for beat in heartbeat.alive(redis))


def _start_web(stack: Stack) -> None:
    port = str(stack.web_port)
    uvicorn = (sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", port)
    stack.start("web", [*uvicorn, "--lifespan", "off", "--no-access-log", "--log-level", "warning"])
    stack.wait("web", partial(answers, stack.web_port))


def answers(port: int) -> bool:
    """Whether somebody listens on the port."""

    async def attempt() -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()

    try:
        asyncio.run(attempt())
    except OSError:
        return False
    return True


@dataclass
class Watched:
    """What the viewers saw: latencies of live frames (ms), and their frames."""

    latencies: list[float] = field(default_factory=list)
    viewers: list[Viewer] = field(default_factory=list)
    sent: dict[str, Any] = field(default_factory=dict)
    filled: int = 0
    waiting_s: float = 0.0


async def _watch(stack: Stack, park: Park, fleet: FleetOptions, viewers: int) -> Watched:
    watched = Watched()

    def on_frame(record: Record) -> None:
        if record.kind is Kind.LIVE:
            _, at = read_uvarint(record.body, 0)
            sampled_ms, _ = read_uvarint(record.body, at)
            watched.latencies.append(time.time_ns() / 1e6 - sampled_ms)
        elif record.kind is Kind.FILL:
            watched.filled += 1

    async with AsyncExitStack() as sockets:
        for number in range(viewers):
            target = {"facility": park.facilities[number % len(park.facilities)]}
            opening = viewing(stack.web_port, park.cookies[number], target, on_frame)
            watched.viewers.append(await sockets.enter_async_context(opening))
        for viewer in watched.viewers:
            await asyncio.wait_for(viewer.ready.wait(), 30)
        asking = asyncio.create_task(_ask(watched.viewers))
        watched.sent = await asyncio.to_thread(send, stack, fleet)
        began = time.monotonic()
        expected = await asyncio.to_thread(_stored)
        for _ in range(int(SETTLE_S / ASK_EVERY_S)):
            if not _missing(watched.viewers, expected):
                break
            await asyncio.sleep(ASK_EVERY_S)
        watched.waiting_s = time.monotonic() - began
        asking.cancel()
    return watched


async def _ask(viewers: list[Viewer]) -> None:
    while True:
        for viewer in viewers:
            await viewer.ask()
        await asyncio.sleep(ASK_EVERY_S)


def _stored() -> dict[int, set[int]]:
    """The sequence numbers of every frame in the database, by device."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT device_id, array_agg(sequence) FROM telemetry_frame GROUP BY 1")
        rows = cursor.fetchall()
    connections["owner"].close()
    return {device_id: set(sequences) for device_id, sequences in rows}


def _missing(viewers: list[Viewer], expected: dict[int, set[int]]) -> int:
    return sum(
        len(expected.get(device_id, set()) - frames.bodies.keys())
        for viewer in viewers
        for device_id, frames in viewer.devices.items()
    )


def _result(options: Namespace, watched: Watched) -> dict[str, object]:
    expected = _stored()
    taken: dict[int, int] = defaultdict(int)
    repeated = 0
    for viewer in watched.viewers:
        for device_id, frames in viewer.devices.items():
            taken[device_id] += len(frames.bodies)
            repeated += sum(frames.arrivals.values()) - len(frames.arrivals)
    lost = _missing(watched.viewers, expected)
    latencies = np.array(watched.latencies or [0.0])
    p50, p99, worst = np.percentile(latencies, (50, 99, 100))
    complete = watched.sent["acknowledged"] == watched.sent["sent"] > 0
    return {
        "ok": complete and lost == repeated == 0 and len(watched.latencies) > 0,
        "devices": options.devices,
        "viewers": options.viewers,
        "seconds": options.seconds,
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(float(worst), 1),
        "sent": watched.sent["sent"],
        "frames": sum(taken.values()),
        "live": len(watched.latencies),
        "filled": watched.filled,
        "lost": lost,
        "duplicated": repeated,
        "coalesced": sum(viewer.lost for viewer in watched.viewers),
        "settled_s": round(watched.waiting_s, 2),
    }

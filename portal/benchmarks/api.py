"""Requests a second of the REST API: the latest values of a facility.

Real web processes (uvicorn) on this machine with the database and Redis of the benchmark, one
facility whose devices have stored frames, and callers that ask one request after the other over
connections that are kept. Everything counts, the callers too: they run on the same processors.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from django.db import connections

from devices.benchmarks.series import CHANNELS
from devices.benchmarks.stack import Stack, open_stack
from devices.domain.operations import (
    ChannelSpec,
    create_device_type,
    create_facility,
    register_device,
)
from devices.protocol.data import Block, encode_data
from portal.benchmarks import tokens
from portal.benchmarks.live import answers, session_cookie
from tenants.domain.operations import create_user, grant_membership
from tenants.models import Tenant, TenantKind
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

SAMPLES: Final = 30
STEP_MS: Final = 2000
WARM_UP_S: Final = 2.0
SCOPES: Final = ("facilities:read", "readings:read")


def add_arguments(parser: ArgumentParser) -> None:
    """Size and length of the load."""
    parser.add_argument("--devices", type=int, default=5, help="devices of the facility")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2, help="web processes")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--session", action="store_true", help="by session instead of a token")


@dataclass
class Load:
    """What the callers counted: milliseconds of each answer, and answers that were not right."""

    milliseconds: list[float] = field(default_factory=list)
    wrong: int = 0


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when an answer was not 200 with every value."""
    with open_stack() as stack:
        path, headers = _register(options)
        stack.environment["WATTLINE_API_REQUESTS_PER_MINUTE"] = "10000000"
        _start_web(stack, options.workers)
        values = options.devices * len(CHANNELS)
        size = asyncio.run(_check(stack.web_port, path, headers, values))
        asyncio.run(_load(stack.web_port, path, headers, options.connections, WARM_UP_S))
        before, began = stack.cpu_seconds(), time.monotonic()
        load = asyncio.run(
            _load(stack.web_port, path, headers, options.connections, options.seconds)
        )
        seconds, after = time.monotonic() - began, stack.cpu_seconds()
    p50, p95, p99 = np.percentile(load.milliseconds or [0.0], (50, 95, 99))
    return {
        "ok": load.wrong == 0 and len(load.milliseconds) > 0,
        "devices": options.devices,
        "values": values,
        "bytes": size,
        "credentials": "session" if options.session else "token",
        "connections": options.connections,
        "workers": options.workers,
        "seconds": round(seconds, 1),
        "requests": len(load.milliseconds),
        "requests_per_s": round(len(load.milliseconds) / seconds),
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "p99_ms": round(float(p99), 1),
        "wrong": load.wrong,
        # Not of the web processes: uvicorn's workers are children of the process that is known.
        "cpu_s": {name: round(after[name] - before[name], 2) for name in ("postgres", "redis")},
    }


def _register(options: Namespace) -> tuple[str, str]:
    """A facility whose devices have frames; returns the path to ask for and the caller's header."""
    tenant = Tenant.objects.using("owner").create(
        kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
    )
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
        facility = create_facility(tenant_id=tenant.pk, name="Site", time_zone="UTC", actor_id=None)
        device_ids = [
            register_device(
                tenant_id=tenant.pk,
                facility_id=facility.pk,
                device_type_id=device_type.pk,
                serial=f"bench-{number}",
                name=f"Bench {number}",
                actor_id=None,
            ).device.pk
            for number in range(options.devices)
        ]
        user = create_user(email="caller@example.com", password=None)
        grant_membership(tenant_id=tenant.pk, user_id=user.pk, role=Role.ANALYST, actor_id=None)
        third_party = tokens.application(tenant_id=tenant.pk, scopes=SCOPES)
        token, _ = tokens.issue(third_party, user_id=user.pk)
    for device_id in device_ids:
        _store_frames(tenant.pk, device_id)
    header = (
        f"Cookie: {session_cookie(user)}" if options.session else f"Authorization: Bearer {token}"
    )
    return f"/api/v1/facilities/{facility.pk}/latest/", header


def _store_frames(tenant_id: int, device_id: int, frames: int = 60) -> None:
    """The last hour of a device, as the writer would leave it."""
    generator = np.random.default_rng(device_id)
    step = timedelta(milliseconds=STEP_MS)
    first = datetime.now(UTC) - frames * SAMPLES * step
    with connections["ingest"].cursor() as cursor:
        for sequence in range(1, frames + 1):
            started = first + (sequence - 1) * SAMPLES * step
            ended = started + (SAMPLES - 1) * step
            times = int(started.timestamp() * 1000) + np.arange(SAMPLES) * STEP_MS
            values = 1000 + generator.integers(-50, 50, (len(CHANNELS), SAMPLES)).cumsum(axis=1)
            body = encode_data(sequence, [Block(times, tuple(range(len(CHANNELS))), values)])
            cursor.execute(
                "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                [ended, tenant_id, device_id, sequence, started, ended, values.size, body],
            )
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = %s WHERE device_id = %s",
            [frames, frames, ended, ended, device_id],
        )


def _start_web(stack: Stack, workers: int) -> None:
    uvicorn = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--lifespan", "off"]
    options = ["--port", str(stack.web_port), "--no-access-log", "--log-level", "warning"]
    stack.start("web", [*uvicorn, *options, "--workers", str(workers)])
    stack.wait("web", lambda: answers(stack.web_port))


async def _check(port: int, path: str, headers: str, values: int) -> int:
    """One answer looked at in full; returns its size in bytes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(_request(path, headers))
    status, body = await _answer(reader)
    writer.close()
    if status != 200 or len(json.loads(body)["values"]) != values:
        raise RuntimeError(f"the API answered {status}: {body[:500]!r}")
    return len(body)


async def _load(port: int, path: str, headers: str, count: int, seconds: float) -> Load:
    load = Load()
    request = _request(path, headers)

    # One after the other, as callers come: a web process that wakes takes all connections that
    # wait, so that of many at once one process would get nearly all, and the other nothing to do.
    connected = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await _answer(reader)
        connected.append((reader, writer))
    until = time.monotonic() + seconds

    async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while time.monotonic() < until:
            began = time.perf_counter()
            writer.write(request)
            status, body = await _answer(reader)
            load.milliseconds.append((time.perf_counter() - began) * 1000)
            load.wrong += status != 200 or not body.endswith(b"}]}")
        writer.close()

    await asyncio.gather(*(caller(*streams) for streams in connected))
    return load


def _request(path: str, headers: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n\r\n".encode()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of one answer with a Content-Length."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    status = int(head[9:12])
    at = head.index(b"content-length:") + 15
    return status, await reader.readexactly(int(head[at : head.index(b"\r\n", at)]))

"""Firmware to many devices at once: bytes a second, and what live readings suffer meanwhile.

One bridge, writer and live reader, and beside the devices that fetch as fast as they can, a live
fleet that sends one sample a second each. Latency is the time from a sample's stamp, taken when it
is sent, to its publication to the viewers' processes: first with the fetching devices connected and
silent, then while they fetch. Everything shares this machine's processors, the devices' own work
included.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import uvloop
from django.conf import settings
from django.db import connections
from redis.asyncio import Redis

from devices.benchmarks.downloads import DownloadOptions
from devices.benchmarks.fleet import FleetDevice, FleetOptions
from devices.benchmarks.fuzz import resident_mb
from devices.benchmarks.ingest import register_fleet
from devices.benchmarks.stack import Stack, StackError, open_stack
from devices.ingest import heartbeat, queue
from devices.ingest.artifacts import stage
from devices.protocol import Offer, encode_message

LIVE_INTERVAL_S: Final = 1.0
# At the beginning of each phase nothing is counted: leases open, downloads begin.
SETTLE_S: Final = 2.0
READY_S: Final = 180.0


def add_arguments(parser: ArgumentParser) -> None:
    """Size and length of the load."""
    parser.add_argument("--devices", type=int, default=500, help="devices that fetch")
    parser.add_argument("--live", type=int, default=100, help="devices that are watched meanwhile")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each phase")
    parser.add_argument("--size", type=int, default=256 * 1024, help="bytes of the payload")
    parser.add_argument("--chunk", type=int, default=4_096, help="bytes of a chunk")
    parser.add_argument("--outstanding", type=int, default=2, help="FETCHes of a device at once")
    parser.add_argument("--rate", type=int, default=0, help="bytes/s of each device, 0: no limit")


@dataclass(slots=True)
class Latencies:
    """How long readings were under way, in seconds, by phase."""

    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    now: list[float] | None = None


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when a payload came wrong, or a device was lost or refused."""
    with open_stack() as stack:
        devices = register_fleet(options.devices + options.live, 8)
        fetching, live = devices[: options.devices], devices[options.devices :]
        stack.start_writer()
        stack.start_bridge()
        stack.manage("live", "run_live")
        stack.wait("live", partial(_beats, stack))
        payload = secrets.token_bytes(options.size)
        digest = hashlib.sha256(payload).digest()
        stage(stack.redis, digest, payload, 3_600)
        return uvloop.run(_measure(stack, options, digest, fetching, live, _ids()))


def _beats(stack: Stack) -> bool:
    return any(beat.name == "live" for beat in heartbeat.alive(stack.redis))


async def _measure(
    stack: Stack,
    options: Namespace,
    digest: bytes,
    fetching: list[FleetDevice],
    live: list[FleetDevice],
    ids: dict[str, int],
) -> dict[str, object]:
    ca = str(settings.TLS_DIR / "ca.pem")
    phase_s = options.seconds + SETTLE_S
    downloads = DownloadOptions(
        stack.bridge_port, ca, fetching, phase_s + SETTLE_S, options.outstanding
    )
    fleet = FleetOptions(
        port=stack.bridge_port,
        ca=ca,
        devices=live,
        samples=1,
        seconds=2 * phase_s + SETTLE_S,
        interval_s=LIVE_INTERVAL_S,
    )
    latencies = Latencies()
    async with (
        _process(stack, "devices.benchmarks.downloads", asdict(downloads)) as fetchers,
        Redis.from_url(stack.environment["REDIS_URL"]) as redis,
        _watched(redis, [ids[device.serial] for device in live], latencies),
    ):
        async with asyncio.timeout(READY_S):
            if await _line(fetchers) != b"ready":
                raise StackError(f"the devices were not let in: {stack.tail('bridge')}")
        async with _process(stack, "devices.benchmarks.fleet", asdict(fleet)) as sending:
            await _phase(options.seconds, latencies, latencies.before)
            cpu = await asyncio.to_thread(_cpu_seconds, stack)
            await _offer(redis, options, digest, [ids[device.serial] for device in fetching])
            await _phase(options.seconds, latencies, latencies.during)
            used = await asyncio.to_thread(_cpu_seconds, stack)
            rss_mb = resident_mb(stack.processes["bridge"].pid)
            counters = await _counters(stack)
            got: dict[str, Any] = json.loads(await _line(fetchers))
            sent: dict[str, Any] = json.loads(await _line(sending))
    seconds = options.seconds + SETTLE_S
    cpu_s = {name: round(used[name] - cpu.get(name, 0.0), 2) for name in sorted(used)}
    before, during = _p99_ms(latencies.before), _p99_ms(latencies.during)
    return {
        "ok": got["wrong"] == got["lost"] == got["refused"] == sent["lost"] == sent["refused"] == 0
        and got["offered"] == options.devices
        and got["bytes"] > 0,
        "devices": options.devices,
        "live_devices": options.live,
        "size": options.size,
        "chunk": options.chunk,
        "rate": options.rate,
        "seconds": options.seconds,
        "mb_per_s": round(got["bytes"] / downloads.seconds / 1e6, 2),
        "chunks_per_s": round(got["chunks"] / downloads.seconds, 1),
        "whole": got["whole"],
        "wrong": got["wrong"],
        "not_now": got["not_now"],
        "slowest_s": round(got["slowest_s"], 2),
        "pieces_read": counters["piece_loads"],
        "live_p99_ms_before": before,
        "live_p99_ms_during": during,
        "live_p50_ms_before": _percentile_ms(latencies.before, 50),
        "live_p50_ms_during": _percentile_ms(latencies.during, 50),
        "live_frames": [len(latencies.before), len(latencies.during)],
        "bridge_rss_mb": round(rss_mb, 1),
        "cpu_s": cpu_s,
        "bridge_cpu": round(cpu_s["bridge"] / seconds, 2),
        "devices_cpu_s": got["cpu_s"],
    }


async def _phase(seconds: float, latencies: Latencies, into: list[float]) -> None:
    await asyncio.sleep(SETTLE_S)
    latencies.now = into
    await asyncio.sleep(seconds)
    latencies.now = None


async def _offer(redis: Redis, options: Namespace, digest: bytes, device_ids: list[int]) -> None:
    for device_id in device_ids:
        offer = Offer(
            update_id=device_id.to_bytes(16, "big"),
            manifest=b"bench",
            signature=bytes(64),
            payload_sha256=digest,
            payload_size=options.size,
            rate=options.rate,
            chunk=options.chunk,
        )
        message = queue.encode_downlink(device_id, encode_message(offer))
        await redis.publish(queue.DOWNLINK_CHANNEL, message)


@asynccontextmanager
async def _watched(
    redis: Redis, device_ids: list[int], latencies: Latencies
) -> AsyncIterator[None]:
    """Devices that somebody watches; the latency of each of their frames goes into `latencies`."""
    until = time.time() + 3_600
    await redis.zadd(queue.INTEREST_KEY, {str(device_id): until for device_id in device_ids})
    async with redis.pubsub() as listening:
        await listening.subscribe(*map(queue.live_channel, device_ids))
        task = asyncio.create_task(_listen(listening, latencies))
        try:
            yield
        finally:
            task.cancel()


async def _listen(listening: Any, latencies: Latencies) -> None:
    async for message in listening.listen():
        if message["type"] != "message" or latencies.now is None:
            continue
        (envelope,) = np.frombuffer(message["data"][: queue.ENVELOPE_BYTES], queue.ENVELOPE)
        if envelope["kind"] != queue.BRIDGE_EVENT:
            latencies.now.append(time.time() - int(envelope["end_ms"]) / 1_000)


@asynccontextmanager
async def _process(
    stack: Stack, module: str, options: dict[str, Any]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A generator in a process of its own, which has its options; ended when it is not needed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=settings.BASE_DIR,
        env=stack.environment,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(options).encode())
    process.stdin.close()
    try:
        yield process
    finally:
        if process.returncode is None:
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    line = (await process.stdout.readline()).strip()
    if not line:
        raise StackError("a process that plays devices ended without a result")
    return line


async def _counters(stack: Stack) -> dict[str, float]:
    """What the bridge says after its next heartbeat."""
    await asyncio.sleep(heartbeat.INTERVAL_S + 1)
    (beat,) = (beat for beat in heartbeat.alive(stack.redis) if beat.name == "bridge")
    return dict(beat.counters)


def _cpu_seconds(stack: Stack) -> dict[str, float]:
    try:
        return stack.cpu_seconds()
    finally:
        connections.close_all()  # those of this thread


def _ids() -> dict[str, int]:
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT serial, id FROM devices_device")
        return dict(cursor.fetchall())


def _percentile_ms(latencies: list[float], percent: int) -> float:
    return round(float(np.percentile(latencies, percent)) * 1_000, 1) if latencies else 0.0


def _p99_ms(latencies: list[float]) -> float:
    return _percentile_ms(latencies, 99)

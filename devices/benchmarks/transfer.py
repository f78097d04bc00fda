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
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from functools import partial
from typing import Any, Final

import uvloop
from django.conf import settings
from redis.asyncio import Redis

from devices.benchmarks.downloads import DownloadOptions
from devices.benchmarks.fleet import FleetDevice, FleetOptions
from devices.benchmarks.fuzz import resident_mb
from devices.benchmarks.ingest import register_fleet
from devices.benchmarks.stack import Stack, StackError, open_stack
from devices.benchmarks.watching import (
    SETTLE_S,
    Latencies,
    cpu_seconds,
    device_ids,
    line_of,
    live_beats,
    percentile_ms,
    phase,
    process_of,
    watched,
)
from devices.ingest import heartbeat, queue
from devices.ingest.artifacts import stage
from devices.protocol import Offer, encode_message

LIVE_INTERVAL_S: Final = 1.0
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


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when a payload came wrong, or a device was lost or refused."""
    with open_stack() as stack:
        devices = register_fleet(options.devices + options.live, 8)
        fetching, live = devices[: options.devices], devices[options.devices :]
        stack.start_writer()
        stack.start_bridge()
        stack.manage("live", "run_live")
        stack.wait("live", partial(live_beats, stack))
        payload = secrets.token_bytes(options.size)
        digest = hashlib.sha256(payload).digest()
        stage(stack.redis, digest, payload, 3_600)
        return uvloop.run(_measure(stack, options, digest, fetching, live, device_ids()))


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
        process_of(stack, "devices.benchmarks.downloads", asdict(downloads)) as fetchers,
        Redis.from_url(stack.environment["REDIS_URL"]) as redis,
        watched(redis, [ids[device.serial] for device in live], latencies),
    ):
        async with asyncio.timeout(READY_S):
            if await line_of(fetchers) != b"ready":
                raise StackError(f"the devices were not let in: {stack.tail('bridge')}")
        async with process_of(stack, "devices.benchmarks.fleet", asdict(fleet)) as sending:
            await phase(options.seconds, latencies, latencies.before)
            cpu = await asyncio.to_thread(cpu_seconds, stack)
            await _offer(redis, options, digest, [ids[device.serial] for device in fetching])
            await phase(options.seconds, latencies, latencies.during)
            used = await asyncio.to_thread(cpu_seconds, stack)
            rss_mb = resident_mb(stack.processes["bridge"].pid)
            counters = await _counters(stack)
            got: dict[str, Any] = json.loads(await line_of(fetchers))
            sent: dict[str, Any] = json.loads(await line_of(sending))
    seconds = options.seconds + SETTLE_S
    cpu_s = {name: round(used[name] - cpu.get(name, 0.0), 2) for name in sorted(used)}
    before, during = percentile_ms(latencies.before, 99), percentile_ms(latencies.during, 99)
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
        "live_p50_ms_before": percentile_ms(latencies.before, 50),
        "live_p50_ms_during": percentile_ms(latencies.during, 50),
        "live_frames": [len(latencies.before), len(latencies.during)],
        "bridge_rss_mb": round(rss_mb, 1),
        "cpu_s": cpu_s,
        "bridge_cpu": round(cpu_s["bridge"] / seconds, 2),
        "devices_cpu_s": got["cpu_s"],
    }


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


async def _counters(stack: Stack) -> dict[str, float]:
    """What the bridge says after its next heartbeat."""
    await asyncio.sleep(heartbeat.INTERVAL_S + 1)
    (beat,) = (beat for beat in heartbeat.alive(stack.redis) if beat.name == "bridge")
    return dict(beat.counters)

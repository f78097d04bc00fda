"""The bridge under fuzzing: no crash, bounded memory, healthy devices go on as if nothing was.

Hostile peers attack the port of a bridge for a time (`hostile.py`), while a healthy fleet sends a
frame a second each through the same bridge. At the end every healthy frame must be stored once, the
ledger must balance, and the bridge must be the process that it was, no larger than it was after its
first tenth of the time, give or take `MAX_GROWTH_MB`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvloop
from django.conf import settings
from django.db import connections
from redis.asyncio import Redis

from devices.benchmarks.fleet import Fleet, FleetDevice, FleetOptions, FleetResult
from devices.benchmarks.hostile import UPDATE_ID, Attack, AttackResult
from devices.benchmarks.ingest import count, register_fleet
from devices.benchmarks.stack import open_stack
from devices.ingest import queue
from devices.ingest.artifacts import stage
from devices.protocol import Offer, encode_message

HOSTILE: Final = 24
# Growth of the bridge's memory that is no leak: caches, allocator, bounded tables of addresses.
MAX_GROWTH_MB: Final = 48.0
# The firmware that is offered to the hostile devices; staged for longer than anybody fuzzes.
PAYLOAD: Final = bytes(range(256)) * 1_000
STAGED_S: Final = 86_400


def add_arguments(parser: ArgumentParser) -> None:
    """Length and size of the attack."""
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--devices", type=int, default=20, help="healthy devices")
    parser.add_argument("--seed", type=int, default=1)


@dataclass(slots=True)
class FuzzResult:
    """What came of it; memory in MB, the resident set of the bridge process."""

    attack: AttackResult
    healthy: FleetResult
    rss_start_mb: float
    rss_max_mb: float
    rss_end_mb: float


async def fuzz(
    *,
    port: int,
    ca: str,
    bridge_pid: int,
    hostile: list[FleetDevice],
    healthy: list[FleetDevice],
    seconds: float,
    seed: int,
    redis_url: str,
    hostile_ids: list[int],
) -> FuzzResult:
    """Attack and send at the same time. Raises FleetError when a healthy device is not let in.

    A firmware is offered to the hostile devices again and again, so that they may fetch, too.
    """
    fleet = Fleet(
        FleetOptions(port=port, ca=ca, devices=healthy, seconds=seconds, interval_s=1.0, seed=seed)
    )
    await fleet.connect()
    attack = Attack(port, ca, hostile, seed)
    sizes: list[float] = []
    tasks = [
        asyncio.create_task(_watch(bridge_pid, sizes)),
        asyncio.create_task(_offer(redis_url, hostile_ids)),
    ]
    await asyncio.gather(fleet.send(), attack.run(seconds))
    for task in tasks:
        task.cancel()
    await fleet.close()
    warm = sizes[len(sizes) // 10 :]
    return FuzzResult(attack.result, fleet.result, warm[0], max(warm), warm[-1])


async def _offer(redis_url: str, device_ids: list[int]) -> None:
    offer = Offer(UPDATE_ID, b"m", bytes(64), hashlib.sha256(PAYLOAD).digest(), len(PAYLOAD))
    message = encode_message(offer)
    async with Redis.from_url(redis_url) as redis:
        while True:
            for device_id in device_ids:
                payload = queue.encode_downlink(device_id, message)
                await redis.publish(queue.DOWNLINK_CHANNEL, payload)
            await asyncio.sleep(0.1)


async def _watch(pid: int, sizes: list[float]) -> None:
    while True:
        sizes.append(resident_mb(pid))
        await asyncio.sleep(0.5)


def resident_mb(pid: int) -> float:
    """Resident memory of a process (proc(5), statm); FileNotFoundError when it is gone."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000


def run(options: Namespace) -> dict[str, object]:
    """Fuzz once; `ok` is False when anything but the attackers suffered."""
    with open_stack() as stack:
        devices = register_fleet(HOSTILE + options.devices, 8)
        hostile, healthy = devices[:HOSTILE], devices[HOSTILE:]
        stage(stack.redis, hashlib.sha256(PAYLOAD).digest(), PAYLOAD, STAGED_S)
        stack.start_writer()
        stack.start_bridge()
        bridge = stack.processes["bridge"]
        result = uvloop.run(
            fuzz(
                port=stack.bridge_port,
                ca=str(settings.TLS_DIR / "ca.pem"),
                bridge_pid=bridge.pid,
                hostile=hostile,
                healthy=healthy,
                seconds=options.seconds,
                seed=options.seed,
                redis_url=stack.environment["REDIS_URL"],
                hostile_ids=ids_of([device.serial for device in hostile]),
            )
        )
        crashed = bridge.poll() is not None
        # A stopped bridge has delivered the last events, a stopped writer has stored them.
        codes = [stack.stop(name) for name in ("bridge", "writer")]
        stored, counted = stored_of([device.serial for device in healthy]), count()
    fleet, attack = result.healthy, result.attack
    ok = (
        not crashed
        and codes == [0, 0]
        and stored == fleet.sent == fleet.acknowledged > 0
        and fleet.refused == fleet.lost == fleet.rewinds == 0
        and counted["imbalances"] == 0
        and counted["stored"] == counted["distinct"]
        and result.rss_max_mb - result.rss_start_mb <= MAX_GROWTH_MB
    )
    return {
        "ok": ok,
        "seconds": options.seconds,
        "crashed": crashed,
        "exit_codes": codes,
        "connections": attack.connections,
        "messages": attack.messages,
        "bytes": attack.bytes,
        "unanswered": attack.unanswered,
        "answers": dict(sorted(attack.answers.items())),
        "rss_start_mb": round(result.rss_start_mb, 1),
        "rss_max_mb": round(result.rss_max_mb, 1),
        "rss_end_mb": round(result.rss_end_mb, 1),
        "healthy": {
            "devices": options.devices,
            "sent": fleet.sent,
            "acked": fleet.acknowledged,
            "stored": stored,
            "refused": fleet.refused,
            "lost": fleet.lost,
            "ack_ms": fleet.ack_ms,
        },
        "quarantined": counted["quarantined"],
        "imbalances": counted["imbalances"],
    }


def ids_of(serials: list[str]) -> list[int]:
    """The devices with these serials."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT id FROM devices_device WHERE serial = ANY(%s)", [serials])
        return [int(row[0]) for row in cursor.fetchall()]


def stored_of(serials: list[str]) -> int:
    """Frames in the database of the devices with these serials."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM telemetry_frame"
            " JOIN devices_device ON devices_device.id = device_id WHERE serial = ANY(%s)",
            [serials],
        )
        row = cursor.fetchone()
    return int(row[0]) if row else 0

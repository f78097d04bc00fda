"""Live readings while something else goes on: how long each was under way to its viewers.

For benchmarks. Latency is the time from a sample's stamp, taken when it is sent, to its publication
to the viewers' processes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from django.conf import settings
from django.db import connections
from redis.asyncio import Redis

from devices.benchmarks.stack import Stack, StackError
from devices.ingest import heartbeat, queue

# At the beginning of each phase nothing is counted: leases open, work begins.
SETTLE_S: Final = 2.0


@dataclass(slots=True)
class Latencies:
    """How long readings were under way, in seconds, by phase."""

    before: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    now: list[float] | None = None


def live_beats(stack: Stack) -> bool:
    """Whether the live reader runs."""
    return any(beat.name == "live" for beat in heartbeat.alive(stack.redis))


async def phase(seconds: float, latencies: Latencies, into: list[float]) -> None:
    """Gather latencies for so long, after a while to settle."""
    await asyncio.sleep(SETTLE_S)
    latencies.now = into
    await asyncio.sleep(seconds)
    latencies.now = None


@asynccontextmanager
async def watched(redis: Redis, device_ids: list[int], latencies: Latencies) -> AsyncIterator[None]:
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
async def process_of(
    stack: Stack,
    module: str,
    options: dict[str, Any],
    *,
    open_end: bool = False,
    niceness: int = 0,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A generator in a process of its own, which has its options; ended when it is not needed.

    With `open_end` it works until its standard input is closed, which is done by `end`. One that is
    nice (nice(1)) gets the processors only when the servers do not want them, as if it had others.
    """
    process = await asyncio.create_subprocess_exec(
        "nice",
        f"--adjustment={niceness}",
        sys.executable,
        "-m",
        module,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=settings.BASE_DIR,
        env=stack.environment,
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(options).encode() + b"\n")
    if not open_end:
        process.stdin.close()
    try:
        yield process
    finally:
        process.stdin.close()
        if process.returncode is None:
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def end(process: asyncio.subprocess.Process) -> dict[str, Any]:
    """End a generator that works until then; returns its result."""
    assert process.stdin is not None
    process.stdin.close()
    result: dict[str, Any] = json.loads(await line_of(process))
    return result


async def line_of(process: asyncio.subprocess.Process) -> bytes:
    """The next line that a process says; raises StackError when it has ended."""
    assert process.stdout is not None
    line = (await process.stdout.readline()).strip()
    if not line:
        raise StackError("a process that plays devices ended without a result")
    return line


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Processor time so far of everything that runs, from a thread of its own."""
    try:
        return stack.cpu_seconds()
    finally:
        connections.close_all()  # those of this thread


def device_ids() -> dict[str, int]:
    """Every device by its serial."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT serial, id FROM devices_device")
        return dict(cursor.fetchall())


def percentile_ms(latencies: Sequence[float], percent: int) -> float:
    """A percentile in milliseconds; 0 when nothing was measured."""
    return round(float(np.percentile(latencies, percent)) * 1_000, 1) if latencies else 0.0

"""A command to a whole fleet, a part of which is away: how long it takes, and what becomes of it.

One bridge, writer and dispatcher, and light devices that report, and answer each command. The
request names them all; those that are away are told as expired once the command's time is over.
Everything shares this machine's processors, the devices' own work included.
"""

from __future__ import annotations

import asyncio
import time
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, Final

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.db import connections

from devices.benchmarks.fleet import FleetDevice
from devices.benchmarks.fuzz import resident_mb
from devices.benchmarks.ingest import register_many
from devices.benchmarks.stack import Stack, StackError, open_stack
from devices.benchmarks.updates import UpdateOptions
from devices.benchmarks.watching import cpu_seconds, end, line_of, process_of
from devices.commands.machine import GRACE
from devices.domain.commands_operations import ask
from devices.domain.commands_policy import SYSTEM
from devices.domain.commands_queries import BatchEntry, batch_entry
from devices.domain.selection import Selection
from devices.ingest import heartbeat
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, open_scope

CONNECT_S: Final = 600.0
LOOK_S: Final = 0.5


def add_arguments(parser: ArgumentParser) -> None:
    """Size of the fleet, and how long the command waits for who is away."""
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--offline", type=float, default=5.0, help="per cent that are away")
    parser.add_argument("--lifetime", type=int, default=60, help="seconds until it expires")
    parser.add_argument("--report", type=float, default=60.0, help="seconds between two frames")


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False unless each device that is there did it exactly once."""
    with open_stack() as stack:
        devices = register_many(options.devices, 8)
        away = round(options.devices * options.offline / 100)
        stack.start_writer()
        # All of them come from this machine.
        stack.start_bridge("bridge", "--max-connections-per-address", str(options.devices + 1_000))
        stack.manage("dispatcher", "run_dispatcher")
        stack.wait("dispatcher", partial(_beats, stack))
        return uvloop.run(_measure(stack, options, devices[away:], away))


def _beats(stack: Stack) -> bool:
    return any(beat.name == "dispatcher" for beat in heartbeat.alive(stack.redis))


async def _measure(
    stack: Stack, options: Namespace, there: list[FleetDevice], away: int
) -> dict[str, object]:
    key = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    playing = UpdateOptions(
        port=stack.bridge_port,
        ca=str(settings.TLS_DIR / "ca.pem"),
        devices=there,
        key=key.hex(),
        image=bytes(32).hex(),
        report_s=options.report,
    )
    module = "devices.benchmarks.updates"
    async with process_of(stack, module, asdict(playing), open_end=True) as fleet:
        async with asyncio.timeout(CONNECT_S):
            if await line_of(fleet) != b"ready":
                raise StackError(f"the devices were not let in: {stack.tail('bridge')}")
            await _all_linked(len(there))
        before = await asyncio.to_thread(cpu_seconds, stack)
        began = time.monotonic()
        batch_id = await asyncio.to_thread(_ask, options)
        ask_s = time.monotonic() - began
        entry = await _end(batch_id, options)
        used = await asyncio.to_thread(cpu_seconds, stack)
        told = await asyncio.to_thread(_told, batch_id)
        dispatcher_mb = resident_mb(stack.processes["dispatcher"].pid)
        played = await end(fleet)
    counts = {state: count for state, count in entry.counts.items() if count}
    expected = {"succeeded": len(there), "expired": away}
    return {
        "ok": counts == {state: count for state, count in expected.items() if count}
        and played["obeyed"] == len(there)
        and played["lost"] == played["refused"] == 0,
        "devices": options.devices,
        "offline": away,
        "ask_s": round(ask_s, 2),
        **told,
        "counts": counts,
        "causes": dict(entry.causes),
        "obeyed": played["obeyed"],
        "obeyed_again": played["obeyed_again"],
        "frames_meanwhile": played["frames"],
        "cpu_s": {name: round(used[name] - before.get(name, 0.0), 2) for name in sorted(used)},
        "dispatcher_rss_mb": round(dispatcher_mb, 1),
        "devices_cpu_s": played["cpu_s"],
    }


async def _all_linked(devices: int) -> None:
    """Once the database knows that so many are connected."""
    while True:
        if await asyncio.to_thread(_connected) >= devices:
            return
        await asyncio.sleep(LOOK_S)


def _connected() -> int:
    try:
        with connections["owner"].cursor() as cursor:
            cursor.execute("SELECT count(*) FROM device_link WHERE connected")
            return int(cursor.fetchone()[0])
    finally:
        connections.close_all()


def _ask(options: Namespace) -> int:
    """Ask all of them; the batch."""
    try:
        with open_scope(Scope(all_tenant_ids())):
            asked = ask(
                SYSTEM,
                kind="set_reporting",
                arguments={"step_ms": 2_000, "samples": 30},
                selection=Selection(everything=True),
                expires_in_s=options.lifetime,
            )
        assert asked.batch is not None
        return asked.batch.pk
    finally:
        connections.close_all()


async def _end(batch_id: int, options: Namespace) -> BatchEntry:
    """The batch once nothing of it is open any more."""
    limit_s = options.lifetime + 2 * GRACE.total_seconds()
    async with asyncio.timeout(limit_s):
        while True:
            entry = await asyncio.to_thread(_entry, batch_id)
            if not entry.open:
                return entry
            await asyncio.sleep(LOOK_S)


def _entry(batch_id: int) -> BatchEntry:
    try:
        with open_scope(Scope(all_tenant_ids())):
            return batch_entry(batch_id=batch_id)
    finally:
        connections.close_all()


def _told(batch_id: int) -> dict[str, Any]:
    """When the answers came, in seconds after the request, and how often commands were sent."""
    try:
        with connections["owner"].cursor() as cursor:
            cursor.execute(
                "SELECT min(asked_at), min(answered_at), max(answered_at),"
                " percentile_disc(0.5) WITHIN GROUP (ORDER BY answered_at),"
                " max(state_at), sum(attempts) FROM devices_command WHERE batch_id = %s",
                [batch_id],
            )
            asked_at, first, last, median, ended, attempts = cursor.fetchone()
    finally:
        connections.close_all()

    def after(at: datetime) -> float:
        seconds: float = (at - asked_at).total_seconds()
        return round(seconds, 2)

    return {
        "first_answer_s": after(first),
        "median_answer_s": after(median),
        "last_answer_s": after(last),
        "all_ended_s": after(ended),
        "sent": attempts,
    }

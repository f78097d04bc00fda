"""Processor time of packing a day of roll-ups, in the pieces in which it is packed.

A day of quarters of eight channels, as the roller keeps them, comes piece by piece (of four hours);
after each of them all devices are packed, at last with their local day. What counts is the packer's
process and PostgreSQL together; the share of a core is that of a park of 10 000 devices.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from django.db import connection, connections

from devices.benchmarks.rollup import STEP_MS, measured, register_devices
from devices.benchmarks.series import CHANNELS, series
from devices.benchmarks.stack import open_stack
from devices.benchmarks.storage import maintain, pack_all
from devices.domain.packing import PIECE
from devices.domain.rollups import series_of
from devices.models import Device
from devices.telemetry import rollup_store
from devices.telemetry.rollup import Quarters, roll
from devices.telemetry.rollup_codec import DAY_MS, QUARTERS
from devices.telemetry.rollup_samples import Samples
from devices.telemetry.segment_store import milliseconds
from tenants.scope import Scope, open_scope

PARK: Final = 10_000
GOAL_SHARE: Final = 0.02
# Days of a meter that differ; the devices take them in turn.
PATTERNS: Final = 10


def add_arguments(parser: ArgumentParser) -> None:
    """How many devices, and what share of a core may be taken."""
    parser.add_argument("--devices", type=int, default=1_000, help="of eight channels each")
    parser.add_argument("--goal-share", type=float, default=GOAL_SHARE)


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when packing takes more than the goal or anything is missing."""
    pieces = timedelta(days=1) // PIECE
    with open_stack() as stack:
        devices = register_devices(options.devices)
        scope = Scope((devices[0].tenant_id,))
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        begin = today - timedelta(days=2)
        with open_scope(scope):
            patterns = [_day(devices[0], begin, seed) for seed in range(PATTERNS)]
            rollup_store.hold(connection, [device.pk for device in devices])
        spent = {"wall_s": 0.0, "roller": 0.0, "postgres": 0.0}
        for piece in range(pieces):
            start, end = begin + piece * PIECE, begin + (piece + 1) * PIECE
            with open_scope(scope):
                for place in range(0, len(devices), 100):
                    _keep(devices[place : place + 100], patterns, start, end)
            maintain("ANALYZE")
            took = measured(stack, lambda end=end: pack_all(scope, end))  # type: ignore[misc]
            spent = {name: spent[name] + took[name] for name in spent}
        rows, packed, days, size = _count()
    cpu_s = spent["roller"] + spent["postgres"]
    share = cpu_s * PARK / options.devices / timedelta(days=1).total_seconds()
    complete = (rows, packed, days) == (0, options.devices, options.devices)
    quarters = options.devices * len(CHANNELS) * QUARTERS
    return {
        "ok": complete and share <= options.goal_share,
        "devices": options.devices,
        "quarters": quarters,
        "rows_left": rows,
        "packed_days": packed,
        "local_days": days,
        "bytes_per_quarter": round(size / quarters, 2),
        "cpu_s": round(cpu_s, 2),
        "share_of_a_core_at_10000_devices": round(share, 4),
        "pack": {name: round(value, 2) for name, value in spent.items()},
    }


def _day(device: Device, begin: datetime, seed: int) -> Quarters:
    """The quarters of a day of a meter, as the roller computes them."""
    raw = series(seed, DAY_MS // STEP_MS, STEP_MS / 1000)
    count, length = raw.shape
    times = milliseconds(begin) + np.arange(length, dtype=np.int64) * STEP_MS
    of, zeros = np.repeat(np.arange(count), length), np.zeros(raw.size, np.int64)
    samples = Samples(of, np.tile(times, count), zeros, raw.ravel())
    return roll(samples, series_of([device.pk])[device.pk])


def _keep(
    devices: Sequence[Device], patterns: Sequence[Quarters], start: datetime, end: datetime
) -> None:
    """The quarters of [start, end) of some devices, as rows."""
    for device in devices:
        day = patterns[device.pk % len(patterns)]
        inside = (day.starts >= milliseconds(start)) & (day.starts < milliseconds(end))
        part = day.only(inside)
        rows = len(part.starts)
        rollup_store.keep(
            connection,
            part,
            tenants=np.full(rows, device.tenant_id),
            devices=np.full(rows, device.pk),
            channels=part.series,
        )


def _count() -> tuple[int, int, int, int]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM rollup_15m), count(*),"
            " (SELECT count(*) FROM rollup_1d), coalesce(sum(length(body)), 0)::bigint"
            " FROM rollup_packed"
        )
        row: Any = cursor.fetchone()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])

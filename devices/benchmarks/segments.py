"""Processor time of moving an hour of frames into segments.

Frames of a minute as the writer leaves them, a whole hour of each device, rolled up before. What
counts is the roller's process and PostgreSQL together; the share of a core is that of a park of
10 000 devices of eight channels which sample every two seconds.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import connections

from devices.benchmarks.rollup import (
    FRAME,
    SAMPLES,
    STEP_MS,
    measured,
    register_devices,
    store_frames,
)
from devices.benchmarks.series import CHANNELS, encode_pool
from devices.benchmarks.stack import open_stack
from devices.tasks import move_to_segments, roll_up

HOUR: Final = timedelta(hours=1)
PARK: Final = 10_000
GOAL_SHARE: Final = 0.2


def add_arguments(parser: ArgumentParser) -> None:
    """How many devices, and what share of a core may be taken."""
    parser.add_argument("--devices", type=int, default=1_000, help="of eight channels each")
    parser.add_argument("--goal-share", type=float, default=GOAL_SHARE)
    parser.add_argument("--seed", type=int, default=1)


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when moving takes more than the goal or a value is missing."""
    frames = HOUR // FRAME
    with open_stack() as stack:
        devices = register_devices(options.devices)
        pool = encode_pool(options.seed, len(CHANNELS), SAMPLES, STEP_MS)
        now = datetime.now(UTC)
        begin = now.replace(minute=0, second=0, microsecond=0) - 3 * HOUR
        store_frames(devices, pool, begin, range(1, frames + 1))
        rolled = measured(stack, roll_up)
        moved = measured(stack, move_to_segments)
        left, segments, values, size = _count()
    expected = options.devices * frames * SAMPLES * len(CHANNELS)
    cpu_s = moved["roller"] + moved["postgres"]
    share = cpu_s * PARK / options.devices / HOUR.total_seconds()
    return {
        "ok": left == 0 and values == expected and share <= options.goal_share,
        "devices": options.devices,
        "frames": options.devices * frames,
        "values": values,
        "segments": segments,
        "frames_left": left,
        "bytes_per_value": round(size / max(1, values), 3),
        "cpu_s": round(cpu_s, 2),
        "share_of_a_core_at_10000_devices": round(share, 3),
        "move": moved,
        "roll_up_of_the_hour": rolled,
    }


def _count() -> tuple[int, int, int, int]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM telemetry_frame), count(*),"
            " coalesce(sum(value_count), 0), coalesce(sum(length(body)), 0)"
            " FROM telemetry_segment"
        )
        row: Any = cursor.fetchone()
    return int(row[0]), int(row[1]), int(row[2]), int(row[3])

"""What corrections cost who reads: channels without any, and the same with one of each kind.

A device of eight channels which samples every two seconds, a day of it in segments; beside it
others, so that the tables are not empty. Asked in turn, so that what else the machine does falls on
all of them alike: what was measured alone, the same under corrections where there are none, then
where each channel has one. Processor time of the process and PostgreSQL's share of the wall clock
are not told apart: what counts is the time of an answer.
"""

from __future__ import annotations

import statistics
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connection

from devices.benchmarks.rollup import SAMPLES, STEP_MS, register_devices, store_frames
from devices.benchmarks.series import CHANNELS, encode_pool
from devices.benchmarks.stack import open_stack
from devices.domain.corrections_checks import Draft
from devices.domain.corrections_operations import make_correction, withdraw_correction
from devices.domain.rollups import roll_up
from devices.domain.segments import move
from devices.models import Channel, Correction, CorrectionWithdrawal, Device
from devices.models.correction import Kind
from devices.telemetry.corrected_reads import read_corrected
from devices.telemetry.reads import read_readings
from tenants.scope import Scope, open_scope

DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)
# Devices beside it, each with a correction that was withdrawn.
OTHERS: Final = 200
GOAL_RATIO: Final = 1.05


def add_arguments(parser: ArgumentParser) -> None:
    """How often each is asked, and how much dearer an answer without corrections may be."""
    parser.add_argument("--rounds", type=int, default=200, help="of each question")
    parser.add_argument("--goal-ratio", type=float, default=GOAL_RATIO, help="for a day")
    parser.add_argument("--seed", type=int, default=1)


def run(options: Namespace) -> dict[str, object]:
    """Measure; `ok` is False when channels without corrections cost more than the goal."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 3 * HOUR
    frames = DAY // timedelta(milliseconds=STEP_MS * SAMPLES)
    with open_stack():
        devices = register_devices(OTHERS + 1)
        device = devices[0]
        pool = encode_pool(options.seed, len(CHANNELS), SAMPLES, STEP_MS)
        store_frames([device], pool, end - DAY, range(1, frames + 1))
        with open_scope(Scope((device.tenant_id,))):
            while roll_up().crowded:
                pass
            while move(before=end + HOUR).crowded:
                pass
            for other in devices[1:]:
                _withdrawn(other)
            plain = {
                name: _measured(device, end - length, end, options.rounds)
                for name, length in (("hour", HOUR), ("day", DAY))
            }
            _correct(device, end)
            corrected = {
                name: _measured(device, end - length, end, options.rounds)
                for name, length in (("hour", HOUR), ("day", DAY))
            }
    return {
        "ok": plain["day"]["ratio"] <= options.goal_ratio,
        "channels": len(CHANNELS),
        "readings": {"hour": plain["hour"]["readings"], "day": plain["day"]["readings"]},
        "without_corrections": plain,
        "with_one_on_each_channel": corrected,
        "goal_ratio": options.goal_ratio,
    }


def _withdrawn(device: Device) -> None:
    now = datetime.now(UTC)
    row = Correction.objects.create(
        tenant_id=device.tenant_id,
        device=device,
        channel=0,
        kind=Kind.REMOVE,
        starts_at=now - DAY,
        ends_at=now - HOUR,
        reason="Benchmark",
    )
    CorrectionWithdrawal.objects.create(
        tenant_id=device.tenant_id, device=device, correction=row, reason="Benchmark"
    )


def _correct(device: Device, end: datetime) -> None:
    """Each channel is scaled for the whole day, one of them moved by a minute besides."""
    now = datetime.now(UTC)
    for channel in Channel.objects.filter(device=device, derived=False).order_by("number"):
        factor = Draft(channel.pk, Kind.SCALE, end - DAY, end, factor=Decimal("1.02"))
        make_correction(draft=factor, reason="Benchmark", now=now, actor_id=None)
    made = make_correction(
        draft=Draft(channel.pk, Kind.SHIFT, end - DAY, end, shift=timedelta(minutes=1)),
        reason="Benchmark",
        now=now,
        actor_id=None,
    )
    withdraw_correction(correction_id=made.pk, reason="Benchmark", actor_id=None)


def _measured(device: Device, start: datetime, end: datetime, rounds: int) -> dict[str, Any]:
    """Medians in ms of what was measured and of what counts, asked in turn."""

    def alone() -> int:
        list(Channel.objects.filter(device=device).values_list("device_id", "derived"))
        found = read_readings(connection, [device.pk], start, end, arrivals=False)
        return sum(len(one.counting()) for one in found[device.pk].values())

    def under() -> int:
        # As `read_series` does: what channels are says whether they were corrected.
        rows = Channel.objects.filter(device=device).values_list("device_id", "corrected")
        devices = {device_id for device_id, corrected in rows if corrected}
        found = read_corrected(connection, [device.pk], start, end, corrected_devices=devices)
        return sum(len(one.readings) for one in found[device.pk].values())

    readings = (alone(), under())
    assert readings[0] == readings[1]
    times: dict[Callable[[], int], list[float]] = {alone: [], under: []}
    for _ in range(rounds):
        for ask, taken in times.items():
            began = time.perf_counter()
            ask()
            taken.append((time.perf_counter() - began) * 1000)
    measured, corrected = (statistics.median(times[ask]) for ask in (alone, under))
    return {
        "readings": readings[0],
        "measured_ms": round(measured, 3),
        "corrected_ms": round(corrected, 3),
        "ratio": round(corrected / measured, 3),
    }

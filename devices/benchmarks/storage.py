"""`manage.py bench storage`: bytes on disk a value, measured on recordings of real meters.

Every recording with a step of 1 to 3 s is cut into frames of 30 samples by the device protocol, the
frames are stored as the writer leaves them, rolled up and moved into segments, the roll-ups packed
by day. Counted is what the database then holds for it, tables and indexes: segments, roll-ups,
cursors and ledger. A recording that is too short to fill its pages is stored for as many devices as
it takes; each is compressed by itself. Every value is read again and compared.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.db import connection, connections

from devices.benchmarks.stack import open_stack
from devices.benchmarks.wire import LossyError, count_values, cut, folder_of, messages_of, narrow
from devices.domain import packing, rollups, segments
from devices.domain.operations import (
    ChannelSpec,
    create_device_type,
    create_facility,
    register_device,
)
from devices.models import Device, Facility
from devices.protocol.data import Block, encode_data
from devices.simulator.recordings import NotARecording, RecordedDevice, read_recording
from devices.telemetry import reads
from devices.telemetry.schema import CHUNK_SCHEMA
from tenants.models import Tenant, TenantKind
from tenants.scope import Scope, open_scope

SAMPLES: Final = 30
FINEST_S, COARSEST_S = 1, 3
# Fewer than these do not tell what a value costs in a store of many: pages are 8 kB.
LEAST_VALUES: Final = 3_000_000
GOAL: Final = 0.6
_LIMIT: Final = Decimal(10**9)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
TABLES: Final = (
    "telemetry_segment", "telemetry_latest", "telemetry_frame", "rollup_15m", "rollup_packed",
    "rollup_1d", "rollup_progress",
    "rollup_dirty", "facility_15m", "device_cursor", "ledger_hour",
)  # fmt: skip

ROLLUPS: Final = ("rollup_15m", "rollup_packed", "rollup_1d", "facility_15m")


def add_arguments(parser: ArgumentParser) -> None:
    """The options of `bench storage`."""
    parser.add_argument(
        "--data",
        type=Path,
        default=None,
        help="folder of recordings (CSV or CSV.gz, searched with its sub-folders); "
        "default: the environment variable WATTLINE_DATA, else ../shared/data",
    )
    parser.add_argument(
        "--least-values", type=int, default=LEAST_VALUES, help="to store of each recording"
    )


def run(options: Namespace) -> dict[str, object]:
    """Measure every recording below the folder; raises LossyError when one does not read back.

    `recordings` maps a file to its bytes on disk a value, `mean` is their plain mean, `details`
    tells of each the number of values and devices, and what segments, roll-ups and the rest take.
    """
    folder = folder_of(options.data)
    details: dict[str, dict[str, float]] = {}
    for path in sorted({*folder.rglob("*.csv"), *folder.rglob("*.csv.gz")}):
        try:
            devices = read_recording(path)
        except NotARecording:
            continue
        step_s = round(float(np.median([device.step_ms for device in devices])) / 1000)
        if FINEST_S <= step_s <= COARSEST_S:
            name = path.relative_to(folder).as_posix().removesuffix(".gz").removesuffix(".csv")
            with open_stack():
                details[name] = _measure(devices, options.least_values)
    recordings = {name: found["bytes"] for name, found in details.items()}
    mean = round(sum(recordings.values()) / len(recordings), 4) if recordings else None
    return {
        "ok": mean is not None and mean <= GOAL,
        "data": str(folder),
        "samples_a_frame": SAMPLES,
        "recordings": recordings,
        "mean": mean,
        "goal": GOAL,
        "details": details,
    }


def _measure(recorded: Sequence[RecordedDevice], least: int) -> dict[str, float]:
    tenant = Tenant.objects.using("owner").create(
        kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
    )
    parts = [part for device in recorded for part in narrow(device)]
    frames = [_frames(part) for part in parts]
    once = sum(count_values(block) for some in frames for _, blocks in some for block in blocks)
    copies = max(1, -(-least // once))
    scope = Scope((tenant.pk,))
    with open_scope(scope):
        at = create_facility(tenant_id=tenant.pk, name="Benchmark", time_zone="UTC", actor_id=None)
        fleet = [
            _register(at, f"bench-{copy}-{place}", part)
            for copy in range(copies)
            for place, part in enumerate(parts)
        ]
    maintain("ANALYZE")
    empty = sizes()
    for place, device in enumerate(fleet):
        _store(device, frames[place % len(parts)])
    maintain("ANALYZE")
    roll_all(scope)
    for place, device in enumerate(fleet):
        if place < len(parts):
            _compare(scope, device, frames[place])
    # What rewriting left behind is given back by autovacuum in operation.
    maintain("VACUUM FULL")
    full = sizes()
    values = once * copies
    used = {name: (full[name] - empty[name]) / values for name in TABLES}
    segment = used["telemetry_segment"]
    rolled = sum(used[name] for name in ROLLUPS)
    return {
        "bytes": round(sum(used.values()), 4),
        "segments": round(segment, 4),
        "rollups": round(rolled, 4),
        "rest": round(sum(used.values()) - segment - rolled, 4),
        "values": values,
        "devices": len(fleet),
    }


def _register(at: Facility, serial: str, recorded: RecordedDevice) -> Device:
    kind = create_device_type(
        tenant_id=at.tenant_id,
        code=serial,
        name=serial,
        step_ms=max(1, recorded.step_ms),
        channels=[
            ChannelSpec(number, f"channel_{number}", name[:80] or "Channel", "active_power",
                        resolution, -_LIMIT, _LIMIT)
            for group in recorded.groups
            for number, name, resolution in zip(
                group.numbers, group.names, group.resolutions, strict=True
            )
        ],
        actor_id=None,
    )  # fmt: skip
    return register_device(
        tenant_id=at.tenant_id,
        facility_id=at.pk,
        device_type_id=kind.pk,
        serial=serial,
        name=serial,
        actor_id=None,
    ).device


def _frames(recorded: RecordedDevice) -> list[tuple[int, list[Block]]]:
    cuts = [cut(recorded, SAMPLES)]
    numbered = messages_of(cuts, range(len(cuts[0])))
    return [(number, blocks) for number, (_, blocks) in enumerate(numbered, start=1) if blocks]


def _store(device: Device, frames: Sequence[tuple[int, list[Block]]]) -> None:
    """Frames, cursor and ledger as the writer commits them: each arrives when it is complete."""

    def rows() -> Iterator[tuple[object, ...]]:
        for number, blocks in frames:
            start, end = _bounds(blocks)
            yield (
                end, device.tenant_id, device.pk, number, start, end,
                sum(map(count_values, blocks)), encode_data(number, blocks),
            )  # fmt: skip

    hours: dict[datetime, list[int]] = {}
    for _, blocks in frames:
        hour = _bounds(blocks)[1].replace(minute=0, second=0, microsecond=0)
        hours.setdefault(hour, []).append(sum(map(count_values, blocks)))
    last = max(_bounds(blocks)[1] for _, blocks in frames)
    with connections["owner"].cursor() as cursor:
        with cursor.copy(
            "COPY telemetry_frame (received_at, tenant_id, device_id, sequence, started_at,"
            " ended_at, value_count, frame) FROM STDIN"
        ) as copy:
            for row in rows():
                copy.write_row(list(row))
        cursor.executemany(
            "INSERT INTO ledger_hour (device_id, hour, tenant_id, stored, stored_values)"
            " VALUES (%s, %s, %s, %s, %s)",
            [
                [device.pk, hour, device.tenant_id, len(counts), sum(counts)]
                for hour, counts in hours.items()
            ],
        )
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = %s WHERE device_id = %s",
            [frames[-1][0], frames[-1][0], last, last, device.pk],
        )


def _bounds(blocks: Iterable[Block]) -> tuple[datetime, datetime]:
    start = min(int(block.times[0]) for block in blocks)
    end = max(int(block.times[-1]) for block in blocks)
    return _moment(start), _moment(end)


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def roll_all(scope: Scope) -> None:
    """Roll up all that has come, and move all of it into segments, old or not."""
    before = datetime.now(UTC)
    for step in (_roll_once, lambda after: _move_once(after, before)):
        while True:
            worked, after = False, 0
            while True:
                with open_scope(scope):
                    last, frames = step(after)
                worked |= frames > 0
                if last is None:
                    break
                after = last
            if not worked:
                break
    with open_scope(scope):
        while rollups.sum_facilities():
            pass
    segments.drop_empty_chunks(before=before)
    pack_all(scope)


def pack_all(scope: Scope, before: datetime | None = None) -> None:
    """Pack the roll-ups that are over (or began before an instant), and keep their days."""
    before = before or packing.packed_before(datetime.now(UTC))
    worked = True
    while worked:
        worked, after = False, 0
        while True:
            with open_scope(scope):
                packed = packing.pack(before=before, after=after)
            worked |= packed.crowded
            if packed.last is None:
                break
            after = packed.last
    device_id: int | None = 0
    while device_id is not None:
        with open_scope(scope):
            device_id = packing.recount_days(before=before, after=device_id)
    packing.drop_empty_chunks(before=before)


def _roll_once(after: int) -> tuple[int | None, int]:
    rolled = rollups.roll_up(after=after)
    return rolled.last, rolled.frames


def _move_once(after: int, before: datetime) -> tuple[int | None, int]:
    moved = segments.move(before=before, after=after)
    return moved.last, moved.frames


def _compare(scope: Scope, device: Device, frames: Sequence[tuple[int, list[Block]]]) -> None:
    """Every value as it was sent; of several at one millisecond the last one counts."""
    sent: dict[int, dict[int, int]] = {}
    for _, blocks in frames:
        for block in blocks:
            for row, channel in enumerate(block.channels):
                times, values = block.times, block.values[row]
                if block.present is not None:
                    times, values = times[block.present[row]], values[block.present[row]]
                sent.setdefault(channel, {}).update(
                    zip(times.tolist(), values.tolist(), strict=True)
                )
    first = min(_bounds(blocks)[0] for _, blocks in frames)
    last = max(_bounds(blocks)[1] for _, blocks in frames)
    with open_scope(scope):
        found = reads.read_readings(connection, [device.pk], first, last + timedelta(seconds=1))
    for channel, readings in sent.items():
        kept = found[device.pk][channel].counting()
        if dict(zip(kept.times.tolist(), kept.raw.tolist(), strict=True)) != readings:
            raise LossyError(f"channel {channel} of {device.serial} is not what was sent")


def maintain(what: str) -> None:
    """A command (VACUUM, ANALYZE, …) for every table that holds readings."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks"
        )
        names = [*TABLES, *(name for (name,) in cursor.fetchall())]
        cursor.execute(f"{what} {', '.join(names)}")


def sizes() -> dict[str, int]:
    """Bytes of each table with its indexes, its TOAST and, of a hypertable, its chunks."""
    found: dict[str, int] = {}
    with connections["owner"].cursor() as cursor:
        for name in TABLES:
            cursor.execute("SELECT pg_total_relation_size(%s)", [name])
            row: Any = cursor.fetchone()
            found[name] = int(row[0])
        cursor.execute(
            "SELECT hypertable_name, sum(pg_total_relation_size("
            "format('%%I.%%I', chunk_schema, chunk_name)::regclass))::bigint"
            " FROM timescaledb_information.chunks WHERE chunk_schema = %s GROUP BY 1",
            [CHUNK_SCHEMA],
        )
        for name, size in cursor.fetchall():
            if name in found:
                found[name] += int(size)
    return found

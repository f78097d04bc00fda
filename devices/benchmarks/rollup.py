"""Processor time of a run of the roller over two minutes of frames, and of the power's refresh.

Written as the writer leaves them: frames of a minute, the quarter of an hour half over, so that a
run reads more than what is new, as it does in operation. What counts is the roller's process and
PostgreSQL together.
"""

from __future__ import annotations

import hashlib
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db import connections

from devices.benchmarks.series import CHANNELS, POOL, encode_pool
from devices.benchmarks.stack import Stack, open_stack
from devices.domain.operations import ChannelSpec, create_device_type, create_facility
from devices.models import Channel, Device, DeviceState, DeviceType, Facility, Placement
from devices.protocol.data import data_body
from devices.tasks import refresh_power, roll_up
from devices.telemetry.rollup_reads import quarter_of
from tenants.models import Tenant, TenantKind
from tenants.scope import Scope, open_scope

SAMPLES: Final = 30
STEP_MS: Final = 2_000
FRAME: Final = timedelta(minutes=1)
DEVICES_EACH: Final = 20  # of a facility
# The middle of a quarter of an hour: what a run meets on average.
BEFORE: Final = 6
NEW: Final = 2
GOAL_S: Final = 60.0
_CHUNK: Final = 5_000


def add_arguments(parser: ArgumentParser) -> None:
    """How many devices, and how much time may be taken."""
    parser.add_argument("--devices", type=int, default=10_000, help="of eight channels each")
    parser.add_argument("--goal-s", type=float, default=GOAL_S, help="processor seconds of a run")
    parser.add_argument("--seed", type=int, default=1)


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when a run takes longer than the goal or a row is missing."""
    with open_stack() as stack:
        devices = register_devices(options.devices)
        pool = encode_pool(options.seed, len(CHANNELS), SAMPLES, STEP_MS)
        begin = quarter_of(datetime.now(UTC))
        store_frames(devices, pool, begin, range(1, BEFORE + 1))
        first = measured(stack, roll_up)
        store_frames(devices, pool, begin, range(BEFORE + 1, BEFORE + NEW + 1))
        second = measured(stack, roll_up)
        power = measured(stack, refresh_power)
        rows, covered = _count()
    expected = options.devices * len(CHANNELS)
    cpu_s = second["roller"] + second["postgres"]
    return {
        "ok": rows == expected and cpu_s <= options.goal_s,
        "devices": options.devices,
        "channels": expected,
        "new_values": options.devices * NEW * SAMPLES * len(CHANNELS),
        "rows": rows,
        "coverage": covered,
        "cpu_s": round(cpu_s, 2),
        "share_of_a_core": round(cpu_s / (NEW * FRAME).total_seconds(), 3),
        "first_run": first,
        "run": second,
        "refresh_power": power,
    }


def measured(stack: Stack, work: Callable[[], object]) -> dict[str, float]:
    """Do it; seconds on the clock, and of processors of this process and of PostgreSQL."""
    before, own, began = stack.cpu_seconds(), time.process_time(), time.perf_counter()
    work()
    took, used = time.perf_counter() - began, time.process_time() - own
    after = stack.cpu_seconds()
    return {
        "wall_s": round(took, 2),
        "roller": round(used, 2),
        "postgres": round(after["postgres"] - before["postgres"], 2),
    }


def register_devices(count: int) -> list[Device]:
    """A tenant with active devices of eight channels, twenty at a facility."""
    tenant = Tenant.objects.using("owner").create(
        kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
    )
    with open_scope(Scope((tenant.pk,))):
        kind = _kind(tenant)
        facilities = [
            create_facility(tenant_id=tenant.pk, name=f"Site {n}", time_zone="UTC", actor_id=None)
            for n in range(max(1, count // DEVICES_EACH))
        ]
        devices = _devices(tenant, kind, facilities, count)
    _copy(
        "device_cursor (device_id, tenant_id, committed, produced)",
        ((device.pk, tenant.pk, 0, 0) for device in devices),
    )
    with connections["owner"].cursor() as cursor:  # as autovacuum does within a minute
        cursor.execute("ANALYZE devices_device, devices_channel, devices_facility")
    return devices


def _kind(tenant: Tenant) -> DeviceType:
    return create_device_type(
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


def _devices(
    tenant: Tenant, kind: DeviceType, facilities: list[Facility], count: int
) -> list[Device]:
    devices = Device.objects.bulk_create(
        (
            Device(
                tenant_id=tenant.pk,
                facility_id=facilities[n % len(facilities)].pk,
                device_type_id=kind.pk,
                serial=f"bench-{n}",
                name=f"Bench {n}",
                placement=Placement.MAINS if n < len(facilities) else Placement.SUBMETER,
                state=DeviceState.ACTIVE,
                secret_sha256=hashlib.sha256(f"{n}".encode()).digest(),
            )
            for n in range(count)
        ),
        batch_size=_CHUNK,
    )
    measured = list(kind.channels.all())
    Channel.objects.bulk_create(
        (
            Channel(
                tenant_id=tenant.pk, device_id=device.pk, number=one.number, key=one.key,
                name=one.name, quantity=one.quantity, unit=one.unit, resolution=one.resolution,
                minimum=one.minimum, maximum=one.maximum, in_total=one.in_total,
            )
            for device in devices
            for one in measured
        ),
        batch_size=_CHUNK,
    )  # fmt: skip
    return devices


def store_frames(devices: list[Device], pool: list[bytes], begin: datetime, numbers: range) -> None:
    """Frames by their numbers, and the cursors, as the writer commits them."""
    length = timedelta(milliseconds=STEP_MS * (SAMPLES - 1))

    def rows() -> Iterable[tuple[object, ...]]:
        for number in numbers:
            start = begin + (number - 1) * FRAME
            for place, device in enumerate(devices):
                block = pool[(place * 7 + number) % POOL]
                yield (
                    start + length, device.tenant_id, device.pk, number, start, start + length,
                    SAMPLES * len(CHANNELS),
                    data_body(number, int(start.timestamp() * 1000), block),
                )  # fmt: skip

    _copy(
        "telemetry_frame (received_at, tenant_id, device_id, sequence, started_at, ended_at,"
        " value_count, frame)",
        rows(),
    )
    last = begin + (numbers[-1] - 1) * FRAME + length
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = %s",
            [numbers[-1], numbers[-1], last, last],
        )
        cursor.execute("ANALYZE telemetry_frame, device_cursor")


def _copy(target: str, rows: Iterable[tuple[object, ...]]) -> None:
    with (
        connections["owner"].cursor() as cursor,
        cursor.copy(f"COPY {target} FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(list(row))


def _count() -> tuple[int, float]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*), round(avg(coverage)::numeric, 4) FROM rollup_15m WHERE n > 0"
        )
        row: Any = cursor.fetchone()
    return int(row[0]), float(row[1] or 0)

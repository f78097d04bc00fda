"""Server time of reading history: a facility of 200 channels, readings of the last days, a year.

The facility has the meters of shops as the simulator's model plays them, at two seconds. The model
computes PATTERN_DAYS days; what came before repeats them, copied within the database: what a query
costs depends on how many rows there are and how they lie, not on whether two days are alike.
Quarters are packed and days kept as the product does it; the newest hours of quarters are rows.
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from django.db import connection, connections

from devices.benchmarks.stack import open_stack
from devices.benchmarks.years import count_quarters, repeat_quarters
from devices.domain.operations import (
    ChannelSpec,
    create_device_type,
    create_facility,
    register_device,
)
from devices.domain.rollups import series_of, sum_facilities
from devices.domain.series import read_series
from devices.domain.totals import read_totals
from devices.models import Channel, Device, DeviceType, Facility, Placement
from devices.protocol.data import Block, Int64s, encode_data
from devices.simulator.catalogue import MeterType
from devices.simulator.model.site import MAINS, Site
from devices.simulator.park import CHAIN_FACILITIES
from devices.telemetry import rollup_store, segment_store
from devices.telemetry.periods import Resolution
from devices.telemetry.rollup import QUARTER_MS, roll
from devices.telemetry.rollup_samples import Samples
from devices.telemetry.segment import HOUR_MS, Readings
from devices.telemetry.segment_codec import encode
from tenants.models import Tenant, TenantKind
from tenants.scope import Scope, open_scope

CHANNELS: Final = 200
PATTERN_DAYS: Final = 2
DAYS: Final = 2
SPAN_DAYS: Final = 92
# The newest hours are still frames, as they came.
FRAME_HOURS: Final = 2
SAMPLES: Final = 30
STEP_MS: Final = 2_000
GOAL_MS: Final = 50.0
ROUNDS: Final = 20
LEAST_ROUNDS: Final = 3
_SEED: Final = 7_000


def add_arguments(parser: ArgumentParser) -> None:
    """How much is stored, and how often each query is asked."""
    parser.add_argument("--days", type=int, default=DAYS, help="of readings")
    parser.add_argument("--span-days", type=int, default=SPAN_DAYS, help="of quarters of an hour")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each query")
    parser.add_argument("--seconds", type=int, default=20, help="for a query, if it has had three")


@dataclass(frozen=True, slots=True)
class Meter:
    """A device, its secret, and the integers (channels, samples) that it has measured in the
    pattern.
    """

    device: Device
    secret: str
    raw: Int64s


def run(options: Namespace) -> dict[str, object]:
    """Measure; `queries` has the server time and the rows of each, `stored` the rows there are.

    `ok` is False when a query is slower than the goal, or rows are missing.
    """
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with open_stack():
        tenant = Tenant.objects.using("owner").create(
            kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
        )
        scope = Scope((tenant.pk,))
        began = time.perf_counter()
        with open_scope(scope):
            at = create_facility(
                tenant_id=tenant.pk, name="Benchmark", time_zone="Europe/Berlin", actor_id=None
            )
            meters = list(meters_of(at, end))
            for meter in meters:
                _keep_quarters(meter, end)
                _keep_segments(meter, end)
        repeat(end, quarters=options.span_days, segments=options.days)
        _make_room(end)
        for meter in meters:
            _store_frames(meter, end)
        sum_all(scope, at, end, options.span_days)
        with connections["owner"].cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
        filled_s = round(time.perf_counter() - began, 1)
        stored = stored_rows()
        with open_scope(scope):
            queries = {
                name: measured(query, options)
                for name, query in queries_of(at, end, options).items()
            }
    quarters = 96 * options.span_days
    complete = (
        stored["quarters"] >= CHANNELS * quarters
        and stored["facility_quarters"] == quarters
        and queries["last_hour_raw_8_channels"]["rows"] == 8 * HOUR_MS // STEP_MS
        and queries["month_by_quarter_50_channels"]["rows"] == 50 * min(quarters, 96 * 30)
        and queries["year_by_day_200_channels"]["rows"] // CHANNELS
        in (options.span_days, options.span_days + 1)
    )
    return {
        "ok": complete and all(found["p95_ms"] <= GOAL_MS for found in queries.values()),
        "complete": complete,
        "goal_ms": GOAL_MS,
        "days_of_readings": options.days,
        "days_of_quarters": options.span_days,
        "stored": stored,
        "filled_s": filled_s,
        "queries": queries,
    }


# --- What is asked ----------------------------------------------------------------------------


def queries_of(at: Facility, end: datetime, options: Namespace) -> dict[str, Callable[[], int]]:
    """The queries by name; each returns how many rows it answered."""
    rows = list(Channel.objects.order_by("device_id", "number").values_list("pk", "key"))
    powers = [pk for pk, key in rows if key == "active_power"][:8]
    every = [pk for pk, _ in rows]
    year = timedelta(days=options.span_days)

    def series(channels: Sequence[int], length: timedelta, **asked: Any) -> Callable[[], int]:
        def ask() -> int:
            found = read_series(channels=channels, start=end - length, end=end, **asked)
            return sum(map(len, found.channels))

        return ask

    def total() -> int:
        found = read_totals(
            facility_ids=[at.pk], start=end - year, end=end, resolution=Resolution.MONTH
        )
        return len(found.starts)

    raw, day = Resolution.RAW, timedelta(days=1)
    return {
        "last_hour_raw_8_channels": series(powers, timedelta(hours=1), resolution=raw),
        "day_raw_8_channels_in_2000_points": series(powers, day, resolution=raw, points=2_000),
        "month_by_quarter_50_channels": series(
            every[:: CHANNELS // 50], min(30 * day, year), resolution=Resolution.QUARTER
        ),
        "year_by_day_200_channels": series(every, year, resolution=Resolution.DAY),
        "facility_total_of_a_year": total,
    }


def measured(query: Callable[[], int], options: Namespace) -> dict[str, float]:
    """How long a query takes that returns how many rows it found."""
    rows = query()  # the first one also fills caches
    took: list[float] = []
    while len(took) < options.rounds:
        if len(took) >= LEAST_ROUNDS and sum(took) > options.seconds:
            break
        began = time.perf_counter()
        query()
        took.append(time.perf_counter() - began)
    p50, p95 = np.percentile(took, [50, 95]) * 1000
    return {
        "p50_ms": round(float(p50), 1),
        "p95_ms": round(float(p95), 1),
        "rows": rows,
        "rounds": len(took),
    }


# --- What is stored ---------------------------------------------------------------------------


def meters_of(at: Facility, end: datetime) -> Iterator[Meter]:
    """Meters of shops, the first one's mains being the facility's, until there are CHANNELS."""
    model = CHAIN_FACILITIES[0]
    kinds: dict[str, DeviceType] = {}
    first = _hour(end) - PATTERN_DAYS * 24
    left = CHANNELS
    for number in range(CHANNELS):
        seed = _SEED + number
        site = Site(seed=seed, layout=model.layout(seed), epoch_s=first * 3600)
        hours = [site.hour(hour) for hour in range(first, _hour(end))]
        for member in model.devices:
            if len(member.type.channels) > left:
                continue
            left -= len(member.type.channels)
            kind = kinds.get(member.type.code) or _type(at, member.type)
            kinds[member.type.code] = kind
            is_mains = number == 0 and member.meter == MAINS
            name = f"bench-{number}-{member.meter}"
            registered = register_device(
                tenant_id=at.tenant_id,
                facility_id=at.pk,
                device_type_id=kind.pk,
                serial=name,
                name=name,
                placement=Placement.MAINS if is_mains else Placement.SUBMETER,
                actor_id=None,
            )
            raw = np.concatenate([hour[member.meter] for hour in hours], axis=1)
            yield Meter(registered.device, registered.secret.value.hex(), raw)
        if not left:
            return


def _type(at: Facility, meter: MeterType) -> DeviceType:
    return create_device_type(
        tenant_id=at.tenant_id,
        code=meter.code,
        name=meter.name,
        step_ms=meter.step_ms,
        channels=[
            ChannelSpec(
                number=one.number,
                key=one.key,
                name=one.name,
                quantity=one.quantity,
                resolution=one.resolution,
                minimum=one.minimum,
                maximum=one.maximum,
                in_total=one.in_total,
            )
            for one in meter.channels
        ],
        actor_id=None,
    )


def _keep_quarters(meter: Meter, end: datetime) -> None:
    """The pattern's quarters as the roller computes and keeps them."""
    device = meter.device
    series = series_of([device.pk])[device.pk]
    count = len(series)
    times = times_of(meter, end)
    length = len(times)
    samples = Samples(
        np.repeat(np.arange(count), length),
        np.tile(times, count),
        np.zeros(count * length, np.int64),
        meter.raw.ravel(),
    )
    quarters = roll(samples, series)
    quarters = quarters.only(quarters.starts < _hour(end) * HOUR_MS)
    rows = len(quarters.starts)
    rollup_store.hold(connection, [device.pk])
    rollup_store.keep(
        connection,
        quarters,
        tenants=np.full(rows, device.tenant_id),
        devices=np.full(rows, device.pk),
        channels=np.array([one.number for one in series], np.int64)[quarters.series],
    )


def _keep_segments(meter: Meter, end: datetime) -> None:
    """The pattern's readings as segments; a frame had arrived when its last sample was taken."""
    times = times_of(meter, end)
    known = np.repeat(times[SAMPLES - 1 :: SAMPLES] // 1000, SAMPLES)
    steps = HOUR_MS // STEP_MS
    kept = []
    for at in range(0, len(times), steps):
        part = slice(at, at + steps)
        hour = {
            number: Readings(times[part], known[part], np.ascontiguousarray(raw[part]))
            for number, raw in enumerate(meter.raw)
        }
        start_ms = int(times[at])
        kept.append(
            segment_store.Kept(
                segment_store.moment(start_ms), meter.device.tenant_id, meter.device.pk,
                meter.raw.shape[0] * steps, encode(start_ms, hour),
            )
        )  # fmt: skip
    segment_store.keep(connection, kept)


def repeat(end: datetime, *, quarters: int, segments: int) -> None:
    """Repeat the pattern into the past, of quarters and of segments for so many days."""
    repeat_quarters(end, days=quarters, pattern_days=PATTERN_DAYS)
    begin = end - timedelta(days=PATTERN_DAYS)
    with connections["owner"].cursor() as cursor:
        for back in range(PATTERN_DAYS, segments, PATTERN_DAYS):
            cursor.execute(
                "INSERT INTO telemetry_segment (starts_at, tenant_id, device_id, value_count, body)"
                " SELECT starts_at - make_interval(days => %s), tenant_id, device_id, value_count,"
                " body FROM telemetry_segment WHERE starts_at >= %s ORDER BY starts_at, device_id",
                [back, begin],
            )
        cursor.execute(
            "DELETE FROM telemetry_segment WHERE starts_at < %s", [end - timedelta(days=segments)]
        )


def _make_room(end: datetime) -> None:
    """Take away the segments of the hours that are to be frames."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "DELETE FROM telemetry_segment WHERE starts_at >= %s",
            [end - timedelta(hours=FRAME_HOURS)],
        )


def _store_frames(meter: Meter, end: datetime) -> None:
    """The newest hours as frames, as the writer leaves them."""
    device, times = meter.device, times_of(meter, end)
    count = FRAME_HOURS * HOUR_MS // STEP_MS
    numbers = tuple(range(meter.raw.shape[0]))
    with (
        connections["owner"].cursor() as cursor,
        cursor.copy(
            "COPY telemetry_frame (received_at, tenant_id, device_id, sequence, started_at,"
            " ended_at, value_count, frame) FROM STDIN"
        ) as copy,
    ):
        for sequence, at in enumerate(range(len(times) - count, len(times), SAMPLES), start=1):
            part = slice(at, at + SAMPLES)
            block = Block(times[part], numbers, np.ascontiguousarray(meter.raw[:, part]))
            start, last = (segment_store.moment(int(times[part][row])) for row in (0, -1))
            copy.write_row(
                [last, device.tenant_id, device.pk, sequence, start, last,
                 SAMPLES * len(numbers), encode_data(sequence, [block])]
            )  # fmt: skip


def sum_all(scope: Scope, at: Facility, end: datetime, days: int) -> None:
    """The facility's quarters as the product sums them."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("ANALYZE rollup_15m, rollup_packed")
        cursor.execute(
            "INSERT INTO rollup_dirty (facility_id, starts_at, tenant_id)"
            " SELECT %s, starts_at, %s"
            " FROM generate_series(%s::timestamptz, %s::timestamptz, '15 minutes') AS starts_at",
            [
                at.pk,
                at.tenant_id,
                end - timedelta(days=days),
                end - timedelta(milliseconds=QUARTER_MS),
            ],
        )
    with open_scope(scope):
        while sum_facilities():
            pass


def stored_rows() -> dict[str, int]:
    """How many channels, roll-ups and readings there are, and in how many rows."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM devices_channel), (SELECT count(*) FROM rollup_15m),"
            " (SELECT count(*) FROM rollup_packed), (SELECT count(*) FROM rollup_1d),"
            " (SELECT count(*) FROM facility_15m), (SELECT count(*) FROM telemetry_segment),"
            " (SELECT count(*) FROM telemetry_frame),"
            " (SELECT coalesce(sum(value_count), 0) FROM telemetry_segment)::bigint"
            " + (SELECT coalesce(sum(value_count), 0) FROM telemetry_frame)::bigint"
        )
        row: Any = cursor.fetchone()
    names = (
        "channels", "quarter_rows", "packed_days", "local_days", "facility_quarters", "segments",
        "frames", "readings",
    )  # fmt: skip
    return {"quarters": count_quarters()} | dict(zip(names, map(int, row), strict=True))


def _hour(moment: datetime) -> int:
    return int(moment.timestamp()) // 3600


def times_of(meter: Meter, end: datetime) -> Int64s:
    """When the readings of the pattern were taken, (samples,) ms since the Unix epoch."""
    end_ms = _hour(end) * HOUR_MS
    return np.arange(end_ms - meter.raw.shape[1] * STEP_MS, end_ms, STEP_MS, dtype=np.int64)

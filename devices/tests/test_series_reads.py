"""History of stored channels: what is read, as of when, by whom and at what cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from devices.domain import rollups, segments
from devices.domain.catalogue import ChannelNotFound
from devices.domain.operations import create_facility
from devices.domain.queries import FacilityNotFound
from devices.domain.series import ChannelSeries, SeriesResult, read_series
from devices.domain.series_bounds import SeriesRefusedError
from devices.domain.totals import read_totals
from devices.models import Channel, Device, Facility, Placement
from devices.protocol.data import Int64s
from devices.telemetry.periods import Reason, Resolution
from devices.telemetry.series import Periods
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

# Frames are written by another connection than they are read by: the tests commit.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START  # 1 March 2026, 12:00 UTC
SECOND = timedelta(seconds=1)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _scope(of: Device | Facility) -> Scope:
    return Scope((of.tenant_id,))


def _device(of: Tenant | None = None) -> Device:
    of = of or factories.tenant()
    with open_scope(Scope((of.pk,))):
        return factories.device(factories.facility(of)).device


def _ids(device: Device) -> list[int]:
    with open_scope(_scope(device)):
        return list(
            Channel.objects.filter(device=device).order_by("number").values_list("pk", flat=True)
        )


def _store(
    device: Device,
    sequence: int,
    started_at: datetime,
    values: Sequence[Sequence[int]],
    received_at: datetime | None = None,
) -> None:
    """A frame as the writer commits it; two seconds between samples."""
    ended_at = started_at + 2 * (len(values[0]) - 1) * SECOND
    arrived = received_at or ended_at
    start_ms = int(started_at.timestamp()) * 1000
    body = factories.frame_body(sequence, start_ms, [list(v) for v in values])
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [arrived, device.tenant_id, device.pk, sequence, started_at, ended_at, 1, body],
        )
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = %s WHERE device_id = %s",
            [sequence, sequence, arrived, ended_at, device.pk],
        )


def _roll(device: Device) -> None:
    with open_scope(_scope(device)):
        rollups.roll_up()


def _keep(device: Device, start: datetime, watts: Sequence[float]) -> None:
    """Quarters of the device's first channel, each measured in full."""
    with connections["owner"].cursor() as cursor:
        cursor.executemany(
            "INSERT INTO rollup_15m VALUES (%s, %s, %s, 0, 450, %s, %s, %s, %s, %s, %s, 0, 1)",
            [
                [start + at * QUARTER, device.tenant_id, device.pk, w, w, w, w, w, w / 4]
                for at, w in enumerate(watts)
            ],
        )


def _ask(
    device: Device, channels: Sequence[int], start: datetime, end: datetime, **options: object
) -> SeriesResult:
    with open_scope(_scope(device)):
        return read_series(channels=channels, start=start, end=end, **options)  # type: ignore[arg-type]


def _periods(found: ChannelSeries) -> Periods:
    assert found.periods is not None
    return found.periods


def _local(found: Sequence[int] | Int64s) -> list[datetime]:
    return [datetime.fromtimestamp(int(at) / 1000, UTC) for at in found]


# --- Readings -------------------------------------------------------------------------------------


def test_readings_come_from_frames_and_segments_with_their_gaps() -> None:
    device = _device()
    ids = _ids(device)
    _store(device, 1, START, [[1000, 1010, 1020], [23000, 23010, 23020]])
    _roll(device)
    with open_scope(_scope(device)):
        assert segments.move(before=START + DAY).frames == 1
    _store(device, 2, START + 10 * 60 * SECOND, [[1030, 1040], [23030, 23040]])
    found = _ask(device, ids[::-1], START, START + HOUR, resolution=Resolution.RAW)
    assert (found.resolution, found.reason) == (Resolution.RAW, Reason.ASKED)
    voltage, power = found.channels
    assert (power.channel.channel_id, voltage.channel.channel_id) == (ids[0], ids[1])
    assert power.curve is not None
    assert voltage.curve is not None
    assert _local(power.curve.times) == [START + after * SECOND for after in (0, 2, 4, 600, 602)]
    assert power.curve.values.tolist() == [100.0, 101.0, 102.0, 103.0, 104.0]
    assert power.curve.gap_before.tolist() == [False, False, False, True, False]
    assert voltage.curve.values.tolist() == [230.0, 230.1, 230.2, 230.3, 230.4]
    assert (power.channel.unit, voltage.channel.unit, power.periods) == ("W", "V", None)


def test_readings_in_few_points_keep_their_extremes() -> None:
    device = _device()
    raw = [1000 + at % 7 for at in range(900)]
    raw[321], raw[654] = 9000, -50
    for sequence in range(10):
        part = raw[90 * sequence : 90 * (sequence + 1)]
        _store(device, sequence + 1, START + 180 * sequence * SECOND, [part, [2300] * 90])
    found = _ask(
        device, _ids(device)[:1], START, START + HOUR, resolution=Resolution.RAW, points=30
    )
    curve = found.channels[0].curve
    assert curve is not None
    assert 20 <= len(curve.times) <= 30
    assert (curve.values.min(), curve.values.max()) == (-5.0, 900.0)


def test_a_channel_without_readings_has_an_empty_answer() -> None:
    device = _device()
    for resolution in (Resolution.RAW, Resolution.DAY):
        (found,) = _ask(
            device, _ids(device)[:1], START, START + HOUR, resolution=resolution
        ).channels
        columns = found.curve or found.periods
        assert columns is not None
        assert len(columns.gap_before) == 0


# --- Periods --------------------------------------------------------------------------------------


def test_days_are_those_of_the_facility_and_add_up() -> None:
    device = _device()  # in Berlin, whose 29 March 2026 has 23 hours
    midnight = datetime(2026, 3, 27, 23, tzinfo=UTC)
    _keep(device, midnight, [100.0] * 96 + [200.0] * 92 + [400.0] * 96)
    end = midnight + timedelta(hours=24 + 23 + 24)
    found = _periods(
        _ask(device, _ids(device)[:1], midnight, end, resolution=Resolution.DAY).channels[0]
    )
    assert _local(found.starts) == [
        midnight, midnight + DAY, midnight + timedelta(hours=47),
    ]  # fmt: skip
    assert found.energy.tolist() == [2400.0, 4600.0, 9600.0]
    assert found.mean.tolist() == [100.0, 200.0, 400.0]
    assert found.coverage.tolist() == [1.0, 1.0, 1.0]
    hours = _periods(
        _ask(device, _ids(device)[:1], midnight, end, resolution=Resolution.HOUR).channels[0]
    )
    assert len(hours.starts) == 71
    assert hours.energy.sum() == 16_600.0
    months = _periods(
        _ask(device, _ids(device)[:1], midnight, end, resolution=Resolution.MONTH).channels[0]
    )
    assert months.energy.tolist() == [16_600.0]
    utc = _periods(
        _ask(
            device, _ids(device)[:1], midnight, end, resolution=Resolution.DAY, zone="UTC"
        ).channels[0]
    )
    assert utc.energy.tolist() == [100.0, 2500.0, 5200.0, 8800.0]


def test_a_missing_day_is_a_gap() -> None:
    device = _device()
    midnight = datetime(2026, 2, 28, 23, tzinfo=UTC)
    _keep(device, midnight, [100.0] * 96)
    _keep(device, midnight + 2 * DAY, [100.0] * 48)
    found = _periods(
        _ask(
            device, _ids(device)[:1], midnight, midnight + 4 * DAY, resolution=Resolution.DAY
        ).channels[0]
    )
    assert _local(found.starts) == [midnight, midnight + 2 * DAY]
    assert found.gap_before.tolist() == [False, True]
    assert found.coverage.tolist() == [1.0, 0.5]


def test_a_period_is_widened_to_full_quarters() -> None:
    device = _device()
    _keep(device, START, [1.0, 2.0, 3.0, 4.0])
    found = _ask(
        device, _ids(device)[:1], START + 20 * 60 * SECOND, START + 31 * 60 * SECOND,
        resolution=Resolution.QUARTER,
    )  # fmt: skip
    assert (found.start, found.end) == (START + QUARTER, START + 3 * QUARTER)
    assert _periods(found.channels[0]).mean.tolist() == [2.0, 3.0]


def test_auto_says_what_it_chose() -> None:
    device = _device()
    ids = _ids(device)
    for length, points, expected in (
        (timedelta(days=365), 10, (Resolution.MONTH, Reason.ENOUGH_POINTS)),
        (timedelta(days=365), 300, (Resolution.DAY, Reason.ENOUGH_POINTS)),
        (timedelta(days=30), None, (Resolution.HOUR, Reason.ENOUGH_POINTS)),
        (timedelta(days=6), None, (Resolution.QUARTER, Reason.ENOUGH_POINTS)),
        (timedelta(days=1), 96, (Resolution.QUARTER, Reason.ENOUGH_POINTS)),
        (timedelta(days=1), 97, (Resolution.RAW, Reason.SHORT)),
        (timedelta(days=6), 10_000, (Resolution.QUARTER, Reason.TOO_LONG_FOR_RAW)),
    ):
        found = _ask(device, ids, START, START + length, points=points)
        assert (found.resolution, found.reason) == expected


# --- As of ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_moved", [False, True])
def test_as_of_gives_what_was_known_then(is_moved: bool) -> None:
    device = _device()
    ids = _ids(device)
    _store(device, 1, START, [[1000] * 450, [2300] * 450])
    _store(device, 2, START + QUARTER, [[2000] * 450, [2310] * 450])
    _roll(device)
    early = START + HOUR
    asked = {
        one: _ask(device, ids, START, START + HOUR, resolution=one)
        for one in (Resolution.RAW, Resolution.QUARTER, Resolution.DAY)
    }
    # An hour late: five minutes otherwise, and what comes after.
    _store(device, 3, START + QUARTER, [[9000] * 150, [2200] * 150], received_at=START + 2 * HOUR)
    _store(device, 4, START + 2 * QUARTER, [[500], [2300]], received_at=START + 2 * HOUR)
    _roll(device)
    if is_moved:
        with open_scope(_scope(device)):
            assert segments.move(before=START + DAY).frames == 4
    for resolution, before in asked.items():
        then = _ask(device, ids, START, START + HOUR, resolution=resolution, as_of=early)
        now = _ask(device, ids, START, START + HOUR, resolution=resolution)
        known = _ask(
            device, ids, START, START + HOUR, resolution=resolution, as_of=START + 3 * HOUR
        )
        _assert_same(then, before)
        _assert_same(known, now)
        assert _first_values(then) != _first_values(now)
    nothing = _ask(device, ids, START, START + HOUR, resolution=Resolution.DAY, as_of=START - HOUR)
    assert [len(_periods(one).starts) for one in nothing.channels] == [0, 0]


def _first_values(found: SeriesResult) -> list[float]:
    one = found.channels[0]
    return list(_periods(one).maximum if one.curve is None else one.curve.values)


def _assert_same(found: SeriesResult, expected: SeriesResult) -> None:
    for one, other in zip(found.channels, expected.channels, strict=True):
        for columns, wanted in ((one.curve, other.curve), (one.periods, other.periods)):
            assert (columns is None) == (wanted is None)
            for name in () if columns is None else columns.__slots__:
                np.testing.assert_allclose(
                    getattr(columns, name), getattr(wanted, name), err_msg=name
                )


# --- Who may ask, and what --------------------------------------------------------------------


def test_channels_of_others_do_not_exist() -> None:
    ours, theirs = _device(), _device()
    _keep(theirs, START, [100.0])
    own, foreign = _ids(ours)[0], _ids(theirs)[0]
    for channels in ([foreign], [own, foreign], [(theirs.pk, 0)], [(ours.pk, 200)]):
        with pytest.raises(ChannelNotFound):
            _ask(ours, channels, START, START + DAY)  # type: ignore[arg-type]
    assert len(_ask(theirs, [foreign], START, START + DAY).channels) == 1


def test_a_narrowed_scope_reaches_its_facilities_alone() -> None:
    of = factories.tenant()
    ours, theirs = _device(of), _device(of)
    own, foreign = _ids(ours)[0], _ids(theirs)[0]
    with open_scope(Scope((of.pk,), facility_ids=(ours.facility_id,))):
        period = {"start": START, "end": START + DAY}
        assert read_series(channels=[own], **period).channels  # type: ignore[arg-type]
        with pytest.raises(ChannelNotFound):
            read_series(channels=[foreign], **period)  # type: ignore[arg-type]
        with pytest.raises(FacilityNotFound):
            read_totals(facility_ids=[theirs.facility_id], **period)  # type: ignore[arg-type]


def test_channels_are_named_by_device_and_number_too() -> None:
    device = _device()
    _keep(device, START, [100.0])
    by_id = _ask(device, _ids(device), START, START + DAY, resolution=Resolution.DAY)
    pairs = [(device.pk, 0), (device.pk, 1)]
    _assert_same(_ask(device, pairs, START, START + DAY, resolution=Resolution.DAY), by_id)  # type: ignore[arg-type]
    assert len(_ask(device, [], START, START + DAY).channels) == 0


@pytest.mark.parametrize(
    ("options", "parameter", "text"),
    [
        ({"end": START}, "end", "The period is empty"),
        ({"start": datetime(2026, 3, 1)}, "start", "offset from UTC"),  # noqa: DTZ001
        ({"start": datetime(1900, 1, 1, tzinfo=UTC)}, "start", "between the years"),
        ({"as_of": datetime(2026, 3, 1)}, "as_of", "offset from UTC"),  # noqa: DTZ001
        ({"points": 9}, "points", "10 to 100000"),
        ({"zone": "Europe/Nowhere"}, "zone", "no time zone 'Europe/Nowhere'"),
        ({"zone": "../etc"}, "zone", "no time zone"),
        (
            {"end": START + 57 * DAY, "resolution": Resolution.RAW},
            "end",
            "at most 56 days can be read at once for a channel: .* ask for a roll-up",
        ),
        (
            {"end": START + 57 * DAY, "resolution": Resolution.DAY, "as_of": START},
            "end",
            "shorter period, or leave out as_of",
        ),
        (
            {"end": START + 19 * 366 * DAY, "resolution": Resolution.DAY, "copies": 12},
            "end",
            "At most 6944 days .* for fewer channels",
        ),
        ({"end": START + 21 * 366 * DAY}, "end", "at most 20 years"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_with_the_reason(
    options: dict[str, object], parameter: str, text: str
) -> None:
    device = _device()
    asked = {"start": START, "end": START + DAY, **options}
    channels = _ids(device)[:1] * int(asked.pop("copies", 1))  # type: ignore[call-overload]
    with pytest.raises(SeriesRefusedError, match=text) as refused:
        _ask(device, channels, **asked)  # type: ignore[arg-type]
    assert refused.value.parameter == parameter


@pytest.mark.parametrize(
    ("resolution", "as_of", "expected"),
    [
        (Resolution.RAW, None, 3),
        (Resolution.DAY, None, 3),
        (Resolution.QUARTER, None, 2),
        (Resolution.DAY, START + DAY, 4),
    ],
)
def test_as_many_queries_for_fifty_channels_as_for_one(
    resolution: Resolution, as_of: datetime | None, expected: int
) -> None:
    of = factories.tenant()
    devices = [_device(of) for _ in range(25)]
    for device in devices:
        _store(device, 1, START, [[1, 2], [3, 4]])
    _roll(devices[0])
    ids = [one for device in devices for one in _ids(device)]
    assert len(ids) == 50
    for channels in (ids[:1], ids):
        with (
            open_scope(_scope(devices[0])),
            CaptureQueriesContext(
                connection,
            ) as queries,
        ):
            found = read_series(
                channels=channels, start=START, end=START + HOUR, resolution=resolution, as_of=as_of
            )
        assert all(len((one.curve or one.periods).gap_before) for one in found.channels)  # type: ignore[union-attr]
        assert len(queries) == expected


# --- Totals of facilities ---------------------------------------------------------------------


def _facility(of: Tenant, parent: Facility | None = None, *, metered: bool = True) -> Facility:
    with open_scope(Scope((of.pk,))):
        made = factories.facility(of, parent)
        factories.device(made, placement=Placement.MAINS if metered else Placement.SUBMETER)
    return made


def _sums(at: Facility, start: datetime, rows: Sequence[tuple[float | None, ...]]) -> None:
    with connections["owner"].cursor() as cursor:
        cursor.executemany(
            "INSERT INTO facility_15m VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 1)",
            [
                [start + place * QUARTER, at.tenant_id, at.pk, *row]
                for place, row in enumerate(rows)
            ],
        )


def test_totals_add_facilities_and_say_what_is_used() -> None:
    of = factories.tenant()
    one, other = _facility(of), _facility(of)
    _sums(one, START, [(100.0, 10.0, 50.0, None, None), (20.0, 0.0, 5.0, 4.0, 3.0)])
    _sums(other, START + QUARTER, [(7.0, None, None, None, None)])
    with open_scope(_scope(one)), CaptureQueriesContext(connection) as queries:
        found = read_totals(
            facility_ids=[one.pk, other.pk], start=START, end=START + HOUR,
            resolution=Resolution.QUARTER,
        )  # fmt: skip
    assert len(queries) == 3
    assert (found.counted, found.contained) == ((one.pk, other.pk), ())
    assert _local(found.starts) == [START, START + QUARTER]
    assert found.imported.tolist() == [100.0, 27.0]
    assert found.exported.tolist() == [10.0, 0.0]
    assert found.used.tolist() == [140.0, 27.0 - 0 + 5 + 3 - 4]
    assert np.isnan(found.charged[0])
    with open_scope(_scope(one)):
        day = read_totals(
            facility_ids=[one.pk, other.pk],
            start=START,
            end=START + HOUR,
            resolution=Resolution.DAY,
        )
    assert day.imported.tolist() == [127.0]
    assert day.used.sum() == found.used.sum()


def test_an_area_behind_the_mains_is_not_counted_again() -> None:
    of = factories.tenant()
    site = _facility(of)
    floor = _facility(of, site, metered=False)  # only sub-meters: its rooms are still behind them
    room = _facility(of, floor)
    for at, wh in ((site, 100.0), (room, 30.0)):
        _sums(at, START, [(wh, None, None, None, None)])
    asked = {"start": START, "end": START + HOUR, "resolution": Resolution.DAY}
    with open_scope(_scope(site)):
        both = read_totals(facility_ids=[room.pk, floor.pk, site.pk], **asked)  # type: ignore[arg-type]
        alone = read_totals(facility_ids=[room.pk, floor.pk], **asked)  # type: ignore[arg-type]
    assert both.imported.tolist() == [100.0]
    assert (both.counted, both.contained) == ((site.pk,), (floor.pk, room.pk))
    assert alone.imported.tolist() == [30.0]
    assert alone.counted == (floor.pk, room.pk)


def test_totals_that_cannot_be_told_are_refused() -> None:
    of = factories.tenant()
    site = _facility(of)
    with open_scope(_scope(site)):
        far = create_facility(tenant_id=of.pk, name="Far", time_zone="Asia/Tokyo", actor_id=None)
        for facility_ids, options, parameter in (
            ([site.pk, far.pk], {}, "zone"),
            ([site.pk], {"resolution": Resolution.RAW}, "resolution"),
            ([], {}, "facility_ids"),
        ):
            with pytest.raises(SeriesRefusedError) as refused:
                read_totals(
                    facility_ids=facility_ids,
                    start=START,
                    end=START + DAY,
                    **options,  # type: ignore[arg-type]
                )
            assert refused.value.parameter == parameter
        empty = read_totals(
            facility_ids=[site.pk, far.pk], start=START, end=START + DAY, zone="UTC"
        )
    assert (empty.resolution, empty.reason) == (Resolution.QUARTER, Reason.TOO_LONG_FOR_RAW)
    assert len(empty.starts) == len(empty.used) == 0

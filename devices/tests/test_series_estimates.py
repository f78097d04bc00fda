"""Estimates of stored history: asked for, told apart, scaled to registers, bounded."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.domain import operations, rollups, series, totals
from devices.domain.operations import ChannelSpec
from devices.domain.series_bounds import SeriesRefusedError
from devices.models import Device
from devices.telemetry.estimates import Method, Refusal
from devices.telemetry.periods import Resolution
from devices.tests import factories
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = factories.START.replace(hour=0) + DAY  # Monday, 2 March 2026
MINUTES = 24 * 60
REGISTERS = (
    ChannelSpec(
        number=2,
        key="energy_import",
        name="Import",
        quantity="energy_import",
        resolution=Decimal(1),
        minimum=Decimal(0),
        maximum=Decimal(10**9),
    ),
)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _metered(missing: tuple[int, int], *, watts_in_gap: int = 1000) -> Device:
    """A device with ten days of a kilowatt by the minute, of the last of which the minutes in
    [a, b) are missing; its register goes on counting.
    """
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        kind = operations.create_device_type(
            tenant_id=of.pk,
            code=f"meter-{factories.number()}",
            name="Meter",
            channels=(*factories.CHANNELS, *REGISTERS),
            actor_id=None,
        )
        device = factories.device(factories.facility(of), kind).device
    sequence = 0
    wh = 0.0
    for day in range(10):
        spans = [(0, MINUTES)] if day < 9 else [(0, missing[0]), (missing[1], MINUTES)]
        if day == 9:
            wh_after = wh + missing[0] * 1000 / 60 + (missing[1] - missing[0]) * watts_in_gap / 60
        for first, last in spans:
            begin = wh_after if day == 9 and first else wh
            sequence += 1
            register = [round(begin + minute * 1000 / 60) for minute in range(last - first)]
            count = last - first
            factories.store_frame(
                device,
                sequence,
                START + day * DAY + timedelta(minutes=first),
                [[10_000] * count, [23_000] * count, register],
                step_ms=60_000,
            )
            wh = begin + count * 1000 / 60
    with open_scope(Scope((of.pk,))):
        rollups.roll_up()
    return device


def _read(device: Device, number: int) -> series.ChannelSeries:
    with open_scope(Scope((device.tenant_id,))):
        return series.read_series(
            channels=[(device.pk, number)],
            start=START + 9 * DAY,
            end=START + 10 * DAY,
            resolution=Resolution.HOUR,
            estimate=True,
        ).channels[0]


def _ms(hours: float) -> int:
    return int((START + 9 * DAY + hours * HOUR).timestamp() * 1000)


def test_what_was_not_measured_is_told_beside_what_was() -> None:
    device = _metered((8 * 60, 11 * 60))
    found = _read(device, 0)
    assert found.periods is not None
    assert found.estimates is not None
    # What was measured is as without estimates.
    with open_scope(Scope((device.tenant_id,))):
        plain = series.read_series(
            channels=[(device.pk, 0)],
            start=START + 9 * DAY,
            end=START + 10 * DAY,
            resolution=Resolution.HOUR,
        ).channels[0]
    assert plain.periods is not None
    assert plain.estimates is None
    for name in plain.periods.__slots__:
        np.testing.assert_array_equal(getattr(found.periods, name), getattr(plain.periods, name))
    # A reading holds for a step of its own at the edge of a gap.
    assert found.estimates.starts.tolist() == [_ms(8), _ms(9), _ms(10)]
    assert found.estimates.share.tolist() == pytest.approx([1, 1, 1], abs=0.02)
    assert found.estimates.wh.sum() == pytest.approx(3000, rel=0.01)
    ((gap),) = found.estimates.gaps
    assert (gap.method, gap.scaled, gap.start_ms, gap.end_ms) == (
        Method.LIKE_DAYS, True, _ms(8), _ms(11),
    )  # fmt: skip


def test_a_register_says_how_much_it_was() -> None:
    device = _metered((8 * 60, 11 * 60), watts_in_gap=400)
    for number in (0, 2):
        found = _read(device, number)
        assert found.estimates is not None
        assert found.periods is not None
        assert [gap.scaled for gap in found.estimates.gaps] == [True]
        # A minute belongs to the last reading before the gap.
        assert found.estimates.wh.sum() == pytest.approx(1200, abs=20)
    assert found.periods is not None
    assert found.estimates is not None
    assert found.periods.energy.sum() + found.estimates.wh.sum() == pytest.approx(
        21_000 + 1200, abs=20
    )


def test_sums_of_facilities_tell_what_their_meters_did_not_measure() -> None:
    metered = _metered((8 * 60, 11 * 60), watts_in_gap=400)
    with open_scope(Scope((metered.tenant_id,))):
        rollups.sum_facilities()

    def read(*, estimate: bool) -> totals.Totals:
        with open_scope(Scope((metered.tenant_id,))):
            return totals.read_totals(
                facility_ids=[metered.facility_id],
                start=START + 9 * DAY,
                end=START + 10 * DAY,
                resolution=Resolution.DAY,
                estimate=estimate,
            )

    found, plain = read(estimate=True), read(estimate=False)
    assert plain.estimates is None
    assert found.estimates is not None
    assert found.imported.tolist() == plain.imported.tolist()
    # Import by the register; export has none, and power says that nothing flowed back.
    assert found.estimates["import"].wh.sum() == pytest.approx(1200, abs=20)
    assert [gap.scaled for gap in found.estimates["import"].gaps] == [True]
    assert found.estimates["export"].wh.sum() == pytest.approx(0)
    assert (found.imported.sum() + found.estimates["import"].wh.sum()) == pytest.approx(
        22_200, abs=20
    )


def test_what_is_no_energy_is_not_estimated() -> None:
    found = _read(_metered((8 * 60, 11 * 60)), 1)
    assert found.estimates is not None
    assert [gap.reason for gap in found.estimates.gaps] == [Refusal.NO_ENERGY]
    assert len(found.estimates.wh) == 0


def test_what_is_still_to_come_is_not_estimated() -> None:
    device = _metered((8 * 60, 11 * 60))
    with open_scope(Scope((device.tenant_id,))):
        found = series.read_series(
            channels=[(device.pk, 0)],
            start=START + 3650 * DAY,
            end=START + 3651 * DAY,
            resolution=Resolution.HOUR,
            estimate=True,
        ).channels[0]
    assert found.estimates is not None
    assert (found.estimates.gaps, len(found.estimates.wh)) == ((), 0)


@pytest.mark.parametrize(
    ("options", "parameter", "message"),
    [
        ({"resolution": Resolution.RAW}, "estimate", "Readings are not estimated"),
        ({"as_of": START + 9 * DAY}, "estimate", "leave out as_of or estimate"),
        ({"end": START + 3000 * DAY}, "end", "can be estimated at once"),
    ],
)
def test_what_cannot_be_estimated_is_refused(
    options: dict[str, object], parameter: str, message: str
) -> None:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        channel = factories.device(factories.facility(of)).device.channels.get(number=0)
        asked = {"start": START, "end": START + DAY, "resolution": Resolution.DAY} | options
        with pytest.raises(SeriesRefusedError, match=message) as caught:
            series.read_series(channels=[channel.pk], estimate=True, **asked)  # type: ignore[arg-type]
    assert caught.value.parameter == parameter


def test_as_many_queries_for_three_channels_as_for_one() -> None:
    device = _metered((8 * 60, 11 * 60))
    counts = []
    for numbers in ([0], [0, 1, 2]):
        with open_scope(Scope((device.tenant_id,))), CaptureQueriesContext(connection) as queries:
            series.read_series(
                channels=[(device.pk, number) for number in numbers],
                start=START + 9 * DAY,
                end=START + 10 * DAY,
                resolution=Resolution.HOUR,
                estimate=True,
            )
        counts.append(len(queries))
    assert counts[0] == counts[1]

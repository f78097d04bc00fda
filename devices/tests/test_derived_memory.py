"""Derived channels that remember: the same values wherever a question begins, however readings
came; what follows from a late reading is computed again, and no more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.db import connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from devices.domain import derived_rollups, operations, segments
from devices.domain.derived_operations import Derivation, change_formula, derive_channel
from devices.domain.operations import ChannelSpec
from devices.domain.series import read_series
from devices.formulas.columns import Column
from devices.formulas.formula import Formula
from devices.models import Channel, Device, Placement
from devices.tasks import roll_up
from devices.telemetry.periods import Resolution
from devices.telemetry.rollup import roll
from devices.telemetry.rollup_samples import Kind, Samples, Series
from devices.telemetry.series import Curve
from devices.tests import factories
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START
START_MS = int(START.timestamp() * 1000)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOW = START + timedelta(days=3)
METER = (
    ChannelSpec(
        0, "active_power", "P", "active_power", Decimal("0.1"), Decimal(-20000), Decimal(20000)
    ),
    ChannelSpec(1, "current", "I", "current", Decimal("0.01"), Decimal(-100), Decimal(100)),
    ChannelSpec(2, "voltage", "U", "voltage", Decimal("0.01"), Decimal(0), Decimal(300)),
)
UNITS = {"active_power": "W", "current": "A", "voltage": "V"}
FORMULAS = {
    "energy_import": "today(max(active_power, 0))",
    "charge": "integral(current)",
    "state_of_charge": "state_of_charge(current, voltage, capacity=30 Ah, cells=6, start=50 %)",
}


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _device() -> Device:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        at = factories.facility(of)
        kind = operations.create_device_type(
            tenant_id=of.pk,
            code=f"meter-{factories.number()}",
            name="Meter",
            channels=METER,
            actor_id=None,
        )
        return factories.device(at, kind, placement=Placement.STORAGE).device


def _derive(device: Device, quantity: str, text: str = "") -> Channel:
    with open_scope(Scope((device.tenant_id,))):
        return derive_channel(
            device_id=device.pk,
            values=Derivation(quantity, quantity, quantity, text or FORMULAS[quantity]),
            actor_id=None,
            now=START - HOUR,
        )


def _curve(channel: Channel, start: Any = None, end: Any = None, as_of: Any = None) -> Curve:
    with open_scope(Scope((channel.tenant_id,))):
        found = read_series(
            channels=[channel.pk],
            start=start or START - HOUR,
            end=end or NOW,
            resolution=Resolution.RAW,
            as_of=as_of,
        )
    curve = found.channels[0].curve
    assert curve is not None
    return curve


def _quarters(channel: Channel, as_of: Any = None) -> list[tuple[Any, ...]]:
    with open_scope(Scope((channel.tenant_id,))):
        found = read_series(
            channels=[channel.pk],
            start=START - HOUR,
            end=NOW,
            resolution=Resolution.QUARTER,
            as_of=as_of,
        )
    periods = found.channels[0].periods
    assert periods is not None
    names = ("starts", "n", "minimum", "maximum", "mean", "first", "last", "coverage")
    return list(zip(*(getattr(periods, name).tolist() for name in names), strict=True))


def _by_hand(channel: Channel, times: np.ndarray, columns: list[np.ndarray]) -> np.ndarray:
    """The formula over everything at once, in integers of the channel."""
    inputs = {
        spec.key: Column(times, raw * float(spec.resolution), 2_000)
        for spec, raw in zip(METER, columns, strict=True)
    }
    formula = Formula.parse(FORMULAS[channel.quantity], UNITS, channel.unit)
    found = formula.evaluate(inputs, zone=ZoneInfo("Europe/Berlin"))
    return found.values / float(channel.resolution)


def _rolled(channel: Channel, curve: Curve) -> list[tuple[Any, ...]]:
    nothing = np.zeros(len(curve.times), np.int64)
    raw = np.rint(curve.values / float(channel.resolution)).astype(np.int64)
    series = Series(channel.device_id, channel.number, channel.resolution, Kind.NONE, 2_000)
    found = roll(Samples(nothing, curve.times, nothing, raw), [series])
    names = ("starts", "n", "minimum", "maximum", "mean", "first", "last", "coverage")
    return list(zip(*(getattr(found, name).tolist() for name in names), strict=True))


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.data())
def test_what_is_remembered_depends_on_the_readings_alone(data: st.DataObject) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), "seed"))
    frames = data.draw(st.integers(4, 40), "frames")
    # Frames of half an hour, a minute between readings; some are missing, as are some hours.
    kept = sorted(data.draw(st.sets(st.integers(0, 60), min_size=frames, max_size=frames), "which"))
    order = data.draw(st.permutations(kept), "order")
    stops = data.draw(st.sets(st.sampled_from(kept), max_size=6), "rolled after")
    raw = {
        place: [
            random.integers(-30000, 30000, 30),
            np.zeros(30, np.int64) if place % 7 < 4 else random.integers(-2000, 2000, 30),
            random.integers(1180, 1280, 30),
        ]
        for place in kept
    }
    device = _device()
    channels = [_derive(device, quantity) for quantity in FORMULAS]
    for sequence, place in enumerate(order, 1):
        factories.store_frame(
            device,
            sequence,
            START + place * 30 * MINUTE,
            [row.tolist() for row in raw[place]],
            step_ms=60_000,
            received_at=NOW,
        )
        if place in stops:
            roll_up()
    if data.draw(st.booleans(), "moved"):
        roll_up()
        with open_scope(Scope((device.tenant_id,))):
            segments.move(before=NOW + HOUR)
    roll_up()
    times = np.concatenate(
        [START_MS + place * 1_800_000 + np.arange(30) * 60_000 for place in kept]
    ).astype(np.int64)
    columns = [np.concatenate([raw[place][row] for place in kept]) for row in range(3)]
    begin, end = sorted(data.draw(st.lists(st.integers(0, 40 * 60), min_size=2, max_size=2)))
    for channel in channels:
        curve = _curve(channel)
        expected = _by_hand(channel, times, columns)
        told = ~np.isnan(expected)
        assert curve.times.tolist() == times[told].tolist()
        steps = np.rint(curve.values / float(channel.resolution))
        assert np.abs(steps - expected[told]).max(initial=0) <= 0.5 + 1e-6
        # Wherever a question begins and ends.
        part = _curve(channel, START + begin * MINUTE, START + (end + 1) * MINUTE)
        rows = np.isin(curve.times, part.times)
        inside = (curve.times >= START_MS + begin * 60_000) & (
            curve.times < START_MS + (end + 1) * 60_000
        )
        assert rows.tolist() == inside.tolist()
        assert part.values.tolist() == curve.values[inside].tolist()
        # Roll-ups are those of the values.
        assert _quarters(channel) == _rolled(channel, curve)


def test_what_follows_from_a_late_reading_is_computed_again_until_it_agrees() -> None:
    device = _device()
    today, charge = _derive(device, "energy_import"), _derive(device, "charge")
    frame = [[10_000] * 60, [100] * 60, [1200] * 60]
    # 12:00 to 21:00 UTC, 22:00 to 7:00 in Berlin's time: midnight lies at 23:00 UTC.
    hours = [*range(9), *range(12, 40)]
    for sequence, hour in enumerate(hours, 1):
        factories.store_frame(device, sequence, START + hour * HOUR, frame, step_ms=60_000)
    roll_up()
    before = _quarters(charge), _quarters(today)
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT max(id) FROM formula_state")
        (last,) = cursor.fetchone() or (0,)
    factories.store_frame(
        device, 100, START + 9 * HOUR, frame, step_ms=60_000, received_at=START + 41 * HOUR
    )
    roll_up()
    assert _quarters(charge) == _rolled(charge, _curve(charge))
    assert _quarters(today) == _rolled(today, _curve(today))
    assert _curve(charge).values[-1] == pytest.approx(len(hours) + 1, abs=0.05)
    assert len(_quarters(charge)) == len(before[0]) + 4
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT channel_id, count(*), max(hour) FROM formula_state WHERE id > %s GROUP BY 1",
            [last],
        )
        written = {row[0]: row[1:] for row in cursor.fetchall()}
    # The day's energy agrees again after midnight; what flowed in all never does.
    assert written[today.pk][1] <= START + 13 * HOUR
    assert written[charge.pk][1] >= START + 39 * HOUR


def test_as_of_an_instant_nothing_changes_by_what_comes_later() -> None:
    device = _device()
    today = _derive(device, "energy_import")
    frame = [[10_000] * 60, [100] * 60, [1200] * 60]
    for hour in range(5):
        factories.store_frame(device, hour + 1, START + hour * HOUR, frame, step_ms=60_000)
    roll_up()
    then = START + 6 * HOUR
    curve, quarters = _curve(today), _quarters(today)
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE formula_state SET known_at = %s", [then])
    factories.store_frame(
        device, 9, START - HOUR, frame, step_ms=60_000, received_at=START + 10 * HOUR
    )
    roll_up()
    assert _curve(today, as_of=then).values.tolist() == curve.values.tolist()
    assert _quarters(today, as_of=then) == quarters
    assert _curve(today).values[-1] == pytest.approx(curve.values[-1] + 1000, abs=1)


def test_a_new_version_remembers_by_itself_and_leaves_history_alone() -> None:
    device = _device()
    today = _derive(device, "energy_import")
    frame = [[10_000] * 60, [100] * 60, [1200] * 60]
    for hour in range(-14, 30):
        factories.store_frame(device, hour + 15, START + hour * HOUR, frame, step_ms=60_000)
    roll_up()
    before = _curve(today)
    change = START + 16 * HOUR  # 5:00 in Berlin
    with open_scope(Scope((device.tenant_id,))):
        change_formula(
            channel_id=today.pk,
            text="today(2 * max(active_power, 0))",
            valid_from=change,
            reason="Both phases",
            actor_id=None,
            now=NOW,
        )
        steps = 0
        while derived_rollups.advance().last is not None:
            steps += 1
    after = _curve(today)
    earlier = before.times < int(change.timestamp() * 1000)
    assert after.values[earlier].tolist() == before.values[earlier].tolist()
    # From the local midnight on, as if it had held all day.
    assert after.values[~earlier][0] == pytest.approx(2 * before.values[~earlier][0], abs=0.2)
    assert _quarters(today)[-1][6] == pytest.approx(2 * before.values[-1], abs=0.2)

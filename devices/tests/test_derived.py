"""Derived channels: what they are computed to, stored roll-ups, versions, and whom they concern."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.domain import changes, derived_ready_made, derived_rollups, operations, segments
from devices.domain.corrections_checks import Draft
from devices.domain.corrections_operations import make_correction
from devices.domain.derived_operations import Derivation, change_formula, derive_channel
from devices.domain.operations import ChannelSpec
from devices.domain.series import SeriesResult, read_series
from devices.models import Channel, Device, Facility, FormulaVersion, Placement
from devices.models.correction import Kind
from devices.tasks import redo_rollups, roll_up
from devices.telemetry import redo_store
from devices.telemetry.periods import Resolution
from devices.telemetry.redo_store import Cause, Redo
from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.series import Periods
from devices.tests import factories
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START  # 1 March 2026, 12:00 UTC
START_MS = int(START.timestamp() * 1000)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
NOW = START + timedelta(days=1)

METER = (
    ChannelSpec(0, "voltage", "U", "voltage", Decimal("0.1"), Decimal(0), Decimal(300)),
    ChannelSpec(1, "current", "I", "current", Decimal("0.01"), Decimal(-100), Decimal(100)),
    ChannelSpec(2, "power_factor", "PF", "power_factor", Decimal("0.001"), Decimal(-1), Decimal(1)),
)
# A minute of 230 W.
STEADY = [[2300] * 30, [100] * 30, [1000] * 30]
POWER = "voltage * current * power_factor"


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _scope(of: Tenant | Device | Facility) -> Scope:
    return Scope((of.pk if isinstance(of, Tenant) else of.tenant_id,))


def _device(at: Facility, specs: Sequence[ChannelSpec] = METER, name: str = "") -> Device:
    kind = operations.create_device_type(
        tenant_id=at.tenant_id,
        code=f"meter-{factories.number()}",
        name="Meter",
        channels=specs,
        actor_id=None,
    )
    made = factories.device(at, kind, placement=Placement.SUBMETER).device
    if name:
        Device.objects.filter(pk=made.pk).update(name=name)
        made.refresh_from_db()
    return made


def _park() -> tuple[Facility, Device]:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        return at, _device(at)


def _derive(
    device: Device,
    text: str = POWER,
    key: str = "power",
    quantity: str = "active_power",
    valid_from: datetime | None = None,
    now: datetime = START - HOUR,
) -> Channel:
    with open_scope(_scope(device)):
        return derive_channel(
            device_id=device.pk,
            values=Derivation(key, key.title(), quantity, text),
            valid_from=valid_from,
            actor_id=None,
            now=now,
        )


def _read(
    channel: Channel,
    resolution: Resolution,
    start: datetime = START - HOUR,
    end: datetime = START + timedelta(days=2),
    as_of: datetime | None = None,
) -> SeriesResult:
    with open_scope(Scope((channel.tenant_id,))):
        return read_series(
            channels=[channel.pk], start=start, end=end, resolution=resolution, as_of=as_of
        )


def _raw(channel: Channel, **options: Any) -> dict[int, float]:
    curve = _read(channel, Resolution.RAW, **options).channels[0].curve
    assert curve is not None
    return dict(zip(curve.times.tolist(), curve.values.tolist(), strict=True))


def _quarters(channel: Channel, **options: Any) -> Periods:
    periods = _read(channel, Resolution.QUARTER, **options).channels[0].periods
    assert periods is not None
    return periods


def _rows(periods: Periods) -> list[tuple[Any, ...]]:
    columns = [getattr(periods, name) for name in Periods.__slots__]
    return [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _frames(rows: Sequence[Sequence[int]], each: int) -> list[tuple[int, list[list[int]]]]:
    """(place of the first sample, columns) of frames with so many samples."""
    return [
        (at, [list(column[at : at + each]) for column in rows])
        for at in range(0, len(rows[0]), each)
    ]


# --- One device -----------------------------------------------------------------------------------


def test_readings_are_computed_where_they_are_asked_for() -> None:
    _, device = _park()
    factories.store_frame(device, 1, START, [[2300, 2310], [100, 200], [1000, 500]], step_ms=2_000)
    power = _derive(device)
    assert _raw(power) == {START_MS: 230.0, START_MS + 2_000: 231.0}
    assert (power.number, power.unit, power.derived) == (254, "W", True)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_power_rolls_up_as_by_hand_in_any_order_of_arrival(data: st.DataObject) -> None:
    count = 30 * data.draw(st.integers(10, 40), "minutes")
    seed = data.draw(st.integers(0, 2**32 - 1), "seed")
    random = np.random.default_rng(seed)
    raw = [
        random.integers(2200, 2400, count).tolist(),
        random.integers(-500, 500, count).tolist(),
        random.integers(-1000, 1001, count).tolist(),
    ]
    frames = _frames(raw, data.draw(st.integers(20, 90), "samples of a frame"))
    order = data.draw(st.permutations(range(len(frames))), "order")
    stops = data.draw(st.sets(st.integers(0, len(frames))), "rolled after")
    moved = data.draw(st.booleans(), "moved")
    _, device = _park()
    power = _derive(device)
    for sequence, place in enumerate(order, 1):
        at, columns = frames[place]
        begin = START + timedelta(seconds=2 * at)
        factories.store_frame(
            device, sequence, begin, columns, step_ms=2_000, received_at=START + HOUR * 3
        )
        if sequence in stops:
            roll_up()
    roll_up()
    if moved:
        with open_scope(_scope(device)):
            segments.move(before=NOW)
    # By hand: values to the nearest 0.1 W, and the rules of `rollup.py` where nothing is missing.
    values = [
        float(Decimal(u) / 10 * (Decimal(i) / 100) * (Decimal(pf) / 1000))
        for u, i, pf in zip(*raw, strict=True)
    ]
    found = _quarters(power)
    assert _raw(power).keys() == {START_MS + 2_000 * at for at in range(count)}
    assert list(_raw(power).values()) == pytest.approx(values, abs=0.05 + 1e-9)
    exact = list(_raw(power).values())
    for row, start in enumerate(found.starts.tolist()):
        first = (start - START_MS) // 2_000
        part = exact[first : first + 450]
        assert found.n[row] == len(part)
        assert found.minimum[row] == min(part)
        assert found.maximum[row] == max(part)
        assert (found.first[row], found.last[row]) == (part[0], part[-1])
        assert found.mean[row] == pytest.approx(math.fsum(part) / len(part), abs=1e-9)
        assert found.energy[row] == pytest.approx(math.fsum(part) * 2 / 3600, abs=1e-9)
        assert found.coverage[row] == pytest.approx(len(part) / 450)
    assert len(found.starts) == -(-count // 450)
    # As of an instant it is the same, whatever had been rolled up by then.
    assert _rows(_quarters(power, as_of=START + 5 * HOUR)) == _rows(found)


def test_a_device_cannot_report_what_is_computed() -> None:
    _, device = _park()
    with connections["ingest"].cursor() as cursor:
        cursor.execute("SELECT channels FROM devices_credential WHERE device_id = %s", [device.pk])
        before = cursor.fetchone()
    _derive(device)
    with connections["ingest"].cursor() as cursor:
        cursor.execute("SELECT channels FROM devices_credential WHERE device_id = %s", [device.pk])
        assert cursor.fetchone() == before
    assert before is not None
    assert [row[0] for row in before[0]] == [0, 1, 2]


def test_what_a_frame_says_of_a_derived_channel_is_not_read() -> None:
    _, device = _park()
    power = _derive(device, "voltage * 2 A", "power")
    with connections["owner"].cursor() as cursor:
        cursor.execute("ALTER TABLE devices_channel DISABLE TRIGGER devices_channel_scaling_final")
        cursor.execute("UPDATE devices_channel SET number = 3 WHERE id = %s", [power.pk])
        cursor.execute("ALTER TABLE devices_channel ENABLE TRIGGER devices_channel_scaling_final")
    factories.store_frame(device, 1, START, [[2300] * 30, [0] * 30, [0] * 30, [77] * 30])
    roll_up()
    assert set(_raw(power).values()) == {460.0}
    assert _quarters(power).mean.tolist() == [460.0]


def test_late_readings_reach_the_roll_ups_and_what_is_gone_leaves_them() -> None:
    _, device = _park()
    power = _derive(device)
    factories.store_frame(device, 1, START, STEADY)
    factories.store_frame(device, 2, START + 2 * HOUR, STEADY)
    roll_up()
    starts = [START_MS, START_MS + 8 * QUARTER_MS]
    assert _quarters(power).starts.tolist() == starts
    factories.store_frame(device, 3, START + HOUR, STEADY, received_at=NOW)
    roll_up()
    assert _quarters(power).starts.tolist() == [starts[0], START_MS + 4 * QUARTER_MS, starts[1]]
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM telemetry_frame WHERE sequence = 3")
    with open_scope(_scope(device)):
        hour_ms = START_MS + 4 * QUARTER_MS
        again = [Redo(device.pk, hour_ms, hour_ms + 60_000)]
        redo_store.ask_again(connection, again, cause=Cause.CORRECTION)
    redo_rollups()
    assert _quarters(power).starts.tolist() == starts


def test_a_derived_channel_over_stored_history_is_computed_in_bounded_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(derived_rollups, "MAX_QUARTERS", 3)
    _, device = _park()
    for minute in range(180):
        factories.store_frame(
            device, minute + 1, START + minute * MINUTE, [[2300] * 30, [minute] * 30, [1000] * 30]
        )
    roll_up()
    power = _derive(device)
    steps = []
    with open_scope(_scope(device)):
        while (done := derived_rollups.advance()).last is not None:
            steps.append(done.more)
    assert steps == [True] * (len(steps) - 1) + [False]
    assert len(steps) > 3
    assert _quarters(power).n.tolist() == [450] * 12
    assert _quarters(power).mean[5] == pytest.approx(230 * (75 + 89) / 200, abs=0.1)


def test_what_is_derived_follows_corrections_and_is_announced() -> None:
    _, device = _park()
    power = _derive(device)
    factories.store_frame(device, 1, START, [row * 15 for row in STEADY])
    roll_up()
    asked = datetime.now(UTC)
    assert _quarters(power).mean.tolist() == [230.0]
    with open_scope(_scope(device)):
        make_correction(
            draft=Draft(
                channel_id=device.channels.get(key="current").pk,
                kind=Kind.SCALE,
                starts_at=START,
                ends_at=START + HOUR,
                factor=Decimal(2),
            ),
            reason="Wrong transformer",
            now=datetime.now(UTC),
            actor_id=None,
        )
        before = [one.id for one in changes.changes_after(0)]
    redo_rollups()
    assert _quarters(power).mean.tolist() == [460.0]
    assert set(_raw(power).values()) == {460.0}
    # What was known before is what was told before.
    assert _quarters(power, as_of=asked).mean.tolist() == [230.0]
    with open_scope(_scope(device)):
        told = changes.changes_after(max(before, default=0))
    assert {one.cause for one in told} == {Cause.CORRECTION, Cause.DERIVED}
    assert {one.device_id for one in told} == {device.pk}


# --- Versions -------------------------------------------------------------------------------------


def test_a_formula_holds_from_its_date_on_and_history_before_stays() -> None:
    _, device = _park()
    for hour in range(4):
        factories.store_frame(device, hour + 1, START + hour * HOUR, STEADY)
    roll_up()
    power = _derive(device, now=START + 4 * HOUR)
    roll_up()
    before = _rows(_quarters(power))
    with open_scope(_scope(device)):
        change_formula(
            channel_id=power.pk,
            text="2 * voltage * current",
            valid_from=START + 2 * HOUR,
            reason="Two conductors",
            actor_id=None,
            now=START + 5 * HOUR,
        )
    roll_up()
    assert _quarters(power).mean.tolist() == [230.0, 230.0, 460.0, 460.0]
    hours = [
        set(_raw(power, start=START + h * HOUR, end=START + (h + 1) * HOUR).values())
        for h in range(4)
    ]
    assert hours == [{230.0}, {230.0}, {460.0}, {460.0}]
    # As of a moment before the change, and before there was any formula.
    assert _rows(_quarters(power, as_of=START + 4 * HOUR + MINUTE)) == before
    assert _rows(_quarters(power, as_of=START + 3 * HOUR)) == []
    # Between the two, from a date in between: the later one stays.
    with open_scope(_scope(device)):
        change_formula(
            channel_id=power.pk,
            text="",
            valid_from=START + HOUR,
            reason="Was out of order",
            actor_id=None,
            now=START + 6 * HOUR,
        )
    roll_up()
    assert _quarters(power).mean.tolist() == [230.0, 460.0, 460.0]
    assert len(_raw(power)) == 90
    with open_scope(_scope(device)):
        told = AuditEntry.objects.filter(action="channel.formula", subject_id=power.pk).order_by(
            "at"
        )
        assert [entry.after["text"] for entry in told if entry.after] == [
            "voltage * current * power_factor",
            "2 * voltage * current",
            "",
        ]


def test_versions_are_never_changed() -> None:
    _, device = _park()
    power = _derive(device)
    with open_scope(_scope(device)):
        for change in (
            lambda: FormulaVersion.objects.filter(channel=power).update(text="voltage"),
            lambda: FormulaVersion.objects.filter(channel=power).delete(),
        ):
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                change()


@pytest.mark.parametrize(
    ("text", "quantity", "sentence"),
    [
        ("voltag * 2", "voltage", "voltag"),
        ("voltage", "active_power", "shall be in W"),
        ("voltage +", "voltage", "ends"),
    ],
)
def test_a_formula_that_cannot_be_is_refused_at_its_field(
    text: str, quantity: str, sentence: str
) -> None:
    _, device = _park()
    with pytest.raises(ValidationError) as refused:
        _derive(device, text, quantity=quantity)
    assert sentence in refused.value.message_dict["text"][0]


def test_circles_are_refused() -> None:
    at, device = _park()
    one = _derive(device, "voltage * 1", "one", "voltage")
    two = _derive(device, "one * 1", "two", "voltage")
    for channel, text in ((one, "two * 1"), (one, "one * 1"), (two, "two + 1 V")):
        with open_scope(_scope(at)), pytest.raises(ValidationError) as refused:
            change_formula(channel_id=channel.pk, text=text, reason="x", actor_id=None, now=NOW)
        assert list(refused.value.message_dict) == ["text"]


def test_a_formula_begins_with_a_quarter_of_an_hour_and_a_change_has_a_reason() -> None:
    _, device = _park()
    with pytest.raises(ValidationError) as refused:
        _derive(device, valid_from=START + MINUTE)
    assert list(refused.value.message_dict) == ["valid_from"]
    power = _derive(device)
    with open_scope(_scope(device)), pytest.raises(ValidationError) as refused:
        change_formula(channel_id=power.pk, text=POWER, reason=" ", actor_id=None, now=NOW)
    assert list(refused.value.message_dict) == ["reason"]


# --- Several devices ------------------------------------------------------------------------------


def _house() -> tuple[Device, Device, Device]:
    of = factories.tenant()
    with open_scope(_scope(of)):
        at = factories.facility(of)
        return (
            _device(at, name="Main meter"),
            _device(at, name="Heat pump"),
            _device(at, name="Wall box"),
        )


def test_a_formula_over_devices_of_a_facility_follows_each_of_them() -> None:
    mains, pump, box = _house()
    rest = _derive(mains, "current - heat_pump.current - wall_box.current", "rest", "current")
    twice = _derive(pump, "2 * main_meter.rest", "twice", "current")
    for device, amperes in ((mains, 3000), (pump, 1000), (box, 500)):
        factories.store_frame(device, 1, START, [[2300] * 450, [amperes] * 450, [1000] * 450])
        roll_up()
    assert _quarters(rest).mean.tolist() == [15.0]
    assert _quarters(twice).mean.tolist() == [30.0]
    assert _quarters(rest).coverage.tolist() == [1.0]
    # A device gets another name: what the formula means stays.
    with open_scope(_scope(mains)):
        Device.objects.filter(pk=pump.pk).update(name="Wall box")
    factories.store_frame(pump, 2, START + HOUR, [[2300], [100], [1000]])
    factories.store_frame(box, 2, START + HOUR, [[2300], [50], [1000]])
    factories.store_frame(mains, 2, START + HOUR, [[2300], [300], [1000]])
    roll_up()
    assert _quarters(rest).mean.tolist() == [15.0, 1.5]
    assert _quarters(twice).mean.tolist() == [30.0, 3.0]


def test_auto_weighs_what_a_derived_channel_is_computed_from() -> None:
    mains, _, _ = _house()
    places = ("", "heat_pump.", "wall_box.")
    amperes = [f"{place}current / 1 A" for place in places]
    volts = [f"{place}voltage / 1 V" for place in places]
    ratio = _derive(mains, f"sum({', '.join([*amperes, *volts])})", "some", "ratio")
    plain = _derive(mains, "current / 1 A", "plain", "ratio")
    with open_scope(_scope(mains)):
        for channel, resolution in ((plain, Resolution.RAW), (ratio, Resolution.QUARTER)):
            for hours, expected in ((20, Resolution.RAW), (190, resolution)):
                end = START + hours * HOUR
                found = read_series(channels=[channel.pk], start=START, end=end, points=10_000)
                assert found.resolution is expected


def test_estimates_may_be_asked_for_derived_channels_too() -> None:
    _, device = _park()
    power = _derive(device)
    factories.store_frame(device, 1, START, [row * 15 for row in STEADY])
    roll_up()
    with open_scope(_scope(device)):
        found = read_series(
            channels=[power.pk],
            start=START,
            end=START + HOUR,
            resolution=Resolution.QUARTER,
            estimate=True,
        )
    periods = found.channels[0].periods
    assert periods is not None
    assert periods.energy.tolist()[0] == 57.5


def test_names_that_two_devices_have_are_refused_and_serials_are_not() -> None:
    mains, pump, box = _house()
    with open_scope(_scope(mains)):
        Device.objects.filter(pk=box.pk).update(name="Heat pump")
    with pytest.raises(ValidationError) as refused:
        _derive(mains, "heat_pump.current * 1", "some", "current")
    assert "heat_pump.current" in refused.value.message_dict["text"][0]
    serial = pump.serial.lower().replace("-", "_")
    made = _derive(mains, f"{serial}.current * 1", "some", "current")
    with open_scope(_scope(mains)):
        assert made.versions.get().devices == [pump.pk]


def test_formulas_reach_no_other_facility_and_no_other_tenant() -> None:
    at, device = _park()
    with open_scope(_scope(at)):
        elsewhere = _device(factories.facility(at.tenant), name="Elsewhere")
    _, foreign = _park()
    for other in (elsewhere, foreign):
        name = other.serial.lower().replace("-", "_")
        with pytest.raises(ValidationError):
            _derive(device, f"{name}.voltage * 1", "some", "voltage")
    power = _derive(device)
    theirs = Scope((foreign.tenant_id,))
    narrowed = Scope((at.tenant_id,), (elsewhere.facility_id,))
    for scope in (theirs, narrowed):
        with open_scope(scope):
            assert not Channel.objects.filter(pk=power.pk).exists()
            assert not FormulaVersion.objects.filter(channel=power).exists()
            with pytest.raises(Channel.DoesNotExist):
                change_formula(channel_id=power.pk, text=POWER, reason="x", actor_id=None, now=NOW)
    # A version that names a channel of another facility all the same has no values.
    factories.store_frame(elsewhere, 1, START, [[2300], [100], [1000]])
    with open_scope(_scope(at)):
        voltage = elsewhere.channels.get(key="voltage")
        FormulaVersion.objects.create(
            tenant_id=at.tenant_id,
            device=device,
            channel=power,
            valid_from=START - HOUR,
            known_at=NOW,
            text="voltage * 1 A",
            names=["voltage"],
            inputs=[voltage.pk],
            devices=[elsewhere.pk],
        )
    assert _raw(power) == {}


# --- Ready-made -----------------------------------------------------------------------------------


def test_power_comes_with_a_device_that_measures_what_it_follows_from() -> None:
    _, device = _park()
    with open_scope(_scope(device)):
        made = device.channels.get(derived=True)
        assert (made.key, made.quantity, made.in_total) == ("active_power", "active_power", True)
        plain = factories.device(device.facility).device
        assert not plain.channels.filter(derived=True).exists()
    factories.store_frame(device, 1, START, STEADY)
    roll_up()
    assert _quarters(made).mean.tolist() == [230.0]


def test_what_is_offered_is_made_when_asked_for_and_switched_off_again() -> None:
    of = factories.tenant()
    with open_scope(_scope(of)):
        specs = [
            ChannelSpec(0, "voltage_dc", "U", "voltage", Decimal("0.01"), Decimal(0), Decimal(60)),
            ChannelSpec(1, "current_dc", "I", "current", Decimal("0.01"), Decimal(-9), Decimal(9)),
        ]
        battery = _device(factories.facility(of), specs)
        Device.objects.filter(pk=battery.pk).update(placement=Placement.STORAGE)
        battery.refresh_from_db()
        assert [one.key for one in derived_ready_made.offered_for(battery)] == [
            "energy_today",
            "state_of_charge",
        ]
        with pytest.raises(ValidationError) as refused:
            _ready(battery, "state_of_charge", capacity=100.0)
        assert list(refused.value.message_dict) == ["cells"]
        charge = _ready(battery, "state_of_charge", capacity=100.0, cells=6.0)
        assert "capacity=100 Ah, cells=6" in charge.versions.get().text
        with pytest.raises(ValidationError) as refused:
            _ready(battery, "state_of_charge", capacity=100.0, cells=6.0)
        assert list(refused.value.message_dict) == ["key"]
        change_formula(channel_id=charge.pk, text="", reason="Measured now", actor_id=None, now=NOW)
    factories.store_frame(battery, 1, START, [[1200] * 30, [0] * 30])
    roll_up()
    assert _rows(_quarters(charge)) == []


def _ready(device: Device, key: str, **answers: float) -> Channel:
    return derived_ready_made.add_ready_made(
        device_id=device.pk, key=key, answers=answers, actor_id=None, now=START
    )

"""Corrections of what is stored: reads, roll-ups, as of every instant; and who may do what."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, connections, transaction

from devices.domain import corrections_operations as corrections
from devices.domain import derived_rollups, operations, redo, rollups, seals, segments
from devices.domain.catalogue import ChannelNotFound
from devices.domain.corrections_checks import Draft
from devices.domain.corrections_preview import preview
from devices.domain.corrections_queries import (
    CorrectionNotFound,
    correction_entry,
    correction_page,
    corrections_of_device,
)
from devices.domain.derived_operations import Derivation, derive_channel
from devices.domain.operations import ChannelSpec
from devices.domain.series import ChannelSeries, read_series
from devices.models import Channel, Correction, CorrectionWithdrawal, Device
from devices.models.correction import Kind
from devices.telemetry.corrected_reads import read_columns
from devices.telemetry.periods import Resolution
from devices.telemetry.redo_store import Cause, Redo, ask_again
from devices.tests import factories
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope

# Frames are written by another connection than they are read by: the tests commit.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START  # 1 March 2026, 12:00 UTC
NOW = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
POWER, VOLTAGE = 0, 1
TENTH = Decimal("0.1")


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _scope(of: Device | Tenant) -> Scope:
    return Scope((of.tenant_id if isinstance(of, Device) else of.pk,))


def _device() -> Device:
    of = factories.tenant()
    with open_scope(_scope(of)):
        return factories.device(factories.facility(of)).device


def _minutes(device: Device, count: int = 120, *, first: int = 0, watts: int = 600) -> None:
    """Minutes of steady power from START on, each a frame that arrives when it is over."""
    for minute in range(first, first + count):
        at = START + minute * MINUTE
        factories.store_frame(device, minute + 1, at, [[10 * watts] * 30, [23000] * 30])


def _roll(device: Device) -> None:
    with open_scope(_scope(device)):
        rollups.roll_up()
        while redo.redo().more:
            pass


def _channel(device: Device, number: int = POWER) -> Channel:
    with open_scope(_scope(device)):
        return Channel.objects.get(device=device, number=number)


def _draft(device: Device, kind: Kind, number: int = POWER, **values: Any) -> Draft:
    channel = _channel(device, number)
    return replace(Draft(channel.pk, kind, START, START + HOUR), **values)


def _make(device: Device, kind: Kind, number: int = POWER, **values: Any) -> Correction:
    draft = _draft(device, kind, number, **values)
    with open_scope(_scope(device)):
        return corrections.make_correction(
            draft=draft, reason="The current transformer was wrong.", now=NOW, actor_id=None
        )


def _withdraw(device: Device, row: Correction) -> CorrectionWithdrawal:
    with open_scope(_scope(device)):
        return corrections.withdraw_correction(
            correction_id=row.pk, reason="It was right after all.", actor_id=None
        )


def _series(
    device: Device,
    resolution: Resolution,
    *,
    start: datetime = START,
    end: datetime = START + 3 * HOUR,
    as_of: datetime | None = None,
    number: int = POWER,
) -> ChannelSeries:
    with open_scope(_scope(device)):
        found = read_series(
            channels=[(device.pk, number)],
            start=start,
            end=end,
            resolution=resolution,
            as_of=as_of,
        )
    return found.channels[0]


def _answer(found: ChannelSeries) -> list[tuple[str, list[Any]]]:
    """All of an answer, comparable: NaN as None."""
    columns = found.curve or found.periods
    assert columns is not None
    return [
        (name, [None if one != one else one for one in getattr(columns, name).tolist()])
        for name in columns.__slots__
    ]


def _energy(device: Device, **asked: Any) -> float:
    periods = _series(device, Resolution.QUARTER, **asked).periods
    assert periods is not None
    return float(np.nansum(periods.energy))


def _values(device: Device, **asked: Any) -> dict[int, float]:
    """Seconds since START → value."""
    curve = _series(device, Resolution.RAW, **asked).curve
    assert curve is not None
    begin = int(START.timestamp())
    return {
        at // 1000 - begin: value
        for at, value in zip(curve.times.tolist(), curve.values.tolist(), strict=True)
    }


# --- What each kind does --------------------------------------------------------------------------


def test_a_scaled_period_is_scaled_in_readings_and_roll_ups() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    assert _energy(device) == pytest.approx(1200, rel=1e-3)
    _make(device, Kind.SCALE, factor=Decimal("1.5"))
    _roll(device)
    assert set(_values(device, end=START + HOUR).values()) == {900.0}
    assert set(_values(device, start=START + HOUR).values()) == {600.0}
    assert _energy(device) == pytest.approx(1500, rel=1e-3)


def test_removed_readings_are_a_gap_until_the_correction_is_withdrawn() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    before = _answer(_series(device, Resolution.QUARTER))
    row = _make(device, Kind.REMOVE)
    _roll(device)
    assert min(_values(device)) == 3600
    periods = _series(device, Resolution.QUARTER).periods
    assert periods is not None
    assert periods.starts[0] == int((START + HOUR).timestamp()) * 1000
    _withdraw(device, row)
    _roll(device)
    assert _answer(_series(device, Resolution.QUARTER)) == before


def test_a_shift_moves_readings_and_what_lies_there_gives_way() -> None:
    device = _device()
    _minutes(device, 60, watts=600)
    _minutes(device, 60, first=60, watts=200)
    _roll(device)
    _make(device, Kind.SHIFT, shift=HOUR)
    _roll(device)
    found = _values(device)
    assert min(found) == 3600
    assert set(found.values()) == {600.0}
    assert _energy(device) == pytest.approx(600, rel=1e-3)
    # A window that has none of its own gets what is shifted into it.
    part = _values(device, start=START + HOUR + MINUTE, end=START + HOUR + 2 * MINUTE)
    assert part == {3660 + 2 * at: 600.0 for at in range(30)}


def test_replaced_readings_hold_until_the_next_one() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    given = [(START, Decimal(1000)), (START + 30 * MINUTE, Decimal("500.04"))]
    _make(device, Kind.REPLACE, readings=given)
    _roll(device)
    found = _values(device, end=START + HOUR)
    assert found == {60 * at: 1000.0 if at < 30 else 500.0 for at in range(60)}
    assert _energy(device, end=START + HOUR) == pytest.approx(750, rel=1e-3)


def test_what_arrives_late_is_subject_to_the_corrections_of_its_period() -> None:
    device = _device()
    _make(device, Kind.SHIFT, shift=HOUR)
    _make(
        device,
        Kind.SCALE,
        factor=Decimal(2),
        starts_at=START + HOUR,
        ends_at=START + 2 * HOUR,
    )
    _roll(device)
    _minutes(device, 60)
    _roll(device)
    assert set(_values(device).values()) == {1200.0}
    assert min(_values(device)) == 3600
    assert _energy(device) == pytest.approx(1200, rel=1e-3)


def _meter() -> Device:
    """A meter of 10 kW with a register in whole Wh."""
    channels = [
        ChannelSpec(
            number=0,
            key="active_power",
            name="Power",
            quantity="active_power",
            resolution=Decimal(1),
            minimum=Decimal(-10_000),
            maximum=Decimal(10_000),
        ),
        ChannelSpec(
            number=1,
            key="energy_import",
            name="Energy",
            quantity="energy_import",
            resolution=Decimal(1),
            minimum=Decimal(0),
            maximum=Decimal(999_999_999),
        ),
    ]
    of = factories.tenant()
    with open_scope(_scope(of)):
        kind = operations.create_device_type(
            tenant_id=of.pk, code="register", name="Meter", channels=channels, actor_id=None
        )
        return factories.device(factories.facility(of), kind).device


def _counting(device: Device) -> None:
    """Two hours at 1 800 W: a register that counts 1 Wh every two seconds."""
    for minute in range(120):
        register = [5_000_000 + minute * 30 + at for at in range(30)]
        factories.store_frame(device, minute + 1, START + minute * MINUTE, [[1800] * 30, register])


def test_a_scaled_register_counts_what_it_counted_times_the_factor() -> None:
    """The transformers make ten times the current: more than the meter itself could measure."""
    device = _meter()
    _counting(device)
    _roll(device)
    assert _energy(device, number=1) == pytest.approx(3600, abs=2)
    row = _make(device, Kind.SCALE, 1, factor=Decimal(10), ends_at=START + 2 * HOUR)
    assert row.offset == Decimal(-9 * 5_000_000)
    _roll(device)
    assert _energy(device, number=1) == pytest.approx(36_000, abs=20)
    assert _energy(device, number=1, as_of=NOW + DAY * 365) == _energy(device, number=1)


def test_given_registers_lie_on_a_line() -> None:
    device = _meter()
    _counting(device)
    given = [(START, Decimal(100)), (START + HOUR - MINUTE, Decimal(690))]
    _make(device, Kind.REPLACE, 1, readings=given)
    _roll(device)
    found = _values(device, number=1, end=START + HOUR)
    assert found == {60 * at: 100.0 + 10 * at for at in range(60)}
    assert _energy(device, number=1, end=START + HOUR - 15 * MINUTE) == pytest.approx(450, abs=1)


# --- As of every instant --------------------------------------------------------------------------


@pytest.fixture
def _own_clock(_empty: None) -> Iterator[None]:
    """The test says when a correction was known, instead of the clock of the database."""
    tables = ("devices_correction", "devices_correctionwithdrawal")
    with connections["owner"].cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_known")
    yield
    connections["default"].close()
    with connections["owner"].cursor() as cursor:
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER {table}_known")


def _as_known(row: Correction | CorrectionWithdrawal, at: datetime) -> None:
    """As the transaction that made it would have left it at another time."""
    table = row._meta.db_table
    connections["default"].close()
    with connections["owner"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {table}_only_added")
        cursor.execute(f"UPDATE {table} SET known_at = %s WHERE id = %s", [at, row.pk])
        cursor.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_only_added")


class _Life:
    """A device to which something happens every ten seconds, long after what it tells of."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.device = _device()
        self.now = START + DAY
        self.sequence = 0
        self.standing: list[Correction] = []
        self.told: list[tuple[datetime, list[Any], list[Any]]] = []

    def arrival(self) -> None:
        minutes = self.chance.randrange(160)
        count = self.chance.randrange(1, 40)
        self.sequence += 1
        factories.store_frame(
            self.device,
            self.sequence,
            START + minutes * MINUTE,
            [[self.chance.randrange(-5000, 5000) for _ in range(count)] for _ in range(2)],
            step_ms=self.chance.choice((2000, 10_000, 60_000)),
            received_at=self.now,
        )

    def correction(self) -> None:
        kind = self.chance.choice(list(Kind))
        start = START + self.chance.randrange(150) * MINUTE
        end = start + self.chance.randrange(1, 60) * MINUTE
        values: dict[str, Any] = {"starts_at": start, "ends_at": end}
        if kind is Kind.SCALE:
            values["factor"] = Decimal(self.chance.randrange(-30, 30) * 10 + 5) / 100
        elif kind is Kind.SHIFT:
            values["shift"] = self.chance.choice((-90, -20, -1, 1, 30, 100)) * MINUTE
        elif kind is Kind.REPLACE:
            values["readings"] = [(start, Decimal(self.chance.randrange(900)))]
            values["holds"] = self.chance.random() < 0.5
        row = _make(self.device, kind, **values)
        _as_known(row, self.now)
        self.standing.append(row)

    def withdrawal(self) -> None:
        if self.standing:
            row = self.standing.pop(self.chance.randrange(len(self.standing)))
            _as_known(_withdraw(self.device, row), self.now)

    def moving(self) -> None:
        _roll(self.device)
        with open_scope(_scope(self.device)):
            segments.move(before=self.now + HOUR)

    def live(self) -> None:
        happenings: Sequence[tuple[int, Callable[[], None]]] = (
            (5, self.arrival),
            (4, self.correction),
            (2, self.withdrawal),
            (1, self.moving),
        )
        weights = [weight for weight, _ in happenings]
        for _ in range(14):
            self.now += timedelta(seconds=10)
            self.chance.choices([happen for _, happen in happenings], weights)[0]()
            _roll(self.device)
            self.told.append((self.now, self.raw(None), self.quarters(None)))

    def raw(self, as_of: datetime | None) -> list[Any]:
        end = START + 6 * HOUR
        start = START - 2 * HOUR
        return _answer(_series(self.device, Resolution.RAW, start=start, end=end, as_of=as_of))

    def quarters(self, as_of: datetime | None) -> list[Any]:
        end = START + 6 * HOUR
        start = START - 2 * HOUR
        return _answer(_series(self.device, Resolution.QUARTER, start=start, end=end, as_of=as_of))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.usefixtures("_own_clock")
def test_every_answer_of_the_past_is_given_again_as_of_then(seed: int) -> None:
    """What was told at each step, readings and the roll-ups that were kept, whatever came later."""
    life = _Life(seed)
    life.live()
    for at, raw, quarters in life.told:
        assert life.raw(at) == raw
        assert life.quarters(at) == quarters
    assert len({str(raw) for _, raw, _ in life.told}) > 3


def test_a_correction_is_known_after_its_transaction_and_at_a_full_second() -> None:
    device = _device()
    _minutes(device, 2)
    row = _make(device, Kind.REMOVE)
    done = datetime.now(UTC)
    with open_scope(_scope(device)):
        kept = Correction.objects.get(pk=row.pk).known_at
    assert kept.microsecond == 0
    assert timedelta(0) < kept - done <= timedelta(seconds=2)
    # What is asked now about now has the correction; as of this second it has been told without.
    assert _values(device) == {}
    assert len(_values(device, as_of=done)) == 60
    assert _values(device, as_of=kept) == {}


def test_the_second_of_a_correction_is_that_of_its_commit() -> None:
    device = _device()
    draft = _draft(device, Kind.REMOVE)
    with open_scope(_scope(device)):
        row = corrections.make_correction(draft=draft, reason="r", now=NOW, actor_id=None)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(2.1)")
        last = datetime.now(UTC)
    with open_scope(_scope(device)):
        assert Correction.objects.get(pk=row.pk).known_at > last
        assert row.known_at < Correction.objects.get(pk=row.pk).known_at


# --- Nothing is overwritten -----------------------------------------------------------------------


def test_segments_and_seals_are_the_same_under_corrections() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    with open_scope(_scope(device)):
        segments.move(before=START + DAY)
        before = seals.verify(connection, [device.pk], date(2026, 3, 1), date(2026, 3, 2))
    assert (before.segments, before.differences) == (2, ())
    row = _make(device, Kind.SCALE, factor=Decimal(3))
    _make(device, Kind.REMOVE, VOLTAGE)
    _roll(device)
    _withdraw(device, row)
    _roll(device)
    with open_scope(_scope(device)):
        assert seals.verify(connection, [device.pk], date(2026, 3, 1), date(2026, 3, 2)) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE devices_correction SET reason = 'other'",
        "UPDATE devices_correction SET known_at = '2020-01-01'",
        "DELETE FROM devices_correction",
        "UPDATE devices_correctionwithdrawal SET reason = 'other'",
        "DELETE FROM devices_correctionwithdrawal",
    ],
)
@pytest.mark.parametrize("alias", ["default", "owner"])
def test_nobody_changes_what_a_correction_says(statement: str, alias: str) -> None:
    device = _device()
    _withdraw(device, _make(device, Kind.REMOVE))
    if alias == "owner":
        connections["default"].close()
        with connections["owner"].cursor() as cursor, pytest.raises(DatabaseError, match="added"):
            cursor.execute(statement)
    else:
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            open_scope(_scope(device)),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


def test_a_correction_is_withdrawn_once() -> None:
    device = _device()
    row = _make(device, Kind.REMOVE)
    _withdraw(device, row)
    with pytest.raises(ValidationError, match="withdrawn already"):
        _withdraw(device, row)
    with pytest.raises(DatabaseError), open_scope(_scope(device)), transaction.atomic():
        CorrectionWithdrawal.objects.create(
            tenant_id=device.tenant_id, device=device, correction=row, reason="again"
        )


def test_making_and_withdrawing_are_told_and_announced() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    row = _make(device, Kind.SCALE, factor=Decimal(2))
    _withdraw(device, row)
    with open_scope(_scope(device)):
        entries = list(AuditEntry.objects.filter(action__startswith="correction.").order_by("at"))
        assert [one.action for one in entries] == ["correction.make", "correction.withdraw"]
        assert entries[0].after is not None
        assert entries[0].after["factor"] == "2.0000000000"
        assert entries[0].after["reason"] == "The current transformer was wrong."
        with connection.cursor() as cursor:
            cursor.execute("SELECT starts_at, ends_at, cause, cause_id FROM rollup_redo")
            asked = cursor.fetchall()
    assert asked == [(START, START + HOUR, "correction", row.pk)] * 2
    _roll(device)
    with open_scope(_scope(device)), connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT cause, cause_id FROM history_change WHERE cause <> 'late'")
        assert cursor.fetchall() == [("correction", row.pk)]


# --- Who sees and does what -----------------------------------------------------------------------


def test_others_neither_see_nor_change_a_correction() -> None:
    park, other = factories.park(), factories.park()
    device = park.branches[0].device
    row = _make(device, Kind.REMOVE)
    consumer_of_the_other = Scope((park.tenant.pk,), (park.branches[1].facility.pk,))
    draft = _draft(device, Kind.REMOVE)
    for scope in (other.scope, consumer_of_the_other):
        with open_scope(scope):
            assert not Correction.objects.filter(pk=row.pk).exists()
            with pytest.raises(CorrectionNotFound):
                correction_entry(correction_id=row.pk)
            with pytest.raises(CorrectionNotFound):
                corrections.withdraw_correction(correction_id=row.pk, reason="r", actor_id=None)
            with pytest.raises(ChannelNotFound):
                corrections.make_correction(draft=draft, reason="r", now=NOW, actor_id=None)
            with pytest.raises(ChannelNotFound):
                preview(draft=draft, now=NOW)
            with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
                Correction.objects.create(
                    tenant_id=scope.tenant_ids[0],
                    device_id=device.pk,
                    channel=0,
                    kind="remove",
                    starts_at=START,
                    ends_at=START + HOUR,
                    reason="r",
                )
    with open_scope(Scope((park.tenant.pk,), (park.branches[0].facility.pk,))):
        assert correction_entry(correction_id=row.pk).correction_id == row.pk


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "field", "text"),
    [
        (Kind.REMOVE, {"ends_at": START}, "ends_at", "after the beginning"),
        (Kind.REMOVE, {"ends_at": START + timedelta(microseconds=9)}, "ends_at", "after the"),
        (Kind.REMOVE, {"ends_at": NOW + MINUTE}, "ends_at", "must be over"),
        (
            Kind.REMOVE,
            {"starts_at": START - 3700 * DAY, "ends_at": START},
            "ends_at",
            "ten years",
        ),
        (Kind.REMOVE, {"starts_at": datetime(2026, 1, 1)}, "starts_at", "offset"),  # noqa: DTZ001
        (Kind.SCALE, {}, "factor", "other than 1"),
        (Kind.SCALE, {"factor": Decimal(0)}, "factor", "remove the readings"),
        (Kind.SCALE, {"factor": Decimal("NaN")}, "factor", "too large"),
        (Kind.SCALE, {"factor": Decimal("1e12")}, "factor", "too large"),
        (Kind.SCALE, {"factor": Decimal("0.12345678901")}, "factor", "ten decimals"),
        (Kind.SCALE, {"offset": Decimal("1e15")}, "offset", "too large"),
        (Kind.SHIFT, {}, "shift", "Give the time"),
        (Kind.SHIFT, {"shift": timedelta(microseconds=5)}, "shift", "Give the time"),
        (Kind.SHIFT, {"shift": 400 * DAY}, "shift", "at most a year"),
        (Kind.SHIFT, {"shift": 300 * DAY}, "shift", "future"),
        (Kind.REPLACE, {}, "readings", "Give the readings"),
        (Kind.REPLACE, {"readings": [(START - MINUTE, Decimal(1))]}, "readings", "outside"),
        (Kind.REPLACE, {"readings": [(START, Decimal(1))] * 2}, "readings", "twice"),
        (Kind.REPLACE, {"readings": [(START, Decimal(30_000))]}, "readings", "not between"),
        (Kind.REPLACE, {"readings": [(START, Decimal("NaN"))]}, "readings", "not between"),
        (
            Kind.REPLACE,
            {"readings": [(START, Decimal(1))], "ends_at": START + 40 * DAY},
            "readings",
            "more than",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_at_its_field(
    kind: Kind, values: dict[str, Any], field: str, text: str
) -> None:
    device = _device()
    with pytest.raises(ValidationError) as refused:
        _make(device, kind, **values)
    assert list(refused.value.message_dict) == [field]
    assert text in refused.value.message_dict[field][0]
    with open_scope(_scope(device)):
        assert not Correction.objects.exists()


def test_what_could_not_be_told_exactly_is_refused() -> None:
    device = _meter()
    with pytest.raises(ValidationError) as refused:
        _make(device, Kind.SCALE, 1, factor=Decimal(9_000_000_000))
    assert "too large to be told" in refused.value.message_dict["factor"][0]


def test_what_retention_has_removed_cannot_be_corrected() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    _move_and_remove(device, START + HOUR)
    kept = _energy(device)
    with pytest.raises(ValidationError) as refused:
        _make(device, Kind.REMOVE, starts_at=START + 50 * MINUTE, ends_at=START + 2 * HOUR)
    assert "were removed" in refused.value.message_dict["starts_at"][0]
    with pytest.raises(ValidationError):
        _make(device, Kind.SHIFT, starts_at=START + HOUR, ends_at=START + 2 * HOUR, shift=-HOUR)
    _make(device, Kind.REMOVE, starts_at=START + 90 * MINUTE, ends_at=START + 2 * HOUR)
    _roll(device)
    assert _energy(device) == pytest.approx(kept - 300, rel=1e-3)


def test_what_was_shifted_stays_when_its_source_is_removed() -> None:
    device = _device()
    _minutes(device, 60)
    _make(device, Kind.SHIFT, shift=3 * HOUR)
    _roll(device)
    before = _answer(_series(device, Resolution.QUARTER, end=START + 5 * HOUR))
    assert len(dict(before)["starts"]) >= 4
    _move_and_remove(device, START + HOUR)
    # Somebody asks for the quarters where the readings went.
    window = (int((START + at * HOUR).timestamp()) * 1000 for at in (3, 4))
    with open_scope(_scope(device)):
        ask_again(connection, [Redo(device.pk, *window)], cause=Cause.REGISTRY)
    _roll(device)
    assert _answer(_series(device, Resolution.QUARTER, end=START + 5 * HOUR)) == before


def _move_and_remove(device: Device, before: datetime) -> None:
    """Everything becomes segments, and those that begin before an instant go, as chunks do."""
    with open_scope(_scope(device)):
        segments.move(before=START + DAY)
    connections["default"].close()
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM telemetry_segment WHERE starts_at < %s", [before])


def test_derived_channels_are_computed_from_corrected_readings() -> None:
    device = _device()
    _minutes(device)
    with open_scope(_scope(device)):
        derived = derive_channel(
            device_id=device.pk,
            values=Derivation("double", "Double", "active_power", "2 * active_power"),
            valid_from=None,
            actor_id=None,
            now=START - HOUR,
        )
    _compute(device)
    asked: dict[str, Any] = {"number": derived.number, "end": START + 6 * HOUR}
    before = _answer(_series(device, Resolution.QUARTER, **asked))
    row = _make(device, Kind.SCALE, factor=Decimal(3))
    _make(device, Kind.SHIFT, starts_at=START + HOUR, ends_at=START + 2 * HOUR, shift=2 * HOUR)
    _compute(device)
    assert set(_values(device, **asked).values()) == {3600.0, 1200.0}
    assert _energy(device, **asked) == pytest.approx(3600 + 1200, rel=1e-3)
    assert min(at for at, value in _values(device, **asked).items() if value == 1200.0) == 10_800
    # As of then nothing was corrected, for derived channels neither.
    assert _answer(_series(device, Resolution.QUARTER, as_of=START + DAY, **asked)) == before
    with pytest.raises(ValidationError, match="computed by a formula"):
        _make(device, Kind.REMOVE, derived.number)
    # Late readings of what is shifted reach the derived roll-ups, too.
    late = START + HOUR + MINUTE
    frame = [[12000] * 30, [23000] * 30]
    factories.store_frame(device, 200, late, frame, received_at=START + DAY)
    _compute(device)
    assert 2400.0 in _values(device, **asked).values()
    assert _energy(device, **asked) == pytest.approx(3600 + 1200 + 20, rel=1e-3)
    _withdraw(device, row)
    _compute(device)
    assert _energy(device, **asked) == pytest.approx(1200 + 1200 + 20, rel=1e-3)


def _compute(device: Device) -> None:
    """Everything that is due, derived channels too."""
    _roll(device)
    with open_scope(_scope(device)):
        while derived_rollups.advance().more:
            pass


def test_a_correction_needs_a_reason() -> None:
    device = _device()
    draft = _draft(device, Kind.REMOVE)
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(ValidationError) as refused, open_scope(_scope(device)):
            corrections.make_correction(draft=draft, reason=reason, now=NOW, actor_id=None)
        assert list(refused.value.message_dict) == ["reason"]


# --- Previews and lists ---------------------------------------------------------------------------


def test_a_preview_tells_what_is_read_afterwards_and_writes_nothing() -> None:
    device = _device()
    _minutes(device)
    _roll(device)
    values: dict[str, Any] = {"factor": Decimal("0.5"), "starts_at": START + 7 * MINUTE}
    with open_scope(_scope(device)):
        before = preview(draft=_draft(device, Kind.SCALE, **values), now=NOW)
        assert not Correction.objects.exists()
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM rollup_redo")
            assert cursor.fetchone() == (0,)
    assert (before.readings_before, before.readings_after) == (1800, 1800)
    assert before.changed == 53 * 30
    row = _make(device, Kind.SCALE, **values)
    _roll(device)
    after = _energy(device, end=START + HOUR)
    assert before.value_after == pytest.approx(after, rel=1e-9)
    assert before.value_before == pytest.approx(600, rel=1e-3)
    assert [(day.value_before, day.value_after) for day in before.days] == [
        (before.value_before, before.value_after)
    ]
    with open_scope(_scope(device)):
        back = corrections.preview_withdrawal(correction_id=row.pk)
    assert back.value_before == before.value_after
    assert back.value_after == before.value_before


def test_a_long_preview_shows_its_beginning() -> None:
    device = _device()
    _minutes(device, 10)
    _roll(device)
    with open_scope(_scope(device)):
        found = preview(
            draft=_draft(device, Kind.REMOVE, VOLTAGE, ends_at=START + 100 * DAY), now=NOW
        )
    assert found.cut
    assert found.ends_at - found.starts_at == 31 * DAY
    assert (found.readings_before, found.readings_after, found.changed) == (300, 0, 300)
    assert found.value_before == pytest.approx(230)
    assert found.value_after is None


def test_lists_take_as_many_queries_for_three_as_for_one(
    django_assert_num_queries: Any,
) -> None:
    device = _device()
    made = [_make(device, Kind.REMOVE)]
    channel = _channel(device)
    for _ in range(2):
        with open_scope(_scope(device)):
            with django_assert_num_queries(3):
                of_device = corrections_of_device(device_id=device.pk)
            with django_assert_num_queries(2):
                page = correction_page(channel_id=channel.pk, limit=10)
        assert [one.correction_id for one in page.items] == [one.pk for one in made]
        assert of_device.corrections == page.items[::-1]
        made += [_make(device, Kind.REMOVE), _make(device, Kind.SCALE, factor=Decimal(2))]


def test_columns_are_corrected() -> None:
    device = _device()
    _minutes(device, 1)
    _make(device, Kind.SCALE, factor=Decimal(-1))
    with open_scope(_scope(device)):
        found = read_columns(connection, device.pk, {POWER: TENTH}, START, START + MINUTE)
    assert set(found[POWER].values.tolist()) == {-600.0}

"""Retention removes what is over and nothing that a rule or a hold keeps; what is gone is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction

from devices import tasks
from devices.domain import (
    derived_operations,
    derived_rollups,
    holds,
    packing,
    redo,
    retention,
    rollups,
    seals,
    segments,
    series,
)
from devices.domain.holds import Held, HoldRefused
from devices.domain.retention import Own, RetentionRefused
from devices.models import DataClass, Device, Facility, Hold, HoldCause
from devices.telemetry import derived_store, redo_store, rollup_store, segment_store
from devices.telemetry.periods import Resolution
from devices.telemetry.retention_schema import LOCK
from devices.tests import factories
from tenants.models import AuditEntry, Tenant, TenantKind
from tenants.scope import Scope, open_scope

# Frames and chunks are written by other connections than they are read by: the tests commit.
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)
# A full hour, so that a minute of readings from then on is in one segment.
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
# A week of chunks, 400 days ago: they begin on Thursdays, as the Unix epoch did.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OLD = _EPOCH + (NOW - 400 * DAY - _EPOCH) // WEEK * WEEK
NEXT = OLD + WEEK

Row = tuple[Any, ...]


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _device(of: Tenant | None = None) -> Device:
    of = of or factories.tenant()
    with open_scope(_of(of)):
        return factories.device(factories.facility(of)).device


def _of(of: Tenant) -> Scope:
    return Scope((of.pk,))


def _scope(device: Device) -> Scope:
    return Scope((device.tenant_id,))


def _measure(device: Device, *starts: datetime, sequence: int = 1) -> None:
    """A minute of readings from each start on, rolled up and moved into segments."""
    for place, start in enumerate(starts):
        values = [[100 + place] * 30, [2300] * 30]
        factories.store_frame(device, sequence + place, start, values)
    _roll_and_move(device)


def _roll_and_move(device: Device) -> None:
    with open_scope(_scope(device)):
        rollups.roll_up()
    with open_scope(_scope(device)):
        segments.move(before=NOW)


def _compute(device: Device) -> None:
    """What is due of derived channels."""
    with open_scope(_scope(device)):
        while derived_rollups.advance().more:
            pass


def _keep(of: Device, days: int | None, data_class: DataClass = DataClass.READINGS) -> None:
    with open_scope(_scope(of)):
        wanted: dict[DataClass, Own | None] = {data_class: Own(days)}
        retention.set_rules(tenant_id=of.tenant_id, wanted=wanted, actor_id=None)


def _hold(device: Device, held: Held, *, cause_id: int | None = None) -> Hold:
    cause = HoldCause.PERSON if cause_id is None else HoldCause.BILL
    with open_scope(_scope(device)):
        return holds.hold(
            tenant_id=device.tenant_id, held=held, reason="A dispute", now=NOW, actor_id=None,
            cause=cause, cause_id=cause_id,
        )  # fmt: skip


def _release(made: Hold) -> bool:
    return holds.release(hold_id=made.pk, now=NOW, actor_id=None)


def _owner(query: str, *parameters: Any) -> list[Row]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(query, list(parameters))
        return list(cursor.fetchall()) if cursor.description else []


def _hours(device: Device) -> list[datetime]:
    """Where its segments begin."""
    rows = _owner(
        "SELECT starts_at FROM telemetry_segment WHERE device_id = %s ORDER BY 1", device.pk
    )
    return [starts_at for (starts_at,) in rows]


def _quarters(device: Device) -> list[Row]:
    return _owner(
        "SELECT channel, starts_at, n, mean, energy_wh, coverage FROM rollup_15m"
        " WHERE device_id = %s ORDER BY 1, 2",
        device.pk,
    )


def _verify(device: Device, first: datetime = OLD, days: int = 14) -> seals.Verified:
    last = (first + days * DAY).date()
    return seals.verify(connections["owner"], [device.pk], first.date(), last)


def _problems(device: Device) -> list[tuple[datetime, str]]:
    return [(one.starts_at, one.problem) for one in _verify(device).differences]


def _chunks(table: str, before: datetime) -> int:
    ((count,),) = _owner("SELECT count(*) FROM show_chunks(%s, older_than => %s)", table, before)
    return int(count)


# --- Rules ------------------------------------------------------------------------------------


def _days(of: Tenant) -> dict[str, tuple[int | None, bool]]:
    with open_scope(_of(of)):
        return {rule.data_class: (rule.days, rule.own) for rule in retention.rules(tenant_id=of.pk)}


def test_without_a_rule_everything_but_the_quarantine_is_kept_for_ever() -> None:
    assert _days(factories.tenant()) == {
        "readings": (None, False),
        "quarters": (None, False),
        "days": (None, False),
        "logs": (None, False),
        "events": (None, False),
        "quarantine": (90, False),
    }


def test_the_nearest_rule_counts() -> None:
    above = factories.tenant(kind=TenantKind.RESELLER)
    below = factories.tenant(parent=above)

    def rule(of: Tenant, own: Own | None) -> None:
        with open_scope(_of(of)):
            retention.set_rules(tenant_id=of.pk, wanted={DataClass.READINGS: own}, actor_id=None)

    rule(above, Own(400))
    assert _days(below)["readings"] == (400, False)
    rule(below, Own(None))
    assert _days(below)["readings"] == (None, True)
    rule(below, Own(31))
    assert (_days(below)["readings"], _days(above)["readings"]) == ((31, True), (400, True))
    rule(below, None)
    assert _days(below)["readings"] == (400, False)


def test_rules_leave_entries_and_refuse_what_is_too_short() -> None:
    of = factories.tenant()
    with open_scope(_of(of)):
        for wanted, changed in ((Own(365), True), (Own(365), False), (Own(31), True), (None, True)):
            assert changed == retention.set_rules(
                tenant_id=of.pk, wanted={DataClass.LOGS: wanted}, actor_id=None
            )
        for days in (0, 30, 36_601):
            with pytest.raises(RetentionRefused, match="31 to 36600 days, or for ever"):
                retention.set_rules(
                    tenant_id=of.pk, wanted={DataClass.LOGS: Own(days)}, actor_id=None
                )
        told = list(
            AuditEntry.objects.filter(subject_type="devices.retention")
            .order_by("pk")
            .values_list("action", flat=True)
        )
    assert sorted(told) == ["retention.change", "retention.remove", "retention.set"]


def test_a_preview_counts_what_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    device = _device()
    _measure(device, OLD + HOUR, OLD + 2 * HOUR, NEXT + HOUR)
    _hold(device, Held(OLD, OLD + DAY))

    def told(days: int) -> retention.Preview:
        with open_scope(_scope(device)):
            return retention.preview(tenant_id=device.tenant_id, days=days, now=NOW)

    first = told((NOW - NEXT).days)
    assert (first.readings, first.devices, first.since) == (120, 1, OLD + HOUR)
    assert (first.is_more, first.holds) == (False, 1)
    assert first.before == retention.over_before((NOW - NEXT).days, NOW)
    assert (told(31).readings, told(600).readings) == (180, 0)
    monkeypatch.setattr(retention, "MOST_COUNTED", 2)
    assert told(31).is_more


# --- Removing ---------------------------------------------------------------------------------


def test_without_a_rule_nothing_goes() -> None:
    device = _device()
    _measure(device, OLD + HOUR, NEXT + HOUR)
    tasks.remove_over()
    assert _hours(device) == [OLD + HOUR, NEXT + HOUR]
    _keep(device, None)
    tasks.remove_over()
    assert _hours(device) == [OLD + HOUR, NEXT + HOUR]


def test_a_chunk_that_is_over_for_all_is_dropped_and_told_of() -> None:
    device, other = _device(), _device()
    for each in (device, other):
        _measure(each, OLD + HOUR, OLD + 3 * DAY, NOW - 20 * DAY)
        _keep(each, 365)
    before = _quarters(device)
    chunks = _chunks("telemetry_segment", NEXT)
    tasks.remove_over()
    assert _chunks("telemetry_segment", NEXT) == chunks - 1
    assert [len(_hours(each)) for each in (device, other)] == [1, 1]
    assert _quarters(device) == before
    found = _verify(device)
    assert (found.days, found.segments, found.differences) == (2, 0, ())
    ((told),) = found.removed
    assert (told.days, told.rule_tenant, told.segments) == (365, device.tenant_id, 2)
    assert timedelta(0) <= datetime.now(UTC) - told.removed_at < HOUR


def test_the_command_tells_what_was_removed_and_under_which_rule() -> None:
    device = _device()
    _measure(device, OLD + HOUR, OLD + DAY)
    _keep(device, 365)
    tasks.remove_over()
    days = ["--from", f"{OLD:%Y-%m-%d}", "--to", f"{NEXT:%Y-%m-%d}", "--device", device.serial]
    out = StringIO()
    call_command("verify", *days, "--json", stdout=out)
    told = json.loads(out.getvalue())
    ((removed),) = told["removed"]
    assert (told["ok"], told["segments"], removed["segments"]) == (True, 0, 2)
    assert (removed["days"], removed["rule_of_tenant"]) == (365, device.tenant_id)
    out = StringIO()
    call_command("verify", *days, stdout=out)
    assert f"under the rule of 365 days of tenant {device.tenant_id}" in out.getvalue()


def test_what_another_tenant_keeps_stays_in_the_chunk() -> None:
    device, other = _device(), _device()
    for each in (device, other):
        _measure(each, OLD + HOUR, NEXT + HOUR)
    _keep(device, (NOW - NEXT).days - 1)
    tasks.remove_over()
    assert _hours(device) == [NEXT + HOUR]
    assert _hours(other) == [OLD + HOUR, NEXT + HOUR]
    assert _verify(other).differences == _verify(device).differences == ()
    assert ([one.segments for one in _verify(device).removed], _verify(other).removed) == ([1], ())


def test_steps_are_bounded_and_end_with_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    of = factories.tenant()
    devices = [_device(of) for _ in range(3)]
    for device in (*devices, _device()):
        _measure(device, OLD + HOUR, OLD + DAY)
    _keep(devices[0], 365)
    monkeypatch.setattr(retention, "AT_ONCE", 1)
    steps: list[int | None] = []
    while not steps or steps[-1]:
        with open_scope(_of(of)):
            steps.append(retention.remove_over(tenant_id=of.pk, data_class=DataClass.READINGS))
    assert steps == [2, 2, 2, 0]  # a device at a time
    assert [_hours(device) for device in devices] == [[], [], []]
    assert [_verify(device).differences for device in devices] == [(), (), ()]


def test_logs_and_events_go_by_their_own_rules() -> None:
    device = _device()

    def tell(at: datetime) -> None:
        with connections["ingest"].cursor() as cursor:
            cursor.execute(
                "INSERT INTO device_log VALUES (%s, %s, %s, 3, %s, 3, 'line')",
                [at, device.tenant_id, device.pk, at],
            )
            cursor.execute(
                "INSERT INTO device_event VALUES (%s, %s, %s, 4, %s, 'reboot', '{}')",
                [at, device.tenant_id, device.pk, at],
            )

    for at in (OLD + HOUR, OLD + 3 * DAY, NOW - HOUR):
        tell(at)

    def left() -> list[int]:
        return [
            len(_owner(f"SELECT 1 FROM {table} WHERE device_id = %s", device.pk))
            for table in ("device_log", "device_event")
        ]

    _hold(device, Held(OLD + 2 * DAY, OLD + 4 * DAY, device_id=device.pk))
    _keep(device, 92, DataClass.LOGS)
    tasks.remove_over()
    assert left() == [2, 3]
    _keep(device, 92, DataClass.EVENTS)
    tasks.remove_over()
    assert left() == [2, 2]


# --- Roll-ups ---------------------------------------------------------------------------------

# Quarters go by the month, days by the quarter of a year.
LONG_AGO = OLD - 200 * DAY


def _packed(device: Device, *starts: datetime) -> None:
    _measure(device, *starts)
    with open_scope(_scope(device)):
        packing.pack(before=NOW)
        rollups.sum_facilities()


def _energy(device: Device, resolution: Resolution) -> list[float]:
    with open_scope(_scope(device)):
        found = series.read_series(
            channels=[(device.pk, 0)],
            start=LONG_AGO - DAY,
            end=LONG_AGO + 2 * DAY,
            resolution=resolution,
        ).channels[0]
    assert found.periods is not None
    return [round(float(wh), 6) for wh in found.periods.energy]


def _sums(device: Device) -> list[Row]:
    return _owner(
        "SELECT starts_at, import_wh FROM facility_15m WHERE facility_id = %s ORDER BY 1",
        device.facility_id,
    )


@pytest.mark.parametrize("others_keep", [False, True])
def test_days_and_sums_stay_when_quarters_go(others_keep: bool) -> None:
    device, other = _device(), _device()
    for each in (device, other):
        _packed(each, LONG_AGO + HOUR, NOW - 2 * DAY)
        if each == device or not others_keep:
            _keep(each, 365)
            _keep(each, 365, DataClass.QUARTERS)
    days, sums = _energy(device, Resolution.DAY), _sums(device)
    assert len(days) == 1
    assert len(sums) > 1
    tasks.remove_over()
    assert _energy(device, Resolution.QUARTER) == []
    assert (_energy(device, Resolution.DAY), _sums(device)) == (days, sums)
    assert len(_energy(other, Resolution.QUARTER)) == (1 if others_keep else 0)
    # What arrives late, or is to be summed again, leaves them as they are.
    late = LONG_AGO + 5 * HOUR
    factories.store_frame(device, 9, late, [[7] * 30, [8] * 30], received_at=NOW - 2 * HOUR)
    _roll_and_move(device)
    with open_scope(_scope(device)):
        rollup_store.mark_facilities(
            connection, [(device.pk, int((LONG_AGO + HOUR).timestamp() * 1000))]
        )
        assert rollups.sum_facilities() == 1
    assert (_energy(device, Resolution.DAY), _sums(device)) == (days, sums)


def test_days_and_sums_of_facilities_go_by_their_own_rule() -> None:
    device = _device()
    _packed(device, LONG_AGO + HOUR, NOW - 2 * DAY)
    _hold(device, Held(LONG_AGO, LONG_AGO + DAY, facility_id=device.facility_id))
    for data_class in (DataClass.READINGS, DataClass.QUARTERS, DataClass.DAYS):
        _keep(device, 365, data_class)
    before = _energy(device, Resolution.DAY), _energy(device, Resolution.QUARTER), _sums(device)
    tasks.remove_over()
    kept = _energy(device, Resolution.DAY), _energy(device, Resolution.QUARTER), _sums(device)
    assert kept == before
    with open_scope(_scope(device)):
        (made,) = holds.all_holds(tenant_id=device.tenant_id)
        _release(made)
    tasks.remove_over()
    assert (_energy(device, Resolution.DAY), _energy(device, Resolution.QUARTER)) == ([], [])
    assert [row for row in _sums(device) if row[0] < NOW - 365 * DAY] == []
    assert _sums(device) != []


def test_coarser_data_is_kept_as_long_as_finer_unless_said() -> None:
    of = factories.tenant()

    def rule(data_class: DataClass, own: Own) -> None:
        with open_scope(_of(of)):
            wanted: dict[DataClass, Own | None] = {data_class: own}
            retention.set_rules(tenant_id=of.pk, wanted=wanted, actor_id=None)

    with pytest.raises(RetentionRefused, match="Finer data is kept for longer"):
        rule(DataClass.QUARTERS, Own(365))
    rule(DataClass.READINGS, Own(731))
    with pytest.raises(RetentionRefused, match="Finer data is kept for longer"):
        rule(DataClass.QUARTERS, Own(366))
    rule(DataClass.QUARTERS, Own(1096))
    rule(DataClass.DAYS, Own(1827))
    rule(DataClass.QUARTERS, Own(366, shorter=True))
    found = _days(of)
    assert [found[name][0] for name in ("readings", "quarters", "days")] == [731, 366, 1827]
    # A rule for finer data that is made later takes the coarser along.
    rule(DataClass.READINGS, Own(3653))
    assert _days(of)["days"] == (3653, True)


# --- Holds ------------------------------------------------------------------------------------


def test_what_is_held_stays_until_the_hold_is_released() -> None:
    of = factories.tenant()
    held, other = _device(of), _device(of)
    for device in (held, other):
        _measure(device, OLD + HOUR, OLD + DAY, OLD + 2 * DAY)
    _keep(held, 365)
    made = _hold(held, Held(OLD + DAY, OLD + DAY + SECOND, device_id=held.pk))
    tasks.remove_over()
    assert (_hours(held), _hours(other)) == ([OLD + DAY], [])
    assert _verify(held).differences == ()
    with open_scope(_of(of)):
        assert _release(made)
        assert not _release(made)
    tasks.remove_over()
    assert _hours(held) == []
    assert _verify(held).differences == ()
    assert sum(one.segments for one in _verify(held).removed) == 3


@pytest.mark.parametrize("place", ["all", "facility", "area"])
def test_a_hold_covers_all_that_lies_in_its_place(place: str) -> None:
    of = factories.tenant()
    with open_scope(_of(of)):
        site = factories.facility(of)
        area = factories.facility(of, site)
        inside = factories.device(area if place == "area" else site).device
        outside = factories.device(factories.facility(of)).device
    for device in (inside, outside):
        _measure(device, OLD + HOUR)
    _keep(inside, 365)
    _hold(inside, Held(OLD - WEEK, facility_id=None if place == "all" else site.pk))
    tasks.remove_over()
    assert len(_hours(inside)) == 1
    assert len(_hours(outside)) == (1 if place == "all" else 0)


def test_an_area_that_was_moved_elsewhere_stays_held() -> None:
    of = factories.tenant()
    with open_scope(_of(of)):
        site, elsewhere = factories.facility(of), factories.facility(of)
        area = factories.facility(of, site)
        device = factories.device(area).device
    _measure(device, OLD + HOUR)
    _keep(device, 365)
    _hold(device, Held(OLD, NEXT, facility_id=site.pk))
    with open_scope(_of(of)):
        Facility.objects.filter(pk=area.pk).update(parent_id=elsewhere.pk)
    tasks.remove_over()
    assert _hours(device) == [OLD + HOUR]


def test_a_bill_holds_once_and_says_what_for() -> None:
    device = _device()
    held = Held(OLD, NEXT, facility_id=device.facility_id)
    first = _hold(device, held, cause_id=7)
    assert _hold(device, held, cause_id=7) == first
    assert _hold(device, held, cause_id=8) != first
    with open_scope(_scope(device)):
        assert holds.count_standing(tenant_id=device.tenant_id) == 2
        assert [row.cause_id for row in holds.all_holds(tenant_id=device.tenant_id)] == [8, 7]


def test_a_hold_needs_a_reason_a_period_and_a_place_of_the_tenant() -> None:
    device, other = _device(), _device()
    for held, reason, message in (
        (Held(OLD), " ", "Say why it must be kept"),
        (Held(OLD, OLD), "Why", "end must be after"),
        (Held(OLD, device_id=other.pk), "Why", "no such device"),
        (Held(OLD, facility_id=other.facility_id), "Why", "no such facility"),
    ):
        with open_scope(_scope(device)), pytest.raises(HoldRefused, match=message):
            holds.hold(tenant_id=device.tenant_id, held=held, reason=reason, now=NOW, actor_id=None)


def test_while_a_hold_is_being_made_nothing_is_removed() -> None:
    device = _device()
    _measure(device, OLD + HOUR)
    _keep(device, 365)
    with transaction.atomic("owner"):
        _owner(
            "INSERT INTO devices_hold (tenant_id, devices, starts_at, reason, cause, created_at)"
            " VALUES (%s, '{}', %s, 'Why', 'person', now())",
            device.tenant_id,
            OLD,
        )
        with open_scope(_scope(device)):
            assert retention.remove_over(
                tenant_id=device.tenant_id, data_class=DataClass.READINGS
            ) is None  # fmt: skip
        assert retention.drop_over(data_class=DataClass.READINGS) is None
    tasks.remove_over()
    assert _hours(device) == [OLD + HOUR]


def test_while_somebody_computes_from_what_is_old_nothing_is_removed() -> None:
    device = _device()
    _measure(device, OLD + HOUR)
    _keep(device, 365)
    with transaction.atomic("owner"):
        _owner("SELECT pg_advisory_xact_lock_shared(%s)", LOCK)
        assert retention.drop_over(data_class=DataClass.READINGS) is None
        assert _hours(device) == [OLD + HOUR]
    assert retention.drop_over(data_class=DataClass.READINGS) == 1


# --- What is gone -----------------------------------------------------------------------------


def test_roll_ups_stay_as_they_are_whatever_arrives_or_is_asked_for() -> None:
    device = _device()
    _measure(device, OLD + 23 * HOUR, OLD + 2 * DAY)
    _keep(device, 365)
    before = _quarters(device)
    tasks.remove_over()
    # Late readings of the hour, and a correction of the day.
    factories.store_frame(device, 9, OLD + 23 * HOUR, [[7], [8]], received_at=NOW - 2 * HOUR)
    start_ms = int(OLD.timestamp() * 1000)
    with open_scope(_scope(device)):
        redo_store.ask_again(
            connection,
            [redo_store.Redo(device.pk, start_ms, start_ms + 3 * 86_400_000)],
            cause=redo_store.Cause.CORRECTION,
        )
    _roll_and_move(device)
    with open_scope(_scope(device)):
        while redo.redo().more:
            pass
    assert _quarters(device) == before
    assert (_hours(device), _problems(device)) == ([], [])
    assert _owner("SELECT 1 FROM telemetry_frame WHERE device_id = %s", device.pk) == []


def test_what_an_import_brings_back_is_sealed_and_takes_nothing_else_away() -> None:
    device = _device()
    _measure(device, OLD + HOUR, OLD + 3 * HOUR)
    _keep(device, 365)
    before = _quarters(device)
    tasks.remove_over()
    # A file about one channel of the hour.
    start_ms = int((OLD + HOUR).timestamp() * 1000)
    with open_scope(_scope(device)):
        back = factories.segment(device, OLD + HOUR, {0: [700] * 30})
        segment_store.keep(connection, [back])
        seals.renew(connection, [back], {})
        redo_store.ask_again(
            connection,
            [redo_store.Redo(device.pk, start_ms, start_ms + 3_600_000)],
            cause=redo_store.Cause.IMPORT,
        )
    with open_scope(_scope(device)):
        while redo.redo().more:
            pass
    after = _quarters(device)
    assert _problems(device) == []
    assert [row[:2] for row in after] == [row[:2] for row in before]
    changed = [row for row, old in zip(after, before, strict=True) if row != old]
    assert [(row[0], row[1], row[3]) for row in changed] == [(0, OLD + HOUR, 70.0)]


def test_derived_channels_stay_as_they_are_too() -> None:
    device = _device()
    with open_scope(_scope(device)):
        made = derived_operations.derive_channel(
            device_id=device.pk,
            values=derived_operations.Derivation("doubled", "Doubled", "voltage", "2 * voltage"),
            actor_id=None,
            now=NOW,
        )
    _measure(device, OLD + HOUR)
    _compute(device)
    before = _quarters(device)
    assert {row[0] for row in before} == {0, 1, made.number}
    _keep(device, 365)
    tasks.remove_over()
    factories.store_frame(device, 9, OLD + HOUR, [[7] * 30, [8] * 30], received_at=NOW - 2 * HOUR)
    _roll_and_move(device)
    start_ms = int(OLD.timestamp() * 1000)
    with open_scope(_scope(device)):
        due = derived_store.Due(0, made.pk, start_ms, start_ms + 86_400_000)
        derived_store.ask(connection, [due])
    _compute(device)
    assert _quarters(device) == before


def test_a_quarter_that_rests_in_part_on_what_is_gone_stays_too() -> None:
    """The first quarter after a removed hour, into which its last reading holds."""
    device, whole = _device(), _device()
    for each in (device, whole):
        _measure(each, OLD + 24 * HOUR - 60 * SECOND, OLD + 24 * HOUR)
    _keep(device, 365)
    _hold(device, Held(OLD + 24 * HOUR, OLD + 48 * HOUR, device_id=device.pk))
    tasks.remove_over()
    assert _hours(device) == [OLD + 24 * HOUR]
    for each in (device, whole):
        late = OLD + 24 * HOUR + 600 * SECOND
        factories.store_frame(each, 9, late, [[7] * 30, [8] * 30], received_at=NOW - 2 * HOUR)
        _roll_and_move(each)
    boundary = OLD + 24 * HOUR
    kept, new = _quarters(device), _quarters(whole)
    assert [row[1] for row in kept] == [row[1] for row in new]
    assert [row for row in kept if row[1] != boundary] == [row for row in new if row[1] != boundary]
    assert [row for row in kept if row[1] == boundary] != [row for row in new if row[1] == boundary]
    assert _problems(device) == []


def test_what_had_never_been_kept_is_taken_and_goes_with_the_next_run() -> None:
    device = _device()
    _measure(device, OLD + HOUR)
    _keep(device, 365)
    tasks.remove_over()
    rows = len(_quarters(device))
    _measure(device, OLD + 5 * HOUR, sequence=5)
    assert _hours(device) == [OLD + 5 * HOUR]
    assert len(_quarters(device)) == 2 * rows
    tasks.remove_over()
    assert (_hours(device), _problems(device)) == ([], [])
    assert len(_quarters(device)) == 2 * rows


def test_who_removes_a_segment_without_the_rule_is_found() -> None:
    device = _device()
    _measure(device, OLD + HOUR, OLD + DAY, NEXT + HOUR)
    _keep(device, (NOW - NEXT).days - 1)
    _hold(device, Held(OLD + DAY, OLD + DAY + HOUR, device_id=device.pk))
    tasks.remove_over()
    assert (_hours(device), _problems(device)) == ([OLD + DAY, NEXT + HOUR], [])
    # One that was held, and one that is not over.
    _owner("DELETE FROM telemetry_segment WHERE device_id = %s", device.pk)
    gone = "it was sealed and is gone"
    assert _problems(device) == [(OLD + DAY, gone), (NEXT + HOUR, gone)]


def test_the_application_cannot_remove_or_forge_anything() -> None:
    device, other = _device(), _device()
    _measure(device, OLD + HOUR)
    _measure(other, OLD + HOUR)
    _keep(other, 365)
    made = _hold(device, Held(OLD, NEXT))
    for statement in (
        "DELETE FROM telemetry_segment",
        "DELETE FROM telemetry_quarantine",
        f"DELETE FROM devices_hold WHERE id = {made.pk}",
        f"UPDATE devices_hold SET ends_at = starts_at WHERE id = {made.pk}",
        "DELETE FROM retention_removal",
        "INSERT INTO retention_removal VALUES (DEFAULT)",
        f"SELECT retention_rule({device.tenant_id}, 'readings')",
    ):
        with (
            open_scope(_scope(device)),
            connection.cursor() as cursor,
            pytest.raises(Exception, match="permission denied"),
            transaction.atomic(),
        ):
            cursor.execute(statement)
    with (
        open_scope(_scope(device)),
        pytest.raises(Exception, match="is not in the scope"),
        transaction.atomic(),
    ):
        retention.remove_over(tenant_id=other.tenant_id, data_class=DataClass.READINGS)
    with open_scope(_scope(device)):
        assert next(iter(retention.rules(tenant_id=device.tenant_id))).days is None
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM door_retention_of(%s)", [other.tenant_id])
            assert cursor.fetchall() == []


def test_the_end_of_a_removed_range_is_a_day() -> None:
    assert retention.over_before(365, datetime(2026, 11, 21, 10, tzinfo=UTC)).date() == date(
        2025, 11, 21
    )

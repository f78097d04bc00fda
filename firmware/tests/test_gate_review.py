"""The gate over what is really stored: each fault is found, nothing else is, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from devices.domain import rollups
from devices.models import Command, Device
from devices.tests import factories
from firmware.domain import (
    gate_evidence,
    gate_operations,
    gate_park,
    gate_quarters,
    rollout_driver,
)
from firmware.domain.gate_windows import Windows, windows
from firmware.gate.comparison import Park
from firmware.gate.limits import GateLimits
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict, MetricVerdict
from firmware.models import (
    GateReview,
    Rollout,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    TargetState,
)
from firmware.tests.factories import target as a_target
from firmware.tests.gate_world import (
    DAY,
    FIRST,
    HOUR,
    SOAK,
    STARTED,
    UPDATED,
    GatePark,
    Habit,
)
from firmware.tests.gate_world import (
    gate_park as make_park,
)
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

NOW = UPDATED + SOAK + timedelta(minutes=30)
SOUND = Habit()


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def look(park: GatePark, now: datetime = NOW) -> GateVerdict:
    with open_scope(park.scope):
        return gate_operations.review(wave_id=park.wave.pk, now=now)


def reviews(park: GatePark) -> list[GateReview]:
    with open_scope(park.scope):
        return list(GateReview.objects.order_by("look"))


def of(verdict: GateVerdict, metric: Metric) -> MetricVerdict:
    return next(one for one in verdict.metrics if one.metric is metric)


@pytest.mark.parametrize(
    ("metric", "fault"),
    [
        (Metric.MISSING, replace(SOUND, values=0.9)),
        (Metric.GAPS, replace(SOUND, gaps=0.2)),
        (Metric.RESETS, replace(SOUND, resets=0.9)),
        (Metric.RECONNECTS, replace(SOUND, connects=0.6, resets=0.025)),
        (Metric.ERRORS, replace(SOUND, errors=0.5)),
        (Metric.SHAPE, replace(SOUND, shift=6.0)),
        (Metric.DRAIN, replace(SOUND, drain=45.0)),
    ],
)
def test_each_fault_is_found_in_what_is_stored(metric: Metric, fault: Habit) -> None:
    park = make_park(fault=fault)
    verdict = look(park)
    assert verdict.outcome == "fail"
    assert [one.metric for one in verdict.metrics if one.state == "fail"] == [metric]
    (kept,) = reviews(park)
    assert (kept.outcome, kept.look, kept.tenant_id) == ("fail", 1, park.tenant.pk)
    assert GateVerdict.from_json(kept.verdict) == verdict


def test_sound_devices_are_told_as_they_are() -> None:
    park = make_park()
    verdict = look(park)
    assert verdict.outcome == "wait"
    assert {one.state for one in verdict.metrics} <= {"open", "pass"}
    assert (verdict.begins_at, verdict.evidence_until) == (UPDATED, UPDATED + SOAK + HOUR / 4)
    rates = {one.metric: (one.control_rate, one.control_past) for one in verdict.metrics}
    expected = {Metric.GAPS: 5.8, Metric.RECONNECTS: 3.6, Metric.ERRORS: 2.4, Metric.DRAIN: 30.5}
    for metric, rate in expected.items():
        for found in rates[metric]:
            assert found == pytest.approx(rate, rel=0.2)
    for found in rates[Metric.RESETS]:
        assert found == pytest.approx(0.36, rel=0.4)
    assert {one.updated for one in verdict.metrics} == {27}
    assert {one.control for one in verdict.metrics} == {54}


def test_the_course_tells_every_hour_of_both() -> None:
    park = make_park(fault=replace(SOUND, drain=60.0))
    look(park)
    course = gate_evidence.Course.from_json(reviews(park)[0].course)
    assert len(course.hours) == 25
    assert course.hours[0] == int(UPDATED.timestamp())
    line = course.lines[Metric.DRAIN]
    # Midnight (the charge rises) apart, an hour of the updated takes twice as much.
    assert line.updated[3] == pytest.approx(60, rel=0.05)
    assert line.control[3] == pytest.approx(30, rel=0.05)
    assert set(course.lines) == set(Metric)
    assert course.to_json() == reviews(park)[0].course


def test_planned_reboots_are_no_resets() -> None:
    park = make_park(updated=6, control=21)
    asked, installed, fell = park.updated[:3]
    at = UPDATED + 5 * HOUR
    with connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM device_event WHERE received_at >= %s", [UPDATED])
        for device in (asked, installed, fell):
            for when, boots in ((at - HOUR, 1), (at + HOUR / 6, 2)):
                cursor.execute(
                    "INSERT INTO device_event (received_at, tenant_id, device_id, occurred_at,"
                    " kind, data) VALUES (%s, %s, %s, %s, 'connected',"
                    " jsonb_build_object('boot_count', %s::int))",
                    [when, device.tenant_id, device.pk, when, 5_000 + boots],
                )
        cursor.execute(
            "INSERT INTO device_event VALUES (%s, %s, %s, 7, %s, 'firmware.installing', '{}')",
            [at + HOUR / 3, installed.tenant_id, installed.pk, at],
        )
    with open_scope(park.scope):
        command = factories.command(asked, kind="reboot", arguments={})
        Command.objects.filter(pk=command.pk).update(
            state="succeeded", answered_at=at + HOUR / 5, queued_at=at, state_at=at
        )
        shown = evidence(park)
    devices = [int(one) for one in shown[0].device]
    resets = shown[1].measures[Metric.RESETS].amount
    connections_ = shown[1].measures[Metric.RECONNECTS].amount
    assert [resets[devices.index(one.pk)] for one in (asked, installed, fell)] == [0, 0, 1]
    assert [connections_[devices.index(one.pk)] for one in (asked, installed, fell)] == [1, 1, 2]


def evidence(park: GatePark) -> tuple[Park, gate_evidence.Evidence]:
    over = the_windows()
    found = gate_park.park_of(park.wave, since=over.first, updated_at=over.begins_at)
    assert found is not None
    return found, gate_evidence.gather(found, over)


def the_windows(length: timedelta = SOAK) -> Windows:
    over = windows(updated_at=UPDATED, rollout_at=STARTED, until=UPDATED + length, past_days=7)
    assert over is not None
    return over


def test_windows_have_the_same_clock_times_and_end_before_the_rollout() -> None:
    over = the_windows(timedelta(hours=8))
    assert len(over.past) == 7
    for start, end in over.past:
        assert (UPDATED - start) % DAY == timedelta(0)
        assert end - start == timedelta(hours=8)
        assert end <= STARTED
    starts, past = over.quarters()
    assert len(starts) == 8 * 32
    assert past.sum() == 7 * 32
    whole = the_windows(timedelta(hours=30))
    assert whole.past == ((FIRST, STARTED),)
    short = the_windows(timedelta(hours=1))
    assert short.past == ((FIRST, STARTED),)
    soon = windows(updated_at=UPDATED, rollout_at=STARTED, until=UPDATED, past_days=7)
    assert soon is None


def test_nothing_is_kept_before_the_soak_is_over_or_while_the_roller_is_behind() -> None:
    park = make_park(updated=6, control=21)
    early = look(park, UPDATED + SOAK + timedelta(minutes=5))
    assert (early.outcome, early.needs_person, early.metrics) == ("wait", False, ())
    assert early.evidence_until < UPDATED + SOAK
    with connections["owner"].cursor() as cursor:
        cursor.execute("UPDATE rollup_progress SET sampled_at = %s", [UPDATED])
    assert look(park).metrics == ()
    assert reviews(park) == []


def test_a_device_behind_in_rollups_is_not_taken_for_one_with_gaps() -> None:
    park = make_park()
    behind = park.updated[0]
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "UPDATE rollup_progress SET sampled_at = %s WHERE device_id = %s",
            [UPDATED, behind.pk],
        )
        cursor.execute(
            "DELETE FROM rollup_15m WHERE starts_at >= %s AND device_id = %s",
            [UPDATED, behind.pk],
        )
    verdict = look(park)
    assert of(verdict, Metric.GAPS).updated == 26
    assert of(verdict, Metric.RECONNECTS).updated == 27


def test_a_wave_is_looked_at_as_often_as_the_limits_say() -> None:
    park = make_park(limits=GateLimits(looks=2), until=UPDATED + SOAK + 8 * HOUR)
    first = look(park)
    # Asked again too early: the same answer, and no further look.
    assert look(park, NOW + HOUR) == first
    second = look(park, NOW + 6 * HOUR)
    assert (second.look, second.looks) == (2, 2)
    assert second.evidence_until > first.evidence_until
    assert [one.look for one in reviews(park)] == [1, 2]
    assert second.needs_person == (second.outcome == "wait")


def test_silent_devices_lack_all_of_their_readings() -> None:
    park = make_park()
    with connections["owner"].cursor() as cursor:
        for table, column in (("ledger_hour", "hour"), ("rollup_15m", "starts_at")):
            cursor.execute(
                f"DELETE FROM {table} WHERE device_id = ANY(%s) AND {column} >= %s",
                [[device.pk for device in park.updated[:12]], UPDATED],
            )
    verdict = look(park)
    assert verdict.outcome == "fail"
    assert {of(verdict, metric).state for metric in (Metric.MISSING, Metric.GAPS)} == {"fail"}


def test_only_sound_devices_of_the_type_are_beside_the_wave() -> None:
    park = make_park(updated=6, control=21)
    with open_scope(park.scope):
        other_kind = factories.device(park.control[0].facility).device
        touched, planned, already = park.control[:3]
        gone = RolloutTarget.objects.get(device=park.updated[5])
        RolloutTarget.objects.filter(pk=gone.pk).update(state=TargetState.FAILED)
        late = RolloutTarget.objects.get(device=park.updated[4])
        RolloutTarget.objects.filter(pk=late.pk).update(state_at=UPDATED + HOUR)
        waiting = target_in_next_wave(park, touched)
        RolloutTarget.objects.filter(pk=waiting.pk).update(
            state=TargetState.DOWNLOADING, state_at=UPDATED
        )
        target_in_next_wave(park, park.control[4])
        Device.objects.filter(pk=planned.pk).update(state="suspended")
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET firmware_version = '2.0.0' WHERE device_id = %s", [already.pk]
        )
    with open_scope(park.scope):
        found, _ = evidence(park)
    updated = {int(one) for one in found.device[found.updated]}
    control = {int(one) for one in found.device[~found.updated]}
    assert updated == {one.pk for one in park.updated[:4]}
    assert control == {one.pk for one in park.control[3:]}
    assert other_kind.pk not in control


def target_in_next_wave(park: GatePark, device: Device) -> RolloutTarget:
    rollout = Rollout.objects.get(pk=park.wave.rollout_id)
    wave, _ = RolloutWave.objects.get_or_create(
        tenant=park.tenant, rollout=rollout, number=2, defaults={"size": 2}
    )
    return a_target(wave, device)


def test_nobody_updated_and_no_gate() -> None:
    park = make_park(updated=3, control=21)
    with open_scope(park.scope):
        RolloutTarget.objects.update(state=TargetState.FAILED)
    verdict = look(park)
    assert (verdict.outcome, verdict.needs_person) == ("wait", True)
    with open_scope(park.scope):
        RolloutWave.objects.update(updated_at=None, soaking_at=None)
        with pytest.raises(gate_operations.NotUpdatedError):
            gate_operations.review(wave_id=park.wave.pk, now=NOW)
        strategy = Rollout.objects.get().strategy | {"gate": None}
        Rollout.objects.update(strategy=strategy)
        with pytest.raises(gate_operations.NoGateError):
            gate_operations.review(wave_id=park.wave.pk, now=NOW)


@pytest.mark.parametrize(
    ("fault", "state", "reason"),
    [
        (replace(SOUND, connects=0.6, resets=0.025), RolloutState.PAUSED, "gate"),
        (None, RolloutState.RUNNING, ""),
    ],
)
def test_a_rollout_that_is_driven_stops_at_its_gate(
    fault: Habit | None, state: RolloutState, reason: str
) -> None:
    park = make_park(fault=fault)
    with open_scope(park.scope):
        following = target_in_next_wave(park, park.control[0])
    rollout = park.wave.rollout_id

    def drive(at: datetime) -> None:
        step = rollout_driver.drive(tenant_id=park.tenant.pk, rollout_id=rollout, now=at)
        assert step is not None
        rollout_driver.review(step, now=at)

    # Before there is evidence of all of the soak, nothing is decided, however often it is asked.
    for minutes in (1, 2):
        drive(UPDATED + SOAK + timedelta(minutes=minutes))
    assert reviews(park) == []
    for minutes in (30, 31):
        drive(UPDATED + SOAK + timedelta(minutes=minutes))
    assert len(reviews(park)) == 1
    with open_scope(park.scope):
        driven = Rollout.objects.get(pk=rollout)
        assert (driven.state, driven.state_reason) == (state, reason)
        following.refresh_from_db()
        assert following.state == TargetState.PENDING


def test_the_number_of_queries_does_not_grow_with_the_park() -> None:
    counts = []
    for control in (21, 42):
        park = make_park(updated=6, control=control)
        with CaptureQueriesContext(connection) as queries:
            look(park)
        counts.append(len(queries))
    assert counts == [22, 22]


def test_another_tenant_and_a_narrowed_member_see_and_make_no_reviews() -> None:
    park, stranger = make_park(updated=6, control=21), factories.tenant()
    look(park)
    narrowed = Scope(park.scope.tenant_ids, (park.updated[0].facility_id,))
    for scope in (Scope((stranger.pk,)), narrowed):
        with open_scope(scope):
            assert list(GateReview.objects.all()) == []
            with pytest.raises(RolloutWave.DoesNotExist):
                gate_operations.review(wave_id=park.wave.pk, now=NOW)
    with open_scope(park.scope):
        for change in (GateReview.objects.all().delete, lambda: GateReview.objects.update(look=9)):
            with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
                change()


def test_gaps_are_those_of_the_frames_that_arrived() -> None:
    park = make_park(updated=3, control=3)
    with open_scope(park.scope):
        device = factories.device(park.control[0].facility).device
    over = Windows(UPDATED, UPDATED + HOUR, ((UPDATED - DAY, UPDATED - DAY + HOUR),))
    sequence = 0
    for start in (over.past[0][0], over.begins_at):
        for quarter in range(4):
            # The third quarter after the wave lacks its first minute.
            missing = 30 * (quarter == 2 and start == over.begins_at)
            sequence += 1
            factories.store_frame(
                device,
                sequence,
                start + quarter * HOUR / 4 + timedelta(seconds=2 * missing),
                [[1_000 + at for at in range(450 - missing)], [23_000] * (450 - missing)],
            )
    with open_scope(park.scope):
        rollups.roll_up()
        found = gate_quarters.read(
            np.array([device.pk]), np.zeros(1, np.int64), np.zeros(1, np.bool_), over
        )
    gaps = found.measures[Metric.GAPS]
    assert (gaps.amount[0], gaps.past_amount[0]) == (1, 0)
    assert (gaps.exposure[0], gaps.past_exposure[0]) == (1 / 24, 1 / 24)
    assert found.course[Metric.GAPS][0].tolist() == [[0, 0, 1, 0]]
    shape = found.measures[Metric.SHAPE]
    # One past day tells nothing of how days differ.
    assert (shape.past_exposure[0], shape.exposure[0]) == (0, 1 / 24)
    assert found.measures[Metric.DRAIN].exposure[0] == 0

"""Roll-outs in the database: started, driven, told of, taken back; behind the wall."""

from __future__ import annotations

import hashlib
import random
import threading
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID, uuid4

import pytest
from django.conf import settings
from django.db import IntegrityError, ProgrammingError, connections, transaction
from pytest_django import Settings
from redis import Redis

from devices.domain.commands_policy import SYSTEM
from devices.ingest import artifacts
from devices.models import Device
from devices.protocol import Capability
from devices.tests import factories
from firmware import tasks
from firmware.artifacts import store
from firmware.domain import (
    downloads,
    policy_operations,
    reports,
    rollout_driver,
    rollout_joining,
    rollout_offers,
    rollout_operations,
    rollout_plan,
    rollout_reading,
)
from firmware.domain.policy_operations import Change
from firmware.domain.reports import Report
from firmware.domain.rollout_operations import Draft, RolloutRefused
from firmware.models import (
    ReleaseState,
    Rollout,
    RolloutState,
    RolloutTarget,
    UpdateEvent,
)
from firmware.rollout import engine
from firmware.tests.factories import release
from firmware.tests.rollout_park import RolloutPark
from tenants.models import AuditEntry
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"]),
    pytest.mark.usefixtures("firmware_folder", "clean"),
]


@pytest.fixture
def clean() -> None:
    """Nothing of earlier tests is in Redis or under way."""
    with Redis.from_url(settings.REDIS_URL) as redis:
        redis.flushall()


@pytest.fixture
def park() -> RolloutPark:
    return RolloutPark.make()


def test_rollout_updates_a_canary_first_and_then_everybody(park: RolloutPark) -> None:
    row = park.start()
    park.tick(2)
    assert sorted(park.states(row)) == ["offered", "pending", "pending"]
    park.obey()
    park.tick(4)
    assert sorted(park.states(row)) == ["offered", "offered", "succeeded"]
    park.obey()
    park.tick(2)
    assert park.states(row) == ["succeeded"] * 3
    row = park.fresh(row)
    assert (row.state, row.ended_at is None) == (RolloutState.COMPLETED, False)
    for device in park.devices:
        assert park.history(device) == [
            "offered",
            "accepted",
            "downloaded",
            "installing",
            "succeeded",
        ]
    with open_scope(park.scope):
        actions = AuditEntry.objects.filter(action__startswith="rollout.")
        assert sorted(actions.values_list("action", flat=True)) == [
            "rollout.completed",
            "rollout.create",
            "rollout.start",
        ]


def test_offers_carry_the_signed_release_and_its_payload_is_staged(park: RolloutPark) -> None:
    park.start(waves=[{"percent": 100}], bytes_per_s=9000)
    park.tick(2)
    offers = park.offers()
    release = park.releases["2.0.0"]
    assert set(offers) == {device.pk for device in park.devices}
    for offer in offers.values():
        assert offer.manifest == bytes(release.manifest)
        assert offer.signature == bytes(release.signature)
        assert offer.payload_sha256.hex() == release.artifact.sha256
        assert (offer.rate, offer.flags) == (3000, 0)
    with Redis.from_url(settings.REDIS_URL) as redis:
        assert artifacts.is_staged(redis, bytes.fromhex(release.artifact.sha256))


@pytest.mark.parametrize("lost", [True, False])
def test_payload_that_cannot_be_staged_holds_up_no_other(
    lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that the store has lost, or that has no room; the other comes after it."""
    wide, small = b"wide" * 1000, b"small"
    first, second = (hashlib.sha256(data).hexdigest() for data in (wide, small))
    assert first < second
    monkeypatch.setattr(artifacts, "MAX_STAGED_BYTES", len(wide) - 1)
    store.write(small, sha256=second)
    if not lost:
        store.write(wide, sha256=first)
    rollout_offers.stage({first, second})
    with Redis.from_url(settings.REDIS_URL) as redis:
        staged = [artifacts.is_staged(redis, bytes.fromhex(one)) for one in (first, second)]
    assert staged == [False, True]


def test_payload_that_could_not_be_staged_is_not_read_again_at_once() -> None:
    digest = hashlib.sha256(b"late").hexdigest()
    with Redis.from_url(settings.REDIS_URL) as redis:
        rollout_offers.stage({digest})
        store.write(b"late", sha256=digest)
        rollout_offers.stage({digest})
        assert not artifacts.is_staged(redis, bytes.fromhex(digest))
        # As if the time were over.
        (waits,) = redis.keys("firmware:unstaged:*")
        assert 0 < redis.ttl(waits) <= 30
        redis.delete(waits)
        rollout_offers.stage({digest})
        assert artifacts.is_staged(redis, bytes.fromhex(digest))


def test_devices_that_can_are_told_where_the_payload_is_over_http(park: RolloutPark) -> None:
    able, unable, _third = park.devices
    park.connect(able, capabilities=Capability.FIRMWARE | Capability.FIRMWARE_HTTP)
    park.start(waves=[{"percent": 100}], bytes_per_s=9000)
    park.tick(2)
    offers = park.offers()
    assert offers[unable.pk].url == ""
    link = urlsplit(offers[able.pk].url)
    digest = park.releases["2.0.0"].artifact.sha256
    assert link.path == f"{downloads.PATH}{digest}"
    download = downloads.opened(digest, dict(parse_qsl(link.query)))
    assert (download.device_id, download.update_uid.bytes) == (able.pk, offers[able.pk].update_id)
    assert (download.size, download.rate) == (offers[able.pk].payload_size, 3000)
    # The whole payload as it is sent counts as a download that goes on.
    downloads.progressed(download, offset=download.size, now=park.now)
    with open_scope(park.scope):
        target = RolloutTarget.objects.get(device=able)
    assert (target.state, target.offset) == ("downloading", download.size)


def test_a_device_that_lies_about_its_version_has_failed(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], error_percent=100, success_percent=0)
    park.tick(2)
    liar = park.devices[0]
    offer = park.offers()[liar.pk]
    park.connect(liar, "1.0.0")
    park.say(liar, "confirmed", UUID(bytes=offer.update_id), version="2.0.0")
    park.tick(2)
    assert park.states(row)[0] == "installing"
    park.tick(1, seconds=61)
    with open_scope(park.scope):
        target = RolloutTarget.objects.get(device=liar)
    assert (target.state, target.failure_code) == ("failed", "untrue")


def test_reports_take_effect_once_and_only_for_the_device_that_they_are_about(
    park: RolloutPark,
) -> None:
    row = park.start(waves=[{"percent": 100}])
    park.tick(2)
    mine, other, _third = park.devices
    uid = UUID(bytes=park.offers()[mine.pk].update_id)
    park.say(other, "failed", uid, code="flash")
    park.say(mine, "accepted", uid)
    park.say(mine, "boasting", uid)
    park.say(mine, "accepted", uuid4())
    park.tick(1)
    assert park.states(row) == ["downloading", "offered", "offered"]
    assert park.history(mine) == ["offered", "accepted"]
    park.tick(1)
    assert park.history(mine) == ["offered", "accepted"]


def test_two_who_drive_at_once_do_no_harm(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], max_downloads=2)
    park.tick(1)
    barrier = threading.Barrier(2)
    found = []

    def drive() -> None:
        barrier.wait(30)
        try:
            found.append(
                rollout_driver.drive(tenant_id=park.tenant.pk, rollout_id=row.pk, now=park.now)
            )
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=drive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(park.states(row)) == ["offered", "offered", "waiting"]
    assert sum(step.offered for step in found if step is not None) == 2


def test_a_rollout_that_cannot_be_read_holds_up_no_other(
    park: RolloutPark, settings: Settings
) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    broken, sound = park.start(), RolloutPark.make(1)
    row = sound.start()
    with open_scope(park.scope):
        Rollout.objects.filter(pk=broken.pk).update(strategy={"waves": 1}, priority=9)
    for _ in range(2):
        tasks.drive()
    assert sound.states(row) == ["offered"]
    assert park.states(broken) == ["pending"] * 3


def test_limits_of_the_tenant_hold_over_all_its_rollouts(park: RolloutPark) -> None:
    with open_scope(park.scope):
        policy_operations.change(
            actor=SYSTEM, tenant_id=park.tenant.pk, wanted=Change(max_downloads=2)
        )
    row = park.start(waves=[{"percent": 100}])
    park.tick(3)
    assert sorted(park.states(row)) == ["offered", "offered", "waiting"]


def test_a_device_is_in_one_rollout_and_the_higher_one_takes_who_waits(
    park: RolloutPark,
) -> None:
    for device in park.devices:
        park.disconnect(device)
    first = park.start(waves=[{"percent": 100}])
    park.tick(2)
    assert park.states(first) == ["waiting"] * 3
    second = park.start(waves=[{"percent": 100}])
    park.tick(2)
    assert (park.states(first), park.states(second)) == (["waiting"] * 3, ["pending"] * 3)
    with open_scope(park.scope):
        rollout_operations.set_priority(rollout_id=second.pk, priority=5, actor_id=None)
    park.tick(2)
    assert (park.states(first), park.states(second)) == (["pending"] * 3, ["waiting"] * 3)
    with open_scope(park.scope), pytest.raises(IntegrityError), transaction.atomic():
        RolloutTarget.objects.filter(rollout=first).update(state="waiting")


def test_dry_run_is_what_the_start_does_and_says_why_the_others_get_nothing() -> None:
    park = RolloutPark.make(8)
    cases: dict[int, dict[str, Any]] = {
        0: {"version": "2.0.0"},
        1: {"version": "2.1.0"},
        2: {"capabilities": 0},
        3: {"image_sha256": "ab" * 32, "version": "2.0.0"},
    }
    for index, facts in cases.items():
        park.connect(park.devices[index], **{"version": "1.0.0", **facts})
    with open_scope(park.scope):
        Device.objects.filter(pk=park.devices[4].pk).update(state="suspended")
        Device.objects.filter(pk=park.devices[5].pk).update(state="planned")
        other = factories.device(park.devices[0].facility).device
    row = park.draft()
    with open_scope(park.scope):
        plan = rollout_plan.plan_of(row)
        rollout_operations.start(rollout_id=row.pk, now=park.now, actor_id=None)
        stored = {
            target.device_id: (target.failure_code, target.wave and target.wave.number)
            for target in RolloutTarget.objects.filter(rollout=row).select_related("wave")
        }
    assert {
        one.device_id: (one.reason, one.wave or None)
        for one in plan.devices
        if one.state != "planned"
    } == stored
    reasons = {one.device_id: one.reason for one in plan.devices}
    assert [reasons[device.pk] for device in park.devices] == [
        "already",
        "older",
        "medium",
        "",
        "state",
        "state",
        "",
        "",
    ]
    assert reasons[other.pk] == "type"
    assert plan.waves == (1, 2)
    assert plan.reasons == {"already": 1, "older": 1, "medium": 1, "state": 2, "type": 1}
    assert plan.bytes == 3 * park.releases["2.0.0"].artifact.size


@pytest.mark.parametrize("seed", range(3))
def test_whatever_devices_are_like_the_start_does_what_the_dry_run_told(seed: int) -> None:
    chance = random.Random(seed)
    park = RolloutPark.make(12, versions=("1.0.0", "2.0.0", "2.1.0"))
    for device in park.devices[1:]:
        park.connect(
            device,
            chance.choice(["1.0.0", "2.0.0", "2.1.0", "odd"]),
            capabilities=chance.choice([4, 4, 0x14, 0, None]),
            hardware_revision=chance.choice(["a", ""]),
        )
        state = chance.choice(["active", "active", "suspended", "planned"])
        with open_scope(park.scope):
            Device.objects.filter(pk=device.pk).update(state=state)
    for version in ("2.0.0", "2.1.0"):
        row = park.draft(version, waves=[{"count": 2}, {"percent": chance.choice([30, 70])}])
        with open_scope(park.scope):
            plan = rollout_plan.plan_of(row)
            rollout_operations.start(rollout_id=row.pk, now=park.now, actor_id=None)
            targets = RolloutTarget.objects.filter(rollout=row).select_related("wave")
            assert sorted(
                (one.device_id, one.failure_code, one.wave.number if one.wave else 0)
                for one in targets
            ) == sorted(
                (one.device_id, one.reason, one.wave)
                for one in plan.devices
                if one.state != "planned"
            )
            assert tuple(row.waves.values_list("size", flat=True)) == plan.waves


def test_new_devices_of_the_selection_join_and_nobody_moves(park: RolloutPark) -> None:
    row = park.start()
    park.tick(2)
    with open_scope(park.scope):
        before = dict(row.targets.values_list("device_id", "wave__number"))
        new = [factories.device(park.devices[0].facility, park.kind).device for _ in range(4)]
    arguments: dict[str, Any] = {"tenant_id": park.tenant.pk, "rollout_id": row.pk, "now": park.now}
    assert rollout_joining.join(**arguments) == 4
    assert rollout_joining.join(**arguments) == 0
    with open_scope(park.scope):
        after = dict(row.targets.values_list("device_id", "wave__number"))
    assert {device: after[device] for device in before} == before
    assert set(after) - set(before) == {device.pk for device in new}
    late = {**arguments, "now": park.now + timedelta(days=31)}
    with open_scope(park.scope):
        factories.device(park.devices[0].facility, park.kind)
    assert rollout_joining.join(**late) == 0


def test_aborting_withdraws_what_is_not_installed(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}])
    park.tick(2)
    offers = park.offers()
    installing = park.devices[0]
    park.say(installing, "installing", UUID(bytes=offers[installing.pk].update_id))
    park.tick(1)
    with open_scope(park.scope):
        rollout_operations.abort(rollout_id=row.pk, note="No.", actor_id=park.people[0])
    park.tick(1)
    assert park.states(row) == ["installing", "cancelled", "cancelled"]
    assert sorted(device for device, _told in park.heard) == sorted(
        device.pk for device in park.devices[1:]
    )
    assert park.fresh(row).ended_at is None
    park.update(installing, offers[installing.pk])
    park.tick(2)
    assert park.states(row)[0] == "succeeded"
    assert park.fresh(row).ended_at is not None


def test_rolling_back_gives_devices_what_they_came_from(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}])
    park.tick(2)
    offers = park.offers()
    first, second, third = park.devices
    park.update(first, offers[first.pk])
    park.say(second, "installing", UUID(bytes=offers[second.pk].update_id))
    park.tick(1)
    with open_scope(park.scope):
        back = rollout_operations.roll_back(
            rollout_id=row.pk, now=park.now, actor_id=park.people[0]
        )
    park.heard.clear()
    park.tick(3)
    offered = park.offers()
    assert set(offered) == {first.pk}
    assert offered[first.pk].flags == 1
    assert offered[first.pk].payload_sha256.hex() == park.releases["1.0.0"].artifact.sha256
    # One that was installing confirms late, and is taken back as well.
    park.update(second, offers[second.pk])
    park.update(first, offered[first.pk], "1.0.0")
    park.tick(3)
    assert park.states(row) == ["succeeded", "succeeded", "cancelled"]
    park.obey("1.0.0")
    park.tick(3)
    assert park.states(back) == ["succeeded", "succeeded"]
    assert park.fresh(back).state == RolloutState.COMPLETED
    assert third.pk not in offered


def test_an_error_threshold_rolls_back_by_itself(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], on_error="rollback", retries={})
    park.tick(2)
    offers = park.offers()
    good, bad, _third = park.devices
    park.update(good, offers[good.pk])
    park.say(bad, "reverted", UUID(bytes=offers[bad.pk].update_id), code="self_test")
    park.tick(4)
    assert park.fresh(row).state == RolloutState.ABORTED
    with open_scope(park.scope):
        back = Rollout.objects.get(parent=row)
        assert list(back.targets.values_list("device_id", "state")) == [(good.pk, "offered")]


def test_a_rollout_that_was_taken_back_is_not_tried_again(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], retries={}, error_percent=50, success_percent=50)
    park.tick(2)
    offers = park.offers()
    bad, *good = park.devices
    park.say(bad, "failed", UUID(bytes=offers[bad.pk].update_id), code="flash")
    for device in good:
        park.update(device, offers[device.pk])
    park.tick(3)
    assert park.fresh(row).state == RolloutState.COMPLETED
    with open_scope(park.scope):
        rollout_operations.roll_back(rollout_id=row.pk, now=park.now, actor_id=None)
        with pytest.raises(RolloutRefused, match="taken back"):
            rollout_operations.retry_failed(rollout_id=row.pk, now=park.now, actor_id=None)


def test_a_draft_names_an_approved_release(park: RolloutPark) -> None:
    """Whoever deletes a draft of a release need not see the roll-outs of tenants above."""
    with open_scope(park.scope):
        draft = release(park.tenant, park.kind, "3.0.0", state=ReleaseState.DRAFT)
        with pytest.raises(RolloutRefused, match="Only an approved release"):
            rollout_operations.create(
                tenant_id=park.tenant.pk,
                draft=Draft("Too early", draft.pk, {"everything": True}, {}),
                actor_id=None,
            )


def test_failed_devices_are_tried_again_when_a_person_asks(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], retries={}, error_percent=50, success_percent=50)
    park.tick(2)
    offers = park.offers()
    bad, *good = park.devices
    park.say(bad, "failed", UUID(bytes=offers[bad.pk].update_id), code="flash")
    for device in good:
        park.update(device, offers[device.pk])
    park.tick(3)
    assert park.fresh(row).state == RolloutState.COMPLETED
    with open_scope(park.scope):
        count = rollout_operations.retry_failed(
            rollout_id=row.pk, codes=["flash"], now=park.now, actor_id=park.people[0]
        )
    assert count == 1
    park.tick(2)
    park.obey()
    park.tick(2)
    assert park.states(row) == ["succeeded"] * 3
    assert park.fresh(row).state == RolloutState.COMPLETED


def test_a_second_person_has_to_approve_where_the_tenant_demands_it(park: RolloutPark) -> None:
    maker, other = park.people
    with open_scope(park.scope):
        policy_operations.change(
            actor=SYSTEM, tenant_id=park.tenant.pk, wanted=Change(second_person=True)
        )
    row = park.draft(approval_between=True)
    with open_scope(park.scope):
        with pytest.raises(RolloutRefused):
            rollout_operations.start(rollout_id=row.pk, now=park.now, actor_id=maker)
        with pytest.raises(RolloutRefused):
            rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=maker)
        rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=other)
        rollout_operations.start(rollout_id=row.pk, now=park.now, actor_id=maker)
    park.tick(2)
    park.obey()
    park.tick(2)
    assert park.fresh(row).state == RolloutState.AWAITING_APPROVAL
    with open_scope(park.scope):
        with pytest.raises(RolloutRefused):
            rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=maker)
        rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=other)
    park.tick(3)
    assert sorted(park.states(row)) == ["offered", "offered", "succeeded"]


def test_who_changes_a_draft_does_not_approve_it(park: RolloutPark) -> None:
    maker, other = park.people
    row = park.draft()
    with open_scope(park.scope):
        policy_operations.change(
            actor=SYSTEM, tenant_id=park.tenant.pk, wanted=Change(second_person=True)
        )
        third = factories.member(park.tenant, Role.ADMIN).user_id
        draft = Draft(
            name="To everybody at once",
            release_id=park.releases["2.0.0"].pk,
            selection={"everything": True},
            strategy={"waves": [{"percent": 100}]},
        )
        with pytest.raises(RolloutRefused, match="Two persons"):
            rollout_operations.change(rollout_id=row.pk, draft=draft, actor_id=None)
        rollout_operations.change(rollout_id=row.pk, draft=draft, actor_id=other)
        for actor in (maker, other):
            with pytest.raises(RolloutRefused, match="made or changed"):
                rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=actor)
        rollout_operations.approve(rollout_id=row.pk, now=park.now, actor_id=third)


def test_what_a_device_came_from_is_not_what_it_runs_on_trial(park: RolloutPark) -> None:
    """It has installed the release, says nothing, and is offered it again."""
    row = park.start(waves=[{"percent": 100}], retries={"timeout": {"limit": 1, "delay_s": 1}})
    park.tick(2)
    device = park.devices[0]
    park.say(device, "installing", UUID(bytes=park.offers()[device.pk].update_id))
    park.connect(device, "2.0.0")
    park.tick(1)
    park.tick(1, seconds=3600)
    park.tick(3)
    assert device.pk in park.offers()
    with open_scope(park.scope):
        target = RolloutTarget.objects.get(device=device, rollout=row)
    assert (target.state, target.attempts) == ("offered", 1)
    assert target.from_version == "1.0.0"
    assert target.from_image == park.releases["1.0.0"].artifact.sha256


def test_devices_that_another_rollout_keeps_hold_up_no_wave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many they are: more than are claimed in one step."""
    monkeypatch.setattr(engine, "MOST_CLAIMS", 1)
    park = RolloutPark.make(4)
    waves = [{"count": 3}, {"percent": 100}]
    row = park.draft(waves=waves, success_percent=30, join_days=1)
    with open_scope(park.scope):
        first = [one.device_id for one in rollout_plan.plan_of(row).devices if one.wave == 1]
        other = rollout_operations.create(
            tenant_id=park.tenant.pk,
            draft=Draft("Another", park.releases["2.0.0"].pk, {"devices": first[:2]}, {}),
            actor_id=None,
        )
        rollout_operations.start(rollout_id=other.pk, now=park.now, actor_id=None)
    park.tick(4)
    assert "offered" in park.states(other)
    with open_scope(park.scope):
        RolloutTarget.objects.filter(rollout=other).update(state="installing", state_at=park.now)
        rollout_operations.pause(rollout_id=other.pk, actor_id=None)
        rollout_operations.start(rollout_id=row.pk, now=park.now, actor_id=None)
    park.offers()
    park.tick(3)
    park.obey()
    park.tick(3)
    with open_scope(park.scope):
        assert list(row.waves.values_list("state", flat=True)) == ["done", "running"]
        # Kept for as long as it takes.
        RolloutTarget.objects.filter(rollout=other).update(state_at=park.now + timedelta(days=9))
    park.obey()
    park.tick(8, seconds=20_000)
    assert sorted(park.states(row)) == ["cancelled", "cancelled", "succeeded", "succeeded"]
    assert park.fresh(row).state == RolloutState.COMPLETED


def test_devices_that_do_not_ask_hold_up_no_wave(
    park: RolloutPark, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: more than are looked at in one step."""
    monkeypatch.setattr(rollout_reading, "MOST_WAITING", 2)
    monkeypatch.setattr(rollout_reading, "MOST_SILENT", 2)
    with open_scope(park.scope):
        park.kind.capabilities = ["ddi"]
        park.kind.save(update_fields=["capabilities"])
        for _ in range(6):
            park.devices.append(factories.device(park.devices[0].facility, park.kind).device)
    for device in park.devices:
        park.disconnect(device)
    waves = [{"count": 8}, {"percent": 100}]
    row = park.start(waves=waves, success_percent=10, max_downloads=1)
    park.tick(2)
    with open_scope(park.scope):
        done = RolloutTarget.objects.filter(rollout=row, state="offered").first()
        assert done is not None
        report = Report(done.device_id, done.update_uid, "confirmed", park.now, version="2.0.0")
        assert reports.take([report], now=park.now) == 1
    park.tick(6, seconds=301)
    with open_scope(park.scope):
        assert list(row.waves.values_list("state", flat=True)) == ["done", "running"]


def test_pausing_stops_offers_and_lets_what_is_under_way_end(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], max_downloads=1)
    park.tick(2)
    with open_scope(park.scope):
        rollout_operations.pause(rollout_id=row.pk, note="Lunch", actor_id=None)
    park.obey()
    park.tick(3)
    assert sorted(park.states(row)) == ["succeeded", "waiting", "waiting"]
    with open_scope(park.scope):
        rollout_operations.resume(rollout_id=row.pk, actor_id=None)
    park.tick(2)
    assert sorted(park.states(row)) == ["offered", "succeeded", "waiting"]


def test_operators_update_the_tenants_below_who_see_their_own_devices_alone() -> None:
    operator = RolloutPark.make(1)
    client, neighbour = (factories.tenant(operator.tenant) for _ in range(2))
    below = []
    for of in (client, neighbour):
        with open_scope(Scope((of.pk,))):
            below.append(factories.device(factories.facility(of)).device)
    # Copies of the type, as claims make them: the same code.
    with open_scope(Scope((client.pk, neighbour.pk))):
        for device in below:
            kind = device.device_type
            kind.code, kind.capabilities = operator.kind.code, ["firmware"]
            kind.save(update_fields=["code", "capabilities"])
    operator.devices += below
    for device in below:
        operator.connect(device)
    whole = Scope((operator.tenant.pk, client.pk, neighbour.pk))
    row = operator.draft(waves=[{"percent": 100}])
    with open_scope(whole):
        rollout_operations.start(rollout_id=row.pk, now=operator.now, actor_id=None)
    operator.tick(2)
    operator.obey()
    operator.tick(2)
    with open_scope(whole):
        assert set(row.targets.values_list("state", flat=True)) == {"succeeded"}
    with open_scope(Scope((client.pk,))):
        assert list(RolloutTarget.objects.values_list("device_id", flat=True)) == [below[0].pk]
        assert set(UpdateEvent.objects.values_list("device_id", flat=True)) == {below[0].pk}
        assert not Rollout.objects.exists()
        theirs = RolloutTarget.objects.filter(device=below[1])
        assert theirs.update(state="failed") == 0
    with open_scope(Scope((client.pk,), (below[0].facility_id,))):
        assert RolloutTarget.objects.count() == 1
    with open_scope(Scope((client.pk,), (0,))):
        assert not RolloutTarget.objects.exists()
        assert not UpdateEvent.objects.exists()


@pytest.fixture
def clients() -> tuple[RolloutPark, RolloutPark, Device]:
    """An operator, a client with a device and releases of its own, and a neighbour's device; all of
    one type.
    """
    operator = RolloutPark.make(1)
    client = RolloutPark.make(1, of=factories.tenant(operator.tenant), code=operator.kind.code)
    neighbour = factories.tenant(operator.tenant)
    with open_scope(Scope((neighbour.pk,))):
        device = factories.device(factories.facility(neighbour)).device
        kind = device.device_type
        kind.code, kind.capabilities = operator.kind.code, ["firmware"]
        kind.save(update_fields=["code", "capabilities"])
    operator.connect(device)
    return operator, client, device


def _whole(*parks: RolloutPark, device: Device) -> Scope:
    return Scope((*(park.tenant.pk for park in parks), device.tenant_id))


def test_a_release_of_a_client_goes_to_no_other(
    clients: tuple[RolloutPark, RolloutPark, Device],
) -> None:
    operator, client, device = clients
    with open_scope(_whole(operator, client, device=device)):
        row = rollout_operations.create(
            tenant_id=operator.tenant.pk,
            draft=Draft(
                name="The client's",
                release_id=client.releases["2.0.0"].pk,
                selection={"everything": True},
                strategy={},
            ),
            actor_id=None,
        )
        plan = rollout_plan.plan_of(row)
    assert [one.device_id for one in plan.devices] == [client.devices[0].pk]


def test_nobody_is_taken_back_to_a_release_of_a_neighbour(
    clients: tuple[RolloutPark, RolloutPark, Device],
) -> None:
    operator, client, device = clients
    operator.devices.append(device)
    for one in operator.devices:
        operator.connect(one, image_sha256="")
    with open_scope(_whole(operator, client, device=device)):
        # The client's device keeps out of it.
        Device.objects.filter(tenant=client.tenant).update(state="suspended")
        row = operator.draft(waves=[{"percent": 100}])
        rollout_operations.start(rollout_id=row.pk, now=operator.now, actor_id=None)
    operator.tick(2)
    offers = operator.offers()
    for one in operator.devices:
        operator.update(one, offers[one.pk])
        operator.connect(one, "2.0.0", image_sha256="")
    operator.tick(3)
    with open_scope(_whole(operator, client, device=device)):
        back = rollout_operations.roll_back(rollout_id=row.pk, now=operator.now, actor_id=None)
        given = dict(back.targets.values_list("device_id", "release_id"))
    assert given == {one.pk: operator.releases["1.0.0"].pk for one in operator.devices}


def test_reports_from_a_clients_scope_reach_the_operators_rollout() -> None:
    """As those of devices that ask by themselves come: the client does not see the roll-out."""
    operator = RolloutPark.make(1)
    client = factories.tenant(operator.tenant)
    with open_scope(Scope((client.pk,))):
        device = factories.device(factories.facility(client)).device
        kind = device.device_type
        kind.code, kind.capabilities = operator.kind.code, ["ddi"]
        kind.save(update_fields=["code", "capabilities"])
    row = operator.draft(waves=[{"percent": 100}])
    with open_scope(Scope((operator.tenant.pk, client.pk))):
        rollout_operations.start(rollout_id=row.pk, now=operator.now, actor_id=None)
    operator.tick(2)
    with open_scope(Scope((client.pk,))):
        target = RolloutTarget.objects.get(device=device)
        assert (target.state, target.medium) == ("offered", "ddi")
        report = Report(device.pk, target.update_uid, "confirmed", operator.now, version="2.0.0")
        assert reports.take([report, report], now=operator.now) == 2
        target.refresh_from_db()
        assert target.state == "succeeded"
    assert device.pk not in operator.offers()


def test_histories_are_only_added_to(park: RolloutPark) -> None:
    park.start(waves=[{"percent": 100}])
    park.tick(2)
    with open_scope(park.scope):
        rows = UpdateEvent.objects.all()
        with pytest.raises(ProgrammingError), transaction.atomic():
            rows.update(kind="nothing")
        with pytest.raises(ProgrammingError), transaction.atomic():
            rows.delete()

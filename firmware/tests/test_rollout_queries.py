"""What pages and the API read of roll-outs."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from pytest_django import DjangoAssertNumQueries

from firmware.domain import rollout_operations, rollout_queries
from firmware.domain.rollout_operations import RolloutNotFound
from firmware.tests.rollout_park import RolloutPark
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"]),
    pytest.mark.usefixtures("firmware_folder"),
]


@pytest.fixture
def park() -> RolloutPark:
    return RolloutPark.make()


def test_summary_tells_how_a_rollout_stands(
    park: RolloutPark, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    row = park.start(
        waves=[{"count": 2}, {"percent": 100}], retries={}, error_percent=60, success_percent=0
    )
    park.tick(2)
    offers = park.offers()
    bad, good = (device for device in park.devices if device.pk in offers)
    park.update(good, offers[good.pk])
    park.say(bad, "failed", UUID(bytes=offers[bad.pk].update_id), code="flash", detail="Worn out")
    park.tick(3)
    with open_scope(park.scope):
        with django_assert_num_queries(6):
            told = rollout_queries.summary(rollout_id=row.pk, now=park.now)
        size = park.releases["2.0.0"].artifact.size
        assert told.counts == {"succeeded": 1, "failed": 1, "offered": 1}
        assert told.failures == {"flash": 1}
        assert (told.devices, told.open, told.downloads, told.is_driven) == (3, 1, 1, True)
        assert told.bytes_per_s == size / 300
        assert told.ends_at == park.now + timedelta(minutes=5)
        assert [(one.wave.state, one.succeeded, one.failed) for one in told.waves] == [
            ("done", 1, 1),
            ("running", 0, 0),
        ]
        (failed,) = rollout_queries.targets(rollout_id=row.pk, code="flash")
        assert failed.device_id == bad.pk
        last = rollout_queries.events(target_id=failed.pk).last()
        assert last is not None
        assert (last.kind, last.code, last.detail) == ("failed", "flash", "Worn out")
        (update,) = rollout_queries.device_history(device_id=good.pk)
        assert (update.from_version, update.to_version) == ("1.0.0", "2.0.0")
        assert rollout_queries.under_way(device_id=good.pk) is None


def test_lists_take_as_many_queries_for_one_as_for_three(
    park: RolloutPark, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for expected in (1, 3):
        while True:
            with open_scope(park.scope):
                if len(rollout_queries.rollouts()) == expected:
                    break
            park.start()
        with open_scope(park.scope):
            with django_assert_num_queries(1):
                rows = list(rollout_queries.rollouts())
            assert [(row.devices, row.waiting) for row in rows] == [(3, 3)] * expected
            with django_assert_num_queries(1):
                page = rollout_queries.rollout_page(limit=2)
            assert len(page.items) == min(2, expected)
            with django_assert_num_queries(1):
                of = rollout_queries.target_page(rollout_id=rows[0].pk, limit=expected)
                assert [(one.device.serial, one.device.facility.name != "") for one in of.items]
            assert (of.next_after is None) == (expected == 3)


def test_reason_of_a_pause_is_a_sentence(park: RolloutPark) -> None:
    row = park.start()
    with open_scope(park.scope):
        rollout_operations.pause(rollout_id=row.pk, note="Storm over the plain", actor_id=None)
        told = rollout_queries.summary(rollout_id=row.pk, now=park.now)
    assert told.reason == "By a person: Storm over the plain"
    assert told.ends_at is None


def test_other_tenants_see_no_rollout(park: RolloutPark) -> None:
    row = park.start()
    other = RolloutPark.make(1)
    with open_scope(other.scope):
        with pytest.raises(RolloutNotFound):
            rollout_queries.summary(rollout_id=row.pk, now=park.now)
        assert not rollout_queries.targets(rollout_id=row.pk).exists()
        with pytest.raises(RolloutNotFound):
            rollout_operations.abort(rollout_id=row.pk, actor_id=None)
    # Narrowed to a facility, the devices' own history is all there is.
    with open_scope(Scope((park.tenant.pk,), (park.devices[0].facility_id,))):
        assert not rollout_queries.rollouts().exists()
        assert rollout_queries.device_history(device_id=park.devices[0].pk).exists()

"""What the database itself refuses of releases, and who sees those of tenants above."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import ProtectedError

from devices.models import DeviceType
from devices.tests.factories import device_type, member
from firmware.models import Artifact, Delta, Release, ReleaseState, SigningKey
from firmware.tests.factories import START, artifact, release
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories


@dataclass(frozen=True)
class World:
    """An operator with a client, and another operator."""

    above: Tenant
    below: Tenant
    stranger: Tenant
    kind: DeviceType


@pytest.fixture
def world(db: None) -> Iterator[World]:
    """In the scope of the operator alone."""
    above, stranger = factories.operator(), factories.operator()
    below = factories.tenant(above)
    with open_scope(Scope((above.pk,))):
        yield World(above, below, stranger, device_type(above))


def _refused(constraint: str, call: Any, *arguments: Any, **values: Any) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        call(*arguments, **values)


def test_a_version_is_there_once(world: World) -> None:
    release(world.above, world.kind, "1.0.0+1")
    _refused("firmware_release_version_unique", release, world.above, world.kind, version="1.0.0+2")
    release(world.above, device_type(world.above), "1.0.0")


def test_nobody_approves_what_he_made(world: World) -> None:
    made = release(world.above, world.kind, state=ReleaseState.DRAFT)
    rows = Release.objects.filter(pk=made.pk)
    approved = {"state": ReleaseState.APPROVED, "approved_at": START}
    _refused("firmware_release_second_person", rows.update, approved_by=made.created_by, **approved)
    _refused("firmware_release_approval_whole", rows.update, **approved)
    _refused("firmware_release_state_told", rows.update, state=ReleaseState.APPROVED)
    second: User = member(world.above, Role.ADMIN).user
    assert rows.update(approved_by=second, **approved) == 1


@pytest.mark.parametrize(
    ("state", "values"),
    [
        (ReleaseState.APPROVED, {"state": "draft", "approved_at": None, "approved_by": None}),
        (ReleaseState.APPROVED, {"notes": "Other"}),
        (ReleaseState.APPROVED, {"from_versions": ">=1"}),
        (ReleaseState.RETIRED, {"state": "approved", "retired_at": None}),
        (ReleaseState.RETIRED, {"notes": "Other"}),
    ],
)
def test_there_is_no_way_back(world: World, state: ReleaseState, values: dict[str, Any]) -> None:
    made = release(world.above, world.kind, state=state)
    _refused("final", Release.objects.filter(pk=made.pk).update, **values)


@pytest.mark.parametrize(
    "column", ["version", "version_key", "manifest", "signature", "hardware_revisions"]
)
def test_the_application_cannot_change_what_was_signed(world: World, column: str) -> None:
    made = release(world.above, world.kind, state=ReleaseState.DRAFT)
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        Release.objects.filter(pk=made.pk).update(**{column: getattr(made, column)})
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        Artifact.objects.filter(pk=made.artifact_id).update(size=1)
    with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic():
        SigningKey.objects.filter(pk=made.signing_key_id).update(public_key=bytes(32))


def test_a_draft_can_be_deleted_and_nothing_else(world: World) -> None:
    release(world.above, world.kind, state=ReleaseState.DRAFT).delete()
    for state in (ReleaseState.APPROVED, ReleaseState.RETIRED):
        made = release(world.above, device_type(world.above), state=state)
        _refused("stays", made.delete)
        with pytest.raises(ProtectedError):
            made.artifact.delete()


def test_a_release_is_for_a_type_of_its_tenant(world: World) -> None:
    with open_scope(Scope((world.stranger.pk,))):
        theirs = device_type(world.stranger)
    _refused("belongs to another tenant", release, world.above, theirs)


def test_tenants_below_see_what_is_released_and_change_nothing(world: World) -> None:
    draft = release(world.above, world.kind, "3.0.0", state=ReleaseState.DRAFT)
    approved = release(world.above, world.kind, "2.0.0")
    retired = release(world.above, world.kind, "1.0.0", state=ReleaseState.RETIRED)
    delta = Delta.objects.create(
        tenant=world.above, base=retired.artifact, target=approved.artifact
    )
    unused = artifact(world.above)
    for facilities in (None, ()):
        with open_scope(Scope((world.below.pk,), facilities)):
            assert set(Release.objects.all()) == {approved, retired}
            assert set(Artifact.objects.all()) == {approved.artifact, retired.artifact}
            assert set(Delta.objects.all()) == {delta}
            assert set(SigningKey.objects.all()) == {
                one.signing_key for one in (draft, approved, retired)
            }
            assert Release.objects.update(notes="Ours") == 0
            assert SigningKey.objects.update(name="Ours") == 0
            assert Delta.objects.update(detail="Ours") == 0
            assert Delta.objects.filter(pk=delta.pk).delete()[0] == 0
    with open_scope(Scope((world.stranger.pk,))):
        for model in (Release, Artifact, Delta, SigningKey):
            assert list(model.objects.all()) == []
    assert set(Artifact.objects.all()) == {one.artifact for one in (draft, approved, retired)} | {
        unused
    }


def test_a_scope_narrowed_to_facilities_changes_nothing_of_its_own_tenant(world: World) -> None:
    made = release(world.above, world.kind, state=ReleaseState.DRAFT)
    with open_scope(Scope((world.above.pk,), ())):
        assert list(Release.objects.all()) == [made]
        assert Release.objects.update(notes="Mine") == 0
        assert SigningKey.objects.update(name="Mine") == 0
        with pytest.raises(DatabaseError, match="row-level security"), transaction.atomic():
            artifact(world.above)


def test_what_a_release_rests_on_is_of_its_tenant(world: World) -> None:
    with open_scope(Scope((world.stranger.pk,))):
        theirs = release(world.stranger, device_type(world.stranger))
    made = release(world.above, world.kind)
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with open_scope(Scope((world.above.pk, world.stranger.pk))):
        _refused(
            "same_tenant",
            Delta.objects.create,
            tenant=world.above,
            base=made.artifact,
            target=theirs.artifact,
        )

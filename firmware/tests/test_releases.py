"""The life of a release, and what is refused on its way."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import DatabaseError, connection, connections
from pytest_django import DjangoAssertNumQueries, Settings

from devices.models import DeviceType
from devices.protocol.codes import Capability
from devices.tests.factories import device, device_type, facility, member
from firmware.artifacts import deltas, store
from firmware.artifacts.errors import ArtifactError
from firmware.artifacts.signing import key_id
from firmware.domain import (
    artifact_operations,
    delta_operations,
    key_operations,
    release_operations,
    release_queries,
)
from firmware.domain.release_checks import Draft, look_at
from firmware.domain.release_queries import Payload, ReleaseNotFound
from firmware.models import (
    Artifact,
    ArtifactKind,
    Delta,
    DeltaState,
    Release,
    ReleaseState,
    SigningKey,
)
from firmware.tests import images
from firmware.tests.factories import rollout
from firmware.tests.uploads import NOW, Signer, approved, draft, pem_of, program
from tenants.models import AuditEntry, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories


@dataclass(frozen=True)
class World:
    """A tenant with a key, a type, and two people who may upload and approve."""

    tenant: Tenant
    kind: DeviceType
    signer: Signer
    people: tuple[int, int]
    folder: Path

    def create(self, of: Draft) -> Release:
        """Uploaded by the first."""
        return release_operations.create_release(
            tenant_id=self.tenant.pk, draft=of, actor_id=self.people[0]
        )

    def files(self) -> list[str]:
        """What lies in the store."""
        return sorted(path.name for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def world(db: None, firmware_folder: Path) -> Iterator[World]:
    """In the tenant's scope."""
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        people = member(tenant, Role.ADMIN).user_id, member(tenant, Role.ADMIN).user_id
        yield World(tenant, device_type(tenant), Signer.of(tenant), people, firmware_folder)


def _errors(world: World, of: Draft) -> dict[str, list[str]]:
    """What is refused, by field; nothing is kept of it."""
    before = world.files(), Artifact.objects.count(), Release.objects.count()
    with pytest.raises(ValidationError) as caught:
        world.create(of)
    assert (world.files(), Artifact.objects.count(), Release.objects.count()) == before
    return caught.value.message_dict


def test_a_release_is_uploaded_approved_and_retired(world: World, tmp_path: Path) -> None:
    image = images.mcuboot(tmp_path, "1.4.0")
    hardware = ("rev A", "rev B")
    of = draft(world.signer, world.kind, "1.4.0", image, hardware=hardware, from_versions=">=1.2")
    made = world.create(replace(of, notes="  Counts better.\n"))
    assert made.state == ReleaseState.DRAFT
    assert (made.version, made.hardware_revisions) == ("1.4.0", list(hardware))
    assert (made.from_versions, made.notes) == (">=1.2", "Counts better.")
    assert made.artifact.header["version"] == "1.4.0"
    assert store.read(made.artifact.sha256) == image
    assert list(release_queries.rollable()) == []

    approved_ = release_operations.approve_release(
        release_id=made.pk, actor_id=world.people[1], now=NOW
    )
    assert approved_.state == ReleaseState.APPROVED
    assert list(release_queries.rollable()) == [made]
    retired = release_operations.retire_release(
        release_id=made.pk, actor_id=world.people[0], now=NOW
    )
    assert retired.state == ReleaseState.RETIRED
    assert list(release_queries.rollable()) == []
    told = {entry.action: entry for entry in AuditEntry.objects.filter(subject_id=made.pk)}
    assert {action: entry.actor_id for action, entry in told.items() if "release" in action} == {
        "release.create": world.people[0],
        "release.approve": world.people[1],
        "release.retire": world.people[0],
    }
    after = told["release.create"].after
    assert after is not None
    assert after["image"] == made.artifact.sha256


def test_version_and_hardware_are_taken_from_what_was_signed(world: World) -> None:
    of = draft(world.signer, world.kind, "2.0.0-rc.1", hardware=("rev C",))
    made = world.create(replace(of, version="", hardware_revisions=None))
    assert (made.version, made.hardware_revisions) == ("2.0.0-rc.1", ["rev C"])


def test_what_was_not_signed_is_refused(world: World) -> None:
    good = draft(world.signer, world.kind, "1.0.0", b"firmware")
    assert "signature" in _errors(world, replace(good, signature=None))
    assert "image" in _errors(world, replace(good, image=None))
    altered = replace(good, image=ContentFile(b"Firmware"))
    assert "another image" in _errors(world, altered)["signature"][0]
    longer = replace(good, image=ContentFile(b"firmware2"))
    assert "another image" in _errors(world, longer)["signature"][0]


def test_other_keys_are_refused(world: World) -> None:
    stranger = Signer(Ed25519PrivateKey.generate(), world.signer.key)
    assert "none of your" in _errors(world, draft(stranger, world.kind))["signature"][0]
    # Even where the file claims the id of a key that is accepted.
    signed = stranger.sign(b"firmware", world.kind.code, "1.0.0")
    false = signed.replace(
        key_id(stranger.private.public_key().public_bytes_raw()).encode(),
        world.signer.key.key_id.encode(),
    )
    assert false != signed
    of = replace(draft(world.signer, world.kind), signature=ContentFile(false))
    assert "altered" in _errors(world, of)["signature"][0]


def test_keys_of_other_tenants_are_refused(world: World) -> None:
    above_id = world.tenant.parent_id
    assert above_id is not None
    with open_scope(Scope((above_id,))):
        signer = Signer.of(Tenant.objects.get(pk=above_id))
    assert "none of your" in _errors(world, draft(signer, world.kind))["signature"][0]


def test_a_retired_key_signs_nothing_new(world: World) -> None:
    waiting = world.create(draft(world.signer, world.kind, "1.0.0", b"waiting"))
    key_operations.retire_key(key_id=world.signer.key.pk, now=NOW, actor_id=None)
    assert "retired" in _errors(world, draft(world.signer, world.kind, "1.1.0"))["signature"][0]
    with pytest.raises(ValidationError, match="was retired"):
        release_operations.approve_release(release_id=waiting.pk, actor_id=world.people[1], now=NOW)
    with pytest.raises(ValidationError, match="already"):
        key_operations.retire_key(key_id=world.signer.key.pk, now=NOW, actor_id=None)


def test_form_and_signature_must_agree(world: World) -> None:
    good = draft(world.signer, world.kind, "1.0.0", hardware=("rev A",))
    other = device_type(world.tenant)
    assert "device type" in _errors(world, replace(good, device_type_id=other.pk))["signature"][0]
    assert "as version 1.0.0" in _errors(world, replace(good, version="1.0.1"))["signature"][0]
    assert "rev A" in _errors(world, replace(good, hardware_revisions=("rev B",)))["signature"][0]
    assert set(_errors(world, replace(good, version="1.0"))) == {"version"}
    assert set(_errors(world, replace(good, from_versions="~1"))) == {"from_versions"}
    assert set(_errors(world, replace(good, device_type_id=0))) == {"device_type"}


def test_the_header_of_an_image_must_agree(world: World, tmp_path: Path) -> None:
    image = images.mcuboot(tmp_path, "1.4.0")
    of = draft(world.signer, world.kind, "1.5.0", image)
    assert "says version 1.4.0" in _errors(world, of)["image"][0]
    damaged = image[:40] + bytes([image[40] ^ 1]) + image[41:]
    of = draft(world.signer, world.kind, "1.4.0", damaged)
    assert "SHA-256" in _errors(world, of)["image"][0]


def test_every_problem_is_told_at_once(world: World) -> None:
    of = Draft(device_type_id=0, image=None, signature=None, version="x", from_versions="y")
    found = look_at(of, tenant_id=world.tenant.pk)
    assert set(found.errors) == {"device_type", "image", "signature", "version", "from_versions"}


def test_private_keys_are_refused_and_not_kept(world: World) -> None:
    private = world.signer.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    good = draft(world.signer, world.kind)
    assert "private key" in _errors(world, replace(good, image=ContentFile(private)))["image"][0]
    of = replace(good, signature=ContentFile(private))
    assert "private key" in _errors(world, of)["signature"][0]
    with pytest.raises(ValidationError, match="private key"):
        key_operations.add_key(tenant_id=world.tenant.pk, name="Mine", pem=private, actor_id=None)
    assert SigningKey.objects.count() == 1


def test_the_size_of_an_image_is_bounded(world: World, settings: Settings) -> None:
    settings.FIRMWARE_MAX_BYTES = 7
    assert "more than 7 bytes" in _errors(world, draft(world.signer, world.kind))["image"][0]


def test_a_version_is_there_once(world: World) -> None:
    world.create(draft(world.signer, world.kind, "1.0.0", b"one"))
    of = draft(world.signer, world.kind, "1.0.0+2", b"two")
    assert set(_errors(world, of)) == {"version"}
    world.create(draft(world.signer, device_type(world.tenant), "1.0.0", b"one"))
    assert len(world.files()) == 1  # one image, two releases


def test_nobody_approves_what_he_uploaded(world: World) -> None:
    made = world.create(draft(world.signer, world.kind))
    with pytest.raises(ValidationError, match="another person"):
        release_operations.approve_release(release_id=made.pk, actor_id=world.people[0], now=NOW)
    by_system = release_operations.create_release(
        tenant_id=world.tenant.pk,
        draft=draft(world.signer, world.kind, "2.0.0", b"other"),
        actor_id=None,
    )
    with pytest.raises(ValidationError, match="another person"):
        release_operations.approve_release(
            release_id=by_system.pk, actor_id=world.people[1], now=NOW
        )
    assert set(Release.objects.values_list("state", flat=True)) == {"draft"}


def test_what_lies_in_the_store_is_verified_before_it_is_approved(world: World) -> None:
    made = world.create(draft(world.signer, world.kind))
    path = world.folder / store.name_of(made.artifact.sha256)
    path.write_bytes(b"Firmware")
    with pytest.raises(ValidationError, match="not what was uploaded"):
        release_operations.approve_release(release_id=made.pk, actor_id=world.people[1], now=NOW)
    path.unlink()
    with pytest.raises(ValidationError, match="not what was uploaded"):
        release_operations.approve_release(release_id=made.pk, actor_id=world.people[1], now=NOW)


def test_only_a_draft_is_edited_deleted_and_approved(world: World) -> None:
    made = approved(world.signer, world.kind, "1.0.0", b"one", people=world.people)
    calls = (
        lambda: release_operations.edit_draft(
            release_id=made.pk, notes="", from_versions="", actor_id=None
        ),
        lambda: release_operations.delete_draft(release_id=made.pk, actor_id=None),
        lambda: release_operations.approve_release(
            release_id=made.pk, actor_id=world.people[1], now=NOW
        ),
    )
    for call in calls:
        with pytest.raises(ValidationError):
            call()
    waiting = world.create(draft(world.signer, world.kind, "1.1.0", b"two"))
    edited = release_operations.edit_draft(
        release_id=waiting.pk, notes="Better", from_versions=">= 1", actor_id=world.people[0]
    )
    assert (edited.notes, edited.from_versions) == ("Better", ">=1")
    release_operations.delete_draft(release_id=waiting.pk, actor_id=world.people[0])
    assert list(Release.objects.all()) == [made]
    assert list(Artifact.objects.all()) == [made.artifact]


def test_tenants_below_change_no_release_of_those_above(world: World) -> None:
    made = approved(world.signer, world.kind, "1.0.0", b"one", people=world.people)
    below = factories.tenant(world.tenant)
    with open_scope(Scope((below.pk,))):
        assert release_queries.release(release_id=made.pk) == made
        assert list(release_queries.rollable()) == [made]
        with pytest.raises(ReleaseNotFound):
            release_operations.retire_release(release_id=made.pk, actor_id=world.people[1], now=NOW)
        with pytest.raises(key_operations.SigningKeyNotFound):
            key_operations.retire_key(key_id=world.signer.key.pk, now=NOW, actor_id=None)


def test_files_that_nothing_names_are_swept_after_a_day(world: World) -> None:
    kept = world.create(draft(world.signer, world.kind, "1.0.0", b"one"))
    gone = world.create(draft(world.signer, world.kind, "1.1.0", b"two"))
    release_operations.delete_draft(release_id=gone.pk, actor_id=None)
    assert len(world.files()) == 2
    assert artifact_operations.sweep(now=datetime.now(UTC) + timedelta(hours=1)) == 0
    assert artifact_operations.sweep(now=datetime.now(UTC) + timedelta(days=2)) == 1
    assert world.files() == [kept.artifact.sha256]


def test_roll_outs_with_a_release_are_shown_and_keep_its_draft(world: World) -> None:
    made = world.create(draft(world.signer, world.kind))
    planned = rollout(world.tenant, made)
    found = release_queries.release_detail(release_id=made.pk)
    assert found.rollouts == (planned,)
    with pytest.raises(ValidationError, match="names this release"):
        release_operations.delete_draft(release_id=made.pk, actor_id=None)
    planned.delete()
    release_operations.delete_draft(release_id=made.pk, actor_id=None)


def test_a_key_is_there_once_and_has_a_name(world: World) -> None:
    add = key_operations.add_key
    pem = pem_of(world.signer.private)
    with pytest.raises(ValidationError, match="already"):
        add(tenant_id=world.tenant.pk, name="Again", pem=pem, actor_id=None)
    other = pem_of(Ed25519PrivateKey.generate())
    for name in (" ", "x" * 121):
        with pytest.raises(ValidationError, match="Name"):
            add(tenant_id=world.tenant.pk, name=name, pem=other, actor_id=None)
    actions = AuditEntry.objects.filter(action="signing_key.add")
    assert actions.count() == 1


def test_devices_are_served_by_the_code_of_their_type(world: World) -> None:
    made = approved(world.signer, world.kind, "1.0.0", b"one", people=world.people)
    below = factories.tenant(world.tenant)
    with open_scope(Scope((world.tenant.pk, below.pk))):
        copied = device_type(below)
        DeviceType.objects.filter(pk=copied.pk).update(code=world.kind.code)
        assert release_queries.type_ids_served(made) == {world.kind.pk, copied.pk}
        at = facility(below)
        device(at, DeviceType.objects.get(pk=copied.pk))
        found = release_queries.release_detail(release_id=made.pk)
    assert [(one.version, one.devices) for one in found.running] == [("", 1)]
    assert found.running_this == 0


@pytest.mark.parametrize("releases", [2, 4])
def test_lists_take_few_queries(
    world: World, releases: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(releases):
        approved(world.signer, world.kind, f"1.{number}.0", program(number), people=world.people)
    with django_assert_num_queries(1):
        rows = list(release_queries.releases())
        assert [(row.type_code, row.artifact.size, str(row.signing_key)) for row in rows] == [
            (world.kind.code, 20_000, str(world.signer.key))
        ] * releases
    assert [row.version for row in rows] == [f"1.{n}.0" for n in reversed(range(releases))]
    with django_assert_num_queries(1):
        page = release_queries.release_page(limit=2)
        assert len(page.items) == min(2, releases)
    with django_assert_num_queries(1):
        assert [key.release_count for key in release_queries.signing_keys()] == [releases]  # type: ignore[attr-defined]
    with django_assert_num_queries(5):
        release_queries.release_detail(release_id=rows[0].pk)


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_of_two_uploads_of_a_version_at_once_one_is_told(firmware_folder: Path) -> None:
    tenant = factories.tenant()
    scope = Scope((tenant.pk,))
    with open_scope(scope):
        kind, signer = device_type(tenant), Signer.of(tenant)
        person = member(tenant, Role.ADMIN).user_id
    together, outcomes = threading.Barrier(2), list[str]()

    def upload(image: bytes) -> None:
        try:
            together.wait(30)
            with open_scope(scope):
                release_operations.create_release(
                    tenant_id=tenant.pk, draft=draft(signer, kind, "1.0.0", image), actor_id=person
                )
            outcomes.append("made")
        except ValidationError as error:
            outcomes.extend(error.message_dict)
        finally:
            connection.close()

    threads = [threading.Thread(target=upload, args=(image,)) for image in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["made", "version"]


@dataclass(frozen=True)
class Shop:
    """A tenant that is committed, with what uploads need."""

    scope: Scope
    kind: DeviceType
    signer: Signer
    person: int
    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Shop:
        tenant = factories.tenant()
        scope = Scope((tenant.pk,))
        with open_scope(scope):
            person = member(tenant, Role.ADMIN).user_id
            return cls(scope, device_type(tenant), Signer.of(tenant), person, folder)

    def upload(self, version: str) -> Release:
        """Always the same image."""
        return release_operations.create_release(
            tenant_id=self.scope.tenant_ids[0],
            draft=draft(self.signer, self.kind, version, IMAGE),
            actor_id=self.person,
        )

    def is_whole(self, version: str) -> bool:
        """Whether a release of this version is there, and its image."""
        with open_scope(self.scope):
            found = Release.objects.select_related("artifact").get(version=version)
            return store.read(found.artifact.sha256) == IMAGE


IMAGE = b"the same image"
DIGEST = hashlib.sha256(IMAGE).hexdigest()
COMMITTED = pytest.mark.django_db(transaction=True, databases=["default", "owner"])


@contextmanager
def _meanwhile(
    scope: Scope, second: Callable[[], object], *, last: Callable[[], object] | None = None
) -> Iterator[None]:
    """The block, and beside it a second one that begins behind it and waits for its transaction;
    `last` is done while it waits.
    """
    failures: list[Exception] = []

    def run() -> None:
        try:
            second()
        except (DatabaseError, ArtifactError, ValidationError) as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    with open_scope(scope):
        yield
        thread.start()
        _wait_until_somebody_waits()
        if last is not None:
            last()
    thread.join(60)
    assert failures == []


def _wait_until_somebody_waits() -> None:
    deadline = time.monotonic() + 30
    with connections["owner"].cursor() as cursor:
        while time.monotonic() < deadline:
            cursor.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
                " WHERE NOT granted AND datname = current_database()"
            )
            if cursor.fetchone() != (0,):
                return
    raise AssertionError("nobody waits")


@COMMITTED
@pytest.mark.parametrize("first", ["upload", "delete"])
def test_an_image_is_uploaded_again_while_its_draft_is_deleted(
    first: str, firmware_folder: Path
) -> None:
    shop = Shop.open(firmware_folder)
    with open_scope(shop.scope):
        old = shop.upload("1.0.0")

    def upload() -> None:
        with open_scope(shop.scope):
            shop.upload("1.1.0")

    def delete() -> None:
        with open_scope(shop.scope):
            release_operations.delete_draft(release_id=old.pk, actor_id=None)

    now, then = (upload, delete) if first == "upload" else (delete, upload)
    with _meanwhile(shop.scope, then):
        now()
    assert shop.is_whole("1.1.0")


@COMMITTED
def test_a_file_that_is_named_while_it_is_swept_stays(firmware_folder: Path) -> None:
    shop = Shop.open(firmware_folder)
    later = datetime.now(UTC) + timedelta(days=2)
    with _meanwhile(shop.scope, lambda: artifact_operations.sweep(now=later)):
        shop.upload("1.0.0")
    assert shop.is_whole("1.0.0")


@COMMITTED
def test_a_file_that_was_swept_before_it_is_named_is_written_again(firmware_folder: Path) -> None:
    shop = Shop.open(firmware_folder)

    def upload() -> None:
        with open_scope(shop.scope):
            shop.upload("1.0.0")

    with _meanwhile(shop.scope, upload, last=lambda: store.remove(DIGEST)):
        artifact_operations.hold(DIGEST)
    assert shop.is_whole("1.0.0")


# --- patches ---


needs_detools = pytest.mark.skipif(
    not deltas.available(), reason="detools is not installed: it needs a compiler"
)


@needs_detools
def test_patches_lead_from_the_releases_before(world: World) -> None:
    images_ = [program(seed) for seed in range(3)]
    rows = [
        approved(world.signer, world.kind, f"1.{n}.0", image, people=world.people)
        for n, image in enumerate(images_)
    ]
    scope = Scope((world.tenant.pk,))
    assert delta_operations.tenants_waiting([world.tenant.pk]) == [world.tenant.pk]
    while delta_operations.make_next(scope=scope, now=NOW):
        pass
    assert delta_operations.tenants_waiting([world.tenant.pk]) == []
    made = Delta.objects.filter(target=rows[2].artifact).select_related("base", "patch")
    assert {delta.base for delta in made} == {rows[0].artifact, rows[1].artifact}

    able = Capability.FIRMWARE | Capability.FIRMWARE_DELTA
    base = rows[1].artifact.sha256
    payload = release_queries.payload_for(rows[2], from_image_sha256=base, capabilities=able)
    assert (payload.kind, payload.base_sha256) == (ArtifactKind.DELTA, base)
    patch = store.read(payload.sha256)
    assert len(patch) == payload.size < len(images_[2]) / 2
    delta_process = pytest.importorskip("firmware.artifacts.delta_process")
    assert delta_process.applied(images_[1], patch) == images_[2]

    image = Payload(ArtifactKind.IMAGE, rows[2].artifact.sha256, len(images_[2]))
    whole_for = [
        (base, Capability.FIRMWARE),
        ("0" * 64, able),
        (rows[2].artifact.sha256, able),
        (None, able),
        ("", able),
    ]
    for digest, capabilities in whole_for:
        found = release_queries.payload_for(
            rows[2], from_image_sha256=digest, capabilities=capabilities
        )
        assert found == image
    back = release_queries.payload_for(
        rows[0], from_image_sha256=rows[2].artifact.sha256, capabilities=able
    )
    assert back.kind is ArtifactKind.IMAGE


@needs_detools
def test_a_patch_that_saves_nothing_is_not_used(world: World) -> None:
    for n in range(2):
        image = random.Random(n).randbytes(5_000)
        approved(world.signer, world.kind, f"1.{n}.0", image, people=world.people)
    assert delta_operations.make_next(scope=Scope((world.tenant.pk,)), now=NOW)
    delta = Delta.objects.get()
    assert (delta.state, delta.patch_id) == (DeltaState.REFUSED, None)
    assert "of the image’s 5000 bytes" in delta.detail


def test_a_patch_whose_making_kills_its_process_is_given_up(world: World) -> None:
    rows = [
        approved(world.signer, world.kind, f"1.{n}.0", program(n), people=world.people)
        for n in range(2)
    ]
    Delta.objects.update(attempts=delta_operations.MOST_ATTEMPTS)
    assert delta_operations.make_next(scope=Scope((world.tenant.pk,)), now=NOW)
    delta = Delta.objects.get(target=rows[1].artifact)
    assert (delta.state, "again and again" in delta.detail) == (DeltaState.REFUSED, True)
    assert not delta_operations.make_next(scope=Scope((world.tenant.pk,)), now=NOW)


def test_a_damaged_image_gets_no_patch(world: World) -> None:
    rows = [
        approved(world.signer, world.kind, f"1.{n}.0", program(n), people=world.people)
        for n in range(2)
    ]
    (world.folder / store.name_of(rows[0].artifact.sha256)).write_bytes(b"damaged")
    assert delta_operations.make_next(scope=Scope((world.tenant.pk,)), now=NOW)
    delta = Delta.objects.get()
    assert (delta.state, "not what its name says" in delta.detail) == (DeltaState.REFUSED, True)


def test_patches_are_wanted_from_few_releases(world: World) -> None:
    for n in range(delta_operations.BASES + 2):
        approved(world.signer, world.kind, f"1.{n}.0", program(n), people=world.people)
    newest = Artifact.objects.latest("pk")
    assert Delta.objects.filter(target=newest).count() == delta_operations.BASES
    # An older version that comes later wants none from newer ones.
    late = approved(world.signer, world.kind, "0.9.0", program(99), people=world.people)
    assert not Delta.objects.filter(target=late.artifact).exists()

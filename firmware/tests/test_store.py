"""The store of artifacts: a folder, and a bucket of a real S3 service (moto's)."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from moto.server import ThreadedMotoServer
from pytest_django import Settings

from firmware.artifacts import places, store
from firmware.artifacts.errors import ArtifactError

DATA = b"firmware" * 20_000
DIGEST = hashlib.sha256(DATA).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@dataclass(frozen=True)
class Place:
    """Where a store keeps its files; `damage` replaces the bytes of one behind its back."""

    damage: Callable[[str, bytes], None]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 service."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, settings: Settings) -> Place:
    """An empty store of each kind."""
    if request.param == "folder":
        folder: Path = request.getfixturevalue("firmware_folder")

        def damage(digest: str, data: bytes) -> None:
            (folder / store.name_of(digest)).write_bytes(data)

        return Place(damage)
    address = request.getfixturevalue("s3")
    client = boto3.client(
        "s3",
        endpoint_url=address,
        region_name="eu-central-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    name = f"firmware-{os.urandom(4).hex()}"
    client.create_bucket(
        Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    entry = places.in_bucket(
        name=name,
        prefix="images",
        key="key",
        secret="secret",
        endpoint=address,
        region="eu-central-1",
    )
    settings.STORAGES = {**settings.STORAGES, "firmware": entry}

    def spoil(digest: str, data: bytes) -> None:
        client.put_object(Bucket=name, Key=f"images/{store.name_of(digest)}", Body=data)

    return Place(spoil)


def test_a_file_is_found_by_its_digest(place: Place) -> None:
    assert not store.exists(DIGEST)
    assert store.write(ContentFile(DATA), sha256=DIGEST) == f"{DIGEST[:2]}/{DIGEST}"
    assert store.exists(DIGEST)
    assert store.read(DIGEST) == DATA
    with store.open(DIGEST) as file:
        file.seek(len(DATA) - 8)
        assert file.read() == b"firmware"


def test_a_part_of_a_file_is_read_by_itself(place: Place) -> None:
    store.write(DATA, sha256=DIGEST)
    assert store.part(DIGEST, 4, 8) == b"warefirm"
    assert store.part(DIGEST, len(DATA) - 4, 100) == b"ware"
    with pytest.raises(store.ArtifactMissingError):
        store.part(OTHER, 0, 1)


def test_what_is_not_what_it_should_be_is_not_kept(place: Place) -> None:
    with pytest.raises(ArtifactError, match="changed while"):
        store.write(DATA, sha256=OTHER)
    assert not store.exists(OTHER)
    assert list(store.stored_before(datetime.now(UTC) + timedelta(hours=1))) == []


def test_a_file_that_is_there_is_written_again_and_stays_one(place: Place) -> None:
    for _ in range(2):
        assert store.write(DATA, sha256=DIGEST) == store.name_of(DIGEST)
    assert list(store.stored_before(datetime.now(UTC) + timedelta(hours=1))) == [DIGEST]


def test_a_damaged_file_is_noticed_and_mended_by_writing_it_again(place: Place) -> None:
    store.write(DATA, sha256=DIGEST)
    place.damage(DIGEST, DATA[:-1] + b"X")
    with pytest.raises(store.ArtifactDamagedError):
        store.read(DIGEST)
    with pytest.raises(store.ArtifactDamagedError):
        store.verify(DIGEST)
    store.write(DATA, sha256=DIGEST)
    store.verify(DIGEST)
    assert store.read(DIGEST) == DATA


def test_what_is_not_there_is_told(place: Place) -> None:
    for ask in (store.read, store.verify):
        with pytest.raises(store.ArtifactMissingError):
            ask(DIGEST)
    store.remove(DIGEST)


def test_old_files_are_told_from_young_ones(place: Place) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    store.write(DATA, sha256=DIGEST)
    assert list(store.stored_before(before)) == []
    assert list(store.stored_before(datetime.now(UTC) + timedelta(minutes=1))) == [DIGEST]
    store.remove(DIGEST)
    assert not store.exists(DIGEST)


@pytest.mark.parametrize("name", ["", "../" + "a" * 61, "A" * 64, "a" * 63, "/" * 64])
def test_no_name_leads_out_of_the_store(name: str, firmware_folder: Path) -> None:
    for ask in (store.read, store.open, store.exists, store.remove):
        with pytest.raises(ValueError, match="SHA-256"):
            ask(name)


def test_a_file_appears_whole_or_not_at_all(firmware_folder: Path) -> None:
    """Whoever looks while it is written sees nothing, and a writer that fails leaves nothing."""
    seen: list[list[str]] = []

    class Failing(ContentFile):  # type: ignore[type-arg]
        """A file whose pieces end in an error."""

        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield DATA[:1000]
            seen.append([path.name for path in firmware_folder.rglob("*") if path.is_file()])
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        storages["firmware"].save(store.name_of(DIGEST), Failing(DATA))
    (during,) = seen
    assert [name.startswith(f".{DIGEST}.") for name in during] == [True]
    assert [path for path in firmware_folder.rglob("*") if path.is_file()] == []
    assert not store.exists(DIGEST)


def test_the_folder_of_a_first_file_is_kept_by_the_disk_too(
    firmware_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss of power, names are there whose folder was told to the disk."""
    told: list[Path] = []
    fsync = os.fsync

    def noted(handle: int) -> None:
        told.append(Path(f"/proc/self/fd/{handle}").resolve())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", noted)
    store.write(DATA, sha256=DIGEST)
    root = firmware_folder.resolve()
    # The third is the file, under the name that it is written by.
    assert [*told[:2], *told[3:]] == [root.parent, root, root / DIGEST[:2]]


def test_what_a_killed_writer_left_is_swept(firmware_folder: Path) -> None:
    store.write(DATA, sha256=DIGEST)
    left = firmware_folder / DIGEST[:2] / f".{DIGEST}.abcdefgh"
    left.write_bytes(DATA[:9])
    soon = datetime.now(UTC) + timedelta(minutes=1)
    assert store.sweep_unfinished(soon - timedelta(hours=1)) == 0
    assert store.sweep_unfinished(soon) == 1
    assert [path.name for path in firmware_folder.rglob("*") if path.is_file()] == [DIGEST]


def test_writers_of_the_same_file_do_no_harm_to_each_other(firmware_folder: Path) -> None:
    failures: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(10):
                store.write(DATA, sha256=DIGEST)
                assert store.read(DIGEST) == DATA
        except (OSError, AssertionError, store.ArtifactDamagedError) as error:
            failures.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [path.name for path in firmware_folder.rglob("*") if path.is_file()] == [DIGEST]

"""Reads of releases: lists, one in full, what is sent to a device, and what runs where.

Every function takes an open scope: it sees the releases of its tenants and what tenants above have
approved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Count, F, Q, QuerySet

from devices.domain.catalogue import Page
from devices.models import Device, DeviceState, DeviceType
from devices.protocol.codes import Capability
from devices.telemetry import status
from devices.versions import Range
from firmware.artifacts import store
from firmware.models import (
    ArtifactKind,
    Delta,
    DeltaState,
    Release,
    ReleaseState,
    Rollout,
    RolloutState,
    SigningKey,
)

# Of an image that is sent to a browser.
PIECE: Final = 1 << 18


_OPEN: Final = (
    RolloutState.DRAFT,
    RolloutState.RUNNING,
    RolloutState.PAUSED,
    RolloutState.AWAITING_APPROVAL,
)


class ReleaseNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such release in the scope, or none that the scope may change."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What is sent to a device: digests in hexadecimal, `size` in bytes.

    `base_sha256` is the image that a patch needs, None for a whole image.
    """

    kind: ArtifactKind
    sha256: str
    size: int
    base_sha256: str | None = None


def releases() -> QuerySet[Release]:
    """Releases with all that a list shows, the newest version of each type first."""
    rows = Release.objects.select_related(
        "artifact", "signing_key", "created_by", "approved_by", "retired_by"
    ).defer("notes")
    return rows.order_by("type_code", "-version_key", "pk")


def release(*, release_id: int) -> Release:
    """One release with what it rests on; one query. Raises ReleaseNotFound."""
    row = releases().defer(None).filter(pk=release_id).first()
    if row is None:
        raise ReleaseNotFound(f"release {release_id}")
    return row


def release_page(
    *,
    limit: int,
    after: int = 0,
    device_type: str | None = None,
    state: str | None = None,
    version: str | None = None,
) -> Page[Release]:
    """Releases by id, perhaps of one type's code, state or version; one query."""
    wanted = {"type_code": device_type, "state": state, "version": version}
    filters = {name: value for name, value in wanted.items() if value is not None}
    rows = releases().defer(None).filter(pk__gt=after, **filters).order_by("pk")[: limit + 1]
    found = list(rows)
    return Page(tuple(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def rollable() -> QuerySet[Release]:
    """Releases with which a roll-out may begin: approved ones, also of tenants above."""
    return releases().filter(state=ReleaseState.APPROVED)


def type_ids_served(release_: Release) -> frozenset[int]:
    """The device types of the scope whose devices the release is for: those with its type's code.

    A claimed device has a copy of its maker's type, so that the row differs and the code, which the
    device verifies in the manifest, does not.
    """
    rows = DeviceType.objects.filter(code=release_.type_code)
    return frozenset(rows.values_list("pk", flat=True))


def allows_from(release_: Release, version: str) -> bool:
    """Whether a device that says it runs `version` may be updated to the release at once."""
    return Range.parse(release_.from_versions).holds_text(version)


def payload_for(release_: Release, *, from_image_sha256: str | None, capabilities: int) -> Payload:
    """What a device gets that runs the image with this digest (None or empty: not known).

    A patch if the device takes patches, runs exactly the image that there is one from, and it is
    smaller; else the whole image. One query, none for devices that take no patches. For many
    devices: `payloads_of`.
    """
    if not from_image_sha256 or not capabilities & Capability.FIRMWARE_DELTA:
        return whole(release_)
    return payloads_of(release_).get(from_image_sha256, whole(release_))


def whole(release_: Release) -> Payload:
    """The image as it is."""
    image = release_.artifact
    return Payload(ArtifactKind.IMAGE, image.sha256, image.size)


def payloads_of(release_: Release) -> dict[str, Payload]:
    """The patches to a release by the digest of the image that they need; one query."""
    rows = Delta.objects.filter(target_id=release_.artifact_id, state=DeltaState.READY)
    found = rows.values_list("base__sha256", "patch__sha256", "patch__size")
    return {
        base: Payload(ArtifactKind.DELTA, patch, size, base)
        for base, patch, size in found
        if size is not None and size < release_.artifact.size
    }


@dataclass(frozen=True, slots=True)
class Running:
    """So many devices say that they run a version; it is empty before their first connection."""

    version: str
    devices: int


@dataclass(frozen=True, slots=True)
class ReleaseDetail:
    """A release in full. `deltas` are those to it, each with `base` and `patch`; `running` counts
    the scope's devices of its type by version, the most frequent first; `rollouts` are those with
    it that are not over.
    """

    release: Release
    deltas: tuple[Delta, ...]
    base_versions: dict[int, str]
    running: tuple[Running, ...]
    rollouts: tuple[Rollout, ...]

    @property
    def running_this(self) -> int:
        """How many devices say that they run it."""
        return sum(one.devices for one in self.running if one.version == self.release.version)


def release_detail(*, release_id: int) -> ReleaseDetail:
    """A release with its patches and where it runs; five queries. Raises ReleaseNotFound."""
    row = release(release_id=release_id)
    deltas = tuple(
        Delta.objects.filter(target_id=row.artifact_id)
        .select_related("base", "patch")
        .order_by("-pk")
    )
    bases = Release.objects.filter(artifact__in=[delta.base_id for delta in deltas])
    return ReleaseDetail(
        release=row,
        deltas=deltas,
        base_versions=dict(bases.values_list("artifact_id", "version")),
        running=running(code=row.type_code),
        rollouts=tuple(row.rollouts.filter(state__in=_OPEN).order_by("pk")),
    )


def running(*, code: str) -> tuple[Running, ...]:
    """How many active devices of a type's code run which version; one query."""
    devices = Device.objects.filter(device_type__code=code, state=DeviceState.ACTIVE)
    rows: QuerySet[Any, Any] = (
        devices.annotate(firmware=status.firmware_version(F("pk")))
        .values("firmware")
        .annotate(devices=Count("pk"))
        .order_by("-devices", "firmware")
    )
    return tuple(Running(row["firmware"] or "", row["devices"]) for row in rows)


def key_page(*, limit: int, after: int = 0) -> Page[SigningKey]:
    """Signing keys by id; one query."""
    found = list(SigningKey.objects.filter(pk__gt=after).order_by("pk")[: limit + 1])
    return Page(tuple(found[:limit]), found[limit - 1].pk if len(found) > limit else None)


def signing_keys() -> QuerySet[SigningKey]:
    """The keys with the count of their releases (`release_count`), those in use first."""
    rows = SigningKey.objects.select_related("added_by")
    return rows.annotate(release_count=Count("releases")).order_by("retired_at", "name", "pk")


def own_types(*, tenant_id: int) -> list[tuple[int, str]]:
    """The types that a tenant may release for, its own and those that serve all: id and label."""
    rows = DeviceType.objects.filter(Q(tenant_id=tenant_id) | Q(tenant__isnull=True))
    return [(row.pk, f"{row.name} ({row.code})") for row in rows.order_by("name", "pk")]


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A release's image for download, piece by piece; `piece` needs no scope."""

    sha256: str
    size: int
    file_name: str

    def piece(self, offset: int | None) -> tuple[bytes, int | None]:
        """Some bytes from `offset` (None: the beginning), and where the next begin; None at the
        end.
        """
        start = offset or 0
        data = store.part(self.sha256, start, PIECE)
        after = start + len(data)
        return data, after if data and after < self.size else None


def image(*, release_id: int) -> ImageFile:
    """The image of a release; one query. Raises ReleaseNotFound."""
    row = release(release_id=release_id)
    suffix = {"mcuboot": "img", "swu": "swu"}.get(row.artifact.header["format"], "bin")
    name = f"{row.type_code}-{row.version}.{suffix}"
    return ImageFile(sha256=row.artifact.sha256, size=row.artifact.size, file_name=name)

"""Patches between releases: which are wanted, and their making in the background."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db.models import F

from firmware.artifacts import deltas, store
from firmware.domain import artifact_operations
from firmware.models import Artifact, ArtifactKind, Delta, DeltaState, Release
from tenants.scope import Scope, open_scope

# From how many of the releases before it a release gets patches: who is further behind gets the
# whole image.
BASES: Final = 5
# A making that ended its process so often is given up.
MOST_ATTEMPTS: Final = 3
# What is saved must be worth the second way: a tenth of the image.
WORTH: Final = 0.9
# SWUpdate has patches of its own, inside its archives.
_FORMATS: Final = ("mcuboot", "raw")
_DETAIL: Final = 300


def ask_for(release: Release) -> list[Delta]:
    """Want patches to a release that was just approved, from the ones before it."""
    image = release.artifact
    if image.header.get("format") not in _FORMATS or image.size > deltas.MOST_BYTES:
        return []
    before = (
        Release.objects.filter(
            tenant_id=release.tenant_id,
            device_type_id=release.device_type_id,
            version_key__lt=release.version_key,
            approved_at__isnull=False,
            artifact__header__format__in=_FORMATS,
            artifact__size__lte=deltas.MOST_BYTES,
        )
        .exclude(artifact_id=image.pk)
        .order_by("-version_key")
    )
    found = []
    for base_id in list(before.values_list("artifact_id", flat=True)[:BASES]):
        row, made = Delta.objects.get_or_create(
            base_id=base_id, target_id=image.pk, defaults={"tenant_id": release.tenant_id}
        )
        found += [row] if made else []
    return found


def make_next(*, scope: Scope, now: datetime) -> bool:
    """Make one patch that is wanted in the scope; False when there is none. Opens the scope itself.

    Its bytes are made between two transactions, so that nothing waits for them. The first counts an
    attempt, so that a patch whose making kills its process is given up after MOST_ATTEMPTS. Two
    workers that make the same patch do no harm: it is the same.
    """
    with open_scope(scope):
        row = _begun(now)
    if row is None:
        return False
    if row.state != DeltaState.WAITING:
        return True
    try:
        patch = deltas.make(store.read(row.base.sha256), store.read(row.target.sha256))
    except (deltas.DeltaError, store.ArtifactMissingError, store.ArtifactDamagedError) as error:
        with open_scope(scope):
            _refuse(row, str(error), now)
        return True
    if len(patch) >= row.target.size * WORTH:
        with open_scope(scope):
            _refuse(row, f"It would have {len(patch)} of the image’s {row.target.size} bytes.", now)
        return True
    digest = hashlib.sha256(patch).hexdigest()
    store.write(patch, sha256=digest)
    with open_scope(scope):
        _keep(row, patch, digest, now)
    return True


def _begun(now: datetime) -> Delta | None:
    """The next that is wanted, its attempt counted; refused when there were too many."""
    rows = Delta.objects.select_for_update(skip_locked=True, of=("self",))
    row = rows.select_related("base", "target").filter(state=DeltaState.WAITING).first()
    if row is None:
        return None
    if row.attempts >= MOST_ATTEMPTS:
        _refuse(row, "Its making ended again and again without a result.", now)
    else:
        Delta.objects.filter(pk=row.pk).update(attempts=F("attempts") + 1)
    return row


def _keep(row: Delta, patch: bytes, digest: str, now: datetime) -> None:
    stored = artifact_operations.hold_kept(patch, sha256=digest)
    header = {"format": "detools", "type": deltas.PATCH_TYPE, "compression": deltas.COMPRESSION}
    artifact, _made = Artifact.objects.get_or_create(
        tenant_id=row.tenant_id,
        sha256=digest,
        defaults={
            "size": len(patch),
            "kind": ArtifactKind.DELTA,
            "stored_name": stored,
            "header": header,
        },
    )
    waiting = Delta.objects.filter(pk=row.pk, state=DeltaState.WAITING)
    waiting.update(state=DeltaState.READY, patch=artifact, made_at=now, detail="")


def _refuse(row: Delta, why: str, now: datetime) -> None:
    waiting = Delta.objects.filter(pk=row.pk, state=DeltaState.WAITING)
    waiting.update(state=DeltaState.REFUSED, detail=why[:_DETAIL], made_at=now)
    row.state = DeltaState.REFUSED


def tenants_waiting(tenant_ids: Sequence[int]) -> list[int]:
    """Those of some tenants whose releases want patches."""
    rows = Delta.objects.filter(state=DeltaState.WAITING, tenant_id__in=tenant_ids)
    return sorted(set(rows.values_list("tenant_id", flat=True)))

"""The life of releases: made as drafts, approved by a second person, retired.

As everywhere: an open scope that is not narrowed, `actor_id` of a person or None (the system),
sentences at fields. What runs in the background afterwards (patches) the entry point sends after
the commit: `firmware.tasks.make_deltas`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _

from devices.versions import Range, VersionError
from firmware.artifacts import store
from firmware.artifacts.errors import ArtifactError
from firmware.artifacts.signing import SignatureFile
from firmware.domain import artifact_operations, delta_operations
from firmware.domain.release_checks import (
    LONGEST_NOTES,
    LONGEST_RANGE,
    Draft,
    Sound,
    already,
    checked,
    in_words,
)
from firmware.domain.release_queries import ReleaseNotFound
from firmware.models import Artifact, ArtifactKind, Release, ReleaseState
from tenants.domain import audit


def create_release(*, tenant_id: int, draft: Draft, actor_id: int | None) -> Release:
    """Keep an image as a draft of a release; raises ValidationError with every problem.

    What is refused is not kept anywhere. A file that is kept when the transaction fails after all
    is removed by `artifact_operations.sweep` a day later.
    """
    sound = checked(draft, tenant_id=tenant_id)
    assert draft.image is not None
    try:
        store.write(draft.image, sha256=sound.inspected.sha256)
        with transaction.atomic():
            artifact = _artifact(tenant_id, sound, draft.image)
            row = _row(tenant_id, sound, draft.notes, artifact, actor_id)
            return audit.insert(row, actor_id=actor_id, action="release.create", after=told(row))
    except ArtifactError as error:
        raise ValidationError({"image": [in_words(error)]}) from error
    except IntegrityError as error:
        # Somebody was quicker, after the check.
        if "firmware_release_version_unique" not in str(error):
            raise
        raise ValidationError({"version": [already(sound.version)]}) from error


def _artifact(tenant_id: int, sound: Sound, image: File[Any]) -> Artifact:
    """The row of the image, which nobody takes away before the release that names it is kept."""
    stored = artifact_operations.hold_kept(image, sha256=sound.inspected.sha256)
    found, _made = Artifact.objects.get_or_create(
        tenant_id=tenant_id,
        sha256=sound.inspected.sha256,
        defaults={
            "size": sound.inspected.size,
            "kind": ArtifactKind.IMAGE,
            "stored_name": stored,
            "header": sound.inspected.header,
        },
    )
    return found


def _row(
    tenant_id: int, sound: Sound, notes: str, artifact: Artifact, actor_id: int | None
) -> Release:
    return Release(
        tenant_id=tenant_id,
        device_type=sound.device_type,
        type_code=sound.device_type.code,
        version=str(sound.version),
        version_key=sound.version.key,
        hardware_revisions=list(sound.hardware_revisions),
        artifact=artifact,
        manifest=sound.signed.manifest,
        signature=sound.signed.signature,
        signing_key=sound.key,
        notes=notes.strip(),
        from_versions=sound.from_versions,
        created_by_id=actor_id,
    )


def told(row: Release) -> audit.JsonObject:
    """What the audit trail keeps of a release."""
    return {
        "device_type": row.type_code,
        "version": row.version,
        "hardware_revisions": list(row.hardware_revisions),
        "from_versions": row.from_versions,
        "image": row.artifact.sha256,
        "size": row.artifact.size,
        "signing_key": row.signing_key.key_id,
        "state": row.state,
    }


@transaction.atomic
def edit_draft(*, release_id: int, notes: str, from_versions: str, actor_id: int | None) -> Release:
    """Change what was not signed of a draft. Raises ReleaseNotFound and ValidationError."""
    row = _locked(release_id)
    _require(row, ReleaseState.DRAFT, _("Only a draft can be changed."))
    if len(from_versions) > LONGEST_RANGE or len(notes) > LONGEST_NOTES:
        raise ValidationError(_("The text is too long."))
    try:
        versions = str(Range.parse(from_versions))
    except VersionError as error:
        raise ValidationError({"from_versions": [in_words(error)]}) from error
    audit.update(
        row,
        {"notes": notes.strip(), "from_versions": versions},
        actor_id=actor_id,
        action="release.change",
    )
    return row


@transaction.atomic
def approve_release(*, release_id: int, actor_id: int | None, now: datetime) -> Release:
    """Let a draft be rolled out: by another person than the one who uploaded it.

    Both are people: what the system or a service account uploads cannot be approved, and neither
    approves. Image and signature are verified once more: what is approved is what lies in the
    store. Patches from the releases before it are asked for. Raises ReleaseNotFound and
    ValidationError.
    """
    row = _locked(release_id)
    _require(row, ReleaseState.DRAFT, _("Only a draft can be approved."))
    if None in (row.created_by_id, actor_id) or row.created_by_id == actor_id:
        raise ValidationError(
            _("A release is approved by another person than the one who uploaded it.")
        )
    _verify_again(row)
    values = {"state": ReleaseState.APPROVED, "approved_by_id": actor_id, "approved_at": now}
    _change(row, values, actor_id=actor_id, action="release.approve")
    delta_operations.ask_for(row)
    return row


def _verify_again(row: Release) -> None:
    if row.signing_key.retired_at is not None:
        raise ValidationError(
            _("The key that signed this release was retired: upload it with another signature.")
        )
    try:
        signed = SignatureFile(bytes(row.manifest), bytes(row.signature), row.signing_key.key_id)
        signed.verify(bytes(row.signing_key.public_key))
        store.verify(row.artifact.sha256)
    except (ArtifactError, store.ArtifactMissingError, store.ArtifactDamagedError) as error:
        raise ValidationError(
            _("The image in the store is not what was uploaded. Delete the draft and upload again.")
        ) from error


@transaction.atomic
def retire_release(*, release_id: int, actor_id: int | None, now: datetime) -> Release:
    """Let no new roll-out begin with a release.

    Roll-outs that run go on (each can be paused or aborted by itself), and devices may still be
    taken back to it: what runs already is safer than what failed. Raises ReleaseNotFound and
    ValidationError.
    """
    row = _locked(release_id)
    if row.state == ReleaseState.RETIRED:
        raise ValidationError(_("The release was retired already."))
    values = {"state": ReleaseState.RETIRED, "retired_by_id": actor_id, "retired_at": now}
    _change(row, values, actor_id=actor_id, action="release.retire")
    return row


@transaction.atomic
def delete_draft(*, release_id: int, actor_id: int | None) -> None:
    """Forget a draft, with its image unless another release has the same.

    The file is swept later. Raises ReleaseNotFound and ValidationError.
    """
    row = _locked(release_id)
    _require(row, ReleaseState.DRAFT, _("Only a draft can be deleted; retire the release."))
    artifact = row.artifact
    if row.rollouts.exists():
        raise ValidationError(_("A roll-out names this release: delete that first."))
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="release.delete",
        subject=row,
        before=told(row),
    )
    # Somebody may be uploading the same image as another release.
    artifact_operations.hold(artifact.sha256)
    row.delete()
    if not artifact.releases.exists():
        artifact.delete()


def _locked(release_id: int) -> Release:
    """A release of the scope's own tenants, locked; those of tenants above cannot be."""
    rows = Release.objects.select_for_update(of=("self",), no_key=True)
    related = rows.select_related("artifact", "signing_key")
    row = related.filter(pk=release_id).first()
    if row is None:
        raise ReleaseNotFound(f"release {release_id}")
    return row


def _require(row: Release, state: ReleaseState, message: str) -> None:
    if row.state != state:
        raise ValidationError(message)


def _change(row: Release, values: Mapping[str, Any], *, actor_id: int | None, action: str) -> None:
    """A step of the release's life, and the audit entry about it."""
    before = told(row)
    for name, value in values.items():
        setattr(row, name, value)
    row.save(update_fields=list(values))
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action=action,
        subject=row,
        before=before,
        after=told(row),
    )

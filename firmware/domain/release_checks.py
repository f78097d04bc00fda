"""What must hold of a release before it is kept: form, image, manifest, signature agree.

Every problem is told, each at its field (`image`, `signature`, `device_type`, `version`,
`hardware_revisions`, `from_versions`), so that one look suffices to mend them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.base import File
from django.db.models import F, Q
from django.utils.translation import gettext as _

from devices.models import DeviceType
from devices.protocol.manifest import MAX_HARDWARE, Manifest
from devices.versions import Range, Version, VersionError
from firmware.artifacts import inspection
from firmware.artifacts.errors import ArtifactError
from firmware.artifacts.inspection import Inspected
from firmware.artifacts.signing import LONGEST_FILE, SignatureFile
from firmware.models import Release, SigningKey

LONGEST_REVISION = 32
LONGEST_RANGE = 200
LONGEST_NOTES = 20_000


@dataclass(frozen=True, slots=True)
class Draft:
    """A release as somebody asks for it.

    The type is named by its id or, where that is 0, by its code.
    `image` is read from its beginning, in pieces; `signature` is the signature file. What is empty
    of `version` and `hardware_revisions` None is taken from what was signed.
    """

    device_type_id: int
    image: File[Any] | None
    signature: File[Any] | None
    version: str = ""
    hardware_revisions: tuple[str, ...] | None = None
    from_versions: str = ""
    notes: str = ""
    type_code: str = ""


@dataclass(frozen=True, slots=True)
class Sound:
    """A draft in which nothing is wrong."""

    device_type: DeviceType
    version: Version
    hardware_revisions: tuple[str, ...]
    from_versions: str
    inspected: Inspected
    signed: SignatureFile
    key: SigningKey


@dataclass(slots=True)
class Findings:
    """What the checks have found so far; `errors` by field."""

    device_type: DeviceType | None = None
    version: Version | None = None
    from_versions: Range | None = None
    inspected: Inspected | None = None
    signed: SignatureFile | None = None
    manifest: Manifest | None = None
    key: SigningKey | None = None
    errors: dict[str, list[str]] = field(default_factory=dict)
    # Fields of `errors` that were merely left empty.
    missing: set[str] = field(default_factory=set)

    def add(self, where: str, message: str) -> None:
        """A problem at a field."""
        self.errors.setdefault(where, []).append(message)

    def miss(self, where: str, message: str) -> None:
        """A field that was left empty."""
        self.missing.add(where)
        self.add(where, message)

    @contextmanager
    def at(self, where: str) -> Iterator[None]:
        """What is wrong with a file or a text becomes a problem at the field."""
        try:
            yield
        except (ArtifactError, VersionError) as error:
            self.add(where, in_words(error))


def look_at(draft: Draft, *, tenant_id: int) -> Findings:
    """Everything that can be said of a draft, complete or not; keeps nothing."""
    found = Findings()
    found.device_type = _type(draft, tenant_id)
    if found.device_type is None:
        found.miss("device_type", _("Choose one of your device types."))
    _read_signature(found, draft)
    _read_texts(found, draft)
    if draft.image is None:
        found.miss("image", _("Choose the image."))
    else:
        with found.at("image"):
            found.inspected = inspection.inspect(draft.image, most=settings.FIRMWARE_MAX_BYTES)
    _compare(found, draft)
    _verify(found, tenant_id)
    _require_new(found, tenant_id)
    return found


def checked(draft: Draft, *, tenant_id: int) -> Sound:
    """The draft with all that was read from it; raises ValidationError with every problem."""
    found = look_at(draft, tenant_id=tenant_id)
    if found.errors:
        raise ValidationError(dict(found.errors))
    assert found.device_type is not None
    assert found.version is not None
    assert found.inspected is not None
    assert found.signed is not None
    assert found.manifest is not None
    assert found.key is not None
    return Sound(
        device_type=found.device_type,
        version=found.version,
        hardware_revisions=found.manifest.hardware,
        from_versions=str(found.from_versions or ""),
        inspected=found.inspected,
        signed=found.signed,
        key=found.key,
    )


def _type(draft: Draft, tenant_id: int) -> DeviceType | None:
    """The tenant's own, or one that serves all."""
    named = Q(pk=draft.device_type_id) if draft.device_type_id else Q(code=draft.type_code)
    own = Q(tenant_id=tenant_id) | Q(tenant__isnull=True)
    return DeviceType.objects.filter(named, own).order_by(F("tenant").asc(nulls_last=True)).first()


def _read_signature(found: Findings, draft: Draft) -> None:
    if draft.signature is None:
        found.miss("signature", _("Choose the signature file that sign_firmware has written."))
        return
    draft.signature.seek(0)
    with found.at("signature"):
        found.signed = SignatureFile.load(draft.signature.read(LONGEST_FILE + 1))
        found.manifest = found.signed.read()


def _read_texts(found: Findings, draft: Draft) -> None:
    version = draft.version.strip() or (found.manifest.version if found.manifest else "")
    if version:
        with found.at("version"):
            found.version = Version.parse(version)
    elif not found.errors.get("signature"):
        found.add("version", _("Write the version, such as 1.4.0."))
    if len(draft.from_versions) > LONGEST_RANGE:
        found.add(
            "from_versions", _("Write at most %(most)d characters.") % {"most": LONGEST_RANGE}
        )
    else:
        with found.at("from_versions"):
            found.from_versions = Range.parse(draft.from_versions)
    if len(draft.notes) > LONGEST_NOTES:
        found.add("notes", _("Write at most %(most)d characters.") % {"most": LONGEST_NOTES})
    for revision in draft.hardware_revisions or ():
        if not 0 < len(revision) <= LONGEST_REVISION:
            message = _("A hardware revision has 1 to %(most)d characters.")
            found.add("hardware_revisions", message % {"most": LONGEST_REVISION})
            break


def _compare(found: Findings, draft: Draft) -> None:
    """What was signed against the form and the image, and the image's header against the form."""
    manifest, inspected = found.manifest, found.inspected
    if found.version is not None and inspected is not None:
        with found.at("image"):
            inspection.require_version(inspected, found.version)
    if manifest is None:
        return
    if found.device_type is not None and manifest.device_type != found.device_type.code:
        message = _("This was signed for the device type %(signed)s, not for %(chosen)s.")
        told = {"signed": manifest.device_type, "chosen": found.device_type.code}
        found.add("signature", message % told)
    if found.version is not None and manifest.version != str(found.version):
        message = _("This was signed as version %(signed)s, not as %(chosen)s.")
        found.add("signature", message % {"signed": manifest.version, "chosen": found.version})
    _compare_hardware(found, draft, manifest)
    if inspected is not None and (
        manifest.image_sha256.hex() != inspected.sha256 or manifest.image_size != inspected.size
    ):
        found.add(
            "signature",
            _(
                "This was signed for another image: sign exactly the file that you upload, or the"
                " file was altered after it was signed."
            ),
        )


def _compare_hardware(found: Findings, draft: Draft, manifest: Manifest) -> None:
    wanted = draft.hardware_revisions
    if wanted is not None and set(wanted) != set(manifest.hardware):
        signed = ", ".join(manifest.hardware) or _("all revisions")
        message = _("This was signed for other hardware revisions: %(signed)s.")
        found.add("signature", message % {"signed": signed})
    if any(len(revision) > LONGEST_REVISION for revision in manifest.hardware):
        message = _("A hardware revision has 1 to %(most)d characters.")
        found.add("signature", message % {"most": LONGEST_REVISION})
    assert len(manifest.hardware) <= MAX_HARDWARE, "the protocol reads no more"


def _verify(found: Findings, tenant_id: int) -> None:
    """A key of the tenant, still in use, signed exactly this manifest."""
    if found.signed is None or found.manifest is None:
        return
    key = SigningKey.objects.filter(tenant_id=tenant_id, key_id=found.signed.key_id).first()
    if key is None:
        message = _("This was signed by the key %(key)s, which is none of your signing keys.")
        found.add("signature", message % {"key": found.signed.key_id[:32]})
    elif key.retired_at is not None:
        message = _("The key %(name)s was retired: sign the image with one that is in use.")
        found.add("signature", message % {"name": key.name})
    else:
        with found.at("signature"):
            found.signed.verify(bytes(key.public_key))
            found.key = key


def _require_new(found: Findings, tenant_id: int) -> None:
    if found.version is None or found.device_type is None:
        return
    same = Release.objects.filter(
        tenant_id=tenant_id, device_type=found.device_type, version_key=found.version.key
    ).first()
    if same is not None:
        found.add("version", already(same.version))


def in_words(error: ArtifactError | VersionError) -> str:
    """What is wrong with a file or a version, in the reader's language."""
    if isinstance(error, ArtifactError):
        sentence = _(error.template)
        return sentence % error.values if error.values else sentence
    if error.code == "range":
        return _(
            "“%(text)s” is no range of versions: join comparisons by commas, for example >=1.2,<2."
        ) % {"text": error.text}
    return _("“%(text)s” is no semantic version: write it as 1.4.0 or 2.0.0-rc.1 (semver.org).") % {
        "text": error.text
    }


def already(version: object) -> str:
    """That a version is there."""
    return _("There is a release %(version)s of this device type already.") % {"version": version}

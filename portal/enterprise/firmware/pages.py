"""What the pages of releases show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from firmware.artifacts.mcuboot import Tlv
from firmware.domain.release_checks import Findings
from firmware.domain.release_queries import ReleaseDetail
from firmware.models import Delta, DeltaState, Release, ReleaseState
from portal.enterprise.firmware.tables import TONES
from portal.enterprise.registry.requests import actor_id, own_tenant_id
from portal.frame import quantities
from portal.frame.permissions import may
from tenants.permissions import Permission

FORMATS = {"mcuboot": "MCUboot", "swu": "SWUpdate", "raw": "–"}


@dataclass(frozen=True, slots=True)
class Fact:
    """A line of what is known; `mono` for digests and codes."""

    label: str
    value: str
    mono: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the checks while a form is filled in; `good` None: not looked at yet."""

    label: str
    text: str
    good: bool | None


def findings(found: Findings) -> list[Finding]:
    """What the files say, and what is wrong, in the order of the form."""
    told = [
        _finding(found, "device_type", _("Device type"), _type_of(found)),
        _finding(found, "image", _("Image"), _image_of(found)),
        _finding(found, "signature", _("Signature"), _signature_of(found)),
        _finding(found, "version", _("Version"), str(found.version or "")),
        _finding(found, "from_versions", _("May be installed over"), _range_of(found)),
    ]
    return [one for group in told for one in group]


def _finding(found: Findings, where: str, label: str, good: str) -> list[Finding]:
    errors = found.errors.get(where, [])
    if errors:
        good_ = None if where in found.missing else False
        return [Finding(label, error, good_) for error in errors]
    return [Finding(label, good or _("Not given yet."), good=True if good else None)]


def _type_of(found: Findings) -> str:
    return found.device_type.code if found.device_type else ""


def _range_of(found: Findings) -> str:
    return str(found.from_versions or "") or _("all versions")


def _image_of(found: Findings) -> str:
    if found.inspected is None:
        return ""
    what = FORMATS.get(found.inspected.format, "–")
    parts = [what if what != "–" else _("Bare binary"), size(found.inspected.size)]
    if found.inspected.version:
        parts.append(_("its header says version %s") % found.inspected.version)
    return ", ".join([*parts, f"SHA-256 {found.inspected.sha256[:16]}…"])


def _signature_of(found: Findings) -> str:
    if found.key is None or found.manifest is None:
        return ""
    return _("Signed by %(name)s for %(type)s (%(hardware)s), version %(version)s.") % {
        "name": found.key.name,
        "type": found.manifest.device_type,
        "hardware": ", ".join(found.manifest.hardware) or _("all revisions"),
        "version": found.manifest.version,
    }


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{quantities.number(count, 0)} B"


def release(found: ReleaseDetail, request: HttpRequest) -> dict[str, Any]:
    """The page of a release."""
    row = found.release
    own = row.tenant_id == own_tenant_id(request)
    mine = row.created_by_id == actor_id(request)
    changes = own and may(request, Permission.FIRMWARE_CHANGE)
    draft = row.state == ReleaseState.DRAFT
    return {
        "release": row,
        "own": own,
        "tone": TONES[row.state],
        "facts": _facts(row),
        "image": _image(row),
        "life": _life(row),
        "deltas": [_delta(one, found.base_versions, row) for one in found.deltas],
        "running": _running(found),
        "rollouts": found.rollouts,
        "may_approve": own and draft and not mine and may(request, Permission.FIRMWARE_APPROVE),
        "waits_for_another": own and draft and mine,
        "may_edit": changes and draft,
        "may_roll_out": row.state == ReleaseState.APPROVED
        and may(request, Permission.ROLLOUTS_CHANGE),
        "may_retire": changes and row.state == ReleaseState.APPROVED,
    }


def _facts(row: Release) -> list[Fact]:
    return [
        Fact(_("Device type"), row.type_code, mono=True),
        Fact(_("Hardware revisions"), ", ".join(row.hardware_revisions) or _("all revisions")),
        Fact(_("May be installed over"), row.from_versions or _("all versions")),
        Fact(_("Signed by"), row.signing_key.name),
        Fact(_("Key"), row.signing_key.key_id, mono=True),
        Fact(_("Signature (Ed25519)"), bytes(row.signature).hex(), mono=True),
    ]


def _image(row: Release) -> list[Fact]:
    """What the image's own header says."""
    header: Mapping[str, Any] = row.artifact.header
    told = [
        Fact(_("Format"), FORMATS.get(header["format"], "–").replace("–", _("Bare binary"))),
        Fact(_("Size"), size(row.artifact.size)),
        Fact("SHA-256", row.artifact.sha256, mono=True),
    ]
    if header.get("version"):
        told.append(Fact(_("Version in the header"), str(header["version"])))
    if header["format"] == "mcuboot":
        kinds = [_tlv(kind) for kind, _length in header["tlvs"]]
        told += [
            Fact(_("Firmware without header"), size(header["image_size"])),
            Fact(_("SHA-256 in the image"), header["sha256"], mono=True),
            Fact("TLV", ", ".join(kinds), mono=True),
        ]
    if header["format"] == "swu":
        names = ", ".join(name for name, _length in header["members"])
        told.append(Fact(_("Members"), names, mono=True))
    if "boot_signature" in header:
        signed = _("Yes") if header["boot_signature"] else _("No")
        told.append(Fact(_("Signed for the boot loader too"), signed))
    return told


def _tlv(kind: int) -> str:
    return Tlv(kind).name if kind in set(Tlv) else f"0x{kind:02x}"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a release's life: who took it, and when; None what has not happened."""

    label: str
    by: str
    at: Any


def _life(row: Release) -> list[Step]:
    steps = [
        Step(_("Uploaded"), str(row.created_by or ""), row.created_at),
        Step(_("Approved"), str(row.approved_by or ""), row.approved_at),
        Step(_("Retired"), str(row.retired_by or ""), row.retired_at),
    ]
    return [step for step in steps if step.at is not None]


@dataclass(frozen=True, slots=True)
class DeltaLine:
    """A patch as its line shows it; `saved` in per cent of the image, None without a patch."""

    base: str
    state: str
    tone: str
    size: str
    saved: int | None
    detail: str


_DELTA_TONES = {DeltaState.READY: "good", DeltaState.WAITING: "accent", DeltaState.REFUSED: ""}


def _delta(delta: Delta, versions: Mapping[int, str], row: Release) -> DeltaLine:
    patch = delta.patch
    return DeltaLine(
        base=versions.get(delta.base_id, f"{delta.base.sha256[:12]}…"),
        state=DeltaState(delta.state).label.__str__(),
        tone=_DELTA_TONES[DeltaState(delta.state)],
        size=size(patch.size) if patch else "–",
        saved=round(100 - 100 * patch.size / row.artifact.size) if patch else None,
        detail=delta.detail,
    )


@dataclass(frozen=True, slots=True)
class RunningLine:
    """How many devices run a version."""

    version: str
    devices: int
    this: bool


def _running(found: ReleaseDetail) -> list[RunningLine]:
    return [
        RunningLine(one.version or _("not known yet"), one.devices, one.version == version)
        for version in [found.release.version]
        for one in found.running
    ]

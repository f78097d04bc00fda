"""Changes to tariffs and their versions; each leaves an audit row.

A version is a draft until it is published; then it is final, and the next version or revision
follows. Needs an open scope that holds the tenant; tariffs concern the tenant as a whole. What is
refused is a ValidationError with a sentence at its field.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max
from django.utils.translation import gettext as _

from billing.domain import identifiers, refusals, restatement_finding, tariffs_checks
from billing.domain.tariffs_queries import TariffNotFound, VersionNotFound
from billing.models import Tariff, TariffVersion, VersionState
from billing.tariffs import document
from tenants.domain import audit

# What lies before is a typing error: no meter of ours measured then.
EARLIEST: Final = date(2000, 1, 1)


@transaction.atomic
def create_tariff(
    *, tenant_id: int, name: str, currency: str, description: str = "", actor_id: int | None
) -> Tariff:
    """A new tariff, still without any price."""
    wanted = {"currency": currency}
    wrong: dict[str, list[str]] = {}
    identifiers.check(wanted, wrong, "currency", identifiers.checked_currency)
    if wrong:
        raise ValidationError(wrong)
    row = Tariff(
        tenant_id=tenant_id,
        name=_named(name),
        description=description.strip(),
        currency=wanted["currency"],
    )
    return refusals.insert(row, actor_id=actor_id, action="tariff.create")


@transaction.atomic
def change_tariff(
    *,
    tariff_id: int,
    name: str,
    description: str = "",
    offered: bool | None = None,
    actor_id: int | None,
) -> Tariff:
    """Another name or description; bills keep what they were made with. `offered`: whether
    customers may be told what they would pay by it; None leaves that as it is.
    """
    row = _locked(tariff_id)
    wanted: dict[str, Any] = {"name": _named(name), "description": description.strip()}
    if offered is not None:
        wanted["offered"] = offered
    refusals.update(row, wanted, actor_id=actor_id, action="tariff.change")
    return row


@transaction.atomic
def archive_tariff(*, tariff_id: int, now: datetime, actor_id: int | None) -> Tariff:
    """No new agreement may choose it; the ones that have it keep it."""
    row = _locked(tariff_id)
    if row.archived_at is not None:
        raise ValidationError(_("The tariff is archived already."))
    refusals.update(row, {"archived_at": now}, actor_id=actor_id, action="tariff.archive")
    return row


@transaction.atomic
def restore_tariff(*, tariff_id: int, actor_id: int | None) -> Tariff:
    """Agreements may choose it again."""
    row = _locked(tariff_id)
    if row.archived_at is None:
        raise ValidationError(_("The tariff is not archived."))
    refusals.update(row, {"archived_at": None}, actor_id=actor_id, action="tariff.restore")
    return row


@transaction.atomic
def draft_version(
    *,
    tariff_id: int,
    valid_from: date,
    source: str,
    reason: str = "",
    actor_id: int | None,
) -> TariffVersion:
    """A draft of what the tariff says from a day on, as YAML or JSON; of a day that has a version
    already, its next revision.
    """
    tariff = _locked(tariff_id)
    mapping = tariffs_checks.readable(source, currency=tariff.currency)
    row = TariffVersion(
        tenant_id=tariff.tenant_id,
        tariff=tariff,
        valid_from=_dated(valid_from),
        revision=_next_revision(tariff, valid_from),
        document=mapping,
        source=source,
        sha256=document.sha256_of(mapping),
        reason=reason.strip(),
        created_by_id=actor_id,
    )
    with refusals.told_at_fields():
        row.save(force_insert=True)
    _tell(row, actor_id, "tariff.draft")
    return row


@transaction.atomic
def change_draft(
    *,
    version_id: int,
    valid_from: date,
    source: str,
    reason: str = "",
    actor_id: int | None,
) -> TariffVersion:
    """Write a draft anew."""
    row = _draft(version_id)
    before = _told(row)
    mapping = tariffs_checks.readable(source, currency=row.tariff.currency)
    if valid_from != row.valid_from:
        row.valid_from = _dated(valid_from)
        row.revision = _next_revision(row.tariff, valid_from)
    row.document, row.source = mapping, source
    row.sha256, row.reason = document.sha256_of(mapping), reason.strip()
    fields = ["valid_from", "revision", "document", "source", "sha256", "reason"]
    with refusals.told_at_fields():
        row.save(update_fields=fields)
    _tell(row, actor_id, "tariff.change_draft", before)
    return row


@transaction.atomic
def delete_draft(*, version_id: int, actor_id: int | None) -> None:
    """Remove a draft."""
    row = _draft(version_id)
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="tariff.delete_draft",
        subject=row,
        before=_told(row),
    )
    row.delete()


@transaction.atomic
def duplicate_version(*, version_id: int, valid_from: date, actor_id: int | None) -> TariffVersion:
    """A draft that says from another day on, or in a next revision, what a version says."""
    row = TariffVersion.objects.filter(pk=version_id).first()
    if row is None:
        raise VersionNotFound(f"tariff version {version_id}")
    source = row.source or document.canonical(row.document).decode()
    return draft_version(
        tariff_id=row.tariff_id, valid_from=valid_from, source=source, actor_id=actor_id
    )


@transaction.atomic
def publish_version(*, version_id: int, now: datetime, actor_id: int | None) -> TariffVersion:
    """Make a draft final. Refused with the instant named where it leaves one without a price, or
    with two, in a time zone of the tenant; and without a reason where it changes the past or takes
    the place of a published version: bills are restated then.
    """
    row = _draft(version_id)
    found = tariffs_checks.examine(
        row.document,
        tenant_id=row.tenant_id,
        currency=row.tariff.currency,
        valid_from=row.valid_from,
        now=now,
    )
    if found.problems:
        raise ValidationError({"source": [tariffs_checks.in_words(one) for one in found.problems]})
    replaces = TariffVersion.objects.filter(
        tariff=row.tariff, valid_from=row.valid_from, state=VersionState.PUBLISHED
    ).exists()
    past = tariffs_checks.is_past(row.valid_from, zones=found.zones, now=now)
    if (replaces or past) and not row.reason:
        message = (
            _("The version takes the place of a published one: give a reason.")
            if replaces
            else _("The version begins on a day that is over: give a reason.")
        )
        raise ValidationError({"reason": [message]})
    row.state, row.published_at, row.published_by_id = VersionState.PUBLISHED, now, actor_id
    row.save(update_fields=["state", "published_at", "published_by"])
    _tell(row, actor_id, "tariff.publish")
    restatement_finding.version_published(row, now=now)
    return row


def _named(name: str) -> str:
    if not name.strip():
        raise ValidationError({"name": [_("Give the tariff a name.")]})
    return name.strip()


def _dated(day: date) -> date:
    if day < EARLIEST:
        raise ValidationError({"valid_from": [_("This day is too long ago.")]})
    return day


def _locked(tariff_id: int) -> Tariff:
    row = Tariff.objects.select_for_update(no_key=True).filter(pk=tariff_id).first()
    if row is None:
        raise TariffNotFound(f"tariff {tariff_id}")
    return row


def _draft(version_id: int) -> TariffVersion:
    """A draft with its tariff, both held until the transaction ends."""
    found = TariffVersion.objects.filter(pk=version_id).first()
    if found is None:
        raise VersionNotFound(f"tariff version {version_id}")
    tariff = _locked(found.tariff_id)
    row = TariffVersion.objects.select_for_update().filter(pk=version_id).first()
    if row is None:
        raise VersionNotFound(f"tariff version {version_id}")
    if row.state != VersionState.DRAFT:
        raise ValidationError(_("The version is published and stays as it is. Make the next one."))
    row.tariff = tariff
    return row


def _next_revision(tariff: Tariff, valid_from: date) -> int:
    rows = TariffVersion.objects.filter(tariff=tariff, valid_from=valid_from)
    highest = rows.aggregate(highest=Max("revision"))["highest"]
    return int(highest or 0) + 1


def _told(row: TariffVersion) -> dict[str, Any]:
    """What the audit log keeps of a version: its hash stands for the document."""
    return {
        "tariff": row.tariff_id,
        "valid_from": row.valid_from.isoformat(),
        "revision": row.revision,
        "state": row.state,
        "hash": row.sha256,
        "reason": row.reason,
    }


def _tell(
    row: TariffVersion, actor_id: int | None, action: str, before: dict[str, Any] | None = None
) -> None:
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action=action,
        subject=row,
        before=before,
        after=_told(row),
    )

"""Tariffs and their versions as pages and the API read them.

Needs an open scope and sees what it holds: one narrowed to facilities sees no tariffs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from django.db.models import Q, QuerySet

from billing.domain.paging import page_of
from billing.domain.tariffs_checks import Checked, examine
from billing.models import Tariff, TariffVersion, VersionState
from devices.domain.catalogue import Page


class TariffNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such tariff in the scope."""


class VersionNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such version in the scope."""


def tariff_rows(*, search: str = "", archived: bool | None = None) -> QuerySet[Tariff]:
    """Tariffs by name, perhaps with a text in name or description, archived or not."""
    rows = Tariff.objects.order_by("name", "pk")
    for word in search.split():
        rows = rows.filter(Q(name__icontains=word) | Q(description__icontains=word))
    return rows if archived is None else rows.filter(archived_at__isnull=not archived)


def tariff_page(
    *,
    limit: int,
    after: int = 0,
    search: str = "",
    currency: str | None = None,
    archived: bool | None = None,
) -> Page[Tariff]:
    """Tariffs by id; one query."""
    rows = tariff_rows(search=search, archived=archived)
    return page_of(rows, limit=limit, after=after, wanted={"currency": currency})


def tariff(*, tariff_id: int) -> Tariff:
    """One tariff; one query. Raises TariffNotFound."""
    found = Tariff.objects.filter(pk=tariff_id).first()
    if found is None:
        raise TariffNotFound(f"tariff {tariff_id}")
    return found


def version_page(
    *, tariff_id: int, limit: int, after: int = 0, state: str | None = None
) -> Page[TariffVersion]:
    """The versions of a tariff by id, without their documents; two queries. Raises
    TariffNotFound.
    """
    rows = TariffVersion.objects.filter(tariff=tariff(tariff_id=tariff_id))
    slim = rows.defer("document", "source")
    return page_of(slim, limit=limit, after=after, wanted={"state": state})


def version(*, version_id: int) -> TariffVersion:
    """One version with its document and tariff; one query. Raises VersionNotFound."""
    found = TariffVersion.objects.select_related("tariff").filter(pk=version_id).first()
    if found is None:
        raise VersionNotFound(f"tariff version {version_id}")
    return found


def version_on(
    *, tariff_id: int, day: date, known_at: datetime | None = None
) -> TariffVersion | None:
    """The published version that holds on a day, as it was known at an instant (None: by now); one
    query.
    """
    rows = TariffVersion.objects.filter(
        tariff_id=tariff_id, state=VersionState.PUBLISHED, valid_from__lte=day
    )
    if known_at is not None:
        rows = rows.filter(published_at__lte=known_at)
    return rows.order_by("-valid_from", "-revision").first()


def check_source(
    *,
    tenant_id: int,
    source: str | Mapping[str, Any],
    valid_from: date,
    now: datetime,
    currency: str | None = None,
) -> Checked:
    """Try a document that nobody has kept; two queries. See `tariffs_checks.examine`."""
    return examine(source, tenant_id=tenant_id, currency=currency, valid_from=valid_from, now=now)


def check_version(*, version_id: int, now: datetime) -> Checked:
    """Try a version; three queries. Raises VersionNotFound."""
    found = version(version_id=version_id)
    return examine(
        found.document,
        tenant_id=found.tenant_id,
        currency=found.tariff.currency,
        valid_from=found.valid_from,
        now=now,
    )

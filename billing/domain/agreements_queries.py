"""Agreements as pages and the API read them.

Needs an open scope and sees what it holds; with `user_id` only what is that person's, since a later
occupant of a facility has the facility as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db.models import Prefetch, Q, QuerySet

from billing.domain.paging import page_of
from billing.models import Agreement, AgreementMeter, AgreementTariff
from devices.domain.catalogue import Page


class AgreementNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such agreement in the scope, or none that the reader may see."""


@dataclass(frozen=True, slots=True)
class AgreementFilter:
    """Which agreements; None: any. `on`: those that hold on a day."""

    customer_id: int | None = None
    facility_id: int | None = None
    number: str | None = None
    mode: str | None = None
    on: date | None = None

    @property
    def columns(self) -> Mapping[str, Any]:
        """Those that are columns."""
        return {
            "customer_id": self.customer_id,
            "facility_id": self.facility_id,
            "number": self.number,
            "mode": self.mode,
        }


def agreement_rows(*, user_id: int | None = None) -> QuerySet[Agreement]:
    """Agreements by number, with their facility."""
    rows = Agreement.objects.select_related("facility").order_by("number", "pk")
    return rows if user_id is None else rows.filter(user_id=user_id)


def agreement_page(
    *, limit: int, after: int = 0, wanted: AgreementFilter | None = None, user_id: int | None = None
) -> Page[Agreement]:
    """Agreements by id, each with its meters and tariffs; three queries."""
    wanted = wanted or AgreementFilter()
    rows = _with_terms(agreement_rows(user_id=user_id))
    if wanted.on is not None:
        rows = rows.filter(starts_on__lte=wanted.on).filter(
            Q(ends_on__isnull=True) | Q(ends_on__gt=wanted.on)
        )
    return page_of(rows, limit=limit, after=after, wanted=wanted.columns)


def agreement(*, agreement_id: int, user_id: int | None = None) -> Agreement:
    """One agreement with its meters and tariffs; three queries. Raises AgreementNotFound."""
    found = _with_terms(agreement_rows(user_id=user_id)).filter(pk=agreement_id).first()
    if found is None:
        raise AgreementNotFound(f"agreement {agreement_id}")
    return found


def _with_terms(rows: QuerySet[Agreement]) -> QuerySet[Agreement]:
    return rows.prefetch_related(
        Prefetch("meters", AgreementMeter.objects.order_by("starts_at", "pk")),
        Prefetch("tariffs", AgreementTariff.objects.order_by("starts_on")),
    )

"""What pages read of applications: lists and one application with what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, F, IntegerField, Max, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from tenants.models import AccessToken, Application, Consent, RefreshToken


@dataclass(frozen=True, slots=True)
class ApplicationDetail:
    """An application; `people` have allowed it something, `tokens` are valid at the moment."""

    application: Application
    consents: tuple[Consent, ...]
    people: int
    tokens: int
    last_issued_at: datetime | None


def application_rows(*, now: datetime) -> QuerySet[Application]:
    """The applications of the scope by name, with `people` (who have allowed them something) and
    `tokens` (valid at `now`).
    """
    return (
        Application.objects.select_related("tenant")
        .annotate(
            people=_count(Consent.objects.all()),
            access_tokens=_count(AccessToken.objects.filter(expires__gt=now)),
            refresh_tokens=_count(RefreshToken.objects.filter(revoked__isnull=True)),
        )
        .annotate(tokens=F("access_tokens") + F("refresh_tokens"))
        .order_by("name", "pk")
    )


def application_detail(*, application_id: int, now: datetime) -> ApplicationDetail:
    """One application with the people who have allowed it something; three queries.

    Raises Application.DoesNotExist outside the scope.
    """
    row = application_rows(now=now).get(pk=application_id)
    consents = tuple(
        Consent.objects.filter(application=row)
        .select_related("user", "tenant")
        .order_by("user__email", "tenant__name")
    )
    issued = AccessToken.objects.filter(application=row).aggregate(last=Max("created"))
    return ApplicationDetail(
        application=row,
        consents=consents,
        people=len({consent.user_id for consent in consents}),
        tokens=row.tokens,
        last_issued_at=issued["last"],
    )


def _count(rows: QuerySet[Consent] | QuerySet[AccessToken] | QuerySet[RefreshToken]) -> Coalesce:
    """How many rows hang on the application of the outer query."""
    counted = (
        rows.filter(application=OuterRef("pk"))
        .order_by()
        .values("application")
        .annotate(total=Count("pk"))
        .values("total")
    )
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)

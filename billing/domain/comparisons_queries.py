"""Comparisons of tariffs that are kept, and what a new one may choose. Needs an open scope."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from billing.domain.choices_queries import Pair, customers, tariffs
from billing.domain.pages_queries import NotThere
from billing.models import Agreement, TariffComparison, TariffVersion, VersionState
from tenants.scope import require_scope

# What a page lists of those that are kept.
MOST: Final = 20


@dataclass(frozen=True, slots=True)
class ComparisonChoices:
    """What the form of a comparison offers: agreements and customers by number and name, the
    currencies that are billed in, tariffs, drafts of tariffs.
    """

    agreements: tuple[Pair, ...]
    customers: tuple[Pair, ...]
    currencies: tuple[str, ...]
    tariffs: tuple[Pair, ...]
    drafts: tuple[Pair, ...]
    narrowed: bool


def choices(*, tenant_id: int) -> ComparisonChoices:
    """Of a tenant, as far as the scope reaches."""
    rows = Agreement.objects.filter(tenant_id=tenant_id).order_by("number", "pk")
    found = list(rows.values_list("pk", "number", "facility__name", "currency"))
    drafts = TariffVersion.objects.filter(tenant_id=tenant_id, state=VersionState.DRAFT)
    return ComparisonChoices(
        agreements=tuple((pk, f"{number} · {place}") for pk, number, place, _currency in found),
        customers=customers(tenant_id=tenant_id),
        currencies=tuple(sorted({currency for *_others, currency in found})),
        tariffs=tariffs(tenant_id=tenant_id),
        drafts=tuple(
            (pk, f"{name} ({day.isoformat()})")
            for pk, name, day in drafts.order_by("tariff__name", "valid_from", "pk").values_list(
                "pk", "tariff__name", "valid_from"
            )
        ),
        narrowed=require_scope().facility_ids is not None,
    )


def comparison(*, comparison_id: int, user_id: int | None = None) -> TariffComparison:
    """One that is kept; with `user_id`, of that person alone. Raises NotThere."""
    rows = TariffComparison.objects.filter(pk=comparison_id)
    if user_id is not None:
        rows = rows.filter(user_id=user_id)
    found = rows.first()
    if found is None:
        raise NotThere
    return found


@dataclass(frozen=True, slots=True)
class FormPage:
    """What the page of a new comparison shows: choices, the newest of the tenant's that are not of
    customers, and the one that is asked for once more, if it is there.
    """

    choices: ComparisonChoices
    recent: tuple[TariffComparison, ...]
    again: TariffComparison | None


def form_page(*, tenant_id: int, again: int | None = None) -> FormPage:
    """What the page of a new comparison shows."""
    rows = TariffComparison.objects.filter(tenant_id=tenant_id, user=None)
    return FormPage(
        choices(tenant_id=tenant_id),
        tuple(rows.defer("sums").order_by("-asked_at", "-pk")[:MOST]),
        None if again is None else TariffComparison.objects.filter(pk=again).first(),
    )


@dataclass(frozen=True, slots=True)
class OwnComparisons:
    """What a person may compare, and has compared within a week."""

    agreements: tuple[Pair, ...]
    kept: tuple[TariffComparison, ...]


def own(*, user_id: int) -> OwnComparisons:
    """The agreements of a person by number, and the kept comparisons, the newest first."""
    rows = Agreement.objects.filter(user_id=user_id).order_by("number", "pk")
    return OwnComparisons(
        tuple(
            (pk, f"{number} · {place}")
            for pk, number, place in rows.values_list("pk", "number", "facility__name")
        ),
        tuple(TariffComparison.objects.filter(user_id=user_id).defer("sums")[:MOST]),
    )

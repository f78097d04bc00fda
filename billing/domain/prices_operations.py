"""Prices that change by the hour: series, and values that are added and never changed.

Needs an open scope that holds the tenant; prices concern the tenant as a whole. What is refused is
a ValidationError with a sentence at its field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import identifiers, refusals, restatement_finding
from billing.domain.prices_files import PriceFile, read_csv
from billing.domain.prices_queries import Price, SeriesNotFound
from billing.models import PriceSeries, PriceValue
from billing.models.fields import ExactField
from tenants.days import possible
from tenants.domain import audit

STEPS: Final = (900, 1800, 3600)
# Three years of quarters of an hour.
MOST_VALUES: Final = 110_000


@dataclass(frozen=True, slots=True)
class Entered:
    """How many prices were new or other than before; the rest was there already."""

    entered: int
    unchanged: int


@transaction.atomic
def create_series(
    *, tenant_id: int, name: str, currency: str, step_s: int = 3600, actor_id: int | None
) -> PriceSeries:
    """A new series under the name that tariffs call it by."""
    wanted = {"currency": currency}
    wrong: dict[str, list[str]] = {}
    identifiers.check(wanted, wrong, "currency", identifiers.checked_currency)
    if not name.strip():
        wrong["name"] = [_("Give the series a name.")]
    if step_s not in STEPS:
        wrong["step_s"] = [_("Prices change each quarter, half or full hour: 900, 1800 or 3600 s.")]
    if wrong:
        raise ValidationError(wrong)
    row = PriceSeries(
        tenant_id=tenant_id, name=name.strip(), currency=wanted["currency"], step_s=step_s
    )
    return refusals.insert(row, actor_id=actor_id, action="prices.create")


@transaction.atomic
def append_prices(
    *, series_id: int, prices: Sequence[Price], now: datetime, actor_id: int | None
) -> Entered:
    """Enter prices; of those that are there already only what differs, and that holds from now on:
    bills of its time are restated.
    """
    row = PriceSeries.objects.select_for_update(no_key=True).filter(pk=series_id).first()
    if row is None:
        raise SeriesNotFound(f"series {series_id}")
    _require_sound(row, prices)
    known = dict(
        PriceValue.objects.filter(series=row, starts_at__in=[one.starts_at for one in prices])
        .order_by("entered_at")
        .values_list("starts_at", "price")
    )
    new = [one for one in prices if known.get(one.starts_at) != one.price]
    PriceValue.objects.bulk_create(
        [
            PriceValue(
                tenant_id=row.tenant_id,
                series=row,
                starts_at=one.starts_at,
                price=one.price,
                entered_at=now,
            )
            for one in new
        ],
        batch_size=5_000,
    )
    if new:
        instants = [one.starts_at for one in new]
        audit.record(
            tenant_id=row.tenant_id,
            actor_id=actor_id,
            action="prices.enter",
            subject=row,
            after={
                "values": len(new),
                "changed": sum(one.starts_at in known for one in new),
                "first": min(instants).isoformat(),
                "last": max(instants).isoformat(),
            },
        )
        restatement_finding.prices_entered(
            series_id=row.pk,
            start=min(instants),
            end=max(instants) + timedelta(seconds=row.step_s),
            now=now,
        )
    return Entered(len(new), len(prices) - len(new))


def import_prices(
    *, series_id: int, file: PriceFile, now: datetime, actor_id: int | None
) -> Entered:
    """Enter the prices of a CSV file; ValidationError at `file` with the line that is wrong."""
    return append_prices(series_id=series_id, prices=read_csv(file), now=now, actor_id=actor_id)


def _require_sound(row: PriceSeries, prices: Sequence[Price]) -> None:
    if not prices:
        raise ValidationError({"prices": [_("There are no prices.")]})
    if len(prices) > MOST_VALUES:
        message = _("At most %(most)d prices are entered at once: send them in parts.")
        raise ValidationError({"prices": [message % {"most": MOST_VALUES}]})
    seen: set[datetime] = set()
    field = PriceValue._meta.get_field("price")  # noqa: SLF001 - documented by Django
    assert isinstance(field, ExactField)
    for one in prices:
        told = {"at": one.starts_at.isoformat()}
        if not possible(one.starts_at):
            raise ValidationError({"prices": [_("%(at)s lies too far away.") % told]})
        if one.starts_at.timestamp() % row.step_s:
            message = _("%(at)s is no beginning of a step of the series.")
            raise ValidationError({"prices": [message % told]})
        if one.starts_at in seen:
            raise ValidationError({"prices": [_("%(at)s is there twice.") % told]})
        seen.add(one.starts_at)
        try:
            field.run_validators(one.price)
        except ValidationError as error:
            raise ValidationError(
                {"prices": [f"{told['at']}: {text}" for text in error.messages]}
            ) from error

"""What one agreement adds to a comparison of tariffs. Needs an open scope of the whole tenant."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError

from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.comparison_queries import (
    Candidates,
    Changed,
    Compared,
    Comparison,
    compare,
)
from billing.domain.comparison_values import (
    ABSENT,
    PLACE,
    PROBLEM,
    Energies,
    LeftOut,
    Question,
    Sums,
    Total,
)
from billing.models import Agreement, TariffComparison
from billing.tariffs.values import MILLIWH_PER_KWH
from devices.domain.series_bounds import SeriesRefusedError


def has_place(agreement: Agreement) -> bool:
    """Whether the coordinates of its facility are known; both are, or none."""
    return agreement.facility.latitude is not None


def part_of(row: TariffComparison, agreement_id: int, now: datetime) -> Sums:
    """What an agreement adds, or that it is left out and why."""
    question = Question.read(row.question)
    agreement = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if agreement is None:
        return Sums(left_out=(LeftOut(agreement_id, "", ABSENT),))
    if question.panels is not None and not has_place(agreement):
        return _left_out(agreement, PLACE)
    try:
        found = compare(
            agreement_id=agreement_id,
            first=row.first_on,
            end=row.end_on,
            now=now,
            candidates=Candidates(question.tariff_ids, question.draft_ids, question.offered),
            changed=_changed(question, agreement),
        )
    except (ValidationError, AgreementNotFound):
        return _left_out(agreement, ABSENT)
    except SeriesRefusedError as error:
        return _left_out(agreement, PROBLEM, str(error))
    own = next((one for one in found.tariffs if one.current), None)
    if len(row.agreements) > 1 and (own is None or own.costs is None):
        # Nothing could be said of what the others save.
        return _left_out(agreement, PROBLEM, own.problem if own else "")
    return _sums(found, own)


def _left_out(agreement: Agreement, code: str, text: str = "") -> Sums:
    return Sums(left_out=(LeftOut(agreement.pk, agreement.number, code, text),))


def _changed(question: Question, agreement: Agreement) -> Changed:
    panels = None
    if question.panels is not None:
        at = agreement.facility
        panels = question.panels.at(float(at.latitude or 0), float(at.longitude or 0))
    return Changed(panels, question.battery, question.lowest_peak)


def _sums(found: Comparison, own: Compared | None) -> Sums:
    moved = found.battery
    energies = Energies(
        found.imported_kwh,
        found.exported_kwh,
        found.estimated_kwh,
        found.generated_kwh,
        *(
            (_kwh(moved.loaded), _kwh(moved.unloaded), _kwh(moved.lost), _kwh(moved.left))
            if moved
            else ()
        ),
    )
    return Sums(
        count=1,
        current=_total(own) if own and own.costs else None,
        current_ids=frozenset({own.tariff_id}) if own else frozenset(),
        totals=tuple(_total(one) for one in found.tariffs),
        energies=energies,
        missing=found.missing_intervals,
        peak_kw=found.peak_kw,
    )


def _total(one: Compared) -> Total:
    if one.costs is None:
        return Total(one.tariff_id, one.version_id, one.name, problem=one.problem)
    return Total(
        one.tariff_id,
        one.version_id,
        one.name,
        1,
        one.costs.net,
        one.costs.total,
        {month.first.replace(day=1): month.total for month in one.costs.months},
    )


def _kwh(milliwh: int) -> Decimal:
    return Decimal(milliwh) / MILLIWH_PER_KWH

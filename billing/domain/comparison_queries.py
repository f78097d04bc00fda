"""What an agreement's own use would have cost by other tariffs, with photovoltaics or a battery.

The use is the one that was measured (estimated where it was not), each month is a bill of its own
by the versions that are published now, and the first one begins without peaks and credits of
before. Needs an open scope that is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.dispatch.battery import (
    Battery,
    Dispatched,
    lowest_peak,
    with_battery,
    with_generation,
)
from billing.dispatch.comparing import Costs, costs
from billing.dispatch.solar import Photovoltaics, generation
from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.calendars import seconds
from billing.domain.contexts import PriceTable, utc
from billing.domain.terms import tariff_of
from billing.domain.usage import usage_of
from billing.models import Agreement, AgreementTariff, Tariff, TariffVersion, VersionState
from billing.tariffs.calendar import CoverageError
from billing.tariffs.document import Tariff as Document
from billing.tariffs.document import TariffError, canonical
from billing.tariffs.parts import Dynamic
from billing.tariffs.rating import RatingError
from billing.tariffs.sentences import sentence_of
from billing.tariffs.values import MILLIWH_PER_KWH, Period, Prices, Quality, Usage, UsageError

# Tariffs that one comparison may have, and how much time.
MOST_TARIFFS: Final = 50
MOST_DAYS: Final = 2 * 366


@dataclass(frozen=True, slots=True)
class Compared:
    """What a tariff would have cost: `costs`, or the sentence why it cannot be said. `difference`
    from the tariff that the agreement has. `version_id`: it is this draft of the tariff.
    """

    tariff_id: int
    name: str
    current: bool
    costs: Costs | None = None
    problem: str = ""
    difference: Decimal | None = None
    version_id: int | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Tariffs for the same use, the cheapest first; those that cannot be said last.

    `imported_kwh` and `exported_kwh` are those of the use that was billed, `estimated_kwh` and
    `missing_intervals` what of the measured one was not. `generated_kwh` is what photovoltaics
    would have given, `battery` what went through a battery, `peak_kw` the highest power drawn.
    """

    period: Period
    currency: str
    tariffs: tuple[Compared, ...]
    imported_kwh: Decimal
    exported_kwh: Decimal
    estimated_kwh: Decimal
    missing_intervals: int
    generated_kwh: Decimal = Decimal(0)
    battery: Dispatched | None = None
    peak_kw: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Changed:
    """What else would have been there. `lowest_peak`: the battery keeps the peak as low as it
    can.
    """

    panels: Photovoltaics | None = None
    battery: Battery | None = None
    lowest_peak: bool = False


@dataclass(frozen=True, slots=True)
class Candidates:
    """Tariffs to compare: those given, or all that are not archived; versions that are drafts, each
    as if it held all the time. `offered`: only tariffs that customers may be told of.
    """

    tariff_ids: tuple[int, ...] = ()
    draft_ids: tuple[int, ...] = ()
    offered: bool = False


def compare(
    *,
    agreement_id: int,
    first: date,
    end: date,
    now: datetime,
    candidates: Candidates = Candidates(),
    changed: Changed = Changed(),
) -> Comparison:
    """The days [first, end) of an agreement by tariffs of its currency; its own is always among
    them.

    Raises AgreementNotFound, and ValidationError for a time that is too long or not its own.
    """
    row = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if row is None:
        raise AgreementNotFound(f"agreement {agreement_id}")
    if not first < end or (end - first).days > MOST_DAYS:
        raise ValidationError({"end": [_("Choose a time of one day to two years.")]})
    usage = usage_of([agreement_id], first=first, end=end).get(agreement_id)
    if usage is None:
        raise ValidationError({"first": [_("On these days the agreement does not hold.")]})
    first, end = max(first, row.starts_on), min(end, row.ends_on or end)
    period = Period(first, end, row.facility.time_zone)
    used, generated, dispatched = _changed(usage, changed)
    own = _own(row, end)
    given = _Given(row.currency, period, own.contracted_kw if own else None, now)
    found = [
        replace(
            one,
            current=own is not None and one.version_id is None and one.tariff_id == own.tariff_id,
        )
        for one in _by_tariff(given, used, _versions(row, candidates, own))
    ]
    estimated = usage.quality == Quality.ESTIMATED
    return Comparison(
        period,
        row.currency,
        _ranked(found),
        _kwh(int(used.imported.sum())),
        _kwh(int(used.exported.sum())),
        _kwh(int(usage.imported[estimated].sum())),
        int((usage.quality == Quality.MISSING).sum()),
        _kwh(generated),
        dispatched,
        _highest_kw(used),
    )


@dataclass(frozen=True, slots=True)
class _Given:
    currency: str
    period: Period
    contracted_kw: Decimal | None
    now: datetime


# Id and name of a tariff, and the draft that it is instead of what is published.
_Key = tuple[int, str, int | None]
_Versions = Mapping[_Key, Mapping[date, bytes]]


def _changed(usage: Usage, changed: Changed) -> tuple[Usage, int, Dispatched | None]:
    generated = 0
    if changed.panels is not None:
        given = generation(changed.panels, usage.starts, usage.step_s)
        generated = int(given.sum())
        usage = with_generation(usage, given)
    if changed.battery is None:
        return usage, generated, None
    battery = changed.battery
    if changed.lowest_peak:
        battery = replace(battery, peak_kw=lowest_peak(usage, battery))
    dispatched = with_battery(usage, battery)
    return dispatched.usage, generated, dispatched


def _own(row: Agreement, end: date) -> AgreementTariff | None:
    """The tariff that the agreement had last in the time."""
    rows = AgreementTariff.objects.filter(agreement=row, starts_on__lt=end)
    return rows.order_by("starts_on").last()


def _versions(row: Agreement, candidates: Candidates, own: AgreementTariff | None) -> _Versions:
    """What is to be compared: the published versions of each tariff, rising, and drafts."""
    tariffs = Tariff.objects.filter(tenant_id=row.tenant_id, currency=row.currency)
    if candidates.offered:
        tariffs = tariffs.filter(offered=True)
    if candidates.tariff_ids:
        tariffs = tariffs.filter(pk__in=candidates.tariff_ids)
    else:
        tariffs = tariffs.filter(archived_at=None)
    ids = list(tariffs.order_by("name", "pk").values_list("pk", flat=True)[:MOST_TARIFFS])
    if own is not None and own.tariff_id not in ids:
        ids.append(own.tariff_id)
    rows = TariffVersion.objects.filter(tariff_id__in=ids, state=VersionState.PUBLISHED)
    found: dict[_Key, dict[date, bytes]] = {}
    for version in rows.select_related("tariff").order_by("tariff__name", "valid_from", "revision"):
        own_versions = found.setdefault((version.tariff_id, version.tariff.name, None), {})
        # Of the same day, the last revision holds.
        own_versions[version.valid_from] = canonical(version.document)
    return found | _drafts(row, candidates.draft_ids)


def _drafts(row: Agreement, draft_ids: Sequence[int]) -> dict[_Key, dict[date, bytes]]:
    if not draft_ids:
        return {}
    rows = TariffVersion.objects.filter(
        pk__in=draft_ids,
        state=VersionState.DRAFT,
        tenant_id=row.tenant_id,
        tariff__currency=row.currency,
    )
    return {
        (one.tariff_id, one.tariff.name, one.pk): {one.valid_from: canonical(one.document)}
        for one in rows.select_related("tariff").order_by("tariff__name", "pk")[:MOST_TARIFFS]
    }


def _by_tariff(given: _Given, usage: Usage, versions: _Versions) -> list[Compared]:
    found = []
    for (tariff_id, name, version_id), documents in versions.items():
        one = Compared(tariff_id, name, current=False, version_id=version_id)
        try:
            dated = [(day, tariff_of(document)) for day, document in sorted(documents.items())]
            made = costs(
                dated,
                usage,
                given.period,
                prices=_prices(given, [tariff for _day, tariff in dated]),
                contracted_kw=given.contracted_kw,
            )
        except (TariffError, RatingError, CoverageError, UsageError) as error:
            found.append(replace(one, problem=sentence_of(error)))
        else:
            found.append(replace(one, costs=made))
    return found


def _prices(given: _Given, tariffs: Sequence[Document]) -> dict[str, Prices]:
    names = {
        component.series
        for tariff in tariffs
        for component in tariff.components
        if isinstance(component, Dynamic)
    }
    if not names:
        return {}
    period = given.period
    start, end = seconds(period.first, period.zone), seconds(period.end, period.zone)
    table = PriceTable(names, start=utc(start), end=utc(end), known_at=given.now)
    return table.between(sorted(names), start, end)


def _ranked(found: Sequence[Compared]) -> tuple[Compared, ...]:
    own = next((one.costs.total for one in found if one.current and one.costs), None)
    told = [
        replace(one, difference=one.costs.total - own) if own is not None and one.costs else one
        for one in found
    ]
    return tuple(
        sorted(
            told,
            key=lambda one: (one.costs is None, one.costs.total if one.costs else 0, one.name),
        )
    )


def _kwh(milliwh: int) -> Decimal:
    return Decimal(milliwh) / MILLIWH_PER_KWH


def _highest_kw(usage: Usage) -> Decimal:
    if not len(usage.imported):
        return Decimal(0)
    return _kwh(int(usage.imported.max())) * 3600 / usage.step_s

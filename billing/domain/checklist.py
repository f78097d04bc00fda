"""What a person should look at before a bill becomes final: codes with their figures.

Each finding holds the account in its run until somebody accepts it, and says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

import numpy as np

from billing.domain.contexts import Former
from billing.models import BillState
from billing.tariffs.rating import Terms
from billing.tariffs.values import MILLIWH_PER_KWH, Period, Quality, Rating, Usage

# A day's use this many times that of former bills, or as many times less, is looked at; below so
# many kWh a day nobody minds.
FACTOR: Final = Decimal(3)
LEAST_KWH_A_DAY: Final = Decimal(1)
# Of former bills the newest days count.
DAYS: Final = 400
_TENTH: Final = Decimal("0.1")


class Code(StrEnum):
    """What was found; the codes are stored.

    `missing_reads`: `intervals` of `of` were neither measured nor estimated. `estimated`: so many
    `percent` of the energy, above the setting `limit`. `implausible_use`: `kwh_day`, where former
    bills had `former_kwh_day`. `above_contract`: `kw` in a quarter of an hour, `contracted_kw`.
    `zero`: nothing is to be paid. `first`: there is no former bill. `negative`: `total` is owed to
    the customer. `tariff_missing`: for the days [`first`, `end`) no tariff was agreed or published.
    `computed_anew`, which nobody is asked about: what the bill was computed from had changed when
    it became final, and its total from `before` to `after`.
    """

    MISSING_READS = "missing_reads"
    ESTIMATED = "estimated"
    IMPLAUSIBLE_USE = "implausible_use"
    ABOVE_CONTRACT = "above_contract"
    ZERO = "zero"
    FIRST = "first"
    NEGATIVE = "negative"
    TARIFF_MISSING = "tariff_missing"
    COMPUTED_ANEW = "computed_anew"


@dataclass(frozen=True, slots=True)
class Finding:
    """A code and its figures, as text or whole numbers."""

    code: Code
    figures: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """As a run keeps it."""
        return {"code": self.code.value, **self.figures}


def findings(
    *,
    period: Period,
    terms: Sequence[Terms],
    usage: Usage,
    rating: Rating,
    former: Sequence[Former],
    estimate_percent: Decimal,
) -> tuple[Finding, ...]:
    """What is worth a look about a draft; `former` are the bills of the same agreement."""
    final = [one for one in former if one.state is BillState.FINAL and one.end <= period.first]
    found = [
        _missing(usage),
        _estimated(usage, estimate_percent),
        _implausible(period, usage, final),
        *_above(terms, usage),
        Finding(Code.FIRST, {}) if not final else None,
        Finding(Code.ZERO, {}) if rating.total == 0 else None,
        Finding(Code.NEGATIVE, {"total": str(rating.total)}) if rating.total < 0 else None,
    ]
    return tuple(one for one in found if one is not None)


def _missing(usage: Usage) -> Finding | None:
    missing = int(np.count_nonzero(usage.quality == Quality.MISSING))
    if not missing:
        return None
    return Finding(Code.MISSING_READS, {"intervals": missing, "of": len(usage.quality)})


def _estimated(usage: Usage, limit: Decimal) -> Finding | None:
    energy = np.abs(usage.imported) + np.abs(usage.exported)
    whole = int(energy.sum())
    part = int(energy[usage.quality != Quality.MEASURED].sum())
    if not whole or Decimal(part) * 100 <= limit * whole:
        return None
    percent = (Decimal(part) * 100 / whole).quantize(_TENTH)
    return Finding(Code.ESTIMATED, {"percent": str(percent), "limit": str(limit)})


def _implausible(period: Period, usage: Usage, final: Sequence[Former]) -> Finding | None:
    days = kwh = Decimal(0)
    for one in reversed(final):
        if days >= DAYS:
            break
        days += one.days
        kwh += one.imported_kwh
    if not days:
        return None
    before = kwh / days
    own = Decimal(int(usage.imported.sum())) / MILLIWH_PER_KWH / (period.end - period.first).days
    is_far = own > before * FACTOR or own * FACTOR < before
    if not is_far or max(own, before) < LEAST_KWH_A_DAY:
        return None
    return Finding(
        Code.IMPLAUSIBLE_USE,
        {"kwh_day": str(own.quantize(_TENTH)), "former_kwh_day": str(before.quantize(_TENTH))},
    )


def _above(terms: Sequence[Terms], usage: Usage) -> list[Finding | None]:
    contracted = [one.contracted_kw for one in terms if one.contracted_kw is not None]
    if not contracted or not len(usage.imported):
        return []
    highest = Decimal(int(usage.imported.max())) * 3600 / usage.step_s / MILLIWH_PER_KWH
    if highest <= max(contracted):
        return []
    figures = {
        "kw": str(highest.quantize(_TENTH)),
        "contracted_kw": f"{max(contracted).normalize():f}",
    }
    return [Finding(Code.ABOVE_CONTRACT, figures)]

"""What a bill needs beside tariff and use: prices of series, and what former bills left to it.

Needs an open scope; prices are seen by one that is not narrowed to facilities alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np

from billing.domain.evidence import peaks_of
from billing.models import Bill, BillKind, BillState, PriceSeries, PriceValue
from billing.tariffs.values import Context, Prices

# How far back a ratchet or a comparison looks.
LOOKS_BACK: Final = timedelta(days=3 * 366)


@dataclass(frozen=True, slots=True)
class Former:
    """An earlier or another bill of an agreement, in whatever state."""

    bill_id: int
    run_id: int | None
    state: BillState
    revision: int
    first: date
    end: date
    imported_kwh: Decimal
    total: Decimal
    carried: Mapping[str, Any]

    @property
    def days(self) -> int:
        """How many days it is for."""
        return (self.end - self.first).days


class PriceTable:
    """Series of prices over a time, read once for many bills; one query, one more for values."""

    def __init__(
        self, names: Iterable[str], *, start: datetime, end: datetime, known_at: datetime
    ) -> None:
        self._series: dict[str, Prices] = {}
        self._parts: dict[tuple[str, int, int], Prices] = {}
        steps = {
            row.name: row.step_s for row in PriceSeries.objects.filter(name__in=sorted(set(names)))
        }
        found: dict[str, dict[int, Decimal]] = defaultdict(dict)
        if steps:
            values = PriceValue.objects.filter(
                series__name__in=list(steps),
                starts_at__gte=start - timedelta(hours=1),
                starts_at__lt=end,
                entered_at__lte=known_at,
            )
            # A later entry takes the place of an earlier one.
            for name, starts_at, price in values.order_by("entered_at").values_list(
                "series__name", "starts_at", "price"
            ):
                found[name][int(starts_at.timestamp())] = price.normalize()
        for name, step_s in steps.items():
            rising = dict(sorted(found[name].items()))
            starts = np.fromiter(rising, np.int64, len(rising))
            self._series[name] = Prices(step_s, starts, tuple(rising.values()))

    def between(self, names: Iterable[str], start: int, end: int) -> dict[str, Prices]:
        """The prices that hold in [start, end), seconds since the Unix epoch, by series; a series
        that does not exist is left out.
        """
        return {name: self._part(name, start, end) for name in names if name in self._series}

    def _part(self, name: str, start: int, end: int) -> Prices:
        key = name, start, end
        if key not in self._parts:
            whole = self._series[name]
            begin, stop = np.searchsorted(whole.starts, [start - whole.step_s + 1, end]).tolist()
            self._parts[key] = Prices(
                whole.step_s, whole.starts[begin:stop], whole.prices[begin:stop]
            )
        return self._parts[key]


def former_bills(
    agreement_ids: Sequence[int], *, before: date, since: date | None = None
) -> dict[int, list[Former]]:
    """The bills of agreements that begin before a day and end after LOOKS_BACK before it, rising;
    no credit notes. One query. `since`: where several bills are computed, the first day of the
    earliest one: as far back is looked from there.
    """
    rows = Bill.objects.filter(
        agreement_id__in=list(agreement_ids),
        kind=BillKind.INVOICE,
        first_on__lt=before,
        end_on__gt=(since or before) - LOOKS_BACK,
    )
    found: dict[int, list[Former]] = defaultdict(list)
    for agreement_id, state, *values in rows.order_by("first_on", "revision").values_list(
        "agreement_id", "state", "pk", "run_id", "revision", "first_on", "end_on", "imported_kwh",
        "total", "carried",
    ):  # fmt: skip
        bill_id, run_id, *rest = values
        found[agreement_id].append(Former(bill_id, run_id, BillState(state), *rest))
    return found


def context_of(former: Sequence[Former], prices: Mapping[str, Prices], *, first: date) -> Context:
    """The context of a bill from `first` on: peaks of all final bills before it, and the credit of
    the one that ends where it begins.
    """
    final = [one for one in former if one.state is BillState.FINAL and one.end <= first]
    last = next((one.carried for one in reversed(final) if one.end == first), {})
    return Context(
        prices=prices,
        peaks=tuple(peak for one in final for peak in peaks_of(one.carried)),
        credit=Decimal(last.get("credit", 0)),
        credit_milliwh=last.get("credit_milliwh", {}),
    )


def utc(seconds: int) -> datetime:
    """An instant from seconds since the Unix epoch."""
    return datetime.fromtimestamp(seconds, UTC)

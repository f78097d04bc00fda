"""What the tariff engine takes and gives, apart from tariffs themselves.

Energy of an interval is an integer of milliwatt-hours, so that sums are exact in any order; prices,
quantities and amounts are `Decimal`. Instants are Unix seconds in UTC, dates those of a local
calendar. Periods are half-open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from billing.tariffs.sentences import sentence

Int64s = NDArray[np.int64]
Qualities = NDArray[np.uint8]

MILLIWH_PER_KWH: Final = 1_000_000


class UsageError(Exception):
    """Intervals that are no usage: of different lengths, contradicting each other, off the grid."""


class Quality(IntEnum):
    """How the energy of an interval is known; what is missing counts as nothing."""

    MEASURED = 0
    ESTIMATED = 1
    MISSING = 2


class Kind(StrEnum):
    """What a component of a tariff, and so a line of a bill, is for; the codes are stored."""

    STANDING = "standing"
    ENERGY = "energy"
    DYNAMIC = "dynamic"
    DEMAND = "demand"
    POWER_FACTOR = "power_factor"
    EXPORT = "export"
    CREDIT = "credit"
    MINIMUM = "minimum"
    DISCOUNT = "discount"
    LEVY = "levy"
    TAX = "tax"
    ROUNDING = "rounding"


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """What an account used: columns (n,) of intervals of `step_s` seconds, rising, each once.

    `imported` and `exported`: mWh drawn from and given to the grid; `reactive`: mvarh drawn, None
    where it is not measured. Intervals start at multiples of `step_s` since the Unix epoch. An
    interval that is not there is missing. Make one by `of`, which puts intervals in order.
    """

    step_s: int
    starts: Int64s
    imported: Int64s
    exported: Int64s
    quality: Qualities
    reactive: Int64s | None = None

    @classmethod
    def of(
        cls,
        step_s: int,
        starts: Int64s,
        imported: Int64s,
        exported: Int64s | None = None,
        *,
        quality: Qualities | None = None,
        reactive: Int64s | None = None,
    ) -> Usage:
        """Intervals in any order, some maybe sent again. Raises UsageError when two of the same
        start differ, and when they do not fit together.
        """
        count = len(starts)
        columns: dict[str, NDArray[Any]] = {
            "imported": imported,
            "exported": np.zeros(count, np.int64) if exported is None else exported,
            "quality": np.zeros(count, np.uint8) if quality is None else quality,
        }
        if reactive is not None:
            columns["reactive"] = reactive
        for name, column in columns.items():
            if len(column) != count:
                raise UsageError(
                    sentence(
                        "%(name)s has %(column)s values for %(count)s intervals",
                        name=name,
                        column=len(column),
                        count=count,
                    )
                )
        if step_s <= 0 or 3600 % step_s:
            raise UsageError(
                sentence("an interval of %(step_s)s s is no part of an hour", step_s=step_s)
            )
        if count and np.any(starts % step_s):
            raise UsageError(
                sentence("an interval does not start at a multiple of %(step_s)s s", step_s=step_s)
            )
        kept, first, back = np.unique(starts, return_index=True, return_inverse=True)
        for name, column in columns.items():
            if np.any(column != column[first][back]):
                at = int(starts[np.flatnonzero(column != column[first][back])[0]])
                raise UsageError(
                    sentence(
                        "two different values of %(name)s for the interval at %(at)s",
                        name=name,
                        at=at,
                    )
                )
        return cls(step_s, kept, **{name: column[first] for name, column in columns.items()})

    def between(self, start: int, end: int) -> Usage:
        """The intervals that begin in [start, end)."""
        part = slice(*np.searchsorted(self.starts, [start, end]).tolist())
        return Usage(
            self.step_s,
            self.starts[part],
            self.imported[part],
            self.exported[part],
            self.quality[part],
            None if self.reactive is None else self.reactive[part],
        )


@dataclass(frozen=True, slots=True)
class Period:
    """Days [first, end) in the calendar of `zone` (IANA)."""

    first: date
    end: date
    zone: str


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """A series of prices: `prices` (n,) per kWh in the currency, each from its start in `starts`
    (n,) until `step_s` later.
    """

    step_s: int
    starts: Int64s
    prices: tuple[Decimal, ...]


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest demand of a component's period in a calendar month (`month`: its first day)."""

    component: str
    period: str
    month: date
    kw: Decimal


@dataclass(frozen=True, slots=True)
class Context:
    """What a bill needs beside tariff and use: prices by the name of their series, peaks of former
    months (for ratchets), and the credit for what was given to the grid that former bills left.
    """

    prices: Mapping[str, Prices] = field(default_factory=lambda: MappingProxyType({}))
    peaks: tuple[Peak, ...] = ()
    credit: Decimal = Decimal(0)
    credit_milliwh: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a bill: `quantity` × `price` is `amount`, rounded where the tariff says so.

    It holds for the days [first, end), and where the component has them for one `period` and one
    `tier` (1 is the first, 0: none). `estimated`: the part of `quantity` that was not measured.
    `at`: when the window of the highest demand began. `tax_percent`: of the tax on this line.
    `detail` has what explains the line further, by names that docs/tariffs.md lists.
    """

    component: str
    kind: Kind
    label: str
    first: date
    end: date
    quantity: Decimal
    unit: str
    price: Decimal | None
    amount: Decimal
    period: str = ""
    tier: int = 0
    estimated: Decimal = Decimal(0)
    at: int | None = None
    tax_percent: Decimal | None = None
    detail: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Rating:
    """What use costs: `total` = `net` + `tax`, and the sum of all lines. `peaks` and the credits go
    into the context of the next bill.
    """

    lines: tuple[Line, ...]
    net: Decimal
    tax: Decimal
    total: Decimal
    peaks: tuple[Peak, ...] = ()
    credit: Decimal = Decimal(0)
    credit_milliwh: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, eq=False)
class LineIntervals:
    """The intervals that a line is made of, columns (n,): their starts, the mWh (for demand: of the
    windows) that fall into the line, and what they cost by themselves (empty where a line is not
    the sum of its intervals).
    """

    starts: Int64s
    milliwh: Int64s
    prices: tuple[Decimal, ...]
    amounts: tuple[Decimal, ...]

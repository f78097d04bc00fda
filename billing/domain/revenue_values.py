"""What is asked of revenue, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

NOTHING: Final = Decimal(0)


class By(StrEnum):
    """By which date revenue is told: ISSUE, the day of the bill's date; SUPPLY, the first day of
    what a line is for (lines are cut where months begin).
    """

    ISSUE = "issue"
    SUPPLY = "supply"


@dataclass(frozen=True, slots=True)
class Asked:
    """Of the days [first, end), in a currency; None: of all cost centres ("" is that of whoever has
    none), of all tariffs.
    """

    first: date
    end: date
    currency: str
    by: By = By.ISSUE
    cost_centre: str | None = None
    tariff_id: int | None = None


@dataclass(frozen=True, slots=True)
class Month:
    """Net revenue of a month by the kind of line (`billing.tariffs.values.Kind`), and its tax."""

    first: date
    kinds: Mapping[str, Decimal]
    tax: Decimal

    @property
    def net(self) -> Decimal:
        """Without tax."""
        return sum(self.kinds.values(), NOTHING)


@dataclass(frozen=True, slots=True)
class Part:
    """Net revenue of a tariff, cost centre or facility. `key` is its id, None for a cost centre or
    for what has none; `name` is empty for what has none or is not the reader's to see.
    """

    key: int | None
    name: str
    net: Decimal


@dataclass(frozen=True, slots=True)
class TaxRate:
    """What was taxed at a rate (percent), and the tax."""

    percent: Decimal
    base: Decimal
    tax: Decimal


@dataclass(frozen=True, slots=True)
class Known:
    """How the use in bills is known: kWh drawn and given, of which estimated; intervals of a
    quarter of an hour, of which missing.
    """

    kwh: Decimal
    estimated_kwh: Decimal
    intervals: int
    missing: int

    @property
    def estimated_share(self) -> Decimal | None:
        """Of the energy; None of none."""
        return self.estimated_kwh / self.kwh if self.kwh else None

    @property
    def missing_share(self) -> Decimal | None:
        """Of the intervals; None of none."""
        return Decimal(self.missing) / self.intervals if self.intervals else None


@dataclass(frozen=True, slots=True)
class Receivables:
    """What customers owe on a day, by how long it has been due: `ages` are sums by the code of the
    age, `credit` is what they have open in return. `billed` is what was billed with tax in the
    `DAYS` days before.
    """

    # The days of which the turnover is taken.
    DAYS = 90

    on: date
    ages: Mapping[str, Decimal]
    credit: Decimal
    billed: Decimal

    @property
    def owed(self) -> Decimal:
        """Of all ages."""
        return sum(self.ages.values(), NOTHING)

    @property
    def days_outstanding(self) -> Decimal | None:
        """Days of sales outstanding: (owed − credit) ÷ what was billed with tax in the last 90 days
        × 90. None where nothing was billed.
        """
        if self.billed <= 0:
            return None
        return (self.owed - self.credit) / self.billed * self.DAYS


@dataclass(frozen=True, slots=True)
class Unbilled:
    """Energy on days that are over and that no final bill is for, of `accounts`; `net` is what it
    would come to before tax. Of `problems` not all days could be rated. `oldest_on` is the oldest
    of the days; `valued_on` the day on which the account was valued that was valued first.
    """

    accounts: int
    problems: int
    imported_kwh: Decimal
    exported_kwh: Decimal
    estimated_kwh: Decimal
    net: Decimal
    oldest_on: date | None
    valued_on: date | None

    def age(self, on: date) -> int | None:
        """Of the oldest day, in days."""
        return None if self.oldest_on is None else (on - self.oldest_on).days


@dataclass(frozen=True, slots=True)
class UnbilledThen:
    """What unbilled energy came to on a day."""

    on: date
    imported_kwh: Decimal
    net: Decimal


@dataclass(frozen=True, slots=True)
class Revenue:
    """What was billed in some days, and how what is open and unbilled stands today.

    `facilities` are those with most, `others` the sum of the rest. `unbilled_days` are those of the
    last quarter of a year, of all cost centres; none for whoever sees some facilities alone.
    """

    asked: Asked
    months: tuple[Month, ...]
    tariffs: tuple[Part, ...]
    cost_centres: tuple[Part, ...]
    facilities: tuple[Part, ...]
    others: Decimal
    taxes: tuple[TaxRate, ...]
    known: Known
    receivables: Receivables
    unbilled: Unbilled
    unbilled_days: tuple[UnbilledThen, ...]

    @property
    def net(self) -> Decimal:
        """Of all months."""
        return sum((one.net for one in self.months), NOTHING)

    @property
    def tax(self) -> Decimal:
        """Of all months."""
        return sum((one.tax for one in self.months), NOTHING)


@dataclass(frozen=True, slots=True)
class Choices:
    """What can be asked for: currencies, cost centres (without the empty one) and tariffs."""

    currencies: tuple[str, ...]
    cost_centres: tuple[str, ...]
    tariffs: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class CentreSum:
    """The final bills of a cost centre that begin in a month. `peak_kw` is the highest demand that
    was measured for one bill, None where no tariff bills demand.
    """

    sites: int = 0
    kwh: Decimal = NOTHING
    net: Decimal = NOTHING
    peak_kw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Centre:
    """A cost centre in a month, beside the month before and the same one a year before."""

    name: str
    now: CentreSum
    before: CentreSum
    year_before: CentreSum


@dataclass(frozen=True, slots=True)
class Centres:
    """The cost centres of a month in a currency, most revenue first."""

    month: date
    currency: str
    centres: tuple[Centre, ...]

    @property
    def net(self) -> Decimal:
        """Of all."""
        return sum((one.now.net for one in self.centres), NOTHING)

    def share(self, of: Centre) -> Decimal | None:
        """The part of the net that is of one; None where there is nothing to share."""
        return of.now.net / self.net if self.net else None

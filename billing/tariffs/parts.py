"""A tariff as values: what `billing.tariffs.document` reads and the engine rates by.

Prices are per kWh, kW or time in the tariff's currency, exact. Docs/tariffs.md says what each part
means.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

from billing.tariffs.values import Kind

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")
HOLIDAY: Final = 7
MINUTES_OF_DAY: Final = 1440
MONTH_LENGTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class Flow(StrEnum):
    """Which way energy goes: drawn from the grid, given to it, or what netting leaves."""

    IMPORT = "import"
    EXPORT = "export"
    NET = "net"


class Per(StrEnum):
    """What a standing amount is for."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"
    KW_MONTH = "kW_month"


class Pool(StrEnum):
    """Over which time energy fills tiers. AVERAGE_DAY: the limit times the days of the month."""

    DAY = "day"
    AVERAGE_DAY = "average_day"
    MONTH = "month"
    BILL = "bill"


class LimitUnit(StrEnum):
    """What the limit of a tier counts: energy, or energy for each kW of demand or contract."""

    KWH = "kWh"
    KWH_PER_KW = "kWh/kW"
    KWH_PER_KW_CONTRACTED = "kWh/kW_contracted"


class Shared(StrEnum):
    """How the periods of a schedule fill tiers."""

    PROPORTIONAL = "proportional"
    CHRONOLOGICAL = "chronological"
    PER_PERIOD = "per_period"


class Within(StrEnum):
    """Over which time what was given is set against what was drawn."""

    INTERVAL = "interval"
    PERIOD = "period"
    MONTH = "month"


class Carry(StrEnum):
    """What of a surplus goes on to the next month."""

    MONEY = "money"
    ENERGY = "energy"
    NONE = "none"


class Mode(StrEnum):
    """How to round what lies between two steps; HALF_UP rounds halves away from nothing."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"
    UP = "up"
    DOWN = "down"


class At(StrEnum):
    """What is rounded: each line, or the sum of the bill."""

    LINE = "line"
    BILL = "bill"


@dataclass(frozen=True, slots=True)
class Season:
    """Days of the year: `parts` are pairs of (month, day), both included; the second may be before
    the first, then the part goes over the end of the year.
    """

    name: str
    parts: tuple[tuple[tuple[int, int], tuple[int, int]], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """When a period holds: in which seasons (none: all), on which days (indices into DAYS, none:
    all), from which minute of the day to which.
    """

    period: str
    seasons: tuple[str, ...]
    days: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Rules, with the seasons and holidays they go by. Equal by `key`, which hashes all of them:
    tariffs with the same schedule share its calendar.
    """

    name: str
    rules: tuple[Rule, ...]
    periods: tuple[str, ...]
    seasons: tuple[Season, ...]
    holidays: tuple[str, ...]
    key: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schedule) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)


@dataclass(frozen=True, slots=True)
class Tier:
    """A block up to a limit, from the one before; the last has none."""

    up_to: Decimal | None
    price: Decimal


@dataclass(frozen=True, slots=True)
class Price:
    """The price in a period ("" where there is no schedule). A single price is one tier without a
    limit, `tiered` tells it from a list of one.
    """

    period: str
    tiers: tuple[Tier, ...]
    tiered: bool


@dataclass(frozen=True, slots=True)
class Tiers:
    """How energy fills tiers; without `pro_rated` a part of a month has the limits of a whole one.
    `window_min`: for kWh/kW, over which the highest demand is taken.
    """

    per: Pool = Pool.MONTH
    unit: LimitUnit = LimitUnit.KWH
    pro_rated: bool = True
    shared: Shared = Shared.PROPORTIONAL
    window_min: int = 15


@dataclass(frozen=True, slots=True)
class Standing:
    """An amount for time passed."""

    name: str
    label: str
    amount: Decimal
    per: Per


@dataclass(frozen=True, slots=True)
class Energy:
    """A price for each kWh, by period and tier; for `export` what the customer gets."""

    name: str
    label: str
    flow: Flow
    schedule: Schedule | None
    prices: tuple[Price, ...]
    tiers: Tiers


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A price for each kWh from a series: `factor` × price + `adder`, at least `floor`."""

    name: str
    label: str
    flow: Flow
    series: str
    factor: Decimal
    adder: Decimal
    floor: Decimal | None


@dataclass(frozen=True, slots=True)
class Ratchet:
    """At least `percent` of the highest demand of the `months` before; of these only the months of
    the year in `of_months`, if any are given.
    """

    percent: Decimal
    months: int
    of_months: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Demand:
    """A price for each kW of the highest mean over `window_min`, for a month; a period without a
    price is free.
    """

    name: str
    label: str
    window_min: int
    schedule: Schedule | None
    prices: tuple[Price, ...]
    minimum_kw: Decimal
    ratchet: Ratchet | None


@dataclass(frozen=True, slots=True)
class PowerFactor:
    """A surcharge where the power factor of a month is below `target`. One of three: `percent` of
    the named components for each `step` below; in the `ratio` target / power factor − 1; or a price
    `per_kvarh` of reactive energy beyond what the target allows.
    """

    name: str
    label: str
    of: tuple[str, ...]
    target: Decimal
    percent: Decimal | None
    step: Decimal | None
    per_kvarh: Decimal | None


@dataclass(frozen=True, slots=True)
class Netting:
    """How what was given to the grid is set against what was drawn, and what a surplus is worth."""

    name: str
    label: str
    within: Within
    schedule: Schedule | None
    carry: Carry
    settle_month: int | None
    sell_prices: tuple[Price, ...]


@dataclass(frozen=True, slots=True)
class Minimum:
    """What the named components cost at least."""

    name: str
    label: str
    of: tuple[str, ...]
    amount: Decimal
    per: Per


@dataclass(frozen=True, slots=True)
class Discount:
    """What is taken off the named components: a part, or an amount, but no more than they cost."""

    name: str
    label: str
    of: tuple[str, ...]
    percent: Decimal | None
    amount: Decimal | None
    per: Per


@dataclass(frozen=True, slots=True)
class Levy:
    """A price for each kWh drawn, or a part of the named components."""

    name: str
    label: str
    of: tuple[str, ...]
    percent: Decimal | None
    per_kwh: Decimal | None


@dataclass(frozen=True, slots=True)
class Tax:
    """A part of the named components; where these are taxes, tax on tax."""

    name: str
    label: str
    of: tuple[str, ...]
    percent: Decimal
    of_all: bool


Component = (
    Standing | Energy | Dynamic | Demand | PowerFactor | Netting | Minimum | Discount | Levy | Tax
)


@dataclass(frozen=True, slots=True)
class Rounding:
    """To multiples of `step`: each line, or the sum; with `total_step`, what is to be paid to
    multiples of that in the end.
    """

    step: Decimal = Decimal("0.01")
    mode: Mode = Mode.HALF_UP
    at: At = At.LINE
    total_step: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Tariff:
    """A tariff as it is rated; `sha256` is that of its document."""

    name: str
    currency: str
    interval_min: int
    schedules: tuple[Schedule, ...]
    components: tuple[Component, ...]
    rounding: Rounding
    sha256: str

    @property
    def interval_s(self) -> int:
        """The length of the intervals that periods are told apart by."""
        return self.interval_min * 60

    @property
    def netting(self) -> Netting | None:
        """Its netting, if it has one."""
        return next((one for one in self.components if isinstance(one, Netting)), None)


KINDS: Final = {
    Standing: Kind.STANDING,
    Energy: Kind.ENERGY,
    Dynamic: Kind.DYNAMIC,
    Demand: Kind.DEMAND,
    PowerFactor: Kind.POWER_FACTOR,
    Netting: Kind.CREDIT,
    Minimum: Kind.MINIMUM,
    Discount: Kind.DISCOUNT,
    Levy: Kind.LEVY,
    Tax: Kind.TAX,
}


def kind_of(component: Component) -> Kind:
    """What the lines of a component are for."""
    if isinstance(component, Energy | Dynamic) and component.flow is Flow.EXPORT:
        return Kind.EXPORT
    return KINDS[type(component)]

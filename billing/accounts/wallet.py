"""Prepaid wallets: what use takes from them, how they stand, and how long they last.

A burn is a difference: what the days of a month cost so far, rated as a whole, less what was
charged for them before. So tiers, minimums, demand and readings that come late or are corrected
come out right by themselves, a burn given twice takes nothing, and the burns of a month add up to
its bill.

Local times are those of the facility; whoever calls brings the clock and the holidays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

NOTHING: Final = Decimal(0)
# No friendly hours last longer; a calendar of nothing but holidays ends there.
MOST_FRIENDLY: Final = timedelta(days=14)
# The use of so many days tells how long a wallet lasts.
LOOKED_AT_DAYS: Final = 7
_TENTH: Final = Decimal("0.1")

IsHoliday = Callable[[date], bool]


class Standing(StrEnum):
    """How a wallet stands; the codes are stored."""

    GOOD = "good"
    LOW = "low"
    EMERGENCY = "emergency"
    FRIENDLY = "friendly"
    PROTECTED = "protected"
    SPENT = "spent"


@dataclass(frozen=True, slots=True)
class Burn:
    """What is taken for a month (its first day); negative: given back."""

    month: date
    amount: Decimal


def burns(*, cost: Mapping[date, Decimal], charged: Mapping[date, Decimal]) -> tuple[Burn, ...]:
    """What is to be taken now, by month: `cost` is what the months come to as it is known now,
    `charged` what was taken for them before. A month without a cost any more is given back.
    """
    due = {
        month: cost.get(month, NOTHING) - charged.get(month, NOTHING) for month in {*cost, *charged}
    }
    return tuple(Burn(month, due[month]) for month in sorted(due) if due[month])


@dataclass(frozen=True, slots=True)
class Friendly:
    """Hours in which nobody is switched off: each day from `start` to `end` by the local wall clock
    (over midnight where `start` is later), on Saturdays and Sundays if `weekend`, and on holidays.
    """

    start: time | None = None
    end: time | None = None
    weekend: bool = False
    holidays: bool = False

    def covers(self, local: datetime, is_holiday: IsHoliday) -> bool:
        """Whether a local time is one of them."""
        day = local.date()
        if self.weekend and day.weekday() >= 5:
            return True
        if self.holidays and is_holiday(day):
            return True
        if self.start is None or self.end is None or self.start == self.end:
            return False
        at = local.time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def until(self, at: datetime, zone: ZoneInfo, is_holiday: IsHoliday) -> datetime | None:
        """When the friendly hours that hold `at` end; None where they do not hold it.

        At most MOST_FRIENDLY later. A wall-clock time that a clock change skips counts as so much
        later, of one that comes twice the first.
        """
        local = at.astimezone(zone)
        if not self.covers(local, is_holiday):
            return None
        last = at + MOST_FRIENDLY
        edges = {time(0)} | ({self.end} if self.end is not None else set())
        day = local.date()
        while True:
            for edge in sorted(edges):
                instant = datetime.combine(day, edge, zone).astimezone(at.tzinfo)
                if instant <= at:
                    continue
                if instant >= last:
                    return last
                if not self.covers(instant.astimezone(zone), is_holiday):
                    return instant
            day += timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits of a wallet: warned below `low`, switched off once `emergency` is used up, too;
    `protected`: must not be cut off.
    """

    low: Decimal
    emergency: Decimal = NOTHING
    friendly: Friendly = Friendly()
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """How a wallet stands, and when to look again though no money moves (None: never)."""

    standing: Standing
    look_at: datetime | None = None

    @property
    def off(self) -> bool:
        """Whether the output is to be off."""
        return self.standing is Standing.SPENT


def position(
    balance: Decimal,
    rules: Rules,
    *,
    at: datetime,
    zone: ZoneInfo,
    is_holiday: IsHoliday,
    off: bool = False,
) -> Position:
    """How a wallet of this balance stands. `off`: it is switched off already, and stays so however
    friendly the hour, until there is money again.

    Switched off is who has nothing left of money and emergency credit: exactly nothing is spent.
    """
    if balance > rules.low:
        return Position(Standing.GOOD)
    if balance > 0:
        return Position(Standing.LOW)
    if balance > -rules.emergency:
        return Position(Standing.EMERGENCY)
    if rules.protected:
        return Position(Standing.PROTECTED)
    if not off:
        until = rules.friendly.until(at, zone, is_holiday)
        if until is not None:
            return Position(Standing.FRIENDLY, until)
    return Position(Standing.SPENT)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a day takes on average, and for how many days what is left lasts (one decimal place,
    None: nothing is used).
    """

    per_day: Decimal
    days: Decimal | None


def forecast(balance: Decimal, per_day: Sequence[Decimal], *, emergency: Decimal) -> Forecast:
    """How long a wallet lasts, emergency credit included, by what the last days took (each an
    amount; the mean of at most LOOKED_AT_DAYS counts).
    """
    looked_at = per_day[-LOOKED_AT_DAYS:]
    if not looked_at:
        return Forecast(NOTHING, None)
    mean = sum(looked_at, NOTHING) / len(looked_at)
    if mean <= 0:
        return Forecast(max(mean, NOTHING), None)
    left = max(balance + emergency, NOTHING)
    return Forecast(mean, (left / mean).quantize(_TENTH, ROUND_DOWN))

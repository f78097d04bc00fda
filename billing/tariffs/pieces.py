"""A bill's period in pieces: cut where a month begins and where the terms change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billing.tariffs.calendar import midnight, month_days, next_month
from billing.tariffs.parts import Per, Tariff
from billing.tariffs.sentences import sentence
from billing.tariffs.values import Period


class RatingError(Exception):
    """Use that cannot be rated by these terms; the sentence says what is missing."""


@dataclass(frozen=True, slots=True)
class Terms:
    """By what the days [first, end) are rated."""

    first: date
    end: date
    tariff: Tariff
    contracted_kw: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Days [first, end) of one calendar month under the same terms, and as Unix seconds
    [start, stop). `bill_part` is what the days under these terms are of the bill's. `last`: no
    other piece under these terms follows.
    """

    terms: Terms
    first: date
    end: date
    zone: str
    start: int
    stop: int
    begun: date
    bill_part: Fraction
    last: bool

    @property
    def month(self) -> date:
        """The first day of its month."""
        return self.first.replace(day=1)

    @property
    def days(self) -> int:
        """How many days it has."""
        return (self.end - self.first).days

    @property
    def part(self) -> Fraction:
        """Which part of its month it is, by days."""
        return Fraction(self.days, month_days(self.first))

    def part_of_month(self) -> dict[str, str]:
        """Which part of its month it is, for people; nothing for a whole one."""
        of = month_days(self.first)
        return {} if self.days == of else {"days": str(self.days), "of_days": str(of)}

    def times(self, per: Per) -> Fraction:
        """How many days, months or years it is; a year is twelve months. For KW_MONTH, months times
        the contracted power. Raises RatingError where no power is contracted.
        """
        if per is Per.DAY:
            return Fraction(self.days)
        if per is Per.YEAR:
            return self.part / 12
        return self.part * Fraction(contracted(self.terms)) if per is Per.KW_MONTH else self.part


def contracted(terms: Terms) -> Decimal:
    """The contracted power in kW. Raises RatingError where there is none."""
    if terms.contracted_kw is None:
        raise RatingError(
            sentence(
                "The tariff “%(name)s” asks for the contracted power, and the agreement names"
                " none from %(first)s on.",
                name=terms.tariff.name,
                first=terms.first,
            )
        )
    return terms.contracted_kw


def cut(terms: Sequence[Terms], period: Period) -> list[Piece]:
    """The pieces of a period, in order. Raises RatingError for a day without terms, or with two."""
    made: list[Piece] = []
    day = period.first
    for one in sorted(terms, key=lambda some: some.first):
        first, end = max(one.first, period.first), min(one.end, period.end)
        if first >= end:
            continue
        if first > day:
            raise RatingError(
                sentence("No tariff holds from %(first)s until %(end)s.", first=day, end=first)
            )
        if first < day:
            raise RatingError(
                sentence(
                    "Two tariffs hold from %(first)s until %(end)s.", first=first, end=min(day, end)
                )
            )
        share = Fraction((end - first).days, (period.end - period.first).days)
        while day < end:
            until = min(end, next_month(day))
            zone = period.zone
            made.append(
                Piece(
                    terms=one,
                    first=day,
                    end=until,
                    zone=zone,
                    start=midnight(zone, day),
                    stop=midnight(zone, until),
                    begun=first,
                    bill_part=share,
                    last=until == end,
                )
            )
            day = until
    if day < period.end:
        raise RatingError(
            sentence("No tariff holds from %(first)s until %(end)s.", first=day, end=period.end)
        )
    return made

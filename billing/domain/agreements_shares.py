"""That what agreements are billed by fits together: shares of a channel, and what is taken off.

Values in, the first instant at which something is wrong out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

# Later than any period that ends.
FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Slice:
    """A share of a channel during [starts_at, ends_at); negative where it is taken off."""

    share: Decimal
    starts_at: datetime
    ends_at: datetime | None

    @property
    def until(self) -> datetime:
        """The end, or FOR_EVER."""
        return self.ends_at or FOR_EVER


@dataclass(frozen=True, slots=True)
class Excess:
    """From `at` on the shares of a channel add up to `total`."""

    at: datetime
    total: Decimal


def excess(slices: Iterable[Slice]) -> Excess | None:
    """The first instant from which the shares of one channel are more than the whole of it, or more
    than the whole of it is taken off.
    """
    found = list(slices)
    first = [
        _first_above_one(
            [(abs(one.share), one.starts_at, one.until) for one in found if (one.share > 0) is sign]
        )
        for sign in (True, False)
    ]
    told = [one for one in first if one is not None]
    return min(told, key=lambda one: one.at, default=None)


def uncovered(taken_off: Sequence[Slice], counted: Sequence[Slice]) -> datetime | None:
    """The first instant at which something is taken off where nothing is counted."""
    gaps = (
        gap
        for one in taken_off
        if (gap := _first_outside(one.starts_at, one.until, counted)) is not None
    )
    return min(gaps, default=None)


def _first_above_one(parts: list[tuple[Decimal, datetime, datetime]]) -> Excess | None:
    for at in sorted({start for _share, start, _end in parts}):
        total = sum((share for share, start, end in parts if start <= at < end), Decimal(0))
        if total > 1:
            return Excess(at, total)
    return None


def _first_outside(start: datetime, end: datetime, counted: Sequence[Slice]) -> datetime | None:
    at = start
    for one in sorted(counted, key=lambda one: one.starts_at):
        if one.starts_at > at:
            break
        at = max(at, one.until)
    return at if at < end else None

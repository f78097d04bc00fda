"""Figures as the park's pages show them, on top of `portal.frame.quantities`."""

from __future__ import annotations

from typing import NamedTuple

from django.utils.translation import gettext as _

from portal.frame.quantities import NOTHING, number, percent, quantity

# Changes below this part are not worth a figure.
_NOTABLE = 0.005
# Above this factor a change is told in words.
_MANIFOLD = 10


class Reading(NamedTuple):
    """A number and its unit, both as text; the unit is empty where nothing is known."""

    number: str
    unit: str = ""

    def __str__(self) -> str:
        return f"{self.number}\N{NO-BREAK SPACE}{self.unit}" if self.unit else self.number


def readable(value: float | None, unit: str) -> Reading:
    """`value` in `unit` with the prefix that fits, in two parts."""
    text, _gap, prefixed = quantity(value, unit).partition("\N{NO-BREAK SPACE}")
    return Reading(text, prefixed)


def completeness(share: float | None, decimals: int = 0) -> str:
    """A share (0 … 1) in per cent, never rounded up to the whole: what is missing shows."""
    if share is None:
        return NOTHING
    if share < 1:
        share = min(share, 1 - 10 ** -(decimals + 2))
    return percent(share, decimals)


def compared(value: float | None, before: float | None) -> str:
    """Energy against yesterday's until the same time, in words; empty where there is nothing to
    compare with.
    """
    if value is None or before is None or before <= 0:
        return ""
    share = value / before - 1
    if abs(share) < _NOTABLE:
        return _("as yesterday")
    if share > _MANIFOLD:
        return _("more than ten times yesterday")
    sign = "+" if share > 0 else ""
    return _("%(change)s against yesterday") % {"change": sign + percent(share)}


def whole(count: int) -> str:
    """A count with grouped thousands."""
    return number(count)

"""Physical values as a person reads them: `1,24 kW`, `312 Wh`, in the reader's format.

The counterpart of `static/js/wattline/units.js`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from django.utils.formats import number_format
from django.utils.translation import gettext as _

NOTHING: Final = "–"
_MINUS: Final = "\N{MINUS SIGN}"
_PREFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


class Reading(NamedTuple):
    """A number and its unit, both as text; `unit` is empty where nothing is known."""

    number: str
    unit: str

    def __str__(self) -> str:
        return f"{self.number} {self.unit}".strip()


def readable(value: float | None, unit: str, *, decimals: int = 0) -> Reading:
    """`value` in `unit`, with the prefix that leaves three figures or more; the decimals are those
    of a value without a prefix.
    """
    if value is None:
        return Reading(NOTHING, "")
    for factor, prefix in _PREFIXES:
        # 999.6 is shown as 1.00 k, not as 1,000.
        if abs(value) >= factor * 0.9995:
            scaled = value / factor
            return Reading(_number(scaled, 2 if abs(scaled) < 100 else 1), prefix + unit)
    return Reading(_number(value, decimals), unit)


def percent(share: float | None, *, decimals: int = 0) -> str:
    """A share (0 … 1) in per cent; never rounded up to the whole."""
    if share is None:
        return NOTHING
    value = share * 100
    if share < 1:
        value = min(value, 100 - 10**-decimals)
    return _("%(number)s %%") % {"number": _number(value, decimals)}


def change(value: float | None, before: float | None) -> float | None:
    """By what part `value` differs from `before`; None where there is nothing to compare with."""
    if value is None or before is None or before <= 0:
        return None
    return value / before - 1


def signed_percent(share: float) -> str:
    """A change in whole per cent, with its sign."""
    rounded = round(share * 100)
    sign = "+" if rounded > 0 else _MINUS if rounded < 0 else "±"
    return _("%(sign)s%(number)s %%") % {"sign": sign, "number": _number(abs(rounded), 0)}


def _number(value: float, decimals: int) -> str:
    text = number_format(round(value, decimals), decimals, force_grouping=True)
    if text.lstrip("-").strip("0.,") == "":
        return text.lstrip("-")
    return text.replace("-", _MINUS)

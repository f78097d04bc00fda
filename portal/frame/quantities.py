"""Numbers, quantities and times as a reader of the active language writes them.

Quantities come in their base unit and are shown with the prefix that keeps them short: three
significant digits from a thousand on, as `static/js/wattline/units.js` does for live values. A
no-break space stands between number and unit.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.translation import pgettext_lazy

from devices.quantities import QUANTITIES

Number = int | float | Decimal

NOTHING: Final = "–"
_MINUS: Final = "\N{MINUS SIGN}"
_SPACE: Final = "\N{NO-BREAK SPACE}"
_PREFIXES: Final = ((10**9, "G"), (10**6, "M"), (10**3, "k"))
# Volts, amperes and hertz of a building are read as they are.
_PREFIXED_FROM: Final = {"V": 10**4, "A": 10**4, "Hz": 10**6}
# Currencies whose smallest coin is no hundredth (ISO 4217).
_COINS: Final = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF"), 0),
    **dict.fromkeys(("UGX", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
}
_WITH_PREFIX: Final = frozenset({"W", "Wh", "var", "varh", "VA", "VAh", "V", "A", "Hz"})

# `devices.quantities` imports no framework, so its names are marked for translation here. The
# context keeps them from Django's own texts: its "Current" is no electric one.
_NAMES: Final = {
    "active_power": pgettext_lazy("quantity", "Active power"),
    "reactive_power": pgettext_lazy("quantity", "Reactive power"),
    "apparent_power": pgettext_lazy("quantity", "Apparent power"),
    "voltage": pgettext_lazy("quantity", "Voltage"),
    "current": pgettext_lazy("quantity", "Current"),
    "frequency": pgettext_lazy("quantity", "Frequency"),
    "power_factor": pgettext_lazy("quantity", "Power factor"),
    "energy_import": pgettext_lazy("quantity", "Energy imported"),
    "energy_export": pgettext_lazy("quantity", "Energy exported"),
    "reactive_energy": pgettext_lazy("quantity", "Reactive energy"),
    "thd": pgettext_lazy("quantity", "Total harmonic distortion"),
    "temperature": pgettext_lazy("quantity", "Temperature"),
    "irradiance": pgettext_lazy("quantity", "Irradiance"),
    "state_of_charge": pgettext_lazy("quantity", "State of charge"),
    "charge": pgettext_lazy("quantity", "Charge"),
    "ratio": pgettext_lazy("quantity", "Ratio"),
    "count": pgettext_lazy("quantity", "Count"),
}


def quantity_name(code: str) -> str:
    """What a quantity of `devices.quantities` is called: `active_power` is "Active power"."""
    return str(_NAMES[code])


def channel_name(name: str, code: str) -> str:
    """The name of a channel that measures the quantity `code`. Names come with the device type; one
    that is its quantity and perhaps a phase (`Voltage L1`) is told in the reader's language.
    """
    known = QUANTITIES[code].name
    rest = name.removeprefix(known)
    # With words of its own behind it (`Irradiance on the modules`) it would be told in two.
    own = rest == name or any(letter.islower() for letter in rest)
    return name if own else f"{quantity_name(code)}{rest}"


def number(value: Number | None, decimals: int = 0) -> str:
    """`value` with grouped thousands and a real minus sign; a dash for None."""
    if value is None:
        return NOTHING
    rounded = round(Decimal(str(value)), decimals)
    text = str(number_format(abs(rounded), decimals, use_l10n=True, force_grouping=True))
    return f"{_MINUS}{text}" if rounded < 0 else text


def exact(value: Decimal) -> str:
    """`value` with all of its digits and no zeros behind them: a resolution, a limit."""
    digits = value.normalize().as_tuple().exponent
    return number(value, max(0, -digits) if isinstance(digits, int) else 0)


def money(amount: Decimal | None, currency: str) -> str:
    """An amount to the smallest coin of its currency, with the currency's code: `1,234.50 EUR`."""
    if amount is None:
        return NOTHING
    return f"{number(amount, coin_digits(currency))}{_SPACE}{currency}"


def coin_digits(currency: str) -> int:
    """How many decimals the smallest coin has (ISO 4217): 2 of most."""
    return _COINS.get(currency, 2)


def price(amount: Decimal | None, currency: str) -> str:
    """A price with all of its digits, two at least: `0.3125 EUR`."""
    if amount is None:
        return NOTHING
    digits = amount.normalize().as_tuple().exponent
    places = max(coin_digits(currency), -digits if isinstance(digits, int) else 0)
    return f"{number(amount, places)}{_SPACE}{currency}"


def quantity(value: Number | None, unit: str, decimals: int = 0) -> str:
    """`value` in `unit`, with a prefix from a thousand on; `decimals` hold without one.

    `1` is the unit of a plain ratio and not shown.
    """
    if value is None:
        return NOTHING
    exact = Decimal(str(value))
    size = abs(exact)
    if unit in _WITH_PREFIX and size >= _PREFIXED_FROM.get(unit, 1000):
        factor, prefix = next((f, name) for f, name in _PREFIXES if size >= f)
        scaled = exact / factor
        shown = number(scaled, 2 if abs(scaled) < 10 else 1 if abs(scaled) < 100 else 0)
        return f"{shown}{_SPACE}{prefix}{unit}"
    shown = number(exact, decimals)
    return shown if unit in {"", "1"} else f"{shown}{_SPACE}{unit}"


def power(watts: Number | None) -> str:
    """Watts as W, kW, MW or GW."""
    return quantity(watts, "W")


def energy(watt_hours: Number | None) -> str:
    """Watt-hours as Wh, kWh, MWh or GWh."""
    return quantity(watt_hours, "Wh")


def percent(ratio: Number | None, decimals: int = 0) -> str:
    """A ratio of 0 to 1 in per cent."""
    if ratio is None:
        return NOTHING
    return f"{number(Decimal(str(ratio)) * 100, decimals)}{_SPACE}%"


def local_time(moment: datetime | None, zone: str, kind: str = "DATETIME_FORMAT") -> str:
    """`moment` in the zone of a facility, by a format of the language (`DATE_FORMAT`, …); a dash
    for None.
    """
    if moment is None:
        return NOTHING
    return date_format(timezone.localtime(moment, ZoneInfo(zone)), kind)

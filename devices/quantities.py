"""Quantities that a channel can measure, with their SI unit and how they behave over time.

The codes are stored; the names are what a person reads. Units follow the SI brochure and
IEC 60050-131 (power: W, VA, var).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Behaviour = Literal["gauge", "register"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """One kind of measured quantity.

    `behaviour` is `gauge` for a momentary value and `register` for a cumulative counter.
    """

    code: str
    name: str
    unit: str
    behaviour: Behaviour = "gauge"
    additive: bool = False  # whether the values of several loads add up to a facility's total


_ALL = (
    Quantity("active_power", "Active power", "W", additive=True),
    Quantity("reactive_power", "Reactive power", "var", additive=True),
    Quantity("apparent_power", "Apparent power", "VA", additive=True),
    Quantity("voltage", "Voltage", "V"),
    Quantity("current", "Current", "A"),
    Quantity("frequency", "Frequency", "Hz"),
    Quantity("power_factor", "Power factor", "1"),
    Quantity("energy_import", "Energy imported", "Wh", "register", additive=True),
    Quantity("energy_export", "Energy exported", "Wh", "register", additive=True),
    Quantity("reactive_energy", "Reactive energy", "varh", "register", additive=True),
    Quantity("thd", "Total harmonic distortion", "%"),
    Quantity("temperature", "Temperature", "°C"),
    Quantity("irradiance", "Irradiance", "W/m²"),
    Quantity("state_of_charge", "State of charge", "%"),
    Quantity("charge", "Charge", "Ah"),
    Quantity("ratio", "Ratio", "1"),
    Quantity("count", "Count", "1", "register"),
)

QUANTITIES = MappingProxyType({quantity.code: quantity for quantity in _ALL})

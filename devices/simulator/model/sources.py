"""Photovoltaics and battery of a site."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from devices.simulator.model.chance import Chance, Floats
from devices.simulator.model.loads import STEP_S, Span

STANDARD_IRRADIANCE: Final = 1_000.0  # W/m², standard test conditions (IEC 60904-3)


@dataclass(frozen=True, slots=True)
class Photovoltaics:
    """Modules of `peak_watts` on a roof, behind an inverter that passes on at most `limit_watts`.

    `tilt` in degrees from the horizontal, `azimuth` in degrees from north through east.
    """

    peak_watts: float
    limit_watts: float
    tilt: float = 30.0
    azimuth: float = 180.0


@dataclass(frozen=True, slots=True)
class Generation:
    """What an array gives: AC `watts`, `irradiance` on the modules (W/m²), their `temperature`
    (°C), and `volts` and `amperes` of the string."""

    watts: Floats
    irradiance: Floats
    temperature: Floats
    volts: Floats
    amperes: Floats


def generate(array: Photovoltaics, chance: Chance, span: Span) -> Generation:
    """The output of an array over a span."""
    weather = span.weather
    tilt, azimuth = math.radians(array.tilt), math.radians(array.azimuth)
    facing = (
        math.cos(tilt) * weather.sun.up
        + math.sin(tilt) * math.sin(azimuth) * weather.sun.east
        + math.sin(tilt) * math.cos(azimuth) * weather.sun.north
    )
    # Isotropic sky (Liu and Jordan, 1963), without the light reflected from the ground.
    irradiance = weather.beam * np.maximum(facing, 0.0)
    irradiance = irradiance + weather.diffuse * (1 + math.cos(tilt)) / 2
    temperature = weather.temperature + 0.028 * irradiance  # Ross (1976)
    yield_factor = irradiance / STANDARD_IRRADIANCE * (1 - 0.0038 * (temperature - 25))
    direct = array.peak_watts * np.maximum(yield_factor, 0.0)
    awake = irradiance > 8.0  # below, the inverter sleeps
    watts = np.where(awake, np.clip(0.965 * direct - 12.0, 0.0, array.limit_watts), 0.0)
    # The working point moves off the maximum while the inverter limits.
    direct = np.where(awake, watts / 0.965 + 12.0, 0.0)
    strings = max(1, math.ceil(array.peak_watts / 9_000))
    volts = (620.0 - 1.9 * (temperature - 25)) * (1 + 0.002 * chance.smooth(span.time_s, 60.0))
    volts = np.where(awake, volts, np.minimum(volts, 40.0 * irradiance))
    amperes = np.where(awake, direct / np.maximum(volts, 1.0) / strings, 0.0)
    return Generation(watts, irradiance, temperature, volts, amperes)


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery of `capacity_wh` usable, whose inverter moves at most `limit_watts`."""

    capacity_wh: float
    limit_watts: float
    cells_volts: float = 51.2
    charge_efficiency: float = 0.955
    discharge_efficiency: float = 0.95


@dataclass(frozen=True, slots=True)
class Storage:
    """What a battery did: AC `watts` (charging positive), `charge` as a share 0 … 1 at the start
    of each step, and the share at the end of the last one."""

    watts: Floats
    charge: Floats
    left: float


def balance(battery: Battery, surplus: Floats, charge: float) -> Storage:
    """Charge from what the site has too much, discharge for what it lacks (W, surplus positive).

    The one loop over steps of the model: what a step may do depends on all before it.
    """
    capacity_ws = battery.capacity_wh * 3_600
    limit = battery.limit_watts
    into, out_of = battery.charge_efficiency, battery.discharge_efficiency
    energy = charge * capacity_ws
    watts = []
    energies = []
    for wanted in np.clip(np.trunc(surplus), -limit, limit).tolist():
        energies.append(energy)
        power = wanted
        if power > 0:
            power = min(power, int((capacity_ws - energy) / (STEP_S * into)))
            energy += power * STEP_S * into
        elif power < 0:
            power = -min(-power, int(energy * out_of / STEP_S))
            energy += power * STEP_S / out_of
        watts.append(power)
    return Storage(
        np.array(watts, dtype=np.float64), np.array(energies) / capacity_ws, energy / capacity_ws
    )

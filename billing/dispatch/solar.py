"""What photovoltaics would have given: the sun's course over a place, and a share of it for clouds.

The position of the sun (NREL's algorithm), the clear sky (Haurwitz), its parts (Erbs) and what of
them falls onto the panels (isotropic sky) are pvlib's. No weather is known: of the clear sky's
energy `clearness` reaches the panels in every hour, so that sums of months come out about right,
and single days do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from pvlib import clearsky, irradiance, solarposition

from billing.tariffs.sentences import sentence
from billing.tariffs.values import Int64s

# Of the energy on the panels, what the inverter gives: IEA PVPS T13 finds 0.75 to 0.85.
PERFORMANCE_RATIO: Final = 0.8
# Of a year's clear sky, what comes through clouds in central Europe.
CLEARNESS: Final = 0.6
# By definition a panel's power is that at this irradiance, W/m².
_STANDARD: Final = 1000.0
_MILLI: Final = 1000.0


class SolarError(Exception):
    """Photovoltaics that cannot be; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Photovoltaics:
    """Panels of `kwp` at a place (degrees north and east), tilted by `tilt` degrees towards
    `azimuth` (degrees from north over east).
    """

    kwp: float
    latitude: float
    longitude: float
    tilt: float = 30.0
    azimuth: float = 180.0
    clearness: float = CLEARNESS

    def __post_init__(self) -> None:
        for name, value, low, high in (
            (sentence("the power"), self.kwp, 0, 100_000),
            (sentence("the latitude"), self.latitude, -90, 90),
            (sentence("the longitude"), self.longitude, -180, 180),
            (sentence("the tilt"), self.tilt, 0, 90),
            (sentence("the azimuth"), self.azimuth, 0, 360),
            (sentence("the clearness"), self.clearness, 0, 1),
        ):
            if not low <= value <= high:
                raise SolarError(
                    sentence(
                        "%(name)s is %(value)s: give a number from %(low)s to %(high)s",
                        name=name,
                        value=f"{value:g}",
                        low=low,
                        high=high,
                    )
                )


def generation(panels: Photovoltaics, starts: Int64s, step_s: int) -> Int64s:
    """The mWh that panels give in intervals of `step_s` from `starts` (n,), Unix seconds."""
    if not len(starts):
        return np.empty(0, np.int64)
    middles = pd.DatetimeIndex((starts + step_s // 2) * 1_000_000_000, tz="UTC")
    sun = solarposition.get_solarposition(
        middles, panels.latitude, panels.longitude, method="nrel_numpy"
    )
    horizontal = clearsky.haurwitz(sun["apparent_zenith"])["ghi"]
    parts = irradiance.erbs(horizontal, sun["zenith"], middles.day_of_year)
    on_panels = irradiance.get_total_irradiance(
        panels.tilt,
        panels.azimuth,
        sun["apparent_zenith"],
        sun["azimuth"],
        parts["dni"],
        horizontal,
        parts["dhi"],
        model="isotropic",
    )["poa_global"].to_numpy()
    watts = panels.kwp * 1000 * np.nan_to_num(on_panels) / _STANDARD
    watts *= PERFORMANCE_RATIO * panels.clearness
    milliwh: Int64s = np.rint(watts * step_s / 3600 * _MILLI).astype(np.int64)
    return milliwh

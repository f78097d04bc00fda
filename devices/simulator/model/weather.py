"""Sun, clouds and outdoor temperature of a place; times are seconds since the Unix epoch, UTC."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from devices.simulator.model.chance import Chance, Floats

_DAY_S = 86_400.0
_YEAR_DAYS = 365.2425


@dataclass(frozen=True, slots=True)
class Place:
    """Where a site is: degrees north and east (WGS 84)."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Sky:
    """The sun over a place: cosine of its zenith angle, its direction, and how far into the day.

    `east`, `north`, `up` are the components of the unit vector towards the sun; `solar_hour` the
    true solar time in hours.
    """

    up: Floats
    east: Floats
    north: Floats
    solar_hour: Floats


def sky(place: Place, time_s: Floats) -> Sky:
    """Position of the sun to about 0.3°, by the Fourier series of Spencer (1971).

    J. W. Spencer: Fourier series representation of the position of the sun, Search 2 (5).
    """
    day = time_s / _DAY_S
    angle = 2 * math.pi * ((day + 0.25) % _YEAR_DAYS) / _YEAR_DAYS  # 1970 began a day of a year
    sin_1, cos_1 = np.sin(angle), np.cos(angle)
    sin_2, cos_2 = np.sin(2 * angle), np.cos(2 * angle)
    declination = (
        0.006918
        - 0.399912 * cos_1
        + 0.070257 * sin_1
        - 0.006758 * cos_2
        + 0.000907 * sin_2
        - 0.002697 * np.cos(3 * angle)
        + 0.00148 * np.sin(3 * angle)
    )
    equation_h = (12 / math.pi) * (
        0.000075 + 0.001868 * cos_1 - 0.032077 * sin_1 - 0.014615 * cos_2 - 0.040849 * sin_2
    )
    solar_hour = (day % 1 * 24 + place.longitude / 15 + equation_h) % 24
    hour_angle = (solar_hour - 12) * (math.pi / 12)
    phi = math.radians(place.latitude)
    cos_d, sin_d, cos_h = np.cos(declination), np.sin(declination), np.cos(hour_angle)
    return Sky(
        up=math.sin(phi) * sin_d + math.cos(phi) * cos_d * cos_h,
        east=-cos_d * np.sin(hour_angle),
        north=math.cos(phi) * sin_d - math.sin(phi) * cos_d * cos_h,
        solar_hour=solar_hour,
    )


@dataclass(frozen=True, slots=True)
class Weather:
    """Weather at a place over a row of instants.

    `temperature` in °C; `cloud` 0 … 1; `irradiance` on the horizontal in W/m²; `beam` the direct
    part on a surface facing the sun and `diffuse` the rest on the horizontal, both W/m².
    """

    temperature: Floats
    cloud: Floats
    irradiance: Floats
    beam: Floats
    diffuse: Floats
    sun: Sky


def weather(seed: int, place: Place, time_s: Floats) -> Weather:
    """The weather of a seed; the same for all sites of one seed and place."""
    sun = sky(place, time_s)
    front = Chance(seed, "front").smooth(time_s, 2.5 * _DAY_S)
    cloud = _cloud(seed, time_s, front)
    up = np.maximum(sun.up, 0.0)
    lit = np.maximum(up, 0.01)
    # Clear sky by Haurwitz (1945); reduction by cloud after Kasten and Czeplak (1980).
    clear = 1_098.0 * up * np.exp(-0.057 / lit)
    irradiance = clear * (1 - 0.75 * cloud**3.4)
    # Direct part of a clear sky by Meinel (1976), with the air mass of Kasten and Young (1989).
    zenith = np.degrees(np.arccos(np.minimum(lit, 1.0)))
    air_mass = 1 / (lit + 0.50572 * (96.07995 - zenith) ** -1.6364)
    beam = np.where(sun.up > 0.01, 1_353.0 * 0.7 ** (air_mass**0.678) * (1 - cloud), 0.0)
    beam = np.minimum(beam, 0.9 * irradiance / lit)
    diffuse = irradiance - beam * up
    return Weather(
        temperature=_temperature(seed, place, time_s, sun, cloud, front),
        cloud=cloud,
        irradiance=irradiance,
        beam=beam,
        diffuse=diffuse,
        sun=sun,
    )


def _cloud(seed: int, time_s: Floats, front: Floats) -> Floats:
    """Cover of the sky, a bounded random process: fronts, cloud fields, single clouds."""
    field = Chance(seed, "field").smooth(time_s, 5_400.0)
    single = Chance(seed, "single").smooth(time_s, 420.0)
    edge = Chance(seed, "edge").smooth(time_s, 50.0)
    mixed = 0.15 + 2.2 * front + 1.1 * field + 0.9 * single + 0.25 * edge
    return 1 / (1 + np.exp(-1.6 * mixed))


def _temperature(
    seed: int, place: Place, time_s: Floats, sun: Sky, cloud: Floats, front: Floats
) -> Floats:
    """Seasons by latitude, a day that peaks at 15 h solar time, and the weather of the week."""
    latitude = abs(place.latitude)
    season = time_s / _DAY_S % _YEAR_DAYS
    warmest = 200.0 if place.latitude >= 0 else 17.0
    mean = 29.0 - 0.0085 * latitude**2
    swing = 0.22 * latitude
    yearly = swing * np.cos(2 * math.pi * (season - warmest) / _YEAR_DAYS)
    daily = (5.0 - 2.5 * cloud) * np.cos(2 * math.pi * (sun.solar_hour - 15) / 24)
    weekly = 3.5 * Chance(seed, "air").smooth(time_s, 1.7 * _DAY_S) - 2.0 * front
    return mean + yearly + daily + weekly

"""The loads of shops and fuel stations, grouped as their sub-meters measure them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from devices.simulator.model.chance import Chance, Floats
from devices.simulator.model.loads import Bursts, Cycling, Load, Opening, Span, Steady

SHOP_HOURS = Opening(7, 21, 8, 20)
STATION_HOURS = Opening(5, 23, 6, 23)

_L2 = (0.0, 1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Shop:
    """A food shop: `area` of sales floor in m², and whether it bakes."""

    area: float = 800.0
    hours: Opening = SHOP_HOURS


def refrigeration(seed: int, shop: Shop) -> list[Load]:
    """Compressors of cabinets and cold rooms, fans, and electric defrost four times a day."""
    size = Chance(seed, "refrigeration")
    compressors: list[Load] = [
        Cycling(
            Chance(seed, "compressor", number),
            shop.area * size.between(3.4, 5.2, number),
            size.between(700, 1_500, 10 + number),
            _cooling(shop.hours, 0.38 if number else 0.55),
            inrush=1.9,
            power_factor=0.84,
        )
        for number in range(4)
    ]
    return [
        *compressors,
        Steady(Chance(seed, "fans"), shop.area * 2.4, 0.02, 0.006, power_factor=0.8),
        Bursts(
            Chance(seed, "defrost"),
            21_600,
            900,
            1_500,
            lambda span: np.ones(len(span.step)),
            lambda since, _: np.full(len(since), shop.area * 6.0),
            power_factor=1.0,
        ),
    ]


def hvac(seed: int, area: float, hours: Opening) -> list[Load]:
    """Ventilation by opening hours; heat pump or chiller by the outdoor temperature."""
    return [
        Steady(
            Chance(seed, "ventilation"),
            area * 0.5,
            0.02,
            0.01,
            active_watts=area * 4.5,
            activity=lambda span: hours.degree(span, 0.75),
            power_factor=0.88,
        ),
        Cycling(
            Chance(seed, "climate"),
            area * 19,
            840,
            lambda span: _climate(span) * (0.25 + 0.75 * hours.degree(span, 1.0)),
            idle_watts=60.0,
            inrush=1.5,
            power_factor=0.89,
        ),
    ]


def lighting(seed: int, area: float, hours: Opening, *, outdoor_watts: float = 600.0) -> list[Load]:
    """LED on the floor while staff is there, emergency lights always, signs when it is dark."""
    return [
        Steady(
            Chance(seed, "floor"),
            area * 0.35,
            0.004,
            0.003,
            active_watts=area * 6.5,
            activity=lambda span: hours.degree(span, 0.5, 0.02),
            power_factor=0.95,
        ),
        Steady(
            Chance(seed, "signs"),
            0.0,
            0.004,
            0.003,
            active_watts=outdoor_watts,
            activity=lambda span: np.clip((0.05 - span.weather.sun.up) / 0.05, 0.0, 1.0),
            power_factor=0.92,
        ),
    ]


def bakery(seed: int, hours: Opening) -> list[Load]:
    """Two ovens that bake in batches from early morning on, with a proving cabinet."""

    def batches(first: float) -> Callable[[Span], Floats]:
        def rate(span: Span) -> Floats:
            morning = np.clip(np.minimum(span.hour - first, 12.5 - span.hour), 0, 1) * 0.95
            later = np.clip(hours.closes - 2.5 - span.hour, 0, 1) * (span.hour >= 12) * 0.45
            return np.maximum(morning, later)

        return rate

    def heat(watts: float) -> Callable[[Floats, Floats], Floats]:
        def profile(since: Floats, _: Floats) -> Floats:
            hot = (since < 420) | ((since - 420) % 96 < 38)
            return np.where(hot, watts, 350.0)

        return profile

    return [
        Bursts(
            Chance(seed, "oven", number), 3_600, 1_500, 2_900, batches(5.2 + 0.4 * number),
            heat(watts), power_factor=1.0,
        )
        for number, watts in enumerate((9_600.0, 7_200.0))
    ] + [
        Cycling(
            Chance(seed, "proving"), 1_900, 420, lambda span: 0.08 + 0.3 * hours.degree(span, 2.0),
            idle_watts=25.0, inrush=1.0, phases=_L2, power_factor=1.0,
        )
    ]  # fmt: skip


def car_wash(seed: int, hours: Opening) -> list[Load]:
    """A portal wash: a programme now and then, with brushes, pumps and blowers in turn."""

    def programme(since: Floats, duration: Floats) -> Floats:
        part = since / duration
        brushes = np.where(part < 0.62, 5_200.0, 0.0)
        pump = np.where((part > 0.05) & (part < 0.4), 7_500.0, 0.0)
        blower = np.where(part > 0.66, 15_000.0, 0.0)
        drive = 900.0 + 300.0 * np.sign(np.sin(since / 5.0))
        return brushes + pump + blower + drive

    def rate(span: Span) -> Floats:
        dry = 1 - 0.5 * span.weather.cloud
        noon = np.clip(np.minimum((span.hour - 7) / 3, (21 - span.hour) / 3), 0.0, 1.0)
        busy = 1.0 if span.weekend else 0.62
        wanted: Floats = busy * dry * noon * hours.degree(span)
        return wanted

    return [
        Bursts(Chance(seed, "wash"), 720, 330, 480, rate, programme, power_factor=0.85),
        Steady(Chance(seed, "water"), 180.0, 0.05, 0.02, power_factor=0.7),
    ]


def fuel_pumps(seed: int, hours: Opening, *, pumps: int = 6) -> list[Load]:
    """Dispensers with their submersible pumps: a few minutes for every customer."""

    def rate(span: Span) -> Floats:
        commute = np.exp(-(((span.hour - 7.6) / 1.4) ** 2)) + np.exp(
            -(((span.hour - 17.2) / 1.9) ** 2)
        )
        traffic: Floats = 0.1 + 0.55 * np.clip(commute, 0, 1)
        return traffic * (0.15 + 0.85 * hours.degree(span))

    def dispense(since: Floats, _: Floats) -> Floats:
        return np.where(since < 2, 2_600.0, 1_120.0 + 30.0 * np.sin(since / 3.0))

    dispensers: list[Load] = [
        Bursts(Chance(seed, "dispenser", number), 420, 80, 230, rate, dispense, power_factor=0.82)
        for number in range(pumps)
    ]
    return [*dispensers, Steady(Chance(seed, "displays"), 95.0 * pumps, 0.02, 0.01)]


def general(seed: int, area: float, hours: Opening) -> list[Load]:
    """Tills, computers, cleaning, sockets: what no other sub-meter measures."""
    return [
        Steady(
            Chance(seed, "tills"),
            250.0 + area * 0.5,
            0.04,
            0.015,
            active_watts=500.0 + area * 1.1,
            activity=lambda span: hours.degree(span, 0.5),
            phases=(0.45, 0.2, 0.35),
            power_factor=0.9,
        ),
        Bursts(
            Chance(seed, "cleaning"),
            86_400,
            2_400,
            4_800,
            lambda span: np.full(len(span.step), 0.9),
            lambda since, _: np.where(since % 240 < 200, 1_450.0, 120.0),
            phases=(1.0, 0.0, 0.0),
        ),
    ]


def _cooling(hours: Opening, duty: float) -> Callable[[Span], Floats]:
    """Run time of a compressor: more when it is hot and when customers open the doors."""

    def by_heat(span: Span) -> Floats:
        heat = 1 + 0.022 * (span.weather.temperature - 15)
        return np.clip(duty * heat * (0.82 + 0.28 * hours.degree(span)), 0.12, 0.95)

    return by_heat


def _climate(span: Span) -> Floats:
    """Run time of the climate machine: nothing to do between 16 and 21 °C outside."""
    temperature = span.weather.temperature
    return np.clip(np.maximum(16 - temperature, temperature - 21) / 16, 0.03, 1.0)

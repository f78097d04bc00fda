"""The loads of a household, by its equipment; powers and times are usual ones of Central Europe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from devices.simulator.model.chance import Chance, Floats
from devices.simulator.model.loads import (
    Appliance,
    Cycling,
    Load,
    Span,
    Steady,
    flat,
    stages,
    thermostat,
)

_L1, _L2, _L3 = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
_TWO = (0.5, 0.5, 0.0)


@dataclass(frozen=True, slots=True)
class Equipment:
    """What a household has beyond the usual. `people` scales how often things are used."""

    people: int = 2
    heat_pump_watts: float = 0.0
    vehicle_watts: float = 0.0  # charging point; above 4.6 kW on three phases
    dryer: bool = True


def household_loads(seed: int, equipment: Equipment) -> list[Load]:
    """All loads of one household."""
    size = Chance(seed, "size")
    often = min(1.0, 0.35 + 0.17 * equipment.people)

    def chance(name: str) -> Chance:
        return Chance(seed, name)

    loads: list[Load] = [
        Steady(chance("standby"), size.between(45, 110), 0.05, 0.02, phases=(0.5, 0.3, 0.2)),
        Steady(
            chance("evening"),
            0.0,
            0.15,
            0.02,
            active_watts=size.between(140, 330, 1),
            activity=_evening,
            phases=(0.4, 0.2, 0.4),
        ),
        Cycling(
            chance("fridge"),
            size.between(75, 120, 2),
            size.between(2_400, 4_200, 3),
            _mild(0.33),
            idle_watts=2.0,
            inrush=4.0,
            phases=_L1,
            power_factor=0.78,
        ),
        Cycling(
            chance("freezer"),
            size.between(70, 105, 4),
            size.between(2_700, 5_000, 5),
            _mild(0.28),
            inrush=4.0,
            phases=_L3,
            power_factor=0.75,
        ),
        *_kitchen(chance, size, often),
        *_washing(chance, often, dryer=equipment.dryer),
    ]
    if equipment.heat_pump_watts:
        loads.append(
            Cycling(
                chance("heat pump"),
                equipment.heat_pump_watts,
                2_700,
                _heating,
                idle_watts=35.0,
                inrush=1.3,
                power_factor=0.94,
            )
        )
    if equipment.vehicle_watts:
        single = equipment.vehicle_watts <= 4_600
        loads.append(
            Appliance(
                chance("vehicle"),
                18.6,
                0.9,
                3_000,
                15_000,
                flat(equipment.vehicle_watts),
                weekday=0.62,
                weekend=0.4,
                phases=_L2 if single else (1 / 3, 1 / 3, 1 / 3),
                power_factor=0.99,
            )
        )
    return loads


def _kitchen(chance: Callable[[str], Chance], size: Chance, often: float) -> list[Load]:
    hob = thermostat(size.between(1_400, 2_300, 6), warm_up_s=150, period_s=46, duty=0.45)
    oven = thermostat(2_300, warm_up_s=540, period_s=110, duty=0.32)
    return [
        Appliance(chance("coffee"), 6.9, 0.5, 60, 200, flat(1_350), phases=_L2),
        Appliance(chance("kettle 1"), 7.3, 0.7, 90, 210, flat(2_050), 0.8, 0.8, phases=_L2),
        Appliance(chance("kettle 2"), 16.2, 1.6, 90, 210, flat(2_050), 0.5, 0.8, phases=_L2),
        Appliance(chance("toaster"), 7.4, 0.5, 120, 260, flat(870), 0.5, 0.7, phases=_L2),
        Appliance(chance("lunch"), 12.4, 0.5, 900, 2_400, hob, 0.3, 0.8, phases=_L1),
        Appliance(chance("dinner"), 18.6, 0.7, 1_200, 3_300, hob, often, 0.85, phases=_L1),
        Appliance(chance("second hob"), 18.8, 0.6, 700, 2_000, hob, 0.5, 0.6, phases=_L3),
        Appliance(chance("oven"), 18.3, 0.8, 1_800, 4_200, oven, 0.3, 0.5, phases=_TWO),
        Appliance(chance("microwave"), 12.9, 2.5, 90, 420, flat(1_180), 0.6, 0.6, phases=_L2),
    ]


def _washing(chance: Callable[[str], Chance], often: float, *, dryer: bool) -> list[Load]:
    washer = stages(
        (0.04, 60, 30, 20), (0.2, 2_050, 0, 1), (0.5, 190, 130, 26), (0.14, 230, 150, 30),
        (0.12, 420, 90, 16),
    )  # fmt: skip
    dishes = stages((0.08, 70, 20, 14), (0.2, 1_950, 0, 1), (0.4, 75, 20, 18), (0.22, 1_900, 0, 1),
                    (0.1, 25, 0, 1))  # fmt: skip
    loads: list[Load] = [
        Appliance(
            chance("washer"),
            10.6,
            2.2,
            4_200,
            6_600,
            washer,
            0.42 * often,
            0.7 * often,
            phases=_L3,
            power_factor=0.92,
        ),
        Appliance(
            chance("dishwasher"),
            20.2,
            0.9,
            5_400,
            7_800,
            dishes,
            0.6 * often,
            0.75 * often,
            phases=_L2,
            power_factor=0.97,
        ),
    ]
    if dryer:
        tumble = stages((0.93, 780, 60, 240), (0.07, 160, 20, 20))
        loads.append(
            Appliance(
                chance("dryer"),
                13.8,
                2.0,
                4_200,
                7_200,
                tumble,
                0.3 * often,
                0.5 * often,
                phases=_L3,
                power_factor=0.9,
            )
        )
    return loads


def _evening(span: Span) -> Floats:
    """Lamps and screens: when it is dark and somebody is awake, with a little in the morning."""
    hour = span.hour
    evening = np.clip(np.minimum((hour - 17) / 1.5, (23.4 - hour) / 0.8), 0.0, 1.0)
    morning = 0.5 * np.clip(np.minimum((hour - 6) / 0.4, (8.2 - hour) / 0.5), 0.0, 1.0)
    dark = np.clip((0.12 - span.weather.sun.up) / 0.2, 0.25, 1.0)
    return (evening + morning) * dark


def _mild(duty: float) -> Callable[[Span], Floats]:
    def by_temperature(span: Span) -> Floats:
        return np.clip(duty * (1 + 0.015 * (span.weather.temperature - 18)), 0.15, 0.8)

    return by_temperature


def _heating(span: Span) -> Floats:
    """Run time of a heat pump: space heating below 15 °C, and hot water all year."""
    return np.clip(0.06 + (15 - span.weather.temperature) / 30, 0.05, 0.98)

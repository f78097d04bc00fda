"""The telemetry gate: false alarms on an unchanged fleet, and which faults it catches how soon.

`false_alarms_percent`, by devices of the fleet: roll-outs that the gate stops, at any wave and
look, although nothing has changed. `power_percent`: of each fault, how often the gate fails the
wave, by how many devices are updated; `passed_percent`: how often it lets the next wave begin, of
firmware that changes nothing too. The rest is held for a person. The park is made up by
`gate_park.py`. `ok`: at most the share of false alarms that the limits allow, every fault is caught
in 95 of 100 waves of `--wave` devices, and hardly any is let through (`--wave` or fewer).
"""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from firmware.benchmarks.gate_park import MadeUpPark
from firmware.gate.judging import judge
from firmware.gate.limits import GateLimits
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict

_SOAK_DAYS: Final = 1.0
_FAULTS: Final[Mapping[str, Mapping[Metric, float]]] = {
    "gaps +20 %": {Metric.GAPS: 1.2},
    "resets x 3": {Metric.RESETS: 3.0},
    "reconnects x 3": {Metric.RECONNECTS: 3.0},
    "drain +15 %": {Metric.DRAIN: 1.15},
}
_NOTHING: Final = "nothing"
_MOST_PASSED: Final = 5
_FLEETS: Final = ((100, (10, 50)), (500, (10, 100)), (2_000, (20, 200)), (10_000, (100, 1_000)))
_WAVES: Final = (10, 30, 100, 300, 1_000)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--rollouts", type=int, default=1000, help="unchanged ones a fleet")
    parser.add_argument("--repeats", type=int, default=100, help="waves for each fault and size")
    parser.add_argument(
        "--wave", type=int, choices=_WAVES, default=1000, help="devices that must suffice"
    )
    parser.add_argument(
        "--soak", type=float, default=_SOAK_DAYS, help="days before the first look at a fault"
    )
    parser.add_argument("--seed", type=int, default=1)


def run(options: Namespace) -> dict[str, object]:
    """Simulate."""
    began = time.perf_counter()
    limits = GateLimits()
    random = np.random.default_rng(options.seed)
    fleets = {}
    for devices, waves in _FLEETS:
        alarms = sum(
            rollout(devices, waves, limits, random) == "fail" for _ in range(options.rollouts)
        )
        fleets[str(devices)] = round(100 * alarms / options.rollouts, 2)
    # Draws of their own: the same faults whatever `--rollouts` is.
    random = np.random.default_rng((options.seed, 1))
    outcomes = {
        name: {
            str(wave): Counter(
                of_wave(wave, effects, limits, random, soak_days=options.soak)
                for _ in range(options.repeats)
            )
            for wave in _WAVES
            if wave <= options.wave
        }
        for name, effects in {**_FAULTS, _NOTHING: {}}.items()
    }
    power, passed = (
        {
            name: {wave: round(100 * row[outcome] / options.repeats) for wave, row in rows.items()}
            for name, rows in outcomes.items()
        }
        for outcome in ("fail", "pass")
    )
    return {
        "rollouts": options.rollouts,
        "false_alarms_percent": fleets,
        "power_percent": {name: power[name] for name in _FAULTS},
        "passed_percent": passed,
        "seconds": round(time.perf_counter() - began, 1),
        "ok": max(fleets.values()) <= 100 * limits.false_alarms
        and all(power[name][str(options.wave)] >= 95 for name in _FAULTS)
        and all(max(passed[name].values()) <= _MOST_PASSED for name in _FAULTS),
    }


def rollout(
    devices: int, waves: tuple[int, ...], limits: GateLimits, random: np.random.Generator
) -> str:
    """A roll-out of firmware that changes nothing: "fail" if the gate stops it anywhere."""
    park = MadeUpPark(devices, random)
    order = random.permutation(devices)
    for wave in waves:
        updated = np.zeros(devices, np.bool_)
        updated[order[:wave]] = True
        if watch(park, updated, limits, {}, waves=len(waves)).outcome == "fail":
            return "fail"
    return "pass"


def of_wave(
    wave: int,
    effects: Mapping[Metric, float],
    limits: GateLimits,
    random: np.random.Generator,
    *,
    soak_days: float = _SOAK_DAYS,
) -> str:
    """What becomes of a wave of a fleet ten times its size: "fail", "pass" or, after the last look
    still, "wait".
    """
    devices = max(200, 10 * wave)
    park = MadeUpPark(devices, random)
    updated = np.zeros(devices, np.bool_)
    updated[random.permutation(devices)[:wave]] = True
    return watch(park, updated, limits, effects, waves=2, soak_days=soak_days).outcome


def watch(
    park: MadeUpPark,
    updated: np.ndarray,
    limits: GateLimits,
    effects: Mapping[Metric, float],
    *,
    waves: int,
    soak_days: float = _SOAK_DAYS,
) -> GateVerdict:
    """A wave after its soak, looked at until it is decided or the looks are used up."""
    park.begin_wave()
    for look in range(1, limits.looks + 1):
        days = soak_days if look == 1 else limits.look_every_s / 86_400
        park.pass_time(days, updated, effects)
        verdict = judge(park.comparison(updated, waves=waves, look=look), limits, intervals=False)
        if verdict.outcome != "wait":
            break
    return verdict

"""`manage.py bench formulas`: what formulas cost, and how well the state of charge is counted.

A day of eight channels at two seconds. Each formula is evaluated from its columns to its column,
beside the same arithmetic written by hand in NumPy on the same arrays; `ratio` is the first by the
second, medians of several rounds. `ok`: both give the same values.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.benchmarks.series import CHANNELS, series
from devices.formulas import Column, Formula, column_of
from devices.formulas.columns import holds_until
from devices.formulas.state_of_charge import Battery, state_of_charge
from devices.quantities import QUANTITIES

Floats = NDArray[np.float64]

SAMPLES: Final = 43_200
STEP_MS: Final = 2_000
START_MS: Final = 1_767_225_600_000
ROUNDS: Final = 31
UNITS: Final = {channel.key: QUANTITIES[channel.quantity].unit for channel in CHANNELS}


def _power(c: Mapping[str, Floats]) -> Floats:
    return c["voltage"] * c["current"] * c["power_factor"]


def _apparent(c: Mapping[str, Floats]) -> Floats:
    return np.sqrt(c["active_power"] ** 2 + c["reactive_power"] ** 2)


def _conditional(c: Mapping[str, Floats]) -> Floats:
    return np.where(c["active_power"] > 1_000, c["active_power"] / c["voltage"], 0.0)


def _eight(c: Mapping[str, Floats]) -> Floats:
    loss = c["voltage"] * c["current"] * c["power_factor"] - c["active_power"]
    angle = c["reactive_power"] / c["active_power"]
    warm = c["frequency"] * c["temperature"] / (50.0 * 20.0)
    return loss * angle * warm + c["energy_import"] / 24.0


def _energy(c: Mapping[str, Floats]) -> Floats:
    sums = np.zeros(SAMPLES)
    np.cumsum(c["active_power"][:-1] * (STEP_MS / 3.6e6), out=sums[1:])
    return sums


_BY_HAND: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Floats]], Floats]]]] = {
    "product of three": ("voltage * current * power_factor", _power),
    "apparent power": ("sqrt(active_power ^ 2 + reactive_power ^ 2)", _apparent),
    "condition": ("if(active_power > 1000 W, active_power / voltage, 0)", _conditional),
    "eight channels": (
        (
            "(voltage * current * power_factor - active_power) * ((reactive_power / 1 var)"
            " / (active_power / 1 W)) * (frequency * temperature / (50 Hz * 20 °C))"
            " + energy_import / 24 h"
        ),
        _eight,
    ),
    "energy": ("integral(active_power)", _energy),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `bench formulas`."""
    parser.add_argument("--seed", type=int, default=1, help="seed of the readings")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of recordings for the state of charge; default: the environment variable "
        "WATTLINE_DATA, else ../shared/data",
    )


def run(options: argparse.Namespace) -> dict[str, object]:
    """Milliseconds, values read in a second and ratio of each formula; errors in % of charge."""
    raw = series(options.seed, SAMPLES, STEP_MS / 1_000)
    arrays = {
        channel.key: raw[index] * float(channel.resolution)
        for index, channel in enumerate(CHANNELS)
    }
    times = START_MS + STEP_MS * np.arange(SAMPLES, dtype=np.int64)
    columns = {name: column_of(times, values, STEP_MS) for name, values in arrays.items()}
    formulas = {
        name: _measured(text, columns, partial(work, arrays))
        for name, (text, work) in _BY_HAND.items()
    }
    result: dict[str, object] = {
        "ok": all(each["same"] for each in formulas.values()),
        "samples": SAMPLES,
        "formulas": formulas,
        "parse_us": round(
            _median_ms(lambda: Formula.parse(_BY_HAND["eight channels"][0], UNITS)) * 1e3
        ),
    }
    folder = options.data or Path(
        os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data"
    )
    if folder.is_dir():
        result["state_of_charge"] = {
            "battery monitor": monitor_error(folder),
            "charge controller": controller_error(folder),
        }
    return result


def _measured(
    text: str, columns: Mapping[str, Column], by_hand: Callable[[], Floats]
) -> dict[str, float | bool]:
    formula = Formula.parse(text, UNITS)
    same = np.allclose(formula.evaluate(columns).values, by_hand(), rtol=1e-9, equal_nan=True)
    ours, plain = _median_ms(lambda: formula.evaluate(columns)), _median_ms(by_hand)
    return {
        "ms": round(ours, 3),
        "numpy_ms": round(plain, 3),
        "ratio": round(ours / plain, 2),
        "values_per_s": round(len(formula.names) * SAMPLES / ours * 1e3),
        "same": bool(same),
    }


def _median_ms(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        work()
        taken.append((time.perf_counter() - begin) * 1e3)
    return statistics.median(taken)


def monitor_error(folder: Path) -> dict[str, float]:
    """A battery monitor that shows the charge taken out since full, against our counting.

    49 minutes at the top of a charge: its SOC is 100 % throughout, so the finer figure is compared,
    as Ah and as % of an assumed 100 Ah (the capture does not tell the capacity).
    """
    rows = _rows(folder / "battery-vedirect-1s/bmv_712_smart_battery_monitor-001-decoded.csv.gz")
    rows = [row for row in rows if row["V"] and row["I"] and row["CE"]]
    times = START_MS + 1_000 * np.array([int(row["frame"]) for row in rows], np.int64)
    current = np.array([int(row["I"]) for row in rows]) / 1_000
    voltage = np.array([int(row["V"]) for row in rows]) / 1_000
    consumed = np.array([int(row["CE"]) for row in rows]) / 1_000
    percent = state_of_charge(
        times, holds_until(times, 2_000), current, voltage, Battery(100, 6, start=100)
    )
    shown = np.array([int(row["SOC"]) for row in rows]) / 10
    return {
        "rows": len(rows),
        "monitor_ah": round(float(-consumed.min()), 3),
        "mean_error_ah": round(float(np.abs(percent - 100 - consumed).mean()), 5),
        "mean_error_percent": round(float(np.abs(percent - shown).mean()), 4),
    }


def controller_error(folder: Path) -> dict[str, float]:
    """A charge controller that estimates the state of charge from voltage alone.

    Its own curve is learnt from the rest in one recording (a minute) and tried on the other
    (15 minutes, a month later). Capacity is not told: 7 Ah is assumed. What the battery gives is
    not measured. So this compares with an estimate, not with the truth.
    """
    learnt = _controller(folder, "tracer-1min-2020-04-19_21.csv.gz")
    resting = learnt["current"] == 0
    cell = np.round(learnt["voltage"][resting] / 6, 4)
    points = np.unique(cell)
    curve = [(float(v), float(np.median(learnt["shown"][resting][cell == v]))) for v in points]
    tried = _controller(folder, "tracer-15min-2020-05-17_20.csv.gz")
    result = {"rows": float(len(tried["times"]))}
    still = tried["current"] == 0
    for name, own in (("own_curve", curve), ("lead_acid", None)):
        battery = Battery(7, 6, curve=own)
        times = tried["times"].astype(np.int64)
        found = state_of_charge(
            times, holds_until(times, 900_000), tried["current"], tried["voltage"], battery
        )
        error = np.abs(found - tried["shown"])
        result[f"mean_error_{name}"] = round(float(np.nanmean(error)), 2)
        result[f"mean_error_at_rest_{name}"] = round(float(np.nanmean(error[still])), 2)
    return result


def _controller(folder: Path, name: str) -> dict[str, Floats]:
    rows = _rows(folder / "offgrid-pv-battery" / name)
    stamps = [datetime.fromisoformat(row["time"]).replace(tzinfo=UTC) for row in rows]
    return {
        "times": np.array([round(stamp.timestamp() * 1_000) for stamp in stamps], float),
        "current": np.array([float(row["battery_charge_a"]) for row in rows]),
        "voltage": np.array([float(row["battery_v"]) for row in rows]),
        "shown": 100 * np.array([float(row["soc_fraction"]) for row in rows]),
    }


def _rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

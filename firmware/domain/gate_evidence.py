"""What was measured of the devices of a wave and of those beside it, and how it went over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
from django.db import connection

from devices.telemetry import device_health
from devices.telemetry.device_health import HealthCount
from firmware.domain import gate_quarters
from firmware.domain.gate_windows import QUARTER_S, Windows
from firmware.gate.comparison import Bools, Floats, Int64s, Measure, Park
from firmware.gate.metrics import Metric
from firmware.gate.verdict import finite

HOUR_S: Final = 3600
DAY_S: Final = 86_400
_NEVER: Final = 2**53
# Roll-ups of a quarter are there some minutes after it; what arrives later still is missing then.
SETTLED: Final = timedelta(minutes=10)
# If more devices than this share wait for the roller, it is behind, and not they.
MOST_BEHIND: Final = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """A metric over the hours since the wave: means per device-day, None where nobody is known."""

    updated: tuple[float | None, ...]
    control: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """How the updated and the others went on: `hours` are starts in s since the Unix epoch."""

    hours: tuple[int, ...]
    lines: Mapping[Metric, Line]

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {
            "hours": list(self.hours),
            "lines": {
                metric.value: {"updated": list(line.updated), "control": list(line.control)}
                for metric, line in self.lines.items()
            },
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Course:
        """Read what `to_json` gave, or nothing."""
        lines = {
            Metric(metric): Line(tuple(line["updated"]), tuple(line["control"]))
            for metric, line in value.get("lines", {}).items()
        }
        return cls(tuple(value.get("hours", ())), lines)


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """The measures of a park, and their course."""

    measures: Mapping[Metric, Measure]
    course: Course


def is_behind(park: Park, windows: Windows) -> bool:
    """Whether roll-ups lag so far that the window cannot be judged yet."""
    late = device_health.behind_in_rollups(connection, _ids(park), windows.until)
    return len(late) > MOST_BEHIND * len(park.device)


def gather(park: Park, windows: Windows) -> Evidence:
    """Read everything that is stored of a park over some windows: some seven statements, and three
    for each 500 devices.
    """
    reader = _Reader(park, windows)
    for metric in (Metric.MISSING, Metric.RESETS, Metric.ERRORS):
        reader.read(metric)
    reader.read_quarters()
    return Evidence(
        reader.measures, Course(tuple(int(hour) for hour in reader.hours), reader.lines)
    )


class _Reader:
    """Adds up, metric by metric, what devices show in the past and in each hour after it."""

    def __init__(self, park: Park, windows: Windows) -> None:
        self.park = park
        self.windows = windows
        self.measures: dict[Metric, Measure] = {}
        self.lines: dict[Metric, Line] = {}
        begin, end = int(windows.begins_at.timestamp()), int(windows.until.timestamp())
        self.hours: Int64s = np.arange(begin // HOUR_S * HOUR_S, end, HOUR_S, dtype=np.int64)
        lengths = np.minimum(self.hours + HOUR_S, end) - np.maximum(self.hours, begin)
        self._days: Floats = lengths / DAY_S
        self._usual = {
            row.device_id: row
            for row in device_health.usual_hours(connection, _ids(park), windows.spans)
        }
        # A device without a first hour in the past has none.
        self._since: Int64s = np.array(
            [
                int(self._usual[device].first.timestamp()) if device in self._usual else _NEVER
                for device in _ids(park)
            ],
            np.int64,
        )

    def read(self, metric: Metric) -> None:
        """Read what is told by counts: RESETS brings the connections, too."""
        ids, spans = _ids(self.park), self.windows.spans
        if metric is Metric.MISSING:
            self._missing(device_health.hourly_values(connection, ids, spans))
        elif metric is Metric.ERRORS:
            self._count(metric, device_health.error_minutes(connection, ids, spans))
        else:
            connections, resets = device_health.connections_and_resets(connection, ids, spans)
            self._count(Metric.RECONNECTS, connections)
            self._count(Metric.RESETS, resets)

    def read_quarters(self) -> None:
        """Read what is told by roll-ups."""
        late = device_health.behind_in_rollups(connection, _ids(self.park), self.windows.until)
        behind = np.isin(self.park.device, sorted(late))
        found = gate_quarters.read(self.park.device, self._since, behind, self.windows)
        self.measures |= found.measures
        begin = int(self.windows.begins_at.timestamp())
        quarters = next(iter(found.course.values()))[0].shape[1]
        hour = (begin + QUARTER_S * np.arange(quarters)) // HOUR_S - self.hours[0] // HOUR_S
        into = np.zeros((quarters, len(self.hours)))
        into[np.arange(quarters), hour] = 1
        for metric, (amount, exposure) in found.course.items():
            self._line(metric, amount @ into, exposure @ into)

    def _count(self, metric: Metric, counts: Iterable[HealthCount]) -> None:
        past, after = self._spread(counts)
        known = np.where(self._past_days > 0, 1.0, 0.0)
        exposure: Floats = known[:, None] * self._days
        self.measures[metric] = Measure(
            amount=after.sum(axis=1) * known,
            exposure=exposure.sum(axis=1),
            past_amount=past,
            past_exposure=self._past_days,
        )
        self._line(metric, after * known[:, None], exposure)

    def _missing(self, counts: Iterable[HealthCount]) -> None:
        """Minutes' worth of values that have not arrived, of what an hour of the past has brought.

        Over the whole window, so that what was late and came meanwhile is not missing.
        """
        _, values = self._spread(counts)
        usual = np.array(
            [
                self._usual[device].median if device in self._usual else 0.0
                for device in _ids(self.park)
            ]
        )
        before = np.array(
            [
                self._usual[device].values if device in self._usual else 0
                for device in _ids(self.park)
            ],
            np.float64,
        )
        whole = self._days >= HOUR_S / DAY_S
        known = usual > 0
        per_hour = np.where(known, usual, 1.0)
        hours = int(whole.sum())
        past_hours = self._past_hours()
        lacking = np.maximum(0.0, hours - values[:, whole].sum(axis=1) / per_hour)
        self.measures[Metric.MISSING] = Measure(
            amount=60 * lacking * known,
            exposure=known.astype(np.float64) * (hours / 24),
            past_amount=60 * np.maximum(0.0, past_hours - before / per_hour) * known,
            past_exposure=past_hours / 24 * known,
        )
        missed = 60 * np.maximum(0.0, 1 - values / per_hour[:, None]) * known[:, None]
        self._line(Metric.MISSING, missed * whole, known[:, None] * whole / 24)

    def _spread(self, counts: Iterable[HealthCount]) -> tuple[Floats, Floats]:
        """Counts of the past, (n,), and of each hour after it, (n, hours)."""
        place = {device: index for index, device in enumerate(_ids(self.park))}
        past = np.zeros(len(self.park.device))
        after = np.zeros((len(self.park.device), len(self.hours)))
        for count in counts:
            if count.hour is None:
                past[place[count.device_id]] = count.count
            else:
                hour = (int(count.hour.timestamp()) - int(self.hours[0])) // HOUR_S
                after[place[count.device_id], hour] = count.count
        return past, after

    @property
    def _past_days(self) -> Floats:
        """How much of the past each device was there, in days."""
        days = np.zeros(len(self.park.device))
        for start, end in self.windows.past:
            begin = np.maximum(int(start.timestamp()), self._since)
            days += np.maximum(0, int(end.timestamp()) - begin) / DAY_S
        return days

    def _past_hours(self) -> Floats:
        """The same in whole hours."""
        hours = np.zeros(len(self.park.device))
        for start, end in self.windows.past:
            first = -(-int(start.timestamp()) // HOUR_S) * HOUR_S
            begin = np.maximum(first, self._since)
            hours += np.maximum(0, int(end.timestamp()) // HOUR_S * HOUR_S - begin) // HOUR_S
        return hours

    def _line(self, metric: Metric, amount: Floats, exposure: Floats) -> None:
        def means(who: Bools) -> tuple[float | None, ...]:
            days = exposure[who].sum(axis=0)
            return tuple(
                finite(float(total / length)) if length > 0 else None
                for total, length in zip(amount[who].sum(axis=0), days, strict=True)
            )

        self.lines[metric] = Line(means(self.park.updated), means(~self.park.updated))


def _ids(park: Park) -> list[int]:
    return [int(device) for device in park.device]

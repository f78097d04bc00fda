"""What a correction, or its withdrawal, would change: computed as it would be read, not written.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from django.db import connection
from numpy.typing import NDArray

from devices.domain.corrections_checks import Draft, checked
from devices.domain.series_bounds import zone_named
from devices.models import Channel
from devices.telemetry.corrected_reads import Changes, read_corrected
from devices.telemetry.corrections import Corrected, Window, concerned, joined
from devices.telemetry.periods import Resolution, edges
from devices.telemetry.rollup import QUARTER_MS, Quarters, no_quarters, roll
from devices.telemetry.rollup_samples import Kind as SeriesKind
from devices.telemetry.rollup_samples import Samples, Series, reach_ms
from devices.telemetry.segment import Readings
from devices.telemetry.segment_store import moment
from devices.telemetry.series import Curve, Periods, curve_of, put_together, thinned

# Of a longer correction its beginning is shown: every reading is computed twice.
MOST_SHOWN: Final = timedelta(days=31)
# Points of each curve.
POINTS: Final = 600
_NOTHING: Final = Corrected(
    Readings(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))
)

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DayChange:
    """A local day, or the part of it that is shown, before and after.

    `value` is energy in Wh where `in_energy`, else the mean in the channel's unit; None where
    nothing is known. `coverage` 0 … 1.
    """

    starts_at: datetime
    ends_at: datetime
    value_before: float | None
    value_after: float | None
    coverage_before: float
    coverage_after: float


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """What would change of a channel. Of what is shown: readings before and after, those among all
    of them that change, come or go, and the values of days and of all of it; `cut` says that the
    correction concerns more than is shown. `offset` is what the draft's came to, in the unit.
    """

    channel_id: int
    unit: str
    zone: str
    in_energy: bool
    offset: float | None
    starts_at: datetime
    ends_at: datetime
    cut: bool
    readings_before: int
    readings_after: int
    changed: int
    value_before: float | None
    value_after: float | None
    days: tuple[DayChange, ...]
    before: Curve
    after: Curve


def preview(*, draft: Draft, now: datetime) -> Preview:
    """What a correction would change. Raises what `checked` raises."""
    sound = checked(draft, now=now)
    windows = concerned(sound.layer, [*sound.standing, sound.layer])
    offset = None if sound.offset is None else float(sound.offset)
    changes = Changes(added={sound.key: [sound.layer]})
    return compared(sound.channel, sound.series, windows, Changes(), changes, offset=offset)


def compared(
    channel: Channel,
    series: Series,
    windows: Sequence[Window],
    before: Changes,
    after: Changes,
    *,
    offset: float | None = None,
) -> Preview:
    """A channel in some windows under two suppositions about its corrections."""
    shown = _first_of(windows)
    sides = [_Side.read(channel, series, shown, changes) for changes in (before, after)]
    kind = series.kind
    total = [side.value(kind) for side in sides]
    return Preview(
        channel_id=channel.pk,
        unit="Wh" if kind is not SeriesKind.NONE else channel.unit,
        zone=channel.device.facility.time_zone,
        in_energy=kind is not SeriesKind.NONE,
        offset=offset,
        starts_at=moment(shown[0][0]),
        ends_at=moment(shown[-1][1]),
        cut=shown[-1][1] < max(end for _, end in windows),
        readings_before=len(sides[0].readings),
        readings_after=len(sides[1].readings),
        changed=_changed(sides[0].readings, sides[1].readings),
        value_before=total[0],
        value_after=total[1],
        days=_days(sides[0].days, sides[1].days, kind),
        before=sides[0].curve,
        after=sides[1].curve,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """A channel under one supposition, in the windows that are shown."""

    readings: Readings
    curve: Curve
    days: Periods

    def value(self, kind: SeriesKind) -> float | None:
        """The energy of all, or the mean of what was measured; None where nothing is known."""
        if kind is not SeriesKind.NONE:
            known = self.days.energy[~np.isnan(self.days.energy)]
            return float(known.sum()) if len(known) else None
        held = self.days.coverage * (self.days.ends - self.days.starts)
        return float((self.days.mean * held).sum() / held.sum()) if held.sum() else None

    @staticmethod
    def read(
        channel: Channel, series: Series, windows: Sequence[Window], changes: Changes
    ) -> _Side:
        reach = reach_ms(series.step_ms)
        zone = zone_named(channel.device.facility.time_zone)
        inside: list[Readings] = []
        periods: list[Periods] = []
        for start, end in windows:
            found = read_corrected(
                connection,
                [channel.device_id],
                moment(start - reach),
                moment(end + reach),
                channels=[channel.number],
                changes=changes,
            )
            corrected = found.get(channel.device_id, {}).get(channel.number, _NOTHING)
            inside.append(corrected.between(start, end).readings)
            borders = edges(Resolution.DAY, start, end, zone)
            periods.append(put_together(_rolled(corrected, series, (start, end)), borders))
        readings = Readings(
            *(np.concatenate([getattr(one, name) for one in inside]) for name in Readings.__slots__)
        )
        curve = thinned(curve_of(readings, series), POINTS)
        return _Side(readings, curve, _joined_periods(periods))


def _rolled(found: Corrected, series: Series, window: Window) -> Quarters:
    readings = found.readings
    if not len(readings):
        return no_quarters()
    nothing = np.zeros(len(readings), np.int64)
    rolled = roll(Samples(nothing, readings.times, nothing, readings.raw, found.lift), [series])
    return rolled.only((rolled.starts >= window[0]) & (rolled.starts < window[1]))


def _first_of(windows: Sequence[Window]) -> list[Window]:
    """As much of windows, widened to quarters of an hour, as is shown."""
    left = MOST_SHOWN // timedelta(milliseconds=1)
    found: list[Window] = []
    for start, end in joined(_quarters(one) for one in windows):
        if left <= 0:
            break
        found.append((start, min(end, start + left)))
        left -= end - start
    return found


def _quarters(window: Window) -> Window:
    return window[0] // QUARTER_MS * QUARTER_MS, -(-window[1] // QUARTER_MS) * QUARTER_MS


def _joined_periods(parts: Sequence[Periods]) -> Periods:
    return Periods(
        *(np.concatenate([getattr(one, name) for one in parts]) for name in Periods.__slots__)
    )


def _changed(before: Readings, after: Readings) -> int:
    """How many instants have another reading, or one at one side only."""
    _, left, right = np.intersect1d(
        before.times, after.times, assume_unique=True, return_indices=True
    )
    same = int((before.raw[left] == after.raw[right]).sum())
    return len(before) + len(after) - len(left) - same


def _days(before: Periods, after: Periods, kind: SeriesKind) -> tuple[DayChange, ...]:
    rows = [_by_start(side, kind) for side in (before, after)]
    nothing = (None, 0.0)
    return tuple(
        DayChange(
            moment(start),
            moment(end),
            rows[0].get((start, end), nothing)[0],
            rows[1].get((start, end), nothing)[0],
            rows[0].get((start, end), nothing)[1],
            rows[1].get((start, end), nothing)[1],
        )
        for start, end in sorted({*rows[0], *rows[1]})
    )


def _by_start(of: Periods, kind: SeriesKind) -> dict[tuple[int, int], tuple[float | None, float]]:
    values = of.mean if kind is SeriesKind.NONE else of.energy
    return {
        (start, end): (None if value != value else value, coverage)
        for start, end, value, coverage in zip(
            of.starts.tolist(), of.ends.tolist(), values.tolist(), of.coverage.tolist(), strict=True
        )
    }

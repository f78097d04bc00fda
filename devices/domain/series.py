"""The one way to a channel's history: channels x period x resolution x as-of.

Charts, the API, exports and bills ask here. Needs an open scope and sees what it holds.

Readings come from frames and segments, under the corrections that stand; hours, days and months
are put together from quarters of an hour in the calendar of the facility. As of an instant
everything is computed from what was known by then: exact, but as slow as reading it all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection

from devices.domain.catalogue import ChannelNotFound
from devices.domain.rollups import series_of
from devices.domain.series_bounds import (
    DEFAULT_POINTS,
    MOST_ROWS,
    Bounds,
    SeriesRefusedError,
    checked,
    zone_named,
)
from devices.domain.series_derived import derived_curves, derived_quarters, inputs_of
from devices.domain.series_estimates import Place, estimates_of, refuse_estimates
from devices.domain.series_stored import stored_periods
from devices.models import Channel
from devices.protocol.data import Int64s
from devices.telemetry.corrected_reads import read_corrected
from devices.telemetry.corrections import Corrected
from devices.telemetry.estimates import PeriodEstimates
from devices.telemetry.periods import Reason, Resolution, chosen, edges
from devices.telemetry.rollup import Quarters, no_quarters, roll
from devices.telemetry.rollup_samples import Kind, Samples, Series, reach_ms
from devices.telemetry.segment_store import moment
from devices.telemetry.series import Curve, Periods, curve_of, put_together, thinned

# Readings that are quick enough for AUTO, in hours of one channel: a day of eight channels.
QUICK_HOURS: Final = 8 * 24
# What local days are kept for.
_OF_DAYS: Final = (Resolution.DAY, Resolution.MONTH)


@dataclass(frozen=True, slots=True)
class ChannelFacts:
    """What a channel is; `resolution` is the smallest step of `unit`, `zone` its facility's.

    `derived`: it is computed from others; `corrected`: it was, at some time.
    """

    channel_id: int
    device_id: int
    facility_id: int
    number: int
    key: str
    name: str
    quantity: str
    unit: str
    resolution: Decimal
    step_ms: int
    zone: str
    derived: bool = False
    corrected: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ChannelSeries:
    """The history of one channel: a `curve` for RAW, else `periods`; `estimates` where they were
    asked for.
    """

    channel: ChannelFacts
    curve: Curve | None = None
    periods: Periods | None = None
    estimates: PeriodEstimates | None = None

    def __len__(self) -> int:
        """How many points or periods it has."""
        columns = self.curve or self.periods
        return 0 if columns is None else len(columns.gap_before)


@dataclass(frozen=True, slots=True, eq=False)
class SeriesResult:
    """An answer: `resolution` is never AUTO, `reason` says why it was chosen.

    Periods cover [start, end), widened to full quarters of an hour; `channels` as asked for.
    """

    start: datetime
    end: datetime
    resolution: Resolution
    reason: Reason
    as_of: datetime | None
    channels: tuple[ChannelSeries, ...]


def read_series(
    *,
    channels: Sequence[int] | Sequence[tuple[int, int]],
    start: datetime,
    end: datetime,
    resolution: Resolution = Resolution.AUTO,
    points: int | None = None,
    as_of: datetime | None = None,
    zone: str | None = None,
    estimate: bool = False,
) -> SeriesResult:
    """The history of channels, given by their ids or as (device, number), in [start, end).

    `points`: for AUTO how many are wanted (500 unless given), for RAW how many a curve may have.
    `as_of`: what was known at that instant. `zone`: the calendar, instead of each facility's own.
    `estimate`: tell, beside what was measured, an estimate of the energy that was not; not for RAW.

    Takes two queries and, for RAW, one more; one more for days and months, of which those that are
    kept are read apart (for each calendar where there are several); four as of an instant; a few
    more for derived ones and for those that were corrected; many channels over a long
    time are read a million quarters at a time. Raises ChannelNotFound, and SeriesRefusedError for a
    period, number or zone that cannot be answered.
    """
    bounds = checked(start, end, points=points, as_of=as_of)
    facts = _facts(channels)
    if not facts:
        return SeriesResult(start, end, resolution, Reason.ASKED, as_of, ())
    zones = {one.zone: zone_named(zone or one.zone) for one in facts}
    reason = Reason.ASKED
    if resolution is Resolution.AUTO:
        resolution, reason = chosen(
            bounds.start_ms,
            bounds.end_ms,
            zones[facts[0].zone],
            points=points or DEFAULT_POINTS,
            raw_is_quick=not estimate and bounds.hours * _to_be_read(facts, bounds) <= QUICK_HOURS,
        )
    if estimate:
        refuse_estimates(bounds, channels=len(facts), raw=resolution is Resolution.RAW)
    if resolution is Resolution.RAW:
        found = _curves(facts, bounds, points)
    else:
        start, end = moment(bounds.start_ms), moment(bounds.end_ms)
        found = list(_periods(facts, bounds, resolution, zones))
        if estimate:
            found = _estimated(found, bounds, resolution, zones)
    return SeriesResult(start, end, resolution, reason, as_of, tuple(found))


def read_channel(
    *,
    channel_id: int,
    start: datetime,
    end: datetime,
    resolution: Resolution = Resolution.AUTO,
    points: int | None = None,
    as_of: datetime | None = None,
    estimate: bool = False,
) -> SeriesResult:
    """`read_series` of one channel for an answer of bounded length: what has more than MOST_ROWS
    rows raises SeriesRefusedError, too.
    """
    found = read_series(
        channels=[channel_id],
        start=start,
        end=end,
        resolution=resolution,
        points=points,
        as_of=as_of,
        estimate=estimate,
    )
    rows = len(found.channels[0])
    if rows > MOST_ROWS:
        way = "fewer points" if found.resolution is Resolution.RAW else "a coarser resolution"
        raise SeriesRefusedError(
            "end",
            f"The answer would have {rows} rows, and at most {MOST_ROWS} are sent at once: ask for"
            f" a shorter period or for {way}.",
        )
    return found


def channel_facts(channels: Sequence[int]) -> list[ChannelFacts]:
    """What channels are, in the order asked for; one query. Raises ChannelNotFound."""
    return _facts(channels)


def _facts(channels: Sequence[int] | Sequence[tuple[int, int]]) -> list[ChannelFacts]:
    """The channels in the order asked for; one query."""
    rows = Channel.objects.all()
    ids = [one for one in channels if isinstance(one, int)]
    pairs = [one for one in channels if not isinstance(one, int)]
    if ids:
        rows = rows.filter(pk__in=ids)
    else:
        rows = rows.filter(
            device_id__in={device_id for device_id, _ in pairs},
            number__in={number for _, number in pairs},
        )
    found: dict[int | tuple[int, int], ChannelFacts] = {}
    for row in rows.values_list(
        "pk", "device_id", "device__facility_id", "number", "key", "name", "quantity", "unit",
        "resolution", "device__device_type__step_ms", "device__facility__time_zone", "derived",
        "corrected",
    ):  # fmt: skip
        one = ChannelFacts(*row)
        found[one.channel_id if ids else (one.device_id, one.number)] = one
    for wanted in channels:
        if wanted not in found:
            raise ChannelNotFound(f"channel {wanted}")
    return [found[wanted] for wanted in channels]


def _to_be_read(facts: Sequence[ChannelFacts], bounds: Bounds) -> int:
    """How many measured channels the readings of some channels come from."""
    derived = [one for one in facts if one.derived]
    return len(facts) - len(derived) + (inputs_of(derived, bounds) if derived else 0)


def _readings(
    facts: Sequence[ChannelFacts], start: datetime, end: datetime, as_of: datetime | None
) -> Iterator[tuple[ChannelFacts, Corrected]]:
    """The readings in [start, end) that counted at `as_of`, of the channels that have any."""
    numbers: dict[int, set[int]] = {}
    for one in facts:
        numbers.setdefault(one.device_id, set()).add(one.number)
    if not facts:
        return
    found = read_corrected(
        connection,
        sorted(numbers),
        start,
        end,
        channels_of=numbers,
        corrected_devices={one.device_id for one in facts if one.corrected},
        as_of=as_of,
    )
    for one in facts:
        corrected = found.get(one.device_id, {}).get(one.number)
        if corrected is not None:
            yield one, corrected


def _curves(
    facts: Sequence[ChannelFacts], bounds: Bounds, points: int | None
) -> list[ChannelSeries]:
    bounds.refuse_long_raw(len(facts))
    nothing = Curve(np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))
    curves = {}
    measured = [one for one in facts if not one.derived]
    for one, found in _readings(measured, bounds.start, bounds.end, bounds.as_of):
        series = Series(one.device_id, one.number, one.resolution, Kind.NONE, one.step_ms)
        curves[one.channel_id] = curve_of(found.readings, series)
    if len(measured) < len(facts):
        curves |= derived_curves([one for one in facts if one.derived], bounds)
    if points is not None:
        curves = {channel_id: thinned(curve, points) for channel_id, curve in curves.items()}
    return [ChannelSeries(one, curve=curves.get(one.channel_id, nothing)) for one in facts]


def _periods(
    facts: Sequence[ChannelFacts],
    bounds: Bounds,
    resolution: Resolution,
    zones: Mapping[str, ZoneInfo],
) -> Iterator[ChannelSeries]:
    chains = {
        name: _chain(resolution, bounds.start_ms, bounds.end_ms, zone)
        for name, zone in zones.items()
    }
    if bounds.as_of is not None:
        for one, quarters in _computed(facts, bounds):
            yield ChannelSeries(one, periods=put_together(quarters, *chains[one.zone]))
        return
    bounds.refuse_many_quarters(len(facts))
    found: dict[tuple[int, int], Periods] = {}
    for name, chain in chains.items():
        channels = [(one.device_id, one.number) for one in facts if one.zone == name]
        found |= stored_periods(channels, chain, has_days=resolution in _OF_DAYS)
    nothing = put_together(no_quarters(), np.array([bounds.start_ms, bounds.end_ms]))
    for one in facts:
        yield ChannelSeries(one, periods=found.get((one.device_id, one.number), nothing))


def _estimated(
    found: Sequence[ChannelSeries],
    bounds: Bounds,
    resolution: Resolution,
    zones: Mapping[str, ZoneInfo],
) -> list[ChannelSeries]:
    borders = {
        name: edges(resolution, bounds.start_ms, bounds.end_ms, zone)
        for name, zone in zones.items()
    }
    places = [
        Place(one.device_id, one.number, zones[one.zone], borders[one.zone])
        for one in (each.channel for each in found)
    ]
    return [
        replace(one, estimates=estimates)
        for one, estimates in zip(found, estimates_of(places, bounds), strict=True)
    ]


def _chain(resolution: Resolution, start_ms: int, end_ms: int, zone: ZoneInfo) -> list[Int64s]:
    """The edges of the periods, before them those of the periods that they are made of."""
    steps = (Resolution.DAY, Resolution.MONTH) if resolution is Resolution.MONTH else (resolution,)
    return [edges(step, start_ms, end_ms, zone) for step in steps]


def _computed(
    facts: Sequence[ChannelFacts], bounds: Bounds
) -> Iterator[tuple[ChannelFacts, Quarters]]:
    """Roll-ups of what was known at an instant."""
    bounds.refuse_long_raw(len(facts))
    kept = series_of(sorted({one.device_id for one in facts}))
    wanted = {
        (series.device_id, series.number): series for group in kept.values() for series in group
    }
    measured = [one for one in facts if not one.derived]
    reach = timedelta(milliseconds=max(reach_ms(one.step_ms) for one in facts))
    start, end = moment(bounds.start_ms) - reach, moment(bounds.end_ms) + reach
    rolled = {
        one.channel_id: _rolled(found, wanted[one.device_id, one.number], bounds)
        for one, found in _readings(measured, start, end, bounds.as_of)
    }
    if len(measured) < len(facts):
        rolled |= derived_quarters([one for one in facts if one.derived], bounds)
    for one in facts:
        yield one, rolled.get(one.channel_id, no_quarters())


def _rolled(found: Corrected, series: Series, bounds: Bounds) -> Quarters:
    readings = found.readings
    if not len(readings):
        return no_quarters()
    nothing = np.zeros(len(readings), np.int64)
    rolled = roll(Samples(nothing, readings.times, nothing, readings.raw, found.lift), [series])
    return rolled.only((rolled.starts >= bounds.start_ms) & (rolled.starts < bounds.end_ms))

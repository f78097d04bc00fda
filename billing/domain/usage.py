"""What agreements used, from the roll-ups of their meters, for many agreements at once.

An interval is a quarter of an hour. What its roll-up tells in Wh (a double) is rounded once, to an
integer of mWh, half to even; shares of it are whole as well (`meters.part_of`). Of a power, import
is what flowed forwards and export what flowed back; of a register it is what it counted.

A quarter that was measured for less than 99 % is estimated by the rules of
`devices/telemetry/estimates.py`, and then counts as estimated; what cannot be is missing, and then
only what was measured of it counts. An interval is as well known as the least known of its meters;
one without any is missing. Reactive energy is not estimated.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection

from billing.domain.calendars import midnight
from billing.domain.meters import Metered, Stretch, meters_of, part_of, stretches_of
from billing.models import Agreement, Flow
from billing.tariffs.values import Int64s, Qualities, Quality, Usage
from devices.domain.series import read_series
from devices.domain.series_bounds import checked
from devices.domain.series_estimates import MOST_QUARTERS, total_estimates
from devices.telemetry.estimates import COMPLETE, HISTORY_MS
from devices.telemetry.periods import Resolution
from devices.telemetry.quarter_reads import Span, read_quarters, series_key
from devices.telemetry.rollup import QUARTER_MS, Floats
from devices.telemetry.rollup_store import Source
from devices.telemetry.segment_store import milliseconds, moment
from devices.telemetry.series_reads import groups

STEP_S: Final = QUARTER_MS // 1000
# As of an instant at most this much of a channel is read at once.
_AT_ONCE: Final = timedelta(days=28)
_POWERS: Final = frozenset({"active_power", "reactive_power"})
_HOURS: Final = QUARTER_MS / 3_600_000


@dataclass(frozen=True, slots=True, eq=False)
class _Quarters:
    """Roll-ups of a channel, (n,) each, rising: energies in Wh, `mean` and `last` in its unit."""

    starts: Int64s
    mean: Floats
    last: Floats
    energy: Floats
    returned: Floats
    coverage: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Column:
    """A channel in one direction, by quarters from `first_ms` on: mWh and how they are known."""

    first_ms: int
    milliwh: Int64s
    quality: Qualities


@dataclass(frozen=True, slots=True)
class _Place:
    """An agreement in [start_ms, end_ms) and its calendar."""

    agreement_id: int
    zone: str
    start_ms: int
    end_ms: int


class _Key(NamedTuple):
    """A channel in one direction in [start_ms, end_ms). Where a gap is cut off decides about its
    estimate: so each agreement's own time counts, whoever else is asked for.
    """

    channel_id: int
    flow: Flow
    start_ms: int
    end_ms: int


def usage_of(
    agreement_ids: Sequence[int],
    *,
    first: date,
    end: date,
    known_at: datetime | None = None,
    estimate: bool = True,
) -> dict[int, Usage]:
    """The use of agreements on the days [first, end) of their calendars, as far as they hold then;
    every quarter is there, also what is missing. An agreement of none of the days is left out.

    `known_at`: what was known at that instant; then every reading is read, and nothing estimated.
    Three queries, one more where meters are shared, two for every 35 channel-months of which
    something is missing. Raises SeriesRefusedError for a time that cannot be read.
    """
    return usage_between(
        [(agreement_id, first, end) for agreement_id in agreement_ids],
        known_at=known_at,
        estimate=estimate,
    )


def usage_between(
    wanted: Sequence[tuple[int, date, date]],
    *,
    known_at: datetime | None = None,
    estimate: bool = True,
) -> dict[int, Usage]:
    """`usage_of` with days for each agreement: (agreement, first, end), each agreement once."""
    places = _places({agreement_id: (first, end) for agreement_id, first, end in wanted})
    if not places:
        return {}
    begin, stop = min(one.start_ms for one in places), max(one.end_ms for one in places)
    meters = meters_of([one.agreement_id for one in places], start=moment(begin), end=moment(stop))
    chosen = [one for some in meters.values() for one in some]
    stretches = stretches_of(chosen)
    keys = _keys(chosen, {one.agreement_id: one for one in places})
    zones = {one.agreement_id: one.zone for one in places}
    columns = _columns(
        {keys[one.id]: one for one in chosen if one.id in keys},
        zones,
        known_at=known_at,
        estimate=estimate,
    )
    found = {}
    for place in places:
        own = [one for one in meters.get(place.agreement_id, []) if one.id in keys]
        found[place.agreement_id] = _usage(
            place, [(one, stretches[one.id], columns[keys[one.id]]) for one in own]
        )
    return found


def _places(wanted: Mapping[int, tuple[date, date]]) -> list[_Place]:
    rows = Agreement.objects.filter(pk__in=list(wanted)).order_by("pk")
    instants: dict[tuple[date, str], int] = {}

    def at(day: date, zone: str) -> int:
        if (day, zone) not in instants:
            instants[day, zone] = milliseconds(midnight(day, zone))
        return instants[day, zone]

    found = []
    for pk, zone, starts_on, ends_on in rows.values_list(
        "pk", "facility__time_zone", "starts_on", "ends_on"
    ):
        first, end = wanted[pk]
        first, end = max(first, starts_on), min(end, ends_on or end)
        if first < end:
            found.append(_Place(pk, zone, at(first, zone), at(end, zone)))
    return found


def _keys(chosen: Sequence[Metered], places: Mapping[int, _Place]) -> dict[int, _Key]:
    """By meter what has to be known of its channel."""
    found = {}
    for one in chosen:
        place = places[one.agreement_id]
        start, end = max(one.start_ms, place.start_ms), min(one.end_ms, place.end_ms)
        if start < end:
            found[one.id] = _Key(one.channel_id, one.flow, start, end)
    return found


def _columns(
    channels: Mapping[_Key, Metered],
    zones: Mapping[int, str],
    *,
    known_at: datetime | None,
    estimate: bool,
) -> dict[_Key, _Column]:
    quarters = _stored(channels) if known_at is None else _known(channels, known_at)
    nothing = np.empty(0)
    none = _Quarters(np.empty(0, np.int64), *([nothing] * 5))
    columns = {}
    short: dict[tuple[str, int, int], list[_Key]] = defaultdict(list)
    for key, meter in channels.items():
        column = _column(meter, quarters.get(meter.channel_id, none), key)
        columns[key] = column
        if estimate and known_at is None and _can_be_estimated(meter) and column.quality.any():
            short[zones[meter.agreement_id], key.start_ms, key.end_ms].append(key)
    for (zone, start_ms, end_ms), keys in short.items():
        some = {key: channels[key] for key in keys}
        for key, starts, wh in _estimates(some, start_ms, end_ms, zone):
            columns[key] = _with_estimates(columns[key], starts, wh)
    return columns


def _stored(channels: Mapping[_Key, Metered]) -> dict[int, _Quarters]:
    """The roll-ups of channels by their ids; one query."""
    ids = {series_key(one.device_id, one.number): one.channel_id for one in channels.values()}
    spans = _spans((one.device_id, key) for key, one in channels.items())
    found = read_quarters(
        connection, [Span(device_id, *span) for device_id, span in spans.items()], series=ids
    )
    return {
        ids[int(found.series[begin])]: _Quarters(
            found.starts[begin:after],
            found.mean[begin:after],
            found.last[begin:after],
            found.energy[begin:after],
            found.returned[begin:after],
            found.coverage[begin:after],
        )
        for begin, after in groups(found.series)
        if begin < after
    }


def _known(channels: Iterable[_Key], known_at: datetime) -> dict[int, _Quarters]:
    """The same as they were known at an instant."""
    spans = _spans((key.channel_id, key) for key in channels)
    return {
        channel_id: _as_of(channel_id, moment(start), moment(end), known_at)
        for channel_id, (start, end) in spans.items()
    }


def _spans(wanted: Iterable[tuple[int, _Key]]) -> dict[int, tuple[int, int]]:
    """From when until when something has to be read, of all its keys together."""
    found: dict[int, tuple[int, int]] = {}
    for of, key in wanted:
        # A register that nobody rolls up counts from the last reading before.
        start = key.start_ms - (QUARTER_MS if key.flow is Flow.REACTIVE else 0)
        before = found.get(of, (start, key.end_ms))
        found[of] = min(start, before[0]), max(key.end_ms, before[1])
    return found


def _as_of(channel_id: int, start: datetime, end: datetime, known_at: datetime) -> _Quarters:
    parts = []
    while start < end:
        until = min(end, start + _AT_ONCE)
        answer = read_series(
            channels=[channel_id],
            start=start,
            end=until,
            resolution=Resolution.QUARTER,
            as_of=known_at,
        )
        parts.append(answer.channels[0].periods)
        start = until
    return _Quarters(
        *(
            np.concatenate([getattr(one, name) for one in parts if one is not None])
            for name in ("starts", "mean", "last", "energy", "returned", "coverage")
        )
    )


def _column(meter: Metered, found: _Quarters, key: _Key) -> _Column:
    """A channel on the grid of its time."""
    start_ms = key.start_ms
    count = (key.end_ms - start_ms) // QUARTER_MS
    wh, coverage = _wh(meter, found)
    place = (found.starts - start_ms) // QUARTER_MS
    known = (place >= 0) & (place < count) & ~np.isnan(wh)
    milliwh = np.zeros(count, np.int64)
    quality = np.full(count, Quality.MISSING, np.uint8)
    place = place[known]
    milliwh[place] = np.rint(wh[known] * 1000).astype(np.int64)
    quality[place[coverage[known] >= COMPLETE]] = Quality.MEASURED
    return _Column(start_ms, milliwh, quality)


def _wh(meter: Metered, found: _Quarters) -> tuple[Floats, Floats]:
    """What quarters tell in the direction of a meter, in Wh or varh (NaN for nothing), and how much
    of them is known.
    """
    if meter.flow is Flow.REACTIVE:
        return _varh(meter, found)
    if meter.quantity not in _POWERS:
        return found.energy, found.coverage
    # The energy of a power is that of both directions together.
    back = np.nan_to_num(found.returned)
    return (back if meter.flow is Flow.EXPORT else found.energy + back), found.coverage


def _varh(meter: Metered, found: _Quarters) -> tuple[Floats, Floats]:
    """Reactive energy, which roll-ups do not count: of a power its mean where it was drawn, of a
    register what lies between the last readings of two quarters in a row.
    """
    if meter.quantity in _POWERS:
        return np.maximum(found.mean, 0.0) * found.coverage * _HOURS, found.coverage
    steps = np.diff(found.last, prepend=np.nan)
    follows = np.diff(found.starts, prepend=0) == QUARTER_MS
    # A register that falls was set anew: nothing is known of the step.
    return np.where(follows & (steps >= 0), steps, np.nan), found.coverage


def _can_be_estimated(meter: Metered) -> bool:
    return not meter.derived and meter.flow is not Flow.REACTIVE


def _estimates(
    channels: Mapping[_Key, Metered], start_ms: int, end_ms: int, zone: str
) -> Iterator[tuple[_Key, Int64s, Floats]]:
    """Of channels the quarters that were estimated, and the Wh to be added to each."""
    bounds = checked(moment(start_ms), moment(end_ms), points=None, as_of=None)
    edges = np.arange(start_ms, end_ms + 1, QUARTER_MS, dtype=np.int64)
    most = max(1, MOST_QUARTERS // (bounds.quarters + HISTORY_MS // QUARTER_MS) - 1)
    every = list(channels.items())
    for some in (every[at : at + most] for at in range(0, len(every), most)):
        keys = {str(number): key for number, (key, _meter) in enumerate(some)}
        sources = [
            Source(0, meter.device_id, meter.number, str(number), _part(meter))
            for number, (_key, meter) in enumerate(some)
        ]
        for name, found in total_estimates(sources, bounds, ZoneInfo(zone), edges).items():
            yield keys[name], found.starts, found.wh


def _part(meter: Metered) -> str:
    if meter.quantity not in _POWERS:
        return "energy"
    return "returned" if meter.flow is Flow.EXPORT else "forward"


def _with_estimates(column: _Column, starts: Int64s, wh: Floats) -> _Column:
    place = (starts - column.first_ms) // QUARTER_MS
    milliwh, quality = column.milliwh.copy(), column.quality.copy()
    milliwh[place] += np.rint(wh * 1000).astype(np.int64)
    quality[place] = Quality.ESTIMATED
    return _Column(column.first_ms, milliwh, quality)


def _usage(place: _Place, meters: Sequence[tuple[Metered, Sequence[Stretch], _Column]]) -> Usage:
    starts = np.arange(place.start_ms, place.end_ms, QUARTER_MS, dtype=np.int64)
    sums = {flow: np.zeros(len(starts), np.int64) for flow in Flow}
    quality = np.zeros(len(starts), np.uint8)
    metered = np.zeros(len(starts), np.bool_)
    for meter, stretches, column in meters:
        for stretch in stretches:
            to, of = _where(place, stretch, column)
            if to.start >= to.stop:
                continue
            sums[meter.flow][to] += part_of(column.milliwh[of], stretch)
            if meter.flow is not Flow.REACTIVE:
                quality[to] = np.maximum(quality[to], column.quality[of])
                metered[to] = True
    quality[~metered] = Quality.MISSING
    is_reactive = any(meter.flow is Flow.REACTIVE for meter, *_ in meters)
    return Usage(
        STEP_S,
        starts // 1000,
        sums[Flow.IMPORT],
        sums[Flow.EXPORT],
        quality,
        sums[Flow.REACTIVE] if is_reactive else None,
    )


def _where(place: _Place, stretch: Stretch, column: _Column) -> tuple[slice, slice]:
    """Where a stretch lies among the intervals of an agreement, and in the column."""
    end_ms = column.first_ms + len(column.milliwh) * QUARTER_MS
    begin = max(stretch.start_ms, column.first_ms)
    stop = max(begin, min(stretch.end_ms, end_ms))
    return (
        slice((begin - place.start_ms) // QUARTER_MS, (stop - place.start_ms) // QUARTER_MS),
        slice((begin - column.first_ms) // QUARTER_MS, (stop - column.first_ms) // QUARTER_MS),
    )

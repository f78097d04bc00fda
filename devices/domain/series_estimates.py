"""Estimates of what channels did not measure; only for who asks, and never mixed with what was.

Needs an open scope. The rules are in `devices/telemetry/estimates.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection

from devices.domain.rollups import series_of
from devices.domain.series_bounds import Bounds, SeriesRefusedError
from devices.models import Channel
from devices.protocol.data import Int64s
from devices.telemetry.estimates import (
    HISTORY_MS,
    Counted,
    Estimates,
    Gap,
    Measured,
    PeriodEstimates,
    Refusal,
    added,
    by_period,
    estimate,
    register_counted,
)
from devices.telemetry.rollup import QUARTER_MS, Floats, Quarters, no_quarters
from devices.telemetry.rollup_samples import Kind, Series
from devices.telemetry.rollup_store import Source
from devices.telemetry.segment_store import milliseconds, moment
from devices.telemetry.series_reads import channel_quarters

# Quarters of one question, history included: five channels of a year.
MOST_QUARTERS: Final = 200_000


class Place(NamedTuple):
    """A channel and its calendar: `edges` are those of the periods asked for."""

    device_id: int
    number: int
    zone: ZoneInfo
    edges: Int64s


def refuse_estimates(bounds: Bounds, *, channels: int, raw: bool) -> None:
    """Raises SeriesRefusedError where nothing can be estimated, or too much would have to be."""
    if raw:
        raise SeriesRefusedError(
            "estimate", "Readings are not estimated: ask for periods, such as quarters or hours."
        )
    if bounds.as_of is not None:
        raise SeriesRefusedError(
            "estimate", "Estimates rest on what is known now: leave out as_of or estimate."
        )
    most = MOST_QUARTERS // channels - HISTORY_MS // QUARTER_MS
    if bounds.quarters > most:
        days = max(0, most * QUARTER_MS // 86_400_000)
        raise SeriesRefusedError(
            "end",
            f"At most {days} days can be estimated at once for so many channels: ask for a shorter"
            " period or for fewer channels.",
        )


def estimates_of(places: Sequence[Place], bounds: Bounds) -> Iterator[PeriodEstimates]:
    """The estimates of channels in a period, in their order; three queries. What is still to come
    is not estimated.
    """
    devices = sorted({one.device_id for one in places})
    kinds = {
        (one.device_id, one.number): one for some in series_of(devices).values() for one in some
    }
    registers = _registers(devices, kinds)
    wanted = {(one.device_id, one.number) for one in places} | {
        pair for both in registers.values() for pair in both if pair is not None
    }
    found = channel_quarters(
        connection,
        sorted(wanted),
        moment(bounds.start_ms - HISTORY_MS),
        moment(bounds.end_ms + QUARTER_MS),
    )
    end_ms = _until(bounds)
    for one in places:
        pair = one.device_id, one.number
        quarters, series = found.get(pair), kinds.get(pair)
        if series is None or series.kind is Kind.NONE:
            yield by_period(_no_energy(bounds.start_ms, end_ms), one.edges)
            continue
        if quarters is None:
            quarters = no_quarters()
        measured = Measured(quarters.starts, quarters.energy, quarters.coverage)
        counted = _counted(pair, series, registers.get(pair), found, kinds)
        estimates = estimate(measured, bounds.start_ms, end_ms, one.zone, counted=counted)
        yield by_period(estimates, one.edges)


def total_estimates(
    sources: Sequence[Source], bounds: Bounds, zone: ZoneInfo, edges: Int64s
) -> dict[str, PeriodEstimates]:
    """By flow what the sources of some facilities did not measure, together; two queries. `share`
    is that of the sources of the flow on average.
    """
    refuse_estimates(bounds, channels=max(1, len(sources)), raw=False)
    kinds = {
        (one.device_id, one.number): one
        for some in series_of(sorted({source.device_id for source in sources})).values()
        for one in some
    }
    found = channel_quarters(
        connection,
        sorted({(source.device_id, source.channel) for source in sources}),
        moment(bounds.start_ms - HISTORY_MS),
        moment(bounds.end_ms + QUARTER_MS),
    )
    by_flow: dict[str, list[Estimates]] = defaultdict(list)
    for source in sources:
        pair = source.device_id, source.channel
        quarters, series = found.get(pair, no_quarters()), kinds[pair]
        counted = _of_register(quarters, series) if series.kind is Kind.REGISTER else None
        measured = Measured(quarters.starts, _part(quarters, source.part), quarters.coverage)
        by_flow[source.flow].append(
            estimate(measured, bounds.start_ms, _until(bounds), zone, counted=counted)
        )
    return {flow: by_period(added(some), edges) for flow, some in by_flow.items()}


def _until(bounds: Bounds) -> int:
    """The end of the period, or the last full quarter of an hour."""
    now = milliseconds(datetime.now(UTC).replace(microsecond=0)) // QUARTER_MS * QUARTER_MS
    return max(bounds.start_ms, min(bounds.end_ms, now))


def _part(quarters: Quarters, part: str) -> Floats:
    """What of a channel's quarters counts, in Wh."""
    if part == "energy":
        return quarters.energy
    return quarters.returned if part == "returned" else quarters.energy + quarters.returned


_Pair = tuple[int, int]
_Both = tuple[_Pair, _Pair | None]


def _registers(devices: Sequence[int], kinds: Mapping[_Pair, Series]) -> dict[_Pair, _Both]:
    """By power channel the registers that count what it measures, import and perhaps export: of
    devices with one of each.
    """
    rows: dict[int, dict[str, list[_Pair]]] = {}
    for device_id, number, quantity in Channel.objects.filter(
        device_id__in=devices, quantity__in=["active_power", "energy_import", "energy_export"]
    ).values_list("device_id", "number", "quantity"):
        if (device_id, number) in kinds:
            own = rows.setdefault(device_id, {})
            own.setdefault(quantity, []).append((device_id, number))
    found: dict[_Pair, _Both] = {}
    for own in rows.values():
        power, taken, given = (
            own.get(name, []) for name in ("active_power", "energy_import", "energy_export")
        )
        if len(power) == len(taken) == 1 and len(given) < 2:
            found[power[0]] = taken[0], given[0] if given else None
    return found


def _counted(
    pair: _Pair,
    series: Series,
    both: _Both | None,
    found: Mapping[_Pair, Quarters],
    kinds: Mapping[_Pair, Series],
) -> Counted | None:
    """What the channel's own register, or those of its power, say of gaps."""
    if series.kind is Kind.REGISTER:
        return _of_register(found.get(pair), series)
    if both is None:
        return None
    taken, given = both
    import_ = _of_register(found.get(taken), kinds[taken])
    if given is None:
        power = found.get(pair)
        # Without a register for it, nothing is known of what flows back.
        if power is None or np.nansum(power.returned) > 0:
            return None
        return import_
    export = _of_register(found.get(given), kinds[given])
    if import_ is None or export is None:
        return None
    return _net(import_, export)


def _net(import_: Counted, export: Counted) -> Counted:
    def counted(start_ms: int, end_ms: int) -> float | None:
        taken, given = import_(start_ms, end_ms), export(start_ms, end_ms)
        return None if taken is None or given is None else taken - given

    return counted


def _of_register(quarters: Quarters | None, series: Series) -> Counted | None:
    if quarters is None:
        return None
    return register_counted(quarters, series.modulus * float(series.resolution))


def _no_energy(start_ms: int, end_ms: int) -> Estimates:
    gap = Gap(start_ms, end_ms, None, 0.0, scaled=False, reason=Refusal.NO_ENERGY)
    nothing = np.empty(0)
    return Estimates(np.empty(0, np.int64), nothing, nothing, (gap,))

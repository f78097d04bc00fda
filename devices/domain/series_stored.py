"""Periods of channels from the roll-ups that are kept: quarters of an hour, and local days.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from django.db import connection

from devices.protocol.data import Int64s
from devices.telemetry import local_days
from devices.telemetry.quarter_reads import Span, read_quarters, series_key
from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.rollup_codec import NUMBERS
from devices.telemetry.series import Periods, periods_of
from devices.telemetry.series_reads import groups
from devices.telemetry.sums import Sums, runs, together

# Quarters of one statement: what their columns take in memory is about 150 bytes each.
AT_ONCE: Final = 1_000_000

Channels = Sequence[tuple[int, int]]


def stored_periods(channels: Channels, chain: Sequence[Int64s]) -> dict[tuple[int, int], Periods]:
    """The periods of some (device, channel number); those without any are left out.

    `chain` are edges (ms since the Unix epoch), each within those before: of the finest periods
    first, of those asked for last. None finer than days begins with days, which are taken from
    where they are kept; so one or two statements, and one more for each million quarters.
    """
    days = chain[0]
    device_ids = sorted({device_id for device_id, _ in channels})
    wanted = np.unique([series_key(*one) for one in channels]).astype(np.int64)
    kept, is_kept = local_days.read_days(connection, device_ids, days, wanted)
    spans = [
        Span(device_id, int(days[first]), int(days[last]))
        for device_id, known in zip(device_ids, is_kept, strict=True)
        for first, last in runs(~known)
    ]
    sums = together([kept, _read(spans, wanted, days)])
    for edges in chain[1:]:
        sums = sums.over(edges)
    return _by_channel(sums, chain[-1])


def stored_quarters(
    channels: Channels, start_ms: int, end_ms: int, edges: Int64s | None
) -> dict[tuple[int, int], Periods]:
    """The same from quarters alone, those that begin in [start, end): put together between edges,
    or (None) each for itself.
    """
    device_ids = sorted({device_id for device_id, _ in channels})
    wanted = np.unique([series_key(*one) for one in channels]).astype(np.int64)
    sums = _read([Span(one, start_ms, end_ms) for one in device_ids], wanted, edges)
    each = np.arange(start_ms, end_ms + 1, QUARTER_MS, dtype=np.int64)
    return _by_channel(sums, each if edges is None else edges)


def _read(spans: Sequence[Span], wanted: Int64s, edges: Int64s | None) -> Sums:
    """The sums of quarters of the wanted series, by series and start."""
    parts = []
    for some, series in _portions(spans, wanted):
        sums = Sums.of(read_quarters(connection, some, series=series))
        parts.append(sums if edges is None else sums.over(edges))
    return together(parts)


def _portions(spans: Sequence[Span], wanted: Int64s) -> Iterator[tuple[list[Span], list[int]]]:
    """As many series at a time, with the spans of their devices, as have AT_ONCE quarters."""
    of_device: dict[int, list[Span]] = defaultdict(list)
    for span in spans:
        of_device[span.device_id].append(span)
    series: list[int] = []
    quarters = 0
    for one in wanted.tolist():
        more = sum(span.end_ms - span.start_ms for span in of_device[one // NUMBERS]) // QUARTER_MS
        if series and quarters + more > AT_ONCE:
            yield _spans_of(series, of_device), series
            series, quarters = [], 0
        if more:
            series.append(one)
            quarters += more
    if series:
        yield _spans_of(series, of_device), series


def _spans_of(series: Sequence[int], of_device: Mapping[int, Sequence[Span]]) -> list[Span]:
    return [
        span for device_id in sorted({one // NUMBERS for one in series})
        for span in of_device[device_id]
    ]


def _by_channel(sums: Sums, edges: Int64s) -> dict[tuple[int, int], Periods]:
    periods = periods_of(sums, edges)
    return {
        divmod(int(sums.series[begin]), NUMBERS): periods.only(slice(begin, after))
        for begin, after in groups(sums.series)
    }

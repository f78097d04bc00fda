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
from devices.telemetry.sums import Sums, over, runs, together

# Quarters of one statement: what their columns take in memory is about 150 bytes each.
AT_ONCE: Final = 1_000_000

Channels = Sequence[tuple[int, int]]


def stored_periods(
    channels: Channels, chain: Sequence[Int64s], *, has_days: bool
) -> dict[tuple[int, int], Periods]:
    """The periods of some (device, channel number) of one calendar; those without any are left out.

    `chain` are edges (ms since the Unix epoch, from the beginning to the end): of the periods asked
    for last, before them of those that they are made of. With `has_days` the first ones are days,
    which are taken from where they are kept. One statement, two with days, and one more for each
    million quarters.
    """
    first = chain[0]
    device_ids = sorted({device_id for device_id, _ in channels})
    wanted = np.unique([series_key(*one) for one in channels]).astype(np.int64)
    if not has_days:
        spans = [Span(one, int(first[0]), int(first[-1])) for one in device_ids]
        return _by_channel(over(_read(spans, wanted, first), chain[1:]), chain[-1])
    kept, is_kept = local_days.read_days(connection, device_ids, first, wanted)
    spans = [
        Span(device_id, int(first[begin]), int(first[after]))
        for device_id, known in zip(device_ids, is_kept, strict=True)
        for begin, after in runs(~known)
    ]
    sums = together([kept, _read(spans, wanted, first)])
    return _by_channel(over(sums, chain[1:]), chain[-1])


def _read(spans: Sequence[Span], wanted: Int64s, edges: Int64s) -> Sums:
    """The sums of quarters of the wanted series, by series and start."""
    parts = []
    for some, series in _portions(spans, wanted):
        sums = Sums.of(read_quarters(connection, some, series=series))
        parts.append(over(sums, [edges]))
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
        span
        for device_id in sorted({one // NUMBERS for one in series})
        for span in of_device[device_id]
    ]


def _by_channel(sums: Sums, edges: Int64s) -> dict[tuple[int, int], Periods]:
    periods = periods_of(sums, edges)
    return {
        divmod(int(sums.series[begin]), NUMBERS): periods.only(slice(begin, after))
        for begin, after in groups(sums.series)
    }

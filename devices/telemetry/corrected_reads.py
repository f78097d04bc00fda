"""Readings under the corrections that stand: what counts, now or as of an instant.

Every function takes an open Django connection and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper
from numpy.typing import NDArray

from devices.protocol.data import Int64s
from devices.telemetry.correction_store import Layers, layers_of, with_readings
from devices.telemetry.corrections import (
    Corrected,
    Layer,
    Window,
    corrected,
    joined,
    source_windows,
    standing,
)
from devices.telemetry.reads import read_readings
from devices.telemetry.segment import Readings, concatenated
from devices.telemetry.segment_store import milliseconds, moment

Floats = NDArray[np.float64]
Found = dict[int, dict[int, Corrected]]  # device: channel number


@dataclass(frozen=True, slots=True)
class Changes:
    """Suppose that some layers stand on top of those of their channels, and others do not."""

    added: Mapping[tuple[int, int], Sequence[Layer]] = field(default_factory=dict)
    left: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The readings of a channel that count: `times` (n,) ms since the Unix epoch, rising; `values`
    (n,) in the channel's unit. Samples that the device reported as missing are not in it.
    """

    times: Int64s
    values: Floats


def read_columns(
    connection: BaseDatabaseWrapper,
    device_id: int,
    channels: Mapping[int, Decimal],
    start: datetime,
    end: datetime,
    *,
    as_of: datetime | None = None,
) -> dict[int, Column]:
    """The readings of a device in [start, end) that count, one column for each channel asked for.

    `channels` maps the channel's number to its resolution: value = stored integer x resolution.
    `as_of` asks what counted at that instant (whole seconds), by what was known then. Channels
    without a reading have empty columns.
    """
    found = read_corrected(connection, [device_id], start, end, channels=channels, as_of=as_of)
    readings = found.get(device_id, {})
    return {
        number: _column(readings[number].readings, resolution)
        if number in readings
        else Column(np.empty(0, np.int64), np.empty(0))
        for number, resolution in channels.items()
    }


def read_corrected(
    connection: BaseDatabaseWrapper,
    device_ids: Sequence[int],
    start: datetime,
    end: datetime,
    *,
    channels: Collection[int] | None = None,
    channels_of: Mapping[int, Collection[int]] | None = None,
    corrected_devices: Collection[int] | None = None,
    as_of: datetime | None = None,
    changes: Changes | None = None,
) -> Found:
    """The readings in [start, end) that count at `as_of` (whole seconds; None: now), by device and
    channel, of all channels or of those with the given numbers (`channels_of`: for each device its
    own).

    `corrected_devices`: those with a channel that was ever corrected (`Channel.corrected`), None
    where it is not known; others need no look. Where there are any, or it is not known, one
    statement more than `read_readings`; where a shift brings readings from elsewhere, its two
    statements again for each such period. `changes` has what is to be supposed of the layers.
    Devices and channels without a reading are left out.
    """
    known = None if as_of is None else int(as_of.timestamp())
    wanted = dict.fromkeys(device_ids, channels) if channels_of is None else channels_of
    asked = list(device_ids if corrected_devices is None else corrected_devices)
    kept = layers_of(connection, asked, start, end) if asked else {}
    layers = {
        (device_id, number): some
        for (device_id, number), some in _standing(kept, known, changes or Changes()).items()
        if (numbers := wanted[device_id]) is None or number in numbers
    }
    found = read_readings(
        connection,
        device_ids,
        start,
        end,
        channels=channels,
        channels_of=channels_of,
        arrivals=known is not None,
    )
    counting: Found = {
        device_id: {number: Corrected(one.counting(known)) for number, one in numbers.items()}
        for device_id, numbers in found.items()
    }
    if layers:
        window = _milliseconds(start), _milliseconds(end)
        windows = {key: source_windows([window], some) for key, some in layers.items()}
        readings = _sources(connection, windows, window, found, known)
        for (device_id, number), some in with_readings(connection, layers, windows).items():
            before = readings.get((device_id, number), _NOTHING)
            after = corrected(before, some).between(*window)
            if len(after.readings):
                counting.setdefault(device_id, {})[number] = after
            else:
                counting.get(device_id, {}).pop(number, None)
    return {
        device_id: {number: numbers[number] for number in sorted(numbers)}
        for device_id, numbers in counting.items()
        if numbers
    }


_NOTHING = Readings(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64))


def _standing(kept: Layers, known: int | None, changes: Changes) -> Layers:
    """The layers that count, of the channels that have any."""
    found = {
        key: [
            *(
                one
                for one in standing(kept.get(key, ()), known)
                if one.layer_id not in changes.left
            ),
            *changes.added.get(key, ()),
        ]
        for key in {*kept, *changes.added}
    }
    return {key: some for key, some in found.items() if some}


def _sources(
    connection: BaseDatabaseWrapper,
    windows: Mapping[tuple[int, int], Sequence[Window]],
    window: Window,
    found: Mapping[int, Mapping[int, Readings]],
    known: int | None,
) -> dict[tuple[int, int], Readings]:
    """What was measured in the windows of some channels; `found` has it for `window`."""
    parts: dict[tuple[int, int], list[tuple[int, Readings]]] = {}
    for device_id, number in windows:
        if number in found.get(device_id, {}):
            here = found[device_id][number].counting(known)
            parts.setdefault((device_id, number), []).append((window[0], here))
    elsewhere: dict[int, list[Window]] = {}
    for (device_id, _), some in windows.items():
        elsewhere.setdefault(device_id, []).extend(_outside(some, window))
    for device_id, some in elsewhere.items():
        numbers = {number for one, number in windows if one == device_id}
        for begin, end in joined(some):
            more = read_readings(
                connection, [device_id], moment(begin), moment(end), channels=numbers
            )
            for number, readings in more.get(device_id, {}).items():
                part = begin, readings.counting(known)
                parts.setdefault((device_id, number), []).append(part)
    return {
        key: concatenated([part for _, part in sorted(some, key=lambda one: one[0])])
        for key, some in parts.items()
    }


def _outside(windows: Iterable[Window], window: Window) -> list[Window]:
    return joined(
        part
        for start, end in windows
        for part in ((start, min(end, window[0])), (max(start, window[1]), end))
    )


def _milliseconds(at: datetime) -> int:
    # Rounded up, as for readings: a bound between two milliseconds keeps its meaning.
    return milliseconds(at) + (at.microsecond % 1000 > 0)


def _column(readings: Readings, resolution: Decimal) -> Column:
    # As a fraction: 2301 / 10 is the double nearest to 230.1, while 2301 * 0.1 is not.
    numerator, denominator = resolution.as_integer_ratio()
    return Column(readings.times, readings.raw.astype(np.float64) * numerator / denominator)

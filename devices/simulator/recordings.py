"""Recordings of real meters: CSV files as devices with channels of scaled integers.

A recording is a CSV file (or .csv.gz) with a time column, in wide form (a column a channel) or in
long form (a column names the channel, the device or both). Values become integers at the
resolution of the file: the coarsest power of ten that keeps every digit of a channel, as a device
type would declare it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.simulator.recording_table import (
    MISSING_TEXTS,
    Column,
    NotARecording,
    find_times,
    parse_number,
    read_table,
    tells_time,
)

__all__ = ["Group", "NotARecording", "RecordedDevice", "read_recording"]

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]

MINIMUM_ROWS = 60
# Digits beyond the microunit are the noise of a floating-point calculation, not of a sensor.
FINEST_EXPONENT = -6

# Names of columns that say which device or channel a row is of. The sure ones are believed
# whenever their values recur, the others only where many rows share a time.
_CHANNEL_KEYS = re.compile(
    r"(channel|label|sensor|circuit|kanal|register|quantity|variable|metric|parameter|tag|series"
    r"|name|phase)(_?(id|no|nr|name|number))?$",
    re.IGNORECASE,
)
_DEVICE_KEYS = re.compile(
    r"(device|meter|plug|node|appliance|logger|serial|house|home|household|site|unit|station"
    r"|building|customer|client|id)(_?(id|no|nr|name|number|type))?$",
    re.IGNORECASE,
)
_SURE_KEYS = re.compile(
    r"(channel|label|sensor|circuit|kanal|device|meter|plug|node|appliance|logger)"
    r"(_?(id|no|nr|name|number|type))?$",
    re.IGNORECASE,
)
MAX_KEYS = 1_024
MOST_STRANGE_ROWS = 0.05
_ROW_NUMBERS = re.compile(r"(unnamed.*|index|id|row|no|nr|number|frame|sample)", re.IGNORECASE)
_FLAGS = re.compile(r"(^|_)(ok|valid|flag|quality|qc|crc|checksum|status)(_|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Channels that were sampled at the same times.

    `times`: (n,) ms since the Unix epoch, not decreasing. `values`: (channels, n) integers, 0
    where missing; the reading of channel c is `values[c] * resolutions[c]`. `present`: (channels,
    n), or None when nothing is missing. `numbers` are the channel numbers within the device.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    resolutions: tuple[Decimal, ...]
    times: Int64s
    values: Int64s
    present: Bools | None


@dataclass(frozen=True, slots=True, eq=False)
class RecordedDevice:
    """One device of a recording. Wide files have one group; asynchronous loggers have several."""

    name: str
    groups: tuple[Group, ...]

    @property
    def step_ms(self) -> int:
        """The median time between two samples of a channel."""
        return median_step_ms([group.times for group in self.groups])


def median_step_ms(series: Sequence[Int64s]) -> int:
    """The median of all positive time steps (ms); 0 when there is none."""
    steps = np.concatenate([np.diff(times) for times in series])
    steps = steps[steps > 0]
    return int(np.median(steps)) if steps.size else 0


def read_recording(path: Path) -> list[RecordedDevice]:
    """The devices of a recording; raises NotARecording with the reason when it is none.

    Text columns, quality flags, further times and row numbers are left out. Times that run
    backwards (a counter that restarts, the end of daylight saving) go on one median step after the
    previous time.
    """
    columns = read_table(path)
    rows = len(columns[0].codes)
    if rows < MINIMUM_ROWS:
        raise NotARecording(f"{rows} rows, fewer than {MINIMUM_ROWS}")
    times, timed, time_columns = find_times(columns)
    rest = [column for column in columns if column not in time_columns and column.name]
    device_keys, channel_keys = _keys(rest, times)
    measured = []
    for column in rest:
        if column in device_keys or column in channel_keys or tells_time(column):
            continue
        reading = _read_values(column)
        if reading is not None and not _numbers_rows(reading, times):
            measured.append(reading)
    if not measured:
        raise NotARecording("no numeric column beside the time")
    devices = []
    for name, here in _split(device_keys, timed):
        groups = tuple(_groups(times, here, channel_keys, measured))
        if groups:
            devices.append(RecordedDevice(name, groups))
    if not devices:
        raise NotARecording("no device with two readings or more")
    return devices


@dataclass(frozen=True, slots=True, eq=False)
class _Reading:
    """A numeric column of the whole file."""

    name: str
    values: Int64s
    present: Bools
    resolution: Decimal


def _read_values(column: Column) -> _Reading | None:
    """The integers of a numeric column, or None for text, flags and empty columns."""
    numbers = [parse_number(text) for text in column.texts]
    known = [number for number in numbers if number is not None]
    strange = [
        number is None and text.lower() not in MISSING_TEXTS
        for number, text in zip(numbers, column.texts, strict=True)
    ]
    # A stray word among numbers is a missing value; a column of words is none of numbers.
    if not known or np.array(strange)[column.codes].mean() > MOST_STRANGE_ROWS:
        return None
    if _FLAGS.search(column.name) and set(known) <= {Decimal(0), Decimal(1)}:
        return None
    exponents = [_exponent(number) for number in known if number]
    exponent = max(min(exponents, default=0), FINEST_EXPONENT)
    if len(set(known)) < 3:
        # One or two values say nothing about a resolution coarser than one.
        exponent = min(exponent, 0)
    scale = Decimal(1).scaleb(-exponent)
    integers = [0 if number is None else round(number * scale) for number in numbers]
    if max(map(abs, integers)) >= 1 << 62:
        return None
    values = np.array(integers, dtype=np.int64)[column.codes]
    present = np.array([number is not None for number in numbers])[column.codes]
    return _Reading(column.name, values, present, Decimal(1).scaleb(exponent))


def _exponent(number: Decimal) -> int:
    exponent = number.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # a finite number has no other
    return exponent


def _numbers_rows(reading: _Reading, times: Int64s) -> bool:
    """Whether a column numbers the rows, or their runs: it changes exactly where time restarts."""
    steps = np.diff(reading.values)
    if _ROW_NUMBERS.fullmatch(reading.name) and bool((steps == 1).all()):
        return True
    restarts = np.diff(times) < 0
    return bool(restarts.any()) and bool(((steps != 0) == restarts).all())


def _keys(columns: Sequence[Column], times: Int64s) -> tuple[list[Column], list[Column]]:
    """The columns that name the device and the channel of a row (both empty in the wide form)."""
    rows = len(times)
    repeated = len(np.unique(times)) * 3 <= rows * 2
    devices = []
    channels = []
    for column in columns:
        if len(column.texts) > min(rows // 4, MAX_KEYS):
            continue
        if not repeated and not _SURE_KEYS.fullmatch(column.name):
            continue
        if _CHANNEL_KEYS.fullmatch(column.name):
            channels.append(column)
        elif _DEVICE_KEYS.fullmatch(column.name):
            devices.append(column)
    if repeated and not devices and not channels:
        # No telling name: a text column that puts the rows in order of time is the key.
        channels = [column for column in columns if _orders_rows(column, times)][:1]
    return devices, channels


def _orders_rows(column: Column, times: Int64s) -> bool:
    if not 1 < len(column.texts) <= 256 or all(map(parse_number, column.texts)):
        return False
    return all(
        bool((np.diff(times[column.codes == code]) > 0).all()) for code in range(len(column.texts))
    )


def _split(keys: Sequence[Column], rows: Bools) -> Iterator[tuple[str, NDArray[np.intp]]]:
    """The rows of each distinct combination of keys, with its name."""
    indices = np.flatnonzero(rows)
    if not keys:
        yield "", indices
        return
    codes = np.stack([column.codes[indices] for column in keys])
    combinations, inverse = np.unique(codes, axis=1, return_inverse=True)
    order = np.argsort(inverse.ravel(), kind="stable")
    bounds = np.searchsorted(inverse.ravel()[order], np.arange(combinations.shape[1] + 1))
    for index, combination in enumerate(combinations.T.tolist()):
        name = " ".join(column.texts[code] for column, code in zip(keys, combination, strict=True))
        yield name, indices[order[bounds[index] : bounds[index + 1]]]


def _groups(
    times: Int64s,
    rows: NDArray[np.intp],
    channel_keys: Sequence[Column],
    measured: Sequence[_Reading],
) -> Iterator[Group]:
    selected = np.zeros(len(times), np.bool_)
    selected[rows] = True
    number = 0
    for name, here in _split(channel_keys, selected):
        ordered, forward = _forward(times[here], here)
        here_readings = [reading for reading in measured if reading.present[ordered].any()]
        if len(ordered) < 2 or not here_readings:
            continue
        present = np.stack([reading.present[ordered] for reading in here_readings])
        numbers = tuple(range(number, number + len(here_readings)))
        number += len(here_readings)
        yield Group(
            tuple(_channel_name(name, reading.name, measured) for reading in here_readings),
            numbers,
            tuple(reading.resolution for reading in here_readings),
            forward,
            np.stack([reading.values[ordered] for reading in here_readings]),
            None if present.all() else present,
        )


def _channel_name(key: str, column: str, measured: Sequence[_Reading]) -> str:
    if not key:
        return column
    return key if len(measured) == 1 else f"{key} {column}"


def _forward(times: Int64s, rows: NDArray[np.intp]) -> tuple[NDArray[np.intp], Int64s]:
    """Rows and times so that no time runs backwards."""
    steps = np.diff(times)
    backwards = steps < 0
    if not backwards.any():
        return rows, times
    if np.count_nonzero(backwards) > len(times) // 20:
        # Rows without order, not a clock that was set back now and then.
        order = np.argsort(times, kind="stable")
        return rows[order], times[order]
    forward = steps.copy()
    forward[backwards] = median_step_ms([times])
    return rows, times[0] + np.concatenate(([0], np.cumsum(forward)))

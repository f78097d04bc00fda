"""Recordings played back by devices: real readings at their own times, on an axis moved to now."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from devices.protocol import Block
from devices.simulator.recordings import Group, Int64s, RecordedDevice, read_recording

log = logging.getLogger("wattline.simulate")


class ReplayError(Exception):
    """A recording cannot be played by a device; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class PlayedChannel:
    """A channel of the device: its number, the recording's column, and the device's resolution.

    Without a resolution the recording's own is used.
    """

    number: int
    column: str
    resolution: Decimal | None = None


def load(path: Path, *, minutes: float | None = None) -> list[RecordedDevice]:
    """The devices of a recording, or its first `minutes`; raises ReplayError."""
    try:
        devices = read_recording(path)
    except OSError as error:
        raise ReplayError(f"{path} cannot be read ({error.strerror}): correct the path") from error
    except ValueError as error:
        raise ReplayError(f"{path} is no recording: {error}") from error
    if minutes is None:
        return devices
    return [_beginning(device, round(minutes * 60_000)) for device in devices]


def _beginning(device: RecordedDevice, length_ms: int) -> RecordedDevice:
    start_ms = min(int(group.times[0]) for group in device.groups)
    groups = []
    for group in device.groups:
        n = int(np.searchsorted(group.times, start_ms + length_ms))
        present = None if group.present is None else group.present[:, :n]
        groups.append(
            Group(
                group.names,
                group.numbers,
                group.resolutions,
                group.times[:n],
                group.values[:, :n],
                present,
            )
        )
    return RecordedDevice(device.name, tuple(groups))


def compressed(device: RecordedDevice, speed: float) -> RecordedDevice:
    """The same readings with the distances between them divided by `speed`."""
    start_ms = min(int(group.times[0]) for group in device.groups)
    return RecordedDevice(
        device.name,
        tuple(
            Group(
                group.names,
                group.numbers,
                group.resolutions,
                start_ms + np.rint((group.times - start_ms) / speed).astype(np.int64),
                group.values,
                group.present,
            )
            for group in device.groups
        ),
    )


def all_channels(device: RecordedDevice) -> list[PlayedChannel]:
    """Every channel of a recorded device, numbered and resolved as in the recording."""
    return [
        PlayedChannel(number, name, resolution)
        for group in device.groups
        for name, number, resolution in zip(
            group.names, group.numbers, group.resolutions, strict=True
        )
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Track:
    """Channels on one time axis: `times` (n,) in ms after the start of the recording."""

    times: Int64s
    channels: tuple[int, ...]
    values: Int64s
    present: np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None


class RecordedSource:
    """A recorded device as a source of samples (`reporter.Source`).

    `start_ms` is where the first sample stands on the time axis; None keeps the recording's own
    times. With `loop` the recording begins again one median step after its end. The times are the
    recording's: the step that a server asks for does not change them.
    """

    def __init__(
        self,
        device: RecordedDevice,
        channels: Sequence[PlayedChannel],
        *,
        start_ms: int | None = None,
        loop: bool = False,
    ) -> None:
        first_ms = min(int(group.times[0]) for group in device.groups if len(group.times))
        by_column = {channel.column: channel for channel in channels}
        self._tracks = [
            track
            for group in device.groups
            if (track := _track(group, by_column, first_ms)) is not None
        ]
        played = [number for track in self._tracks for number in track.channels]
        if len(played) < len(channels):
            missing = sorted(channel.column for channel in channels if channel.number not in played)
            raise ReplayError(
                f"the recording has no column {', '.join(missing)}: "
                f"it has {', '.join(name for group in device.groups for name in group.names)}"
            )
        self.start_ms = first_ms if start_ms is None else start_ms
        self.channel_count = len(played)
        self._times = np.unique(np.concatenate([track.times for track in self._tracks]))
        self._loop = loop
        self._cycle_ms = int(self._times[-1]) + max(1, device.step_ms)

    @property
    def length_ms(self) -> int:
        """From the first sample to the last."""
        return int(self._times[-1])

    def due(self, after_ms: int, samples: int, step_ms: int) -> int | None:
        """The `samples`-th instant after `after_ms` with a sample, or the last one of the cycle."""
        del step_ms
        cycle, position = self._position(after_ms)
        index = int(np.searchsorted(self._times, position, side="right"))
        if index == len(self._times):
            if not self._loop:
                return None
            cycle, index = cycle + 1, 0
        index = min(index + samples - 1, len(self._times) - 1)
        return self.start_ms + cycle * self._cycle_ms + int(self._times[index])

    def read(self, after_ms: int, until_ms: int, step_ms: int) -> tuple[Block, ...]:
        """The samples in (`after_ms`, `until_ms`] within one cycle, a block for each time axis."""
        first_ms = self.due(after_ms, 1, step_ms)
        if first_ms is None or first_ms > until_ms:
            return ()
        cycle, position = self._position(first_ms)
        start_ms = self.start_ms + cycle * self._cycle_ms
        blocks = []
        for track in self._tracks:
            low = int(np.searchsorted(track.times, position))
            high = int(np.searchsorted(track.times, until_ms - start_ms, side="right"))
            if low < high:
                blocks += _blocks(track, low, high, start_ms)
        return tuple(blocks)

    def _position(self, at_ms: int) -> tuple[int, int]:
        """The cycle and the time within it; before the start it is the first cycle's -1."""
        if at_ms < self.start_ms:
            return 0, -1
        if not self._loop:
            return 0, at_ms - self.start_ms
        return divmod(at_ms - self.start_ms, self._cycle_ms)


def _track(group: Group, channels: Mapping[str, PlayedChannel], first_ms: int) -> _Track | None:
    rows = [index for index, name in enumerate(group.names) if name in channels]
    if not rows or not len(group.times):
        return None
    rows.sort(key=lambda index: channels[group.names[index]].number)
    values = np.stack(
        [_rescaled(group, index, channels[group.names[index]].resolution) for index in rows]
    )
    return _Track(
        group.times - first_ms,
        tuple(channels[group.names[index]].number for index in rows),
        values,
        None if group.present is None else group.present[rows],
    )


def _rescaled(group: Group, index: int, resolution: Decimal | None) -> Int64s:
    """The integers of a column at the device's resolution."""
    own = group.resolutions[index]
    values: Int64s = group.values[index]
    ratio = own / (resolution or own)
    if ratio == ratio.to_integral_value():
        scaled: Int64s = values * int(ratio)
        return scaled
    log.warning(
        "%s is recorded in steps of %s and rounded to %s", group.names[index], own, resolution
    )
    rounded: Int64s = np.rint(values * float(ratio)).astype(np.int64)
    return rounded


def _blocks(track: _Track, low: int, high: int, start_ms: int) -> list[Block]:
    times = start_ms + track.times[low:high]
    values = track.values[:, low:high]
    if track.present is None:
        return [Block(times, track.channels, values)]
    present = track.present[:, low:high]
    if present.all():
        return [Block(times, track.channels, values)]
    if high - low > 1:
        return [Block(times, track.channels, values, present)]
    # A single sample has no bitmap of missing ones: the channel stays out of the block.
    here = np.flatnonzero(present[:, 0])
    channels = tuple(track.channels[row] for row in here)
    return [Block(times, channels, values[here])] if channels else []

"""What frames hold, channel by channel: few long arrays, whatever the frames were like."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from devices.protocol.data import Bools, Int64s
from devices.protocol.piles import decode_piles, mask_of
from devices.telemetry.segment import Readings, no_arrivals, tidied


class Arrived(NamedTuple):
    """A DATA body of a device, and the Unix second by which it had arrived."""

    device_id: int
    known: int
    body: bytes


class _Part(NamedTuple):
    """Blocks (b) of one length (n) with a channel of a device, in the order of the frames."""

    messages: Int64s
    times: Int64s
    values: Int64s
    present: Bools | None


def gathered_bodies(
    frames: Sequence[Arrived],
    channels: Mapping[int, Collection[int] | None],
    *,
    arrivals: bool = True,
) -> dict[tuple[int, int], Readings]:
    """The tidy readings of the given channels (None: all) of each device, by device and channel.

    The frames come by device, and in the order of its sequence numbers. Without `arrivals` the
    readings have `known` = 0.
    """
    masks = {device_id: mask_of(numbers) for device_id, numbers in channels.items()}
    piles = decode_piles((frame.body, masks[frame.device_id]) for frame in frames)
    devices = np.array([frame.device_id for frame in frames], np.int64)
    known = np.array([frame.known for frame in frames], np.int64) if arrivals else None
    parts: dict[tuple[int, int], list[_Part]] = {}
    for pile in piles:
        for device_id, rows in _runs(devices[pile.messages]):
            messages, times = pile.messages[rows], pile.times[rows]
            for column, number in enumerate(pile.channels):
                present = None if pile.present is None else pile.present[rows, column]
                part = _Part(messages, times, pile.values[rows, column], present)
                parts.setdefault((device_id, number), []).append(part)
    found = {at: _readings(these, known) for at, these in parts.items()}
    return {at: tidied(readings) for at, readings in found.items() if len(readings)}


def _runs(devices: Int64s) -> Iterator[tuple[int, slice]]:
    """The rows of each device, which lie together."""
    begins = np.flatnonzero(np.concatenate([[True], np.diff(devices) != 0])).tolist()
    for begin, end in zip(begins, [*begins[1:], len(devices)], strict=True):
        yield int(devices[begin]), slice(begin, end)


def _readings(parts: Sequence[_Part], known: Int64s | None) -> Readings:
    """Readings in the order of the frames, those that are missing left out."""
    times = np.concatenate([part.times.ravel() for part in parts])
    raw = np.concatenate([part.values.ravel() for part in parts])
    messages = np.concatenate([np.repeat(part.messages, part.times.shape[1]) for part in parts])
    if any(part.present is not None for part in parts):
        present = np.concatenate([_presence(part) for part in parts])
        messages, times, raw = messages[present], times[present], raw[present]
    if len(parts) > 1:
        # A channel is in one block of a message at most: this is the order in which it was sent.
        order = np.argsort(messages, kind="stable")
        messages, times, raw = messages[order], times[order], raw[order]
    return Readings(times, no_arrivals(len(times)) if known is None else known[messages], raw)


def _presence(part: _Part) -> Bools:
    return np.ones(part.times.size, np.bool_) if part.present is None else part.present.ravel()

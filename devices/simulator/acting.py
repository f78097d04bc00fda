"""Readings as a device reports them: the channels that are wanted, and its firmware's faults."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from devices.protocol import Block
from devices.simulator.image import Behaviour
from devices.simulator.settings import DeviceSettings, Switching

GAP_MS: Final = 60_000  # a firmware that loses samples loses a minute of them at a time
LIMIT_EVERY_MS: Final = 60_000  # so often a channel's limit is told at most

TellLimit = Callable[[int, int, str], None]


@runtime_checkable
class Switchable(Protocol):
    """A source whose unit has an output: what it does is measured from then on."""

    def control(self, switchings: Sequence[Switching]) -> None:
        """All changes of the output that are remembered, in order of time."""


class Acting:
    """What a device with these settings and this firmware reports of what it measures.

    `drained`: the channel that shows the charge of the device's battery, None without one.
    `tell_limit` gets channel, raw value and side (`low`, `high`, `inside`) when a reading leaves
    its limits or is back.
    """

    def __init__(
        self,
        settings: Callable[[], DeviceSettings],
        behaviour: Behaviour,
        *,
        drained: int | None = None,
        tell_limit: TellLimit = lambda *_: None,
    ) -> None:
        self._settings = settings
        self._behaviour = behaviour
        self._drained = drained
        self._lost = 0.0  # of the charge, beyond what a good firmware uses
        self._charge: int | None = None
        self._tell_limit = tell_limit
        self._sides: dict[int, str] = {}
        self._told_ms: dict[int, int] = {}

    def shape(self, blocks: Iterable[Block]) -> tuple[Block, ...]:
        """The readings that are reported of those that were taken, in order of time."""
        return tuple(acted for block in blocks if (acted := self._acted(block)) is not None)

    def _acted(self, block: Block) -> Block | None:
        block = self._drain(block)
        self._watch(block)
        wanted = self._settings().channels
        if wanted is not None:
            kept = [row for row, channel in enumerate(block.channels) if channel in wanted]
            if not kept:
                return None
            block = Block(
                block.times,
                tuple(block.channels[row] for row in kept),
                block.values[kept],
                None if block.present is None else block.present[kept],
            )
        return self._thinned(block)

    def _thinned(self, block: Block) -> Block | None:
        """Without the minutes that the firmware loses."""
        gaps = self._behaviour.gaps
        if not gaps:
            return block
        minutes, index = np.unique(block.times // GAP_MS, return_inverse=True)
        chance = np.array([zlib.crc32(b"%d" % minute) / 2**32 for minute in minutes.tolist()])
        kept = chance[index] >= gaps
        if not kept.any():
            return None
        return Block(
            block.times[kept],
            block.channels,
            block.values[:, kept],
            None if block.present is None else block.present[:, kept],
        )

    def _drain(self, block: Block) -> Block:
        """Let the charge fall faster than it would by the firmware's factor."""
        extra = self._behaviour.drain - 1
        if not extra or self._drained not in block.channels:
            return block
        row = block.channels.index(self._drained)
        charge = block.values[row]
        before = charge[0] if self._charge is None else self._charge
        falls = np.maximum(0, -np.diff(charge, prepend=before)) * extra
        lost = self._lost + np.cumsum(falls)
        self._charge, self._lost = int(charge[-1]), float(lost[-1])
        values = block.values.copy()
        values[row] = np.maximum(0, np.rint(charge - lost)).astype(np.int64)
        return replace(block, values=values)

    def _watch(self, block: Block) -> None:
        for number, (low, high) in self._settings().limits.items():
            if number not in block.channels:
                continue
            readings = block.values[block.channels.index(number)]
            now_ms = int(block.times[-1])
            outside = _first_outside(readings, low, high)
            side, value = outside or ("inside", int(readings[-1]))
            if side == self._sides.get(number, "inside"):
                continue
            if now_ms - self._told_ms.get(number, -LIMIT_EVERY_MS) < LIMIT_EVERY_MS:
                continue
            self._sides[number], self._told_ms[number] = side, now_ms
            self._tell_limit(number, value, side)


def _first_outside(
    readings: npt.NDArray[np.int64], low: int | None, high: int | None
) -> tuple[str, int] | None:
    """Side and value of the first reading out of its limits."""
    below = np.zeros(len(readings), bool) if low is None else readings < low
    above = np.zeros(len(readings), bool) if high is None else readings > high
    found = np.flatnonzero(below | above)
    if not found.size:
        return None
    first = int(found[0])
    return ("low" if below[first] else "high"), int(readings[first])

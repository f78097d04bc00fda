"""Samples for the roller: frames of many devices, flattened into arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.protocol.data import Block, Bools, Int64s

# Devices may be told to sample less often than their type does; up to this step no gap is seen.
LONGEST_STEP_MS: Final = 60_000


class Kind(IntEnum):
    """What energy means for a channel."""

    NONE = 0
    POWER = 1
    REGISTER = 2


@dataclass(frozen=True, slots=True)
class Series:
    """A channel of a device: value = stored integer x `resolution`.

    `step_ms` is that of the device's type. For registers: `maximum` in the channel's unit is the
    end of the range, `most_w` the highest power that the device can measure (None: unknown).
    `exact`: each reading stands for one step and no longer, because a source said so (intervals of
    a meter data file); where the next one is missing, nothing is filled in. `corrected`: it was, at
    some time.
    """

    device_id: int
    number: int
    resolution: Decimal
    kind: Kind
    step_ms: int
    maximum: Decimal = Decimal(0)
    most_w: float | None = None
    exact: bool = False
    corrected: bool = False

    @property
    def modulus(self) -> int:
        """How many integers the register has: 10ⁿ where the range ends there, else one more than
        the highest.
        """
        highest = int(self.maximum / self.resolution)
        return highest if str(highest).strip("0") == "1" else highest + 1


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Samples of many series, (n,) each: `series` is an index, `times` in ms since the Unix epoch,
    `raw` are the integers as stored or corrected. `lift`: how many times more than the device can
    measure a sample may tell, because it was scaled up; None: none was.
    """

    series: Int64s
    times: Int64s
    sequences: Int64s
    raw: Int64s
    lift: NDArray[np.float64] | None = None

    def chosen(self, which: Int64s | Bools) -> Samples:
        """Those of some rows, or that a mask (n,) chooses."""
        lift = None if self.lift is None else self.lift[which]
        return Samples(
            self.series[which], self.times[which], self.sequences[which], self.raw[which], lift
        )


def longest_step_ms(step_ms: int) -> int:
    """The longest usual distance of two samples, for a type's step."""
    return max(step_ms, LONGEST_STEP_MS)


def bridge_ms(step_ms: int) -> int:
    """The longest time from one sample to the next that is no gap, for a type's step."""
    return 2 * longest_step_ms(step_ms)


def reach_ms(step_ms: int) -> int:
    """How far from a quarter a sample may lie and still matter to it, for a type's step: a sample
    holds across `bridge_ms`, and the one before or after tells that it does.
    """
    return bridge_ms(step_ms) + longest_step_ms(step_ms)


def samples_of(
    numbers: Sequence[tuple[int, Sequence[tuple[int, Block]]]],
    index: dict[tuple[int, int], int],
) -> Samples:
    """Flatten blocks: `numbers` has for each device id its (sequence, block) in that order.

    `index` maps (device id, channel number) to the place of the series; others are left out.
    """
    parts = [
        part for device_id, blocks in numbers for part in _device_parts(device_id, blocks, index)
    ]
    if not parts:
        nothing = np.empty(0, np.int64)
        return Samples(nothing, nothing, nothing, nothing)
    return Samples(*(np.concatenate(column) for column in zip(*parts, strict=True)))


_Part = tuple[Int64s, Int64s, Int64s, Int64s]


def _device_parts(
    device_id: int,
    blocks: Sequence[tuple[int, Block]],
    index: dict[tuple[int, int], int],
) -> Iterable[_Part]:
    """Blocks of one device, joined where they have the same channels: few long arrays, not many
    short ones.
    """
    alike: dict[tuple[int, ...], list[tuple[int, Block]]] = {}
    for sequence, block in blocks:
        alike.setdefault(block.channels, []).append((sequence, block))
    for channels, members in alike.items():
        wanted = [
            (row, index[device_id, number])
            for row, number in enumerate(channels)
            if (device_id, number) in index
        ]
        if not wanted:
            continue
        rows = [row for row, _ in wanted]
        lengths = [len(block.times) for _, block in members]
        times = np.concatenate([block.times for _, block in members])
        sequences = np.repeat([sequence for sequence, _ in members], lengths)
        raw = np.concatenate([block.values for _, block in members], axis=1)[rows]
        of = np.repeat([place for _, place in wanted], len(times))
        count = len(wanted)
        part = (of, np.tile(times, count), np.tile(sequences, count), raw.ravel())
        if any(block.present is not None for _, block in members):
            here = np.concatenate(
                [
                    np.ones(block.values.shape, np.bool_)
                    if block.present is None
                    else block.present
                    for _, block in members
                ],
                axis=1,
            )[rows].ravel()
            yield (part[0][here], part[1][here], part[2][here], part[3][here])
        else:
            yield part

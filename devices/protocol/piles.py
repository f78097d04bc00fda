"""Many DATA bodies to few arrays: what lies alike lies in one array, whoever sent it."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from devices.protocol.choice import chosen_blocks
from devices.protocol.columns import MARGIN, unpack_columns
from devices.protocol.data import Bools, Int64s
from devices.protocol.layout import BlockLayout, ColumnLayout, read_layout


@dataclass(frozen=True, slots=True, eq=False)
class Pile:
    """Blocks (b) of equal length (n) with the same channels (c).

    `messages`: (b,) the place of the body that each is from, rising (equal for two blocks of one
    body only if no channel is in both). `times`: (b, n) ms since the Unix epoch, not decreasing.
    `values`: (b, c, n) raw integers, 0 where missing; `present`: (b, c, n), None when none misses.
    """

    channels: tuple[int, ...]
    messages: Int64s
    times: Int64s
    values: Int64s
    present: Bools | None


def mask_of(channels: Collection[int] | None) -> int | None:
    """Channel numbers as a mask: bit i is channel i; None (all) stays."""
    return None if channels is None else sum(1 << number for number in set(channels))


def decode_piles(bodies: Iterable[tuple[bytes, int | None]]) -> list[Pile]:
    """Unpack the channels of a mask (None: all) of each of many DATA bodies, which were checked
    when they came.

    Raises the ProtocolError of what cannot be read.
    """
    buffer = bytearray(MARGIN)
    groups: defaultdict[tuple[int, tuple[int, ...]], list[tuple[int, int, BlockLayout]]]
    groups = defaultdict(list)
    for message, (body, wanted) in enumerate(bodies):
        base = len(buffer)
        buffer += body
        blocks = read_layout(body).blocks if wanted is None else chosen_blocks(body, wanted)
        for block in blocks:
            groups[block.n, block.channels].append((message, base, block))
    padded = bytes(buffer) + bytes(MARGIN)
    return [_pile(padded, n, numbers, group) for (n, numbers), group in groups.items()]


def _pile(
    padded: bytes, n: int, channels: tuple[int, ...], group: list[tuple[int, int, BlockLayout]]
) -> Pile:
    bases: list[int] = []
    columns: list[ColumnLayout] = []
    for _, base, block in group:
        bases += [base] * len(block.columns)
        columns += block.columns
    values = unpack_columns(padded, bases, columns, n)
    presences = [column.presence for column in columns]
    present = None
    if any(presence is not None for presence in presences):
        present = _present(presences, n)
        # The values that there are lie side by side at the left.
        filled = np.arange(n) < present.sum(axis=1)[:, None]
        spread = np.zeros_like(values)
        spread[present] = values[filled]
        values = spread
    shape = (len(group), len(channels), n)
    return Pile(
        channels,
        np.array([message for message, _, _ in group], np.int64),
        _times(padded, n, group),
        values.reshape(shape),
        None if present is None else present.reshape(shape),
    )


def _present(presences: Sequence[int | None], n: int) -> Bools:
    size = (n + 7) // 8
    whole = (1 << n) - 1
    bitmaps = b"".join(
        (whole if presence is None else presence).to_bytes(size, "little") for presence in presences
    )
    bits = np.frombuffer(bitmaps, np.uint8).reshape(len(presences), size)
    return np.unpackbits(bits, axis=1, count=n, bitorder="little").view(np.bool_)


def _times(padded: bytes, n: int, group: list[tuple[int, int, BlockLayout]]) -> Int64s:
    starts = np.array([block.start_ms for _, _, block in group], np.int64)
    steps = np.array([block.step_ms for _, _, block in group], np.int64)
    times = starts[:, None] + steps[:, None] * np.arange(n, dtype=np.int64)
    uneven = [
        (row, base, block.axis)
        for row, (_, base, block) in enumerate(group)
        if block.axis is not None
    ]
    if uneven:
        rows, bases, axes = (list(column) for column in zip(*uneven, strict=True))
        units = unpack_columns(padded, bases, axes, n)
        times[rows] = starts[rows, None] + units * steps[rows, None]
    return times

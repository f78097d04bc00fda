"""The layout of some channels of a DATA body, for bodies that were checked when they came.

What lies before a chosen column is stepped over and what lies behind the last is not looked at. A
reader of one channel of seven does a seventh of the work so, and less where the channel is among
the first.
"""

from devices.protocol.errors import TruncatedError
from devices.protocol.layout import (
    CONSTANT,
    DELTA,
    DELTA_OF_DELTA,
    MISSING,
    OFFSET,
    BlockLayout,
    ColumnLayout,
    read_channels,
    read_column,
    read_sequence,
    read_sparse_column,
    read_times,
)
from devices.protocol.varint import read_svarint, read_uvarint


def chosen_blocks(body: bytes, wanted: int) -> list[BlockLayout]:
    """The blocks that have channels of the mask `wanted`, with the columns of those alone.

    Raises the ProtocolError of what is wrong on the way there; the rest is not checked.
    """
    try:
        return _chosen_blocks(body, wanted)
    except IndexError:
        raise TruncatedError("the message ends within a block") from None


def _chosen_blocks(body: bytes, wanted: int) -> list[BlockLayout]:
    _, at = read_sequence(body)
    start_ms, at = read_uvarint(body, at)
    count, at = read_uvarint(body, at)
    blocks = []
    for left in range(count - 1, -1, -1):
        flags = body[at]
        at += 1
        begin_ms = start_ms
        if flags & OFFSET:
            offset, at = read_uvarint(body, at)
            begin_ms += offset
        n, at = read_uvarint(body, at)
        step_ms, axis, end_ms = 0, None, begin_ms
        if n > 1:
            step_ms, axis, end_ms, at = read_times(body, at, begin_ms, n, flags)
        channels, mask, at = read_channels(body, at, flags)
        here = mask & wanted
        if not (here or left):
            break
        # Behind the last chosen column of the last block nothing has to be found any more.
        until = len(channels) if left else (mask & ((1 << here.bit_length()) - 1)).bit_count()
        columns, at = _columns(body, at, (n, flags), channels[:until], wanted)
        if here:
            chosen = tuple(number for number in channels[:until] if wanted >> number & 1)
            block = BlockLayout(begin_ms, end_ms, n, step_ms, axis, chosen, columns, here)
            blocks.append(block)
    return blocks


def _columns(
    body: bytes, at: int, shape: tuple[int, int], channels: tuple[int, ...], wanted: int
) -> tuple[list[ColumnLayout], int]:
    n, flags = shape
    columns: list[ColumnLayout] = []
    for number in channels:
        chosen = wanted >> number & 1
        if n == 1:
            value, at = read_svarint(body, at)
            if chosen:
                columns.append(ColumnLayout(1, CONSTANT, 0, value, 0, 0, 0, 0, 0, (), None))
        elif flags & MISSING:
            # Rare enough to be read like one that is chosen.
            column, at = read_sparse_column(body, at, n)
            if chosen:
                columns.append(column)
        elif chosen:
            column, at = read_column(body, at, n, None)
            columns.append(column)
        else:
            at = _behind(body, at, n)
    return columns, at


def _behind(body: bytes, at: int, n: int) -> int:
    """The position after a column of `n` ≥ 2 values."""
    descriptor = body[at]
    predictor = descriptor >> 6
    at = _behind_integers(body, at + 1, 2 if predictor == DELTA_OF_DELTA else 1)
    if predictor == CONSTANT:
        return at
    residuals = n - (1 if predictor == DELTA else 2 if predictor == DELTA_OF_DELTA else 0)
    tail, at = read_uvarint(body, at)
    at += ((descriptor & 0x3F) * residuals + 7 >> 3) + (tail >> 1)
    if tail & 1:
        patches, at = read_uvarint(body, at)
        at = _behind_integers(body, at, 2 * patches)
    return at


def _behind_integers(body: bytes, at: int, count: int) -> int:
    """The position after some variable-length integers, the last bytes of which are below 0x80."""
    while count:
        if body[at] < 0x80:
            count -= 1
        at += 1
    return at

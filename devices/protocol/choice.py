"""The layout of some channels of a DATA body, for bodies that were checked when they came.

What lies before a chosen column is stepped over and what lies behind the last is not looked at. A
reader of one channel of seven does a seventh of the work so, and less where the channel is among
the first.
"""

from collections.abc import Sequence
from functools import lru_cache

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
    start_ms, at = read_uvarint(body, _behind_integers(body, 0, 1))
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
        _, mask, at = read_channels(body, at, flags)
        here, chosen, choices = _plan(mask, wanted, left > 0)
        if not choices:
            break
        if n == 1 or flags & MISSING:
            columns, at = _rare_columns(body, at, n, choices)
        else:
            columns = []
            for choice in choices:
                if choice:
                    column, at = read_column(body, at, n, None)
                    columns.append(column)
                else:
                    at = _behind(body, at, n)
        if here:
            blocks.append(BlockLayout(begin_ms, end_ms, n, step_ms, axis, chosen, columns, here))
    return blocks


@lru_cache(maxsize=4_096)
def _plan(mask: int, wanted: int, more: bool) -> tuple[int, tuple[int, ...], tuple[bool, ...]]:
    """Of a block's channels those that are chosen, as mask and numbers, and for each column that
    has to be read or stepped over whether it is chosen.

    Behind the last chosen column of the last block (not `more`) nothing has to be found any more.
    """
    here = mask & wanted
    until = mask.bit_length() if more else here.bit_length()
    numbers = [number for number in range(until) if mask >> number & 1]
    choices = tuple(bool(here >> number & 1) for number in numbers)
    return here, tuple(number for number in numbers if here >> number & 1), choices


def _rare_columns(
    body: bytes, at: int, n: int, choices: Sequence[bool]
) -> tuple[list[ColumnLayout], int]:
    """Columns of one sample, or of some that miss: all are read, and the chosen are kept."""
    columns: list[ColumnLayout] = []
    for choice in choices:
        if n == 1:
            value, at = read_svarint(body, at)
            column = ColumnLayout(1, CONSTANT, 0, value, 0, 0, 0, 0, 0, (), None)
        else:
            column, at = read_sparse_column(body, at, n)
        if choice:
            columns.append(column)
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

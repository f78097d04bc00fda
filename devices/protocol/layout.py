"""The structure of a DATA body, validated completely without unpacking a value.

One walk serves both readers: `scan` (the bridge's check) and `data` (NumPy decoding) see a body
through the same layout, so what the bridge accepts always decodes. It is pure Python with the
one-byte integers written out, because a frame has few columns and each costs about a microsecond.
"""

from itertools import accumulate
from typing import NamedTuple

from devices.protocol.errors import (
    ChannelError,
    ColumnError,
    CountError,
    FlagsError,
    PatchError,
    PresenceError,
    RangeError,
    TimeAxisError,
    TrailingError,
    TruncatedError,
    UnaryError,
)
from devices.protocol.varint import I64_MAX, read_svarint, read_uvarint

# Caps: what one message may cost a receiver. A constant column of 3 600 samples takes three
# bytes, so without a cap on the values of a message 64 KiB could claim 18 million of them.
MAX_BLOCKS = 64
MAX_SAMPLES = 3_600
MAX_VALUES = 65_536
MAX_MASK_BYTES = 32
MAX_STEP_MS = 86_400_000
# Times stay exact in a double (JavaScript); 2⁴⁸ ms is the year 10889.
MAX_TIME_MS = 1 << 48

IRREGULAR = 0x01
MASKED = 0x02
OFFSET = 0x04
MISSING = 0x08
_KNOWN_FLAGS = IRREGULAR | MASKED | OFFSET | MISSING

PLAIN = 0
DELTA = 1
DELTA_OF_DELTA = 2
CONSTANT = 3


class ColumnLayout(NamedTuple):
    """Where the parts of one column lie in the body.

    `n` present values; `first` is the minimum (PLAIN), the first value (DELTA, DELTA_OF_DELTA)
    or the value (CONSTANT, also a column of one value); `second` the first difference
    (DELTA_OF_DELTA). `unary` is the unary part as one number, least significant bit first.
    `patches` are pairs (index of the residual, excess of its quotient). `presence` is the bitmap
    of the samples that are there, None when all are.
    """

    n: int
    predictor: int
    k: int
    first: int
    second: int
    low_at: int
    unary_at: int
    unary_end: int
    unary: int
    patches: tuple[tuple[int, int], ...]
    presence: int | None


class BlockLayout(NamedTuple):
    """One block: `n` samples a channel on one time axis.

    Regular: sample i is at `start_ms + i * step_ms`. Irregular: `axis` is the column of the times
    in units of `step_ms` after `start_ms`. The last one is at `end_ms`. `columns` has one entry
    for each of `channels`.
    """

    start_ms: int
    end_ms: int
    n: int
    step_ms: int
    axis: ColumnLayout | None
    channels: tuple[int, ...]
    columns: list[ColumnLayout]
    mask: int


class DataLayout(NamedTuple):
    """A validated DATA body; `mask` has the bit of every channel in any block."""

    sequence: int
    start_ms: int
    blocks: list[BlockLayout]
    mask: int


_ALL_CHANNELS = tuple(range(256))


def read_layout(body: bytes) -> DataLayout:
    """The layout of a DATA body; raises the ProtocolError that names what is wrong with it."""
    try:
        return _read_layout(body)
    except IndexError:
        raise TruncatedError("the message ends within a block") from None


def _read_layout(body: bytes) -> DataLayout:
    sequence, at = read_sequence(body)
    start_ms, at = read_uvarint(body, at)
    if start_ms > MAX_TIME_MS:
        raise TimeAxisError(f"start {start_ms} ms is beyond the year 10889")
    block_count, at = read_uvarint(body, at)
    if not 1 <= block_count <= MAX_BLOCKS:
        raise CountError(f"{block_count} blocks: a message has 1 … {MAX_BLOCKS}")
    blocks: list[BlockLayout] = []
    mask = 0
    values = 0
    for _ in range(block_count):
        block, at = _read_block(body, at, start_ms, MAX_VALUES - values)
        if mask & block.mask:
            raise ChannelError("a channel is in two blocks of one message")
        mask |= block.mask
        values += block.n * len(block.channels)
        blocks.append(block)
    if at != len(body):
        raise TrailingError(f"{len(body) - at} bytes follow the last block")
    return DataLayout(sequence, start_ms, blocks, mask)


def read_sequence(body: bytes) -> tuple[int, int]:
    """The sequence number that begins every sequenced uplink body, and the position after it."""
    sequence, at = read_uvarint(body, 0)
    if not 1 <= sequence <= I64_MAX:
        raise RangeError(f"sequence {sequence} is outside 1 … 2⁶³-1")
    return sequence, at


def _read_block(body: bytes, at: int, start_ms: int, values_left: int) -> tuple[BlockLayout, int]:
    flags = body[at]
    at += 1
    if flags & ~_KNOWN_FLAGS:
        raise FlagsError(f"undefined flags {flags:#04x} of a block")
    if flags & OFFSET:
        offset, at = read_uvarint(body, at)
        start_ms += offset
        if start_ms > MAX_TIME_MS:
            raise TimeAxisError(f"a block starts at {start_ms} ms, beyond the year 10889")
    n, at = read_uvarint(body, at)
    if not 1 <= n <= MAX_SAMPLES:
        raise CountError(f"{n} samples: a block has 1 … {MAX_SAMPLES}")
    step_ms = 0
    end_ms = start_ms
    axis = None
    if n > 1:
        step_ms, axis, end_ms, at = read_times(body, at, start_ms, n, flags)
    elif flags & (IRREGULAR | MISSING):
        raise FlagsError("a block of one sample is neither irregular nor has missing samples")
    channels, mask, at = read_channels(body, at, flags)
    if n * len(channels) > values_left:
        raise CountError(f"more than {MAX_VALUES} values in one message")
    columns, at = _read_columns(body, at, n, channels, flags)
    return BlockLayout(start_ms, end_ms, n, step_ms, axis, channels, columns, mask), at


def read_times(
    body: bytes, at: int, start_ms: int, n: int, flags: int
) -> tuple[int, ColumnLayout | None, int, int]:
    """Step (or unit), axis, end in ms and the position after them, of a block of `n` ≥ 2."""
    step_ms, at = read_uvarint(body, at)
    if not 1 <= step_ms <= MAX_STEP_MS:
        raise RangeError(f"a step or unit of {step_ms} ms is outside 1 … {MAX_STEP_MS}")
    if flags & IRREGULAR:
        axis, end_ms, at = _read_axis(body, at, start_ms, n, step_ms)
    else:
        axis = None
        end_ms = start_ms + (n - 1) * step_ms
    if end_ms > MAX_TIME_MS:
        raise TimeAxisError("a time axis goes beyond the year 10889")
    return step_ms, axis, end_ms, at


def _read_columns(
    body: bytes, at: int, n: int, channels: tuple[int, ...], flags: int
) -> tuple[list[ColumnLayout], int]:
    columns: list[ColumnLayout] = []
    if n == 1:
        for _ in channels:
            value = body[at]
            if value < 0x80:
                at += 1
                value = (value >> 1) ^ -(value & 1)
            else:
                value, at = read_svarint(body, at)
            columns.append(ColumnLayout(1, CONSTANT, 0, value, 0, 0, 0, 0, 0, (), None))
    elif flags & MISSING:
        for _ in channels:
            column, at = read_sparse_column(body, at, n)
            columns.append(column)
    else:
        for _ in channels:
            column, at = read_column(body, at, n, None)
            columns.append(column)
    return columns, at


def read_channels(body: bytes, at: int, flags: int) -> tuple[tuple[int, ...], int, int]:
    """The channels of a block, ascending, as a mask too, and the position after them."""
    count = body[at]
    at += 1
    if not flags & MASKED:
        if count == 0:
            raise ChannelError("a block names no channel")
        return _ALL_CHANNELS[:count], (1 << count) - 1, at
    if not 1 <= count <= MAX_MASK_BYTES:
        raise ChannelError(f"a channel mask of {count} bytes: it has 1 … {MAX_MASK_BYTES}")
    end = at + count
    if end > len(body):
        raise TruncatedError("the message ends within a channel mask")
    mask = int.from_bytes(body[at:end], "little")
    if mask == 0:
        raise ChannelError("a block names no channel")
    bits = mask
    channels = []
    while bits:
        lowest = bits & -bits
        channels.append(lowest.bit_length() - 1)
        bits ^= lowest
    return tuple(channels), mask, end


def _read_axis(
    body: bytes, at: int, start_ms: int, n: int, unit_ms: int
) -> tuple[ColumnLayout, int, int]:
    axis, at = read_column(body, at, n, None)
    times = column_values(body, axis)
    if times[0] != 0:
        raise TimeAxisError("an irregular time axis begins at 0")
    previous = 0
    for time in times:
        if time < previous:
            raise TimeAxisError("an irregular time axis runs backwards")
        previous = time
    return axis, start_ms + previous * unit_ms, at


def read_sparse_column(body: bytes, at: int, n: int) -> tuple[ColumnLayout, int]:
    """The layout of a column some of whose `n` samples may miss, and the position after it."""
    mark = body[at]
    at += 1
    if mark == 0:
        return read_column(body, at, n, None)
    if mark != 1:
        raise PresenceError(f"the mark of missing samples is {mark}, not 0 or 1")
    end = at + ((n + 7) >> 3)
    if end > len(body):
        raise TruncatedError("the message ends within a bitmap of missing samples")
    presence = int.from_bytes(body[at:end], "little")
    if presence >> n:
        raise PresenceError("a bitmap of missing samples has bits beyond the last sample")
    present = presence.bit_count()
    if present > 1:
        return read_column(body, end, present, presence)
    value = 0
    if present:
        value, end = read_svarint(body, end)
    return ColumnLayout(present, CONSTANT, 0, value, 0, 0, 0, 0, 0, (), presence), end


def read_column(body: bytes, at: int, n: int, presence: int | None) -> tuple[ColumnLayout, int]:
    """The layout of a column of `n` ≥ 2 values and the position after it."""
    descriptor = body[at]
    predictor = descriptor >> 6
    k = descriptor & 0x3F
    first = body[at + 1]
    if first < 0x80:
        first = (first >> 1) ^ -(first & 1)
        at += 2
    else:
        first, at = read_svarint(body, at + 1)
    second = 0
    if predictor == DELTA:
        residuals = n - 1
    elif predictor == CONSTANT:
        if k:
            raise ColumnError(f"a constant column has k = {k}, not 0")
        return ColumnLayout(n, CONSTANT, 0, first, 0, 0, 0, 0, 0, (), presence), at
    elif predictor == DELTA_OF_DELTA:
        residuals = n - 2
        if residuals == 0:
            raise ColumnError("second differences need at least three values")
        second, at = read_svarint(body, at)
    else:
        residuals = n
    tail = body[at]
    if tail < 0x80:
        at += 1
    else:
        tail, at = read_uvarint(body, at)
    unary_at = at + ((k * residuals + 7) >> 3)
    unary_end = unary_at + (tail >> 1)
    if unary_end > len(body):
        raise TruncatedError("the message ends within a column")
    unary = int.from_bytes(body[unary_at:unary_end], "little")
    if unary.bit_count() != residuals:
        raise UnaryError(f"{unary.bit_count()} quotients for {residuals} residuals")
    if body[unary_end - 1] == 0:
        raise UnaryError("the unary part of a column is padded with a zero byte")
    if tail & 1:
        patches, end = _read_patches(body, unary_end, residuals)
    else:
        patches = ()
        end = unary_end
    column = ColumnLayout(
        n, predictor, k, first, second, at, unary_at, unary_end, unary, patches, presence
    )
    return column, end


def _read_patches(body: bytes, at: int, residuals: int) -> tuple[tuple[tuple[int, int], ...], int]:
    count, at = read_uvarint(body, at)
    if not 1 <= count <= residuals:
        raise PatchError(f"{count} patches for {residuals} residuals")
    patches = []
    index = -1
    for _ in range(count):
        skipped, at = read_uvarint(body, at)
        index += skipped + 1
        if index >= residuals:
            raise PatchError(f"a patch of residual {index}, but there are {residuals}")
        excess, at = read_uvarint(body, at)
        patches.append((index, excess))
    return tuple(patches), at


def column_residuals(body: bytes, column: ColumnLayout) -> list[int]:
    """The residuals of a column, unsigned modulo 2⁶⁴ (none for a constant column)."""
    k = column.k
    # Most significant bit first, the unary part reads 1 0…0 1 0…0: split at the ones, the runs of
    # zeros are the quotients from the last to the first.
    quotients = [len(run) for run in f"{column.unary:b}"[1:].split("1")]
    quotients.reverse()
    for index, excess in column.patches:
        quotients[index] += excess
    if k == 0:
        return quotients
    mask = (1 << k) - 1
    residuals: list[int] = []
    shifts = range(0, 8 * k, k)
    for at in range(column.low_at, column.unary_at, k):
        # Eight residuals of k bits fill k bytes exactly.
        word = int.from_bytes(body[at : min(at + k, column.unary_at)], "little")
        residuals += [(word >> shift) & mask for shift in shifts]
    return [(q << k | low) & _U64 for q, low in zip(quotients, residuals, strict=False)]


_U64 = (1 << 64) - 1
_SIGN = 1 << 63


def column_values(body: bytes, column: ColumnLayout) -> list[int]:
    """The present values of a column, exact and modulo 2⁶⁴ in the signed range. Pure Python."""
    n, predictor, _, first = column[:4]
    if predictor == CONSTANT:
        return [first] * n
    residuals = column_residuals(body, column)
    if predictor == PLAIN:
        return _wrapped([first + residual for residual in residuals])
    differences = [(residual >> 1) ^ -(residual & 1) for residual in residuals]
    if predictor == DELTA_OF_DELTA:
        differences = list(accumulate(differences, initial=column.second))
    return _wrapped(list(accumulate(differences, initial=first)))


def _wrapped(values: list[int]) -> list[int]:
    if min(values) >= -_SIGN and max(values) < _SIGN:
        return values
    return [((value + _SIGN) & _U64) - _SIGN for value in values]

"""DATA bodies to and from NumPy arrays: one message, or many at once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from devices.protocol.codes import MessageType
from devices.protocol.columns import MARGIN, pack_columns, unpack_columns
from devices.protocol.errors import ChannelError, CountError, RangeError, TimeAxisError
from devices.protocol.layout import (
    IRREGULAR,
    MASKED,
    MAX_BLOCKS,
    MAX_SAMPLES,
    MAX_STEP_MS,
    MAX_TIME_MS,
    MAX_VALUES,
    MISSING,
    OFFSET,
    BlockLayout,
    ColumnLayout,
    column_values,
    read_layout,
)
from devices.protocol.varint import I64_MAX, svarint, uvarint

Int64s = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Channels that share a time axis.

    `times`: (n,) ms since the Unix epoch, not decreasing. `channels`: ascending channel numbers.
    `values`: (channels, n) raw integers, 0 where missing; the physical value is the integer times
    the resolution of the channel. `present`: (channels, n), or None when no sample is missing.
    """

    times: Int64s
    channels: tuple[int, ...]
    values: Int64s
    present: Bools | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """A decoded DATA message; a channel is in one block at most."""

    type: ClassVar[MessageType] = MessageType.DATA
    sequence: int
    blocks: tuple[Block, ...]

    def body(self) -> bytes:
        """The body on the wire, as `encode_data`."""
        return encode_data(self.sequence, self.blocks)


def decode_data(body: bytes) -> Data:
    """Unpack one DATA body; raises the ProtocolError that names what is wrong with it."""
    return decode_many((body,))[0]


def decode_many(bodies: Sequence[bytes]) -> list[Data]:
    """Unpack many DATA bodies at once, e.g. an hour of a device; raises as `decode_data`.

    The array operations are shared by all columns of equal length, so a frame in a batch costs a
    fraction of a frame alone.
    """
    layouts = [read_layout(body) for body in bodies]
    buffer = bytearray(MARGIN)
    grouped: defaultdict[int, tuple[list[int], list[ColumnLayout]]]
    grouped = defaultdict(lambda: ([], []))
    for body, layout in zip(bodies, layouts, strict=True):
        base = len(buffer)
        buffer += body
        for block in layout.blocks:
            bases, columns = grouped[block.n]
            bases += [base] * len(block.columns)
            columns += block.columns
    padded = bytes(buffer) + bytes(MARGIN)
    matrices = {n: unpack_columns(padded, *group, n) for n, group in grouped.items()}
    taken = dict.fromkeys(matrices, 0)
    decoded = []
    for body, layout in zip(bodies, layouts, strict=True):
        blocks = []
        for block in layout.blocks:
            at = taken[block.n]
            taken[block.n] = end = at + len(block.columns)
            blocks.append(_decoded_block(body, block, matrices[block.n][at:end]))
        decoded.append(Data(layout.sequence, tuple(blocks)))
    return decoded


def _decoded_block(body: bytes, block: BlockLayout, values: Int64s) -> Block:
    if block.axis is None:
        times = block.start_ms + np.arange(block.n, dtype=np.int64) * block.step_ms
    else:
        units = np.array(column_values(body, block.axis), dtype=np.int64)
        times = block.start_ms + units * block.step_ms
    present = None
    if any(column.presence is not None for column in block.columns):
        present = np.ones(values.shape, np.bool_)
        spread = np.zeros_like(values)
        for row, column in enumerate(block.columns):
            if column.presence is None:
                spread[row] = values[row]
                continue
            bitmap = column.presence.to_bytes((block.n + 7) // 8, "little")
            here = np.unpackbits(
                np.frombuffer(bitmap, np.uint8), count=block.n, bitorder="little"
            ).view(np.bool_)
            present[row] = here
            spread[row, here] = values[row, : column.n]
        values = spread
    return Block(times, block.channels, values, present)


def encode_data(sequence: int, blocks: Sequence[Block]) -> bytes:
    """The DATA body of the blocks, each column in the shortest form found.

    Times that are evenly spaced travel as start and step, others as a column in their largest
    common unit. Raises the ProtocolError of the first rule that the blocks break.
    """
    if not 1 <= len(blocks) <= MAX_BLOCKS:
        raise CountError(f"{len(blocks)} blocks: a message has 1 … {MAX_BLOCKS}")
    start_ms = min((int(block.times[0]) for block in blocks if len(block.times)), default=0)
    return data_body(sequence, start_ms, encode_blocks(start_ms, blocks))


def data_body(sequence: int, start_ms: int, encoded_blocks: bytes) -> bytes:
    """A DATA body from blocks that `encode_blocks` has packed, e.g. the same ones again later."""
    if not 1 <= sequence <= I64_MAX:
        raise RangeError(f"sequence {sequence} is outside 1 … 2⁶³-1")
    if not 0 <= start_ms <= MAX_TIME_MS:
        raise TimeAxisError(f"start {start_ms} ms is outside 1970 … 10889")
    return uvarint(sequence) + uvarint(start_ms) + encoded_blocks


def encode_blocks(start_ms: int, blocks: Sequence[Block]) -> bytes:
    """The part of a DATA body after its start: the number of blocks and the blocks."""
    seen: set[int] = set()
    values = 0
    parts = [uvarint(len(blocks))]
    for block in blocks:
        parts += _encode_block(start_ms, block)
        values += len(block.times) * len(block.channels)
        if seen.intersection(block.channels):
            raise ChannelError("a channel is in two blocks of one message")
        seen.update(block.channels)
    if values > MAX_VALUES:
        raise CountError(f"{values} values: a message has at most {MAX_VALUES}")
    return b"".join(parts)


def encode_sample(
    sequence: int, time_ms: int, channels: Sequence[int], values: Sequence[int]
) -> bytes:
    """The DATA body of one sample of each channel at one time: the live frame, without NumPy.

    `channels` ascend; a channel that has no value now is left out of both sequences.
    """
    if len(channels) != len(values):
        raise CountError(f"{len(values)} values for {len(channels)} channels")
    flags, names = _encode_channels(channels)
    block = bytes((1, flags, 1)) + names + b"".join(map(svarint, values))
    return data_body(sequence, time_ms, block)


def _encode_block(start_ms: int, block: Block) -> Iterable[bytes]:
    n = len(block.times)
    if not 1 <= n <= MAX_SAMPLES:
        raise CountError(f"{n} samples: a block has 1 … {MAX_SAMPLES}")
    if block.values.shape != (len(block.channels), n):
        raise CountError(
            f"values of shape {block.values.shape} for {len(block.channels)} channels, {n} samples"
        )
    flags, names = _encode_channels(block.channels)
    present = block.present
    if present is not None and present.all():
        present = None
    if n == 1 and present is not None:
        raise CountError("a missing sample of a block of one: leave its channel out")
    offset = int(block.times[0]) - start_ms
    if offset < 0 or int(block.times[-1]) > MAX_TIME_MS:
        raise TimeAxisError("a block begins before its message or ends after the year 10889")
    if offset:
        flags |= OFFSET
    if present is not None:
        flags |= MISSING
    parts = [uvarint(offset)] if offset else []
    parts.append(uvarint(n))
    if n > 1:
        irregular, axis = _encode_axis(block.times)
        flags |= irregular
        parts.append(axis)
    parts.append(names)
    if n == 1:
        parts += map(svarint, block.values[:, 0].tolist())
    elif present is None:
        parts += pack_columns(np.ascontiguousarray(block.values, dtype=np.int64))
    else:
        parts += _encode_sparse(block.values, present)
    return (bytes((flags,)), *parts)


def _encode_channels(channels: Sequence[int]) -> tuple[int, bytes]:
    count = len(channels)
    if not 1 <= count <= 256:
        raise ChannelError(f"{count} channels: a block has 1 … 256")
    mask = 0
    previous = -1
    for channel in channels:
        if not previous < channel < 256:
            raise ChannelError("channel numbers ascend and lie in 0 … 255")
        previous = channel
        mask |= 1 << channel
    if previous == count - 1 and count < 256:
        return 0, bytes((count,))
    size = (mask.bit_length() + 7) // 8
    return MASKED, bytes((size,)) + mask.to_bytes(size, "little")


def _encode_axis(times: Int64s) -> tuple[int, bytes]:
    steps = np.diff(times)
    step = int(steps[0])
    if int(steps.min()) < 0:
        raise TimeAxisError("a time axis runs backwards")
    if step == 0 or step > MAX_STEP_MS or (steps != step).any():
        unit = int(np.gcd.reduce(steps))
        if not 1 <= unit <= MAX_STEP_MS:
            unit = 1
        offsets = (times - times[0]) // unit
        return IRREGULAR, uvarint(unit) + pack_columns(offsets.reshape(1, -1))[0]
    return 0, uvarint(step)


def _encode_sparse(values: Int64s, present: Bools) -> list[bytes]:
    counts = present.sum(axis=1)
    n = values.shape[1]
    packed = [b""] * len(values)
    for count in np.unique(counts).tolist():
        rows = np.flatnonzero(counts == count)
        dense = values[rows][present[rows]].reshape(len(rows), count).astype(np.int64)
        if count > 1:
            columns = pack_columns(dense)
        else:
            columns = [b"".join(map(svarint, row)) for row in dense.tolist()]
        for row, column in zip(rows.tolist(), columns, strict=True):
            if count == n:
                packed[row] = b"\x00" + column
            else:
                bitmap = np.packbits(present[row], bitorder="little").tobytes()
                packed[row] = b"\x01" + bitmap + column
    return packed

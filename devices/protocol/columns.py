"""Columns of integers to and from their packed form, vectorised over all columns at once.

A column is predicted (plain, delta, delta of delta or constant) and its residuals are written in a
split Rice code: the low `k` bits of all residuals side by side, then all quotients in unary, then
patches for the few quotients that would be long. Golomb-Rice coding: R. F. Rice, "Some practical
universal noiseless coding techniques", JPL 79-22 (1979); the patches are those of PFOR, M. Zukowski
et al., "Super-scalar RAM-CPU cache compression", ICDE 2006.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from devices.protocol.layout import (
    CONSTANT,
    DELTA,
    DELTA_OF_DELTA,
    PLAIN,
    ColumnLayout,
)
from devices.protocol.varint import U64_MAX, svarint, uvarint

Int64s = NDArray[np.int64]
Uint64s = NDArray[np.uint64]

# Bytes around the bodies, so that an eight-byte load beside the first or the last bit of a column
# stays inside the buffer (the slots before the first residual reach back two times 63 bits).
MARGIN = 17

_ONE = np.uint64(1)


def unpack_columns(
    buffer: bytes, bases: Sequence[int], columns: Sequence[ColumnLayout], n: int
) -> Int64s:
    """The present values of the columns, shape (columns, n), left-aligned when samples miss.

    `buffer` holds the bodies with `MARGIN` bytes before and after; `bases` is where the body of
    each column begins in it.
    """
    if n == 1:
        return np.array([column.first for column in columns], dtype=np.int64).reshape(-1, 1)
    packed = [row for row, column in enumerate(columns) if column.predictor != CONSTANT]
    if len(packed) == len(columns):
        return _unpack_rice(buffer, bases, columns, n)
    firsts = np.array([column.first for column in columns], dtype=np.int64)
    values = np.repeat(firsts, n).reshape(-1, n)
    if packed:
        values[packed] = _unpack_rice(
            buffer, [bases[row] for row in packed], [columns[row] for row in packed], n
        )
    return values


def _unpack_rice(
    buffer: bytes, bases: Sequence[int], columns: Sequence[ColumnLayout], n: int
) -> Int64s:
    lengths, predictors, ks, firsts, seconds, lows, unary_at, unary_end, _, patches, _ = zip(
        *columns, strict=True
    )
    predictor = np.array(predictors)
    slots = np.arange(n)
    filled = slots >= predictor[:, None]
    sparse = min(lengths) < n
    if sparse:
        filled &= slots < np.array(lengths)[:, None]
    areas = [
        buffer[base + start : base + end]
        for base, start, end in zip(bases, unary_at, unary_end, strict=True)
    ]
    counts = [length - order for length, order in zip(lengths, predictors, strict=True)]
    quotients = _quotients(areas, counts)
    if any(patches):
        _apply_patches(quotients, counts, patches)
    residuals = np.zeros((len(columns), n), np.uint64)
    residuals[filled] = quotients
    if any(ks):
        k = np.array(ks)
        bit = (np.array(lows) + bases) * 8 - k * predictor
        bits = bit[:, None] + k[:, None] * slots
        if sparse:
            np.minimum(bits, (len(buffer) - MARGIN) * 8, out=bits)
        residuals <<= k.astype(np.uint64)[:, None]
        residuals |= _bit_fields(buffer, bits, k)
    first = np.array(firsts, dtype=np.int64).view(np.uint64)
    return _undo_prediction(residuals, predictor, first, seconds).view(np.int64)


def _quotients(areas: Sequence[bytes], counts: Sequence[int]) -> Uint64s:
    """The unary numbers of all columns in a row: the distances between the one bits."""
    bits = np.unpackbits(np.frombuffer(b"".join(areas), np.uint8), bitorder="little")
    ones = np.flatnonzero(bits)
    quotients = np.empty(len(ones), np.int64)
    quotients[0] = ones[0]
    np.subtract(ones[1:], ones[:-1], out=quotients[1:])
    quotients[1:] -= 1
    if len(areas) > 1:
        # The first one bit of a column counts from the beginning of its own bytes.
        begins = np.cumsum([len(area) for area in areas[:-1]]) * 8
        heads = np.cumsum(counts[:-1])
        quotients[heads] = ones[heads] - begins
    return quotients.view(np.uint64)


def _apply_patches(
    quotients: Uint64s, counts: Sequence[int], patches: Sequence[tuple[tuple[int, int], ...]]
) -> None:
    head = 0
    for count, pairs in zip(counts, patches, strict=True):
        for index, excess in pairs:
            # Modulo 2⁶⁴ by hand: NumPy warns of an overflow of scalars.
            quotients[head + index] = (int(quotients[head + index]) + excess) & U64_MAX
        head += count


def _bit_fields(buffer: bytes, bits: Int64s, k: Int64s) -> Uint64s:
    """The `k` bits at each of the bit positions `bits` (columns, n), `k` given per column."""
    # An unaligned view: element i is the eight bytes from byte i.
    words = np.ndarray((len(buffer) - 7,), "<u8", buffer, 0, (1,))
    at = bits >> 3
    shift = (bits & 7).astype(np.uint64)
    fields: Uint64s = words[at] >> shift
    if k.max() > 57:
        # The field may reach into a ninth byte; shifted in two steps because 64 is undefined.
        ninth = np.frombuffer(buffer, np.uint8)[at + 8].astype(np.uint64)
        fields |= ninth << (np.uint64(63) - shift) << _ONE
    fields &= ((_ONE << k.astype(np.uint64)) - _ONE)[:, None]
    return fields


def _undo_prediction(
    residuals: Uint64s, predictor: NDArray[np.int_], first: Uint64s, seconds: Sequence[int]
) -> Uint64s:
    plain = predictor == PLAIN
    some_plain = plain.any()
    if some_plain and plain.all():
        return residuals + first[:, None]
    differences = (residuals >> _ONE) ^ (np.uint64(0) - (residuals & _ONE))
    second_order = np.flatnonzero(predictor == DELTA_OF_DELTA)
    if second_order.size:
        second = np.array(seconds, dtype=np.int64).view(np.uint64)
        differences[second_order, 1] = second[second_order]
        differences[second_order, 1:] = np.cumsum(differences[second_order, 1:], axis=1)
    differences[:, 0] = first
    values: Uint64s = np.cumsum(differences, axis=1, dtype=np.uint64)
    if some_plain:
        values[plain] = residuals[plain] + first[plain, None]
    return values


# A quotient above this is cheaper as a patch (index and excess, a byte each) than in unary.
_LONGEST_UNARY = 16


def _cost_table() -> NDArray[np.float64]:
    """Estimated bits beyond the low part, by bit length of a residual (row) and k (column)."""
    lengths = np.arange(66)[:, None]
    over = np.maximum(lengths - np.arange(64), 0)
    unary = np.where(over > 0, 0.75 * 2.0**over, 0)
    patch = 8.0 * (1 + (over + 6) // 7)
    costs: NDArray[np.float64] = 1 + np.minimum(unary, patch)
    costs[65] = 0  # the slots before the first residual
    return costs


_COSTS = _cost_table()
_KS = np.arange(64)


def pack_columns(values: Int64s) -> list[bytes]:
    """The packed form of each row of `values` (columns, n), n ≥ 2: the shortest found.

    The search estimates the size for every predictor and k from the bit lengths of the residuals
    and then measures the best ones exactly.
    """
    count, n = values.shape
    unsigned = values.view(np.uint64)
    residuals = np.zeros((3, count, n), np.uint64)
    residuals[PLAIN] = unsigned - values.min(axis=1).view(np.uint64)[:, None]
    differences = np.diff(unsigned, axis=1)
    residuals[DELTA, :, 1:] = _zigzag(differences)
    if n > 2:
        residuals[DELTA_OF_DELTA, :, 2:] = _zigzag(np.diff(differences, axis=1))
    lengths = np.frexp(residuals.astype(np.float64))[1]
    lengths[DELTA, :, 0] = 65
    lengths[DELTA_OF_DELTA, :, :2] = 65
    rows = np.arange(0, 3 * count * 66, 66).reshape(3, count, 1)
    histogram = np.bincount((lengths + rows).ravel(), minlength=3 * count * 66)
    costs = (histogram.reshape(3 * count, 66) @ _COSTS).reshape(3, count, 64)
    costs += _KS * (n - np.arange(3))[:, None, None]
    if n == 2:
        costs[DELTA_OF_DELTA] = np.inf
    best = costs.argmin(axis=2)
    least = costs.min(axis=2)
    # First value, and the first difference of DELTA_OF_DELTA: about as long as a difference.
    least[DELTA_OF_DELTA] += 8
    chosen = least.argmin(axis=0)
    changes = np.count_nonzero(differences, axis=1)
    packed = []
    for row in range(count):
        if not changes[row]:
            packed.append(bytes((CONSTANT << 6,)) + svarint(int(values[row, 0])))
            continue
        predictor = int(chosen[row])
        packed.append(
            _pack_rice(
                residuals[predictor, row, predictor:],
                values[row],
                predictor,
                int(best[predictor, row]),
            )
        )
    return packed


def _zigzag(differences: Uint64s) -> Uint64s:
    signed = differences.view(np.int64)
    return ((signed << 1) ^ (signed >> 63)).view(np.uint64)


def _pack_rice(residuals: Uint64s, values: Int64s, predictor: int, k: int) -> bytes:
    first = int(values.min()) if predictor == PLAIN else int(values[0])
    parts = [bytes((predictor << 6 | k,)), svarint(first)]
    if predictor == DELTA_OF_DELTA:
        parts.append(svarint(_signed(int(values[1]) - int(values[0]))))
    quotients = residuals >> np.uint64(k)
    patched = np.flatnonzero(quotients > _LONGEST_UNARY)
    patches = b""
    if patched.size:
        patches = _pack_patches(patched, quotients)
        quotients[patched] = 0
    ends = np.cumsum(quotients.astype(np.int64) + 1)
    bits = np.zeros(int(ends[-1]), np.uint8)
    bits[ends - 1] = 1
    unary = np.packbits(bits, bitorder="little").tobytes()
    parts.append(uvarint(len(unary) << 1 | bool(patches)))
    if k:
        fields = np.unpackbits(
            residuals.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little"
        )[:, :k]
        parts.append(np.packbits(fields, bitorder="little").tobytes())
    parts += (unary, patches)
    return b"".join(parts)


def _pack_patches(patched: NDArray[np.intp], quotients: Uint64s) -> bytes:
    parts = [uvarint(len(patched))]
    previous = -1
    for index in patched.tolist():
        parts += (uvarint(index - previous - 1), uvarint(int(quotients[index])))
        previous = index
    return b"".join(parts)


def _signed(value: int) -> int:
    return ((value + (1 << 63)) & ((1 << 64) - 1)) - (1 << 63)

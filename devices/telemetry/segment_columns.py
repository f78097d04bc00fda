"""Columns of integers to bytes and back, for segments: small above all, quick to read.

A column is written as what it lies above its minimum, or as its differences; each byte of the
numbers in a row of its own, and the whole compressed (Zstandard, RFC 8878, without its magic
number), whichever is shortest. Compared on recordings of meters with packed bits (Rice codes) and
differences of differences, no further form earned its place.

    form             u8: bits 0-1 order (0 plain, 1 differences, 3 constant), bits 2-4 width - 1,
                     bit 5 compressed
    base             svarint: the constant, the minimum, or the first number
    planes           width rows of one byte a number, the least significant byte first
                     (differences: one number less, zigzag)
"""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from devices.protocol.data import Int64s
from devices.protocol.errors import ProtocolError
from devices.protocol.varint import read_svarint, svarint

# Each step above costs time while rolling and none while reading.
_LEVEL: Final = 19
_PLAIN, _DIFFERENCES, _CONSTANT = 0, 1, 3
_COMPRESSED: Final = 0x20

# Compressors are no thread's but their own, and costly to make.
_local = threading.local()


class SegmentError(ValueError):
    """The bytes are no segment: damaged, or of a version that this release does not know."""


def pack(numbers: Int64s) -> bytes:
    """The bytes of a column (n,); n is kept by the caller and at least 1."""
    first = int(numbers[0])
    if (numbers == first).all():
        return bytes((_CONSTANT,)) + svarint(first)
    low = int(numbers.min())
    # Differences of int64 wrap around, and so do their sums.
    steps = np.diff(numbers)
    zigzag = (steps << 1) ^ (steps >> 63)
    forms = (
        _form(_PLAIN, low, (numbers - low).view(np.uint64)),
        _form(_DIFFERENCES, first, zigzag.view(np.uint64)),
    )
    return min(forms, key=len)


def unpack(data: bytes, n: int) -> Int64s:
    """The column (n,) of its bytes; SegmentError when they are none."""
    try:
        base, at = read_svarint(data, 1)
    except ProtocolError as error:
        raise SegmentError(f"a column does not begin: {error}") from None
    order = data[0] & 3
    if order == _CONSTANT:
        return np.full(n, base, np.int64)
    count = n - 1 if order == _DIFFERENCES else n
    width = (data[0] >> 2 & 7) + 1
    planes = _decompressed(data[at:], width * count) if data[0] & _COMPRESSED else data[at:]
    if len(planes) != width * count:
        raise SegmentError(f"a column has {len(planes)} bytes, not {width} for {count} numbers")
    rows = np.frombuffer(planes, np.uint8).reshape(width, count)
    residuals: NDArray[np.uint64] = rows[0].astype(np.uint64)
    for place in range(1, width):
        residuals |= rows[place].astype(np.uint64) << np.uint64(8 * place)
    if order == _PLAIN:
        return residuals.view(np.int64) + base
    numbers = np.empty(n, np.int64)
    numbers[0] = base
    signs = -(residuals & np.uint64(1)).view(np.int64)
    np.cumsum((residuals >> np.uint64(1)).view(np.int64) ^ signs, out=numbers[1:])
    numbers[1:] += base
    return numbers


def squeeze(data: bytes) -> bytes:
    """Compressed bytes; `stretch` needs their length before."""
    if not hasattr(_local, "compressor"):
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        _local.compressor = zstandard.ZstdCompressor(compression_params=parameters)
    return bytes(_local.compressor.compress(data))


def _form(order: int, base: int, residuals: NDArray[np.uint64]) -> bytes:
    width = max(1, (int(residuals.max()).bit_length() + 7) // 8)
    planes = np.ascontiguousarray(residuals.view(np.uint8).reshape(-1, 8)[:, :width].T).tobytes()
    compressed = squeeze(planes)
    form = order | (width - 1) << 2
    if len(compressed) < len(planes):
        return bytes((form | _COMPRESSED,)) + svarint(base) + compressed
    return bytes((form,)) + svarint(base) + planes


def _decompressed(data: bytes, length: int) -> bytes:
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS)
    try:
        return bytes(_local.decompressor.decompress(data, max_output_size=length))
    except zstandard.ZstdError as error:
        raise SegmentError(f"a column cannot be decompressed: {error}") from None


def stretch(data: bytes, length: int) -> bytes:
    """What `squeeze` was given; SegmentError when it was not `length` bytes."""
    whole = _decompressed(data, length)
    if len(whole) != length:
        raise SegmentError(f"{len(whole)} bytes where {length} were kept")
    return whole


def stretch_at_most(data: bytes, most: int) -> bytes:
    """What `squeeze` was given, of any length up to `most`; else SegmentError."""
    return _decompressed(data, most)

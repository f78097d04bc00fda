"""Variable-length integers: LEB128, canonical, at most 64 bits.

Unsigned (`uvarint`): seven bits a byte, least significant group first, the high bit set on all
bytes but the last. Signed (`svarint`): zigzag (0, -1, 1, -2 … become 0, 1, 2, 3 …), then unsigned.
Canonical: the last byte of a number longer than one byte is not zero, so every number has one
encoding. At most ten bytes, the tenth being at most 1: longer input is refused before it is read.
"""

from devices.protocol.errors import RangeError, TruncatedError, VarintError

U64_MAX = (1 << 64) - 1
I64_MIN = -(1 << 63)
I64_MAX = (1 << 63) - 1


def read_uvarint(data: bytes, position: int) -> tuple[int, int]:
    """The unsigned number at `position` and the position after it.

    Raises TruncatedError when the data end within it, VarintError when it is padded or exceeds
    64 bits.
    """
    try:
        byte = data[position]
        if byte < 0x80:
            return byte, position + 1
        value = byte & 0x7F
        shift = 7
        while True:
            position += 1
            byte = data[position]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise VarintError("a variable-length integer is longer than ten bytes")
    except IndexError:
        raise TruncatedError("the message ends within a variable-length integer") from None
    if byte == 0:
        raise VarintError("a variable-length integer is padded with a zero byte")
    if value > U64_MAX:
        raise VarintError("a variable-length integer exceeds 64 bits")
    return value, position + 1


def read_svarint(data: bytes, position: int) -> tuple[int, int]:
    """The signed number at `position` and the position after it; raises as `read_uvarint`."""
    value, position = read_uvarint(data, position)
    return (value >> 1) ^ -(value & 1), position


def uvarint(value: int) -> bytes:
    """The bytes of an unsigned number; RangeError outside 0 … 2⁶⁴-1."""
    if 0 <= value < 0x80:
        return bytes((value,))
    if not 0 <= value <= U64_MAX:
        raise RangeError(f"{value} does not fit an unsigned 64-bit number")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def svarint(value: int) -> bytes:
    """The bytes of a signed number; RangeError outside -2⁶³ … 2⁶³-1."""
    if not I64_MIN <= value <= I64_MAX:
        raise RangeError(f"{value} does not fit a signed 64-bit number")
    return uvarint(((value << 1) ^ (value >> 63)) & U64_MAX)

"""Fields of message bodies: numbers, names and lists, each within its bounds."""

from collections.abc import Mapping

from devices.protocol.errors import CountError, RangeError, TextError, TruncatedError
from devices.protocol.varint import (
    I64_MAX,
    U64_MAX,
    read_svarint,
    read_uvarint,
    svarint,
    uvarint,
)

Value = int | str

# Caps of strings (bytes of UTF-8) and lists: what a field of a row or of a log can cost.
MAX_NAME = 64
MAX_TEXT = 1_024
MAX_ENTRIES = 32
COMMAND_ID_BYTES = 16
# The longest time that one side tells the other to wait (a week).
MAX_RETRY_S = 604_800

_INTEGER = 0
_TEXT = 1


class FieldReader:
    """Reads the fields of a body one after the other; every method raises a ProtocolError."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    @property
    def ended(self) -> bool:
        """Whether every byte was read: what follows was appended by a later version."""
        return self._at == len(self._body)

    def byte(self) -> int:
        return self.raw(1)[0]

    def raw(self, size: int) -> bytes:
        end = self._at + size
        if end > len(self._body):
            raise TruncatedError("the message ends within a field")
        found = self._body[self._at : end]
        self._at = end
        return found

    def number(self, maximum: int = U64_MAX, minimum: int = 0) -> int:
        value, self._at = read_uvarint(self._body, self._at)
        if not minimum <= value <= maximum:
            raise RangeError(f"{value} is outside {minimum} … {maximum}")
        return value

    def signed(self) -> int:
        value, self._at = read_svarint(self._body, self._at)
        return value

    def sequence(self) -> int:
        return self.number(I64_MAX, 1)

    def count(self, minimum: int, maximum: int) -> int:
        value, self._at = read_uvarint(self._body, self._at)
        if not minimum <= value <= maximum:
            raise CountError(f"{value} entries: there must be {minimum} … {maximum}")
        return value

    def blob(self, minimum: int, maximum: int) -> bytes:
        size, self._at = read_uvarint(self._body, self._at)
        if not minimum <= size <= maximum:
            raise TextError(f"a field of {size} bytes: it must have {minimum} … {maximum}")
        return self.raw(size)

    def text(self, minimum: int, maximum: int) -> str:
        try:
            return self.blob(minimum, maximum).decode()
        except UnicodeDecodeError:
            raise TextError("a string is not UTF-8") from None

    def entries(self) -> dict[str, Value]:
        entries: dict[str, Value] = {}
        for _ in range(self.count(0, MAX_ENTRIES)):
            key = self.text(1, MAX_NAME)
            kind = self.byte()
            if kind == _INTEGER:
                entries[key] = self.signed()
            elif kind == _TEXT:
                entries[key] = self.text(0, MAX_TEXT)
            else:
                raise RangeError(f"an entry of kind {kind}: 0 is an integer, 1 a string")
        return entries


def byte(value: int) -> bytes:
    """One unsigned byte."""
    if not 0 <= value <= 0xFF:
        raise RangeError(f"{value} does not fit a byte")
    return bytes((value,))


def number(value: int, maximum: int, minimum: int = 0) -> bytes:
    """A uvarint within its bounds."""
    if not minimum <= value <= maximum:
        raise RangeError(f"{value} is outside {minimum} … {maximum}")
    return uvarint(value)


def sequence(value: int) -> bytes:
    """A sequence number, 1 … 2⁶³-1."""
    return number(value, I64_MAX, 1)


def count(value: int, minimum: int, maximum: int) -> bytes:
    """The length of a list."""
    if not minimum <= value <= maximum:
        raise CountError(f"{value} entries: there must be {minimum} … {maximum}")
    return uvarint(value)


def blob(value: bytes, minimum: int, maximum: int) -> bytes:
    """Bytes with their length in front."""
    if not minimum <= len(value) <= maximum:
        raise TextError(f"a field of {len(value)} bytes: it must have {minimum} … {maximum}")
    return uvarint(len(value)) + value


def text(value: str, minimum: int, maximum: int) -> bytes:
    """A string in UTF-8 with its length in bytes in front."""
    try:
        return blob(value.encode(), minimum, maximum)
    except UnicodeEncodeError:
        raise TextError("a string holds a lone surrogate and has no UTF-8 form") from None


def exactly(value: bytes, size: int, what: str) -> bytes:
    """A field of a fixed size; `what` is its name in the sentence."""
    if len(value) != size:
        raise TextError(f"{what} of {len(value)} bytes: it has {size}")
    return value


def command_id(value: bytes) -> bytes:
    """The 16 bytes that name a command."""
    return exactly(value, COMMAND_ID_BYTES, "a command id")


def entries(values: Mapping[str, Value]) -> bytes:
    """Named integers and strings."""
    parts = [count(len(values), 0, MAX_ENTRIES)]
    for key, value in values.items():
        parts.append(text(key, 1, MAX_NAME))
        if isinstance(value, str):
            parts += (byte(_TEXT), text(value, 0, MAX_TEXT))
        else:
            parts += (byte(_INTEGER), svarint(int(value)))
    return b"".join(parts)

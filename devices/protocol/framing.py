"""Messages on a byte stream: head, body, checksum.

Every message is `version u8 | type u8 | body length u16 | body | CRC-32C u32`, little-endian; the
checksum (Castagnoli, as in iSCSI, RFC 3720 appendix B.4) covers everything before it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import google_crc32c

from devices.protocol.errors import ChecksumError, LengthError, VersionError

VERSION = 1
HEAD_BYTES = 4
CHECKSUM_BYTES = 4
OVERHEAD_BYTES = HEAD_BYTES + CHECKSUM_BYTES
MAX_BODY = 65_535
# Before a device has proved who it is, nothing longer than a greeting is taken from it: an
# unknown peer can hold no more than this much memory.
MAX_GREETING_BODY = 1_024

_crc32c = google_crc32c.value


class RawMessage(NamedTuple):
    """One message whose checksum fits; the body is not looked at yet."""

    type: int
    body: bytes


def seal(message_type: int, body: bytes) -> bytes:
    """The bytes on the wire of one message; LengthError above `MAX_BODY`."""
    size = len(body)
    if size > MAX_BODY:
        raise LengthError(f"a body of {size} bytes exceeds {MAX_BODY}: send fewer samples")
    message = bytes((VERSION, message_type, size & 0xFF, size >> 8)) + body
    return message + int(_crc32c(message)).to_bytes(4, "little")


class MessageReader:
    """Cuts a byte stream into messages; holds at most one incomplete message.

    >>> reader = MessageReader()
    >>> reader.feed(seal(0x06, b"\\x05"))
    >>> list(reader)
    [RawMessage(type=6, body=b'\\x05')]

    Iterating yields the complete messages fed so far and raises a ProtocolError at the first
    malformed one; the stream cannot be read beyond it and the connection must be closed.
    `max_body` may be raised or lowered at any time, e.g. after the greeting.
    """

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self.max_body = max_body
        self._data = b""
        self._position = 0
        # Chunks that came while a message is incomplete are joined only once enough of them are
        # there: a peer that sends a long message byte by byte costs linear time.
        self._parts: list[bytes] = []
        self._pending = 0
        self._needed = HEAD_BYTES

    @property
    def buffered(self) -> int:
        """Bytes held that are not yet part of a complete message."""
        return len(self._data) - self._position + self._pending

    def rest(self) -> bytes:
        """What is held and not yet yielded: after an error, the bytes that cannot be trusted."""
        return b"".join((self._data[self._position :], *self._parts))

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer, in pieces of any size."""
        if self._position == len(self._data) and not self._parts:
            self._data = data
            self._position = 0
        elif data:
            self._parts.append(data)
            self._pending += len(data)

    def __iter__(self) -> Iterator[RawMessage]:
        while True:
            if self._parts:
                if self.buffered < self._needed:
                    return
                self._join()
            data = self._data
            position = self._position
            size = len(data)
            if size - position < HEAD_BYTES:
                self._needed = HEAD_BYTES
                self._drop_yielded()
                return
            version, message_type, low, high = data[position : position + HEAD_BYTES]
            if version != VERSION:
                raise VersionError(f"version {version} is not spoken here, only {VERSION}")
            length = low | high << 8
            if length > self.max_body:
                raise LengthError(f"a body of {length} bytes exceeds {self.max_body}")
            checksum_at = position + HEAD_BYTES + length
            end = checksum_at + 4
            if end > size:
                self._needed = end - position
                self._drop_yielded()
                return
            expected = int.from_bytes(data[checksum_at:end], "little")
            if _crc32c(data[position:checksum_at]) != expected:
                raise ChecksumError(f"the checksum of a message of type {message_type:#04x} is off")
            self._position = end
            yield RawMessage(message_type, data[position + HEAD_BYTES : checksum_at])

    def _drop_yielded(self) -> None:
        # An idle connection must not hold on to a long chunk of which it waits for the last bytes.
        self._data = self._data[self._position :]
        self._position = 0

    def _join(self) -> None:
        self._data = b"".join((self._data[self._position :], *self._parts))
        self._position = 0
        self._parts.clear()
        self._pending = 0

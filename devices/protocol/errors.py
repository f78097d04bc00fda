"""Why a message is refused: one exception class per cause, each with a stable code.

The codes are part of the protocol (docs/protocol.md, "Error codes"): logs, quarantine rows and the
JavaScript decoder use the same words.
"""

from typing import ClassVar


class ProtocolError(ValueError):
    """A message breaks the protocol: `code` is stable, `str(error)` a sentence for a log."""

    code: ClassVar[str] = "protocol"


class VersionError(ProtocolError):
    """The version byte is not one that this side speaks."""

    code = "version"


class LengthError(ProtocolError):
    """The body is longer than the other side may send."""

    code = "length"


class ChecksumError(ProtocolError):
    """The CRC-32C at the end does not fit the bytes before it."""

    code = "checksum"


class TypeCodeError(ProtocolError):
    """The message type is not defined, or may not be sent in this direction."""

    code = "type"


class TruncatedError(ProtocolError):
    """The body ends before its last field is complete."""

    code = "truncated"


class TrailingError(ProtocolError):
    """Bytes follow the last field of a body that must end there."""

    code = "trailing"


class VarintError(ProtocolError):
    """A variable-length integer exceeds 64 bits or is padded with zero groups."""

    code = "varint"


class TextError(ProtocolError):
    """A string is not UTF-8, or a string or byte field is too short or too long."""

    code = "text"


class RangeError(ProtocolError):
    """A number is outside the range that its field allows."""

    code = "range"


class FlagsError(ProtocolError):
    """Undefined flag bits are set, or defined ones do not go together."""

    code = "flags"


class CountError(ProtocolError):
    """A number of blocks, samples, values, lines or entries is zero or above its cap."""

    code = "count"


class ChannelError(ProtocolError):
    """A block names no channel, or a channel that an earlier block of the message has named."""

    code = "channel"


class PresenceError(ProtocolError):
    """The mark or the bitmap of missing samples is malformed."""

    code = "presence"


class ColumnError(ProtocolError):
    """The descriptor of a column is impossible for its number of values."""

    code = "column"


class UnaryError(ProtocolError):
    """The unary part of a column does not hold exactly one quotient per residual."""

    code = "unary"


class PatchError(ProtocolError):
    """The list of patches of a column is empty, too long, or points outside the column."""

    code = "patch"


class TimeAxisError(ProtocolError):
    """A time axis does not begin at zero, runs backwards or leaves the allowed range."""

    code = "time"

"""The numbers of the protocol: message types, reasons, levels, capabilities."""

from enum import IntEnum, IntFlag


class MessageType(IntEnum):
    """The type byte; its high nibble is the family."""

    HELLO = 0x01
    WELCOME = 0x02
    REFUSE = 0x03
    PING = 0x04
    PONG = 0x05
    ACK = 0x06
    REWIND = 0x07
    DATA = 0x10
    GAP = 0x11
    LOG = 0x20
    EVENT = 0x21
    RESULT = 0x22
    COMMAND = 0x30
    LIVE = 0x31
    OFFER = 0x40
    FETCH = 0x41
    CHUNK = 0x42
    WITHDRAW = 0x43


# Uplink messages whose body begins with the device's sequence number.
SEQUENCED = frozenset(
    {
        MessageType.DATA,
        MessageType.GAP,
        MessageType.LOG,
        MessageType.EVENT,
        MessageType.RESULT,
    }
)
DEVICE_MAY_SEND = SEQUENCED | {
    MessageType.HELLO,
    MessageType.REFUSE,
    MessageType.PING,
    MessageType.PONG,
    MessageType.FETCH,
}
SERVER_MAY_SEND = frozenset(
    {
        MessageType.WELCOME,
        MessageType.REFUSE,
        MessageType.PING,
        MessageType.PONG,
        MessageType.ACK,
        MessageType.REWIND,
        MessageType.COMMAND,
        MessageType.LIVE,
        MessageType.OFFER,
        MessageType.CHUNK,
        MessageType.WITHDRAW,
    }
)

FIRMWARE_FAMILY = range(0x40, 0x50)


class RefuseCode(IntEnum):
    """Why a side ends the connection. The range of the code says what a device does next.

    0x00 … 0x3F: come back, not before `retry_after_s`. 0x40 … 0x7F: the device is not accepted as
    it is; come back at most once an hour. 0x80 … 0xBF: a message broke the protocol.
    """

    AGAIN = 0x00
    CLOSING = 0x01
    OVERLOADED = 0x02
    RATE = 0x03
    IDLE = 0x04
    SLOW = 0x05
    REPLACED = 0x06
    HELLO_TIMEOUT = 0x07

    CREDENTIALS = 0x40
    NOT_ACTIVE = 0x41
    SUSPENDED = 0x42
    REVOKED = 0x43
    DEVICE_TYPE = 0x44
    VERSION = 0x45
    CERTIFICATE = 0x46

    MALFORMED = 0x80
    CHECKSUM = 0x81
    TOO_LONG = 0x82
    UNSUPPORTED = 0x83
    UNEXPECTED = 0x84
    WINDOW = 0x85
    SEQUENCE = 0x86


class GapReason(IntEnum):
    """Why a device cannot send a range of sequence numbers."""

    BUFFER_FULL = 1
    BUFFER_DAMAGED = 2
    NO_TIME = 3
    REFUSED = 4
    STATE_LOST = 5


class LogLevel(IntEnum):
    """Severity of a log line of the firmware."""

    DEBUG = 1
    INFO = 2
    WARNING = 3
    ERROR = 4
    CRITICAL = 5


class ResultStatus(IntEnum):
    """What became of a command. ACCEPTED is followed by another RESULT."""

    DONE = 0
    ACCEPTED = 1
    FAILED = 2
    REJECTED = 3
    EXPIRED = 4


class Capability(IntFlag):
    """What a device can do beyond reporting."""

    LIVE = 0x01
    COMMANDS = 0x02
    FIRMWARE = 0x04
    LOG = 0x08
    FIRMWARE_DELTA = 0x10
    FIRMWARE_HTTP = 0x20
    CONFIGURATION = 0x40


class PayloadKind(IntEnum):
    """What an offered payload is: the image itself, or a patch (detools) that makes it."""

    IMAGE = 0
    DELTA = 1


class OfferFlag(IntFlag):
    """What an offer says besides. LOWER_VERSION: the version may be below the one that runs."""

    LOWER_VERSION = 0x01


class ChunkStatus(IntEnum):
    """How a FETCH was answered.

    DATA: here it is. NOT_NOW: ask again later. GONE: not offered over this connection, or
    withdrawn. RANGE: the payload ends before the offset.
    """

    DATA = 0
    NOT_NOW = 1
    GONE = 2
    RANGE = 3

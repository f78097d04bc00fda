"""The queue between bridges, writers and the live reader: what lies in Redis, and how.

One stream a partition; one entry carries a batch of messages of one bridge, because an XADD a
message costs more than everything else on the way together. What goes back to the bridges are
notices on pub/sub channels: they may get lost, since acknowledgements are cumulative.

Everything is little-endian. Interfaces: docs/architecture.md, section 9.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

PARTITIONS: Final = 16

# --- Keys -----------------------------------------------------------------------------------

WRITER_GROUP: Final = "writer"
# One name for the group's consumer of every partition: whoever takes a partition over finds the
# entries that its predecessor had read and not acknowledged under the same name.
WRITER_CONSUMER: Final = "writer"
# Sorted set: instance of a writer → when it counts as gone (Unix s).
WRITERS_KEY: Final = "ingest:writers"
# Entries that could neither be stored nor quarantined, with the reason, for a person to look at.
POISON_KEY: Final = "ingest:poison"
# Sorted set: device_id → until when somebody watches it (Unix s).
INTEREST_KEY: Final = "live:interest"

DOWNLINK_CHANNEL: Final = "bridges:downlink"
LIVE_CHANNEL: Final = "bridges:live"
EVICT_CHANNEL: Final = "bridges:evict"
# A notice without content: commands were queued, or a device may be given one.
COMMANDS_CHANNEL: Final = "commands:queued"

# --- Bounds ---------------------------------------------------------------------------------

# A bridge closes a batch at this size, so that one entry never takes long to move or to store.
# A single message (≤ 64 KiB) always fits.
MAX_ENTRY_BYTES: Final = 256 * 1024
# Bodies that a bridge may have appended and not seen committed; their envelopes come on top. Beyond
# it the bridge stops reading from its sockets: the devices keep what they have (back-pressure).
MAX_IN_FLIGHT_BYTES: Final = 64 * 1024 * 1024
# Acknowledged entries stay this long for the live reader, which reads without a group.
TRIM_AFTER_MS: Final = 10_000
# Poison is kept for a person; the oldest goes first, each with a line in the writer's log.
MAX_POISON_ENTRIES: Final = 1_000
# A live lease and its renewal (seconds).
LIVE_LEASE_S: Final = 30
LIVE_RENEW_S: Final = 10


def stream_key(partition: int) -> str:
    """The stream of a partition."""
    return f"ingest:{partition}"


def lease_key(partition: int) -> str:
    """The lease by which one writer at a time reads a partition."""
    return f"ingest:lease:{partition}"


def committed_channel(bridge: str) -> str:
    """Where the writers tell a bridge what is committed (payload: array of COMMITTED)."""
    return f"bridge:{bridge}:committed"


def live_channel(device_id: int) -> str:
    """Where the frames of a watched device appear (payload: ENVELOPE and the DATA body)."""
    return f"live:{device_id}"


def partition_of(device_id: int) -> int:
    """The partition of a device: all its messages take one way and stay in order."""
    return device_id % PARTITIONS


# --- Messages -------------------------------------------------------------------------------

# The bridge's own event: not a message of the device, no sequence number, body by `encode_event`.
BRIDGE_EVENT: Final = 0xF0


class Verdict(IntEnum):
    """What the checks found about a message; `reason` is the word stored with a quarantined one.

    UNKNOWN_CHANNEL … CLOCK_BEHIND are content: the message has a sequence number, which it
    consumes. MALFORMED is a message whose bytes cannot be trusted (sequence 0 in the envelope).
    UNREADABLE, REFUSED and UNKNOWN_DEVICE are given by the writer: a body that passed the bridge
    and does not decode, a row that the database refuses, a device that is no longer there.
    """

    SOUND = 0
    UNKNOWN_CHANNEL = 1
    LIMIT = 2
    CLOCK_AHEAD = 3
    CLOCK_BEHIND = 4
    MALFORMED = 5
    UNREADABLE = 6
    REFUSED = 7
    UNKNOWN_DEVICE = 8

    @property
    def reason(self) -> str:
        """The stable code in `telemetry_quarantine.reason`."""
        return self.name.lower()


ENVELOPE: Final = np.dtype(
    [
        ("device_id", "<i8"),
        ("tenant_id", "<i8"),
        ("connection", "<i8"),
        ("sequence", "<i8"),
        ("received_us", "<i8"),
        ("start_ms", "<i8"),
        ("end_ms", "<i8"),
        ("values", "<u4"),
        ("length", "<u4"),
        ("kind", "u1"),
        ("verdict", "u1"),
    ]
)
# The same bytes by `struct`, which is quicker for one message at a time.
_ENVELOPE_STRUCT: Final = struct.Struct("<7qIIBB")
_pack_envelope = _ENVELOPE_STRUCT.pack
ENVELOPE_BYTES: Final = ENVELOPE.itemsize

Envelopes = NDArray[np.void]


class EntryError(ValueError):
    """A stream entry or a notice that does not hold what section 9 says; the message names it."""


class BatchBuilder:
    """Collects the messages of one bridge and one partition for one stream entry.

    `size` (bytes so far) is for the caller to compare with `MAX_ENTRY_BYTES`, `count` is the number
    of messages. Times are µs (received) and ms (samples) since the Unix epoch.
    """

    __slots__ = ("_bodies", "_bridge", "_details", "_envelopes", "count", "size")

    def __init__(self, bridge: str) -> None:
        self._bridge = bridge.encode()
        self._clear()

    def _clear(self) -> None:
        self._envelopes: list[bytes] = []
        self._bodies: list[bytes] = []
        self._details: dict[int, str] = {}
        self.count = 0
        self.size = 0

    def add(
        self,
        device_id: int,
        tenant_id: int,
        connection: int,
        sequence: int,
        received_us: int,
        start_ms: int,
        end_ms: int,
        values: int,
        kind: int,
        verdict: int,
        body: bytes,
        detail: str = "",
    ) -> None:
        """Append one message; `detail` is the sentence stored with a verdict other than SOUND."""
        length = len(body)
        self._envelopes.append(
            _pack_envelope(
                device_id,
                tenant_id,
                connection,
                sequence,
                received_us,
                start_ms,
                end_ms,
                values,
                length,
                kind,
                verdict,
            )
        )
        self._bodies.append(body)
        if detail:
            self._details[self.count] = detail
        self.count += 1
        self.size += ENVELOPE_BYTES + length

    def take(self) -> dict[str, bytes]:
        """The fields of the stream entry (for XADD); the builder is empty afterwards."""
        fields = {
            "b": self._bridge,
            "m": b"".join(self._envelopes),
            "f": b"".join(self._bodies),
        }
        if self._details:
            fields["d"] = json.dumps(self._details).encode()
        self._clear()
        return fields


@dataclass(frozen=True, slots=True)
class Batch:
    """One decoded stream entry.

    `envelopes` has shape (n,) and dtype ENVELOPE (read-only view); the body of message i is
    `bodies[offsets[i]:offsets[i + 1]]`, `offsets` has shape (n + 1,). `details` maps the index of
    a message with a verdict to the sentence about it.
    """

    bridge: str
    envelopes: Envelopes
    bodies: bytes
    offsets: NDArray[np.int64]
    details: Mapping[int, str]

    def body(self, index: int | np.integer[Any]) -> bytes:
        """The body of message `index`."""
        return self.bodies[self.offsets[index] : self.offsets[index + 1]]


def encode_batch(
    bridge: str,
    envelopes: Envelopes,
    bodies: Iterable[bytes],
    details: Mapping[int, str] | None = None,
) -> dict[str, bytes]:
    """The fields of a stream entry from an array; EntryError when the lengths do not agree."""
    joined = b"".join(bodies)
    if int(envelopes["length"].sum(dtype=np.int64)) != len(joined):
        raise EntryError("the lengths in the envelopes do not add up to the bodies")
    fields = {"b": bridge.encode(), "m": envelopes.astype(ENVELOPE).tobytes(), "f": joined}
    if details:
        fields["d"] = json.dumps(dict(details)).encode()
    return fields


def decode_batch(fields: Mapping[bytes, bytes]) -> Batch:
    """The batch in a stream entry as redis-py returns it (bytes); EntryError when malformed."""
    try:
        bridge, metadata, bodies = fields[b"b"].decode(), fields[b"m"], fields[b"f"]
    except KeyError as error:
        raise EntryError(f"a queue entry has no field {error.args[0]!r}") from None
    except UnicodeDecodeError:
        raise EntryError("the bridge id of a queue entry is not UTF-8") from None
    if not metadata or len(metadata) % ENVELOPE_BYTES:
        raise EntryError(f"{len(metadata)} bytes of envelopes: not a multiple of {ENVELOPE_BYTES}")
    envelopes = np.frombuffer(metadata, ENVELOPE)
    offsets = np.zeros(len(envelopes) + 1, np.int64)
    np.cumsum(envelopes["length"], dtype=np.int64, out=offsets[1:])
    if offsets[-1] != len(bodies):
        raise EntryError(f"{len(bodies)} bytes of bodies where the envelopes say {offsets[-1]}")
    return Batch(bridge, envelopes, bodies, offsets, _decode_details(fields.get(b"d")))


def _decode_details(field: bytes | None) -> dict[int, str]:
    if field is None:
        return {}
    try:
        return {int(index): str(detail) for index, detail in json.loads(field).items()}
    except (ValueError, AttributeError):
        raise EntryError("the details of a queue entry are not a JSON object") from None


# --- The bridge's own events ------------------------------------------------------------------


class BridgeEvent(StrEnum):
    """Kinds of a bridge's own events (`kind` of `device_event`), and what their data hold.

    CONNECTED: `firmware_version`, `clock_offset_ms`, `produced` (highest sequence number that the
    device has produced), and whatever else is worth reading in the connection history.
    SEEN: `produced`, from a PING; moves `device_link.last_seen_at` and is not kept as an event.
    DISCONNECTED, REFUSED: `code` and `text`.
    """

    CONNECTED = "connected"
    SEEN = "seen"
    DISCONNECTED = "disconnected"
    REFUSED = "refused"


def encode_event(kind: str, data: Mapping[str, Any]) -> bytes:
    """The body of a message of kind BRIDGE_EVENT."""
    return json.dumps({"kind": kind, "data": dict(data)}, separators=(",", ":")).encode()


def decode_event(body: bytes) -> tuple[str, dict[str, Any]]:
    """Kind and data of a bridge's event; EntryError when the body is something else."""
    try:
        event = json.loads(body)
        kind, data = event["kind"], event["data"]
    except (ValueError, TypeError, KeyError):
        raise EntryError("a bridge's event is not JSON with kind and data") from None
    if not isinstance(kind, str) or not isinstance(data, dict):
        raise EntryError("a bridge's event has a kind or data of the wrong type")
    return kind, data


# --- Notices ----------------------------------------------------------------------------------

# Rows of `bridge:{id}:committed`. `committed` is the device's highest committed sequence number.
COMMITTED: Final = np.dtype(
    [("device_id", "<i8"), ("connection", "<i8"), ("committed", "<i8"), ("flags", "u1")]
)
# Messages after a hole were not taken: the device is to go on from `committed` + 1.
REWIND_FLAG: Final = 1

# Rows of `bridges:evict`. A bridge closes the device's connections older than `connection`.
EVICT: Final = np.dtype([("device_id", "<i8"), ("connection", "<i8")])
# Newer than every connection: the device was revoked, suspended or deleted.
EVERY_CONNECTION: Final = (1 << 63) - 1

_DEVICE_ID: Final = struct.Struct("<q")
_LEASE: Final = struct.Struct("<H")


def decode_rows(payload: bytes, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    """The rows of a notice (COMMITTED or EVICT), shape (n,); EntryError when it is cut."""
    if len(payload) % dtype.itemsize:
        raise EntryError(f"a notice of {len(payload)} bytes has rows of {dtype.itemsize}")
    return np.frombuffer(payload, dtype)


def encode_evict(device_id: int, connection: int = EVERY_CONNECTION) -> bytes:
    """The payload for `bridges:evict`."""
    return struct.pack("<qq", device_id, connection)


def encode_downlink(device_id: int, message: bytes) -> bytes:
    """The payload for `bridges:downlink`: one sealed protocol message for a device."""
    return _DEVICE_ID.pack(device_id) + message


def decode_downlink(payload: bytes) -> tuple[int, bytes]:
    """Device and message of a downlink notice; EntryError when it is cut."""
    if len(payload) <= _DEVICE_ID.size:
        raise EntryError(f"a downlink notice of {len(payload)} bytes holds no message")
    return _DEVICE_ID.unpack_from(payload)[0], payload[_DEVICE_ID.size :]


def encode_live(lease_s: int, device_ids: Iterable[int]) -> bytes:
    """The payload for `bridges:live`: opens, renews or (0 s) ends the live lease of devices."""
    return _LEASE.pack(lease_s) + np.fromiter(device_ids, "<i8").tobytes()


def decode_live(payload: bytes) -> tuple[int, list[int]]:
    """Lease (s) and devices of a live notice; EntryError when it is cut."""
    if len(payload) < _LEASE.size or (len(payload) - _LEASE.size) % 8:
        raise EntryError(f"a live notice of {len(payload)} bytes is cut")
    device_ids: list[int] = np.frombuffer(payload, "<i8", offset=_LEASE.size).tolist()
    return _LEASE.unpack_from(payload)[0], device_ids

"""What a writer has read: entries of the queue, flattened into one run of messages, and decoded.

DATA bodies are not looked at: the bridge has checked them, they are stored as they are. The few
others (log lines, events, results, gaps) are decoded here; one that does not decode is condemned
to quarantine, never dropped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.ingest.queue import (
    BRIDGE_EVENT,
    ENVELOPE,
    ENVELOPE_BYTES,
    EntryError,
    Envelopes,
    Verdict,
    decode_batch,
    decode_event,
)
from devices.protocol import Event, Gap, Log, MessageType, ProtocolError, Result

Int64 = NDArray[np.int64]

# `device_event.kind` of the answer to a command.
RESULT_KIND: Final = "command.result"
# Events that the application must act on: the first part of their kind → topic of the inbox.
_TOPICS: Final = {"firmware": "firmware", "config": "commands"}
MAX_DETAIL: Final = 1_000


class Entry(NamedTuple):
    """One entry as read from the stream of a partition; `fields` is None when it was trimmed."""

    partition: int
    entry_id: bytes
    fields: dict[bytes, bytes] | None

    @property
    def size(self) -> int:
        """Bytes of its fields."""
        return 0 if self.fields is None else sum(map(len, self.fields.values()))


@dataclass(slots=True)
class Messages:
    """A run of n messages in the order of their arrival.

    The body of message i is `bodies[offsets[i]:offsets[i + 1]]`; `bridge` (n,) is an index into
    `bridges`; `details` holds the sentence about a message with a verdict.
    """

    envelopes: Envelopes
    bodies: bytes
    offsets: Int64
    bridge: Int64
    bridges: Sequence[str]
    details: dict[int, str]

    def __len__(self) -> int:
        return len(self.envelopes)

    def body(self, index: int) -> bytes:
        """The body of message `index`."""
        return self.bodies[self.offsets[index] : self.offsets[index + 1]]

    def condemn(self, index: int, verdict: Verdict, detail: str) -> None:
        """Send a message to quarantine."""
        self.envelopes["verdict"][index] = verdict
        self.details[index] = _storable(detail[:MAX_DETAIL])

    def part(self, start: int, stop: int) -> Messages:
        """Messages `start` up to, not including, `stop`, with a copy of their envelopes."""
        return Messages(
            self.envelopes[start:stop].copy(),
            self.bodies,
            self.offsets[start : stop + 1],
            self.bridge[start:stop],
            self.bridges,
            {i - start: text for i, text in self.details.items() if start <= i < stop},
        )


def gather(entries: Sequence[Entry]) -> tuple[Messages, list[tuple[Entry, str]]]:
    """The messages of all entries, and the entries that cannot be read, each with the reason."""
    sound, unreadable = list(entries), []
    flat = _flatten(sound)
    if flat is None:
        # Something is malformed: look at each entry by itself, which is slower, to find out what.
        sound = []
        for entry in entries:
            if entry.fields is None:
                unreadable.append((entry, "the entry was trimmed before it was acknowledged"))
                continue
            try:
                decode_batch(entry.fields)
            except EntryError as error:
                unreadable.append((entry, str(error)))
            else:
                sound.append(entry)
        flat = _flatten(sound)
        assert flat is not None
    return flat, unreadable


def _flatten(entries: Sequence[Entry]) -> Messages | None:
    """All messages of `entries` in one run; None when any entry is malformed.

    One pass over all envelopes instead of one for each entry: a tenth of the time at the six
    messages an entry that a busy bridge sends (0.3 µs an entry).
    """
    metadata, bodies, bridges = [], [], []
    details: dict[int, str] = {}
    count = 0
    for entry in entries:
        values = entry.fields
        if values is None or b"b" not in values or b"m" not in values or b"f" not in values:
            return None
        envelopes = values[b"m"]
        if not envelopes or len(envelopes) % ENVELOPE_BYTES:
            return None
        if b"d" in values:
            try:
                own = decode_batch(values).details
            except EntryError:
                return None
            details |= {index + count: _storable(text[:MAX_DETAIL]) for index, text in own.items()}
        metadata.append(envelopes)
        bodies.append(values[b"f"])
        bridges.append(values[b"b"])
        count += len(envelopes) // ENVELOPE_BYTES
    envelopes_of_all = np.frombuffer(bytearray(b"".join(metadata)), ENVELOPE)
    sizes = np.fromiter(map(len, metadata), np.int64, len(metadata)) // ENVELOPE_BYTES
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(envelopes_of_all["length"], dtype=np.int64, out=offsets[1:])
    ends = offsets[np.cumsum(sizes)] if count else np.zeros(0, np.int64)
    if not np.array_equal(ends, np.cumsum(np.fromiter(map(len, bodies), np.int64, len(bodies)))):
        return None
    names = {name: index for index, name in enumerate(dict.fromkeys(bridges))}
    try:
        decoded = [name.decode() for name in names]
    except UnicodeDecodeError:
        return None
    bridge = np.repeat(np.fromiter((names[b] for b in bridges), np.int64, len(bridges)), sizes)
    return Messages(envelopes_of_all, b"".join(bodies), offsets, bridge, decoded, details)


class LogRow(NamedTuple):
    """A line of `device_log`; `message` is the index of the message it came in."""

    message: int
    logged_ms: int
    level: int
    line: str


class EventRow(NamedTuple):
    """A row of `device_event`; `data` is JSON.

    `inbox`: topic and kind of the row of the inbox that goes with it; None: it is only kept.
    """

    message: int
    occurred_ms: int
    kind: str
    data: str
    inbox: tuple[str, str] | None = None


class LinkRow(NamedTuple):
    """What a bridge reports of a device's connection."""

    message: int
    kind: str
    data: dict[str, Any]


@dataclass(slots=True)
class Contents:
    """What is in the messages that are not DATA; `last` (n,) is the end of a GAP's range, else the
    sequence number of the message itself."""

    last: Int64
    logs: list[LogRow] = field(default_factory=list)
    events: list[EventRow] = field(default_factory=list)
    links: list[LinkRow] = field(default_factory=list)


def read_contents(messages: Messages) -> Contents:
    """Decode all that is sound and not DATA; what does not decode is condemned (UNREADABLE)."""
    envelopes = messages.envelopes
    contents = Contents(envelopes["sequence"].astype(np.int64))
    wanted = (envelopes["kind"] != MessageType.DATA) & (envelopes["verdict"] == Verdict.SOUND)
    for index in np.flatnonzero(wanted).tolist():
        kind = int(envelopes["kind"][index])
        try:
            _READERS.get(kind, _refuse)(messages, index, contents)
        except (ProtocolError, EntryError) as error:
            messages.condemn(index, Verdict.UNREADABLE, str(error))
    return contents


def _read_gap(messages: Messages, index: int, contents: Contents) -> None:
    gap = Gap.decode(messages.body(index))
    if gap.sequence != messages.envelopes["sequence"][index]:
        raise EntryError("a gap begins elsewhere than its envelope says")
    contents.last[index] = gap.last


def _read_log(messages: Messages, index: int, contents: Contents) -> None:
    for line in Log.decode(messages.body(index)).lines:
        contents.logs.append(LogRow(index, line.time_ms, line.level, _storable(line.text)))


def _read_event(messages: Messages, index: int, contents: Contents) -> None:
    event = Event.decode(messages.body(index))
    data = {
        _storable(name): _storable(value) if isinstance(value, str) else value
        for name, value in event.data.items()
    }
    kind = _storable(event.kind)
    topic = _TOPICS.get(kind.partition(".")[0])
    inbox = None if topic is None else (topic, kind)
    contents.events.append(EventRow(index, event.time_ms, kind, json.dumps(data), inbox))


def _read_result(messages: Messages, index: int, contents: Contents) -> None:
    result = Result.decode(messages.body(index))
    data = {
        "command": result.command_id.hex(),
        "status": result.status,
        "detail": _storable(result.detail),
    }
    inbox = ("commands", "result")
    contents.events.append(EventRow(index, result.time_ms, RESULT_KIND, json.dumps(data), inbox))


# Numbers in a bridge's event that become columns of 64 bits, and the least that they can be.
_EVENT_MINIMA: Final = {
    "produced": 0,
    "clock_offset_ms": -(1 << 63),
    "capabilities": 0,
    "boot_count": 0,
}
_EVENT_TEXTS: Final = ("firmware_version", "hardware_revision", "image_sha256")
_I64_MAX: Final = (1 << 63) - 1


def _read_bridge_event(messages: Messages, index: int, contents: Contents) -> None:
    kind, data = decode_event(messages.body(index))
    for name, minimum in _EVENT_MINIMA.items():
        value = data.get(name, 0)
        if type(value) is not int or not minimum <= value <= _I64_MAX:
            raise EntryError(f"{name} of a bridge's event is {value!r}")
    for name in _EVENT_TEXTS:
        if name in data:
            if not isinstance(data[name], str):
                raise EntryError(f"{name} of a bridge's event is {data[name]!r}")
            data[name] = _storable(data[name])
    contents.links.append(LinkRow(index, _storable(kind), data))


def _refuse(messages: Messages, index: int, _contents: Contents) -> None:
    kind = int(messages.envelopes["kind"][index])
    raise EntryError(f"messages of type {kind:#04x} have no place in storage")


_READERS: Final[dict[int, Callable[[Messages, int, Contents], None]]] = {
    MessageType.GAP: _read_gap,
    MessageType.LOG: _read_log,
    MessageType.EVENT: _read_event,
    MessageType.RESULT: _read_result,
    BRIDGE_EVENT: _read_bridge_event,
}


def _storable(text: str) -> str:
    """PostgreSQL stores every character but U+0000, and no halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()

"""The persistent buffer of a device: messages wait here until the server has committed them.

An append-only log in segment files, written for flash memory: a segment is filled from front to
back, never changed, and erased as a whole once everything in it is committed. When the buffer is
full, its oldest segment is erased although it is not committed; whoever sends declares the missing
sequence numbers by a GAP, for which `first_kept` and `loss` say from where to where and why.

A record is `length u32 | kind u8 | payload | CRC-32C u32`, little-endian, `length` counting the
payload and the checksum covering everything before it. Three kinds:

- STATE `boot count u32 | next sequence u64 | committed u64 | forgotten u64 | clock offset ms i64 |
  clock known u8`: the first record of each segment, and one for each boot and each change of the
  clock offset;
- MESSAGE `sequence u64 | the sealed protocol message`; sequences of one segment follow each other;
- DISCARD `sequence u64`: the server refused this message for good.

A record is written by one system call before its message is sent, so a killed process leaves at
most one torn record at the end, which the next start cuts off: no sequence number is ever used for
two different messages. A power failure may lose what the operating system had not written yet;
`sync=True` waits for the medium after every record, at the price of a write cycle each.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final, Self

import google_crc32c

_HEAD = struct.Struct("<IB")
_STATE = struct.Struct("<IQQQqB")
_SEQUENCE = struct.Struct("<Q")
_CRC_BYTES = 4
_STATE_KIND = 1
_MESSAGE_KIND = 2
_DISCARD_KIND = 3
_SIZES = {_STATE_KIND: _STATE.size, _DISCARD_KIND: _SEQUENCE.size}
# A record longer than the longest protocol message is a damaged length field.
_MAX_PAYLOAD = 65_535 + 64
_SEGMENTS = 8  # the granularity of erasing: an eighth of the buffer
_MIN_CAPACITY = 4_096

_crc32c = google_crc32c.value


class BufferUnusableError(Exception):
    """The buffer's folder cannot be used; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class State:
    """What a device must remember over a reboot besides its messages.

    `next_sequence` is the number the next message gets; every number up to `committed` is safe
    on the server; `forgotten` is the last number given up by `Buffer.jump`; `clock_offset_ms` is
    server time minus device clock, None before first contact.
    """

    boot_count: int = 0
    next_sequence: int = 1
    committed: int = 0
    forgotten: int = 0
    clock_offset_ms: int | None = None


class Loss(Enum):
    """Why a message is not in the buffer."""

    FULL = "the buffer was full"
    DAMAGED = "the medium lost it"
    REFUSED = "the server refused it"
    FORGOTTEN = "the buffer itself was lost"


class _Segment:
    """One file: messages `first … first + len(offsets) - 1`, `offsets` their records' positions."""

    __slots__ = ("descriptor", "first", "offsets", "path", "size")

    def __init__(self, path: Path, descriptor: int, first: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self.first = first
        self.offsets = array("I")
        self.size = 0

    @property
    def end(self) -> int:
        """The sequence after the last message."""
        return self.first + len(self.offsets)

    def read(self, sequence: int) -> bytes | None:
        """The message of a record, None when the medium has damaged it."""
        index = sequence - self.first
        offset = self.offsets[index]
        # Records of state may follow the message: the next offset is a bound, not its end.
        following = self.offsets[index + 1] if index + 1 < len(self.offsets) else self.size
        record = _record_at(os.pread(self.descriptor, following - offset, offset), 0)
        return record[1][_SEQUENCE.size :] if record else None

    def erase(self) -> None:
        os.close(self.descriptor)
        self.path.unlink(missing_ok=True)


class Buffer:
    """A bounded, ordered store of messages that outlives its process.

    Opening counts a boot. Messages get consecutive sequence numbers by `append`; `free` releases
    what the server has committed. Not safe for use from several threads or processes at once.
    """

    def __init__(self, folder: Path, *, capacity: int = 4 << 20, sync: bool = False) -> None:
        """Open or create the buffer in `folder`, holding at most about `capacity` bytes.

        Raises BufferUnusableError when the folder cannot be used.
        """
        if capacity < _MIN_CAPACITY:
            raise ValueError(f"a buffer of {capacity} bytes: give it at least {_MIN_CAPACITY}")
        self.folder = folder
        self.dropped = 0  # messages erased because the buffer was full, since this boot
        self._sync: Final = sync
        self._capacity: Final = capacity
        self._segment_bytes: Final = capacity // _SEGMENTS
        self._segments: deque[_Segment] = deque()
        self._discarded: set[int] = set()
        self._damaged: set[int] = set()
        self._size = 0
        self._state = State()
        self._lock: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(folder)
            self._recover()
            self._state = replace(self._state, boot_count=self._state.boot_count + 1)
            # Rotating here too keeps a device that reboots for ever from filling its medium.
            if self._segments and self._segments[-1].size < self._segment_bytes:
                self._write_state()
            else:
                self._begin_segment()
        except OSError as error:
            self.close()
            raise BufferUnusableError(
                f"the buffer in {folder} cannot be opened ({error.strerror}): "
                "free space or correct the permissions"
            ) from error

    @property
    def state(self) -> State:
        """The remembered state as of now."""
        return self._state

    @property
    def next_sequence(self) -> int:
        """The sequence number that the next message gets."""
        return self._state.next_sequence

    @property
    def committed(self) -> int:
        """Every message up to this one is safe on the server."""
        return self._state.committed

    @property
    def oldest(self) -> int:
        """The sequence of the oldest message that is kept and not committed; else the next one."""
        return self.first_kept(self._state.committed + 1)

    @property
    def size(self) -> int:
        """Bytes on the medium."""
        return self._size

    def __len__(self) -> int:
        """The number of messages kept and not committed."""
        floor = self._state.committed + 1
        return sum(max(0, segment.end - max(segment.first, floor)) for segment in self._segments)

    def append(self, message: bytes) -> int:
        """Keep a sealed message, give it the next sequence number and return that number.

        The message must have been encoded with `next_sequence`. When the buffer is full the oldest
        segment is erased first. Raises OSError when the medium is full; nothing is kept then.
        """
        sequence = self._state.next_sequence
        payload = _SEQUENCE.pack(sequence) + message
        if len(payload) > _MAX_PAYLOAD:
            raise ValueError(
                f"a message of {len(message)} bytes is longer than any of the protocol"
            )
        segment = self._segments[-1]
        if segment.size >= self._segment_bytes:
            segment = self._begin_segment()
        offset = self._write(segment, _MESSAGE_KIND, payload)
        segment.offsets.append(offset)
        self._state = replace(self._state, next_sequence=sequence + 1)
        return sequence

    def read(self, sequence: int) -> bytes | None:
        """The message with this number; None when it is not kept (freed, dropped or damaged)."""
        if sequence in self._discarded or sequence in self._damaged:
            return None
        for segment in reversed(self._segments):
            if segment.first <= sequence:
                message = segment.read(sequence) if sequence < segment.end else None
                if message is None:
                    self._damaged.add(sequence)
                return message
        return None

    def first_kept(self, sequence: int) -> int:
        """The smallest number ≥ `sequence` whose message is kept; `next_sequence` without one."""
        for segment in self._segments:
            sequence = max(sequence, segment.first)
            while sequence in self._discarded or sequence in self._damaged:
                sequence += 1
            if sequence < segment.end:
                return sequence
        return self._state.next_sequence

    def loss(self, sequence: int) -> Loss:
        """Why the message with this number, produced and not committed, is not kept."""
        if sequence in self._discarded:
            return Loss.REFUSED
        if sequence <= self._state.forgotten:
            return Loss.FORGOTTEN
        return Loss.FULL if sequence < self._segments[0].first else Loss.DAMAGED

    def discard(self, sequence: int) -> None:
        """Give up one message that the server will never take."""
        if not self._state.committed < sequence < self._state.next_sequence:
            raise ValueError(f"message {sequence} is not waiting")
        self._write(self._segments[-1], _DISCARD_KIND, _SEQUENCE.pack(sequence))
        self._discarded.add(sequence)

    def free(self, committed: int) -> None:
        """Release every message up to `committed`; smaller numbers than before change nothing."""
        if committed <= self._state.committed:
            return
        if committed >= self._state.next_sequence:
            raise ValueError(f"message {committed} was never produced: use `jump` after lost state")
        self._state = replace(self._state, committed=committed)
        self._discarded = {number for number in self._discarded if number > committed}
        self._damaged = {number for number in self._damaged if number > committed}
        while len(self._segments) > 1 and self._segments[0].end <= committed + 1:
            self._erase_oldest()

    def jump(
        self, *, committed: int, next_sequence: int, renumber: Callable[[bytes, int], bytes]
    ) -> None:
        """Take the server's word after lost state: it has messages that this device forgot.

        Numbering goes on at `next_sequence`, where `renumber(message, sequence)` puts the messages
        that are kept; the numbers after `committed` and before them are given up.
        """
        if not committed < next_sequence:
            raise ValueError(f"numbering cannot go on at {next_sequence} after {committed}")
        if next_sequence < self._state.next_sequence:
            raise ValueError(f"numbering cannot go back to {next_sequence}")
        kept = list(self._messages())
        self._discarded.clear()
        self._damaged.clear()
        self._state = replace(
            self._state,
            committed=committed,
            next_sequence=next_sequence,
            forgotten=next_sequence - 1,
        )
        self._begin_segment()
        for message in kept:
            self.append(renumber(message, self._state.next_sequence))
        while self._segments[0].first <= committed and len(self._segments) > 1:
            self._erase_oldest()

    def _messages(self) -> Iterator[bytes]:
        """The messages that are kept and not committed, in order."""
        sequence = self.oldest
        while sequence < self._state.next_sequence:
            message = self.read(sequence)
            if message is not None:
                yield message
            sequence = self.first_kept(sequence + 1)

    def set_clock_offset(self, offset_ms: int) -> None:
        """Remember the correction of the clock (server minus device, ms) over a reboot."""
        self._state = replace(self._state, clock_offset_ms=offset_ms)
        self._write_state()

    def close(self) -> None:
        """Close the files; what was appended stays."""
        for segment in self._segments:
            os.close(segment.descriptor)
        self._segments.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _write(self, segment: _Segment, kind: int, payload: bytes) -> int:
        record = _HEAD.pack(len(payload), kind) + payload
        record += int(_crc32c(record)).to_bytes(_CRC_BYTES, "little")
        offset = segment.size
        written = os.pwrite(segment.descriptor, record, offset)
        if written != len(record):  # the medium is full: leave no half record behind
            os.ftruncate(segment.descriptor, offset)
            raise OSError(errno.ENOSPC, "no space left for the buffer", str(segment.path))
        if self._sync:
            os.fdatasync(segment.descriptor)
        segment.size += written
        self._size += written
        return offset

    def _write_state(self) -> None:
        state = self._state
        offset = state.clock_offset_ms
        payload = _STATE.pack(
            state.boot_count,
            state.next_sequence,
            state.committed,
            state.forgotten,
            offset or 0,
            offset is not None,
        )
        self._write(self._segments[-1], _STATE_KIND, payload)

    def _begin_segment(self) -> _Segment:
        number = int(self._segments[-1].path.stem) + 1 if self._segments else 1
        path = self.folder / f"{number:08d}.log"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        segment = _Segment(path, descriptor, self._state.next_sequence)
        self._segments.append(segment)
        self._write_state()
        if self._sync:
            self._sync_folder()
        # Only now, with the state safe in the new segment, may older ones go.
        while self._size + self._segment_bytes > self._capacity and len(self._segments) > 1:
            self._erase_oldest()
        return segment

    def _erase_oldest(self) -> None:
        segment = self._segments.popleft()
        self._size -= segment.size
        self.dropped += max(0, segment.end - max(segment.first, self._state.committed + 1))
        segment.erase()

    def _sync_folder(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _recover(self) -> None:
        for path in sorted(self.folder.glob("*.log")):
            segment = self._recover_segment(path)
            if segment is None:
                path.unlink()
                continue
            self._segments.append(segment)
            self._size += segment.size
        while len(self._segments) > 1 and self._segments[0].end <= self._state.committed + 1:
            self._erase_oldest()
        self.dropped = 0

    def _recover_segment(self, path: Path) -> _Segment | None:
        """Read a file; None when its head is damaged.

        A damaged record costs itself alone while the one behind it is sound; what follows the last
        sound record is a torn end and cut off.
        """
        descriptor = os.open(path, os.O_RDWR)
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        segment: _Segment | None = None
        position = 0
        damaged: list[int] = []  # positions of damaged records since the last message
        while True:
            record = _record_at(data, position)
            if record is None:
                skipped = _record_end(data, position)
                if segment is None or skipped is None or _record_at(data, skipped) is None:
                    break
                damaged.append(position)
                position = skipped
                continue
            kind, payload, end = record
            if kind == _STATE_KIND:
                # A segment is never older than what was read before it.
                boots, following, committed, forgotten, offset, known = _STATE.unpack(payload)
                following = max(following, self._state.next_sequence)
                self._state = State(
                    boots, following, committed, forgotten, offset if known else None
                )
                segment = segment or _Segment(path, descriptor, following)
            elif segment is None:
                break
            elif kind == _DISCARD_KIND:
                self._discarded.update(_SEQUENCE.unpack(payload))
            else:
                (sequence,) = _SEQUENCE.unpack_from(payload)
                missing = sequence - segment.end
                if not 0 <= missing <= len(damaged):
                    break
                segment.offsets.extend(damaged[:missing])
                self._damaged.update(range(sequence - missing, sequence))
                damaged.clear()
                segment.offsets.append(position)
                self._state = replace(self._state, next_sequence=sequence + 1)
            position = end
        if segment is None:
            os.close(descriptor)
            return None
        if position < len(data):
            os.ftruncate(descriptor, position)
        segment.size = position
        return segment


def _lock(folder: Path) -> int:
    """Keep other processes off the folder until the returned descriptor is closed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BufferUnusableError(
            f"the buffer in {folder} is in use by another process: stop that one first"
        ) from None
    return descriptor


def _record_at(data: bytes, position: int) -> tuple[int, bytes, int] | None:
    """Kind, payload and end of the record at `position`; None when it is torn or damaged."""
    end = _record_end(data, position)
    if end is None:
        return None
    length, kind = _HEAD.unpack_from(data, position)
    checked = data[position : end - _CRC_BYTES]
    if int(_crc32c(checked)) != int.from_bytes(data[end - _CRC_BYTES : end], "little"):
        return None
    payload = checked[_HEAD.size :]
    sound = length == _SIZES[kind] if kind in _SIZES else kind == _MESSAGE_KIND
    return (kind, payload, end) if sound and length >= _SEQUENCE.size else None


def _record_end(data: bytes, position: int) -> int | None:
    """Where the record at `position` says that it ends; None when that cannot be."""
    if len(data) - position < _HEAD.size:
        return None
    length, _ = _HEAD.unpack_from(data, position)
    end = position + _HEAD.size + int(length) + _CRC_BYTES
    return end if length <= _MAX_PAYLOAD and end <= len(data) else None

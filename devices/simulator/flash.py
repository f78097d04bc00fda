"""The flash memory of a small device: erased by the sector, programmed by the bit, cut at any byte.

NOR flash: erasing a sector sets all its bits, programming clears some; nothing else changes a
bit. A power failure leaves what was written up to that byte, and the byte in work torn. The memory
is a file when the device shall outlive its process.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

SECTOR: Final = 4_096
ERASED: Final = 0xFF
_OFF: Final = -1  # `power_left` of a memory whose power has failed
_TORN_BITS: Final = 0xF0  # of a byte in work when the power fails, half of the bits had time


class PowerLostError(Exception):
    """The power failed within an operation on the memory."""


@dataclass(frozen=True, slots=True)
class Region:
    """Whole sectors of a flash memory, from byte `start` on."""

    start: int
    size: int

    @property
    def end(self) -> int:
        """The byte behind the last one."""
        return self.start + self.size

    def part(self, offset: int, size: int) -> Region:
        """A region within this one."""
        return Region(self.start + offset, size)


class Flash:
    """A memory of `size` bytes. `power_left`: how many more bytes can be worked on before the
    power fails (None: it holds); `worked` counts them. Sectors in `bad` do not keep what they get.
    """

    def __init__(self, size: int, path: Path | None = None) -> None:
        """Open the memory in `path`, or make an erased one; without a path it lives in memory."""
        if size % SECTOR:
            raise ValueError(f"{size} bytes are no whole sectors of {SECTOR}")
        self.size: Final = size
        self.power_left: int | None = None
        self.worked = 0
        self.bad: frozenset[int] = frozenset()
        self._file: mmap.mmap | None = None
        if path is None:
            self._bytes: bytearray | mmap.mmap = bytearray((ERASED,)) * size
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            held = os.fstat(descriptor).st_size
            if held < size:
                os.pwrite(descriptor, bytes((ERASED,)) * (size - held), held)
            self._bytes = self._file = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Let the file go; its content stays."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, at: int, size: int) -> bytes:
        """Bytes `at` … `at + size`."""
        self._check(at, size)
        return bytes(self._bytes[at : at + size])

    def program(self, at: int, data: bytes) -> None:
        """Clear bits: what was not erased before ends as old AND new; raises PowerLostError."""
        self._check(at, len(data))
        done = self._work(len(data))
        old = self._bytes[at : at + len(data)]
        new = (int.from_bytes(old, "big") & int.from_bytes(data, "big")).to_bytes(len(data), "big")
        if done == len(data):
            self._bytes[at : at + len(data)] = self._as_kept(at, new)
            return
        self._bytes[at : at + done] = new[:done]
        self._bytes[at + done] = old[done] & (new[done] | (0xFF ^ _TORN_BITS))
        raise PowerLostError(f"the power failed after {done} of {len(data)} bytes")

    def erase(self, at: int) -> None:
        """Set all bits of the sector that begins `at`; raises PowerLostError."""
        if at % SECTOR:
            raise ValueError(f"no sector begins at {at}")
        self._check(at, SECTOR)
        done = self._work(SECTOR)
        self._bytes[at : at + done] = bytes((ERASED,)) * done
        if done < SECTOR:
            raise PowerLostError(f"the power failed after {done} bytes of a sector were erased")

    def write(self, at: int, data: bytes) -> None:
        """Erase the sectors that begin in `at … at + len(data)` and program them."""
        for start in range(at, at + len(data), SECTOR):
            self.erase(start)
            self.program(start, data[start - at : start - at + SECTOR])

    def restore_power(self) -> None:
        """The power is back, and holds."""
        self.power_left = None

    def _work(self, size: int) -> int:
        """How many of `size` bytes are done before the power fails."""
        if self.power_left is None:
            self.worked += size
            return size
        if self.power_left < 0:
            raise PowerLostError("there is no power")
        done = min(size, self.power_left)
        self.power_left = self.power_left - size if done == size else _OFF
        self.worked += done
        return done

    def _as_kept(self, at: int, data: bytes) -> bytes:
        first, last = at // SECTOR, (at + len(data) - 1) // SECTOR
        if not any(sector in self.bad for sector in range(first, last + 1)):
            return data
        kept = bytearray(data)
        for index in range(0, len(kept), 512):
            if (at + index) // SECTOR in self.bad:
                kept[index] ^= 0x01  # a cell that does not hold its charge
        return bytes(kept)

    def _check(self, at: int, size: int) -> None:
        if at < 0 or at + size > self.size:
            raise ValueError(f"bytes {at} … {at + size} lie outside a memory of {self.size}")

"""Limits of the bridge: how often, how many, how much. No I/O; the clock is passed in (seconds).

Every table here is bounded: an attacker who comes from ever new addresses or with ever new serials
pushes out the entry that was not used for the longest time and never grows the memory.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

# A device with a wrong secret tries again and again; a person who types one wrong, a few times.
FAILURES_PER_ADDRESS: Final = 20
FAILURES_PER_ADDRESS_EVERY_S: Final = 3.0
FAILURES_PER_SERIAL: Final = 5
FAILURES_PER_SERIAL_EVERY_S: Final = 60.0
# Bytes that cannot be trusted are kept for a person to look at: a few, not a flood.
MALFORMED_PER_DEVICE: Final = 5
MALFORMED_PER_DEVICE_EVERY_S: Final = 60.0
# Log lines about what strangers can cause at will, for each kind of event.
LOG_LINES_BURST: Final = 20
LOG_LINES_EVERY_S: Final = 1.0
# Addresses, serials and devices remembered at once in each table, about 200 bytes each.
MAX_TRACKED: Final = 20_000

# A chunk that goes late is made up for, if it was not later than this.
PACE_SLACK_S: Final = 0.25

# Two devices with one serial replace each other for ever: every time within `FLAPPING_S` doubles
# the time for which the one that lost is sent away.
FLAPPING_S: Final = 300.0
MAX_REPLACED_RETRY_S: Final = 300


class BucketTable:
    """Token buckets by key: `burst` at once, then one more every `every_s` seconds."""

    def __init__(self, burst: int, every_s: float, *, capacity: int = MAX_TRACKED) -> None:
        self._burst = float(burst)
        self._every_s = every_s
        self._capacity = capacity
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until the key has a token; 0 when it has one."""
        tokens = self._tokens(key, now)
        return 0.0 if tokens >= 1.0 else (1.0 - tokens) * self._every_s

    def take(self, key: str, now: float) -> bool:
        """Take one token of the key; False (and nothing taken) when there is none."""
        tokens = self._tokens(key, now)
        if tokens < 1.0:
            return False
        self._buckets[key] = (tokens - 1.0, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
        return True

    def _tokens(self, key: str, now: float) -> float:
        bucket = self._buckets.get(key)
        if bucket is None:
            return self._burst
        tokens, at = bucket
        return min(self._burst, tokens + (now - at) / self._every_s)


class Flapping:
    """How long a replaced device is sent away: 1 s, doubled with every replacement in a row."""

    def __init__(self, *, capacity: int = MAX_TRACKED) -> None:
        self._capacity = capacity
        self._replaced: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def retry_after_s(self, device_id: int, now: float) -> int:
        """Count one replacement of the device; the seconds to tell the one that lost."""
        times, at = self._replaced.get(device_id, (0, now))
        times = times + 1 if now - at <= FLAPPING_S else 1
        self._replaced[device_id] = (times, now)
        self._replaced.move_to_end(device_id)
        if len(self._replaced) > self._capacity:
            self._replaced.popitem(last=False)
        # The exponent is bounded before the shift: it comes from the outside.
        return min(MAX_REPLACED_RETRY_S, 1 << min(times - 1, 16))


class Pace:
    """How fast a connection may be sent a firmware: `rate` bytes/s, 0 for as fast as it goes.

    Virtual scheduling (ITU-T I.371, annex A): what is sent moves the time at which the next may be
    sent by size ÷ rate, counted from at most `PACE_SLACK_S` ago. So within any time of T seconds
    no more goes out than rate · (T + PACE_SLACK_S) and one chunk.
    """

    __slots__ = ("_next_at", "rate")

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self._next_at = -math.inf

    def wait_s(self, now: float) -> float:
        """Seconds until the next chunk may be sent; 0 when it may now."""
        return max(0.0, self._next_at - now) if self.rate else 0.0

    def spend(self, size: int, now: float) -> None:
        """`size` bytes were sent."""
        if self.rate:
            self._next_at = max(self._next_at, now - PACE_SLACK_S) + size / self.rate


class ConnectionCounter:
    """Connections in all and per address, those in the handshake included."""

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._addresses: dict[str, int] = {}
        self.count = 0

    def admit(self, address: str) -> bool:
        """Count one more connection; False (and not counted) when a limit is reached."""
        own = self._addresses.get(address, 0)
        if self.count >= self._total or own >= self._per_address:
            return False
        self._addresses[address] = own + 1
        self.count += 1
        return True

    def leave(self, address: str) -> None:
        """A counted connection is over."""
        self.count -= 1
        left = self._addresses[address] - 1
        if left:
            self._addresses[address] = left
        else:
            del self._addresses[address]

"""What a device may fetch over one connection, and what it has asked for. No I/O, no clock.

An OFFER that passes to a device is its grant for the payload; a FETCH of anything else is answered
with a reason. What may be served waits here, a few requests at most, for `transfers.py`.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from devices.ingest.limits import Pace
from devices.protocol.codes import ChunkStatus
from devices.protocol.firmware import Chunk, Fetch, Offer

# An update, and one that takes its place before the device has let go of it.
MAX_GRANTS: Final = 2
# Chunks that a device may have asked for and not got: enough to fill a link with a long way.
MAX_OUTSTANDING: Final = 4
# A device that asked for too much at once asks again after so long.
AGAIN_S: Final = 1
# FETCHes that get a refusal: so many at once, then two a second. Answering costs us more than
# asking costs a device, and one that heeds the answers never comes near.
REFUSALS_AT_ONCE: Final = 32
REFUSAL_EVERY_US: Final = 500_000


class Grant(NamedTuple):
    """A payload that the device may fetch."""

    update_id: bytes
    payload_sha256: bytes
    size: int


class Request(NamedTuple):
    """A part of a granted payload that the device waits for; `length` ends with the payload."""

    grant: Grant
    offset: int
    length: int


class Grants:
    """The grants of one connection, the requests to serve in their order, and their pace."""

    __slots__ = ("_grants", "_refused_us", "pace", "requests")

    def __init__(self) -> None:
        self._grants: dict[bytes, Grant] = {}
        self._refused_us = 0
        self.pace = Pace(0)
        self.requests: deque[Request] = deque()

    def offered(self, offer: Offer) -> list[Chunk]:
        """An OFFER goes to the device; the answers to requests that it makes void."""
        grant = Grant(offer.update_id, offer.payload_sha256, offer.payload_size)
        void: list[Chunk] = []
        if self._grants.get(offer.update_id, grant) != grant:
            void = self.withdrawn(offer.update_id)
        self._grants.pop(offer.update_id, None)
        self._grants[offer.update_id] = grant
        if len(self._grants) > MAX_GRANTS:
            void += self.withdrawn(next(iter(self._grants)))
        self.pace.rate = offer.rate
        return void

    def withdrawn(self, update_id: bytes) -> list[Chunk]:
        """The offer no longer stands; the answers to requests for it that were not served."""
        self._grants.pop(update_id, None)
        void = [one for one in self.requests if one.grant.update_id == update_id]
        self.requests = deque(one for one in self.requests if one.grant.update_id != update_id)
        return [Chunk(update_id, ChunkStatus.GONE, one.offset) for one in void]

    def asked(self, fetch: Fetch) -> Chunk | None:
        """A FETCH came: None when it waits to be served, else its answer."""
        grant = self._grants.get(fetch.update_id)
        if grant is None:
            return Chunk(fetch.update_id, ChunkStatus.GONE, fetch.offset)
        if fetch.offset >= grant.size:
            return Chunk(fetch.update_id, ChunkStatus.RANGE, fetch.offset)
        if len(self.requests) >= MAX_OUTSTANDING:
            return Chunk(fetch.update_id, ChunkStatus.NOT_NOW, fetch.offset, AGAIN_S)
        length = min(fetch.length, grant.size - fetch.offset)
        self.requests.append(Request(grant, fetch.offset, length))
        return None

    def tolerates_refusal(self, now_us: int) -> bool:
        """Count one more FETCH that was refused; False when there are too many."""
        self._refused_us = max(self._refused_us, now_us) + REFUSAL_EVERY_US
        return self._refused_us - now_us <= REFUSALS_AT_ONCE * REFUSAL_EVERY_US

"""Chunks of a bridge in turns: what waiting connections cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from types import SimpleNamespace
from typing import TypeVarTuple, Unpack, cast

from redis.asyncio import Redis as AsyncRedis

from devices.ingest.artifacts import Pieces
from devices.ingest.connection import Connection
from devices.ingest.grants import Grants
from devices.ingest.transfers import Transfers
from devices.protocol.firmware import Fetch, Offer

Ts = TypeVarTuple("Ts")
UPDATE = bytes(16)
OFFER = Offer(UPDATE, b"manifest", bytes(64), bytes(32), 1_000_000)


class Peer:
    """A device that has asked for a chunk and does not read what it is sent."""

    def __init__(self) -> None:
        self.session = SimpleNamespace(grants=Grants())
        self.session.grants.offered(OFFER)
        assert self.session.grants.asked(Fetch(UPDATE, 0, 4_096)) is None
        self.gone = False
        self.looks = 0

    @property
    def drained(self) -> bool:
        """Its socket is full."""
        self.looks += 1
        return False


class CountingLoop(asyncio.SelectorEventLoop):
    """Counts the timers that somebody sets for himself, by whom."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: list[object] = []

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Notes whose method it is."""
        self.owners.append(getattr(callback, "__self__", None))
        return super().call_later(delay, callback, *args, context=context)


def test_connections_whose_sockets_are_full_wait_for_one_timer_and_go_together() -> None:
    peers = [Peer() for _ in range(300)]

    async def main() -> int:
        transfers = Transfers(Pieces(AsyncRedis()))
        serving = asyncio.create_task(transfers.run())
        async with asyncio.timeout(60):
            for peer in peers:
                transfers.want(cast("Connection", peer))
            while any(not peer.looks for peer in peers):
                await asyncio.sleep(0)
            # Others that are looked at again meanwhile have set the next timer.
            rounds = max(peer.looks for peer in peers)
            timers = loop.owners.count(transfers)
            for peer in peers:
                peer.gone = True
            while transfers.engaged:
                await asyncio.sleep(0)
        serving.cancel()
        return timers - rounds

    loop = CountingLoop()
    try:
        assert loop.run_until_complete(main()) <= 0
    finally:
        loop.close()

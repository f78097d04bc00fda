"""The bridge: devices on one side, the queue on the other.

One process, one event loop. Several processes may share a port (SO_REUSEPORT), on one machine or
many: whatever must hold over all of them goes through Redis notices and the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import resource
import secrets
import signal
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import psycopg
import uvloop
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from devices.collector import collect_by_hand
from devices.ending import end
from devices.ingest.admission import Gate
from devices.ingest.artifacts import Pieces
from devices.ingest.authentication import CredentialCache, Registry
from devices.ingest.bridge_notices import Notices
from devices.ingest.connection import Connection
from devices.ingest.heartbeat import INTERVAL_S, beat_async, clear_async
from devices.ingest.limits import ConnectionCounter
from devices.ingest.listener import Listener
from devices.ingest.outflow import LOST, Outflow
from devices.ingest.queue import (
    DOWNLINK_CHANNEL,
    EVICT_CHANNEL,
    LIVE_CHANNEL,
    committed_channel,
)
from devices.ingest.roster import TAG_BITS, Roster
from devices.ingest.session import Policy
from devices.ingest.tls import CertificateError, TlsOptions, load_certificate, make_context
from devices.ingest.transfers import Transfers

logger = logging.getLogger(__name__)

# How long a stopping bridge waits for its devices to go.
DRAIN_S: Final = 5.0
START_S: Final = 10.0
QUERY_S: Final = 5.0
# Errands (evictions, devices in doubt) of so many seconds go together.
GATHER_S: Final = 0.005
MAX_ERRANDS: Final = 1_000
RETRY_S: Final = 1.0
# Connections leave nothing for the collector; what else may have is looked for so often.
COLLECT_S: Final = 3_600.0
_M_MMAP_THRESHOLD: Final = -3


class BridgeError(Exception):
    """The bridge cannot start; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeOptions:
    """Everything that a bridge needs to know; times in seconds, sizes in bytes."""

    host: str
    port: int
    tls: TlsOptions
    database_url: str
    redis_url: str
    policy: Policy = field(default_factory=Policy)
    max_connections: int = 20_000
    # Devices behind one mobile carrier share addresses, so this is a brake and not a quota.
    max_connections_per_address: int = 5_000
    # None: as fast as it comes. Window and queue hold a device back in any case.
    max_bytes_per_s: int | None = None


class Bridge:
    """One bridge process; `run` is its life."""

    def __init__(self, options: BridgeOptions) -> None:
        self._options = options
        self.bridge_id = secrets.token_hex(6)
        self._context = make_context(options.tls)
        # A retry inside the client would hide that the connection, and maybe all data, was lost.
        self._redis = _redis(options.redis_url, timeout_s=QUERY_S)
        self._listening_redis = _redis(options.redis_url, timeout_s=None)
        self._pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
            options.database_url,
            min_size=1,
            max_size=2,
            timeout=QUERY_S,
            open=False,
            kwargs={
                "autocommit": True,
                "options": f"-c statement_timeout={QUERY_S * 1000:.0f}",
                "application_name": "wattline bridge",
            },
        )
        self._registry = Registry(self._pool)
        self._stop = asyncio.Event()
        # Which ways through Redis are blocked, and whether data may have been lost with them.
        self._interruptions: set[str] = set()
        self._lost = False
        self.port = 0

    async def run(self, ready: asyncio.Event | None = None) -> None:
        """Serve until `stop`, then send every device away and deliver what there is.

        `ready` is set once connections are accepted. Raises BridgeError when the start fails, and
        whatever ended a service that must not end.
        """
        _raise_file_limit()
        _return_memory_at_once()
        try:
            tag = await self._connect()
            await self._serve(tag, ready)
        finally:
            await self._redis.aclose()
            await self._listening_redis.aclose()
            await self._pool.close()

    def stop(self) -> None:
        """Begin to end (SIGTERM, SIGINT)."""
        self._stop.set()

    def reload(self) -> None:
        """Load certificate and key anew (SIGHUP); what does not fit changes nothing."""
        try:
            load_certificate(self._context, self._options.tls)
        except CertificateError as error:
            logger.warning("tls.reload_failed error=%s", error)
        else:
            logger.info("tls.reloaded certificate=%s", self._options.tls.certificate)

    async def _connect(self) -> int:
        """Reach database and Redis; this bridge's tag for connection numbers."""
        try:
            await self._pool.open(wait=True, timeout=START_S)
        except PoolTimeout as error:
            raise BridgeError(
                "the database does not answer: start it, or correct DATABASE_INGEST_URL"
            ) from error
        try:
            return int(await self._redis.incr("bridges:tag")) % (1 << TAG_BITS)
        except (RedisError, *LOST) as error:
            raise BridgeError(
                f"Redis does not answer ({error}): start it, or correct REDIS_URL"
            ) from error

    async def _serve(self, tag: int, ready: asyncio.Event | None) -> None:
        options = self._options
        limits = ConnectionCounter(
            total=options.max_connections, per_address=options.max_connections_per_address
        )
        cache = CredentialCache()
        gate = Gate(self._registry, cache, self._redis)
        self._outflow = Outflow(
            self._redis,
            self.bridge_id,
            on_blocked=lambda lost: self._interrupted("queue", lost=lost),
            on_flowing=lambda: self._restored("queue"),
        )
        self._transfers = Transfers(Pieces(self._redis))
        self._roster = Roster(
            bridge=self.bridge_id,
            tag=tag,
            policy=options.policy,
            max_bytes_per_s=options.max_bytes_per_s,
            limits=limits,
            outflow=self._outflow,
            cache=cache,
            gate=gate,
            transfers=self._transfers,
        )
        self._listener = Listener(
            self._context,
            limits,
            lambda address: Connection(self._roster, address),
            self._roster.say,
        )
        notices = Notices(
            self._listening_redis,
            {
                committed_channel(self.bridge_id): self._roster.on_committed,
                DOWNLINK_CHANNEL: self._roster.on_downlink,
                LIVE_CHANNEL: self._roster.on_live,
                EVICT_CHANNEL: self._roster.on_evict,
            },
            on_lost=lambda: self._interrupted("notices", lost=True),
            on_restored=lambda: self._restored("notices"),
        )
        services = [
            _service("notices", notices.run()),
            _service("gate", gate.run()),
            _service("errands", self._run_errands()),
            _service("sweep", self._sweep()),
            _service("heartbeat", self._beat()),
            _service("transfers", self._transfers.run()),
        ]
        delivery = _service("outflow", self._outflow.run())
        stopped = _service("stop", self._until_stopped())
        listening = _service("listening", notices.wait_listening())
        try:
            # A service that ends has failed: the process ends with its error and is started anew.
            await asyncio.wait(
                [listening, stopped, delivery, *services], return_when=asyncio.FIRST_COMPLETED
            )
            if listening.done() and not stopped.done():
                self._listen()
                if ready is not None:
                    ready.set()
                await asyncio.wait(
                    [stopped, delivery, *services], return_when=asyncio.FIRST_COMPLETED
                )
            await self._drain()
        finally:
            self._listener.close()
            self._outflow.stop()
            results = [
                *await end([*services, stopped, listening]),
                *await asyncio.gather(delivery, return_exceptions=True),
            ]
        for result in results:
            if isinstance(result, Exception):
                raise result
        await self._clear_heartbeat()
        logger.info("bridge.stopped id=%s", self.bridge_id)

    async def _until_stopped(self) -> None:
        await self._stop.wait()

    def _listen(self) -> None:
        host, port = self._options.host, self._options.port
        try:
            self._listener.listen(host, port)
        except OSError as error:
            raise BridgeError(
                f"cannot listen on {host}:{port} ({error.strerror}): "
                "set WATTLINE_BRIDGE_PORT to a free port"
            ) from error
        self._listener.start()
        self.port = self._listener.port
        logger.info("bridge.ready id=%s address=%s:%d", self.bridge_id, host, self.port)

    async def _drain(self) -> None:
        self._listener.close()
        self._roster.send_everybody_away()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._roster.wait_empty(), DRAIN_S)

    # --- Back-pressure and outages --------------------------------------------------------------

    def _interrupted(self, way: str, *, lost: bool) -> None:
        """The way into the queue or that of the notices is blocked: nobody is read from, nobody
        is let in. `lost`: the connection is gone, and with it maybe what was under way."""
        self._interruptions.add(way)
        self._lost = self._lost or lost
        self._listener.pause()
        self._roster.hold("redis")

    def _restored(self, way: str) -> None:
        """A way is free again. Once both are, devices send again what may have been lost; and
        revocations or newer connections that were not heard of are looked up."""
        self._interruptions.discard(way)
        if self._interruptions or self._stop.is_set():
            return
        logger.info("redis.restored lost=%s", self._lost)
        if self._lost:
            self._lost = False
            self._roster.send_again()
            self._roster.doubt_everything()
        self._roster.release("redis")
        self._listener.start()

    # --- Services -------------------------------------------------------------------------------

    async def _run_errands(self) -> None:
        """Announce newer connections, and look up devices in doubt."""
        roster = self._roster
        while True:
            await roster.errands.wait()
            await asyncio.sleep(GATHER_S)
            roster.errands.clear()
            evictions, roster.evictions = roster.evictions, []
            # Out of the list before the question: a doubt that comes up meanwhile is a new one.
            doubted = {key: roster.doubted.pop(key) for key in list(roster.doubted)[:MAX_ERRANDS]}
            try:
                if evictions:
                    await self._redis.publish(EVICT_CHANNEL, b"".join(evictions))
                if doubted:
                    roster.judge(await self._registry.states(list(doubted)), doubted)
            except (psycopg.Error, PoolTimeout, RedisError, *LOST) as error:
                # Evictions are announced again when the notices are back; doubts stay.
                for device_id, changed in doubted.items():
                    roster.doubted[device_id] = changed or roster.doubted.get(device_id, False)
                logger.warning("errands.failed error=%s", error)
                await asyncio.sleep(RETRY_S)
            if roster.doubted:
                roster.errands.set()

    async def _sweep(self) -> None:
        collected = time.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = time.monotonic()
            self._roster.check(list(self._roster.connections), now)
            if now - collected >= COLLECT_S:
                gc.collect()
                collected = now

    async def _beat(self) -> None:
        while True:
            try:
                await beat_async(self._redis, "bridge", self.bridge_id, self.counters())
            except (RedisError, *LOST) as error:
                logger.warning("heartbeat.failed error=%s", error)
            await asyncio.sleep(INTERVAL_S)

    async def _clear_heartbeat(self) -> None:
        try:
            await clear_async(self._redis, "bridge", self.bridge_id)
        except (RedisError, *LOST) as error:
            logger.warning("heartbeat.failed error=%s", error)

    def counters(self) -> dict[str, float]:
        """What the bridge does and has done, for the heartbeat; `refused.{code}` by code."""
        roster = self._roster
        counters = roster.counters
        return {
            "connections": len(roster.connections),
            "devices": len(roster.devices),
            "under_way_bytes": self._outflow.under_way_bytes,
            "paused": len(roster.pauses),
            **{name: getattr(counters, name) for name in counters.__slots__ if name != "refused"},
            **asdict(self._listener.counters),
            **asdict(self._outflow.counters),
            "transferring": self._transfers.engaged,
            **asdict(self._transfers.counters),
            **asdict(self._transfers.pieces.counters),
            **{f"refused.{code}": count for code, count in counters.refused.items()},
        }


def run_bridge(options: BridgeOptions) -> None:
    """Run a bridge until SIGTERM or SIGINT; SIGHUP reloads the certificate."""

    async def main() -> None:
        bridge = Bridge(options)
        collect_by_hand()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, bridge.stop)
        loop.add_signal_handler(signal.SIGINT, bridge.stop)
        loop.add_signal_handler(signal.SIGHUP, bridge.reload)
        await bridge.run()

    uvloop.run(main())


def _service(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=name)


def _redis(url: str, *, timeout_s: float | None) -> Redis:
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=QUERY_S,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )


def _return_memory_at_once() -> None:
    """uvloop holds a buffer of 256 KiB for each TLS connection. By default glibc moves such sizes
    onto the heap once some were freed (mallopt(3), M_MMAP_THRESHOLD), where they leave holes: a
    fleet that came and went would leave its memory behind."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none, and no such heap
        mallopt(_M_MMAP_THRESHOLD, 128 * 1024)


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

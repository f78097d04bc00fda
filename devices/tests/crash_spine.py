"""The whole way from devices to the database, in processes that a test may kill at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import psycopg
from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from devices.ingest import heartbeat, queue
from devices.protocol import Block, decode_data
from devices.simulator.buffer import Buffer
from devices.simulator.client import Address, DeviceClient, client_tls
from devices.simulator.session import Identity
from devices.tests.device_server import make_certificate
from devices.tests.ingest_park import Endpoints, Owner, ParkDevice, make_park, rows

READY_S = 40.0
DRAIN_S = 60.0
FRAME_EVERY_S = 0.05
CHANNELS = 3
# A reading: device, time (ms since the Unix epoch), channel, raw value.
Reading = tuple[int, int, int, int]


class PrivateServers(Protocol):
    """What the fixture `private_servers` makes."""

    @property
    def postgres(self) -> Any: ...
    @property
    def redis(self) -> Any: ...
    def endpoints(self) -> Endpoints: ...
    def start(self) -> None: ...
    def wipe_redis(self) -> None: ...


class Eager(random.Random):
    """Chance that makes devices come back soon; waits stay spread."""

    def uniform(self, a: float, b: float) -> float:
        return super().uniform(a, min(b, 1.0))


@dataclass
class Spine:
    """Private servers, a bridge, writers and devices; `produced` is what the devices measured."""

    servers: PrivateServers
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    park: list[ParkDevice] = field(default_factory=list)
    clients: list[DeviceClient] = field(default_factory=list)
    produced: list[Reading] = field(default_factory=list)
    events: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.endpoints = self.servers.endpoints()
        self.certificate = make_certificate(self.folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    # --- Processes --------------------------------------------------------------------------

    def launch(self, name: str) -> None:
        """Start `bridge`, `dispatcher`, `writer` or a further `writer…`; returns at once."""
        command = [sys.executable, "manage.py"]
        if name == "bridge":
            certificate, key = map(str, self.certificate)
            command += ["run_bridge", "--port", str(self.port)]
            command += ["--certificate", certificate, "--key", key]
        elif name == "dispatcher":
            command += ["run_dispatcher"]
        else:
            command += ["run_writer"]
        environment = {
            **os.environ,
            "DATABASE_URL": self.endpoints.database_url,
            "DATABASE_APP_URL": self.endpoints.database_app_url,
            "DATABASE_INGEST_URL": self.endpoints.database_ingest_url,
            "REDIS_URL": self.endpoints.redis_url,
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=settings.BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait_ready(self) -> None:
        """Wait until every process that was launched gives a sign of life."""
        deadline = time.monotonic() + READY_S
        wanted = {process.pid for process in self.processes.values()}
        with Redis.from_url(self.endpoints.redis_url) as redis:
            while True:
                try:
                    alive = {beat.pid for beat in heartbeat.alive(redis)}
                except RedisError:
                    alive = set()
                if wanted <= alive:
                    return
                assert time.monotonic() < deadline, self.logs()
                time.sleep(0.05)

    def freeze(self, name: str) -> None:
        """The process stands still until `thaw`, wherever it is."""
        self.processes[name].send_signal(signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """Let it go on, if it is still there."""
        if name in self.processes:
            self.processes[name].send_signal(signal.SIGCONT)

    def kill(self, name: str) -> None:
        """kill -9."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def kill_postgres(self) -> None:
        """kill -9 of the postmaster and of every process under it."""
        server = self.servers.postgres.server
        children = [
            int(folder.name)
            for folder in Path("/proc").iterdir()
            if folder.name.isdigit() and _parent(folder) == server.pid
        ]
        assert children
        self.servers.postgres.kill()
        for pid in children:
            _kill(pid)
        deadline = time.monotonic() + READY_S
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < deadline, children
            time.sleep(0.02)

    async def commit_without_acknowledgement(self) -> None:
        """On return, the writer has committed a batch, and Redis does not take its word for it.

        The moment at which a crash would double readings: reached for certain by holding the
        cursors until the writer has a batch in hand, and Redis from doing anything new.
        """
        await asyncio.to_thread(self._commit_without_acknowledgement)

    def _commit_without_acknowledgement(self) -> None:
        with self._holding_a_commit() as (redis, committed):
            redis.client_pause(60_000, all=False)
        _wait(lambda: self._committed() > committed, "the writer did not commit")

    async def lose_the_queue(self) -> None:
        """Redis forgets messages that the writer has not read, and nobody is told."""
        await asyncio.to_thread(self._lose_the_queue)

    def _lose_the_queue(self) -> None:
        with self._holding_a_commit() as (redis, _):
            _wait(lambda: _unread(redis) > 0, "nothing came into the queue")
            redis.flushall()

    @contextlib.contextmanager
    def _holding_a_commit(self) -> Iterator[tuple[Redis, int]]:
        """Within the block the writer has a batch in hand and cannot commit it."""
        waiting = (
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)"
            " WHERE NOT granted AND application_name = 'wattline-writer'"
        )
        with (
            psycopg.connect(self.endpoints.database_url, autocommit=True) as watching,
            psycopg.connect(self.endpoints.database_url) as holding,
            Redis.from_url(self.endpoints.redis_url) as redis,
        ):
            holding.execute("SELECT FROM device_cursor FOR UPDATE")
            _wait(lambda: rows(watching, waiting) != [(0,)], "the writer came to no commit")
            yield redis, self._committed()
            holding.rollback()

    def _committed(self) -> int:
        with psycopg.connect(self.endpoints.database_url) as owner:
            ((committed,),) = rows(owner, "SELECT sum(committed)::bigint FROM device_cursor")
        return int(committed)

    async def kill_writer_and_forget_its_words(self) -> None:
        """kill -9 of the writer while Redis waits, and on with Redis once it has noticed."""
        await asyncio.to_thread(self._kill_writer_and_forget_its_words)

    def _kill_writer_and_forget_its_words(self) -> None:
        with Redis.from_url(self.endpoints.redis_url) as redis:
            before = len(redis.client_list())
            self.kill("writer")
            _wait(lambda: len(redis.client_list()) < before, "Redis still knows the writer")
            redis.client_unpause()

    def stop(self) -> None:
        """End all processes; they must end well."""
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {name: process.wait(READY_S) for name, process in self.processes.items()}
        self.processes.clear()
        assert set(codes.values()) == {0}, self.logs()

    def kill_all(self) -> None:
        """Leave nothing behind, however the test went."""
        for name in list(self.processes):
            self.kill(name)

    def logs(self) -> str:
        """The end of what the processes said."""
        return "\n".join(
            f"--- {file.name}\n" + "\n".join(file.read_text("utf-8").splitlines()[-15:])
            for file in sorted(self.folder.glob("*.log"))
        )

    # --- Devices ----------------------------------------------------------------------------

    def register(self, devices: int) -> None:
        """Register devices in the private database."""
        with psycopg.connect(self.endpoints.database_url, autocommit=True) as owner:
            self.park = make_park(owner, devices, CHANNELS)

    async def measure(self, seconds: float) -> None:
        """All devices measure and send for `seconds`, whatever the rest of the world does."""
        until = time.monotonic() + seconds
        turn = 0
        while time.monotonic() < until:
            for client, device in zip(self.clients, self.park, strict=True):
                self._measure_once(client, device)
            turn += 1
            await asyncio.sleep(FRAME_EVERY_S)

    def connect_devices(self) -> list[asyncio.Task[None]]:
        """Start the devices' clients, each with a buffer of its own."""
        tls = client_tls(self.certificate[0])
        for number, device in enumerate(self.park):
            identity = Identity(device.serial, device.secret, device.device_type)
            client = DeviceClient(
                address=Address("localhost", self.port),
                tls=tls,
                identity=identity,
                buffer=Buffer(self.folder / device.serial),
                chance=Eager(number),
            )
            self.clients.append(client)
        return [asyncio.create_task(client.run()) for client in self.clients]

    def _measure_once(self, client: DeviceClient, device: ParkDevice) -> None:
        sequence = client.buffer.next_sequence
        if sequence % 10 == 0:
            assert client.append_event("tick", {"n": sequence}) == sequence
            self.events.append((device.device_id, sequence))
            return
        chance = random.Random(device.device_id << 32 | sequence)
        n = chance.choice((1, 5))
        start_ms = _BASE_MS + sequence * 10_000
        times = start_ms + np.arange(n) * 2_000
        values = np.array(
            [[chance.randint(-1_000_000, 1_000_000) for _ in range(n)] for _ in range(CHANNELS)]
        )
        assert client.append_data(Block(times, tuple(range(CHANNELS)), values)) == sequence
        self.produced += _readings(device.device_id, Block(times, tuple(range(CHANNELS)), values))

    def under_way(self) -> int:
        """Messages in the devices' buffers: measured, and not known to be committed."""
        return sum(len(client.buffer) for client in self.clients)

    async def drain(self) -> None:
        """Wait until every device knows that everything is committed."""
        drained = await asyncio.gather(*(client.drain(DRAIN_S) for client in self.clients))
        assert all(drained), f"{self.under_way()} messages are still under way\n{self.logs()}"

    # --- What is stored -----------------------------------------------------------------------

    def stored(self, owner: Owner) -> list[Reading]:
        """Every reading in the database, decoded, in the order of devices and sequence numbers."""
        found: list[Reading] = []
        for device_id, frame in rows(
            owner, "SELECT device_id, frame FROM telemetry_frame ORDER BY device_id, sequence"
        ):
            for block in decode_data(frame).blocks:
                found += _readings(device_id, block)
        return found


_BASE_MS = (time.time_ns() // 1_000_000) - 86_400_000


def _readings(device_id: int, block: Block) -> Iterable[Reading]:
    return [
        (device_id, int(time_ms), channel, int(value))
        for channel, row in zip(block.channels, block.values, strict=True)
        for time_ms, value in zip(block.times, row, strict=True)
    ]


def _wait(condition: Callable[[], bool], complaint: str) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline, complaint
        time.sleep(0.005)


def _unread(redis: Redis) -> int:
    """Entries that were appended and not yet read by a writer."""
    lag = 0
    for partition in range(queue.PARTITIONS):
        groups: Any = redis.xinfo_groups(queue.stream_key(partition))
        lag += sum(group["lag"] or 0 for group in groups)
    return lag


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text("ascii", "replace").rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)

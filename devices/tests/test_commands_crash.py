"""Whatever is restarted at whichever step of a command: it runs exactly once, and its history is
true.

A step is reached for certain by holding up the process that would go on from there (SIGSTOP).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from redis import Redis

from devices.ingest import queue
from devices.protocol import Command, ResultStatus
from devices.protocol.codes import Capability
from devices.simulator.buffer import Buffer
from devices.simulator.client import Address, DeviceClient, client_tls
from devices.simulator.commands import CommandJournal
from devices.simulator.session import Identity
from devices.tests.crash_spine import Eager, PrivateServers, Spine
from devices.tests.ingest_park import rows

pytestmark = [pytest.mark.crash, pytest.mark.django_db(databases=[])]

WAIT_S: Final = 90.0
# Where a command is when something is restarted, and who is held up so that it stays there.
STEPS: Final = {
    "queued": "dispatcher",  # nobody has sent it
    "sent": "bridge",  # the device has not got it
    "run": "bridge",  # the device has done it, and nobody knows
    "answered": "writer",  # its answer is in the queue
    "stored": "dispatcher",  # its answer is in the inbox
    "ended": "",  # all is said
}
# What is restarted with kill -9.
CRASHES: Final = {
    "bridge": ("bridge",),
    "writer": ("writer",),
    "dispatcher": ("dispatcher",),
    "redis": ("redis",),
    "redis, empty": ("redis", "wipe"),
    "database": ("database",),
    "device": ("device",),
    "everything": ("bridge", "writer", "dispatcher", "redis", "wipe", "database", "device"),
}
_HELD_AT_RUN: Final = {"run", "answered", "stored"}
_COMMAND = """
WITH made AS (
  INSERT INTO devices_command (uid, tenant_id, device_id, kind, arguments, subjects, reason, origin,
    asked_at, queued_at, lifetime_s, expires_at, state, state_at, cause, detail, attempts,
    connection)
  VALUES (%s, %s, %s, 'reboot', '{}', '{reboot}', '', 'person', now(), now(), 600,
    now() + interval '10 minutes', 'queued', now(), '', '', 0, 0)
  RETURNING id, tenant_id, device_id)
INSERT INTO devices_commandevent (command_id, tenant_id, device_id, at, step, state, cause, attempt,
  detail, connection)
SELECT id, tenant_id, device_id, now(), 'asked', 'queued', '', 0, '', 0 FROM made
"""


@dataclass
class Unit:
    """A device that remembers its commands over its restarts and does each once."""

    spine: Spine
    runs: list[str] = field(default_factory=list)
    # Called in the moment in which it has done a command, before its answer leaves.
    at_run: Callable[[], None] = lambda: None
    _client: DeviceClient | None = None
    _running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Power on: with what is on the medium."""
        (device,) = self.spine.park
        folder = self.spine.folder / device.serial
        client = DeviceClient(
            address=Address("localhost", self.spine.port),
            tls=client_tls(self.spine.certificate[0]),
            identity=Identity(
                device.serial,
                device.secret,
                device.device_type,
                capabilities=Capability.COMMANDS,
            ),
            buffer=Buffer(folder),
            chance=Eager(1),
        )
        journal = CommandJournal(folder)

        def obey(command: Command) -> None:
            before = journal.find(command.command_id)
            if before is None:
                self.runs.append(command.command_id.hex())
                journal.remember(command.command_id, ResultStatus.DONE, "done")
                self.at_run()
            client.append_result(command.command_id, *(before or (ResultStatus.DONE, "done")))

        client.on_command = obey
        self._client = client
        self._running = asyncio.create_task(client.run())

    async def cut(self) -> None:
        """Power off, without a goodbye."""
        assert self._client is not None
        assert self._running is not None
        self._client.kill()
        await self._running
        self._client.buffer.close()

    @property
    def settled(self) -> bool:
        """Whether all that it has said is committed."""
        return self._client is not None and not len(self._client.buffer)


@pytest.fixture
def spine(private_servers: Callable[[], PrivateServers], tmp_path: Path) -> Iterator[Spine]:
    spine = Spine(private_servers(), tmp_path)
    spine.register(1)
    for name in ("writer", "dispatcher", "bridge"):
        spine.launch(name)
    try:
        spine.wait_ready()
        yield spine
    finally:
        for name in STEPS.values():
            spine.thaw(name)
        spine.kill_all()


def _ask(spine: Spine) -> str:
    (device,) = spine.park
    uid = uuid4()
    with psycopg.connect(spine.endpoints.database_url, autocommit=True) as owner:
        owner.execute(_COMMAND, [uid, device.tenant_id, device.device_id])
    with Redis.from_url(spine.endpoints.redis_url) as redis:
        redis.publish(queue.COMMANDS_CHANNEL, b"")
    return uid.hex


def _command(spine: Spine, uid: str) -> tuple[Any, ...]:
    """State, cause, attempts and whether the device had the last word."""
    with psycopg.connect(spine.endpoints.database_url, autocommit=True) as owner:
        (found,) = rows(
            owner,
            "SELECT state, cause, attempts, answered_at IS NOT NULL FROM devices_command"
            f" WHERE uid = '{uid}'",
        )
    return found


def _history(spine: Spine, uid: str) -> list[tuple[Any, ...]]:
    """Step, cause, state, attempt and connection of each step."""
    with psycopg.connect(spine.endpoints.database_url, autocommit=True) as owner:
        return rows(
            owner,
            "SELECT e.step, e.cause, e.state, e.attempt, e.connection FROM devices_commandevent e"
            f" JOIN devices_command c ON c.id = e.command_id WHERE c.uid = '{uid}' ORDER BY e.id",
        )


def _count(spine: Spine, what: str) -> int:
    with psycopg.connect(spine.endpoints.database_url, autocommit=True) as owner:
        ((count,),) = rows(owner, f"SELECT count(*) FROM {what}")
    return int(count)


def _queued_messages(spine: Spine) -> int:
    """Messages of devices in the queue that are not yet acknowledged by the writer."""
    waiting = 0
    with Redis.from_url(spine.endpoints.redis_url) as redis:
        for partition in range(queue.PARTITIONS):
            key = queue.stream_key(partition)
            groups: Any = redis.xinfo_groups(key) if redis.exists(key) else []
            waiting += sum((group["lag"] or 0) + group["pending"] for group in groups)
    return waiting


def _reachable(spine: Spine) -> bool:
    try:
        return _count(spine, "devices_command") > 0
    except psycopg.OperationalError:
        return False


async def _until(condition: Callable[[], bool], complaint: str, spine: Spine) -> None:
    deadline = asyncio.get_running_loop().time() + WAIT_S
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, f"{complaint}\n{spine.logs()}"
        await asyncio.sleep(0.05)


def _told(spine: Spine, uid: str, unit: Unit) -> bool:
    """Whether the device has had its last word, and nothing is under way any more."""
    *_, answered = _command(spine, uid)
    return bool(answered) and unit.settled and _count(spine, "device_inbox") == 0


async def _reach(step: str, spine: Spine, unit: Unit) -> str:
    """Ask for a command and hold it at the step; its id."""
    held, done = STEPS[step], len(unit.runs)
    if step in _HELD_AT_RUN:
        unit.at_run = lambda: spine.freeze(held)
    elif held:
        spine.freeze(held)
    uid = _ask(spine)
    if step == "sent":
        await _until(lambda: _command(spine, uid)[0] == "sent", "it was not sent", spine)
    elif step in _HELD_AT_RUN:
        await _until(lambda: len(unit.runs) > done, "the device has not done it", spine)
    if step == "answered":
        await _until(lambda: _queued_messages(spine) > 0, "no answer is in the queue", spine)
    elif step == "stored":
        await _until(lambda: _count(spine, "device_inbox") > 0, "no answer is stored", spine)
    elif step == "ended":
        await _until(lambda: _command(spine, uid)[3], "it did not end", spine)
    unit.at_run = lambda: None
    return uid


async def _crash(what: str, spine: Spine, unit: Unit) -> None:
    for part in CRASHES[what]:
        if part == "redis":
            spine.servers.redis.kill()
        elif part == "wipe":
            spine.servers.wipe_redis()
        elif part == "database":
            await asyncio.to_thread(spine.kill_postgres)
        elif part == "device":
            await unit.cut()
        else:
            spine.kill(part)


def _bring_back(what: str, spine: Spine, unit: Unit) -> None:
    postgres, redis = spine.servers.postgres, spine.servers.redis
    if postgres.server is None:
        postgres.clear_stale_pid()
        postgres.launch()
    if redis.server is None:
        redis.launch()
    for name in ("writer", "dispatcher", "bridge"):
        spine.thaw(name)
        if name not in spine.processes:
            spine.launch(name)
    if "device" in CRASHES[what]:
        unit.start()


def _require_truth(spine: Spine, uid: str, unit: Unit) -> None:
    assert unit.runs.count(uid) == 1
    history = _history(spine, uid)
    steps = [step for step, *_ in history]
    sent = [row for row in history if row[0] == "sent"]
    said = [row for row in history if row[0] in ("succeeded", "repeated")]
    assert _command(spine, uid) == ("succeeded", "device", len(sent), True), history
    assert steps == ["asked", *["sent"] * len(sent), "succeeded", *["repeated"] * (len(said) - 1)]
    assert sent[0][1] == "first"
    assert [attempt for *_, attempt, _connection in sent] == list(range(1, len(sent) + 1))
    for (*_, before), (_, cause, *_, after) in pairwise(sent):
        assert (cause, before < after) in {("reconnected", True), ("no_answer", False)}
    kept = "device_event WHERE kind = 'command.result' AND data->>'command' = "
    assert len(said) == _count(spine, f"{kept}'{uid}'")


@pytest.mark.parametrize("what", CRASHES)
def test_a_command_runs_once_and_its_history_is_true(spine: Spine, what: str) -> None:
    unit = Unit(spine)

    async def scenario() -> None:
        unit.start()
        for step in STEPS:
            uid = await _reach(step, spine, unit)
            await _crash(what, spine, unit)
            _bring_back(what, spine, unit)
            spine.wait_ready()
            await _until(lambda: _reachable(spine), "the database is not back", spine)
            await _until(
                partial(_told, spine, uid, unit),
                f"{what} at {step}: it did not end",
                spine,
            )
            _require_truth(spine, uid, unit)
        await unit.cut()

    with contextlib.closing(asyncio.new_event_loop()) as loop:
        loop.run_until_complete(scenario())
    spine.stop()
    assert _count(spine, "devices_command WHERE state <> 'succeeded'") == 0
    assert len(unit.runs) == len(STEPS)

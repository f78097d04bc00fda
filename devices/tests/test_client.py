"""The device's client: exactly once, in order, over links and servers that fail."""

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import uvloop

from devices.protocol import (
    Block,
    Command,
    Data,
    Event,
    Gap,
    GapReason,
    Hello,
    Live,
    Log,
    LogLevel,
    Refuse,
    RefuseCode,
    Result,
    ResultStatus,
    Rewind,
)
from devices.simulator.buffer import Buffer
from devices.simulator.client import (
    BACKOFF_BASE_S,
    BACKOFF_CAP_S,
    Address,
    DeviceClient,
    backoff_s,
    client_tls,
    retry_after_s,
)
from devices.simulator.clock import Clock
from devices.simulator.faults import NO_FAULTS, Faults
from devices.simulator.session import Identity
from devices.tests.device_server import DeviceServer, running

IDENTITY = Identity(serial="T-1", secret=bytes(32), device_type="test")


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connection attempts follow each other quickly; the bounds have a test of their own."""
    monkeypatch.setattr("devices.simulator.client.BACKOFF_BASE_S", 0.02)
    monkeypatch.setattr("devices.simulator.client.BACKOFF_CAP_S", 0.1)


def frame(number: int, samples: int = 5) -> Block:
    times = 1_700_000_000_000 + 2_000 * (np.arange(samples) + number * samples)
    values = np.vstack([times // 2_000 % 1_000, np.full(samples, number)])
    return Block(times.astype(np.int64), (0, 1), values.astype(np.int64))


def flat(frames: list[Data]) -> list[tuple[int, int, int]]:
    """Every reading as (time, channel, value)."""
    return [
        (int(time), channel, int(value))
        for data in frames
        for block in data.blocks
        for channel, row in zip(block.channels, block.values, strict=True)
        for time, value in zip(block.times, row, strict=True)
    ]


def expected(numbers: range) -> list[tuple[int, int, int]]:
    return [
        (int(time), channel, int(value))
        for number in numbers
        for channel, row in enumerate(frame(number).values)
        for time, value in zip(frame(number).times, row, strict=True)
    ]


@contextlib.asynccontextmanager
async def device(
    server: DeviceServer,
    ca: Path,
    folder: Path,
    *,
    faults: Faults = NO_FAULTS,
    clock: Clock | None = None,
    capacity: int = 1 << 20,
) -> AsyncIterator[DeviceClient]:
    with Buffer(folder / "buffer", capacity=capacity) as buffer:
        client = DeviceClient(
            address=Address("localhost", server.port),
            tls=client_tls(ca),
            identity=IDENTITY,
            buffer=buffer,
            faults=faults,
            clock=clock,
            chance=random.Random(7),
        )
        task = asyncio.create_task(client.run())
        try:
            yield client
        finally:
            client.kill()
            await task


async def until(condition: object, seconds: float = 20) -> None:
    """Wait until the callable is true; fails after `seconds`."""
    assert callable(condition)
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def test_client_delivers_every_frame_in_order(tmp_path: Path) -> None:
    server = DeviceServer(window=8)
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        for number in range(100):
            client.append_data(frame(number))
        assert await client.drain(20)
        assert flat(server.frames("T-1")) == expected(range(100))
        assert server.most_in_flight <= 8
        assert (server.duplicates, server.rewinds, server.errors) == (0, 0, [])
        assert client.buffer.oldest == client.buffer.next_sequence == 101


async def test_client_respects_the_window_without_acknowledgements(tmp_path: Path) -> None:
    server = DeviceServer(window=5, committing=False)
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        for number in range(12):
            client.append_data(frame(number))
        await until(lambda: len(server.frames("T-1")) == 5)
        await asyncio.sleep(0.2)
        assert len(server.frames("T-1")) == 5
        assert len(client.buffer) == 12  # nothing is freed before it is committed
        server.commit("T-1")
        await until(lambda: len(server.frames("T-1")) == 10)


async def test_client_records_while_the_link_is_down_and_goes_on_after_a_restart(
    tmp_path: Path,
) -> None:
    server = DeviceServer()
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        client.append_data(frame(0))
        assert await client.drain(20)
    async with device(server, ca, tmp_path) as client:  # nobody listens
        for number in range(1, 40):
            client.append_data(frame(number))
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        client.append_data(frame(40))
        assert await client.drain(20)
    assert flat(server.frames("T-1")) == expected(range(41))
    assert [hello.boot_count for hello in server.hellos] == [1, 3]
    assert server.hellos[-1].oldest_sequence <= 2


@pytest.mark.parametrize(
    "faults",
    [
        Faults(cut_rate=0.05),
        Faults(corrupt_rate=0.05),
        Faults(duplicate_rate=0.3),
        Faults(cut_after_bytes=900),
        Faults(cut_after_s=0.05),
        Faults(cut_rate=0.03, corrupt_rate=0.03, duplicate_rate=0.1),
    ],
    ids=["cut", "corrupt", "duplicate", "bytes", "seconds", "all"],
)
async def test_client_delivers_exactly_once_over_a_faulty_link(
    tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A flipped bit in a length makes the server wait for bytes that never come: the device has to
    # find out by itself.
    for name in ("WATCH_S", "ACK_TIMEOUT_S", "PONG_TIMEOUT_S"):
        monkeypatch.setattr(f"devices.simulator.link.{name}", 0.3)
    server = DeviceServer(window=16)
    async with (
        running(server, tmp_path) as ca,
        device(server, ca, tmp_path, faults=faults) as client,
    ):
        for number in range(150):
            client.append_data(frame(number))
            if number % 10 == 0:
                await asyncio.sleep(0.01)
        assert await client.drain(60)
        assert flat(server.frames("T-1")) == expected(range(150))
        if faults.duplicate_rate:
            assert server.duplicates > 0
        if faults.cut_rate or faults.cut_after_bytes or faults.corrupt_rate:
            assert client.counters.connections > 1


async def test_client_declares_what_a_full_buffer_lost(tmp_path: Path) -> None:
    server = DeviceServer()
    async with running(server, tmp_path) as ca:
        pass
    async with device(server, ca, tmp_path, capacity=8_000) as client:
        for number in range(400):
            client.append_data(frame(number))
        oldest = client.buffer.oldest
        assert oldest > 1
    async with (
        running(server, tmp_path) as ca,
        device(server, ca, tmp_path, capacity=8_000) as client,
    ):
        assert await client.drain(20)
    assert server.messages("T-1")[0] == Gap(1, oldest - 1, GapReason.BUFFER_FULL)
    assert flat(server.frames("T-1")) == expected(range(oldest - 1, 400))
    assert server.committed["T-1"] == 400


async def test_client_sends_again_from_a_rewind(tmp_path: Path) -> None:
    server = DeviceServer(committing=False)
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        for number in range(10):
            client.append_data(frame(number))
        await until(lambda: len(server.frames("T-1")) == 10)
        server.send("T-1", Rewind(4))
        await until(lambda: server.duplicates == 7)
        server.commit("T-1")
        assert await client.drain(10)


async def test_client_that_lost_its_buffer_goes_on_behind_what_may_be_under_way(
    tmp_path: Path,
) -> None:
    server = DeviceServer(window=32, committed={"T-1": 500})
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        await client.connected.wait()
        client.append_data(frame(1))
        assert await client.drain(10)
        gap, data = server.messages("T-1")
        assert gap == Gap(501, 532, GapReason.STATE_LOST)
        assert isinstance(data, Data)
        assert data.sequence == 533
        assert server.hellos[0].next_sequence == 1


async def test_client_resumes_its_tls_session(tmp_path: Path) -> None:
    server = DeviceServer()
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        for number in range(3):
            client.append_data(frame(number))
            assert await client.drain(10)
            server.writers["T-1"].transport.abort()
            await until(lambda: len(server.hellos) == number + 2)  # noqa: B023 (awaited at once)
        assert server.resumed == client.counters.resumed == 3


async def test_client_trusts_only_the_pinned_authority(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    server = DeviceServer()
    async with (
        running(DeviceServer(), other) as other_ca,
        running(server, tmp_path),
        device(server, other_ca, tmp_path) as client,
    ):
        client.append_data(frame(0))
        assert not await client.drain(1)
    assert server.hellos == []


async def test_client_corrects_its_clock_by_the_greeting_and_remembers_it(tmp_path: Path) -> None:
    server = DeviceServer()
    clock = Clock(skew_ms=-3_600_000)
    async with running(server, tmp_path) as ca:
        async with device(server, ca, tmp_path, clock=clock) as client:
            await asyncio.wait_for(client.connected.wait(), 10)
            assert abs(clock.now_ms() - server.now_ms()) < 500
            assert abs(clock.device_ms() - server.now_ms()) > 3_500_000
        async with device(server, ca, tmp_path) as client:
            assert abs((client.clock.offset_ms or 0) - 3_600_000) < 500


async def test_client_follows_a_drifting_clock_by_pings(tmp_path: Path) -> None:
    server = DeviceServer()
    clock = Clock()
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path, clock=clock) as client:
        await asyncio.wait_for(client.connected.wait(), 10)
        server.clock_offset_ms = 5_000
        link = client._link
        assert link is not None
        link._send(link.session.ping())
        await until(lambda: abs(clock.now_ms() - server.now_ms()) < 500)
        assert server.pings[0].next_sequence == client.buffer.next_sequence


async def test_client_notices_a_server_that_hears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCH_S", "ACK_TIMEOUT_S", "PONG_TIMEOUT_S"):
        monkeypatch.setattr(f"devices.simulator.link.{name}", 0.2)
    server = DeviceServer(committing=False)
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        client.append_data(frame(0))
        await until(lambda: len(server.pings) >= 3)
        assert len(server.hellos) == 1  # it answers, so it is only slow: no reason to reconnect
        link = client._link
        assert link is not None
        assert link._transport is not None
        link._transport.write(b"\x01\x10\xff\xff")  # the server now waits for a long message
        await until(lambda: len(server.hellos) == 2)


async def test_client_reports_live_leases(tmp_path: Path) -> None:
    server = DeviceServer(live_lease_s=30)
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        await asyncio.wait_for(client.connected.wait(), 10)
        assert client.live
        changes: list[bool] = []
        client.on_live = changes.append
        server.send("T-1", Live(0))
        await until(lambda: changes == [False])
        server.send("T-1", Live(1))
        await until(lambda: changes == [False, True, False])  # the lease runs out by itself


async def test_client_answers_an_unknown_command_and_carries_logs_and_events(
    tmp_path: Path,
) -> None:
    server = DeviceServer()
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        client.append_log(LogLevel.WARNING, "voltage sag on phase 2")
        client.append_event("relay.opened", {"relay": 1, "by": "thermal"})
        await asyncio.wait_for(client.connected.wait(), 10)
        server.send("T-1", Command(bytes(range(16)), "make.coffee"))
        await until(lambda: len(server.messages("T-1")) == 3)
        log, event, result = server.messages("T-1")
        assert isinstance(log, Log)
        assert [(line.level, line.text) for line in log.lines] == [
            (LogLevel.WARNING, "voltage sag on phase 2")
        ]
        assert isinstance(event, Event)
        assert (event.kind, event.data) == ("relay.opened", {"relay": 1, "by": "thermal"})
        assert isinstance(result, Result)
        assert (result.command_id, result.status) == (bytes(range(16)), ResultStatus.REJECTED)
        assert "make.coffee" in result.detail


async def test_client_gives_up_a_message_that_is_refused_for_good(tmp_path: Path) -> None:
    refusals = [None, Refuse(RefuseCode.MALFORMED, sequence=2), None]
    server = DeviceServer(committing=False, answer=lambda _: refusals.pop(0))
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        for number in range(3):
            client.append_data(frame(number))
        await until(lambda: len(server.frames("T-1")) == 3)
        server.stored.clear()
        server.writers["T-1"].transport.abort()
        await until(lambda: len(server.messages("T-1")) == 3)
        assert server.messages("T-1")[1] == Gap(2, 2, GapReason.REFUSED)
        assert client.counters.refused == 1


async def test_client_closes_on_nonsense_from_the_server(tmp_path: Path) -> None:
    server = DeviceServer()
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        await asyncio.wait_for(client.connected.wait(), 10)
        server.writers["T-1"].write(b"\x01\x10\x00\x00" + bytes(4))
        await until(lambda: [refuse.code for refuse in server.refusals] == [RefuseCode.CHECKSUM])
        await until(lambda: len(server.hellos) == 2)


def test_backoff_has_full_jitter_within_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.simulator.client.BACKOFF_BASE_S", BACKOFF_BASE_S)
    monkeypatch.setattr("devices.simulator.client.BACKOFF_CAP_S", BACKOFF_CAP_S)
    assert (BACKOFF_BASE_S, BACKOFF_CAP_S) == (1, 300)  # docs/protocol.md, section 8.4
    chance = random.Random(1)
    for attempt in range(30):
        ceiling = min(BACKOFF_CAP_S, 2**attempt)
        waits = [backoff_s(attempt, chance) for _ in range(400)]
        assert all(0 <= wait <= ceiling for wait in waits)
        assert min(waits) < 0.05 * ceiling  # full jitter: down to nothing …
        assert max(waits) > 0.95 * ceiling  # … and up to the ceiling
        assert 0.4 * ceiling < sum(waits) / 400 < 0.6 * ceiling


@pytest.mark.parametrize(
    ("code", "asked", "expected_s"),
    [
        (RefuseCode.AGAIN, 30, 30),
        (RefuseCode.CLOSING, 0, 0),
        (RefuseCode.REVOKED, 5, 3_600),  # not accepted as it is: an hour at the earliest
        (RefuseCode.CREDENTIALS, 7_200, 7_200),
        (RefuseCode.MALFORMED, 3, 3),
        (0x2A, 9, 9),  # codes that are not known yet go by their range
        (0x7E, 9, 3_600),
    ],
)
def test_retry_after_goes_by_the_range_of_the_code(
    code: int, asked: int, expected_s: float
) -> None:
    assert retry_after_s(Refuse(code, asked)) == expected_s


async def test_client_stays_away_as_long_as_it_is_told(tmp_path: Path) -> None:
    server = DeviceServer(answer=lambda _: Refuse(RefuseCode.OVERLOADED, 1))
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        await until(lambda: len(server.hellos) == 1)
        await asyncio.sleep(0.5)
        assert len(server.hellos) == 1
        await until(lambda: len(server.hellos) == 2)
        assert client.counters.refused >= 1


async def test_client_gives_up_its_oldest_message_after_blind_refusals(tmp_path: Path) -> None:
    server = DeviceServer()
    server.answer = lambda _: Refuse(RefuseCode.MALFORMED) if len(server.hellos) < 4 else None
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        for number in range(2):
            client.append_data(frame(number))
        assert await client.drain(10)
        gap, data = server.messages("T-1")
        assert gap == Gap(1, 1, GapReason.REFUSED)
        assert flat([data] if isinstance(data, Data) else []) == expected(range(1, 2))


async def test_client_that_lost_its_buffer_keeps_what_it_measured_since(tmp_path: Path) -> None:
    server = DeviceServer(window=16, committed={"T-1": 500})
    async with running(server, tmp_path) as ca:
        pass
    async with device(server, ca, tmp_path) as client:  # nobody listens
        for number in range(40):
            client.append_data(frame(number))
        client.append_log(LogLevel.INFO, "measured before the first contact")
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        assert await client.drain(10)
    gap, *rest = server.messages("T-1")
    assert gap == Gap(501, 516, GapReason.STATE_LOST)
    assert flat(server.frames("T-1")) == expected(range(40))
    assert isinstance(rest[-1], Log)
    assert rest[-1].sequence == 517 + 40


async def test_client_ends_its_lease_with_the_connection(tmp_path: Path) -> None:
    server = DeviceServer(live_lease_s=30)
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        await asyncio.wait_for(client.connected.wait(), 10)
        changes: list[bool] = []
        client.on_live = changes.append
        server.live_lease_s = 0
        server.writers["T-1"].transport.abort()
        await until(lambda: len(server.hellos) == 2)
        assert changes == [False]


async def test_client_says_goodbye(tmp_path: Path) -> None:
    server = DeviceServer()
    async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
        await asyncio.wait_for(client.connected.wait(), 10)
        client.stop()
        await until(lambda: [refuse.code for refuse in server.refusals] == [RefuseCode.CLOSING])


DEVICE = """
import asyncio, sys
from pathlib import Path
from devices.simulator.buffer import Buffer
from devices.simulator.client import Address, DeviceClient, client_tls
from devices.tests import test_client
import devices.simulator.client as module
module.BACKOFF_BASE_S = 0.02

async def main(port, ca, folder):
    client = DeviceClient(address=Address("localhost", int(port)), tls=client_tls(Path(ca)),
                          identity=test_client.IDENTITY, buffer=Buffer(Path(folder)))
    running = asyncio.create_task(client.run())
    while True:
        number = client.append_data(test_client.frame(client.buffer.next_sequence))
        print(number, flush=True)
        await asyncio.sleep(0.002)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_client_survives_kill_9_of_its_process(tmp_path: Path) -> None:
    server = DeviceServer(window=8)
    last = 0
    async with running(server, tmp_path) as ca:
        for lines in (60, 1, 150, 90):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", DEVICE),
                *(str(server.port), str(ca), str(tmp_path / "buffer")),
                cwd=Path(__file__).resolve().parents[2],
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            for _ in range(lines):
                last = int(await process.stdout.readline())
            process.kill()
            rest = (await process.stdout.read()).decode().split("\n")
            await process.wait()
            last = int(rest[-2]) if len(rest) > 1 else last
        async with device(server, ca, tmp_path) as client:
            assert client.buffer.state.boot_count == 5
            assert await client.drain(20)
    numbers = range(1, server.committed["T-1"] + 1)
    assert len(numbers) >= last
    assert sorted(server.stored["T-1"]) == list(numbers)
    assert flat(server.frames("T-1")) == expected(numbers)


def test_client_runs_on_uvloop(tmp_path: Path) -> None:
    async def deliver() -> tuple[DeviceServer, int]:
        server = DeviceServer()
        async with running(server, tmp_path) as ca, device(server, ca, tmp_path) as client:
            for number in range(30):
                client.append_data(frame(number))
                if number == 15:
                    assert await client.drain(10)
                    server.writers["T-1"].transport.abort()
            assert await client.drain(10)
            return server, client.counters.resumed

    server, resumed = uvloop.run(deliver())
    assert flat(server.frames("T-1")) == expected(range(30))
    assert resumed == server.resumed == 1


def test_client_says_hello_without_showing_its_secret() -> None:
    secret = bytes(range(32))
    hello = Hello("S", secret, "t", "h", "f", 1, 0, 1, 1)
    assert repr(secret) not in repr(hello)
    assert repr(secret) not in repr(Identity("S", secret, "t"))

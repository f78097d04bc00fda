"""Recordings, frames and whole devices: what reaches the server is what was measured."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from devices.protocol import Command, Data, Event, Live, Log, Result, ResultStatus
from devices.simulator import casting
from devices.simulator.casting import Playback
from devices.simulator.client import Address, client_tls
from devices.simulator.commands import CommandJournal
from devices.simulator.device import DeviceOptions, SimulatedDevice
from devices.simulator.faults import Faults
from devices.simulator.fleet import Fleet, Member
from devices.simulator.keyring import KeyringError, load, save
from devices.simulator.model.site import ModelSource, Site
from devices.simulator.park import HOUSEHOLDS
from devices.simulator.replay import (
    PlayedChannel,
    RecordedSource,
    ReplayError,
    all_channels,
)
from devices.simulator.replay import load as load_recording
from devices.simulator.reporter import Thinning
from devices.simulator.session import Identity
from devices.tests.device_server import DeviceServer, running
from devices.tests.test_client import until

DATA = Path(
    os.environ.get("WATTLINE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")
)
SECRET = "A" * 51 + "A"

Readings = dict[int, dict[int, int]]  # channel → time → raw integer


@pytest.fixture(autouse=True)
def quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devices.simulator.client.BACKOFF_BASE_S", 0.02)
    monkeypatch.setattr("devices.simulator.client.BACKOFF_CAP_S", 0.1)


def readings(frames: list[Data]) -> Readings:
    """Every reading of some frames; a second one of the same channel and time fails."""
    found: Readings = {}
    for data in frames:
        for block in data.blocks:
            for row, channel in enumerate(block.channels):
                column = found.setdefault(channel, {})
                for index, at in enumerate(block.times.tolist()):
                    if block.present is None or block.present[row, index]:
                        assert at not in column
                        column[at] = int(block.values[row, index])
    return found


def recorded(path: Path, minutes: float | None = None) -> Readings:
    """Every reading of a recording's first device at the resolution of the file."""
    device = load_recording(path, minutes=minutes)[0]
    found: Readings = {}
    for group in device.groups:
        for row, number in enumerate(group.numbers):
            present = (
                np.ones(len(group.times), bool) if group.present is None else group.present[row]
            )
            found[number] = {
                int(at): int(value)
                for at, value in zip(group.times[present], group.values[row][present], strict=True)
            }
    return found


def shifted(of: Readings, by_ms: int) -> Readings:
    return {
        channel: {at + by_ms: value for at, value in column.items()}
        for channel, column in of.items()
    }


def write_recording(path: Path, rows: int = 200, step_s: int = 3) -> Path:
    """A wide recording with a pause and missing samples."""
    lines = ["unix_s,mains_1,temperature"]
    for row in range(rows):
        at = 1_750_000_000 + row * step_s + (500 if row > rows // 2 else 0)
        missing = row % 17 == 5
        lines.append(f"{at},{100 + row % 7 * 0.1:.1f},{'' if missing else 20 + row % 3}")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    return path


def options(server: DeviceServer, ca: Path, folder: Path, **changes: Any) -> DeviceOptions:
    return DeviceOptions(
        address=Address("localhost", server.port),
        tls=client_tls(ca),
        state=folder / "state",
        **changes,
    )


async def play(members: list[Member], folder: Path, server: DeviceServer, **changes: Any) -> None:
    async with running(server, folder) as ca:
        fleet = Fleet(members, options(server, ca, folder, **changes), spread_s=0.1)
        await asyncio.wait_for(fleet.run(), 60)


@pytest.mark.parametrize("speed", [1_000_000, 3_000])
async def test_replay_sends_exactly_the_recording(tmp_path: Path, speed: float) -> None:
    path = write_recording(tmp_path / "house.csv.gz")
    server = DeviceServer(samples=20, step_ms=3_000)
    entry = {"R-1": {"secret": SECRET, "device_type": "recorded"}}
    members = casting.replay(path, entry, Playback(speed=speed))
    await play(members, tmp_path, server)
    source = members[0].source
    assert isinstance(source, RecordedSource)
    frames = server.frames("R-1")
    expected = recorded(path)
    assert readings(frames) == shifted(expected, source.start_ms - 1_750_000_000_000)
    last = max(max(column) for column in readings(frames).values())
    assert abs(last - time.time() * 1_000) < 60_000  # the axis ends at the present
    assert sum(len(column) for column in expected.values()) < 400  # some are missing, and stay so


@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not there (WATTLINE_DATA)")
@pytest.mark.parametrize(
    ("name", "minutes"),
    [
        ("house-redd-h5-3s/grid-2011-05-31.csv.gz", 90),
        ("house-redd-h5-3s/raw-2011-05-31.csv.gz", 10),
        ("meter-dsmr-p1-1s/decoded.csv", None),
        ("threephase-venue-22s/day.csv.gz", 120),
    ],
)
async def test_replay_of_real_recordings_is_exact(
    tmp_path: Path, name: str, minutes: float | None
) -> None:
    server = DeviceServer(samples=30)
    entry = {"R-1": {"secret": SECRET, "device_type": "recorded"}}
    playback = Playback(speed=1_000_000, axis="keep", minutes=minutes)
    await play(casting.replay(DATA / name, entry, playback), tmp_path, server)
    sent = readings(server.frames("R-1"))
    expected = recorded(DATA / name, minutes)
    assert sent == expected
    assert sum(map(len, sent.values())) > 500


def test_replay_maps_columns_to_channels_and_resolutions(tmp_path: Path) -> None:
    device = load_recording(write_recording(tmp_path / "house.csv.gz"))[0]
    channels = [
        PlayedChannel(4, "temperature", Decimal("0.01")),
        PlayedChannel(7, "mains_1", Decimal(1)),
    ]
    source = RecordedSource(device, channels, start_ms=0)
    (block,) = source.read(-1, 20_000, 3_000)
    assert block.channels == (4, 7)
    assert block.values[0].tolist() == [2_000, 2_100, 2_200, 2_000, 2_100, 0, 2_000]
    assert block.present is not None
    assert block.present[0].tolist() == [True] * 5 + [False, True]
    assert block.values[1].tolist() == [100, 100, 100, 100, 100, 100, 101]
    with pytest.raises(ReplayError, match="no column pressure"):
        RecordedSource(device, [PlayedChannel(0, "pressure")])


def test_replay_loops_without_an_end(tmp_path: Path) -> None:
    device = load_recording(write_recording(tmp_path / "house.csv.gz", rows=70))[0]
    source = RecordedSource(device, all_channels(device), start_ms=1_000_000, loop=True)
    length = source.length_ms
    cycle = length + 3_000
    assert source.due(0, 1, 3_000) == 1_000_000
    assert source.due(1_000_000 + length, 1, 3_000) == 1_000_000 + cycle
    # A frame ends where the recording does.
    assert source.due(1_000_000 + length - 3_000, 30, 3_000) == 1_000_000 + length
    for number in (0, 1, 12_345):
        start = 1_000_000 + number * cycle
        (block,) = source.read(start - 1, start + 9_000, 3_000)
        assert block.times.tolist() == [start + step for step in (0, 3_000, 6_000, 9_000)]
        assert block.values[0].tolist() == [1_000, 1_001, 1_002, 1_003]
    (block,) = source.read(1_000_000 + length - 1, 1_000_000 + cycle + 100, 3_000)
    assert block.times.tolist() == [1_000_000 + length]
    once = RecordedSource(device, all_channels(device), start_ms=0)
    assert once.due(length, 1, 3_000) is None


@pytest.mark.parametrize(
    ("playback", "message"),
    [
        ({"speed": 0}, "speed of 0"),
        ({"speed": 60, "loop": True}, "run ahead"),
        ({"loop": True, "axis": "keep"}, "cannot keep"),
    ],
)
def test_replay_refuses_what_cannot_be(playback: dict[str, Any], message: str) -> None:
    with pytest.raises(ReplayError, match=message):
        Playback(**playback)


def test_replay_names_a_file_that_is_no_recording(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ReplayError, match=r"notes\.csv is no recording"):
        load_recording(tmp_path / "notes.csv")
    with pytest.raises(ReplayError, match="cannot be read"):
        load_recording(tmp_path / "absent.csv")


def household(folder: Path) -> ModelSource:
    del folder
    facility = HOUSEHOLDS[0]
    epoch_s = int(time.time()) // 3_600 * 3_600 - 3_600
    return ModelSource(
        Site(seed=facility.seed, layout=facility.layout(facility.seed), epoch_s=epoch_s), "mains"
    )


async def run_device(
    server: DeviceServer, ca: Path, folder: Path, **changes: Any
) -> tuple[SimulatedDevice, asyncio.Task[None]]:
    device = SimulatedDevice(
        identity=Identity("D-1", bytes(32), "M3-63"),
        source=household(folder),
        options=options(server, ca, folder, **changes),
        chance=random.Random(3),
    )
    return device, asyncio.create_task(device.run())


def sample_counts(server: DeviceServer) -> list[int]:
    return [len(data.blocks[0].times) for data in server.frames("D-1")]


async def test_device_reports_each_sample_live_and_batches_otherwise(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=100, samples=10)
    async with running(server, tmp_path) as ca:
        device, task = await run_device(server, ca, tmp_path)
        await until(lambda: len(server.frames("D-1")) >= 2)
        server.send("D-1", Live(60))
        before = len(server.frames("D-1"))
        await until(lambda: len(server.frames("D-1")) >= before + 12)
        live = sample_counts(server)[before + 1 :]
        server.send("D-1", Live(0))
        await until(lambda: sample_counts(server)[-1] == 10)
        await device.stop()
        await task
    assert live.count(1) >= 9
    assert set(live) <= {1, 2, 3}
    counts = sample_counts(server)
    assert counts[1] == 10  # the first one ends at the device's own point of the grid
    times = np.concatenate([data.blocks[0].times for data in server.frames("D-1")])
    assert (np.diff(times) == 100).all()  # no sample is lost or doubled on the way in and out
    assert (times % 100 == 0).all()


async def test_device_brings_a_past_that_it_has_thinned_out(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=1_000, samples=10)
    now_ms = int(time.time() * 1_000)
    begin_ms, until_ms = now_ms - 40 * 60_000, now_ms - 60_000
    async with running(server, tmp_path) as ca:
        device = SimulatedDevice(
            identity=Identity("D-1", bytes(32), "M3-63"),
            source=household(tmp_path),
            options=options(server, ca, tmp_path),
            chance=random.Random(3),
            begin_ms=begin_ms,
            thinning=Thinning(until_ms, step_ms=60_000, samples=15),
        )
        task = asyncio.create_task(device.run())
        await until(lambda: len(server.frames("D-1")) >= 5)
        await device.stop()
        await task
    times = np.concatenate([data.blocks[0].times for data in server.frames("D-1")])
    full_minute = until_ms // 60_000 * 60_000
    past, recent = times[times <= full_minute], times[times > full_minute]
    assert past[0] - begin_ms < 60_000
    assert (np.diff(past) == 60_000).all()
    assert (past % 60_000 == 0).all()
    assert (past[-1], recent[0]) == (full_minute, full_minute + 1_000)
    assert (np.diff(recent) == 1_000).all()
    assert max(sample_counts(server)[:3]) == 15


async def test_device_stamps_samples_in_corrected_time(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=100, samples=5)
    async with running(server, tmp_path) as ca:
        device, task = await run_device(server, ca, tmp_path, skew_ms=-7_200_000)
        await until(lambda: len(server.frames("D-1")) >= 3)
        await device.stop()
        await task
    assert abs(server.hellos[0].clock_ms - time.time() * 1_000 + 7_200_000) < 60_000
    times = np.concatenate([data.blocks[0].times for data in server.frames("D-1")])
    assert (np.abs(times - time.time() * 1_000) < 60_000).all()


async def test_device_stamps_what_it_measured_before_it_knew_the_time(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=100, samples=10)
    async with running(server, tmp_path) as ca:
        pass
    started_ms = time.time() * 1_000
    device, task = await run_device(server, ca, tmp_path, skew_ms=86_400_000)
    await asyncio.sleep(1.2)  # it measures, and nobody has told it the time
    assert device.client is not None
    assert len(device.client.buffer) == 0
    async with running(server, tmp_path):
        await until(lambda: len(server.frames("D-1")) >= 2, 30)
        await device.stop()
        await task
    times = np.concatenate([data.blocks[0].times for data in server.frames("D-1")])
    assert abs(times[0] - started_ms) < 700
    assert (np.diff(times) == server.frames("D-1")[0].blocks[0].times[1] - times[0]).all()


async def test_device_believes_a_clock_that_is_set_far_back(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=50, samples=4)
    async with running(server, tmp_path) as ca:
        device, task = await run_device(server, ca, tmp_path)
        await until(lambda: len(server.frames("D-1")) >= 3)
        server.clock_offset_ms = -3_000_000
        assert device.client is not None
        server.writers["D-1"].transport.abort()
        before = len(server.frames("D-1"))
        await until(lambda: len(server.frames("D-1")) > before + 3)
        await device.stop()
        await task
    times = [int(data.blocks[0].times[-1]) for data in server.frames("D-1")]
    assert abs(times[-1] - time.time() * 1_000 + 3_000_000) < 60_000


async def test_device_survives_reboots_and_links_that_break(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=20, samples=5)
    async with running(server, tmp_path) as ca:
        device, task = await run_device(
            server,
            ca,
            tmp_path,
            reboot_every_s=0.7,
            reboot_s=0.05,
            faults=Faults(cut_rate=0.03, duplicate_rate=0.05, corrupt_rate=0.02),
        )
        await until(lambda: len(server.frames("D-1")) >= 60 and len(server.hellos) > 5, 60)
        await device.stop()
        await task
    sequences = sorted(server.stored["D-1"])
    assert sequences == list(range(1, len(sequences) + 1))
    assert server.hellos[-1].boot_count > 2
    times = np.concatenate([data.blocks[0].times for data in server.frames("D-1")])
    assert (np.diff(times) > 0).all()


async def test_device_carries_out_commands_once(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=100, samples=10)
    ids = [bytes([number]) * 16 for number in range(6)]
    async with running(server, tmp_path) as ca:
        device, task = await run_device(server, ca, tmp_path, reboot_s=0.05)
        await until(lambda: "D-1" in server.writers)

        def results(command_id: bytes) -> list[tuple[int, str]]:
            return [
                (message.status, message.detail)
                for message in server.messages("D-1")
                if isinstance(message, Result) and message.command_id == command_id
            ]

        server.send("D-1", Command(ids[0], "identify"))
        await until(lambda: results(ids[0]) == [(ResultStatus.DONE, "blinking")])
        server.send("D-1", Command(ids[0], "identify"))
        await until(lambda: results(ids[0]) == [(ResultStatus.DONE, "blinking")] * 2)
        events = [message for message in server.messages("D-1") if isinstance(message, Event)]
        assert [event.kind for event in events] == ["config.reported", "device.identified"]

        server.send("D-1", Command(ids[1], "set_reporting", {"step_ms": 100, "samples": 3}))
        await until(lambda: sample_counts(server)[-3:] == [3, 3, 3])
        assert results(ids[1]) == [(ResultStatus.DONE, "3 samples every 100 ms")]
        server.send("D-1", Command(ids[2], "set_reporting", {"step_ms": "often"}))
        await until(lambda: bool(results(ids[2])))
        assert results(ids[2])[0][0] == ResultStatus.REJECTED
        server.send("D-1", Command(ids[3], "identify", expires_ms=1_000))
        await until(lambda: bool(results(ids[3])))
        assert results(ids[3])[0][0] == ResultStatus.EXPIRED
        server.send("D-1", Command(ids[4], "open.pod.bay.doors"))
        await until(lambda: bool(results(ids[4])))
        assert results(ids[4])[0][0] == ResultStatus.REJECTED

        boots = server.hellos[-1].boot_count
        server.send("D-1", Command(ids[5], "reboot"))
        await until(lambda: len(results(ids[5])) == 2)
        accepted, done = results(ids[5])
        assert accepted[0] == ResultStatus.ACCEPTED
        assert done == (ResultStatus.DONE, f"rebooted, boot {boots + 1}")
        await until(lambda: server.hellos[-1].boot_count == boots + 1)
        server.send("D-1", Command(ids[5], "reboot"))
        await until(lambda: len(results(ids[5])) == 3)
        await asyncio.sleep(0.4)
        assert server.hellos[-1].boot_count == boots + 1  # the same command does not reboot twice
        await device.stop()
        await task
    logs = [message for message in server.messages("D-1") if isinstance(message, Log)]
    assert [log.lines[0].text.split(", ")[1] for log in logs] == ["boot 1", "boot 2"]


def test_journal_forgets_the_oldest_commands_and_survives_damage(tmp_path: Path) -> None:
    journal = CommandJournal(tmp_path)
    for number in range(100):
        journal.remember(number.to_bytes(16), ResultStatus.DONE, str(number))
    again = CommandJournal(tmp_path)
    assert again.find((99).to_bytes(16)) == (ResultStatus.DONE, "99")
    assert again.find((68).to_bytes(16)) == (ResultStatus.DONE, "68")
    assert again.find((67).to_bytes(16)) is None
    (tmp_path / "commands.json").write_text('{"00": ')
    assert CommandJournal(tmp_path).find((99).to_bytes(16)) is None


async def test_fleet_drains_when_it_is_stopped(tmp_path: Path) -> None:
    server = DeviceServer(step_ms=50, samples=40)
    members = [
        Member(Identity(f"F-{number}", bytes(32), "M3-63"), household(tmp_path))
        for number in range(4)
    ]
    async with running(server, tmp_path) as ca:
        fleet = Fleet(members, options(server, ca, tmp_path), spread_s=0.1)
        task = asyncio.create_task(fleet.run())
        await until(lambda: len(server.frames("F-3")) >= 2)
        assert fleet.summary.connected == 4
        fleet.stop()
        summary = await asyncio.wait_for(task, 20)
        await until(lambda: len(server.refusals) == len(members))
    assert summary.buffered == 0
    assert summary.counters.connections == 4
    assert [refuse.name for refuse in server.refusals] == ["closing"] * 4
    for number in range(4):
        times = np.concatenate([data.blocks[0].times for data in server.frames(f"F-{number}")])
        assert (np.diff(times) == 50).all()


async def test_fleet_ends_with_the_error_of_a_device(tmp_path: Path) -> None:
    server = DeviceServer()
    (tmp_path / "state").write_text("a file where the buffers should lie")
    members = [Member(Identity("F-1", bytes(32), "M3-63"), household(tmp_path))]
    async with running(server, tmp_path) as ca:
        fleet = Fleet(members, options(server, ca, tmp_path), spread_s=0)
        with pytest.raises(Exception, match="cannot be opened"):
            await asyncio.wait_for(fleet.run(), 20)


def test_keyring_is_private_and_names_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "new" / "keys.json"
    assert load(path) == {}
    save(path, {"a": {"secret": SECRET}})
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(path) == {"a": {"secret": SECRET}}
    assert casting.identity("a", {"secret": SECRET, "device_type": "t"}).secret == bytes(32)
    with pytest.raises(KeyringError, match="no device_type"):
        casting.identity("a", {"secret": SECRET})
    with pytest.raises(KeyringError, match="base32"):
        casting.identity("a", {"secret": "1!", "device_type": "t"})
    path.write_text("[1]")
    with pytest.raises(KeyringError, match="no JSON object"):
        load(path)


def test_demo_goes_on_from_its_snapshots(tmp_path: Path) -> None:
    epoch_s = 1_780_000_000 // 3_600 * 3_600
    state = {"epoch_s": epoch_s, "devices": {}}
    first = casting.demo(state, "")
    for site in first.sites.values():
        site.hour(epoch_s // 3_600 + 2)
    kept = json.loads(json.dumps(casting.snapshots_of(first)))
    second = casting.demo(state, "")
    casting.restore(second, kept)
    hour = epoch_s // 3_600 + 3
    for number, site in second.sites.items():
        assert site.snapshot == first.sites[number].snapshot
        assert (site.hour(hour)["mains"] == first.sites[number].hour(hour)["mains"]).all()

"""Simulated devices do what they are told, over their own link: commands, settings, updates."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openpaygo import OpenPAYGOTokenEncoder, TokenType

from devices.commands.kinds import Kind, checked
from devices.protocol import Capability, Command, Event, Log, LogLevel, Result, ResultStatus
from devices.protocol.fields import Value
from devices.simulator import payg
from devices.simulator.acting import Acting
from devices.simulator.catalogue import BATTERY, SMART_METER
from devices.simulator.client import Address, client_tls
from devices.simulator.device import DeviceOptions, SimulatedDevice
from devices.simulator.faults import UpdateFaults
from devices.simulator.firmware import FirmwareOptions, factory_image
from devices.simulator.image import Behaviour
from devices.simulator.model.site import HOUR_S, ModelSource, Site
from devices.simulator.model.switching import Control
from devices.simulator.park import CHAIN_FACILITIES, FACILITIES, HOUSEHOLDS
from devices.simulator.payg import PaygKeys, PaygState
from devices.simulator.session import Identity
from devices.simulator.settings import DeviceSettings
from devices.tests.device_server import DeviceServer, running
from devices.tests.test_client import until
from devices.tests.update_rig import KEY, LAYOUT, TYPE, UPDATE, image_of, offer_of, public

EPOCH_S = 1_780_272_000  # a full hour


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting that a person would need costs a test nothing to shorten; bounds stay as they are."""
    monkeypatch.setattr("devices.simulator.client.BACKOFF_BASE_S", 0.02)
    monkeypatch.setattr("devices.simulator.client.BACKOFF_CAP_S", 0.1)
    monkeypatch.setattr("devices.simulator.firmware.SELF_TEST_S", 0.05)
    monkeypatch.setattr("devices.simulator.device.WATCHDOG_S", 0.1)
    monkeypatch.setattr("devices.simulator.firmware.LEAVE_S", 0.5)


class Bench:
    """One device and the server that it knows."""

    def __init__(self, server: DeviceServer, device: SimulatedDevice) -> None:
        self.server = server
        self.device = device
        self._number = 0

    async def ask(self, kind: str, **arguments: Value) -> tuple[int, str]:
        """The RESULT of a command."""
        self._number += 1
        command_id = self._number.to_bytes(16)
        named = {name.replace("__", "."): value for name, value in arguments.items()}
        self.server.send("D-1", Command(command_id, kind, named))
        await until(lambda: bool(self._results(command_id)))
        return self._results(command_id)[-1]

    def _results(self, command_id: bytes) -> list[tuple[int, str]]:
        return [
            (message.status, message.detail)
            for message in self.server.messages("D-1")
            if isinstance(message, Result) and message.command_id == command_id
        ]

    def events(self, family: str) -> list[Event]:
        """The events of a family, in order."""
        return [
            message
            for message in self.server.messages("D-1")
            if isinstance(message, Event) and message.kind.startswith(family)
        ]

    @property
    def reported(self) -> dict[str, Value]:
        """The settings that the device told last."""
        return dict(self.events("config.reported")[-1].data)

    @property
    def told(self) -> list[str]:
        """What it told of updates, without how far downloads were."""
        kinds = [event.kind.removeprefix("firmware.") for event in self.events("firmware.")]
        return [kind for kind in kinds if kind != "progress"]

    @property
    def code(self) -> Value | None:
        """The code of what it told last."""
        return self.events("firmware.")[-1].data.get("code")


@contextlib.asynccontextmanager
async def bench(
    folder: Path,
    *,
    faults: UpdateFaults | None = None,
    keys: tuple[bytes, ...] = (public(KEY),),
    sold_by: PaygKeys | None = None,
    **options: Any,
) -> AsyncIterator[Bench]:
    """A smart meter of the model that trusts `KEY`, and its server."""
    server = DeviceServer(step_ms=100, samples=5)
    firmware = FirmwareOptions(keys, LAYOUT, faults or UpdateFaults())
    async with running(server, folder) as ca:
        device = SimulatedDevice(
            identity=Identity("D-1", bytes(32), "M3-63", hardware="rev A"),
            source=meter(),
            options=DeviceOptions(
                address=Address("localhost", server.port),
                tls=client_tls(ca),
                state=folder / "state",
                reboot_s=0.02,
                firmware=firmware,
                **options,
            ),
            chance=random.Random(5),
            payg=sold_by,
        )
        task = asyncio.create_task(device.run())
        try:
            await until(lambda: "D-1" in server.writers and bool(server.messages("D-1")))
            yield Bench(server, device)
        finally:
            await device.stop(0.5)
            await task


def meter() -> ModelSource:
    home = HOUSEHOLDS[0]
    epoch_s = int(time.time()) // HOUR_S * HOUR_S - HOUR_S
    return ModelSource(Site(seed=home.seed, layout=home.layout(1), epoch_s=epoch_s), "mains")


# Commands


async def test_device_keeps_its_settings_over_a_restart_and_tells_them(tmp_path: Path) -> None:
    done = ResultStatus.DONE
    async with bench(tmp_path) as it:
        await until(lambda: bool(it.events("config.reported")))
        assert it.reported == {
            "step_ms": 100,
            "samples": 5,
            "channels": "0-15",
            "limits": "",
            "output": 1,
            "power_limit_w": -1,
        }
        assert (await it.ask("set_channels", channels="3,14", limits="3::1"))[0] == done
        assert (await it.ask("set_power_limit", power_limit_w=900))[0] == done
        assert (await it.ask("set_output", output=0)) == (done, "the output is off")
        shown = await it.ask("set_display", display__price="0.31", display__message="Hello")
        assert shown == (done, "2 fields shown")
        wanted = {
            "step_ms": 100,
            "samples": 5,
            "channels": "3,14",
            "limits": "3::1",
            "output": 0,
            "power_limit_w": 900,
            "display.price": "0.31",
            "display.message": "Hello",
        }
        await until(lambda: it.reported == wanted)
        told = len(it.events("config.reported"))
        assert (await it.ask("reboot"))[0] == ResultStatus.ACCEPTED
        await until(lambda: len(it.events("config.reported")) == told + 1)
        assert it.reported == wanted
        # Off is off: no power, over the restart, until it is switched on.
        frames = len(it.server.frames("D-1"))
        await until(lambda: len(it.server.frames("D-1")) >= frames + 3)
        for data in it.server.frames("D-1")[frames:]:
            assert data.blocks[0].channels == (3, 14)
            assert not data.blocks[0].values[0].any()
        await it.ask("set_output", output=1)
        await until(lambda: bool(it.server.frames("D-1")[-1].blocks[0].values[0].any()))
        relays = [event.kind for event in it.events("relay.")]
        assert relays == ["relay.opened", "relay.closed"]
        hello = it.server.hellos[-1]
        assert hello.capabilities & Capability.CONFIGURATION


ASKED: dict[Kind, dict[str, Any]] = {
    Kind.SET_REPORTING: {"step_ms": 200, "samples": 4},
    Kind.SET_CHANNELS: {"channels": [0, 1, 3], "limits": {"3": [None, 1_000]}},
    Kind.SET_OUTPUT: {"output": False},
    Kind.SET_POWER_LIMIT: {"power_limit_w": None},
    Kind.SET_DISPLAY: {"display.price": "0.31", "display.month_use_wh": 211_000},
    Kind.SEND_LOGS: {"since_ms": 0, "lines": 50, "level": 1},
    Kind.LIVE: {"seconds": 30},
    Kind.IDENTIFY: {"seconds": 5},
    Kind.REBOOT: {},
}


async def test_device_obeys_whatever_the_server_can_ask(tmp_path: Path) -> None:
    assert set(ASKED) == set(Kind) - {Kind.ENTER_TOKEN}  # below, of a unit that takes them
    async with bench(tmp_path) as it:
        for kind, arguments in ASKED.items():
            wanted = checked(kind, arguments)
            status, detail = await it.ask(kind, **wanted.arguments)
            expected = ResultStatus.ACCEPTED if kind is Kind.REBOOT else ResultStatus.DONE
            assert status == expected, (kind, detail)
            assert it.server.hellos[-1].capabilities & wanted.capabilities == wanted.capabilities


REJECTED: list[tuple[str, dict[str, Value], str]] = [
    ("set_output", {}, "output is missing"),
    ("set_output", {"output": 2}, "output 2 is outside 0 … 1"),
    ("set_power_limit", {"power_limit_w": "much"}, "power_limit_w is no number"),
    ("set_channels", {"channels": "0,77"}, "this device has no channel 77"),
    ("set_channels", {"channels": "7-3"}, "set_channels: channels must ascend"),
    ("set_channels", {"channels": 5}, "channels is no text"),
    ("set_display", {"colour": "red"}, "colour is no field of the display"),
    ("set_reporting", {"step_ms": 1}, "step_ms 1 is outside 100 … 86400000"),
    ("send_logs", {"level": 9}, "level 9 is outside 1 … 5"),
    ("live", {}, "seconds is missing"),
    ("enter_token", {"token": "123456789"}, "this device takes no tokens"),
]


async def test_device_rejects_what_does_not_fit_and_changes_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        before = it.device.unit.settings
        for kind, arguments, detail in REJECTED:
            assert await it.ask(kind, **arguments) == (ResultStatus.REJECTED, detail)
        assert it.device.unit.settings == before


async def test_device_sends_its_log_and_reports_live(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        lines = [
            line
            for message in it.server.messages("D-1")
            if isinstance(message, Log)
            for line in message.lines
        ]
        assert all(line.level > LogLevel.DEBUG for line in lines)  # details stay in the device
        assert await it.ask("send_logs", lines=1, level=1) == (ResultStatus.DONE, "1 lines")
        sent = [message for message in it.server.messages("D-1") if isinstance(message, Log)][-1]
        assert [line.level for line in sent.lines] == [LogLevel.DEBUG]
        assert await it.ask("send_logs", level=5) == (ResultStatus.DONE, "0 lines")
        assert (await it.ask("live", seconds=60))[0] == ResultStatus.DONE
        begun = len(it.server.frames("D-1"))
        await until(lambda: len(it.server.frames("D-1")) > begun + 3)
        counts = {len(data.blocks[0].times) for data in it.server.frames("D-1")[begun + 1 :]}
        assert counts <= {1, 2}


async def test_device_tells_when_a_reading_leaves_its_limits(tmp_path: Path) -> None:
    async with bench(tmp_path) as it:
        await it.ask("set_channels", limits="4:9000:")  # 900 V
        await until(lambda: bool(it.events("channel.limit")))
        event = it.events("channel.limit")[0]
        assert (event.data["channel"], event.data["side"]) == (4, "low")
        assert 1_900 < int(event.data["value"]) < 2_600


# Pay as you go

PAYG = PaygKeys("a29ab82edc5fbbc41ec9530f6dac86b1", 123456789)


def _token(count: int, **fields: Any) -> tuple[int, str]:
    """A token as the standard's library makes it."""
    made: tuple[int, str] = OpenPAYGOTokenEncoder.generate_token(
        secret_key=PAYG.secret, starting_code=PAYG.starting_code, count=count, **fields
    )
    return made


async def test_a_unit_is_on_while_it_is_paid_for(tmp_path: Path) -> None:
    done, rejected = ResultStatus.DONE, ResultStatus.REJECTED
    async with bench(tmp_path, sold_by=PAYG) as it:
        await until(lambda: bool(it.events("relay.opened")))
        assert it.events("relay.opened")[0].data == {"by": "payg"}
        unpaid = "no time is paid for: a token has to be entered"
        assert await it.ask("set_output", output=1) == (rejected, unpaid)
        count, token = _token(0, value=3)
        status, detail = await it.ask("enter_token", token=token)
        assert (status, detail[:10]) == (done, "paid until")
        await until(lambda: it.reported["output"] == 1)
        told = it.events("payg.changed")[-1]
        assert told.data["count"] == count
        left_ms = int(told.data["paid_until_ms"]) - told.time_ms
        assert abs(left_ms - 3 * 86_400_000) < 60_000
        assert it.events("relay.closed")[-1].data == {"by": "payg"}
        again = await it.ask("enter_token", token=token)
        assert again == (rejected, "this token was used already")
        foreign = await it.ask("enter_token", token="987654321")
        assert foreign == (rejected, "this token is not for this unit")
        assert len(it.events("payg.changed")) == 1
        # What a command has switched off, paying does not switch on.
        await it.ask("set_output", output=0)
        await it.ask("enter_token", token=_token(count, value=1)[1])
        assert it.reported["output"] == 0
        assert (await it.ask("set_output", output=1))[0] == done


async def test_a_unit_knows_over_a_restart_what_was_paid(tmp_path: Path) -> None:
    async with bench(tmp_path, sold_by=PAYG) as it:
        count, token = _token(0, value=3)
        await it.ask("enter_token", token=token)
        hellos = len(it.server.hellos)
        assert it.device.payg is not None
        before = it.device.payg.state
        await it.ask("reboot")
        await until(lambda: len(it.server.hellos) > hellos and it.device.payg is not None)
        assert it.device.payg.state == before
        used = await it.ask("enter_token", token=token)
        assert used == (ResultStatus.REJECTED, "this token was used already")
        # The time is taken away, and the unit goes off at once.
        _count, off = _token(count, token_type=TokenType.SET_TIME, value=0)
        await it.ask("enter_token", token=off)
        await until(lambda: it.reported["output"] == 0)
        await it.ask("enter_token", token=_token(_count, token_type=TokenType.DISABLE_PAYG)[1])
        await until(lambda: it.reported["output"] == 1)
        assert it.events("payg.changed")[-1].data["released"] == 1


def test_tokens_may_be_entered_out_of_order_but_each_once() -> None:
    count, first = _token(0, value=1)
    _second_count, second = _token(count, value=2)
    state = PaygState()
    after = payg.enter(PAYG, state, second, now_ms=0)
    assert isinstance(after, PaygState)
    late = payg.enter(PAYG, after, f"{first[:3]} {first[3:]}", now_ms=0)
    assert isinstance(late, PaygState)
    assert (late.count, late.paid_until_ms) == (after.count, 3 * payg.DAY_MS)
    for token in (first, second):
        assert payg.enter(PAYG, late, token, now_ms=0) is payg.Refusal.USED
    for token in ("", "12a", "1" * 13, "٣" * 9):
        assert payg.enter(PAYG, late, token, now_ms=0) is payg.Refusal.DIGITS


# The output in the model


def _site(number: int) -> Site:
    facility = FACILITIES[number]
    return Site(seed=facility.seed, layout=facility.layout(facility.seed), epoch_s=EPOCH_S)


def test_output_off_stops_the_unit_from_then_on() -> None:
    plain, switched = _site(len(CHAIN_FACILITIES)), _site(len(CHAIN_FACILITIES))
    hour = EPOCH_S // HOUR_S
    before = plain.hour(hour)["mains"]
    assert (switched.hour(hour)["mains"] == before).all()
    power, register = SMART_METER.number("active_power"), SMART_METER.number("energy_import")
    off_s, on_s = EPOCH_S + 1_000, EPOCH_S + HOUR_S + 600
    switched.control("mains", [Control(off_s, on=False)])
    after = switched.hour(hour)["mains"]
    assert (after[:, :500] == before[:, :500]).all()
    assert not after[power, 500:].any()
    assert len(set(after[register, 501:].tolist())) == 1  # the register stands still
    switched.control("mains", [Control(off_s, on=False), Control(on_s)])
    assert (switched.hour(hour)["mains"] == after).all()
    following = switched.hour(hour + 1)["mains"]
    assert not following[power, :300].any()
    assert (following[power, 300:] == plain.hour(hour + 1)["mains"][power, 300:]).all()


def test_power_limit_bounds_what_is_drawn() -> None:
    site = _site(next(n for n, one in enumerate(FACILITIES) if len(one.devices) == 1))
    power = SMART_METER.number("active_power")
    hour = EPOCH_S // HOUR_S
    free = np.hstack([site.hour(hour + n)["mains"][power] for n in range(3)])
    assert free.max() > 400
    site.control("mains", [Control(EPOCH_S, limit_w=300)])
    held = np.hstack([site.hour(hour + n)["mains"][power] for n in range(3)])
    assert held.max() <= 303  # the meter's own error comes on top
    assert (held <= free + 1).all()


def test_inverter_and_battery_that_are_off_leave_the_work_to_the_grid() -> None:
    number = next(
        n for n, one in enumerate(FACILITIES) if {"pv", "battery"} <= {d.meter for d in one.devices}
    )
    noon = EPOCH_S // HOUR_S + 11
    plain, switched = _site(number), _site(number)
    for meter_key in ("pv", "battery"):
        switched.control(meter_key, [Control(EPOCH_S, on=False)])
    hours, held = plain.hour(noon), switched.hour(noon)
    assert hours["pv"][0].max() > 500
    assert not held["pv"][0].any()
    assert not held["battery"][0].any()
    power = SMART_METER.number("active_power")
    assert held["mains"][power].sum() > hours["mains"][power].sum()


# The firmware's behaviour


def _acting(behaviour: Behaviour) -> Acting:
    drained = next(c.number for c in BATTERY.channels if c.quantity == "state_of_charge")
    return Acting(DeviceSettings, behaviour, drained=drained)


def test_firmware_that_loses_samples_leaves_gaps() -> None:
    site = _site(len(CHAIN_FACILITIES))
    start_ms, end_ms = EPOCH_S * 1_000, (EPOCH_S + HOUR_S) * 1_000 - 1
    source = ModelSource(site, "mains")
    acting = _acting(Behaviour(gaps=0.3))
    kept = sum(
        len(block.times)
        for at in range(start_ms, end_ms, 60_000)
        for block in acting.shape(source.read(at - 1, at + 59_999, 2_000))
    )
    assert 0.5 * 1_800 < kept < 0.9 * 1_800


def test_readings_without_a_wanted_channel_are_not_reported() -> None:
    source = ModelSource(_site(len(CHAIN_FACILITIES)), "mains")
    blocks = source.read(EPOCH_S * 1_000, (EPOCH_S + 60) * 1_000, 2_000)
    only = Acting(lambda: DeviceSettings(channels=(3, 200)), Behaviour())
    (kept,) = only.shape(blocks)
    assert (kept.channels, kept.values.tolist()) == ((3,), [blocks[0].values[3].tolist()])
    assert Acting(lambda: DeviceSettings(channels=(200,)), Behaviour()).shape(blocks) == ()


def test_firmware_that_drains_lets_the_charge_fall_faster() -> None:
    number = next(
        n for n, one in enumerate(FACILITIES) if "battery" in {d.meter for d in one.devices}
    )
    source = ModelSource(_site(number), "battery")
    start_ms, end_ms = EPOCH_S * 1_000, (EPOCH_S + 6 * HOUR_S) * 1_000
    (plain,) = source.read(start_ms, end_ms, 10_000)
    (drained,) = _acting(Behaviour(drain=1.5)).shape((plain,))
    charge, faster = plain.values[1], drained.values[1]
    assert (faster <= charge).all()
    falls = np.maximum(0, -np.diff(charge)).sum()
    assert falls > 0
    assert abs((charge[-1] - faster[-1]) - min(charge[-1], falls * 0.5)) <= 1


# Updates over the wire

NEW = image_of("1.1.0")
FACTORY = factory_image(Identity("D-1", bytes(32), TYPE), LAYOUT)


@pytest.mark.parametrize("by_patch", [False, True])
async def test_device_updates_over_its_link(by_patch: bool, tmp_path: Path) -> None:
    offer, payload = offer_of(NEW, base=FACTORY if by_patch else None)
    async with bench(tmp_path) as it:
        hello = it.server.hellos[-1]
        assert Capability.FIRMWARE | Capability.FIRMWARE_DELTA in hello.capabilities
        assert (hello.firmware, hello.image) == ("1.0.0", hashlib.sha256(FACTORY).digest())
        it.server.payloads[UPDATE] = payload
        it.server.send("D-1", offer)
        await until(lambda: it.told[-1:] == ["confirmed"])
        assert it.told == ["accepted", "downloaded", "installing", "confirmed"]
        assert it.server.fetched == len(payload)
        hello = it.server.hellos[-1]
        assert (hello.firmware, hello.image) == ("1.1.0", hashlib.sha256(NEW).digest())


async def test_device_goes_on_with_a_download_after_breaks_and_restarts(tmp_path: Path) -> None:
    offer, payload = offer_of(NEW)
    async with bench(tmp_path, faults=UpdateFaults(bytes_per_s=40_000)) as it:
        it.server.payloads[UPDATE] = payload
        for _ in range(3):
            hellos = len(it.server.hellos)
            before = it.server.fetched
            it.server.send("D-1", offer)
            await until(lambda: it.server.fetched > before + 1_500)  # noqa: B023
            it.device.reboot()
            await until(lambda: len(it.server.hellos) > hellos)  # noqa: B023
        it.server.send("D-1", offer)
        await until(lambda: it.told[-1:] == ["confirmed"])
        assert it.server.hellos[-1].firmware == "1.1.0"


@pytest.mark.parametrize(
    ("faults", "end", "runs"),
    [
        (UpdateFaults(bad_flash=True), ("failed", "flash"), "1.0.0"),
        (UpdateFaults(tampers=True), ("failed", "digest"), "1.0.0"),
        (UpdateFaults(lies=True), ("confirmed", None), "1.0.0"),
        (UpdateFaults(after=Behaviour(self_test=False)), ("reverted", "self_test"), "1.0.0"),
        (UpdateFaults(after=Behaviour(hangs=True)), ("reverted", "power"), "1.0.0"),
        (UpdateFaults(after=Behaviour(gaps=0.2)), ("confirmed", None), "1.1.0"),
        (UpdateFaults(power_cut_bytes=150_000), None, None),
    ],
    ids=["bad flash", "tampers", "lies", "self-test", "hangs", "gaps", "power cuts"],
)
async def test_device_with_a_fault_tells_the_end_and_runs_what_it_should(
    faults: UpdateFaults, end: tuple[str, str | None] | None, runs: str | None, tmp_path: Path
) -> None:
    offer, payload = offer_of(NEW)
    async with bench(tmp_path, faults=faults) as it:
        it.server.payloads[UPDATE] = payload

        async def offer_on() -> None:
            known = -1
            while True:
                if len(it.server.hellos) != known and "D-1" in it.server.writers:
                    known = len(it.server.hellos)
                    it.server.send("D-1", offer)
                await asyncio.sleep(0.02)

        offering = asyncio.create_task(offer_on())
        await until(lambda: bool(it.told) and it.told[-1] in ("confirmed", "reverted", "failed"))
        offering.cancel()
        if end is not None:
            assert (it.told[-1], it.code) == end
        await until(lambda: it.device.client is not None and it.device.client.connected.is_set())
        assert not it.device.bricked
        firmware = it.server.hellos[-1].firmware
        assert firmware == (runs or ("1.1.0" if it.told[-1] == "confirmed" else "1.0.0"))


async def test_device_that_is_deaf_says_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, faults=UpdateFaults(deaf=True)) as it:
        it.server.send("D-1", offer_of(NEW)[0])
        await it.ask("identify")  # came later and was answered
        assert it.told == []


async def test_device_that_never_returns_is_sound_once_its_fault_is_gone(tmp_path: Path) -> None:
    offer, payload = offer_of(NEW)
    async with bench(tmp_path, faults=UpdateFaults(never_returns=True)) as it:
        it.server.payloads[UPDATE] = payload
        it.server.send("D-1", offer)
        await until(lambda: it.told[-1:] == ["installing"])
        await until(lambda: it.device.silent)
        assert len(it.server.hellos) == 1
    async with bench(tmp_path) as it:  # somebody drove there
        await until(lambda: it.told[-1:] == ["reverted"])
        assert (it.server.hellos[-1].firmware, it.code) == ("1.0.0", "power")


async def test_device_without_keys_takes_no_firmware(tmp_path: Path) -> None:
    async with bench(tmp_path, keys=()) as it:
        it.server.send("D-1", offer_of(NEW)[0])
        await until(lambda: it.told == ["rejected"])
        assert it.code == "signature"

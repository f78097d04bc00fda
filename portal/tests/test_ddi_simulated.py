"""The simulator's HTTP device updates over the DDI interface, over real connections, or fails."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django.live_server_helper import LiveServer

from devices.simulator import http_device
from devices.simulator.faults import NO_UPDATE_FAULTS, UpdateFaults
from devices.simulator.http_device import RUNNING, HttpDevice, HttpProfile
from devices.simulator.image import Behaviour, build_image
from devices.telemetry import status
from firmware.domain import ddi_keys
from firmware.models import DdiTarget, RolloutTarget, TargetState
from portal.tests.ddi_world import Ddi, offered, set_state, speaking, state_of
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

IMAGE = build_image("1.1.0", device_type="EG-1")
HOST = "http://host/t/controller/v1/s"
UNSOUND = UpdateFaults(after=Behaviour(self_test=False))


@pytest.fixture
def ddi() -> Iterator[Ddi]:
    """A device with its token."""
    yield speaking()
    cache.clear()


def device(
    ddi: Ddi, server: LiveServer, folder: Path, faults: UpdateFaults = NO_UPDATE_FAULTS
) -> HttpDevice:
    """The device, switched on."""
    return HttpDevice(HttpProfile(server.url + ddi.root, ddi.token, "EG-1"), folder, faults)


def told(ddi: Ddi) -> dict[str, str]:
    """What the device told of itself."""
    with open_scope(ddi.scope):
        found: dict[str, str] = DdiTarget.objects.get(device=ddi.device).attributes
        return found


def runs(ddi: Ddi) -> str:
    """The version that the server takes the device to run."""
    with open_scope(ddi.scope):
        return status.links(connection, [ddi.device.pk])[ddi.device.pk].firmware_version


def test_device_updates_and_says_so(ddi: Ddi, live_server: LiveServer, tmp_path: Path) -> None:
    with open_scope(ddi.scope):
        ddi_keys.change_settings(tenant_id=ddi.tenant.pk, values={"polling_s": 90}, actor_id=None)
    played = device(ddi, live_server, tmp_path)
    assert played.poll() == 90
    assert told(ddi) == {
        "serial": ddi.device.serial,
        "device_type": "EG-1",
        "hardware_revision": "simulated rev A",
        "firmware_version": "1.0.0",
    }
    target = offered(ddi, IMAGE)
    assert played.poll() == http_device.AGAIN_S
    assert state_of(ddi, target) == "succeeded"
    kinds = [kind for kind, _code, _detail in ddi.events(target)]
    assert [kind for kind in kinds if kind != "progress"] == [
        "accepted", "downloaded", "installing", "succeeded",
    ]  # fmt: skip
    assert (tmp_path / RUNNING).read_bytes() == IMAGE
    assert played.poll() == 90
    assert (played.firmware, told(ddi)["firmware_version"], runs(ddi)) == ("1.1.0",) * 3
    # What runs outlives a restart.
    assert device(ddi, live_server, tmp_path).firmware == "1.1.0"


@pytest.mark.parametrize(
    ("faults", "state", "code", "version"),
    [
        (UpdateFaults(bad_flash=True), "waiting", "flash", "1.0.0"),
        (UpdateFaults(tampers=True), "waiting", "digest", "1.0.0"),
        (UNSOUND, "failed", "self_test", "1.0.0"),
        (UpdateFaults(deaf=True), "offered", "", "1.0.0"),
        (UpdateFaults(never_returns=True), "installing", "", "1.0.0"),
        (UpdateFaults(lies=True), "succeeded", "", "1.0.0"),
        (UpdateFaults(bytes_per_s=1_000_000), "succeeded", "", "1.1.0"),
    ],
    ids=["bad flash", "tampers", "self-test", "deaf", "never returns", "lies", "slow"],
)
def test_fault_ends_as_it_should(
    ddi: Ddi,
    live_server: LiveServer,
    tmp_path: Path,
    faults: UpdateFaults,
    state: str,
    code: str,
    version: str,
) -> None:
    target = offered(ddi, IMAGE)
    played = device(ddi, live_server, tmp_path, faults)
    played.poll()
    with open_scope(ddi.scope):
        found = RolloutTarget.objects.get(pk=target.pk)
    assert (found.state, found.failure_code) == (state, code)  # waiting: for another attempt
    assert played.firmware == version
    assert played.silent is faults.never_returns
    if not faults.never_returns:
        played.poll()
        assert told(ddi)["firmware_version"] == version  # a liar is found out by what it tells


def test_image_that_is_damaged_is_not_installed(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path
) -> None:
    damaged = IMAGE[:-5] + bytes(5)
    target = offered(ddi, damaged)
    played = device(ddi, live_server, tmp_path)
    played.poll()
    with open_scope(ddi.scope):
        found = RolloutTarget.objects.get(pk=target.pk)
    assert (found.state, found.failure_code) == ("waiting", "digest")
    assert not (tmp_path / RUNNING).exists()


def test_download_goes_on_where_it_broke(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = offered(ddi, IMAGE)
    (tmp_path / http_device.PART).write_bytes(IMAGE[:10_000])
    asked: list[str] = []
    request = requests.Session.request

    def heard(self: requests.Session, method: str, url: str, **kwargs: object) -> object:
        headers = kwargs.get("headers") or {}
        assert isinstance(headers, dict)
        asked.append(headers.get("Range", ""))
        return request(self, method, url, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(requests.Session, "request", heard)
    played = device(ddi, live_server, tmp_path)
    played.poll()
    assert [found for found in asked if found] == ["bytes=10000-"]
    assert state_of(ddi, target) == "succeeded"
    assert hashlib.sha256((tmp_path / RUNNING).read_bytes()).digest() == (
        hashlib.sha256(IMAGE).digest()
    )


def test_part_of_another_file_is_thrown_away(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path
) -> None:
    target = offered(ddi, IMAGE)
    (tmp_path / http_device.PART).write_bytes(bytes(5_000))
    played = device(ddi, live_server, tmp_path)
    played.poll()
    assert state_of(ddi, target) == "succeeded"
    assert (tmp_path / RUNNING).read_bytes() == IMAGE


def test_success_is_told_after_a_loss_of_power(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = offered(ddi, IMAGE)
    played = device(ddi, live_server, tmp_path)
    with monkeypatch.context() as power:
        power.setattr(HttpDevice, "_tell_owed", _off)
        with pytest.raises(_PowerLostError):
            HttpDevice._update(
                played, ddi.links()["deploymentBase"].replace("http://testserver", live_server.url)
            )
    assert state_of(ddi, target) == "installing"
    again = device(ddi, live_server, tmp_path)
    assert again.firmware == "1.1.0"
    again.poll()
    assert state_of(ddi, target) == "succeeded"


class _PowerLostError(Exception):
    pass


def _off(_device: HttpDevice) -> None:
    raise _PowerLostError


def test_device_stops_and_agrees_when_asked(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path
) -> None:
    target = offered(ddi, IMAGE)
    ddi.ask(ddi.links()["deploymentBase"])
    set_state(ddi, target, TargetState.CANCELLED)
    played = device(ddi, live_server, tmp_path)
    played.poll()
    assert ddi.links().keys() & {"cancelAction", "deploymentBase"} == set()
    assert played.firmware == "1.0.0"
    with open_scope(ddi.scope):
        ddi_keys.change_settings(
            tenant_id=ddi.tenant.pk, values={"confirmation": True}, actor_id=None
        )
    set_state(ddi, target, TargetState.OFFERED, again=True)
    assert "confirmationBase" in ddi.links()
    played.poll()
    assert played.firmware == "1.0.0"
    played.poll()
    assert (played.firmware, state_of(ddi, target)) == ("1.1.0", "succeeded")


def test_device_whose_token_is_wrong_goes_on_asking_less_often(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path
) -> None:
    ddi.token = "wrong"
    played = device(ddi, live_server, tmp_path)
    with pytest.raises(requests.HTTPError, match="401"):
        played.poll()

    async def some_time() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(played.run(stop))
        await asyncio.sleep(0)
        stop.set()
        await running

    asyncio.run(some_time())


def test_command_plays_one_device(
    ddi: Ddi, live_server: LiveServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = offered(ddi, IMAGE)
    address = live_server.url + ddi.root
    arguments = ("--ddi", address, "--token", ddi.token, "--state", str(tmp_path))
    call_command("simulate", *arguments, "--seconds", "2")
    assert state_of(ddi, target) == "succeeded"
    assert capsys.readouterr().out == "simulate: switched off; 1.1.0 runs\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--ddi", "http://host/tenant/serial", "--token", "x"), "/TENANT/controller/v1/SERIAL"),
        (("--ddi", "ftp://host/t/controller/v1/s", "--token", "x"), "give https://"),
        (("--ddi", HOST), "target token from the device's page"),
        (
            ("--ddi", HOST, "--token", "x", "--power-cut", "9"),
            "no flash memory",
        ),
        (
            (
                "--ddi",
                HOST,
                "--token",
                "x",
                "--after-update",
                "gaps=0.2",
            ),
            "no readings",
        ),
    ],
)
def test_wrong_options_are_refused(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        call_command("simulate", *arguments)

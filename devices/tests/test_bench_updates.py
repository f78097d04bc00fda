"""The light fleet of the roll-out benchmark: it updates, keeps what is not committed, and ends."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from devices.benchmarks import updates
from devices.benchmarks.fleet import FleetDevice
from devices.benchmarks.updates import Fleet, UpdateOptions
from devices.protocol import Event
from devices.tests.device_server import DeviceServer, running
from devices.tests.test_client import until
from devices.tests.update_rig import FOREIGN_KEY, KEY, UPDATE, image_of, offer_of, public

NEW = image_of("1.1.0")
SERIALS = ("B-1", "B-2", "B-3")


def told(server: DeviceServer, serial: str) -> list[str]:
    return [
        message.kind.removeprefix("firmware.")
        for message in server.messages(serial)
        if isinstance(message, Event)
    ]


async def test_fleet_updates_once_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(updates, "RETRY_S", 0.02)
    server = DeviceServer()
    offer, payload = offer_of(NEW)
    server.payloads[UPDATE] = payload
    async with running(server, tmp_path) as ca:
        options = UpdateOptions(
            port=server.port,
            ca=str(ca),
            devices=[FleetDevice(serial, "00" * 32, "M3-63") for serial in SERIALS],
            key=public(KEY).hex(),
            image="11" * 32,
            report_s=0.1,
            samples=2,
            restart_s=0.05,
        )
        fleet = Fleet(options)
        await fleet.connect()
        reporting = asyncio.create_task(fleet.report())
        for serial in SERIALS:
            server.send(serial, offer_of(NEW, key=FOREIGN_KEY)[0])
            server.send(serial, offer)
        server.writers["B-2"].transport.abort()  # and comes back by itself
        await until(lambda: fleet.result.confirmed == 2)
        await until(lambda: len(server.hellos) == 6)
        server.send("B-2", offer)
        await until(lambda: fleet.result.confirmed == 3)
        for serial in SERIALS:
            server.send(serial, offer)  # the same once more: it runs already
        await until(lambda: all(told(server, serial).count("confirmed") == 2 for serial in SERIALS))
        await until(lambda: all(len(server.frames(serial)) > 2 for serial in SERIALS))
        reporting.cancel()
        await fleet.close()
    result = fleet.result
    assert (result.unsigned, result.wrong, result.twice) == (3, 0, 3)
    assert result.bytes >= 3 * len(payload)
    for serial in SERIALS:
        kinds = told(server, serial)
        assert kinds[0] == "rejected"
        assert kinds.index("downloaded") < kinds.index("installing") < kinds.index("confirmed")
    digest = hashlib.sha256(NEW).digest()
    assert [hello.image for hello in server.hellos[-2:]] == [digest] * 2
    assert server.errors == []

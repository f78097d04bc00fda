"""What the bridge keeps of connections that are over: nothing."""

from __future__ import annotations

import gc
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devices.ingest.connection import Connection
from devices.tests.bridge_devices import RawDevice, RunningBridge
from devices.tests.ingest_park import Owner, make_park

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])


@pytest.fixture
def without_collector() -> Iterator[None]:
    """What is only found by the collector stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _connections() -> list[Connection]:
    return [each for each in gc.get_objects() if type(each) is Connection]


@pytest.mark.usefixtures("without_collector")
def test_connections_that_are_over_leave_nothing_for_the_collector(
    bridges: Callable[..., RunningBridge], certificate: tuple[Path, Path], owner: Owner
) -> None:
    bridge = bridges()
    *leaving, last = make_park(owner, 5, 1)
    devices = [RawDevice(bridge.port, certificate[0]) for _ in leaving]
    for device, one in zip(devices, leaving, strict=True):
        device.join(one)
    # Strangers: one that speaks no TLS, one that breaks off its handshake, one that is sent away.
    for data in (b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00"):
        with socket.create_connection(("127.0.0.1", bridge.port)) as plain:
            plain.sendall(data)
    bridge.wait(lambda now: now["handshakes_failed"] == 2)
    with RawDevice(bridge.port, certificate[0]) as stranger:
        stranger.send(b"\xff" * 64)
        stranger.refused()
    assert len(_connections()) >= len(leaving)
    for device in devices:
        device.close()
    bridge.wait(lambda now: now["connections"] == 0)
    # Once another device is let in, nobody who waits for the next has those before it at hand.
    with RawDevice(bridge.port, certificate[0]) as device:
        device.join(last)
        assert len(_connections()) == 1

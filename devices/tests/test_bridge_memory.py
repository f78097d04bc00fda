"""What the bridge keeps of connections that are over: nothing."""

from __future__ import annotations

import gc
import weakref
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


@pytest.mark.usefixtures("without_collector")
def test_closed_connection_leaves_nothing_for_the_collector(
    bridges: Callable[..., RunningBridge], certificate: tuple[Path, Path], owner: Owner
) -> None:
    bridge = bridges()
    park = make_park(owner, 5, 1)
    *leaving, last = park
    devices = [RawDevice(bridge.port, certificate[0]) for _ in leaving]
    for device, one in zip(devices, leaving, strict=True):
        device.join(one)
    # Who is sent away, and who goes by itself.
    stranger = RawDevice(bridge.port, certificate[0])
    stranger.send(b"\xff" * 64)
    stranger.refused()
    left = [weakref.ref(each) for each in gc.get_objects() if type(each) is Connection]
    assert len(left) >= len(leaving)
    for device in (*devices, stranger):
        device.close()
    bridge.wait(lambda now: now["connections"] == 0)
    # Once another device is let in, nobody who waits for the next has those before it at hand.
    with RawDevice(bridge.port, certificate[0]) as device:
        device.join(last)
    assert [reference() for reference in left] == [None] * len(left)

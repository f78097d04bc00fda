"""The gate over devices that really update: a bad firmware gets no further than its first wave.

Bridge, writer and Redis are real, the driver is called as its task calls it, and what the devices
do after the update, the image that they installed makes them do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from devices.ingest.writer import Writer
from devices.simulator.image import Behaviour
from devices.tests import factories
from devices.tests.bridge_devices import RunningBridge
from firmware.domain.gate_words import NAMES, metric_sentence, verdict_sentence
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict
from firmware.models import RolloutState
from firmware.tests.gate_fleet import CANARIES, DAY, DEVICES, HOUR, LIMITS, NEW, OLD, GateFleet
from firmware.tests.live_devices import Devices, until

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])

FAULTS = {
    Metric.GAPS: Behaviour(gaps=0.08),
    Metric.RESETS: Behaviour(resets_s=2.0),
    Metric.RECONNECTS: Behaviour(reconnects_s=1.0),
    Metric.DRAIN: Behaviour(drain=2.0),
}
# So often each device that is reset, or loses its links, has come back when they are judged, where
# a sound one connects three times. On the mean it would say little: a few might have done it all.
OFTEN = 11
# Limits that so few devices can be seen to keep, whatever their day was like.
WIDE = {metric: 2 * limit for metric, limit in LIMITS.items()}


@pytest.fixture(autouse=True)
def _quick_devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("devices.simulator.client.BACKOFF_BASE_S", 0.05)
    monkeypatch.setattr("devices.simulator.client.BACKOFF_CAP_S", 0.2)
    monkeypatch.setattr("devices.simulator.firmware.SELF_TEST_S", 0.1)
    yield
    factories.remove_everything()


class Scene:
    """A fleet at a bridge."""

    def __init__(
        self, fleet: GateFleet, bridge: RunningBridge, certificate: Path, folder: Path
    ) -> None:
        self.fleet, self.bridge = fleet, bridge
        self._certificate, self._folder = certificate, folder

    def devices(self, since: datetime | None = None) -> Devices:
        return self.fleet.devices(self.bridge, self._certificate, self._folder, since=since)

    def update_canaries(self) -> datetime:
        """The first wave; returns when it was updated."""
        fleet, now = self.fleet, self.fleet.began
        devices = self.devices()
        with devices.running():
            until(lambda: len(fleet.connected()) == DEVICES, fleet.connected)
            fleet.start()

            def go_on() -> bool:
                nonlocal now
                now += timedelta(seconds=1)
                fleet.drive(now)
                return fleet.waves()[0] == "soaking"

            until(go_on, fleet.states)
            # One that is being reset runs nothing for a moment.
            until(lambda: running_new(devices) == fleet.canaries(), devices.versions)
        assert len(fleet.canaries()) == CANARIES
        return now

    def pass_day(self, devices: Devices, updated_at: datetime, fault: Metric | None) -> datetime:
        """What was measured since the update arrives; returns the time at which it is judged."""
        fleet = self.fleet
        unsaid = datetime.now(UTC) - HOUR / 2
        sound = {one.device.serial for one in fleet.registered}
        if fault in (Metric.RESETS, Metric.RECONNECTS):
            canaries = fleet.canaries()
            until(
                lambda: all(
                    fleet.connections_of(canaries).get(one, 0) >= OFTEN for one in canaries
                ),
                lambda: fleet.connections_of(canaries),
            )
            # A reset takes along what was not sent yet.
            sound -= canaries
        until(
            lambda: all((fleet.reported_until()[one] or unsaid) > unsaid for one in sound),
            fleet.reported_until,
        )
        # Half of the soak is no evidence, and nobody is offered anything.
        fleet.drive(updated_at + DAY / 2)
        assert (fleet.waves(), fleet.verdicts()) == (["soaking", "pending"], [])
        fleet.roll_up()
        return datetime.now(UTC) + HOUR / 2

    def judge(self, now: datetime) -> GateVerdict:
        """The gate is asked, and what it says takes effect."""
        for seconds in (0, 1):
            self.fleet.drive(now + timedelta(seconds=seconds))
        (verdict,) = self.fleet.verdicts()
        return verdict


def running_new(devices: Devices) -> set[str]:
    """The devices that say that they run the new firmware."""
    return {serial for serial, version in devices.versions().items() if version == NEW}


@pytest.fixture
def scene(
    bridges: Callable[..., RunningBridge],
    writer: Writer,
    certificate: tuple[Path, Path],
    firmware_folder: Path,
    tmp_path: Path,
) -> Callable[..., Scene]:
    """Makes a fleet and the roll-out of a firmware that acts in some way."""

    def make(
        behaviour: Behaviour,
        on_error: str = "pause",
        ratios: Mapping[Metric, float] = LIMITS,
    ) -> Scene:
        fleet = GateFleet.make(behaviour, on_error=on_error, ratios=ratios)
        return Scene(fleet, bridges(), certificate[0], tmp_path / "state")

    return make


@pytest.mark.parametrize("metric", FAULTS)
def test_a_bad_firmware_gets_no_further_than_its_first_wave(
    metric: Metric, scene: Callable[..., Scene]
) -> None:
    at = scene(FAULTS[metric])
    updated_at = at.update_canaries()
    devices = at.devices(updated_at)
    with devices.running():
        verdict = at.judge(at.pass_day(devices, updated_at, metric))
    failed = {one.metric for one in verdict.metrics if one.state == "fail"}
    assert (verdict.outcome, metric in failed) == ("fail", True), verdict
    rollout = at.fleet.rollout()
    assert (rollout.state, rollout.state_reason) == (RolloutState.PAUSED, "gate")
    assert rollout.state_data == {"wave": 1}
    assert at.fleet.waves() == ["judged", "pending"]
    assert set(at.fleet.states()[2].values()) == {"pending"}
    _check_words(verdict, metric)


def _check_words(verdict: GateVerdict, metric: Metric) -> None:
    """It says which figure is worse, by how much, and beyond which limit."""
    assert str(NAMES[metric]) in verdict_sentence(verdict)
    one = next(one for one in verdict.metrics if one.metric is metric)
    assert (one.updated, one.control) == (CANARIES, DEVICES - CANARIES)
    assert one.ratio is not None
    assert one.at_least is not None
    assert one.ratio > one.at_least > LIMITS[metric]
    assert f"beyond the limit of {LIMITS[metric]:.2f}" in metric_sentence(one)


def test_a_bad_firmware_is_taken_back_when_told_so(scene: Callable[..., Scene]) -> None:
    at = scene(FAULTS[Metric.GAPS], on_error="rollback")
    updated_at = at.update_canaries()
    devices = at.devices(updated_at)
    with devices.running():
        now = at.pass_day(devices, updated_at, Metric.GAPS)
        verdict = at.judge(now)
        assert [one.metric for one in verdict.metrics if one.state == "fail"] == [Metric.GAPS]
        assert at.fleet.rollout().state_reason == "gate"
        assert at.fleet.rollout().state == RolloutState.ABORTED

        def go_on() -> bool:
            nonlocal now
            now += timedelta(seconds=2)
            at.fleet.drive(now)
            return at.fleet.roll_back_state() == RolloutState.COMPLETED

        until(go_on, at.fleet.roll_back_state)
        assert set(devices.versions().values()) == {OLD}
    assert set(at.fleet.states()[2].values()) == {"cancelled"}


def test_a_good_firmware_goes_on_to_the_others(scene: Callable[..., Scene]) -> None:
    at = scene(Behaviour(), ratios=WIDE)
    updated_at = at.update_canaries()
    devices = at.devices(updated_at)
    with devices.running():
        now = at.pass_day(devices, updated_at, None)
        verdict = at.judge(now)
        assert {one.state for one in verdict.metrics} == {"pass"}, verdict

        def go_on() -> bool:
            nonlocal now
            now += timedelta(seconds=2)
            at.fleet.drive(now)
            return at.fleet.rollout().state == RolloutState.COMPLETED

        until(go_on, at.fleet.states)
        assert set(devices.versions().values()) == {NEW}
    assert at.fleet.waves() == ["done", "done"]

"""Many devices in one process: start, watch, stop."""

from __future__ import annotations

import asyncio
import logging
import random
import resource
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from devices.simulator.client import Counters
from devices.simulator.clock import system_ms
from devices.simulator.device import DeviceOptions, SimulatedDevice
from devices.simulator.model.site import HOUR_S, Site
from devices.simulator.payg import PaygKeys
from devices.simulator.reporter import REAL_TIME, Pace, Source, Thinning
from devices.simulator.session import Identity

log = logging.getLogger("wattline.simulate")

PROGRESS_S: Final = 30.0
START_INTERVAL_S: Final = 0.05  # devices are switched on one after the other …
START_SPREAD_S: Final = 5.0  # … within this time at most
_AHEAD_S: Final = 120.0  # the next hour of a site is computed so long before it begins


@dataclass(frozen=True, slots=True)
class Member:
    """One device of a fleet: who it is and what it measures.

    `begin_ms`: where on its time axis the source begins; None: at the time of power-up. `thinning`:
    how much it keeps of what it measured long before that. `payg`: by what it sells its output.
    """

    identity: Identity
    source: Source
    pace: Pace = REAL_TIME
    begin_ms: int | None = None
    thinning: Thinning | None = None
    payg: PaygKeys | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a fleet did: sums over its devices, and how many messages are still in their buffers."""

    devices: int
    connected: int
    live: int
    buffered: int
    counters: Counters
    bricked: int = 0
    versions: Mapping[str, int] = field(default_factory=dict)  # devices by the firmware that runs

    @property
    def work(self) -> str:
        """What the devices did, for a line of a log."""
        counters = self.counters
        return (
            f"{self.devices} devices sent {counters.sent_messages} messages "
            f"({counters.sent_bytes / 1e6:.2f} MB) over {counters.connections} connections "
            f"({counters.resumed} resumed, {counters.refused} refused), {self.buffered} waiting"
        )

    def __str__(self) -> str:
        versions = ", ".join(f"{count} run {name}" for name, count in self.versions.items())
        state = f"{self.connected} connected, {self.live} live" + (versions and f", {versions}")
        return f"{state}{f', {self.bricked} bricked' if self.bricked else ''}; {self.work}"


class Fleet:
    """Runs devices until they are done or `stop` is called.

    `sites` are computed a little ahead of time, one by one, so that the turn of the hour does not
    hold up every device at once.
    """

    def __init__(
        self,
        members: Sequence[Member],
        options: DeviceOptions,
        *,
        seed: int = 1,
        sites: Sequence[Site] = (),
        spread_s: float | None = None,
    ) -> None:
        chance = random.Random(seed)  # noqa: S311 (faults and jitter that can be repeated)
        self.devices = [
            SimulatedDevice(
                identity=member.identity,
                source=member.source,
                options=options,
                chance=random.Random(chance.random()),  # noqa: S311
                pace=member.pace,
                begin_ms=member.begin_ms,
                thinning=member.thinning,
                payg=member.payg,
            )
            for member in members
        ]
        self._sites = sites
        if spread_s is None:
            spread_s = min(START_SPREAD_S, START_INTERVAL_S * len(self.devices))
        self._spread_s = spread_s
        self._stop = asyncio.Event()

    @property
    def summary(self) -> Summary:
        """The state of the fleet now."""
        counters = Counters()
        connected = live = buffered = 0
        versions: Counter[str] = Counter()
        for device in self.devices:
            counters.add(device.counters)
            client = device.client
            if client is None:
                buffered += device.buffered
                continue
            counters.add(client.counters)
            connected += client.connected.is_set()
            live += client.live
            buffered += len(client.buffer)
            versions[client.identity.firmware] += 1
        bricked = sum(device.bricked for device in self.devices)
        return Summary(
            len(self.devices), connected, live, buffered, counters, bricked, dict(versions)
        )

    def stop(self) -> None:
        """Send what is gathered, wait a little for acknowledgements, switch all devices off."""
        self._stop.set()

    async def run(self, *, seconds: float | None = None) -> Summary:
        """Run until every source is exhausted, `seconds` are over, or `stop` is called.

        What goes wrong inside a device (not: on its link) ends the fleet and is raised.
        """
        allow_open_files(len(self.devices) * 4 + 64)
        background = [asyncio.create_task(self._report())]
        if self._sites:
            background.append(asyncio.create_task(self._compute_ahead()))
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._end(seconds))
                await asyncio.wait(
                    [
                        group.create_task(self._run_device(device, number))
                        for number, device in enumerate(self.devices)
                    ]
                )
                self._stop.set()
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
        return self.summary

    async def _run_device(self, device: SimulatedDevice, number: int) -> None:
        await asyncio.sleep(self._spread_s * number / len(self.devices))
        if not self._stop.is_set():
            await device.run()

    async def _end(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            self._stop.set()
        await asyncio.gather(*(device.stop() for device in self.devices))

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_S)
            log.info("%s", self.summary)

    async def _compute_ahead(self) -> None:
        while True:
            hour = int((system_ms() / 1_000 + _AHEAD_S) // HOUR_S)
            pause = max(0.02, min(1.0, _AHEAD_S / 2 / len(self._sites)))
            for site in self._sites:
                if site.snapshot.hour <= hour:
                    site.hour(hour)
                    await asyncio.sleep(pause)
            await asyncio.sleep(5.0)


def allow_open_files(wanted: int) -> None:
    """Raise the limit of open files as far as allowed: sockets and buffers need a few each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))

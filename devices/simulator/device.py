"""A whole simulated device: source, reporter, client, commands, and its reboots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devices.protocol import MAX_SAMPLES, MAX_STEP_MS, Command, LogLevel, ResultStatus, Welcome
from devices.simulator.buffer import Buffer
from devices.simulator.client import Address, Counters, DeviceClient
from devices.simulator.clock import Clock
from devices.simulator.commands import CommandJournal
from devices.simulator.faults import NO_FAULTS, Faults
from devices.simulator.reporter import REAL_TIME, Pace, Reporter, Source, Thinning
from devices.simulator.session import Identity

log = logging.getLogger("wattline.device")

DRAIN_S: Final = 10.0
GOODBYE_S: Final = 1.0  # for the last message to leave
_STARTED = "firmware {firmware} started, boot {boots}"


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """How a simulated device is built and what shall go wrong with it.

    `reboot_every_s`: mean time between power failures (0 = never), each `reboot_s` long.
    """

    address: Address
    tls: ssl.SSLContext
    state: Path
    faults: Faults = NO_FAULTS
    skew_ms: float = 0
    drift_ppm: float = 0
    reboot_every_s: float = 0
    reboot_s: float = 3.0
    capacity: int = 4 << 20


class SimulatedDevice:
    """Runs a device from power-up to power-down, any number of times.

    Commands: `reboot`; `set_reporting` with `step_ms` and `samples`; `identify`. Everything else is
    answered by REJECTED.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        source: Source,
        options: DeviceOptions,
        chance: random.Random,
        pace: Pace = REAL_TIME,
        begin_ms: int | None = None,
        thinning: Thinning | None = None,
    ) -> None:
        self.identity = identity
        self.source = source
        self.counters = Counters()
        self.buffered = 0
        self.client: DeviceClient | None = None
        self._options = options
        self._pace = pace
        self._thinning = thinning
        self._begin_ms = begin_ms  # where on its axis the source begins at the first power-up
        self._announced = False  # whether this boot has told that it happened
        self._chance = chance
        self._folder = options.state / identity.serial
        self._reporter: Reporter | None = None
        self._journal: CommandJournal | None = None
        self._power = asyncio.Event()  # set to cut the power
        self._off = asyncio.Event()  # set while the device is switched off
        self._stopping = False

    async def run(self) -> None:
        """Run until `stop`, or until the source has no more samples and all is committed."""
        while not self._stopping:
            self._power.clear()
            finished = await self._run_once()
            if finished:
                return
            if not self._stopping:
                await asyncio.sleep(self._options.reboot_s)

    def reboot(self) -> None:
        """Cut the power for a moment: what is not in the buffer is lost."""
        self._power.set()

    async def stop(self, drain_s: float = DRAIN_S) -> None:
        """Send what has been gathered, wait a little for its acknowledgement, switch off."""
        self._stopping = True
        if self._reporter is not None:
            self._reporter.finish()
        if self.client is not None and self.client.connected.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._off.wait(), drain_s)
        self._power.set()

    async def _run_once(self) -> bool:
        """From power-up to power-down; returns whether the source is exhausted."""
        options = self._options
        loop = asyncio.get_running_loop()
        self._off.clear()
        self._announced = False
        with Buffer(self._folder, capacity=options.capacity) as buffer:
            client, reporter = self._power_up(buffer)
            failure = None
            if options.reboot_every_s:
                life_s = self._chance.expovariate(1 / options.reboot_every_s)
                failure = loop.call_later(life_s, self.reboot)
            power = loop.create_task(self._power.wait())
            reporting = loop.create_task(reporter.run())
            connecting = loop.create_task(client.run())
            tasks = (power, reporting, connecting)
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                exhausted = reporting.done() and not power.done()
                if exhausted and not reporting.exception():
                    await _leave(client, power, connecting)
            finally:
                if failure is not None:
                    failure.cancel()
                client.kill()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.counters.add(client.counters)
                self.buffered = len(buffer)
                self.client = self._reporter = None
                self._off.set()
        for task in tasks:
            # A bug in reporting or in the link must not look like a power failure.
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return exhausted

    def _power_up(self, buffer: Buffer) -> tuple[DeviceClient, Reporter]:
        options = self._options
        clock = Clock(
            skew_ms=options.skew_ms,
            drift_ppm=options.drift_ppm,
            offset_ms=buffer.state.clock_offset_ms,
        )
        client = DeviceClient(
            address=options.address,
            tls=options.tls,
            identity=self.identity,
            buffer=buffer,
            clock=clock,
            faults=options.faults,
            chance=self._chance,
        )
        reporter = Reporter(
            client,
            self.source,
            pace=self._pace,
            begin_ms=self._begin_ms,
            thinning=self._thinning if self._begin_ms is not None else None,
        )
        self._begin_ms = None
        self.client, self._reporter = client, reporter
        self._journal = CommandJournal(self._folder)
        client.on_command = self._obey
        client.on_welcome = self._welcomed
        if clock.known:
            self._start_up(buffer.state.boot_count)
        return client, reporter

    def _welcomed(self, welcome: Welcome) -> None:
        assert self.client is not None
        assert self._reporter is not None
        if not self._announced:
            self._start_up(self.client.buffer.state.boot_count)
        self._reporter.take_welcome(welcome)

    def _start_up(self, boots: int) -> None:
        """Tell that the device is back, and finish the commands that a reboot was part of."""
        assert self.client is not None
        assert self._journal is not None
        self._announced = True
        self.client.append_log(
            LogLevel.INFO, _STARTED.format(firmware=self.identity.firmware, boots=boots)
        )
        for command_id, _ in self._journal.accepted():
            detail = f"rebooted, boot {boots}"
            self._journal.remember(command_id, ResultStatus.DONE, detail)
            self.client.append_result(command_id, ResultStatus.DONE, detail)

    def _obey(self, command: Command) -> None:
        assert self.client is not None
        assert self._journal is not None
        before = self._journal.find(command.command_id)
        if before is not None:
            self.client.append_result(command.command_id, *before)
            return
        if command.expires_ms and self.client.clock.now_ms() > command.expires_ms:
            status, detail = ResultStatus.EXPIRED, "the command came after its expiry"
        else:
            status, detail = self._carry_out(command)
        self._journal.remember(command.command_id, status, detail)
        self.client.append_result(command.command_id, status, detail)
        if status is ResultStatus.ACCEPTED:
            # Long enough for the RESULT to leave; it is in the buffer in any case.
            asyncio.get_running_loop().call_later(0.2, self.reboot)

    def _carry_out(self, command: Command) -> tuple[ResultStatus, str]:
        assert self.client is not None
        if command.kind == "reboot":
            return ResultStatus.ACCEPTED, "rebooting"
        if command.kind == "identify":
            self.client.append_event("device.identified", {"serial": self.identity.serial})
            return ResultStatus.DONE, "blinking"
        if command.kind == "set_reporting":
            return self._set_reporting(command)
        return ResultStatus.REJECTED, f"unknown command {command.kind}"

    def _set_reporting(self, command: Command) -> tuple[ResultStatus, str]:
        assert self._reporter is not None
        step_ms = command.arguments.get("step_ms", self._reporter.step_ms)
        samples = command.arguments.get("samples", self._reporter.samples)
        if not isinstance(step_ms, int) or not 100 <= step_ms <= MAX_STEP_MS:
            return ResultStatus.REJECTED, f"step_ms {step_ms} is outside 100 … {MAX_STEP_MS}"
        if not isinstance(samples, int) or not 1 <= samples <= MAX_SAMPLES:
            return ResultStatus.REJECTED, f"samples {samples} is outside 1 … {MAX_SAMPLES}"
        self._reporter.set_reporting(step_ms=step_ms, samples=samples)
        return ResultStatus.DONE, f"{samples} samples every {step_ms} ms"


async def _leave(
    client: DeviceClient, power: asyncio.Task[bool], connecting: asyncio.Task[None]
) -> None:
    """Nothing more will come: wait until all is committed, and say goodbye."""
    draining = asyncio.create_task(client.drain(None))
    await asyncio.wait({draining, power}, return_when=asyncio.FIRST_COMPLETED)
    draining.cancel()
    client.stop()
    await asyncio.wait({connecting}, timeout=GOODBYE_S)

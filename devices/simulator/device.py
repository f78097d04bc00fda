"""A whole simulated device: firmware, source, reporter, client, commands, and its reboots."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from devices.protocol import Capability, LogLevel, Welcome
from devices.simulator.buffer import Buffer
from devices.simulator.client import Address, Counters, DeviceClient
from devices.simulator.clock import Clock
from devices.simulator.commands import CommandJournal
from devices.simulator.faults import NO_FAULTS, Faults
from devices.simulator.firmware import (
    WATCHDOG_S,
    FirmwareOptions,
    Started,
    UpdateDriver,
    open_flash,
    start_up,
)
from devices.simulator.flash import PowerLostError
from devices.simulator.image import Behaviour
from devices.simulator.obeying import Obedience
from devices.simulator.payg import PaygKeys, PaygUnit
from devices.simulator.reporter import REAL_TIME, Pace, Reporter, Source, Thinning
from devices.simulator.session import Identity
from devices.simulator.unit import Unit

log = logging.getLogger("wattline.device")

DRAIN_S: Final = 10.0
GOODBYE_S: Final = 1.0  # for the last message to leave
ANSWER_S: Final = 0.2  # for a RESULT to leave before the restart; it is in the buffer in any case
_STARTED = "firmware {firmware} started, boot {boots}"


@dataclass(frozen=True, slots=True)
class DeviceOptions:
    """How a simulated device is built and what shall go wrong with it.

    `reboot_every_s`: mean time between power failures (0 = never), each `reboot_s` long.
    `firmware`: how its firmware is updated; None for a device that cannot be.
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
    firmware: FirmwareOptions | None = None


class SimulatedDevice:
    """Runs a device from power-up to power-down, any number of times.

    It obeys the commands of docs/protocol.md (`obeying.Obedience`) and installs firmware that is
    signed with a key it was given.
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
        payg: PaygKeys | None = None,
    ) -> None:
        self.identity = identity  # as it left the factory
        self.source = source
        self.counters = Counters()
        self.buffered = 0
        self.client: DeviceClient | None = None
        self.bricked = False  # neither slot holds an image that may be run
        self.silent = False  # a firmware was started and stands still
        if options.firmware is not None:
            options = replace(options, firmware=options.firmware.of(identity.serial))
        self._options = options
        self._pace = pace
        self._thinning = thinning
        self._payg_keys = payg
        self.payg: PaygUnit | None = None  # while a firmware runs
        self._begin_ms = begin_ms  # where on its axis the source begins at the first power-up
        self._announced = False  # whether this boot has told that it happened
        self._chance = chance
        self._folder = options.state / identity.serial
        self.unit = Unit(source, self._folder, identity.device_type)
        self._reporter: Reporter | None = None
        self._obedience: Obedience | None = None
        self._driver: UpdateDriver | None = None
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

    # From power-up to power-down

    def _reboot_soon(self) -> None:
        asyncio.get_running_loop().call_later(ANSWER_S, self.reboot)

    async def _run_once(self) -> bool:
        """From power-up to power-down; returns whether the source is exhausted."""
        self._off.clear()
        self._announced = False
        with contextlib.ExitStack() as parts:
            try:
                started = self._start_firmware(parts)
            except PowerLostError:
                return False
            if started is None:
                self.bricked = True
                log.error("%s has no firmware that may be run", self.identity.serial)
                await self._power.wait()
                return False
            faults = self._options.firmware.faults if self._options.firmware else None
            if started.behaviour.hangs or (faults and faults.never_returns and started.on_trial):
                patience_s = WATCHDOG_S if started.behaviour.hangs else None
                self.silent = True
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._power.wait(), patience_s)
                return False
            self.silent = False
            buffer = parts.enter_context(Buffer(self._folder, capacity=self._options.capacity))
            return await self._run_firmware(started, buffer)

    async def _run_firmware(self, started: Started, buffer: Buffer) -> bool:
        options = self._options
        loop = asyncio.get_running_loop()
        client, reporter = self._power_up(started, buffer)
        failure = None
        if options.reboot_every_s:
            life_s = self._chance.expovariate(1 / options.reboot_every_s)
            failure = loop.call_later(life_s, self.reboot)
        power = loop.create_task(self._power.wait())
        reporting = loop.create_task(reporter.run())
        connecting = loop.create_task(client.run())
        acting = loop.create_task(self._misbehave(client, started.behaviour))
        selling = loop.create_task(self._sell())
        tasks = (power, reporting, connecting)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            exhausted = reporting.done() and not power.done()
            if exhausted and not reporting.exception():
                await _leave(client, power, connecting)
        finally:
            if failure is not None:
                failure.cancel()
            if self._driver is not None:
                self._driver.stop()
            client.kill()
            beside = (acting, selling)
            for task in (*tasks, *beside):
                task.cancel()
            await asyncio.gather(*tasks, *beside, return_exceptions=True)
            self.counters.add(client.counters)
            self.buffered = len(buffer)
            self.client = self._reporter = self._driver = self._obedience = self.payg = None
            self.unit.detach()
            self._off.set()
        for task in tasks:
            # A bug in reporting or in the link must not look like a power failure.
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error
        return exhausted

    def _start_firmware(self, parts: contextlib.ExitStack) -> Started | None:
        """What the bootloader starts; raises PowerLostError."""
        identity = replace(
            self.identity, capabilities=self.identity.capabilities | Capability.CONFIGURATION
        )
        firmware = self._options.firmware
        if firmware is None:
            return Started(identity, Behaviour(identity.firmware))
        flash = parts.enter_context(open_flash(firmware, self._folder, self._chance))
        return start_up(firmware, flash, identity)

    def _power_up(self, started: Started, buffer: Buffer) -> tuple[DeviceClient, Reporter]:
        options = self._options
        self.unit.power_up()
        clock = Clock(
            skew_ms=options.skew_ms,
            drift_ppm=options.drift_ppm,
            offset_ms=buffer.state.clock_offset_ms,
        )
        client = DeviceClient(
            address=options.address,
            tls=options.tls,
            identity=started.identity,
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
            shape=self.unit.acting(client, started.behaviour).shape,
        )
        self._begin_ms = None
        self.client, self._reporter = client, reporter
        self.unit.attach(client, reporter)
        if self._payg_keys is not None:
            self.payg = self.unit.selling(self._payg_keys, client)
        self._obedience = Obedience(
            self.unit, client, CommandJournal(self._folder), self._reboot_soon, self.payg
        )
        if options.firmware is not None:
            self._driver = UpdateDriver(started, client, options.firmware.faults, self.reboot)
        client.on_command = self._obedience.take
        client.on_welcome = self._welcomed
        if clock.known:
            self._start_up()
        return client, reporter

    def _welcomed(self, welcome: Welcome) -> None:
        assert self._reporter is not None
        self.unit.welcomed(welcome)  # first, to be told with the rest at a first contact
        if not self._announced:
            self._start_up()
        self.unit.note(LogLevel.DEBUG, f"connected, messages from {welcome.resume_from} on")
        self._reporter.take_welcome(welcome)
        if self._driver is not None:
            self._driver.welcomed()

    def _start_up(self) -> None:
        """Tell that the device is back, and finish what the restart was part of."""
        assert self.client is not None
        assert self._obedience is not None
        self._announced = True
        boots = self.client.buffer.state.boot_count
        self.unit.note(
            LogLevel.INFO, _STARTED.format(firmware=self.client.identity.firmware, boots=boots)
        )
        self._obedience.started(boots)
        self.unit.report()
        if self._driver is not None:
            self._driver.start()

    async def _sell(self) -> None:
        """Switch off when paid time is over, once the time is known."""
        if self.payg is not None and self.client is not None:
            if not self.client.clock.known:
                await self.client.connected.wait()
            await self.payg.watch()

    async def _misbehave(self, client: DeviceClient, behaviour: Behaviour) -> None:
        """Restart, lose the link and log errors as often as the firmware does."""

        async def every(mean_s: float, act: Callable[[], None]) -> None:
            while mean_s:
                await asyncio.sleep(self._chance.expovariate(1 / mean_s))
                act()

        await asyncio.gather(
            every(behaviour.resets_s, self.reboot),
            every(behaviour.reconnects_s, client.drop_link),
            every(behaviour.errors_s, lambda: self.unit.note(LogLevel.ERROR, "a task did not end")),
        )


async def _leave(
    client: DeviceClient, power: asyncio.Task[bool], connecting: asyncio.Task[None]
) -> None:
    """Nothing more will come: wait until all is committed, and say goodbye."""
    draining = asyncio.create_task(client.drain(None))
    await asyncio.wait({draining, power}, return_when=asyncio.FIRST_COMPLETED)
    draining.cancel()
    client.stop()
    await asyncio.wait({connecting}, timeout=GOODBYE_S)

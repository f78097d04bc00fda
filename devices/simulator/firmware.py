"""The firmware of one start of a device: which image runs, how it acts, and how it is updated."""

from __future__ import annotations

import asyncio
import logging
import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from devices.protocol import Capability, Chunk, ChunkStatus, Offer, encode_message
from devices.simulator.bootloader import Bootloader, Reason, SlotImage
from devices.simulator.checks import Facts
from devices.simulator.client import DeviceClient
from devices.simulator.faults import NO_UPDATE_FAULTS, UpdateFaults
from devices.simulator.flash import SECTOR, Flash, PowerLostError
from devices.simulator.image import DEFAULT_SIZE, Behaviour, build_image, read_image
from devices.simulator.layout import Layout
from devices.simulator.session import Firmware, Identity
from devices.simulator.updater import Updater

log = logging.getLogger("wattline.device")

CHUNK_TIMEOUT_S: Final = 30.0
SELF_TEST_S: Final = 2.0  # connected for so long, a new firmware finds itself sound
WATCHDOG_S: Final = 8.0
LEAVE_S: Final = 5.0  # for what was told to reach the server before the restart
LAYOUT: Final = Layout(image_bytes=128 * 1024)
_UPDATABLE: Final = Capability.FIRMWARE | Capability.FIRMWARE_DELTA


@dataclass(frozen=True, slots=True)
class FirmwareOptions:
    """How a device that can be updated is built: the public keys (32 bytes each) that it trusts,
    its memory, and what goes wrong with its updates.

    `faulty` is the share of a fleet that has the faults, always the same devices; `own` are the
    faults of single devices by their serial, whatever the others have.
    """

    keys: tuple[bytes, ...]
    layout: Layout = LAYOUT
    faults: UpdateFaults = NO_UPDATE_FAULTS
    faulty: float = 1.0
    own: Mapping[str, UpdateFaults] = field(default_factory=dict)

    def of(self, serial: str) -> FirmwareOptions:
        """The options of one device."""
        if serial in self.own:
            return replace(self, faults=self.own[serial])
        if zlib.crc32(serial.encode()) / 2**32 < self.faulty:
            return self
        return replace(self, faults=NO_UPDATE_FAULTS)


@dataclass(frozen=True, slots=True)
class Started:
    """What the bootloader has started. `identity` is who the device says that it is."""

    identity: Identity
    behaviour: Behaviour
    image: SlotImage | None = None
    bootloader: Bootloader | None = None
    on_trial: bool = False


def open_flash(options: FirmwareOptions, folder: Path, chance: random.Random) -> Flash:
    """The memory of a device, with the faults that it has from now on."""
    flash = Flash(options.layout.size, folder / "flash.bin")
    faults = options.faults
    if faults.bad_flash:
        flash.bad = frozenset({options.layout.secondary.start // SECTOR + 1})
    if faults.power_cut_bytes:
        flash.power_left = 1 + int(chance.expovariate(1 / faults.power_cut_bytes))
    return flash


def factory_image(identity: Identity, layout: Layout) -> bytes:
    """What a device runs that was never updated."""
    size = min(DEFAULT_SIZE, layout.image_bytes // 2)
    return build_image(identity.firmware, device_type=identity.device_type, size=size)


def start_up(options: FirmwareOptions, flash: Flash, identity: Identity) -> Started | None:
    """Run the bootloader; None when there is nothing to run. Raises PowerLostError.

    A device that is switched on for the first time has the image of its factory.
    """
    bootloader = Bootloader(flash, options.layout, options.keys)
    image = bootloader.start()
    if image is None and bootloader.untouched:
        held, flash.power_left = flash.power_left, None  # the power of a factory holds
        bootloader.provision(factory_image(identity, options.layout))
        flash.power_left = held
        image = bootloader.start()
    if image is None:
        return None
    behaviour = read_image(image.data).behaviour
    signed = image.manifest.version if image.manifest else identity.firmware
    behaviour = replace(behaviour, version=behaviour.version or signed)
    if image.manifest is not None and options.faults.after is not None:
        after = options.faults.after
        behaviour = replace(after, version=after.version or behaviour.version)
    started = replace(
        identity,
        firmware=behaviour.version,
        capabilities=identity.capabilities | _UPDATABLE,
        image=image.sha256,
    )
    return Started(started, behaviour, image, bootloader, bootloader.on_trial)


class UpdateDriver:
    """Lets an `Updater` speak with the server; `restart` cuts the power for a moment.

    Calls come from the event loop. A power failure in the flash memory is one of the device.
    """

    def __init__(
        self,
        started: Started,
        client: DeviceClient,
        faults: UpdateFaults,
        restart: Callable[[], None],
    ) -> None:
        assert started.bootloader is not None
        assert started.image is not None
        self._client = client
        self._faults = faults
        self._restart = restart
        self._timers: list[asyncio.TimerHandle] = []
        self._patience: asyncio.TimerHandle | None = None
        self._leaving: asyncio.Task[None] | None = None
        identity = started.identity
        self.updater = Updater(
            bootloader=started.bootloader,
            running=started.image,
            facts=Facts(identity.device_type, identity.hardware, identity.firmware),
            tell=self._tell,
        )
        self._self_test = started.behaviour.self_test
        client.on_firmware = self._take_safely

    def start(self) -> None:
        """At power-up, once the clock is known."""
        self._guarded(self.updater.start)
        if self.updater.testing and self.updater.confirm_within_s:
            self._later(self.updater.confirm_within_s, self._give_up, Reason.TIMEOUT)
        self._guarded(self._go_on)

    def welcomed(self) -> None:
        """A connection is up."""
        self._guarded(self.updater.connected)
        if not self.updater.testing:
            return
        if self._self_test:
            self._later(SELF_TEST_S, self._confirm)
        else:
            self._give_up(Reason.SELF_TEST)

    def stop(self) -> None:
        """The power is off."""
        for timer in self._timers:
            timer.cancel()
        if self._patience is not None:
            self._patience.cancel()
        if self._leaving is not None:
            self._leaving.cancel()

    def _tell(self, kind: str, entries: Mapping[str, int | str]) -> None:
        self._client.append_event(kind, entries)

    def _take_safely(self, message: Firmware) -> None:
        self._guarded(self._take, message)

    def _take(self, message: Firmware) -> None:
        if self._faults.deaf:
            return
        if isinstance(message, Offer):
            self.updater.take_offer(message)
        elif isinstance(message, Chunk):
            self._take_chunk(message)
        else:
            self.updater.take_withdrawal(message)
        self._go_on()

    def _take_chunk(self, chunk: Chunk) -> None:
        if self._faults.tampers and chunk.status == ChunkStatus.DATA:
            chunk = replace(chunk, data=bytes((chunk.data[0] ^ 0x01,)) + chunk.data[1:])
        asked_s = self.updater.take_chunk(chunk)
        if asked_s is None:
            return
        if self._patience is not None:
            self._patience.cancel()
        wait_s = float(asked_s)
        if self._faults.bytes_per_s:
            wait_s = max(wait_s, len(chunk.data) / self._faults.bytes_per_s)
        if wait_s:
            self.updater.hold()
            self._later(wait_s, self._ask_on)

    def _ask_on(self) -> None:
        self.updater.ask_again()
        self._go_on()

    def _go_on(self) -> None:
        fetch = self.updater.next_fetch()
        if fetch is not None:
            self._client.send_now(encode_message(fetch))
            loop = asyncio.get_running_loop()
            if self._patience is not None:
                self._patience.cancel()
            self._patience = loop.call_later(CHUNK_TIMEOUT_S, self._guarded, self._ask_on)
        elif self.updater.ready and self._leaving is None:
            self._leaving = asyncio.create_task(self._install())

    async def _install(self) -> None:
        """Let what was told leave, then restart into the new image."""
        if self._faults.lies:
            self._guarded(self.updater.pretend)
        else:
            await self._client.drain(LEAVE_S)
            # It may have been withdrawn meanwhile.
            if self._guarded(self.updater.install) and self.updater.installing:
                await self._client.drain(LEAVE_S)
                self._restart()
        self._leaving = None

    def _confirm(self) -> None:
        if self._client.connected.is_set():
            self.updater.confirm()

    def _give_up(self, reason: Reason) -> None:
        if self.updater.testing:
            self.updater.give_up(reason)
            self._restart()

    def _later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        loop = asyncio.get_running_loop()
        self._timers.append(loop.call_later(seconds, self._guarded, call, *arguments))

    def _guarded(self, call: Callable[..., None], *arguments: object) -> bool:
        """Whether the power held."""
        try:
            call(*arguments)
        except PowerLostError as error:
            log.debug("%s: %s", self._client.identity.serial, error)
            self._restart()
            return False
        return True

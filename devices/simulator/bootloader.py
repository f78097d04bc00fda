"""What runs before the firmware: checks images, swaps slots, and goes back when it was no good.

As MCUboot does it with two slots and a scratch sector: an image waits in the secondary slot, the
next start swaps the slots sector by sector, the new image is tried once, and unless it confirms
itself the start after that swaps back. Each sector is moved in three steps (secondary → scratch,
primary → secondary, scratch → primary) whose source is whole until the step is noted as done, so
that a power failure at any byte costs a repetition of one step and nothing else.

An image is run only with a signed manifest (docs/protocol.md) that names its size and SHA-256, in
the last sector of its slot and moved with it; or as the image that the factory wrote, whose digest
stands in a sector that is programmed once.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

import google_crc32c
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from devices.protocol import Manifest, ProtocolError, signed_bytes
from devices.simulator.flash import ERASED, SECTOR, Flash, Region
from devices.simulator.layout import Layout
from devices.simulator.records import RecordLog

_CREDENTIAL: Final = struct.Struct("<4sIHH")  # magic, image size, lengths of manifest, signature
_CREDENTIAL_MAGIC: Final = b"WLC1"
_STATE: Final = struct.Struct("<BHHB")
_STATE_KIND: Final = 1
_STEPS: Final = 3  # of moving one sector
SIGNATURE_BYTES: Final = 64


class Phase(IntEnum):
    """Where the swap of the slots stands."""

    IDLE = 0
    REQUESTED = 1
    SWAPPING = 2
    TRIAL = 3  # swapped, not started yet
    TESTING = 4  # started once, not confirmed
    REVERTING = 5
    REVERTED = 6  # back; the firmware has not told yet
    REFUSED = 7  # what was requested is no image to run


class Reason(IntEnum):
    """Why an image was given up; what the firmware wrote down before it restarted."""

    POWER = 0
    SELF_TEST = 1
    TIMEOUT = 2
    WITHDRAWN = 3
    SIGNATURE = 4


@dataclass(frozen=True, slots=True)
class BootState:
    """What the bootloader remembers: the phase, the steps done, the sectors to swap, the reason."""

    phase: Phase = Phase.IDLE
    step: int = 0
    sectors: int = 0
    reason: Reason = Reason.POWER


@dataclass(frozen=True, slots=True)
class SlotImage:
    """An image that may be run: its bytes and its manifest (None: the factory's)."""

    data: bytes
    manifest: Manifest | None
    encoded: bytes = b""

    @property
    def sha256(self) -> bytes:
        """The digest of the image."""
        return hashlib.sha256(self.data).digest()


def verified(manifest: bytes, signature: bytes, keys: Sequence[bytes]) -> Manifest | None:
    """The manifest when one of the public keys (32 bytes) has signed it, else None."""
    for key in keys:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, signed_bytes(manifest))
        except (InvalidSignature, ValueError):
            continue
        try:
            return Manifest.decode(manifest)
        except ProtocolError:
            return None
    return None


class Bootloader:
    """The first program of a device; its memory and keys are all it has."""

    def __init__(self, flash: Flash, layout: Layout, keys: Sequence[bytes]) -> None:
        self.flash = flash
        self.layout = layout
        self.keys = tuple(keys)
        self._log = RecordLog(flash, layout.state)

    @property
    def state(self) -> BootState:
        """What is remembered now."""
        value = self._log.get(_STATE_KIND)
        if value is None:
            return BootState()
        phase, step, sectors, reason = _STATE.unpack(value)
        return BootState(Phase(phase), step, sectors, Reason(reason))

    def _remember(self, state: BootState) -> None:
        value = _STATE.pack(state.phase, state.step, state.sectors, state.reason)
        self._log.put(_STATE_KIND, value)

    # In the factory

    def provision(self, image: bytes) -> None:
        """Write the first image of a device that has none."""
        if not self.untouched:
            raise ValueError("the device has left its factory already")
        self.write_credential(self.layout.primary, len(image), b"", b"")
        self.flash.write(self.layout.primary.start, image)
        self.flash.program(self.layout.factory.start, hashlib.sha256(image).digest())

    @property
    def untouched(self) -> bool:
        """Whether the device has not left its factory: no image was ever completely written."""
        digest = self.flash.read(self.layout.factory.start, hashlib.sha256().digest_size)
        return digest.count(ERASED) == len(digest)

    @property
    def on_trial(self) -> bool:
        """Whether the image that was started has not confirmed itself."""
        return self.state.phase is Phase.TESTING

    # At a start

    def start(self) -> SlotImage | None:
        """What runs now; None when neither slot holds an image that may be run."""
        state = self.state
        if state.phase is Phase.REQUESTED:
            state = self._take_request(state)
        if state.phase is Phase.SWAPPING:
            moved = self._swap(state)
            state = replace(self.state, phase=Phase.TRIAL if moved else Phase.REFUSED, step=0)
            self._remember(state)
        elif state.phase is Phase.TESTING:
            state = replace(state, phase=Phase.REVERTING, step=0)
            self._remember(state)
        if state.phase is Phase.REVERTING:
            self._go_back(state)
        image = self.image_in(self.layout.primary)
        if image is None:
            image = self._rescue()
        elif self.state.phase is Phase.TRIAL:
            self._remember(replace(self.state, phase=Phase.TESTING))
        return image

    def _take_request(self, state: BootState) -> BootState:
        if self.image_in(self.layout.secondary) is not None:
            state = replace(state, phase=Phase.SWAPPING, step=0, reason=Reason.POWER)
        else:
            state = replace(state, phase=Phase.REFUSED, step=0, reason=Reason.SIGNATURE)
        self._remember(state)
        return state

    def _go_back(self, state: BootState) -> None:
        self._swap(state)
        self._remember(replace(self.state, phase=Phase.REVERTED, step=0))

    def _rescue(self) -> SlotImage | None:
        """The primary slot has lost its image: take the other one, if there is one."""
        other = self.image_in(self.layout.secondary)
        if other is None:
            return None
        sectors = self.layout.image_bytes // SECTOR
        state = BootState(Phase.REVERTING, 0, sectors, Reason.SIGNATURE)
        self._remember(state)
        self._go_back(state)
        return self.image_in(self.layout.primary)

    def _swap(self, state: BootState) -> bool:
        """Exchange the used sectors of the slots, from the step that is not done.

        False, with nothing changed, when the scratch sector does not keep what it gets.
        """
        layout, flash = self.layout, self.flash
        last = layout.image_bytes  # the credentials
        offsets = [number * SECTOR for number in range(state.sectors)] + [last]
        for step in range(state.step, len(offsets) * _STEPS):
            offset = offsets[step // _STEPS]
            primary, secondary = layout.primary.start + offset, layout.secondary.start + offset
            source, target = (
                (secondary, layout.scratch.start),
                (primary, secondary),
                (layout.scratch.start, primary),
            )[step % _STEPS]
            moved = flash.read(source, SECTOR)
            flash.write(target, moved)
            if step == 0 and flash.read(target, SECTOR) != moved:
                return False
            self._remember(replace(state, step=step + 1))
        return True

    # For the firmware

    def image_in(self, slot: Region) -> SlotImage | None:
        """The image of a slot, None when nothing in it may be run."""
        credential = self._credential(slot)
        if credential is None:
            return None
        size, encoded, signature = credential
        image = self.flash.read(slot.start, size)
        digest = hashlib.sha256(image).digest()
        if not encoded:
            factory = self.flash.read(self.layout.factory.start, len(digest))
            return SlotImage(image, None) if digest == factory else None
        manifest = verified(encoded, signature, self.keys)
        if manifest is None or (size, digest) != (manifest.image_size, manifest.image_sha256):
            return None
        return SlotImage(image, manifest, encoded)

    def write_credential(self, slot: Region, size: int, manifest: bytes, signature: bytes) -> None:
        """Put beside an image what it may be run with."""
        head = _CREDENTIAL.pack(_CREDENTIAL_MAGIC, size, len(manifest), len(signature))
        content = head + manifest + signature
        checksum = int(google_crc32c.value(content)).to_bytes(4, "little")
        self.flash.write(slot.start + self.layout.image_bytes, content + checksum)

    def request(self, size: int) -> None:
        """Let the next start swap in the image of `size` bytes in the secondary slot."""
        running = self._credential(self.layout.primary)
        largest = max(size, running[0] if running else 0)
        self._remember(BootState(Phase.REQUESTED, 0, -(-largest // SECTOR)))

    def confirm(self) -> None:
        """The image on trial is good: keep it."""
        if self.state.phase is Phase.TESTING:
            self._remember(BootState())

    def give_up(self, reason: Reason) -> None:
        """Write down why the image on trial is not confirmed; the next start goes back."""
        if self.state.phase is Phase.TESTING:
            self._remember(replace(self.state, reason=reason))

    def acknowledge(self) -> None:
        """The firmware has told that an image was given up."""
        if self.state.phase in (Phase.REVERTED, Phase.REFUSED):
            self._remember(BootState())

    def _credential(self, slot: Region) -> tuple[int, bytes, bytes] | None:
        sector = self.flash.read(slot.start + self.layout.image_bytes, SECTOR)
        magic, size, manifest, signature = _CREDENTIAL.unpack_from(sector)
        end = _CREDENTIAL.size + manifest + signature
        if magic != _CREDENTIAL_MAGIC or end + 4 > SECTOR or size > self.layout.image_bytes:
            return None
        checksum = int.from_bytes(sector[end : end + 4], "little")
        if checksum != google_crc32c.value(sector[:end]):
            return None
        at = _CREDENTIAL.size
        return size, sector[at : at + manifest], sector[at + manifest : end]

"""A device that can be updated, and a server that offers: no link, no clock, every step by hand."""

from __future__ import annotations

import functools
import hashlib
import io
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from devices.protocol import (
    Chunk,
    ChunkStatus,
    Fetch,
    Manifest,
    Offer,
    OfferFlag,
    PayloadKind,
    Withdraw,
    signed_bytes,
)
from devices.simulator.bootloader import Bootloader, Reason, SlotImage
from devices.simulator.checks import Facts
from devices.simulator.flash import Flash, PowerLostError
from devices.simulator.image import Behaviour, build_image, read_image
from devices.simulator.layout import Layout
from devices.simulator.updater import Updater

TYPE = "M3-63"
LAYOUT = Layout(image_bytes=16 * 1024)
CHUNK = 1_500
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FOREIGN_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
UPDATE = bytes(range(16))
NO_FLAG = OfferFlag(0)
ENDS = ("confirmed", "reverted", "failed", "rejected", "withdrawn")


def public(key: Ed25519PrivateKey) -> bytes:
    """The 32 bytes that a device is given."""
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@functools.cache
def image_of(version: str, behaviour: Behaviour | None = None) -> bytes:
    """An image of ten kilobytes."""
    return build_image(version, device_type=TYPE, behaviour=behaviour, size=10_000)


def offer_of(
    image: bytes,
    version: str = "1.1.0",
    *,
    update_id: bytes = UPDATE,
    key: Ed25519PrivateKey = KEY,
    base: bytes | None = None,
    manifest: Manifest | None = None,
    flags: OfferFlag = NO_FLAG,
) -> tuple[Offer, bytes]:
    """An offer of an image (of a patch from `base`, when there is one), and its payload."""
    manifest = manifest or manifest_of(image, version)
    payload, kind, base_sha256 = image, PayloadKind.IMAGE, b""
    if base is not None:
        made = io.BytesIO()
        detools = pytest.importorskip("detools", reason="detools needs a compiler to be installed")
        detools.create_patch(
            io.BytesIO(base), io.BytesIO(image), made, compression="heatshrink", use_mmap=False
        )
        payload, kind = made.getvalue(), PayloadKind.DELTA
        base_sha256 = hashlib.sha256(base).digest()
    encoded = manifest.encode()
    offer = Offer(
        update_id=update_id,
        manifest=encoded,
        signature=key.sign(signed_bytes(encoded)),
        payload_sha256=hashlib.sha256(payload).digest(),
        payload_size=len(payload),
        payload_kind=kind,
        base_sha256=base_sha256,
        chunk=CHUNK,
        flags=flags,
    )
    return offer, payload


def manifest_of(image: bytes, version: str, /, **changes: Any) -> Manifest:
    """What an honest release says of an image; `changes` are other values of its fields."""
    digest = hashlib.sha256(image).digest()
    made = Manifest(TYPE, ("rev A", "rev B"), version, digest, len(image))
    return replace(made, **changes)


@dataclass
class Server:
    """Offers one update and serves it; what it hears is in `heard`.

    `corrupt_at`: the byte of the payload that it sends wrong, so many times.
    """

    offer: Offer
    payload: bytes
    corrupt_at: int | None = None
    corruptions: int = 0
    served: int = 0
    heard: list[tuple[str, dict[str, int | str]]] = field(default_factory=list)

    def serve(self, fetch: Fetch) -> Chunk:
        """The chunk that was asked for."""
        assert fetch.length <= self.offer.chunk
        data = bytearray(self.payload[fetch.offset : fetch.offset + fetch.length])
        wrong = self.corrupt_at
        if wrong is not None and 0 <= wrong - fetch.offset < len(data) and self.corruptions:
            data[wrong - fetch.offset] ^= 0x10
            self.corruptions -= 1
        self.served += len(data)
        return Chunk(fetch.update_id, ChunkStatus.DATA, fetch.offset, data=bytes(data))

    @property
    def kinds(self) -> list[str]:
        """The kinds of what was heard, without their family."""
        return [kind.removeprefix("firmware.") for kind, _ in self.heard]

    @property
    def end(self) -> tuple[str, str] | None:
        """The last end that was told, and its code."""
        for kind, entries in reversed(self.heard):
            name = kind.removeprefix("firmware.")
            if name in ENDS and entries["update"] == self.offer.update_id.hex():
                return name, str(entries.get("code", ""))
        return None


class Device:
    """A device from power failure to power failure; `ran` has the digest of all that it started."""

    def __init__(
        self,
        image: bytes | None = None,
        *,
        keys: tuple[bytes, ...] = (public(KEY),),
        hardware: str = "rev A",
    ) -> None:
        self.flash = Flash(LAYOUT.size)
        self.keys = keys
        self.hardware = hardware
        self.ran: list[bytes] = []
        self.told: list[tuple[str, dict[str, int | str]]] = []
        self.failures = 0
        self.on = False
        self.bricked = False
        Bootloader(self.flash, LAYOUT, keys).provision(image or image_of("1.0.0"))

    def power_up(self) -> None:
        """Start; raises PowerLostError when the power fails meanwhile."""
        self.flash.restore_power()
        self.start()

    def start(self) -> None:
        """What happens between power-up and the first contact."""
        bootloader = Bootloader(self.flash, LAYOUT, self.keys)
        image = bootloader.start()
        self.bricked = image is None
        assert image is not None, "the device is bricked"
        self.ran.append(image.sha256)
        self.image: SlotImage = image
        self.behaviour = read_image(image.data).behaviour
        version = self.behaviour.version or (image.manifest.version if image.manifest else "")
        self.updater = Updater(
            bootloader=bootloader,
            running=image,
            facts=Facts(TYPE, self.hardware, version),
            tell=lambda kind, entries: self.told.append((kind, dict(entries))),
        )
        self.updater.start()
        self.on = True

    def restart(self) -> None:
        """Off and on at once; the power holds as long as it did."""
        self.on = False
        self.start()


def exchange(device: Device, server: Server) -> bool:
    """One step of a connected device; returns whether anything was left to do."""
    updater = device.updater
    fetch = updater.next_fetch()
    if fetch is not None:
        updater.take_chunk(server.serve(fetch))
    elif updater.ready:
        updater.install()
        device.restart()
    elif updater.testing:
        if device.behaviour.hangs:
            device.restart()  # the watchdog
        elif device.behaviour.self_test:
            updater.confirm()
        else:
            updater.give_up(Reason.SELF_TEST)
            device.restart()
    else:
        return False
    return True


def update(device: Device, server: Server, *, steps: int = 400) -> None:
    """Until the server knows how it ended; a device without power comes back, offers repeat."""
    offered = False
    for _ in range(steps):
        try:
            if not device.on:
                device.power_up()
                offered = False
            if not offered:
                device.updater.connected()
                device.updater.take_offer(server.offer)
                offered = True
            more = exchange(device, server)
            offered = offered and device.on and more
        except PowerLostError:
            device.on = False
            device.failures += 1
        server.heard += device.told
        device.told.clear()
        if server.end is not None and device.on and not device.updater.testing:
            return
    raise AssertionError(f"no end after {steps} steps: {server.kinds}")


def withdraw(device: Device, server: Server) -> None:
    """The server takes its offer back."""
    device.updater.take_withdrawal(Withdraw(server.offer.update_id, "stopped"))
    server.heard += device.told
    device.told.clear()

"""Whether a device takes an update: what it knows of itself against what was signed."""

from __future__ import annotations

from dataclasses import dataclass

from devices.protocol import Manifest, Offer, OfferFlag, PayloadKind
from devices.simulator.bootloader import Bootloader, verified
from devices.simulator.image import ImageError, core_of, read_image
from devices.simulator.job import Code
from devices.versions import Version, VersionError


@dataclass(frozen=True, slots=True)
class Facts:
    """What a device knows of itself: its type, its hardware revision and the version it runs."""

    device_type: str
    hardware: str
    version: str


def check(
    offer: Offer, facts: Facts, bootloader: Bootloader, running_sha256: bytes
) -> Manifest | tuple[Code, str]:
    """The manifest of an offer that this device takes, else why it does not."""
    manifest = verified(offer.manifest, offer.signature, bootloader.keys)
    if manifest is None:
        return Code.SIGNATURE, "no key of this device has signed the manifest"
    layout = bootloader.layout
    if manifest.device_type != facts.device_type:
        return Code.TYPE, f"for {manifest.device_type}, this is {facts.device_type}"
    if not manifest.fits_hardware(facts.hardware):
        return Code.HARDWARE, f"for {', '.join(manifest.hardware)}, this is {facts.hardware}"
    if manifest.image_sha256 == running_sha256:
        return manifest  # nothing is to be fetched, whatever it would take
    if not offer.flags & OfferFlag.LOWER_VERSION and _lower(manifest.version, facts.version):
        return Code.VERSION, f"{manifest.version} is lower than {facts.version}"
    delta = offer.payload_kind == PayloadKind.DELTA
    if delta and offer.base_sha256 != running_sha256:
        return Code.BASE, "the patch is for another image than the one that runs"
    room = layout.patch.size if delta else layout.image_bytes
    if offer.payload_size > room or manifest.image_size > layout.image_bytes:
        return Code.SPACE, f"the slots hold {layout.image_bytes} bytes"
    if not delta and (offer.payload_size, offer.payload_sha256) != (
        manifest.image_size,
        manifest.image_sha256,
    ):
        return Code.DIGEST, "the payload is not the image that the manifest names"
    return manifest


def wrong_image(image: bytes, manifest: Manifest) -> tuple[Code, str] | None:
    """Why an image that has the right digest is not the one to run; None when it is."""
    try:
        core = read_image(image).core
    except ImageError as error:
        return Code.OTHER, str(error)
    if core is not None and core != core_of(manifest.version):
        return Code.VERSION, f"the image is {'.'.join(map(str, core))}, not {manifest.version}"
    return None


def _lower(version: str, running: str) -> bool:
    """Whether a version is below the one that runs; False where one of them is no version."""
    try:
        return Version.parse(version) < Version.parse(running)
    except VersionError:
        return False

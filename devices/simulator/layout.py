"""How the flash memory of a device that can be updated is divided."""

from __future__ import annotations

from dataclasses import dataclass

from devices.simulator.flash import SECTOR, Region


@dataclass(frozen=True, slots=True)
class Layout:
    """How the memory is divided, for images of up to `image_bytes` (whole sectors)."""

    image_bytes: int = 64 * 1024

    @property
    def slot_bytes(self) -> int:
        """An image and the sector with its credential."""
        return self.image_bytes + SECTOR

    @property
    def primary(self) -> Region:
        """Where the image is that runs."""
        return Region(0, self.slot_bytes)

    @property
    def secondary(self) -> Region:
        """Where the next image is put together, and where the last one stays."""
        return Region(self.primary.end, self.slot_bytes)

    @property
    def patch(self) -> Region:
        """Where a patch is downloaded to."""
        return Region(self.secondary.end, self.image_bytes)

    @property
    def scratch(self) -> Region:
        """One sector on its way between the slots."""
        return Region(self.patch.end, SECTOR)

    @property
    def state(self) -> Region:
        """The bootloader's own records."""
        return Region(self.scratch.end, 2 * SECTOR)

    @property
    def update(self) -> Region:
        """The firmware's records of an update."""
        return Region(self.state.end, 4 * SECTOR)

    @property
    def factory(self) -> Region:
        """The digest of the factory's image, written once."""
        return Region(self.update.end, SECTOR)

    @property
    def size(self) -> int:
        """Bytes of the whole memory."""
        return self.factory.end

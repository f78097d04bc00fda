"""What a live page shows, and how it reads frames: shared by the pages and their socket."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from devices.domain.queries import DeviceFacts

# How far back a live page goes.
WINDOW: Final = timedelta(minutes=15)
# Devices of one page; a facility with more shows the first, mains before all others.
MAX_DEVICES: Final = 64


def describe_device(device: DeviceFacts) -> dict[str, Any]:
    """A device and its channels as a page needs them to read frames; ready for JSON."""
    return {
        "id": device.device_id,
        "name": device.name,
        "step_ms": device.step_ms,
        "connected": device.connected,
        "channels": [
            {
                "number": channel.number,
                "name": channel.name,
                "quantity": channel.quantity,
                "unit": channel.unit,
                "resolution": str(channel.resolution.normalize()),
            }
            for channel in device.channels
        ],
    }

"""The settings of a device that commands change: a small file, kept over restarts.

Their names and forms on the wire are those of docs/protocol.md, section 11.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from devices.protocol.fields import MAX_ENTRIES, Value
from devices.protocol.settings import Limit, channels_text, limits_text

DISPLAY: Final = "display."
MAX_DISPLAY: Final = MAX_ENTRIES - 8  # beside the other settings in one event
# So many changes of the output are remembered: an hour is computed anew from its beginning.
MAX_SWITCHINGS: Final = 64


@dataclass(frozen=True, slots=True)
class Switching:
    """From `at_ms` on the output is on or off, with at most `limit_w` W (None: any)."""

    at_ms: int
    on: bool = True
    limit_w: int | None = None


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """All settings; `channels` None: all, `step_ms` and `samples` None: as the firmware has them.

    `switchings` are the changes of the output, the last one counts now.
    """

    step_ms: int | None = None
    samples: int | None = None
    channels: tuple[int, ...] | None = None
    limits: Mapping[int, Limit] = field(default_factory=dict)
    display: Mapping[str, Value] = field(default_factory=dict)
    switchings: tuple[Switching, ...] = ()

    @property
    def output(self) -> Switching:
        """What the output does now."""
        return self.switchings[-1] if self.switchings else Switching(0)

    def switched(self, switching: Switching) -> DeviceSettings:
        """These settings with another state of the output."""
        return replace(self, switchings=(*self.switchings, switching)[-MAX_SWITCHINGS:])

    def entries(self, *, switchable: bool, channel_count: int | None) -> dict[str, Value]:
        """What `config.reported` says; settings that the device has not are left out."""
        entries: dict[str, Value] = {}
        if self.step_ms is not None and self.samples is not None:
            entries |= {"step_ms": self.step_ms, "samples": self.samples}
        channels = self.channels
        if channels is None and channel_count:
            channels = tuple(range(channel_count))
        if channels is not None:
            entries |= {"channels": channels_text(channels), "limits": limits_text(self.limits)}
        if switchable:
            limit_w = self.output.limit_w
            entries |= {
                "output": int(self.output.on),
                "power_limit_w": -1 if limit_w is None else limit_w,
            }
        return entries | dict(self.display)


class SettingsStore:
    """The settings in a device's folder; a damaged file counts as none."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "settings.json"
        self.settings = DeviceSettings()
        try:
            self.settings = _read(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError):
            self._path.unlink()  # the server sees what is left, and sets it anew

    def keep(self, settings: DeviceSettings) -> bool:
        """Remember settings; returns whether they are other ones than before."""
        if settings == self.settings:
            return False
        self.settings = settings
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(_written(settings)), encoding="utf-8")
        os.replace(draft, self._path)  # noqa: PTH105 (the atomic rename is the point)
        return True


def _written(settings: DeviceSettings) -> dict[str, Any]:
    return {
        "step_ms": settings.step_ms,
        "samples": settings.samples,
        "channels": settings.channels,
        "limits": {str(number): limit for number, limit in settings.limits.items()},
        "display": dict(settings.display),
        "switchings": [(one.at_ms, one.on, one.limit_w) for one in settings.switchings],
    }


def _read(value: Any) -> DeviceSettings:
    channels = value["channels"]
    return DeviceSettings(
        step_ms=value["step_ms"],
        samples=value["samples"],
        channels=None if channels is None else tuple(channels),
        limits={int(number): (low, high) for number, (low, high) in value["limits"].items()},
        display=dict(value["display"]),
        switchings=tuple(Switching(*one) for one in value["switchings"]),
    )

"""Strategies to begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from firmware.gate.limits import GateLimits
from firmware.rollout.strategy import OnError, Strategy, WaveSize, Window

CAREFUL: Final = "careful"
NORMAL: Final = "normal"
URGENT: Final = "urgent"


@dataclass(frozen=True, slots=True)
class Preset:
    """A strategy with its name, and what it is for."""

    name: str | Promise
    text: str | Promise
    strategy: Strategy


def _shares(*percent: float) -> tuple[WaveSize, ...]:
    return tuple(WaveSize(percent=share) for share in percent)


PRESETS: Final = {
    CAREFUL: Preset(
        gettext_lazy("Careful"),
        gettext_lazy(
            "One device, then 1, 10, 50 and 100 %, a day apart and only at night. Telemetry is"
            " compared after each wave, and a person lets the next one begin."
        ),
        Strategy(
            waves=(WaveSize(count=1), *_shares(1, 10, 50, 100)),
            soak_s=86_400,
            approval_between=True,
            success_percent=95,
            error_percent=2,
            windows=(Window(tuple(range(7)), "22:00", "05:00"),),
            jitter_s=1800,
            max_downloads=50,
            gate=GateLimits().to_json(),
        ),
    ),
    NORMAL: Preset(
        gettext_lazy("Normal"),
        gettext_lazy(
            "1, 10 and 100 %, six hours apart, at any time. Telemetry is compared after each wave;"
            " the roll-out goes on by itself as long as all is well."
        ),
        Strategy(soak_s=21_600, jitter_s=300, gate=GateLimits().to_json()),
    ),
    URGENT: Preset(
        gettext_lazy("Urgent"),
        gettext_lazy(
            "5 and 100 %, ten minutes apart, without comparing telemetry: for a hole in security"
            " that is being used. Failures still stop it."
        ),
        Strategy(
            waves=_shares(5, 100),
            soak_s=600,
            success_percent=80,
            error_percent=10,
            on_error=OnError.PAUSE,
            max_downloads=1000,
        ),
    ),
}

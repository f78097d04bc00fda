"""The clock of a device: its own oscillator, and the correction that the server teaches it."""

from __future__ import annotations

import time
from collections.abc import Callable


def system_ms() -> float:
    """Milliseconds since the Unix epoch, by the clock of this machine."""
    return time.time_ns() / 1e6


class Clock:
    """A clock that may be wrong by `skew_ms` and run too fast by `drift_ppm`, and its correction.

    `device_ms` is what the device's own hardware shows; `now_ms` adds the offset learned from the
    server and is what samples are stamped with.
    """

    def __init__(
        self,
        *,
        skew_ms: float = 0,
        drift_ppm: float = 0,
        offset_ms: int | None = None,
        true_ms: Callable[[], float] = system_ms,
    ) -> None:
        self._true_ms = true_ms
        self._rate = 1 + drift_ppm / 1e6
        self._started_ms = true_ms()
        self._skew_ms = skew_ms
        self.offset_ms = offset_ms

    @property
    def known(self) -> bool:
        """Whether a server has ever told the time."""
        return self.offset_ms is not None

    def device_ms(self) -> int:
        """The uncorrected clock, ms since the Unix epoch as the device believes."""
        elapsed = self._true_ms() - self._started_ms
        return round(self._started_ms + self._skew_ms + elapsed * self._rate)

    def now_ms(self) -> int:
        """The corrected time, ms since the Unix epoch."""
        return self.device_ms() + (self.offset_ms or 0)

    def correct(self, offset_ms: int, *, uncertainty_ms: int = 0) -> bool:
        """Take an offset (server minus device) measured to ± `uncertainty_ms`.

        A correction within its own uncertainty is noise and ignored, so that the stamps of a
        sound clock do not wander; returns whether the clock was moved.
        """
        if self.offset_ms is not None and abs(offset_ms - self.offset_ms) <= uncertainty_ms:
            return False
        self.offset_ms = offset_ms
        return True

"""Over which times devices are compared: since the wave, and before the roll-out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import numpy as np

from devices.telemetry.device_health import HealthSpan
from devices.telemetry.rollup import QUARTER
from firmware.gate.comparison import Bools, Int64s

DAY: Final = timedelta(days=1)
QUARTER_S: Final = int(QUARTER.total_seconds())
# From here on the past is made of the same clock times of earlier days; shorter windows would leave
# too little of it, and from a day on all clock times are in it anyway.
_SAME_CLOCK: Final = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class Windows:
    """[begins_at, until) after the wave, and the periods of the past; all on full quarters."""

    begins_at: datetime
    until: datetime
    past: tuple[tuple[datetime, datetime], ...]

    @property
    def spans(self) -> list[HealthSpan]:
        """For the reads of `devices.telemetry.device_health`."""
        before = [HealthSpan(start, end, True) for start, end in self.past]
        return [*before, HealthSpan(self.begins_at, self.until, False)]

    @property
    def first(self) -> datetime:
        """Where the past begins."""
        return min(start for start, _ in self.past)

    def quarters(self) -> tuple[Int64s, Bools]:
        """The starts of all quarters, rising (s since the Unix epoch), and which are past."""
        starts = [_quarters(span.starts_at, span.ends_at) for span in self.spans]
        past = [np.full(len(one), span.past) for one, span in zip(starts, self.spans, strict=True)]
        order = np.argsort(np.concatenate(starts), kind="stable")
        return np.concatenate(starts)[order], np.concatenate(past)[order]


def windows(
    *, updated_at: datetime, rollout_at: datetime, until: datetime, past_days: int
) -> Windows | None:
    """The windows of a wave whose last device confirmed at `updated_at`, in a roll-out that began
    at `rollout_at`; None while no quarter is over.
    """
    begins_at, until = quarter_after(updated_at), quarter_before(until)
    if until <= begins_at:
        return None
    length = until - begins_at
    edge = quarter_before(rollout_at)
    if not _SAME_CLOCK <= length < DAY:
        return Windows(begins_at, until, ((edge - past_days * DAY, edge),))
    nearest = max(1, -(-(until - edge) // DAY))
    return Windows(
        begins_at,
        until,
        tuple(
            (begins_at - days * DAY, until - days * DAY)
            for days in range(nearest + past_days - 1, nearest - 1, -1)
        ),
    )


def quarter_before(moment: datetime) -> datetime:
    """The full quarter of an hour at or before a moment."""
    seconds = int(moment.timestamp()) // QUARTER_S * QUARTER_S
    return datetime.fromtimestamp(seconds, UTC)


def quarter_after(moment: datetime) -> datetime:
    """The full quarter of an hour at or after a moment."""
    before = quarter_before(moment)
    return before if before == moment else before + QUARTER


def _quarters(start: datetime, end: datetime) -> Int64s:
    return np.arange(int(start.timestamp()), int(end.timestamp()), QUARTER_S, dtype=np.int64)

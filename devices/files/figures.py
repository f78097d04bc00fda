"""What a stream of a meter data file amounts to, in figures for people."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from devices.files.content import Content, Intervals, Quality, Reads, Stream


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one stream: how many values, from when to when (ms since the Unix epoch; of intervals the
    end of the last), interval lengths in minutes, the exact sum as text ('' where readings do not
    add up), and how many values have which quality.
    """

    readings: int
    from_ms: int
    to_ms: int
    minutes: tuple[float, ...]
    total: str
    quality: dict[str, int]

    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "minutes": list(self.minutes)}


def figures_of(content: Content) -> Figures:
    """The figures of a stream, which has at least one value."""
    minutes: tuple[float, ...] = ()
    total = ""
    if isinstance(content, Intervals):
        starts, ends = content.start_ms, content.start_ms + content.length_ms
        qualities = content.quality
        minutes = tuple(length / 60_000 for length in np.unique(content.length_ms).tolist())
        total = f"{content.total():f}"
    elif isinstance(content, Reads):
        starts, ends = content.previous_ms, content.current_ms
        qualities, total = content.current_quality, f"{content.total():f}"
    else:
        starts = ends = content.times
        qualities = content.quality
    codes, counts = np.unique(qualities, return_counts=True)
    return Figures(
        readings=len(content),
        from_ms=int(starts.min()),
        to_ms=int(ends.max()),
        minutes=minutes,
        total=total,
        quality={
            Quality(code).name.lower(): count
            for code, count in zip(codes.tolist(), counts.tolist(), strict=True)
        },
    )


def label_of(stream: Stream) -> str:
    """A stream in words, as the file names it."""
    parts = [stream.meter, stream.suffix or stream.register, stream.serial]
    return " ".join(part for part in parts if part)

"""How many downloads may begin, and how fast each of them: the limits are never exceeded.

Each admitted download is granted a rate, which the server keeps; the grants of all downloads
together stay below each limit. A limit is shared out evenly among those that are expected at once,
so that the first one does not take all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from firmware.rollout.values import Limit, Use

# A download gets no less than a 2G link carries: rather fewer at once.
LEAST_GRANT: Final = 2048
# So many are expected at once where nothing else is said.
USUAL_DOWNLOADS: Final = 32


@dataclass(frozen=True, slots=True)
class Admission:
    """So many downloads may begin, each with `rate` bytes per second (0: not paced)."""

    count: int
    rate: int


def admit(levels: Iterable[tuple[Limit, Use]], ready: int, wanted: int) -> Admission:
    """How many of the `ready` devices get an offer now. `wanted` are all that still want a download
    or have one, which a limit is shared out among.
    """
    levels = tuple(levels)
    slots = [
        limit.downloads - use.downloads for limit, use in levels if limit.downloads is not None
    ]
    count = max(0, min([ready, *slots]))
    paced = [(limit, use) for limit, use in levels if limit.bytes_per_s is not None]
    if not count or not paced:
        return Admission(count, 0)
    rate = min(_share(limit, wanted) for limit, _use in paced)
    for limit, use in paced:
        assert limit.bytes_per_s is not None
        count = min(count, max(0, limit.bytes_per_s - use.bytes_per_s) // rate)
    return Admission(count, rate)


def _share(limit: Limit, wanted: int) -> int:
    """What one download gets of a limit."""
    assert limit.bytes_per_s is not None
    at_once = max(1, min(wanted, limit.downloads or USUAL_DOWNLOADS))
    return min(limit.bytes_per_s, max(LEAST_GRANT, limit.bytes_per_s // at_once))

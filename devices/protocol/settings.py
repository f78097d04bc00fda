"""Settings of a device as values of entries: which channels it reports, and limits that it watches.

Commands carry them, and the event `config.reported` tells them. Numbers are raw integers, as in
DATA. A text must fit an entry (MAX_TEXT bytes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from devices.protocol.errors import RangeError, TextError
from devices.protocol.fields import MAX_TEXT

MAX_CHANNEL: Final = 255
_LARGEST: Final = 2**63 - 1
_SPAN: Final = re.compile(r"(0|[1-9][0-9]{0,2})(?:-([1-9][0-9]{0,2}))?")
_LIMIT: Final = re.compile(r"(0|[1-9][0-9]{0,2}):(-?[0-9]{1,19})?:(-?[0-9]{1,19})?")

# The least and the largest value that is in order; None: no limit on this side.
Limit = tuple[int | None, int | None]


def channels_text(numbers: Iterable[int]) -> str:
    """Numbers of channels as ascending spans: `0-3,7`. Raises RangeError without any."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        _require_channel(number)
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    if not spans:
        raise RangeError("a device reports one channel at least")
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def parse_channels(text: str) -> tuple[int, ...]:
    """The numbers, ascending; raises TextError or RangeError."""
    numbers: list[int] = []
    for part in text.split(","):
        found = _SPAN.fullmatch(part)
        if found is None:
            raise TextError(f"{part[:20]!r} is no channel or span of channels such as 0-3")
        first = int(found[1])
        last = int(found[2]) if found[2] else first
        if last < first or (numbers and first <= numbers[-1]):
            raise RangeError("channels must ascend")
        _require_channel(last)
        numbers += range(first, last + 1)
    return tuple(numbers)


def limits_text(limits: Mapping[int, Limit]) -> str:
    """Limits by channel, ascending, `number:low:high`: `0:-500:12000,3::4000`; empty for none.

    Channels without a limit on either side are left out. Raises RangeError, or TextError when it is
    too long for an entry.
    """
    parts = []
    for number, (low, high) in sorted(limits.items()):
        if low is None and high is None:
            continue
        _require_limit(number, low, high)
        parts.append(f"{number}:{'' if low is None else low}:{'' if high is None else high}")
    text = ",".join(parts)
    if len(text) > MAX_TEXT:
        raise TextError(f"limits of {len(text)} bytes: they must have at most {MAX_TEXT}")
    return text


def parse_limits(text: str) -> dict[int, Limit]:
    """The limits by channel; raises TextError or RangeError."""
    limits: dict[int, Limit] = {}
    for part in text.split(",") if text else ():
        found = _LIMIT.fullmatch(part)
        if found is None:
            raise TextError(f"{part[:40]!r} is no limit such as 0:-500:12000")
        number = int(found[1])
        low = int(found[2]) if found[2] else None
        high = int(found[3]) if found[3] else None
        if limits and number <= max(limits):
            raise RangeError("channels must ascend")
        _require_limit(number, low, high)
        limits[number] = (low, high)
    return limits


def _require_channel(number: int) -> None:
    if not 0 <= number <= MAX_CHANNEL:
        raise RangeError(f"channel {number} is outside 0 … {MAX_CHANNEL}")


def _require_limit(number: int, low: int | None, high: int | None) -> None:
    _require_channel(number)
    for bound in (low, high):
        if bound is not None and not -_LARGEST - 1 <= bound <= _LARGEST:
            raise RangeError(f"the limit {bound} of channel {number} does not fit 64 bits")
    if low is not None and high is not None and low >= high:
        raise RangeError(f"the limits of channel {number} are not in order")

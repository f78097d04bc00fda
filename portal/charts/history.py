"""What a chart asks of history, and the columns that it gets: bytes that a browser reads as typed
arrays, without making an object of each number.

The answer is four bytes with the length of the head (unsigned, little endian), the head as JSON,
filled with spaces to a multiple of eight, and the columns, each at a multiple of eight bytes from
the end of the head:

    {"start": ms, "end": ms, "resolution": "hour", "reason": "enough_points",
     "channels": [{"device": 7, "number": 0, "unit": "W", "step": 2000, "scale": [1, 10],
                   "columns": {"time": ["u4", 0, 450], "value": ["i4", 1800, 450], …}}]}

A column is its type (`u4` and `i4` integers, `f4` and `f8` numbers, NaN for what is unknown), the
place where it begins, and its length. Readings have `time` (ms after `start`), `value` (to be
multiplied by the first number of `scale` and divided by the second, which gives the very number
that the channel has) and `gap` (places before which nothing is known); periods have `begin` and
`end` (seconds after `start`), `minimum`, `maximum`, `mean`, `last`, `energy`, `returned` (Wh) and
`coverage`, as far as anything is known, and `gap`. Equal columns are sent once.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from django.utils.translation import gettext as _
from numpy.typing import NDArray

from devices.domain.series import ChannelSeries, SeriesResult
from devices.telemetry.periods import Resolution
from devices.telemetry.segment_store import milliseconds
from devices.telemetry.series import LEAST_POINTS, Curve, Periods

MEDIA_TYPE: Final = "application/vnd.wattline.columns"
# More points than this nobody sees on a screen, nor draws in time for the next frame; two-second
# readings of three hours are still all there, for what is replayed.
MOST_POINTS: Final = 8_000
_ALIGNED: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_CHANNEL: Final = re.compile(r"([0-9]{1,18})\.([0-9]{1,5})")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,14}")
_I4: Final = 2**31


class QuestionError(ValueError):
    """A question that cannot be read; the text says what to write instead."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a chart asks: channels as (device, number), the period, and how many points it shows."""

    channels: tuple[tuple[int, int], ...]
    start: datetime
    end: datetime
    resolution: Resolution
    points: int | None


def question(given: Mapping[str, str]) -> Question:
    """The question of an address: `channels=7.0,7.1&from=…&to=…&points=600&resolution=auto`.

    `from` and `to` in ms since the Unix epoch. Raises QuestionError.
    """
    named = given.get("channels", "").split(",")
    channels = [_CHANNEL.fullmatch(one) for one in named]
    if not all(channels):
        raise QuestionError(_("Name the channels as device.number, separated by commas."))
    points = given.get("points", "")
    if points and not (points.isascii() and points.isdigit() and len(points) <= 6):
        raise QuestionError(_("Give the number of points in digits."))
    try:
        resolution = Resolution(given.get("resolution", "auto"))
    except ValueError as error:
        known = ", ".join(Resolution)
        raise QuestionError(
            _("There is no such resolution: choose one of %(known)s.") % {"known": known}
        ) from error
    return Question(
        tuple((int(one[1]), int(one[2])) for one in channels if one),
        _instant(given.get("from", "")),
        _instant(given.get("to", "")),
        resolution,
        min(MOST_POINTS, max(LEAST_POINTS, int(points))) if points else None,
    )


def _instant(text: str) -> datetime:
    if not _MILLISECONDS.fullmatch(text):
        raise QuestionError(_("Give from and to in milliseconds since 1970."))
    return _EPOCH + timedelta(milliseconds=int(text))


def etag_of(body: bytes) -> str:
    """A strong validator: what is corrected, or comes late, changes it, and nothing else does."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


class _Columns:
    """Columns one behind the other; equal ones have one place."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.length = 0
        self.places: dict[tuple[str, bytes], int] = {}

    def put(self, kind: str, values: NDArray[Any]) -> list[Any]:
        packed = np.ascontiguousarray(values, f"<{kind}").tobytes()
        place = self.places.setdefault((kind, packed), self.length)
        if place == self.length and packed:
            filled = packed + b"\0" * (-len(packed) % _ALIGNED)
            self.parts.append(filled)
            self.length += len(filled)
        return [kind, place, len(values)]


def packed(result: SeriesResult) -> bytes:
    """An answer of `read_series` in the form that the module's docstring tells."""
    start_ms = milliseconds(result.start)
    columns = _Columns()
    head = {
        "start": start_ms,
        "end": milliseconds(result.end),
        "resolution": result.resolution.value,
        "reason": result.reason.value,
        "channels": [_channel(one, start_ms, columns) for one in result.channels],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 4) % _ALIGNED)
    return b"".join([struct.pack("<I", len(text)), text, *columns.parts])


def _channel(found: ChannelSeries, start_ms: int, columns: _Columns) -> dict[str, Any]:
    channel = found.channel
    made: dict[str, list[Any]] = {}
    numerator, denominator = channel.resolution.as_integer_ratio()
    if found.curve is not None:
        made = _curve(found.curve, start_ms, columns, numerator, denominator)
    elif found.periods is not None:
        made = _periods(found.periods, start_ms, columns)
    return {
        "device": channel.device_id,
        "number": channel.number,
        "unit": channel.unit,
        "step": channel.step_ms,
        "scale": [numerator, denominator],
        "columns": made,
    }


def _curve(
    curve: Curve, start_ms: int, columns: _Columns, numerator: int, denominator: int
) -> dict[str, list[Any]]:
    raw = np.rint(curve.values * denominator / numerator)
    small = not len(raw) or bool(np.abs(raw).max() < _I4)
    return {
        "time": columns.put("f8" if _is_long(curve.times, start_ms) else "u4",
                            curve.times - start_ms),
        "value": columns.put("i4" if small else "f8", raw),
        "gap": columns.put("u4", np.flatnonzero(curve.gap_before)),
    }  # fmt: skip


def _is_long(times: NDArray[np.int64], start_ms: int) -> bool:
    return bool(len(times)) and int(times[-1]) - start_ms >= 2**32


def _periods(periods: Periods, start_ms: int, columns: _Columns) -> dict[str, list[Any]]:
    made = {
        "begin": columns.put("u4", (periods.starts - start_ms) // 1000),
        "end": columns.put("u4", (periods.ends - start_ms) // 1000),
        "gap": columns.put("u4", np.flatnonzero(periods.gap_before)),
        "coverage": columns.put("f4", periods.coverage),
    }
    for name in ("minimum", "maximum", "mean", "last", "energy", "returned"):
        values = getattr(periods, name)
        if not np.isnan(values).all():
            made[name] = columns.put("f8", values)
    return made

"""From what a file says to readings of channels: exact, or refused with a reason.

Energy of intervals becomes mean power in equal steps. One integer of the channel during one step is
the *quantum* of energy, resolution × step ÷ 3 600 000 ms an hour; an interval has a whole number of
quanta, and one of several steps shares them as equally as integers allow, the first steps having
one more. So the sum over an interval is its energy exactly, whatever its length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import numpy as np

from devices.files.content import Codes, Instants, Int64s, Intervals, Quality, Reads

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
# Energy of a unit, and the quantity and unit of the power that amounts to it.
POWER_OF: Final = {
    "Wh": ("active_power", "W"),
    "varh": ("reactive_power", "var"),
    "VAh": ("apparent_power", "VA"),
}
# Of channels: decimals, and digits in front of them.
_DECIMALS: Final = 9
_LARGEST_RESOLUTION: Final = 10**11
_LARGEST_RAW: Final = 2**63 - 1
# Steps that an interval of an odd length may be parted into.
_MOST_PARTS: Final = 10_000
MOST_SAMPLES: Final = 8_000_000


class NotExactError(ValueError):
    """A stream cannot be kept exactly; the message is a sentence that says why."""


class Length(NamedTuple):
    """What a step must fit: an interval's length in ms, and the resolution of its energy in Wh
    (None: the stream is no energy).
    """

    milliseconds: int
    resolution: Decimal | None


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Readings of a channel, (n,) each, ascending: ms since the Unix epoch, integers of the
    channel, and codes of Quality.
    """

    times: Int64s
    raw: Int64s
    quality: Codes

    def __len__(self) -> int:
        return len(self.times)

    def between(self, start_ms: int, end_ms: int) -> Samples:
        """Those in [start, end)."""
        first, last = np.searchsorted(self.times, (start_ms, end_ms)).tolist()
        return Samples(self.times[first:last], self.raw[first:last], self.quality[first:last])


def lengths_of(content: Intervals, *, energy: bool) -> list[Length]:
    """What the intervals of a stream ask of their step."""
    resolution = content.resolution if energy else None
    return [Length(length, resolution) for length in np.unique(content.length_ms).tolist()]


def common_step(lengths: Iterable[Length]) -> int:
    """The longest step, at most a day, that divides all lengths and in which each resolution of
    energy is one of power with at most nine decimals. Raises NotExactError.
    """
    wanted = list(lengths)
    whole = math.gcd(*(one.milliseconds for one in wanted))
    resolutions = {one.resolution for one in wanted if one.resolution is not None}
    for parts in range(1, _MOST_PARTS + 1):
        step, rest = divmod(whole, parts)
        if rest or step > DAY_MS:
            continue
        if all(_is_decimal(Fraction(one) * HOUR_MS / step) for one in resolutions):
            return step
    raise NotExactError(
        f"Intervals of {whole / 60_000:g} minutes cannot be kept exactly. Ask for intervals of 5,"
        " 15, 30 or 60 minutes."
    )


def power_resolution(energy: Decimal, step_ms: int) -> Decimal:
    """The resolution of power whose quantum is `energy`; see `common_step`."""
    power = Fraction(energy) * HOUR_MS / step_ms
    return Decimal(power.numerator) / Decimal(power.denominator)


def samples_of(
    content: Intervals,
    *,
    energy: bool,
    negative: bool,
    resolution: Decimal,
    step_ms: int,
) -> Samples:
    """The intervals that have a value, as readings at the starts of steps, for a channel of the
    given resolution.

    `energy`: they are energies, the channel is their power; `negative`: what leaves the site, which
    a channel has below zero. Raises NotExactError.
    """
    known = content.quality != Quality.NULL
    lengths, raw = content.length_ms[known], content.raw[known]
    if (lengths % step_ms).any():
        odd = int(lengths[lengths % step_ms != 0][0])
        raise NotExactError(
            f"Its intervals of {odd / 60_000:g} minutes are no multiple of the"
            f" {step_ms / 60_000:g} minutes in which the meter is kept. Take it in as a new meter."
        )
    one = Fraction(resolution) * (Fraction(step_ms, HOUR_MS) if energy else 1)
    raw = rescaled(raw, content.resolution, one)
    if negative:
        raw = -raw
    parts = lengths // step_ms
    if int(parts.sum()) > MOST_SAMPLES:
        raise NotExactError(f"It would take more than {MOST_SAMPLES:,} readings. Split the file.")
    at = np.repeat(np.arange(len(parts)), parts)
    place = np.arange(len(at)) - np.repeat(np.cumsum(parts) - parts, parts)
    values = raw[at]
    if energy:
        share, rest = np.divmod(raw, parts)
        values = share[at] + (place < rest[at])
    return Samples(
        content.start_ms[known][at] + place * step_ms, values, content.quality[known][at]
    )


def rescaled(raw: Int64s, resolution: Decimal, one: Fraction) -> Int64s:
    """`raw` × `resolution` in integers of `one`. Raises NotExactError."""
    factor = Fraction(resolution) / one
    if factor.denominator == 1:
        found = _times(raw, factor.numerator)
    elif not (raw % factor.denominator).any():
        found = _times(raw // factor.denominator, factor.numerator)
    else:
        raise NotExactError(
            "Its values have more decimals than the channel keeps, and rounding them would change"
            " what was measured. Take it in as a new meter, or round the file first."
        )
    return found


def register_samples(content: Reads, resolution: Decimal) -> tuple[Samples, int]:
    """What a register showed, as readings of a channel of the given resolution; and how often it
    showed two different values at one time.

    That happens where a register was set anew or a meter replaced: the value that the next period
    begins with is then kept one millisecond after the one that the former ended with. Raises
    NotExactError.
    """
    times = np.stack([content.previous_ms, content.current_ms], axis=1).ravel()
    raw = np.stack([content.previous, content.current], axis=1).ravel()
    quality = np.stack([content.previous_quality, content.current_quality], axis=1).ravel()
    raw = rescaled(raw, content.resolution, Fraction(resolution))
    order = np.argsort(times, kind="stable")
    times, raw, quality = times[order], raw[order], quality[order]
    again = np.zeros(len(times), np.bool_)
    again[1:] = (times[1:] == times[:-1]) & (raw[1:] == raw[:-1])
    times, raw, quality = times[~again], raw[~again], quality[~again]
    twice = np.zeros(len(times), np.bool_)
    twice[1:] = times[1:] == times[:-1]
    times = times + twice
    last = np.ones(len(times), np.bool_)
    # A third value at one time would stand at the same millisecond: the later one counts.
    np.not_equal(times[1:], times[:-1], out=last[:-1])
    return Samples(times[last], raw[last], quality[last]), int(twice.sum())


def instant_samples(content: Instants, resolution: Decimal) -> Samples:
    """Plain readings for a channel of the given resolution. Raises NotExactError."""
    return Samples(
        content.times, rescaled(content.raw, content.resolution, Fraction(resolution)),
        content.quality,
    )  # fmt: skip


def joined(parts: Sequence[Samples]) -> Samples:
    """Readings of one channel from several streams, which have no time in common. Raises
    NotExactError.
    """
    times = np.concatenate([part.times for part in parts])
    order = np.argsort(times, kind="stable")
    times = times[order]
    if not (np.diff(times) > 0).all():
        raise NotExactError(
            "Two streams of the file say something about the same time of one channel. Send them by"
            " themselves, or leave one out."
        )
    return Samples(
        times,
        np.concatenate([part.raw for part in parts])[order],
        np.concatenate([part.quality for part in parts])[order],
    )


def _times(raw: Int64s, factor: int) -> Int64s:
    largest = max(int(raw.max()), -int(raw.min())) if len(raw) else 0
    if largest * factor > _LARGEST_RAW:
        raise NotExactError("Its values are too large to be kept exactly. Check their unit.")
    return raw * factor


def _is_decimal(value: Fraction) -> bool:
    return (value * 10**_DECIMALS).denominator == 1 and 0 < value < _LARGEST_RESOLUTION

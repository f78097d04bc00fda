"""Corrections: layers over what was measured. Readings in, readings out; nothing is overwritten.

A layer concerns one channel and the readings of a period [start, end). Layers are applied in the
order in which they became known, each to what the ones before it have left:

- *replace*: in the period there are the given readings and no others.
- *scale*: raw x factor + offset, exact, then rounded to a whole number, half to even. A result
  beyond ±2⁵³, which no number of the product's could tell exactly, is no reading.
- *shift*: the readings of the period move by a time; what else lies where they move to, from the
  shifted start to the shifted end, gives way to them, with their gaps.
- *remove*: in the period there is none.

So whether there is a reading at an instant, and which, follows from at most one reading before the
layer: `source_windows` follows instants back to what was measured, `reached` forward from it. What
arrives late in the period of a layer is subject to it as well. As of an instant those layers count
that were known by then and not withdrawn by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import gcd
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.protocol.data import Bools, Int64s
from devices.telemetry.segment import Readings, concatenated

MOST_RAW: Final = 1 << 53
# Products of this size and the sum of two of them fit into int64.
_SAFE: Final = 1 << 61

Floats = NDArray[np.float64]
Window = tuple[int, int]  # [start, end), ms since the Unix epoch


class CorrectionKind(StrEnum):
    """What a correction does; the values are stored."""

    REPLACE = "replace"
    SCALE = "scale"
    SHIFT = "shift"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Scaling:
    """raw x `up` / `down` + `add` / `down` as integers; `down` is above 0."""

    up: int
    add: int
    down: int

    @staticmethod
    def of(factor: tuple[int, int], offset: tuple[int, int]) -> Scaling:
        """Of two exact fractions (numerator, denominator above 0), the offset in integers of the
        channel.
        """
        down = factor[1] * offset[1] // gcd(factor[1], offset[1])
        return Scaling(factor[0] * (down // factor[1]), offset[0] * (down // offset[1]), down)


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A correction of one channel, [`start_ms`, `end_ms`) in ms since the Unix epoch.

    `layer_id` tells layers apart and rises with the order in which they were made; `known` and
    `withdrawn` are the Unix seconds by which it, and that it is withdrawn, was known. `given`:
    times of the period, rising, None where they have not been read.
    """

    layer_id: int
    kind: CorrectionKind
    start_ms: int
    end_ms: int
    known: int
    withdrawn: int | None = None
    scaling: Scaling = Scaling(1, 0, 1)
    shift_ms: int = 0
    given: Readings | None = None

    @property
    def period(self) -> Window:
        """Where it takes hold."""
        return self.start_ms, self.end_ms

    @property
    def target(self) -> Window:
        """Where a shift moves its readings to."""
        return self.start_ms + self.shift_ms, self.end_ms + self.shift_ms


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """What counts of a channel, each time once. `lift` (n,): how many times more than the device
    can measure a reading may tell, since it was scaled up; None: no reading was.
    """

    readings: Readings
    lift: Floats | None = None

    def between(self, start_ms: int, end_ms: int) -> Corrected:
        """Those of [start, end)."""
        rows = slice(*np.searchsorted(self.readings.times, (start_ms, end_ms)).tolist())
        lift = None if self.lift is None else self.lift[rows]
        return Corrected(self.readings.chosen(rows), lift)


def standing(layers: Iterable[Layer], as_of: int | None = None) -> list[Layer]:
    """The layers that count at a Unix second (None: now), in the order of knowledge."""
    found = [
        layer
        for layer in layers
        if (as_of is None and layer.withdrawn is None)
        or (
            as_of is not None
            and layer.known <= as_of
            and (layer.withdrawn is None or layer.withdrawn > as_of)
        )
    ]
    return sorted(found, key=lambda layer: (layer.known, layer.layer_id))


def corrected(readings: Readings, layers: Sequence[Layer]) -> Corrected:
    """Readings of a channel that count (each time once) under `standing` layers in their order."""
    found = Corrected(readings)
    for layer in layers:
        found = _applied(found, layer)
    return found


def source_windows(windows: Iterable[Window], layers: Sequence[Layer]) -> list[Window]:
    """Where readings may lie, before any of the `standing` layers or between them, that are in some
    windows after all of them; the windows themselves included.
    """
    needed = joined(windows)
    found = list(needed)
    for layer in reversed(layers):
        if layer.kind is CorrectionKind.SHIFT:
            moved = [_later(one, -layer.shift_ms) for one in _common(needed, layer.target)]
            here = _without(_without(needed, layer.target), layer.period)
            needed = joined([*moved, *here])
            found += needed
    return joined(found)


def reached(windows: Iterable[Window], layers: Sequence[Layer]) -> list[Window]:
    """Where what was measured in some windows may be after `standing` layers."""
    found = joined(windows)
    for layer in layers:
        if layer.kind is CorrectionKind.SHIFT:
            moved = [_later(one, layer.shift_ms) for one in _common(found, layer.period)]
            found = joined([*moved, *_without(found, layer.period)])
    return found


def concerned(layer: Layer, layers: Sequence[Layer]) -> list[Window]:
    """Where anything may be different without a layer: `layers` are those that stand with it."""
    at = next(place for place, one in enumerate(layers) if one.layer_id == layer.layer_id)
    touched = [layer.period]
    if layer.kind is CorrectionKind.SHIFT:
        touched.append(layer.target)
    return reached(touched, layers[at + 1 :])


def filled(
    times: Int64s, raw: Int64s, end_ms: int, step_ms: int, *, linear: bool
) -> tuple[Int64s, Int64s]:
    """Readings (n,) with others between them, so that no two are further apart than a step: each
    stands until the next one, the last until `end_ms`; with `linear`, values lie on a line from one
    to the next and the last one is the end.
    """
    ends = np.append(times[1:], times[-1] + 1 if linear else end_ms)
    counts = -(-(ends - times) // step_ms)
    at = np.repeat(np.arange(len(times)), counts)
    steps = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    found = times[at] + steps * step_ms
    if not linear:
        return found, raw[at]
    # In Python's integers: the product of a difference and a time may need more than 64 bits.
    grown = [
        int(raw[one + 1] - raw[one]) * step * step_ms // int(ends[one] - times[one]) if step else 0
        for one, step in zip(at.tolist(), steps.tolist(), strict=True)
    ]
    return found, raw[at] + np.array(grown, np.int64)


def joined(windows: Iterable[Window]) -> list[Window]:
    """The same instants as windows that neither touch nor overlap, rising; empty ones left out."""
    found: list[Window] = []
    for start, end in sorted(windows):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _applied(found: Corrected, layer: Layer) -> Corrected:
    times = found.readings.times
    first, last = np.searchsorted(times, layer.period).tolist()
    if layer.kind is CorrectionKind.SCALE:
        return _scaled(found, layer.scaling, first, last)
    before, after = _part(found, slice(0, first)), _part(found, slice(last, None))
    if layer.kind is CorrectionKind.REMOVE:
        return _concatenated([before, after])
    if layer.kind is CorrectionKind.REPLACE:
        if layer.given is None:
            raise ValueError(f"the readings of correction {layer.layer_id} have not been read")
        return _concatenated([before, Corrected(layer.given), after])
    inside = _part(found, slice(first, last))
    moved = replace(
        inside, readings=replace(inside.readings, times=inside.readings.times + layer.shift_ms)
    )
    staying = _concatenated([before, after])
    start, end = np.searchsorted(staying.readings.times, layer.target).tolist()
    return _concatenated([_part(staying, slice(0, start)), moved, _part(staying, slice(end, None))])


def _part(found: Corrected, rows: slice | Bools) -> Corrected:
    lift = None if found.lift is None else found.lift[rows]
    return Corrected(found.readings.chosen(rows), lift)


def _concatenated(parts: Sequence[Corrected]) -> Corrected:
    readings = concatenated([part.readings for part in parts])
    if all(part.lift is None for part in parts):
        return Corrected(readings)
    return Corrected(readings, np.concatenate([_lift(part) for part in parts]))


def _lift(found: Corrected) -> Floats:
    return np.ones(len(found.readings)) if found.lift is None else found.lift


def _scaled(found: Corrected, scaling: Scaling, first: int, last: int) -> Corrected:
    if first == last:
        return found
    raw = found.readings.raw.copy()
    sound = np.ones(len(raw), np.bool_)
    raw[first:last], sound[first:last] = scaled(raw[first:last], scaling)
    result = Corrected(replace(found.readings, raw=raw), found.lift)
    if abs(scaling.up) > scaling.down:
        lift = _lift(found).copy()
        lift[first:last] *= abs(scaling.up) / scaling.down
        result = replace(result, lift=lift)
    return result if sound.all() else _part(result, sound)


def scaled(raw: Int64s, scaling: Scaling) -> tuple[Int64s, Bools]:
    """Scaled integers (n,), and which of them are still readings; the others are 0."""
    up, add, down = scaling.up, scaling.add, scaling.down
    largest = max(abs(int(raw.min())), abs(int(raw.max())), 1)
    if largest * abs(up) < _SAFE and abs(add) < _SAFE and down < _SAFE:
        whole, rest = np.divmod(raw * up + add, down)
        # Compared without doubling, which could overflow.
        other = down - rest
        upwards = (rest > other) | ((rest == other) & (whole % 2 == 1))
        whole = whole + upwards
        sound = np.abs(whole) <= MOST_RAW
        return np.where(sound, whole, 0), sound
    exact = [_rounded(one * up + add, down) for one in raw.tolist()]
    sound = np.array([abs(one) <= MOST_RAW for one in exact], np.bool_)
    return np.array([one if abs(one) <= MOST_RAW else 0 for one in exact], np.int64), sound


def _rounded(up: int, down: int) -> int:
    whole, rest = divmod(up, down)
    return whole + (2 * rest > down or (2 * rest == down and whole % 2 == 1))


def _later(window: Window, by: int) -> Window:
    return window[0] + by, window[1] + by


def _common(windows: Iterable[Window], other: Window) -> list[Window]:
    return [(max(start, other[0]), min(end, other[1])) for start, end in windows]


def _without(windows: Iterable[Window], other: Window) -> list[Window]:
    return [
        part
        for start, end in windows
        for part in ((start, min(end, other[0])), (max(start, other[1]), end))
        if part[0] < part[1]
    ]

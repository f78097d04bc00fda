"""What the roller has to know of corrections: which frames it needs, and what becomes of samples.

Every function that takes an open Django connection sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.telemetry.correction_store import Layers, layers_of, with_readings
from devices.telemetry.corrections import (
    CorrectionKind,
    Layer,
    Window,
    corrected,
    joined,
    reached,
    source_windows,
    standing,
)
from devices.telemetry.rollup_samples import Samples
from devices.telemetry.rollup_store import Span
from devices.telemetry.segment import Readings

# Replacements are read for the windows of their channels, not for a period of all devices.
_NONE: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Shifts:
    """Where readings of some devices are moved to, by the corrections that stand."""

    layers: Mapping[int, Sequence[Sequence[Layer]]]  # device: of each channel that has a shift

    def reached(self, device_id: int, start_ms: int, end_ms: int) -> Iterable[Window]:
        """All windows in which what was measured in [start, end) may be."""
        yield start_ms, end_ms
        for some in self.layers.get(device_id, ()):
            yield from reached([(start_ms, end_ms)], some)

    def sources(self, device_id: int, start_ms: int, end_ms: int) -> Iterable[Window]:
        """All windows in which was measured what is in [start, end) now."""
        yield start_ms, end_ms
        for some in self.layers.get(device_id, ()):
            yield from source_windows([(start_ms, end_ms)], some)


@dataclass(frozen=True, slots=True)
class Corrections:
    """The corrections that stand of the channels to be rolled up, and the frames needed for it."""

    layers: Layers
    spans: Sequence[Span]

    def applied(self, samples: Samples, index: Mapping[tuple[int, int], int]) -> Samples:
        """The samples that count; `index` has the place of the series of each channel."""
        places = {index[key]: layers for key, layers in self.layers.items() if key in index}
        if not places:
            return samples
        others = samples.chosen(~np.isin(samples.series, list(places)))
        parts = [others]
        for place, layers in places.items():
            mine = samples.chosen(samples.series == place)
            parts.append(_applied(place, mine, layers))
        return Samples(
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.times for part in parts]),
            np.concatenate([part.sequences for part in parts]),
            np.concatenate([part.raw for part in parts]),
            np.concatenate(
                [np.ones(len(part.times)) if part.lift is None else part.lift for part in parts]
            ),
        )


def shifts_of(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> Shifts:
    """The shifts that stand of some devices; one statement, none for no devices."""
    found: dict[int, list[list[Layer]]] = {}
    for (device_id, _), layers in _standing(connection, device_ids).items():
        if any(layer.kind is CorrectionKind.SHIFT for layer in layers):
            found.setdefault(device_id, []).append(layers)
    return Shifts(found)


def corrections_of(
    connection: BaseDatabaseWrapper, spans: Sequence[Span], corrected_devices: Collection[int]
) -> Corrections:
    """What rolling up some periods of devices needs; where any of them was corrected one statement,
    and another one where readings replace others.
    """
    devices = {span.device_id for span in spans} & set(corrected_devices)
    layers = _standing(connection, sorted(devices))
    if not layers:
        return Corrections({}, spans)
    asked: dict[int, list[Window]] = {}
    for span in spans:
        asked.setdefault(span.device_id, []).append((span.start_ms, span.end_ms))
    windows = {key: source_windows(asked[key[0]], some) for key, some in layers.items()}
    for (device_id, _), some in windows.items():
        asked[device_id] += some
    return Corrections(
        with_readings(connection, layers, windows),
        [Span(device_id, *window) for device_id, some in asked.items() for window in joined(some)],
    )


def _standing(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> Layers:
    found = layers_of(connection, device_ids, _NONE, _NONE) if device_ids else {}
    standing_now = {key: standing(layers) for key, layers in found.items()}
    return {key: layers for key, layers in standing_now.items() if layers}


def _applied(place: int, samples: Samples, layers: Sequence[Layer]) -> Samples:
    order = np.lexsort((samples.sequences, samples.times))
    times = samples.times[order]
    final = np.ones(len(times), np.bool_)
    np.not_equal(times[1:], times[:-1], out=final[:-1])
    order = order[final]
    readings = Readings(samples.times[order], samples.sequences[order], samples.raw[order])
    found = corrected(readings, layers)
    count = len(found.readings)
    return Samples(
        np.full(count, place, np.int64),
        found.readings.times,
        np.zeros(count, np.int64),
        found.readings.raw,
        found.lift,
    )

"""Corrections in the database, as layers; and the bytes of readings that replace others.

Every function takes an open Django connection and sees what the wall lets it see: a device outside
the scope has no corrections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.protocol.data import Int64s
from devices.protocol.errors import ProtocolError
from devices.protocol.varint import read_uvarint, uvarint
from devices.telemetry.corrections import CorrectionKind, Layer, Scaling, Window
from devices.telemetry.prepared import prepared_cursor
from devices.telemetry.segment import Readings
from devices.telemetry.segment_columns import SegmentError, pack, unpack
from devices.telemetry.segment_store import milliseconds

Layers = dict[tuple[int, int], list[Layer]]  # (device, channel number): in the order of their ids

# The readings of a replacement are fetched where its period is asked for; a shift may ask for
# others, which then are read by their ids.
_LAYERS: Final = """
SELECT c.device_id, c.channel, ch.resolution, c.id, c.kind, c.starts_at, c.ends_at, c.known_at,
  w.known_at, c.factor, c."offset", c.shift_ms, c.reading_count,
  CASE WHEN c.starts_at < %s::timestamptz AND c.ends_at > %s::timestamptz THEN c.readings END
FROM devices_correction c
JOIN devices_channel ch ON ch.device_id = c.device_id AND ch.number = c.channel
LEFT JOIN devices_correctionwithdrawal w ON w.correction_id = c.id
WHERE c.device_id = ANY(%s::bigint[])
ORDER BY c.id
"""
_READINGS: Final = "SELECT id, reading_count, readings FROM devices_correction WHERE id = ANY(%s)"


def layers_of(
    connection: BaseDatabaseWrapper,
    device_ids: Sequence[int],
    start: datetime,
    end: datetime,
) -> Layers:
    """All corrections of some devices, withdrawn ones too, by device and channel number. One
    statement.

    What replaces readings is there for the corrections that touch [start, end).
    """
    found: Layers = {}
    with prepared_cursor(connection) as cursor:
        cursor.execute(_LAYERS, [end, start, list(device_ids)])
        for device_id, number, resolution, *columns in cursor.fetchall():
            found.setdefault((device_id, number), []).append(_layer(resolution, columns))
    return found


def with_readings(
    connection: BaseDatabaseWrapper,
    layers: Mapping[tuple[int, int], Sequence[Layer]],
    windows: Mapping[tuple[int, int], Sequence[Window]],
) -> Layers:
    """The layers with the readings of all replacements that touch the windows of their channels.

    A replacement that touches none is there without readings: nothing is asked of it. One statement
    where readings are missing, none else.
    """
    missing = {
        layer.layer_id: layer
        for key, some in layers.items()
        for layer in some
        if layer.kind is CorrectionKind.REPLACE
        and layer.given is None
        and any(
            start < layer.end_ms and end > layer.start_ms for start, end in windows.get(key, ())
        )
    }
    given: dict[int, Readings] = {}
    if missing:
        with connection.cursor() as cursor:
            cursor.execute(_READINGS, [list(missing)])
            for layer_id, count, body in cursor.fetchall():
                given[layer_id] = unpacked(bytes(body), count, missing[layer_id].known)
    return {
        key: [_given(layer, given.get(layer.layer_id)) for layer in some]
        for key, some in layers.items()
    }


def packed(times: Int64s, raw: Int64s) -> bytes:
    """Readings as they are kept: the length of the packed times, the times (ms since the Unix
    epoch), the integers; columns as in segments.
    """
    head = pack(times)
    return uvarint(len(head)) + head + pack(raw)


def unpacked(body: bytes, count: int, known: int) -> Readings:
    """The readings of `packed`; SegmentError for other bytes."""
    try:
        length, at = read_uvarint(body, 0)
    except ProtocolError as error:
        raise SegmentError(f"the readings do not begin: {error}") from None
    times = unpack(body[at : at + length], count)
    raw = unpack(body[at + length :], count)
    return Readings(times, np.full(count, known, np.int64), raw)


def _given(layer: Layer, readings: Readings | None) -> Layer:
    if layer.kind is not CorrectionKind.REPLACE or layer.given is not None:
        return layer
    nothing = np.empty(0, np.int64)
    return replace(layer, given=readings or Readings(nothing, nothing, nothing))


def _layer(resolution: Decimal, columns: Iterable[Any]) -> Layer:
    (
        layer_id, kind, starts_at, ends_at, known_at, withdrawn_at, factor, offset, shift_ms, count,
        body,
    ) = columns  # fmt: skip
    known = int(known_at.timestamp())
    return Layer(
        layer_id=layer_id,
        kind=CorrectionKind(kind),
        start_ms=milliseconds(starts_at),
        end_ms=milliseconds(ends_at),
        known=known,
        withdrawn=None if withdrawn_at is None else int(withdrawn_at.timestamp()),
        scaling=Scaling(1, 0, 1) if factor is None else scaling_of(factor, offset, resolution),
        shift_ms=shift_ms or 0,
        given=None if body is None else unpacked(bytes(body), count, known),
    )


def scaling_of(factor: Decimal, offset: Decimal, resolution: Decimal) -> Scaling:
    """A factor and an offset (in the channel's unit) on the channel's integers."""
    unit_up, unit_down = resolution.as_integer_ratio()
    up, down = offset.as_integer_ratio()
    return Scaling.of(factor.as_integer_ratio(), (up * unit_down, down * unit_up))

"""What an export writes, window by window, so that memory is bounded whatever its length.

Everything is read by `series.read_series`, as charts and the API read it. Needs an open scope.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np

from devices.domain.series import ChannelFacts, ChannelSeries, channel_facts, read_series
from devices.domain.series_bounds import MOST_RAW_HOURS, SeriesRefusedError, checked
from devices.models import DataExport, Device
from devices.protocol.data import Int64s
from devices.telemetry.export_formats import Field, Writer, exactly, plainly
from devices.telemetry.periods import Resolution

MOST_CHANNELS: Final = 200
# Readings of one window, in hours of one channel: 360 000 at two seconds.
_WINDOW_HOURS: Final = 200
_DAY: Final = timedelta(days=1)
_WINDOW_DAYS: Final = 31
# Of a period: the part of the name, the attribute, and the unit (None: the channel's own).
_MEASURES: Final = (
    ("mean", "mean", None),
    ("minimum", "minimum", None),
    ("maximum", "maximum", None),
    ("first", "first", None),
    ("last", "last", None),
    ("energy", "energy", "Wh"),
    ("returned", "returned", "Wh"),
    ("coverage", "coverage", "1"),
)


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the period of an export; `part` of the whole is done with it."""

    start: datetime
    end: datetime
    part: float


def check_question(
    *,
    channels: Sequence[int],
    start: datetime,
    end: datetime,
    resolution: Resolution,
    as_of: datetime | None,
) -> list[ChannelFacts]:
    """The channels of a sound question. Raises SeriesRefusedError and ChannelNotFound."""
    if not channels:
        raise SeriesRefusedError("channels", "Choose at least one channel.")
    if len(set(channels)) != len(channels):
        raise SeriesRefusedError("channels", "A channel is named twice: name each once.")
    if len(channels) > MOST_CHANNELS:
        raise SeriesRefusedError("channels", f"Export at most {MOST_CHANNELS} channels at once.")
    checked(start, end, as_of=as_of)
    days = 31 if resolution is Resolution.MONTH else 1
    if as_of is not None and resolution is not Resolution.RAW:
        most = MOST_RAW_HOURS // ((days * 24) + 25)
        if len(channels) > most:
            raise SeriesRefusedError(
                "as_of",
                f"As of an instant, at most {most} channels can be exported in this resolution:"
                " choose fewer, or leave out as_of.",
            )
    return channel_facts(channels)


def windows(
    start: datetime, end: datetime, resolution: Resolution, channels: int, zone: str, *, as_of: bool
) -> Iterator[Window]:
    """The period in parts, each of which fits into memory; local months and days stay whole."""
    begin = start
    while begin < end:
        until = min(end, _next(begin, resolution, channels, zone, as_of=as_of))
        yield Window(begin, until, (until - start) / (end - start))
        begin = until


def _next(
    begin: datetime, resolution: Resolution, channels: int, zone: str, *, as_of: bool
) -> datetime:
    if resolution is Resolution.RAW:
        hours = max(1, _WINDOW_HOURS // channels)
        full = begin.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        return full + timedelta(hours=hours)
    local = begin.astimezone(ZoneInfo(zone)).date()
    if resolution is Resolution.MONTH:
        following = (local.replace(day=1) + 32 * _DAY).replace(day=1)
        return _midnight(following, zone)
    days = _WINDOW_DAYS
    if as_of:
        days = max(1, min(days, int(MOST_RAW_HOURS / channels - 2) // 25))
    return _midnight(local + days * _DAY, zone)


def _midnight(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def fields_of(facts: Sequence[ChannelFacts], resolution: Resolution) -> list[Field]:
    """The columns of an export; names are serial, key and unit, as an import reads them."""
    devices = Device.objects.filter(pk__in={one.device_id for one in facts})
    serials = dict(devices.values_list("pk", "serial"))
    found = []
    for one in facts:
        serial = serials[one.device_id]
        known = {
            "channel": str(one.channel_id),
            "device": serial,
            "key": one.key,
            "name": one.name,
            "quantity": one.quantity,
            "unit": one.unit,
            "resolution": f"{one.resolution.normalize():f}",
            "facility": str(one.facility_id),
            "time_zone": one.zone,
        }
        if resolution is Resolution.RAW:
            exact = None if one.derived else one.resolution.normalize()
            found.append(Field(f"{serial} {one.key} ({one.unit})", exact, known))
            continue
        for name, _attribute, unit in _MEASURES:
            heading = f"{serial} {one.key} {name} ({unit or one.unit})"
            found.append(Field(heading, None, {**known, "measure": name, "unit": unit or one.unit}))
    return found


def write_window(
    writer: Writer,
    fields: Sequence[Field],
    channels: Sequence[int],
    window: Window,
    *,
    resolution: Resolution,
    as_of: datetime | None,
    zone: str,
) -> int:
    """Write the rows of a window; returns how many. Raises NotExactlyError."""
    found = read_series(
        channels=channels,
        start=window.start,
        end=window.end,
        resolution=resolution,
        as_of=as_of,
        zone=zone,
    )
    if resolution is Resolution.RAW:
        return _write_readings(writer, fields, found.channels)
    return _write_periods(writer, found.channels)


def _write_readings(writer: Writer, fields: Sequence[Field], found: Sequence[ChannelSeries]) -> int:
    curves = [one.curve for one in found if one.curve is not None]
    times = _union([curve.times for curve in curves])
    columns = []
    for field, curve in zip(fields, curves, strict=True):
        place = np.searchsorted(times, curve.times)
        values = np.zeros(len(times))
        present = np.zeros(len(times), np.bool_)
        values[place], present[place] = curve.values, True
        if field.resolution is None:
            columns.append(plainly(values, present))
        else:
            columns.append(exactly(values, present, field))
    writer.write(times, None, columns)
    return len(times)


def _write_periods(writer: Writer, found: Sequence[ChannelSeries]) -> int:
    periods = [one.periods for one in found if one.periods is not None]
    starts = _union([one.starts for one in periods])
    ends = np.zeros(len(starts), np.int64)
    columns: list[Any] = []
    for one in periods:
        place = np.searchsorted(starts, one.starts)
        ends[place] = one.ends
        for _name, attribute, _unit in _MEASURES:
            values = np.full(len(starts), np.nan)
            values[place] = getattr(one, attribute)
            columns.append(plainly(values))
    writer.write(starts, ends, columns)
    return len(starts)


def _union(parts: Sequence[Int64s]) -> Int64s:
    return np.unique(np.concatenate(parts)) if parts else np.empty(0, np.int64)


def facts_of(export: DataExport) -> dict[str, str]:
    """What an export is, for the file's metadata."""
    found = {
        "start": export.starts_at.isoformat(),
        "end": export.ends_at.isoformat(),
        "resolution": export.resolution,
        "time_zone": export.time_zone,
    }
    if export.as_of is not None:
        found["as_of"] = export.as_of.isoformat()
    return found

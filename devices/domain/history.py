"""The history that the page of a facility or of a device may show: `read_series`, and nothing that
belongs to another page.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from devices.domain.catalogue import ChannelNotFound
from devices.domain.series import ChannelFacts, SeriesResult, read_series
from devices.domain.series_bounds import SeriesRefusedError
from devices.telemetry.periods import Resolution

# Channels of one question: more than the charts of a page have lines for.
MOST_CHANNELS = 512


def facility_history(
    *,
    facility_id: int,
    channels: Sequence[tuple[int, int]],
    start: datetime,
    end: datetime,
    resolution: Resolution = Resolution.AUTO,
    points: int | None = None,
) -> SeriesResult:
    """The history of channels (device, number) of a facility in [start, end).

    Raises ChannelNotFound also for channels of another facility, and SeriesRefusedError.
    """
    return _history(
        lambda one: one.facility_id == facility_id, channels, start, end, resolution, points
    )


def facility_series(
    *,
    facility_id: int,
    channels: Sequence[int],
    start: datetime,
    end: datetime,
    resolution: Resolution = Resolution.AUTO,
    points: int | None = None,
    as_of: datetime | None = None,
) -> SeriesResult:
    """The history of channels (ids) of a facility in [start, end), as known at `as_of`.

    Raises ChannelNotFound also for channels of another facility, and SeriesRefusedError.
    """
    if len(set(channels)) > MOST_CHANNELS:
        raise SeriesRefusedError("channels", f"Ask for at most {MOST_CHANNELS} channels at once.")
    found = read_series(
        channels=list(dict.fromkeys(channels)),
        start=start,
        end=end,
        resolution=resolution,
        points=points,
        as_of=as_of,
    )
    _refuse_others(found, lambda one: one.facility_id == facility_id)
    return found


def device_history(
    *,
    device_id: int,
    channels: Sequence[tuple[int, int]],
    start: datetime,
    end: datetime,
    resolution: Resolution = Resolution.AUTO,
    points: int | None = None,
) -> SeriesResult:
    """The history of channels (device, number) of one device in [start, end).

    Raises ChannelNotFound also for channels of another device, and SeriesRefusedError.
    """
    return _history(
        lambda one: one.device_id == device_id, channels, start, end, resolution, points
    )


def _history(
    belongs: Callable[[ChannelFacts], bool],
    channels: Sequence[tuple[int, int]],
    start: datetime,
    end: datetime,
    resolution: Resolution,
    points: int | None,
) -> SeriesResult:
    if not channels:
        raise SeriesRefusedError("channels", "Name at least one channel, as device.number.")
    if len(set(channels)) > MOST_CHANNELS:
        raise SeriesRefusedError("channels", f"Ask for at most {MOST_CHANNELS} channels at once.")
    found = read_series(
        channels=list(dict.fromkeys(channels)),
        start=start,
        end=end,
        resolution=resolution,
        points=points,
    )
    _refuse_others(found, belongs)
    return found


def _refuse_others(found: SeriesResult, belongs: Callable[[ChannelFacts], bool]) -> None:
    for one in found.channels:
        if not belongs(one.channel):
            raise ChannelNotFound(f"channel {one.channel.device_id}.{one.channel.number}")

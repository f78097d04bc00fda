"""When offers may go out: windows in a facility's local time, and a device's own delay.

A window begins and ends at instants: on the day on which clocks are put forward, a time that does
not exist is that much later; on the day on which they are put back, a window begins with the first
and ends with the second of two equal times.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from firmware.rollout.strategy import Window
from firmware.rollout.waves import place


def is_open(windows: Sequence[Window], zone: str, now: datetime) -> bool:
    """Whether an offer may go out at `now` (UTC) to a facility in a time zone."""
    if not windows:
        return True
    today = now.astimezone(ZoneInfo(zone)).date()
    return any(
        day.weekday() in window.weekdays
        and _opens(window, zone, day) <= now < _ends(window, zone, day)
        for window in windows
        for day in (today, today - timedelta(days=1))
    )


def next_opening(windows: Sequence[Window], zone: str, now: datetime) -> datetime:
    """The instant from which offers may go out: `now` when they may already."""
    if is_open(windows, zone, now):
        return now
    today = now.astimezone(ZoneInfo(zone)).date()
    days = (today + timedelta(days=n) for n in range(16))
    openings = [
        opening
        for day in days
        for window in windows
        if day.weekday() in window.weekdays
        # Of one that begins in the hour that is left out and ends right behind it, nothing is left.
        and now < (opening := _opens(window, zone, day)) < _ends(window, zone, day)
    ]
    return min(openings)


def jittered(seed: int, device_id: int, wave: int, began_at: datetime, jitter_s: int) -> datetime:
    """From when a device of a wave may get its offer: each at its own time, spread evenly."""
    if not jitter_s:
        return began_at
    return began_at + timedelta(seconds=jitter_s * place(seed * 1000 + wave, device_id))


@lru_cache(maxsize=4096)
def _opens(window: Window, zone: str, day: date) -> datetime:
    return _instant(day, window.start, zone, fold=0)


@lru_cache(maxsize=4096)
def _ends(window: Window, zone: str, day: date) -> datetime:
    if time.fromisoformat(window.end) <= time.fromisoformat(window.start):
        day += timedelta(days=1)
    # Of two equal times the second; of a time that does not exist the later reading.
    return max(_instant(day, window.end, zone, fold=fold) for fold in (0, 1))


def _instant(day: date, clock: str, zone: str, *, fold: int) -> datetime:
    local = datetime.combine(day, time.fromisoformat(clock), ZoneInfo(zone))
    return local.replace(fold=fold).astimezone(UTC)

"""The days of agreements as instants: a day begins at its local midnight."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo


def midnight(day: date, zone: str) -> datetime:
    """The instant (UTC) at which a local day begins, also where clocks skip midnight."""
    return datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).astimezone(UTC)


def seconds(day: date, zone: str) -> int:
    """The same in seconds since the Unix epoch."""
    return int(midnight(day, zone).timestamp())

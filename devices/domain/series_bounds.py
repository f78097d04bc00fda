"""What may be asked of history at once, and the sentences for what may not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from devices.telemetry.rollup import QUARTER_MS
from devices.telemetry.segment import HOUR_MS
from devices.telemetry.segment_store import milliseconds
from devices.telemetry.series import LEAST_POINTS

DEFAULT_POINTS: Final = 500
MOST_POINTS: Final = 100_000
MOST_YEARS: Final = 20
# Readings of one question, in hours of one channel: eight channels of a week, 2.4 million readings
# at two seconds.
MOST_RAW_HOURS: Final = 8 * 24 * 7
# Quarters of one question: 228 channels of a year.
MOST_QUARTERS: Final = 8_000_000
# Rows of one answer to somebody outside.
MOST_ROWS: Final = 50_000
EARLIEST: Final = datetime(1971, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2100, 1, 1, tzinfo=UTC)


class SeriesRefusedError(ValueError):
    """A question that cannot be answered: `parameter` is at fault, the text says what to do."""

    def __init__(self, parameter: str, text: str) -> None:
        super().__init__(text)
        self.parameter = parameter


@dataclass(frozen=True, slots=True)
class Bounds:
    """A sound period; `start_ms` and `end_ms` are widened to full quarters of an hour."""

    start: datetime
    end: datetime
    as_of: datetime | None
    start_ms: int
    end_ms: int

    @property
    def hours(self) -> float:
        """How long it is."""
        return (self.end - self.start).total_seconds() / 3600

    @property
    def quarters(self) -> int:
        """How many quarters of an hour it touches."""
        return (self.end_ms - self.start_ms) // QUARTER_MS

    def refuse_long_raw(self, channels: int) -> None:
        """Raises SeriesRefusedError where all readings are needed and would be too many."""
        hours = (self.end_ms - self.start_ms) / HOUR_MS
        if hours * channels <= MOST_RAW_HOURS:
            return
        days = MOST_RAW_HOURS / channels / 24
        many = f"{channels} channels" if channels > 1 else "a channel"
        way = "ask for a roll-up instead" if self.as_of is None else "leave out as_of"
        raise SeriesRefusedError(
            "end",
            f"This needs every reading, of which at most {days:.3g} days can be read at once for"
            f" {many}: ask for a shorter period, or {way}.",
        )

    def refuse_many_quarters(self, channels: int) -> None:
        """Raises SeriesRefusedError where too many roll-ups would have to be read."""
        if self.quarters * channels > MOST_QUARTERS:
            days = MOST_QUARTERS * QUARTER_MS // (channels * 24 * HOUR_MS)
            raise SeriesRefusedError(
                "end",
                f"At most {days} days can be read at once for so many channels: ask for a shorter"
                " period or for fewer channels.",
            )


def checked(
    start: datetime, end: datetime, *, points: int | None = None, as_of: datetime | None = None
) -> Bounds:
    """The period as bounds; raises SeriesRefusedError."""
    for name, at in (("end", end), ("start", start), ("as_of", as_of)):
        if at is not None and at.utcoffset() is None:
            raise SeriesRefusedError(name, "Give the offset from UTC, for example +01:00 or Z.")
        if at is not None and not EARLIEST <= at <= LATEST:
            raise SeriesRefusedError(name, "Give an instant between the years 1971 and 2100.")
    if start >= end:
        raise SeriesRefusedError("end", "The period is empty: its end must be after its start.")
    if end - start > timedelta(days=MOST_YEARS * 366):
        raise SeriesRefusedError("end", f"Ask for at most {MOST_YEARS} years at once.")
    if points is not None and not LEAST_POINTS <= points <= MOST_POINTS:
        raise SeriesRefusedError("points", f"Ask for {LEAST_POINTS} to {MOST_POINTS} points.")
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    # Down, and up: instants between two milliseconds lie in the quarter that holds them.
    first = int(start.timestamp() * 1000) // QUARTER_MS * QUARTER_MS
    last = -(-int(milliseconds(end) + (end.microsecond % 1000 > 0)) // QUARTER_MS) * QUARTER_MS
    return Bounds(start, end, as_of, first, last)


def zone_named(name: str) -> ZoneInfo:
    """A time zone by its IANA name; raises SeriesRefusedError."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise SeriesRefusedError("zone", f"There is no time zone {name!r}.") from error

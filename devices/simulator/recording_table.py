"""CSV files as tables of text columns, and the recognition of times and numbers in them.

Recordings come from many loggers: commas, semicolons or tabs, decimal points or commas, a byte
order mark, ISO or local or Unix times, counters of seconds. Each column is kept as codes into its
distinct texts, so a million rows cost a few megabytes and every distinct text is parsed once.
"""

import csv
import gzip
import itertools
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

# A counter or a time of day has no date of its own; it is placed on this day.
EPOCH_OF_COUNTERS_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z

_YEAR_1980_MS = 315_532_800_000
_YEAR_2100_MS = 4_102_444_800_000

_ROWS_AT_ONCE = 65_536
# What loggers write when they have no value.
MISSING_TEXTS = frozenset(
    {"", "-", "--", "na", "n/a", "nan", "null", "none", "inf", "-inf", "unknown", "unavailable"}
)


class NotARecording(ValueError):  # noqa: N818 (a verdict on a file, with its reason)
    """The file is no series of readings; the message says why."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of text: row i holds `texts[codes[i]]`."""

    name: str
    texts: list[str]
    codes: NDArray[np.uint32]

    def sample(self, count: int = 200) -> list[str]:
        """Distinct texts that are not marks of a missing value, evenly chosen."""
        step = max(1, len(self.texts) // count)
        return [text for text in self.texts[::step] if text.lower() not in MISSING_TEXTS]


def read_table(path: Path) -> list[Column]:
    """The columns of a CSV file (or .csv.gz); raises NotARecording when it is no table."""
    try:
        return _read_open_table(path)
    except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise NotARecording(f"unreadable: {error}") from None


def _read_open_table(path: Path) -> list[Column]:
    with _open(path) as text:
        head = text.readline()
        delimiter = max(",;\t|", key=head.count)
        if not head.strip() or not head.count(delimiter):
            raise NotARecording("no delimited columns")
        first = next(csv.reader([head], delimiter=delimiter))
        rows: Iterator[list[str]] = csv.reader(text, delimiter=delimiter)
        names = [name.strip() for name in first]
        if all(_is_number(name) or parse_instant(name) is not None for name in names if name):
            names = [f"column_{index}" for index in range(1, len(names) + 1)]
            rows = itertools.chain([first], rows)
        return _columns(names, rows)


def _open(path: Path) -> TextIO:
    # utf-8-sig drops a byte order mark; undecodable bytes matter only in texts nobody reads.
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _columns(names: list[str], rows: Iterator[list[str]]) -> list[Column]:
    width = len(names)
    indices: list[dict[str, int]] = [{} for _ in names]
    chunks: list[list[NDArray[np.uint32]]] = [[] for _ in names]
    while chunk := list(itertools.islice(rows, _ROWS_AT_ONCE)):
        # Short rows are filled up and long ones cut: one torn line does not spoil a recording.
        even = [row if len(row) == width else (row + [""] * width)[:width] for row in chunk if row]
        for index, pieces, cells in zip(indices, chunks, zip(*even, strict=True), strict=False):
            for text in dict.fromkeys(cells):  # in the order of the file, unlike a set
                index.setdefault(text, len(index))
            pieces.append(np.fromiter(map(index.__getitem__, cells), np.uint32, len(cells)))
    columns = []
    for name, index, pieces in zip(names, indices, chunks, strict=True):
        codes = np.concatenate(pieces) if pieces else np.zeros(0, np.uint32)
        columns.append(Column(name, [text.strip() for text in index], codes))
    return columns


def _is_number(text: str) -> bool:
    return parse_number(text) is not None


def parse_number(text: str) -> Decimal | None:
    """A number with a decimal point or comma; None when the text is none."""
    try:
        number = Decimal(text.replace(",", "."))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


_SLASHED = re.compile(
    r"(\d{1,2})[./](\d{1,2})[./](\d{4})"
    r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(\.\d+)?)?(?: ?([AaPp])\.?[Mm]\.?)?)?$"
)
_DSMR = re.compile(r"(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})(\d{2})([WS])$")
_ISO = re.compile(
    r"\d{4}[-/]\d{2}[-/]\d{2}([ T]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?)?( ?(Z|[+-]\d{2}:?\d{2}))?$"
)
_COMPACT_DATE = re.compile(r"(19|20)\d{6}$")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})([.,]\d+)?)?$")


def parse_instant(text: str, *, month_first: bool = False) -> int | None:
    """Milliseconds since the Unix epoch of a written date or date and time, else None.

    Times without an offset count as UTC. Understood: ISO 8601, `dd.mm.yyyy hh:mm`, `dd/mm/yyyy` (or
    `mm/dd/yyyy`), `yyyymmdd`, and the `yymmddhhmmssW` of DSMR meters (W winter, S summer time).
    """
    try:
        if _ISO.match(text):
            plain = text.replace("/", "-").replace(",", ".").replace(" Z", "Z")
            return _milliseconds(datetime.fromisoformat(plain))
        if match := _SLASHED.match(text):
            return _parse_slashed(match, month_first=month_first)
        if match := _DSMR.match(text):
            year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
            local = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
            return _milliseconds(local) - (3_600_000 if match[7] == "W" else 7_200_000)
        if _COMPACT_DATE.match(text):
            return _milliseconds(datetime(int(text[:4]), int(text[4:6]), int(text[6:]), tzinfo=UTC))
    except ValueError:
        return None
    return None


def _parse_slashed(match: re.Match[str], *, month_first: bool) -> int:
    day, month, year, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    if month_first:
        day, month = month, day
    if match[8]:
        hour = hour % 12 + (12 if match[8] in "pP" else 0)
    instant = _milliseconds(datetime(year, month, day, hour, minute, second, tzinfo=UTC))
    return instant + int(float(match[7] or 0) * 1000)


def _milliseconds(instant: datetime) -> int:
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)


def parse_clock(text: str) -> int | None:
    """Milliseconds since midnight of `hh:mm`, `hh:mm:ss` or `hh:mm:ss.fff`, else None."""
    match = _CLOCK.match(text)
    if match is None:
        return None
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    fraction = float((match[4] or "0").replace(",", "."))
    return ((hour * 60 + minute) * 60 + second) * 1000 + int(fraction * 1000)


# Names of counters and the milliseconds of one unit.
_COUNTERS = {
    1: r"(t|time|elapsed|offset|uptime|timestamp)_?ms|ms|millis(econds)?",
    1_000: (
        r"(t|ts|time|elapsed|elapsed_time|local|offset|uptime|second)_?s(ec|econds)?|t|sec(ond)?s?"
        r"|seconds?_of_day|frame|sample|index|tick|no|nr|elapsed|second_of_day"
    ),
    60_000: r"min(ute)?s?|(t|time|elapsed)_min(utes)?|minute_of_day",
    3_600_000: r"hours?|(t|time|elapsed)_h(ours?)?|hour_of_(day|year)",
}
_OF_DAY = re.compile(r"(minute|second|hour)s?_of_day$", re.IGNORECASE)


def counter_unit_ms(name: str) -> int | None:
    """The unit of a column named as a counter of time, in milliseconds, else None."""
    plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    for unit, pattern in _COUNTERS.items():
        if re.fullmatch(pattern, plain):
            return unit
    return None


def unix_unit_ms(numbers: Sequence[Decimal]) -> int | None:
    """1000 when the numbers are Unix seconds between 1980 and 2100, 1 for ms, else None."""
    if not numbers:
        return None
    low, high = min(numbers), max(numbers)
    for unit in (1_000, 1):
        if low * unit >= _YEAR_1980_MS and high * unit <= _YEAR_2100_MS:
            return unit
    return None


def translate(
    column: Column, parse: Callable[[str], int | None]
) -> tuple[Int64s, NDArray[np.bool_]]:
    """The parsed value of every row and whether it parsed (0 where it did not)."""
    parsed = [parse(text) for text in column.texts]
    values = np.array([0 if value is None else value for value in parsed], dtype=np.int64)
    found = np.array([value is not None for value in parsed], dtype=np.bool_)
    if not parsed:
        return np.zeros(0, np.int64), np.zeros(0, np.bool_)
    return values[column.codes], found[column.codes]


_UNIX_NAMES = re.compile(r"unix|time|epoch|stamp|^ts|zeit|_s$|_ms$|date|^column_", re.IGNORECASE)


def tells_time(column: Column) -> bool:
    """Whether a column holds times of some form rather than a quantity."""
    return (
        _instant_parser(column) is not None
        or _all_parse(column, parse_clock)
        or _unix_unit_ms(column) is not None
    )


def find_times(columns: Sequence[Column]) -> tuple[Int64s, NDArray[np.bool_], list[Column]]:
    """Times in ms since the Unix epoch, which rows have one, and the columns that they came from.

    Preferred in this order: a written date and time; a date beside a time of day; Unix seconds;
    a time of day; a counter. Raises NotARecording when there is none.
    """
    dates = [(column, parse) for column in columns if (parse := _instant_parser(column))]
    moments = [(column, parse) for column, parse in dates if _has_time_of_day(column)]
    if moments:
        # A start beside a version date: the one that tells the rows apart.
        moment, parse = max(moments, key=lambda pair: len(pair[0].texts))
        return *translate(moment, parse), [moment]
    clocks = [(column, parse_clock) for column in columns if _all_parse(column, parse_clock)]
    counters = [
        (column, parse) for column in columns if (parse := _counter_parser(column)) is not None
    ]
    of_day = [pair for pair in counters if _OF_DAY.match(pair[0].name)]
    if dates and (clocks or of_day):
        (date, parse_date), (clock, parse_time) = dates[0], (clocks + of_day)[0]
        day, has_day = translate(date, parse_date)
        time, has_time = translate(clock, parse_time)
        return day + time, has_day & has_time, [date, clock]
    for column in columns:
        unit = _unix_unit_ms(column)
        if unit is not None:
            return *translate(column, partial(_scaled, unit_ms=unit)), [column]
    for column, parse in clocks + counters:
        times, found = translate(column, parse)
        return times + EPOCH_OF_COUNTERS_MS, found, [column]
    raise NotARecording("no time column")


Parser = Callable[[str], int | None]


def _instant_parser(column: Column) -> Parser | None:
    """How to read a column of dates; None when it is none."""
    sample = column.sample()
    if not sample:
        return None
    spans: list[tuple[int, int, Parser]] = []
    for parse in (parse_instant, partial(parse_instant, month_first=True)):
        instants = [instant for text in sample if (instant := parse(text)) is not None]
        if len(instants) == len(sample):
            spans.append((max(instants) - min(instants), len(spans), parse))
    # Day or month first, when both read: a recording is the shorter of the two spans.
    return min(spans)[2] if spans else None


def _unix_unit_ms(column: Column) -> int | None:
    sample = column.sample()
    numbers = [number for text in sample if (number := parse_number(text)) is not None]
    if len(numbers) < len(sample) or not _UNIX_NAMES.search(column.name):
        return None
    return unix_unit_ms(numbers)


def _all_parse(column: Column, parse: Callable[[str], int | None]) -> bool:
    sample = column.sample()
    return bool(sample) and all(parse(text) is not None for text in sample)


def _has_time_of_day(column: Column) -> bool:
    return any(":" in text or _DSMR.match(text) for text in column.sample())


def _counter_parser(column: Column) -> Parser | None:
    """How to read a column that is named as a counter of time; None when it is none."""
    unit = counter_unit_ms(column.name)
    if unit is None:
        return None
    parse = partial(_scaled, unit_ms=unit)
    return parse if _all_parse(column, parse) else None


def _scaled(text: str, *, unit_ms: int) -> int | None:
    number = parse_number(text)
    return None if number is None else int(number * unit_ms)

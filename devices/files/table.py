"""Tables (CSV): a row for an interval or a reading, columns as a mapping says."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from devices.files import exact
from devices.files import problems as kinds
from devices.files.assembly import Reading, intervals
from devices.files.content import Content, Instants, Intervals, Quality, Stream
from devices.files.mapping import ColumnMapping, ValueColumn
from devices.files.opening import check_count
from devices.files.problems import NotAMeterFileError, Problems, shown
from devices.files.stamps import Stamp, instants
from devices.files.units import Unit, quantity_of, unit_of

MAX_COLUMNS: Final = 200
# 28 years of quarters of an hour. A row takes ten times its bytes while it is read.
MAX_ROWS: Final = 1_000_000
SEPARATORS: Final = (";", ",", "\t")
_MINUTE_MS: Final = 60_000
_LONGEST_MS: Final = 720 * _MINUTE_MS
_IN_BRACKETS: Final = re.compile(r"[(\[]\s*([A-Za-z]+|1|%|°C|W/m²)\s*[)\]]")
_THOUSANDS: Final = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:[,.][0-9]{3})+")


class Row(NamedTuple):
    """A row and the line of the file that it begins on."""

    line: int
    cells: list[str]


class Column(NamedTuple):
    """A column of values, found: the indices of its cells (quality: -1 without), its unit."""

    said: ValueColumn
    value: int
    quality: int
    unit: Unit


def read(
    text: str, mapping: ColumnMapping | None, problems: Problems
) -> tuple[dict[Stream, Content], Counter[str]]:
    """The streams of a table and what was ignored. Raises NotAMeterFileError."""
    separator = _separator(text)
    header, rows = _rows(text, separator)
    return take(header, rows, separator, mapping, problems)


def columns_of(text: str) -> list[str]:
    """The names of the columns that have one. Raises NotAMeterFileError."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    header, _ = _rows(first, _separator(text))
    return [name for name in header if name]


def take(
    header: Sequence[str],
    rows: Sequence[Row],
    separator: str,
    mapping: ColumnMapping | None,
    problems: Problems,
) -> tuple[dict[Stream, Content], Counter[str]]:
    """The streams of a table, however it was written; `separator` tells which mark cannot separate
    thousands. Raises NotAMeterFileError.
    """
    if mapping is None or not mapping.time or not mapping.values:
        raise NotAMeterFileError(
            "no_mapping",
            "This is a table. Say in a mapping which column has the times and which the values; its"
            f" columns are {', '.join(f'“{shown(name)}”' for name in header)}.",
        )
    at = _index(header, mapping.time)
    columns = [
        column for said in mapping.values if (column := _column(header, said, problems)) is not None
    ]
    last = max([at, *(max(column.value, column.quality) for column in columns)])
    whole = _whole(rows, last, problems)
    stamps = [Stamp(row.line, row.cells[at]) for row in whole]
    times = instants(stamps, mapping.time_form, mapping.zone, problems)
    timed = [(row, time) for row, time in zip(whole, times, strict=True) if time is not None]
    check_count(len(timed) * len(columns))
    instants_only = mapping.stamp == "instant"
    length_ms = 0 if instants_only else _length(mapping, [time for _, time in timed], problems)
    ignored: Counter[str] = Counter()
    streams: dict[Stream, Content] = {}
    if length_ms is None:
        return streams, ignored
    shift = length_ms if mapping.stamp == "end" else 0
    starts = [(row, time - shift) for row, time in timed]
    for column in columns:
        mark = mapping.decimal_mark or _mark(
            column, [row for row, _ in starts], separator, problems
        )
        if mark is None:
            continue
        readings = _readings(column, starts, length_ms, mark, mapping.qualities, problems)
        if readings:
            what = f"column {column.said.column}"
            found, repeated = intervals(readings, column.unit.power, what, problems)
            ignored["repeated readings"] += repeated
            if found is not None:
                stream = _stream(mapping, column)
                content = _measured(found) if instants_only else found
                if len(content):
                    streams[stream] = content
    return streams, ignored


def _measured(found: Intervals) -> Instants:
    """The readings among intervals without a length; where nothing was measured there is none."""
    known = found.quality != Quality.NULL
    return Instants(found.start_ms[known], found.raw[known], found.resolution, found.quality[known])


def _separator(text: str) -> str:
    """The separator that the first line has most of outside of quotation marks. Raises
    NotAMeterFileError where it has none.
    """
    first = next((line for line in text.splitlines() if line.strip()), "")
    plain = re.sub(r'"[^"]*"', "", first)
    separator = max(SEPARATORS, key=plain.count)
    if separator not in plain:
        raise NotAMeterFileError(
            "not_a_table",
            "The file is none that can be read: it begins with neither a record 100 (NEM12, NEM13)"
            " nor XML (Green Button) nor the names of columns (a table).",
        )
    return separator


def _rows(text: str, separator: str) -> tuple[list[str], list[Row]]:
    """The header and what follows, without empty lines. Raises NotAMeterFileError."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    before = 0
    try:
        for cells in reader:
            line, before = before + 1, reader.line_num
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append(Row(line, stripped))
            if len(rows) > MAX_ROWS:
                raise NotAMeterFileError(
                    "too_many_rows",
                    f"The table has more than {MAX_ROWS:,} rows. Split it and read the parts.",
                )
    except csv.Error as error:
        raise NotAMeterFileError(
            "quotation",
            f"Line {before + 1} cannot be read: a quotation mark is missing or stands alone.",
        ) from error
    if not rows or len(rows[0].cells) > MAX_COLUMNS:
        raise NotAMeterFileError(
            "columns", f"The first line must name the columns, at most {MAX_COLUMNS}."
        )
    return rows[0].cells, rows[1:]


def _whole(rows: Sequence[Row], last: int, problems: Problems) -> list[Row]:
    """The rows that reach to the last cell that is needed."""
    for row in rows:
        if len(row.cells) <= last:
            problems.add(kinds.CELLS, row.line, found=len(row.cells))
    return [row for row in rows if len(row.cells) > last]


def _index(header: Sequence[str], name: str) -> int:
    """Where a column is. Raises NotAMeterFileError where it is not, or twice."""
    found = [i for i, cell in enumerate(header) if cell == name.strip()]
    if len(found) != 1:
        listed = ", ".join(f"“{shown(cell)}”" for cell in header if cell)
        raise NotAMeterFileError(
            "no_column" if not found else "column_twice",
            f"The mapping names the column “{shown(name)}”, which the file has"
            f" {'not' if not found else 'more than once'}. Its columns are {listed}.",
        )
    return found[0]


def _column(header: Sequence[str], said: ValueColumn, problems: Problems) -> Column | None:
    value = _index(header, said.column)
    quality = _index(header, said.quality_column) if said.quality_column else -1
    bracketed = _IN_BRACKETS.search(said.column)
    text = said.unit or (bracketed.group(1) if bracketed else "")
    unit = unit_of(text)
    if unit is None:
        kind = kinds.UNIT if text else kinds.NO_UNIT
        problems.add(kind, 1, what=f"Column {said.column}", unit=text)
        return None
    return Column(said, value, quality, unit)


def _stream(mapping: ColumnMapping, column: Column) -> Stream:
    unit, direction = column.unit.canonical, column.said.direction
    return Stream(
        meter=mapping.meter,
        register=column.said.column,
        suffix="",
        serial="",
        unit=unit,
        direction=direction,
        quantity=quantity_of(unit, direction),
    )


def _length(mapping: ColumnMapping, times: Sequence[int], problems: Problems) -> int | None:
    """The length of the intervals: as said, else the most frequent distance of two times."""
    if mapping.interval_minutes is not None:
        length = mapping.interval_minutes * _MINUTE_MS
    else:
        distances = np.diff(np.unique(np.array(times, np.int64)))
        if not len(distances):
            problems.add(kinds.NO_LENGTH)
            return None
        values, counts = np.unique(distances, return_counts=True)
        length = int(values[counts.argmax()])
    if not _MINUTE_MS <= length <= _LONGEST_MS:
        problems.add(kinds.TOO_LONG, minutes=f"{length / _MINUTE_MS:g}")
        return None
    return length


def _readings(
    column: Column,
    starts: Sequence[tuple[Row, int]],
    length_ms: int,
    mark: str,
    qualities: Mapping[str, Quality],
    problems: Problems,
) -> list[Reading]:
    """What a column says; an empty cell says that nothing was measured."""
    found = []
    for row, start in starts:
        text = row.cells[column.value]
        if text and not exact.is_number(text, mark):
            problems.add(kinds.VALUE, row.line, value=text, what=column.said.column)
            continue
        quality: Quality | None = Quality.ACTUAL
        if text and column.quality >= 0:
            word = row.cells[column.quality]
            quality = qualities.get(word)
            if quality is None:
                problems.add(kinds.QUALITY_WORD, row.line, word=word)
                continue
        if not text or quality is None or quality is Quality.NULL:
            text, quality = "", Quality.NULL
        found.append(Reading(start, length_ms, text.replace(mark, "."), quality, row.line))
    return found


def _mark(column: Column, rows: Sequence[Row], separator: str, problems: Problems) -> str | None:
    """The decimal mark of a column; None, and a problem, where nothing tells it from a separator of
    thousands: both occur, or only such as stand before three digits. Where a comma separates the
    columns, nobody separates thousands by a point.
    """
    texts = [text for row in rows if (text := row.cells[column.value])]
    commas = [text for text in texts if "," in text]
    points = [text for text in texts if "." in text]
    marked = commas or points
    plain = separator == "," and not commas
    if (commas and points) or (marked and not plain and all(map(_THOUSANDS.fullmatch, marked))):
        problems.add(kinds.DECIMAL_MARK, value=marked[0], what=f"column {column.said.column}")
        return None
    return "," if commas else "."

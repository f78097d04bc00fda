"""Parquet: a table whose columns have types; the same mapping as for CSV says what they mean.

Times with a zone are instants, without one they are local times of the mapping's zone. Numbers are
taken as they are written: decimals exactly, floating point by its shortest text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from devices.files import table
from devices.files.content import Content, Stream
from devices.files.mapping import ColumnMapping
from devices.files.opening import MAX_BYTES, check_count
from devices.files.problems import NotAMeterFileError, Problems, shown
from devices.files.table import MAX_COLUMNS, MAX_ROWS, Row

MAGIC: Final = b"PAR1"
# Rows that are decoded at once.
_BATCH: Final = 50_000


def read(
    data: bytes, mapping: ColumnMapping | None, problems: Problems
) -> tuple[dict[Stream, Content], Counter[str]]:
    """The streams of a Parquet file and what was ignored. Raises NotAMeterFileError."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        header = list(file.schema_arrow.names)
        _check(file, header)
        wanted = [name for name in header if name in _named(mapping)]
        rows = _rows(file, header, wanted)
    except (pa.ArrowException, OSError) as error:
        raise NotAMeterFileError(
            "damaged", "The Parquet file is damaged or incomplete. Ask for it again."
        ) from error
    # Its numbers have a decimal point, and nobody separates thousands.
    return table.take(header, rows, ",", mapping, problems)


def columns_of(data: bytes) -> list[str]:
    """The names of the columns. Raises NotAMeterFileError."""
    try:
        return list(pq.ParquetFile(pa.BufferReader(data)).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise NotAMeterFileError(
            "damaged", "The Parquet file is damaged or incomplete. Ask for it again."
        ) from error


def _check(file: Any, header: Sequence[str]) -> None:
    """Raises NotAMeterFileError for more than is read, before anything is unpacked."""
    metadata = file.metadata
    if len(header) > MAX_COLUMNS:
        raise NotAMeterFileError(
            "columns", f"The file has {len(header)} columns; at most {MAX_COLUMNS} are read."
        )
    if metadata.num_rows > MAX_ROWS:
        raise NotAMeterFileError(
            "too_many_rows",
            f"The table has more than {MAX_ROWS:,} rows. Split it and read the parts.",
        )
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > MAX_BYTES:
        raise NotAMeterFileError(
            "too_large",
            f"The file has more than {MAX_BYTES // 1_000_000} MB unpacked. Split it and read the"
            " parts.",
        )


def _named(mapping: ColumnMapping | None) -> set[str]:
    """The columns that a mapping names."""
    if mapping is None:
        return set()
    names = {mapping.time}
    for one in mapping.values:
        names |= {one.column, one.quality_column}
    return names - {""}


def _rows(file: Any, header: Sequence[str], wanted: Sequence[str]) -> list[Row]:
    """The rows as text, where a mapping names their columns; the others stay empty."""
    check_count(file.metadata.num_rows * max(1, len(wanted)))
    places = [header.index(name) for name in wanted]
    rows: list[Row] = []
    for batch in file.iter_batches(batch_size=_BATCH, columns=list(wanted)):
        # What is decoded may be more than the file has said.
        if len(rows) + batch.num_rows > MAX_ROWS:
            raise pa.ArrowInvalid("more rows than are told")
        columns = [_texts(name, batch.column(name)) for name in wanted]
        for texts in zip(*columns, strict=True):
            cells = [""] * len(header)
            for place, text in zip(places, texts, strict=True):
                cells[place] = text
            rows.append(Row(len(rows) + 1, cells))
    return rows


def _texts(name: str, column: Any) -> list[str]:
    """The cells of a column as text, '' for nothing. Raises NotAMeterFileError for a type that is
    none of a cell.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_timestamp(kind):
        return _times(column, kind)
    write: Callable[[Any], str]
    if pa.types.is_floating(kind):
        write = _floating(np.dtype(kind.to_pandas_dtype()))
    elif pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        write = str
    elif pa.types.is_decimal(kind):
        write = _plain
    else:
        raise NotAMeterFileError(
            "column_type",
            f"Column “{shown(name)}” has the type {kind}, which is neither a time nor a number nor"
            " a text. Write it as one of them.",
        )
    return ["" if value is None else write(value) for value in column.to_pylist()]


def _times(column: Any, kind: Any) -> list[str]:
    end = "Z" if kind.tz is not None else ""
    # Safe: finer times than a microsecond are refused as damaged rather than cut off.
    instants = column.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    texts = np.datetime_as_string(instants, unit="us")
    return ["" if text == "NaT" else f"{text}{end}" for text in texts.tolist()]


def _floating(dtype: np.dtype[Any]) -> Callable[[Any], str]:
    def write(value: float) -> str:
        if value != value:  # NaN: nothing was measured
            return ""
        return str(np.format_float_positional(dtype.type(value), trim="-"))

    return write


def _plain(value: Decimal) -> str:
    return f"{value:f}"

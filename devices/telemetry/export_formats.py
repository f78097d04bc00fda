"""History as files: columns in, bytes out, piece by piece. Arrow is the form in between.

A row has an instant, in UTC and in local time, and of each channel what it says there. Readings are
decimals, exactly as measured; what is computed is floating point. Every column carries what its
channel is as metadata, as UTF-8 text.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from devices.protocol.data import Int64s
from devices.telemetry.rollup import Floats

Form = Literal["csv", "parquet", "arrow"]
# What is handed on at once.
PIECE: Final = 4_000_000
# The most integers that a double tells apart: readings come as doubles.
_EXACT: Final = 2**53
_DIGITS: Final = 38
SUFFIX: Final[Mapping[Form, str]] = {"csv": "csv.gz", "parquet": "parquet", "arrow": "arrows"}
MEDIA_TYPE: Final[Mapping[Form, str]] = {
    "csv": "application/gzip",
    "parquet": "application/vnd.apache.parquet",
    "arrow": "application/vnd.apache.arrow.stream",
}
_LOCAL: Final = "%Y-%m-%dT%H:%M:%S%z"


class NotExactlyError(ValueError):
    """Readings that a file cannot hold exactly; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Field:
    """A column of values. `resolution` None: floating point; else multiples of it, exactly."""

    name: str
    resolution: Decimal | None
    facts: Mapping[str, str]


class Sink(Protocol):
    """Takes the bytes of a file in order."""

    def __call__(self, piece: bytes) -> None:
        """Take the next bytes."""
        ...


class _Pieces:
    """A file for writers: hands on what has been written, in pieces."""

    closed = False

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._waiting = bytearray()

    def write(self, data: Any) -> int:
        self._waiting += memoryview(data)
        if len(self._waiting) >= PIECE:
            self.hand_on()
        return len(data)

    def hand_on(self) -> None:
        if self._waiting:
            self._sink(bytes(self._waiting))
            self._waiting = bytearray()

    def flush(self) -> None:
        """Nothing: pieces are handed on when they are full, and at the end."""

    def close(self) -> None:
        self.closed = True

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class Writer:
    """Writes rows into a file of one form; `close` ends the file."""

    def __init__(
        self,
        form: Form,
        fields: Sequence[Field],
        *,
        zone: str,
        facts: Mapping[str, str],
        sink: Callable[[bytes], None],
        with_end: bool,
    ) -> None:
        self._form = form
        self._fields = fields
        times = [pa.field("time_utc", pa.timestamp("ms", "UTC"))]
        if with_end:
            times.append(pa.field("end_utc", pa.timestamp("ms", "UTC")))
        times.append(pa.field("time_local", pa.timestamp("ms", zone)))
        self._times = len(times)
        self.schema = pa.schema(
            [
                *times,
                *(pa.field(one.name, _type(one), metadata=dict(one.facts)) for one in fields),
            ],
            metadata=dict(facts),
        )
        self._pieces = _Pieces(sink)
        self._packed: gzip.GzipFile | None = None
        self._writer: Any = self._opened()

    def _opened(self) -> Any:
        match self._form:
            case "parquet":
                return pq.ParquetWriter(
                    self._pieces, self.schema, compression="zstd", store_decimal_as_integer=True
                )
            case "arrow":
                return pa.ipc.new_stream(self._pieces, self.schema)
            case _:
                # Without a time in its header: the same export is the same file.
                self._packed = gzip.GzipFile(
                    fileobj=self._pieces, mode="wb", compresslevel=4, mtime=0
                )
                shape = pa.schema(
                    [
                        pa.field(field.name, pa.string() if at < self._times else field.type)
                        for at, field in enumerate(self.schema)
                    ]
                )
                return pyarrow.csv.CSVWriter(
                    self._packed,
                    shape,
                    write_options=pyarrow.csv.WriteOptions(quoting_style="needed"),
                )

    def write(self, starts: Int64s, ends: Int64s | None, columns: Sequence[Any]) -> None:
        """Rows at `starts` (ms since the Unix epoch); `columns` from `exactly` or `plainly`."""
        if not len(starts):
            return
        instants = [starts] if ends is None else [starts, ends]
        times = [pa.array(one, pa.timestamp("ms", "UTC")) for one in (*instants, starts)]
        times[-1] = times[-1].cast(self.schema.field("time_local").type)
        if self._form == "csv":
            times = [
                *(_utc_texts(one) for one in times[:-1]),
                pc.strftime(times[-1], format=_LOCAL),
            ]
            arrays = [*times, *columns]
            self._writer.write(pa.table(arrays, names=self.schema.names))
            return
        table = pa.Table.from_arrays([*times, *columns], schema=self.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        """End the file and hand on what is left of it."""
        self._writer.close()
        if self._packed is not None:
            self._packed.close()
        self._pieces.hand_on()


def exactly(values: Floats, present: NDArray[np.bool_], field: Field) -> Any:
    """Readings as decimals: `values` (n,) are multiples of the field's resolution where `present`.
    Raises NotExactlyError.
    """
    assert field.resolution is not None
    numerator, denominator = field.resolution.as_integer_ratio()
    raw = np.rint(np.where(present, values, 0.0) * denominator / numerator)
    if len(raw) and np.abs(raw).max() >= _EXACT:
        raise NotExactlyError(
            f"“{field.name}” has values of more than 15 digits, which cannot be written exactly."
        )
    decimals = _decimals(field.resolution)
    step = int(field.resolution.scaleb(decimals))
    # 2⁵³ times what a resolution has of digits may be beyond 64 bits.
    low = raw.astype(np.int64)
    if len(low) and int(np.abs(low).max()) * step < 2**63:
        scaled = low * step
        words = np.empty((len(low), 2), np.int64)
        words[:, 0], words[:, 1] = scaled, scaled >> 63
        mask = pa.array(present).buffers()[1]
        return pa.Array.from_buffers(_type(field), len(low), [mask, pa.py_buffer(words)])
    texts = [
        Decimal(number * step).scaleb(-decimals) if there else None
        for number, there in zip(low.tolist(), present.tolist(), strict=True)
    ]
    return pa.array(texts, _type(field))


def plainly(values: Floats, present: NDArray[np.bool_] | None = None) -> Any:
    """What is computed: floating point, nothing where it is NaN."""
    unknown = np.isnan(values) if present is None else np.isnan(values) | ~present
    return pa.array(np.where(unknown, 0.0, values), pa.float64(), mask=unknown)


def _type(field: Field) -> Any:
    if field.resolution is None:
        return pa.float64()
    return pa.decimal128(_DIGITS, _decimals(field.resolution))


def _decimals(resolution: Decimal) -> int:
    exponent = resolution.normalize().as_tuple().exponent
    assert isinstance(exponent, int)  # a resolution is a number
    return max(0, -exponent)


def _utc_texts(times: Any) -> Any:
    return pc.strftime(times, format="%Y-%m-%dT%H:%M:%SZ")

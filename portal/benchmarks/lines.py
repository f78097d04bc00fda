"""Readings as lines of the InfluxDB line protocol, which both peers take.

meter,device=12 active_power=1234,voltage_l1=230.1 1774746000000
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from devices.protocol.data import Int64s

# What InfluxDB's documentation advises for a request.
BATCH_LINES: Final = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Readings of a device at common times: `times` (n,) in ms, `columns` (keys, n)."""

    device_id: int
    keys: tuple[str, ...]
    times: Int64s
    columns: Sequence[NDArray[np.float64]]


def batches(measurement: str, tables: Sequence[Table], rows: int) -> Iterator[bytes]:
    """Bodies of about BATCH_LINES lines as they arrive in operation: all devices, some rows of
    each, then the next ones. All tables have the same number of rows.
    """
    written = [_lines(measurement, table) for table in tables]
    held: list[str] = []
    for at in range(0, max(len(table.times) for table in tables), rows):
        for lines in written:
            held += lines[at : at + rows]
        while len(held) >= BATCH_LINES:
            yield "\n".join(held[:BATCH_LINES]).encode()
            del held[:BATCH_LINES]
    if held:
        yield "\n".join(held).encode()


def _lines(measurement: str, table: Table) -> list[str]:
    head = f"{measurement},device={table.device_id} "
    texts = [
        [f"{key}={number}" for number in _numbers(column)]
        for key, column in zip(table.keys, table.columns, strict=True)
    ]
    fields = map(",".join, zip(*texts, strict=True))
    return [f"{head}{row} {at}" for row, at in zip(fields, table.times.tolist(), strict=True)]


def _numbers(column: NDArray[np.float64]) -> Iterator[str]:
    """The shortest text of each number; a whole one needs no fraction to be one."""
    for number in column.tolist():
        text = repr(number)
        yield text.removesuffix(".0")

"""Parquet says the same as the table that it was made of."""

from __future__ import annotations

import io
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.files import parquet
from devices.files.content import Instants, Intervals, MeterFile, Quality
from devices.files.mapping import ColumnMapping, ValueColumn
from devices.files.problems import NotAMeterFileError
from devices.files.reading import read_meter_file

START = datetime(2024, 1, 31, 12, tzinfo=UTC)
KWH = ColumnMapping(time="time", values=(ValueColumn("In (kWh)", quality_column="Q"),))


def packed(columns: dict[str, Any]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def read(columns: dict[str, Any], mapping: ColumnMapping | None = KWH) -> MeterFile:
    return read_meter_file(packed(columns), name="file.parquet", mapping=mapping)


def times(count: int, zone: str | None = "UTC") -> Any:
    moments = [(START + timedelta(minutes=15 * n)).replace(tzinfo=None) for n in range(count)]
    return pa.array(moments, pa.timestamp("ms", zone))


def test_intervals_with_their_quality() -> None:
    values = pa.array([Decimal("0.125"), None, Decimal("1.500")], pa.decimal128(9, 3))
    found = read({"time": times(3), "In (kWh)": values, "Q": ["A", "A", "E"]})
    assert (found.format, found.problems) == ("parquet", ())
    (content,) = found.streams.values()
    assert isinstance(content, Intervals)
    assert (content.raw * float(content.resolution)).tolist() == [125.0, 0.0, 1500.0]
    assert content.start_ms.tolist() == [
        round((START + timedelta(minutes=15 * n)).timestamp() * 1000) for n in range(3)
    ]
    assert content.quality.tolist() == [Quality.ACTUAL, Quality.NULL, Quality.ESTIMATED]


def test_times_without_a_zone_are_those_of_the_mapping() -> None:
    mapping = ColumnMapping(time="t", zone="Europe/Vienna", values=(ValueColumn("v", "Wh"),))
    found = read({"t": times(2, None), "v": [1, 2]}, mapping)
    (content,) = found.streams.values()
    assert isinstance(content, Intervals)
    assert content.start_ms[0] == (START - timedelta(hours=1)).timestamp() * 1000


@given(
    st.lists(st.integers(-1_000_000, 1_000_000), min_size=1, max_size=20),
    st.sampled_from([pa.float32(), pa.float64()]),
)
def test_floating_point_is_read_by_its_shortest_text(thousandths: list[int], kind: Any) -> None:
    values = [one / 1000 for one in thousandths]
    dtype = np.dtype(kind.to_pandas_dtype())
    mapping = ColumnMapping(time="t", stamp="instant", values=(ValueColumn("v", "V"),))
    moments = [START + timedelta(seconds=n) for n in range(len(values))]
    data = packed({"t": pa.array(moments, pa.timestamp("us", "UTC")), "v": pa.array(values, kind)})
    found = read_meter_file(data, name="f", mapping=mapping)
    wanted = [Decimal(np.format_float_positional(dtype.type(one), trim="-")) for one in values]
    (content,) = found.streams.values()
    assert isinstance(content, Instants)
    assert [raw * content.resolution for raw in content.raw.tolist()] == wanted


def test_without_a_mapping_its_columns_are_told() -> None:
    with pytest.raises(NotAMeterFileError, match="“time”, “v”") as raised:
        read({"time": times(1), "v": [1.0]}, None)
    assert raised.value.code == "no_mapping"


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"time": times(1), "In (kWh)": [[1.0]], "Q": ["A"]}, "column_type"),
        ({"time": times(1), "In (kWh)": [1.0]}, "no_column"),
        ({f"c{n}": [1] for n in range(201)}, "columns"),
    ],
)
def test_what_is_no_table_of_values_is_refused_by_name(columns: dict[str, Any], code: str) -> None:
    with pytest.raises(NotAMeterFileError) as raised:
        read(columns)
    assert raised.value.code == code


@given(st.data())
def test_damaged_file_is_refused_and_nothing_else_happens(data: st.DataObject) -> None:
    whole = packed({"time": times(3), "In (kWh)": [1.0, 2.0, 3.0], "Q": ["A"] * 3})
    body = bytearray(whole[: data.draw(st.integers(4, len(whole)))])
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(4, max(4, len(body) - 1))) % len(body)] = data.draw(
            st.integers(0, 255)
        )
    if not bytes(body).startswith(parquet.MAGIC):
        return
    # Whatever is in it, no other error comes out.
    with suppress(NotAMeterFileError):
        read_meter_file(bytes(body), name="f", mapping=KWH)


def test_more_rows_than_are_read_are_refused_before_unpacking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parquet, "MAX_ROWS", 2)
    with pytest.raises(NotAMeterFileError) as raised:
        read({"time": times(3), "In (kWh)": [1.0, 2.0, 3.0], "Q": ["A"] * 3})
    assert raised.value.code == "too_many_rows"

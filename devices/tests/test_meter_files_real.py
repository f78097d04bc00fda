"""Meter data files of utilities give the totals that were computed for them, or a named error."""

import csv
import gzip
import os
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from devices.files.content import Intervals, MeterFile, Quality, Reads, Stream
from devices.files.mapping import ColumnMapping, ValueColumn
from devices.files.nem import AEST
from devices.files.problems import NotAMeterFileError, Severity
from devices.files.reading import read_meter_file

DATA = Path(os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data")
FILES = DATA / "meter-file-formats"
YEAR = DATA / "meter-15min-at"
pytestmark = pytest.mark.skipif(
    not (FILES.is_dir() and YEAR.is_dir()),
    reason="the meter data files are absent: set WATTLINE_DATA to their folder",
)
SCALE = {"wh": 1, "varh": 1, "kwh": 1000, "kvarh": 1000, "": 1}
SIGNS = "AESFN"


def names(folder: str) -> list[str]:
    return sorted(path.name for path in (FILES / folder).glob("*")) if FILES.is_dir() else []


def expected(table: str, name: str) -> list[dict[str, str]]:
    with (FILES / table).open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["file"] == name]


def read(folder: str, name: str, mapping: ColumnMapping | None = None) -> MeterFile:
    return read_meter_file((FILES / folder / name).read_bytes(), name=name, mapping=mapping)


def codes(found: MeterFile) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in found.problems]


@pytest.mark.parametrize("name", names("nem12"))
def test_nem12_file_gives_its_totals(name: str) -> None:
    found = read("nem12", name)
    got = []
    for stream, content in found.streams.items():
        assert isinstance(content, Intervals)
        for length in np.unique(content.length_ms).tolist():
            chosen = content.length_ms == length
            raw = sum(content.raw[chosen].tolist())
            days = sorted(
                datetime.fromtimestamp(at / 1000, AEST).strftime("%Y%m%d")
                for at in content.start_ms[chosen].tolist()
            )
            got.append(
                (
                    stream.meter,
                    stream.suffix,
                    stream.unit,
                    length // 60_000,
                    len(set(days)),
                    days[0],
                    days[-1],
                    raw * content.resolution,
                )
            )
            # Every interval of every day, one after the other.
            assert len(days) == len(set(days)) * 86_400_000 // length
        assert (np.diff(content.start_ms) >= content.length_ms[:-1]).all()
    wanted = [
        (
            row["nmi"],
            row["suffix"],
            {"wh": "Wh", "varh": "varh", "": "V"}[row["unit"].lower().removeprefix("k")],
            int(row["interval_min"]),
            int(row["day_records"]),
            row["first_day"],
            row["last_day"],
            Decimal(row["sum_of_values"]) * SCALE[row["unit"].lower()],
        )
        for row in expected("nem12_expected_totals.csv", name)
    ]
    assert sorted(got) == sorted(wanted)
    assert found.acceptable
    assert {problem.severity for problem in found.problems} <= {Severity.WARN}


def test_nem12_day_of_varying_quality_has_that_of_each_interval() -> None:
    (content,) = read("nem12", "NEM12_000000000000008_CNRGYMDP_NEMMCO.csv").streams.values()
    assert isinstance(content, Intervals)
    assert "".join(SIGNS[code] for code in content.quality.tolist()) == (
        "A" * 10 + "S" * 30 + "S" * 8 + "S" + "F" * 39 + "A" * 8
    )


def test_nem12_counts_what_it_ignores() -> None:
    found = read("nem12", "NEM12_000000000000009_CNRGYMDP_NEMMCO.csv")
    assert dict(found.ignored) == {"500": 7}


@pytest.mark.parametrize("name", names("nem13"))
def test_nem13_file_gives_its_reads(name: str) -> None:
    found = read("nem13", name)
    got: Counter[tuple[object, ...]] = Counter()
    for stream, content in found.streams.items():
        assert isinstance(content, Reads)
        for i in range(len(content)):
            times = [
                datetime.fromtimestamp(at[i] / 1000, AEST).strftime("%Y%m%d%H%M%S")
                for at in (content.previous_ms.tolist(), content.current_ms.tolist())
            ]
            values = [
                int(raw[i]) * content.resolution / 1000
                for raw in (content.previous, content.current, content.quantity)
            ]
            qualities = (content.previous_quality[i], content.current_quality[i])
            signs = "".join(SIGNS[code] for code in qualities)
            got[
                stream.meter,
                stream.register,
                stream.suffix,
                stream.serial,
                {"import": "E", "export": "I", "none": ""}[stream.direction],
                *times,
                *values,
                signs,
            ] += 1
    wanted: Counter[tuple[object, ...]] = Counter(
        (
            row["nmi"],
            row["register"],
            row["nmi_suffix"],
            row["meter_serial"],
            row["direction"],
            row["previous_time"],
            row["current_time"],
            Decimal(row["previous_read"]),
            Decimal(row["current_read"]),
            Decimal(row["quantity"]),
            row["previous_quality"][0] + row["current_quality"][0],
        )
        for row in expected("nem13_expected_reads.csv", name)
    )
    assert got == wanted
    told = {
        problem.line
        for problem in found.problems
        if problem.code in ("rolled_over", "negative_quantity", "quantity_differs")
    }
    odd = [
        row
        for row in expected("nem13_expected_reads.csv", name)
        if Decimal(row["quantity"]) != Decimal(row["current_minus_previous"])
    ]
    assert len(told) == len(odd)


@pytest.mark.parametrize(
    ("name", "code", "rolled_over"),
    [
        ("NEM13_000000000000013_CNRGYMDP_NEMMCO.csv", "rolled_over", True),
        ("NEM13_Scenario13_POWERMDP_NEMMCO.csv", "rolled_over", True),
        ("NEM13_000000000000012_CNRGYMDP_NEMMCO.csv", "negative_quantity", False),
        ("NEM13_Scenario12_POWERMDP_NEMMCO.csv", "negative_quantity", False),
        ("NEM13_000000000000011_CNRGYMDP_NEMMCO.csv", "quantity_differs", False),
    ],
)
def test_nem13_tells_which_quantity_is_no_plain_difference(
    name: str, code: str, rolled_over: bool
) -> None:
    found = read("nem13", name)
    assert codes(found) == [(code, 2)]
    (content,) = found.streams.values()
    assert isinstance(content, Reads)
    assert content.rolled_over.tolist() == [rolled_over]


def test_nem12_whose_lengths_do_not_fit_is_refused() -> None:
    found = read("invalid", "Example_NEM12_15min_200_30min_300.csv")
    assert codes(found) == [("value_count", 3), ("empty", None)]
    assert "values of 15 minutes are 96 a day, not 48" in found.problems[0].sentence
    assert not found.acceptable
    assert not found.streams


def test_nem12_without_readings_is_refused() -> None:
    found = read("invalid", "Example_NEM12_empty.csv")
    assert codes(found) == [("empty", None)]
    assert not found.acceptable


def test_nem12_day_without_values_is_not_read_as_zeros() -> None:
    found = read("invalid", "Example_NEM12_incomplete_interval.csv")
    assert codes(found) == [("no_values", 3)]
    totals = {stream.suffix: (len(one), one.total()) for stream, one in found.streams.items()}
    assert totals == {"E1": (48, Decimal(53_328)), "Q1": (96, Decimal(213_312))}


def test_nem12_without_header_is_no_meter_file() -> None:
    with pytest.raises(NotAMeterFileError, match="a record 100, is missing") as raised:
        read("invalid", "Example_NEM12_missing_header.csv")
    assert raised.value.code == "no_header"


@pytest.mark.parametrize("name", names("greenbutton"))
def test_green_button_file_gives_its_readings(name: str) -> None:
    found = read("greenbutton", name, ColumnMapping(unit="Wh", power_of_ten=-3))
    (row,) = expected("greenbutton_expected.csv", name)
    assert found.ignored.get("UsageSummary", 0) == int(row["usage_summaries"])
    if row["readings"] == "0":
        assert codes(found) == [("empty", None)]
        assert not found.streams
        return
    ((stream, content),) = found.streams.items()
    assert isinstance(content, Intervals)
    assert (stream.meter, stream.unit) == ("1", "Wh")
    assert len(content) == int(row["distinct_starts"])
    assert found.ignored["repeated readings"] == int(row["readings"]) - int(row["distinct_starts"])
    assert content.total() == Decimal(row["sum_of_distinct_values"]) / 1000
    ends = content.start_ms + content.length_ms
    assert content.start_ms[0] == int(row["first_start_epoch"]) * 1000
    assert ends[-1] == int(row["end_epoch"]) * 1000
    assert (ends[:-1] == content.start_ms[1:]).all()
    assert [problem.code for problem in found.problems] == ["unit_said"]


def test_green_button_without_a_unit_must_not_be_imported() -> None:
    found = read("greenbutton", "PGEIntervalBlock.xml.gz")
    assert [problem.code for problem in found.problems] == ["no_reading_type"]
    assert "shown as Wh, which is an assumption" in found.problems[0].sentence
    assert not found.acceptable


def test_green_button_tells_the_local_time() -> None:
    local = read("greenbutton", "PGELocalTimeParameters.xml").local_time
    assert local is not None
    assert (local.offset_s, local.summer_s) == (-28_800, 3_600)
    begins, ends = local.summer_begins, local.summer_ends
    assert begins is not None
    assert ends is not None
    # The second Sunday of March and the first of November, at two o'clock.
    assert (begins.month, begins.weekday, begins.occurrence, begins.hour) == (3, 7, 2, 2)
    assert (ends.month, ends.weekday, ends.occurrence, ends.hour) == (11, 7, 1, 2)


MONTHS = {
    "consumption-2024.csv.gz": "670.197 240.152 174.260 92.234 88.854 60.843 70.039 74.950 124.014"
    " 159.736 344.840 570.310",
    "feed-in-2024.csv.gz": "209.110 355.900 909.236 1188.636 1331.220 1651.689 1615.005 1485.264"
    " 874.930 541.520 164.899 100.859",
}


@pytest.mark.parametrize(
    ("name", "column", "total"),
    [
        ("consumption-2024.csv.gz", "Verbrauch (kWh)", "2670429"),
        ("feed-in-2024.csv.gz", "Einspeisung (kWh)", "10428268"),
    ],
)
def test_year_with_both_clock_changes_gives_its_months(name: str, column: str, total: str) -> None:
    mapping = ColumnMapping(
        time="Messzeitpunkt",
        values=(ValueColumn(column, direction="import", quality_column="Qualität"),),
        zone="Europe/Vienna",
        stamp="end",
        qualities={"G": Quality.ACTUAL},
    )
    found = read_meter_file((YEAR / name).read_bytes(), name=name, mapping=mapping)
    assert found.problems == ()
    ((stream, content),) = found.streams.items()
    assert isinstance(content, Intervals)
    assert stream == Stream("", column, "", "", "Wh", "import", "energy_import")
    assert len(content) == 366 * 96
    assert content.total() == Decimal(total)
    # Each quarter of an hour once, from the year's beginning to its end in Vienna.
    assert set(content.length_ms.tolist()) == {900_000}
    assert set(np.diff(content.start_ms).tolist()) == {900_000}
    begins = datetime(2024, 1, 1, tzinfo=ZoneInfo("Europe/Vienna")).astimezone(UTC)
    assert content.start_ms[0] == int(begins.timestamp()) * 1000
    months: Counter[int] = Counter()
    for at, raw in zip(content.start_ms.tolist(), content.raw.tolist(), strict=True):
        months[datetime.fromtimestamp(at / 1000, ZoneInfo("Europe/Vienna")).month] += raw
    wanted = [int(Decimal(text) * 1000) for text in MONTHS[name].split()]
    assert [months[month] for month in range(1, 13)] == wanted


def test_packed_once_more_gives_the_same() -> None:
    name = "Example_NEM12_month_solar.csv"
    data = (FILES / "nem12" / name).read_bytes()
    found = read_meter_file(gzip.compress(data[:9_000]) + gzip.compress(data[9_000:]), name=name)
    assert {stream.suffix: one.total() for stream, one in found.streams.items()} == {
        "B1": Decimal(589_172),
        "E1": Decimal(270_738),
    }

"""NEM12 and NEM13: the rules on small files, and what is written is what is read."""

from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.files.content import QUALITY_LETTERS, Intervals, MeterFile, Quality, Reads
from devices.files.nem import AEST
from devices.files.problems import MAX_PROBLEMS, NotAMeterFileError
from devices.files.reading import read_meter_file

HEADER = "100,NEM12,202401020304,MDA,RET"
ABOUT = "200,NMI1,E1,1,E1,N1,SER1,kWh,720,"
CUT = "ends_early"


def read(*lines: str, end: str = "900") -> MeterFile:
    return read_meter_file("\r\n".join((*lines, end)).encode(), name="file.csv")


def codes(found: MeterFile) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in found.problems]


def only(found: MeterFile) -> Intervals:
    (content,) = found.streams.values()
    assert isinstance(content, Intervals)
    return content


def aest_ms(year: int, month: int, day: int) -> int:
    return int(datetime(year, month, day, tzinfo=AEST).timestamp()) * 1000


def test_times_are_those_of_eastern_australia_without_summer_time() -> None:
    content = only(read(HEADER, ABOUT, "300,20240115,1,2,A,,,20240116000000,"))
    half = 12 * 3_600_000
    assert content.start_ms.tolist() == [aest_ms(2024, 1, 15), aest_ms(2024, 1, 15) + half]
    assert content.length_ms.tolist() == [half, half]
    assert aest_ms(2024, 1, 15) == 1_705_240_800_000  # 2024-01-14T14:00Z


@pytest.mark.parametrize(
    ("unit", "total", "canonical", "resolution"),
    [
        ("wh", "4", "Wh", "0.1"),
        ("kWh", "4000", "Wh", "1"),
        ("KWH", "4000", "Wh", "1"),
        ("mWh", "4000000", "Wh", "1"),
        ("kVArh", "4000", "varh", "1"),
        ("Kva", "4000", "VA", "1"),
        ("v", "4", "V", "0.1"),
    ],
)
def test_units_are_scaled_exactly(unit: str, total: str, canonical: str, resolution: str) -> None:
    found = read(HEADER, ABOUT.replace("kWh", unit), "300,20240115,1.5,2.50,A,,,,")
    (stream,) = found.streams
    assert stream.unit == canonical
    assert only(found).total() == Decimal(total)
    assert only(found).resolution == Decimal(resolution)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["300,20240115,1,2,A,,,,"], [("orphan", 2), ("empty", None)]),
        (["200,NMI1,E1,1"], [("fields", 2), ("empty", None)]),
        (["200,,E1,1,E1,N1,S,kWh,720,"], [("nameless", 2), ("empty", None)]),
        (["200,NMI1,E1,1,E1,N1,S,kWh,7,"], [("interval_length", 2), ("empty", None)]),
        (["200,NMI1,E1,1,E1,N1,S,stone,720,"], [("unit", 2), ("empty", None)]),
        (["200,NMI1,E1,1,E1,N1,S,,720,"], [("no_unit", 2), ("empty", None)]),
        ([ABOUT, "300,20240231,1,2,A,,,,"], [("date", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,1,2,3,A,,,,"], [("value_count", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,1,2"], [("no_quality", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,1,x,A,,,,"], [("value", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,1,,A,,,,"], [("value", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,,,A,,,,"], [("no_values", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,1,2,V,,,,"], [("quality_parts", 3), ("empty", None)]),
        ([ABOUT, "300,20240115,999999999999999999,2,A,,,,"], [("too_wide", 3), ("empty", None)]),
        (["777,a"], [("unknown_record", 2), ("empty", None)]),
        ([ABOUT, "400,1,2,A,,"], [("orphan", 3), ("empty", None)]),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(
    lines: list[str], expected: list[tuple[str, int | None]]
) -> None:
    assert codes(read(HEADER, *lines)) == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["300,20240115,1,2,A,,,,", "400,1,2,E,,"], [("stray_quality", 4)]),
        (["300,20240115,-1,2,A,,,,"], [("negative", 3)]),
        (["300,20240115,1,2,A,,,2024,"], [("update_time", 3)]),
    ],
)
def test_what_is_odd_is_read_and_told(
    lines: list[str], expected: list[tuple[str, int | None]]
) -> None:
    found = read(HEADER, ABOUT, *lines)
    assert codes(found) == expected
    assert len(only(found)) == 2


@pytest.mark.parametrize(
    "parts",
    [
        ["400,1,1,A,,"],
        ["400,1,2,A,,", "400,2,2,A,,"],
        ["400,1,3,A,,"],
        ["400,2,1,A,,"],
        ["400,0,2,A,,"],
        ["400,x,2,A,,"],
        ["400,1,2,A,,", "500,N,,,", "400,1,1,A,,"],
    ],
)
def test_parts_of_a_day_must_name_each_interval_once(parts: list[str]) -> None:
    found = read(HEADER, ABOUT, "300,20240115,1,2,V,,,,", *parts)
    first = found.problems[0]
    # The last case is complete, and what follows the record 500 belongs to no day.
    assert first.code == ("orphan" if len(parts) == 3 else "quality_parts")
    assert len(found.streams) == (len(parts) == 3)


def test_part_with_an_unknown_quality_refuses_its_day() -> None:
    found = read(HEADER, ABOUT, "300,20240115,1,2,V,,,,", "400,1,2,Z,,")
    assert codes(found) == [("quality", 4), ("quality_parts", 3), ("empty", None)]


def test_value_of_null_quality_is_no_reading() -> None:
    content = only(read(HEADER, ABOUT, "300,20240115,5,7,V,,,,", "400,1,1,N,,", "400,2,2,F14,,"))
    assert content.raw.tolist() == [0, 7_000]
    assert content.quality.tolist() == [Quality.NULL, Quality.FINAL_SUBSTITUTED]


@pytest.mark.parametrize(
    ("first", "second", "counts", "refused"),
    [
        ("20240116000000", "20240117000000", 40_000, 3),
        ("20240117000000", "20240116000000", 30_000, 5),
        ("202401170000", "20240116000000", 30_000, 5),
        ("20240116000000", "20240116000000", 40_000, 3),
        ("", "20240116000000", 40_000, 3),
        ("20240116000000", "", 30_000, 5),
    ],
)
def test_of_a_day_twice_the_one_updated_last_counts(
    first: str, second: str, counts: int, refused: int
) -> None:
    found = read(
        HEADER,
        ABOUT,
        f"300,20240115,10,20,A,,,{first},",
        ABOUT.replace("SER1", "SER2"),
        f"300,20240115,20,20,A,,,{second},",
    )
    assert codes(found) == [("twice", refused)]
    assert only(found).total() == counts


def test_file_that_ends_early_is_shown_but_refused() -> None:
    found = read(HEADER, ABOUT, end="300,20240115,1,2,A,,,,")
    assert codes(found) == [(CUT, None)]
    assert only(found).total() == 3_000
    assert not found.acceptable


def test_two_files_one_after_the_other_are_read_as_one() -> None:
    day = "300,20240115,1,2,A,,,,"
    found = read(HEADER, ABOUT, day, "900", HEADER, ABOUT, day.replace("15,", "16,"))
    assert found.problems == ()
    assert only(found).total() == 6_000


def test_line_after_the_end_is_told() -> None:
    found = read(HEADER, ABOUT, "300,20240115,1,2,A,,,,", "900", end=ABOUT)
    assert codes(found) == [("after_end", 5)]


def test_version_that_is_not_read_is_named() -> None:
    with pytest.raises(NotAMeterFileError, match=r"file.csv: The header says “NEM14”"):
        read("100,NEM14,202401020304,MDA,RET")


def test_problems_beyond_the_first_are_counted() -> None:
    found = read(HEADER, *["777,a"] * (MAX_PROBLEMS + 5))
    assert len(found.problems) == MAX_PROBLEMS + 1
    assert found.more_problems == 5
    # What concerns the whole file is never among those that are only counted.
    assert found.problems[-1].code == "empty"


NEM13 = "100,NEM13,202401020304,MDA,RET"
READ = (
    "250,NMI1,11,1,11,11,SER,E,{previous},{from_time},A,,,{current},{to_time},E52,,,{quantity}"
    ",kWh,,20240401000000,"
)
TIMES = {"from_time": "20240101000000", "to_time": "20240401000000"}


@pytest.mark.parametrize(
    ("previous", "current", "quantity", "expected"),
    [
        ("00100", "00150.5", "50.5", []),
        ("99990", "00010", "20", [("rolled_over", 2)]),
        ("99990", "00010", "-20", [("rolled_over", 2), ("negative_quantity", 2)]),
        ("00100", "00150", "-50", [("negative_quantity", 2)]),
        ("00100", "00150", "51", [("quantity_differs", 2)]),
        ("00100", "00150", "-51", [("quantity_differs", 2)]),
        ("99990", "0010", "20", [("quantity_differs", 2)]),
        ("00100", "x", "51", [("value", 2), ("empty", None)]),
    ],
)
def test_quantity_is_compared_with_the_reads(
    previous: str, current: str, quantity: str, expected: list[tuple[str, int | None]]
) -> None:
    line = READ.format(previous=previous, current=current, quantity=quantity, **TIMES)
    assert codes(read(NEM13, line)) == expected


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("20240401000000,E52", "20231231000000,E52", "backwards"),
        ("20240401000000,E52", "2024,E52", "date"),
        ("E52", "V", "quality"),
        (",SER,E,", ",SER,X,", "direction"),
        ("kWh", "", "no_unit"),
        ("kWh", "mph", "unit"),
        ("NMI1", "", "nameless"),
        (",,20240401000000,", ",,x,", "update_time"),
    ],
)
def test_read_that_cannot_be_read_is_refused_by_name(old: str, new: str, code: str) -> None:
    line = READ.format(previous="1", current="2", quantity="1", **TIMES)
    assert line.count(old) == 1
    found = read(NEM13, line.replace(old, new))
    assert codes(found)[0] == (code, 2)
    assert len(found.streams) == (code == "update_time")


@pytest.mark.parametrize(
    ("begins", "expected"),
    [("20240401000000", []), ("20240501000000", []), ("20240331000000", [("reads_overlap", 2)])],
)
def test_reads_that_overlap_are_told(begins: str, expected: list[tuple[str, int | None]]) -> None:
    line = READ.format(previous="1", current="2", quantity="1", **TIMES)
    later = {"from_time": begins, "to_time": "20240701000000"}
    next_line = READ.format(previous="2", current="4", quantity="2", **later)
    found = read(NEM13, next_line, line)
    assert codes(found) == expected
    (content,) = found.streams.values()
    assert content.total() == 3_000


def test_read_that_was_sent_again_counts_once() -> None:
    line = READ.format(previous="1", current="2", quantity="1", **TIMES)
    found = read(NEM13, line, "550,N,,R,", line)
    assert codes(found) == [("twice", 2)]
    assert dict(found.ignored) == {"550": 1}
    (content,) = found.streams.values()
    assert isinstance(content, Reads)
    assert content.total() == 1_000


VALUES = st.decimals(0, 100_000, places=4, allow_nan=False)
DAYS = st.dictionaries(
    st.dates(date(2001, 1, 1), date(2030, 1, 1)),
    st.tuples(
        st.sampled_from((5, 10, 15, 30)), st.sampled_from("AESFN"), st.integers(1, 287), st.data()
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(DAYS)
def test_what_is_written_is_read(
    days: dict[date, tuple[int, str, int, st.DataObject]],
) -> None:
    lines = [HEADER]
    expected: dict[int, tuple[int, Decimal, int]] = {}
    for day, (minutes, sign, cut, data) in days.items():
        n = 1_440 // minutes
        some = data.draw(st.lists(VALUES, min_size=1, max_size=12))
        values = [some[i % len(some)] for i in range(n)]
        cut = cut % n
        lines.append(f"200,NMI1,E1,1,E1,N1,SER1,kWh,{minutes},")
        flag = "V" if cut else sign
        lines.append(f"300,{day:%Y%m%d},{','.join(map(str, values))},{flag},,,,")
        if cut:
            lines += [f"400,1,{cut},{sign}51,79,", f"400,{cut + 1},{n},A,,"]
        begins = datetime(day.year, day.month, day.day, tzinfo=AEST)
        for i, value in enumerate(values):
            at = begins + timedelta(minutes=minutes * i)
            quality = QUALITY_LETTERS[sign if i < cut or not cut else "A"]
            shown = Decimal(0) if quality is Quality.NULL else value * 1_000
            expected[int(at.timestamp()) * 1000] = (minutes * 60_000, shown, quality)
    found = read(*lines)
    content = only(found)
    assert found.problems == ()
    got = zip(
        content.start_ms.tolist(),
        content.length_ms.tolist(),
        [raw * content.resolution for raw in content.raw.tolist()],
        content.quality.tolist(),
        strict=True,
    )
    wanted = [(at, *one) for at, one in sorted(expected.items())]
    assert [tuple(row) for row in got] == wanted

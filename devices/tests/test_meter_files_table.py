"""Tables: columns by a mapping, local times over both changes of the clocks."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from devices.files.content import Intervals, MeterFile, Quality
from devices.files.mapping import ColumnMapping, MappingError, ValueColumn, mapping_from
from devices.files.problems import NotAMeterFileError
from devices.files.reading import read_meter_file

QUARTER = timedelta(minutes=15)
VIENNA = ZoneInfo("Europe/Vienna")


def mapping(**fields: object) -> ColumnMapping:
    given = {"time": "time", "values": (ValueColumn("kWh", "kWh"),)} | fields
    return ColumnMapping(**given)  # type: ignore[arg-type]


def read(text: str, **fields: object) -> MeterFile:
    return read_meter_file(text.encode(), name="table.csv", mapping=mapping(**fields))


def table(*rows: str, header: str = "time;kWh") -> str:
    return "\n".join((header, *rows)) + "\n"


def codes(found: MeterFile) -> list[tuple[str, int | None]]:
    return [(problem.code, problem.line) for problem in found.problems]


def only(found: MeterFile) -> Intervals:
    (content,) = found.streams.values()
    assert isinstance(content, Intervals)
    return content


def starts(found: MeterFile) -> list[str]:
    return [
        datetime.fromtimestamp(at / 1000, UTC).strftime("%d %H:%M")
        for at in only(found).start_ms.tolist()
    ]


@pytest.mark.parametrize(
    ("stamps", "fields"),
    [
        (["2024-01-31 22:45", "2024-01-31T23:00", "2024-01-31 23:15:00"], {}),
        (["31.01.2024 22:45", "31.1.2024 23:00", "31.01.2024, 23:15:00"], {}),
        (["2024-01-31T22:45Z", "2024-02-01 00:00+01:00", "2024-01-31T18:15:00.000-0500"],
         {"zone": "Asia/Tokyo"}),
        (["1/31/24 10:45 PM", "1/31/24 11:00 PM", "1/31/24 11:15 PM"],
         {"time_form": "%m/%d/%y %I:%M %p"}),
        (["1706741100", "1706742000", "1706742900"], {"time_form": "unix"}),
        (["1706741100000", "1706742000000", "1706742900000"], {"time_form": "unix_ms"}),
        (["31.01.2024 23:00", "31.01.2024 23:15", "31.01.2024 23:30"], {"stamp": "end"}),
        (["31.01.2024 23:45", "31.01.2024 24:00", "01.02.2024 00:15"], {"zone": "Europe/Vienna"}),
    ],
)  # fmt: skip
def test_times_in_many_forms(stamps: list[str], fields: dict[str, object]) -> None:
    found = read(table(*(f"{stamp};1" for stamp in stamps)), **fields)
    assert found.problems == ()
    assert starts(found) == ["31 22:45", "31 23:00", "31 23:15"]
    assert only(found).length_ms.tolist() == [900_000] * 3


@pytest.mark.parametrize(
    ("texts", "fields", "values"),
    [
        (["1", "2,500", "1000"], {"decimal_mark": "."}, None),
        (["1.250", "12.000", "3"], {"decimal_mark": "."}, ["1250", "12000", "3000"]),
        (["1.250", "0.000", "3"], {}, ["1250", "0", "3000"]),
        (["1", "0,25", "1,000"], {}, ["1000", "250", "1000"]),
        (["1", "0.25", "1.000"], {}, ["1000", "250", "1000"]),
        (["1,000", "2,125", "3"], {"decimal_mark": ","}, ["1000", "2125", "3000"]),
        (["-1,5", "+2", ",5"], {}, ["-1500", "2000", "500"]),
        (["0,0000001", "2", "3"], {}, ["0.0001", "2000", "3000"]),
    ],
)
def test_values_are_exact(
    texts: list[str], fields: dict[str, object], values: list[str] | None
) -> None:
    rows = [f"2024-01-31 0{i}:00;{text}" for i, text in enumerate(texts)]
    found = read(table(*rows), **fields)
    if values is None:
        assert codes(found) == [("value", 3)]
        return
    content = only(found)
    assert [raw * content.resolution for raw in content.raw.tolist()] == list(map(Decimal, values))
    assert found.problems == ()


@pytest.mark.parametrize(
    "texts", [["1,250", "2,000"], ["1.250", "2.000"], ["1.250,5", "2"], ["1,250.5", "2,5"]]
)
def test_mark_that_could_be_either_is_refused(texts: list[str]) -> None:
    found = read(table(*(f"2024-01-31 0{i}:00;{text}" for i, text in enumerate(texts))))
    assert codes(found) == [("decimal_mark", None), ("empty", None)]
    assert not found.acceptable


def test_quoted_cells_and_commas_between_them() -> None:
    found = read(table('"2024-01-31 00:00","1,5"', '"2024-01-31 01:00","2,5"', header="time,kWh"))
    assert only(found).raw.tolist() == [1_500, 2_500]


def test_spring_change_leaves_no_hole() -> None:
    rows = ["31.03.2024 01:30;1", "31.03.2024 01:45;2", "31.03.2024 03:00;3", "31.03.2024 03:15;4"]
    found = read(table(*rows), zone="Europe/Vienna")
    assert found.problems == ()
    assert starts(found) == ["31 00:30", "31 00:45", "31 01:00", "31 01:15"]


def test_time_that_did_not_exist_is_refused_by_name() -> None:
    rows = ["31.03.2024 01:45;2", "31.03.2024 02:00;9", "31.03.2024 03:00;3"]
    found = read(table(*rows), zone="Europe/Vienna")
    assert codes(found) == [("time_missing", 3)]
    assert "31.03.2024 02:00 did not exist in Europe/Vienna" in found.problems[0].sentence
    assert only(found).raw.tolist() == [2_000, 3_000]


AUTUMN = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]


@pytest.mark.parametrize("downwards", [False, True])
def test_autumn_change_is_told_apart_by_the_order(downwards: bool) -> None:
    rows = [f"27.10.2024 {clock};{i}" for i, clock in enumerate(AUTUMN)]
    found = read(table(*(reversed(rows) if downwards else rows)), zone="Europe/Vienna")
    assert found.problems == ()
    assert starts(found) == ["26 23:30", "27 00:00", "27 00:30", "27 01:00", "27 01:30", "27 02:00"]
    assert only(found).raw.tolist() == [i * 1_000 for i in range(6)]


@pytest.mark.parametrize(
    ("clocks", "refused"),
    [
        (["01:30", "02:00", "02:30", "03:00", "03:30"], [3, 4]),
        (["01:30", "02:00", "02:00", "02:30", "02:30", "03:00", "03:30"], [3, 4, 5, 6]),
        # A row that has changed places is no second hour, nor is the file once more.
        (["01:30", "02:30", "02:00", "03:00", "03:30"], [3, 4]),
        (["01:30", "02:00", "03:00", "02:00", "03:30"], [3, 5]),
        (["01:30", "02:00", "02:30", "02:00", "03:00", "03:30"], [3, 4, 5]),
    ],
)
def test_autumn_times_without_both_hours_are_refused_by_name(
    clocks: list[str], refused: list[int]
) -> None:
    rows = [f"27.10.2024 {clock};1" for clock in clocks]
    found = read(table(*rows), zone="Europe/Vienna")
    assert codes(found) == [("time_ambiguous", line) for line in refused]
    assert "was twice in Europe/Vienna" in found.problems[0].sentence
    assert len(only(found)) == len(clocks) - len(refused)


def test_two_autumns_in_one_file_are_two_changes() -> None:
    rows = [f"29.10.2023 {clock};1" for clock in AUTUMN] + [
        f"27.10.2024 {clock};1" for clock in AUTUMN
    ]
    found = read(table(*rows), zone="Europe/Vienna")
    assert found.problems == ()
    assert len(only(found)) == 12


def test_qualities_are_what_the_mapping_says() -> None:
    rows = ["2024-01-31 00:00;1;G", "2024-01-31 01:00;2;X", "2024-01-31 02:00;3;E",
            "2024-01-31 03:00;4;N", "2024-01-31 04:00;;"]  # fmt: skip
    found = read(
        table(*rows, header="time;kWh;Q"),
        values=(ValueColumn("kWh", "kWh", quality_column="Q"),),
        qualities={"G": Quality.ACTUAL, "E": Quality.ESTIMATED, "N": Quality.NULL},
    )
    assert codes(found) == [("quality_word", 3)]
    content = only(found)
    assert content.raw.tolist() == [1_000, 3_000, 0, 0]
    assert content.quality.tolist() == [
        Quality.ACTUAL,
        Quality.ESTIMATED,
        Quality.NULL,
        Quality.NULL,
    ]


def test_unit_in_a_heading_that_is_not_known_refuses_its_column() -> None:
    rows = ["2024-01-31 00:00;1", "2024-01-31 01:00;2"]
    found = read(table(*rows, header="time;Out (mV)"), values=(ValueColumn("Out (mV)"),))
    assert codes(found) == [("unit", 1), ("empty", None)]


def test_columns_are_streams_of_their_own() -> None:
    columns = (
        ValueColumn("In (kWh)", direction="import"),
        ValueColumn("Out", "Wh", "export"),
    )
    rows = ["2024-01-31 00:00;1;7", "2024-01-31 01:00;2;8"]
    found = read(table(*rows, header="time;In (kWh);Out"), values=columns, meter="AT01")
    assert [
        (s.meter, s.register, s.quantity, int(c.total())) for s, c in found.streams.items()
    ] == [
        ("AT01", "In (kWh)", "energy_import", 3_000),
        ("AT01", "Out", "energy_export", 15),
    ]


@pytest.mark.parametrize(
    ("rows", "fields", "expected"),
    [
        (["2024-01-31 00:00;1", "soon;2"], {"interval_minutes": 60}, [("time", 3)]),
        (["2024-01-31 00:00;1", "1970-01-31 00:00;2"], {"interval_minutes": 60}, [("time", 3)]),
        (["2024-01-31 00:00;1", "2024-01-31 01:00"], {"interval_minutes": 60}, [("cells", 3)]),
        (["2024-01-31 00:00;1", "2024-01-31 01:00;x"], {}, [("value", 3)]),
        (["2024-01-31 00:00;1"] * 2, {"interval_minutes": 60}, []),
        (["2024-01-31 00:00;1", "2024-01-31 00:00;2"], {"interval_minutes": 60},
         [("disagree", 3), ("empty", None)]),
        (["2024-01-31 00:00;1"], {}, [("no_length", None), ("empty", None)]),
        (["2024-01-31 00:00;1", "2024-02-01 00:00;1"], {}, [("too_long", None), ("empty", None)]),
        (["2024-01-31 00:00;1", "2024-01-31 00:30;1"], {"interval_minutes": 60},
         [("overlap", None), ("empty", None)]),
        (["2024-01-31 00:00;1", "2024-01-31 01:00;1"], {"values": (ValueColumn("kWh"),)},
         [("no_unit", 1), ("empty", None)]),
        ([], {}, [("no_length", None), ("empty", None)]),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(
    rows: list[str], fields: dict[str, object], expected: list[tuple[str, int | None]]
) -> None:
    assert codes(read(table(*rows), **fields)) == expected


@pytest.mark.parametrize(
    ("text", "fields", "code"),
    [
        (table(header="when;kWh"), {}, "no_column"),
        (table(header="time;kWh;kWh"), {}, "column_twice"),
        (table('2024-01-31 00:00;"1'), {}, "quotation"),
        ("hello\nworld\n", {}, "not_a_table"),
        (table(), {"time": ""}, "no_mapping"),
        (table(header=";".join(map(str, range(201)))), {}, "columns"),
        ("\0;1", {}, "not_text"),
        (" \n", {}, "no_content"),
    ],
)
def test_what_is_no_table_is_refused_by_name(
    text: str, fields: dict[str, object], code: str
) -> None:
    with pytest.raises(NotAMeterFileError) as raised:
        read(text, **fields)
    assert raised.value.code == code


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings_of_spreadsheets(encoding: str) -> None:
    text = table("2024-01-31 00:00;1", "2024-01-31 01:00;2", header="time;Wärme (kWh)")
    columns = (ValueColumn("Wärme (kWh)"),)
    found = read_meter_file(text.encode(encoding), name="a.csv", mapping=mapping(values=columns))
    assert only(found).total() == 3_000


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "The mapping must be a JSON object."),
        ({"tme": "x"}, "The mapping has “tme”, which is not known."),
        ({"time": 1}, "“time” must be a text."),
        ({"zone": "Vienna"}, "“Vienna” is no time zone."),
        ({"zone": "../x"}, "“../x” is no time zone."),
        ({"stamp": "middle"}, "“middle” is no stamp. Write one of “start”, “end”, “instant”."),
        ({"time_form": "%H:%M"}, "“%H:%M” is no form of a time"),
        ({"time_form": "%d.%m.%Y %H:%Q"}, "is no form of a time"),
        ({"values": {}}, "“values” must be a list"),
        ({"values": [{}]}, "names no column"),
        ({"values": [{"column": "a"}, {"column": "a"}]}, "named more than once"),
        ({"values": [{"column": "a", "direction": "up"}]}, "“up” is no direction."),
        ({"qualities": {"G": "good"}}, "“good” is no quality."),
        ({"interval_minutes": "15"}, "“15” must be a whole number."),
        ({"unit": "stone"}, "“stone” is no unit"),
        ({"values": [{"column": "a", "unit": "mV"}]}, "“mV” is no unit"),
        ({"power_of_ten": 99}, "between -12 and 12"),
        ({"decimal_mark": ";"}, "“;” is no decimal_mark."),
    ],
)
def test_mapping_that_cannot_be_used_is_refused_by_name(document: object, sentence: str) -> None:
    with pytest.raises(MappingError) as raised:
        mapping_from(document)
    assert sentence in str(raised.value)


def test_mapping_from_json() -> None:
    found = mapping_from(
        {
            "time": "t",
            "zone": "Europe/Vienna",
            "stamp": "end",
            "interval_minutes": 15,
            "values": [{"column": "v", "unit": "kWh", "direction": "import"}],
            "qualities": {"G": "actual"},
        }
    )
    assert found.values == (ValueColumn("v", "kWh", "import"),)
    assert (found.time, found.stamp, found.interval_minutes) == ("t", "end", 15)
    assert found.qualities["G"] is Quality.ACTUAL
    assert found.qualities["E"] is Quality.ESTIMATED


# The days on which clocks change in the zones below.
CHANGES = [
    datetime(2024, month, day, tzinfo=UTC)
    for month, day in ((3, 10), (3, 31), (4, 7), (10, 6), (10, 27), (11, 3))
]


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(CHANGES),
    st.integers(-30, 30),
    st.integers(8, 72),
    st.sampled_from(("Europe/Vienna", "America/New_York", "Australia/Sydney", "Asia/Kolkata")),
    st.sampled_from(("start", "end")),
    st.booleans(),
    st.lists(st.decimals(-1_000, 1_000, places=5, allow_nan=False), min_size=1, max_size=9),
)
def test_local_times_that_are_written_are_read(
    change: datetime,
    hours: int,
    count: int,
    zone: str,
    stamp: str,
    downwards: bool,
    values: list[Decimal],
) -> None:
    """Every quarter of an hour of a span that begins and ends outside of a repeated hour."""
    begin = change + timedelta(hours=hours)
    instants = [begin + QUARTER * i for i in range(count * 4)]
    shift = QUARTER if stamp == "end" else timedelta()
    walls = [(at + shift).astimezone(ZoneInfo(zone)) for at in instants]
    for wall in (walls[0], walls[-1]):
        assume(wall.replace(fold=0).utcoffset() == wall.replace(fold=1).utcoffset())
    told = [values[i % len(values)] for i in range(len(instants))]
    rows = [
        f"{wall:%d.%m.%Y %H:%M};{str(value).replace('.', ',')}"
        for wall, value in zip(walls, told, strict=True)
    ]
    found = read(
        table(*(reversed(rows) if downwards else rows)),
        zone=zone,
        stamp=stamp,
        interval_minutes=15,
        decimal_mark=",",
    )
    assert found.problems == ()
    content = only(found)
    assert content.start_ms.tolist() == [int(at.timestamp()) * 1000 for at in instants]
    assert [raw * content.resolution for raw in content.raw.tolist()] == [v * 1_000 for v in told]

"""Green Button: the rules on small feeds."""

from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.files.content import Intervals, MeterFile, Quality
from devices.files.green_button import clock_rule
from devices.files.mapping import ColumnMapping
from devices.files.problems import NotAMeterFileError
from devices.files.reading import read_meter_file

AT = 1_704_067_200  # 2024-01-01T00:00:00Z
POINT = "https://x.example/espi/1_1/resource/Subscription/7/UsagePoint/p1"
HOUR = 3_600


def feed(*entries: str) -> str:
    inside = "".join(f"<entry>{entry}</entry>" for entry in entries)
    return (
        f'<feed xmlns="http://www.w3.org/2005/Atom" xmlns:e="http://naesb.org/espi">{inside}</feed>'
    )


def link(rel: str, path: str) -> str:
    return f'<link rel="{rel}" href="{POINT}/{path}"/>'


def meter_reading(name: str = "m1", reading_type: str = "t1") -> str:
    return (
        link("self", f"MeterReading/{name}")
        + link("related", f"../../ReadingType/{reading_type}")
        + "<content><e:MeterReading/></content>"
    )


def reading_type(name: str = "t1", /, **fields: object) -> str:
    said = {"uom": 72, "powerOfTenMultiplier": 0, "flowDirection": 1} | fields
    inside = "".join(f"<e:{key}>{value}</e:{key}>" for key, value in said.items())
    own = link("self", f"../../ReadingType/{name}")
    return f"{own}<content><e:ReadingType>{inside}</e:ReadingType></content>"


def reading(start: object, value: object, duration: object = HOUR, quality: str = "") -> str:
    said = f"<e:ReadingQuality><e:quality>{quality}</e:quality></e:ReadingQuality>"
    return (
        f"<e:IntervalReading>{said if quality else ''}<e:timePeriod><e:duration>{duration}"
        f"</e:duration><e:start>{start}</e:start></e:timePeriod><e:value>{value}</e:value>"
        "</e:IntervalReading>"
    )


def block(*readings: str, name: str = "m1") -> str:
    return (
        link("up", f"MeterReading/{name}/IntervalBlock")
        + f"<content><e:IntervalBlock>{''.join(readings)}</e:IntervalBlock></content>"
    )


def read(*entries: str, mapping: ColumnMapping | None = None) -> MeterFile:
    return read_meter_file(feed(*entries).encode(), name="feed.xml", mapping=mapping)


def codes(found: MeterFile) -> list[tuple[str, str]]:
    return [(problem.code, problem.path) for problem in found.problems]


def only(found: MeterFile) -> Intervals:
    (content,) = found.streams.values()
    assert isinstance(content, Intervals)
    return content


ONE = block(reading(AT, 5))


@pytest.mark.parametrize(
    ("fields", "unit", "direction", "quantity", "total"),
    [
        ({}, "Wh", "import", "energy_import", "5"),
        ({"flowDirection": 19}, "Wh", "export", "energy_export", "5"),
        ({"flowDirection": 4}, "Wh", "none", None, "5"),
        ({"powerOfTenMultiplier": -3}, "Wh", "import", "energy_import", "0.005"),
        ({"powerOfTenMultiplier": 3, "accumulationBehaviour": 4}, "Wh", "import", "energy_import",
         "5000"),
        ({"uom": 73}, "varh", "import", "reactive_energy", "5"),
        ({"uom": 38, "accumulationBehaviour": 12}, "W", "import", "active_power", "5"),
    ],
)  # fmt: skip
def test_reading_type_says_what_is_measured(
    fields: dict[str, object], unit: str, direction: str, quantity: str | None, total: str
) -> None:
    found = read(meter_reading(), reading_type(**fields), ONE)
    (stream,) = found.streams
    assert (stream.meter, stream.register) == ("p1", "m1")
    assert (stream.unit, stream.direction, stream.quantity) == (unit, direction, quantity)
    assert only(found).total() == Decimal(total)
    assert found.problems == ()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"uom": 169}, "“169” as uom"),
        ({"uom": ""}, "“” as uom"),
        ({"powerOfTenMultiplier": "x"}, "“x” as powerOfTenMultiplier"),
        ({"accumulationBehaviour": 3}, "“3” as accumulationBehaviour"),
    ],
)
def test_reading_type_that_cannot_be_read_refuses_its_readings(
    fields: dict[str, object], sentence: str
) -> None:
    found = read(meter_reading(), reading_type(**fields), ONE)
    assert codes(found) == [("reading_type", "entry 2, ReadingType"), ("empty", "")]
    assert sentence in found.problems[0].sentence


def test_each_meter_reading_has_its_own_type() -> None:
    found = read(
        meter_reading("m1", "t2"),
        meter_reading("m2", "t1"),
        reading_type("t1", uom=73),
        reading_type("t2"),
        block(reading(AT, 1)),
        block(reading(AT, 2), name="m2"),
    )
    units = {(stream.register, stream.unit): one.total() for stream, one in found.streams.items()}
    assert units == {("m1", "Wh"): 1, ("m2", "varh"): 2}
    assert found.problems == ()


def test_only_reading_type_is_taken_and_told() -> None:
    found = read(reading_type(powerOfTenMultiplier=3), ONE)
    assert codes(found) == [("only_reading_type", "Meter reading m1")]
    assert only(found).total() == 5_000


def test_reading_type_that_the_feed_has_left_out_is_missing() -> None:
    found = read(meter_reading("m1", "t9"), reading_type("t1", powerOfTenMultiplier=3), ONE)
    assert codes(found) == [("no_reading_type", "Meter reading m1")]
    assert not found.acceptable


def test_missing_reading_type_is_an_assumption_until_it_is_said() -> None:
    found = read(ONE)
    assert [problem.code for problem in found.problems] == ["no_reading_type"]
    assert not found.acceptable
    said = read(ONE, mapping=ColumnMapping(unit="kWh", power_of_ten=-2, direction="export"))
    assert [problem.code for problem in said.problems] == ["unit_said"]
    assert "kWh × 10^-2" in said.problems[0].sentence
    assert said.acceptable
    (stream,) = said.streams
    assert stream.quantity == "energy_export"
    assert only(said).total() == 50


def test_repeated_reading_counts_once() -> None:
    twice = block(reading(AT, 5), reading(AT + HOUR, 6))
    found = read(meter_reading(), reading_type(), ONE, twice, twice)
    assert only(found).start_ms.tolist() == [AT * 1000, (AT + HOUR) * 1000]
    assert only(found).raw.tolist() == [5, 6]
    assert dict(found.ignored) == {"repeated readings": 3}
    assert found.problems == ()


def test_repeat_that_disagrees_leaves_the_time_out() -> None:
    found = read(meter_reading(), reading_type(), ONE, block(reading(AT, 6), reading(AT + HOUR, 7)))
    assert codes(found) == [("disagree", "entry 4, IntervalReading 1")]
    assert "2024-01-01 00:00 UTC" in found.problems[0].sentence
    assert only(found).raw.tolist() == [7]


def test_overlapping_readings_are_refused_together() -> None:
    found = read(meter_reading(), reading_type(), ONE, block(reading(AT + 900, 6)))
    assert codes(found) == [("overlap", "Meter reading m1"), ("empty", "")]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        (reading("x", 1), "start"),
        (reading(0, 1), "start"),
        (reading(10**12, 1), "start"),
        (reading(AT, 1, 0), "duration"),
        (reading(AT, 1, 90_000), "duration"),
        (reading(AT, "1.5"), "value"),
        (reading(AT, ""), "value"),
    ],
)
def test_reading_that_cannot_be_read_is_left_out(bad: str, field: str) -> None:
    found = read(meter_reading(), reading_type(), block(reading(AT + HOUR, 7), bad))
    assert codes(found) == [("reading", "entry 3, IntervalReading 2")]
    assert f"is no {field} of a reading" in found.problems[0].sentence
    assert only(found).raw.tolist() == [7]


@pytest.mark.parametrize(
    ("default", "code", "quality", "told"),
    [
        (17, "", Quality.ACTUAL, False),
        (8, "", Quality.ESTIMATED, False),
        (8, "19", Quality.ACTUAL, False),
        (17, "7", Quality.SUBSTITUTED, False),
        (17, "77", Quality.ESTIMATED, True),
    ],
)
def test_quality_of_a_reading(default: int, code: str, quality: Quality, told: bool) -> None:
    said = reading_type(defaultQuality=default)
    found = read(meter_reading(), said, block(reading(AT, 5, quality=code)))
    assert only(found).quality.tolist() == [quality]
    assert [problem.code for problem in found.problems] == ["reading_quality"] * told


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('<!DOCTYPE feed [<!ENTITY a "b">]><feed>&a;</feed>', "unsafe_xml"),
        ('<!DOCTYPE feed SYSTEM "http://x.example/a.dtd"><feed/>', "unsafe_xml"),
        (feed(ONE)[:-30], "xml"),
        ("<html/>", "not_green_button"),
        ('<?xml version="1.0" encoding="nothing"?><feed/>', "xml"),
        ('<feed xmlns="http://www.w3.org/2005/Atom">' + "<a>" * 50, "xml"),
        (feed("<a/>" * 20_000), "xml"),
    ],
)
def test_xml_that_is_no_feed_is_refused_by_name(text: str, error: str) -> None:
    with pytest.raises(NotAMeterFileError) as raised:
        read_meter_file(text.encode(), name="feed.xml")
    assert raised.value.code == error


def test_many_readings_in_one_block_are_no_abuse() -> None:
    readings = [reading(AT + HOUR * i, i, quality="17") for i in range(10_000)]
    found = read(meter_reading(), reading_type(), block(*readings))
    assert only(found).total() == sum(range(10_000))


def test_local_time_that_cannot_be_read_is_told() -> None:
    local = "<e:tzOffset>x</e:tzOffset>"
    parameters = f"<content><e:LocalTimeParameters>{local}</e:LocalTimeParameters></content>"
    found = read(meter_reading(), reading_type(), ONE, parameters)
    assert codes(found) == [("local_time", "entry 4, LocalTimeParameters")]
    assert found.local_time is None


@pytest.mark.parametrize("text", ["", "00000000", "D00E2000", "360E200", "360E2000 "])
def test_clock_rule_that_is_none(text: str) -> None:
    assert clock_rule(text) is None


@given(
    st.integers(1, 12),
    st.integers(0, 7),
    st.integers(0, 31),
    st.integers(0, 7),
    st.integers(0, 23),
    st.integers(0, 3_599),
)
def test_clock_rule_is_what_its_bits_say(
    month: int, operator: int, day: int, weekday: int, hour: int, second: int
) -> None:
    parts = ((month, 4), (operator, 3), (day, 5), (weekday, 3), (hour, 5), (second, 12))
    bits = "".join(f"{value:0{width}b}" for value, width in parts)
    rule = clock_rule(f"{int(bits, 2):08X}")
    assert rule is not None
    assert (rule.month, rule.day, rule.weekday, rule.hour, rule.second) == (
        month,
        day,
        weekday,
        hour,
        second,
    )
    assert rule.occurrence == {0: 0, 1: 0, 7: -1}.get(operator, operator - 1)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.integers(0, 5_000), st.integers(-(10**9), 10**9), min_size=1, max_size=30),
    st.lists(st.integers(0, 29), max_size=30),
    st.integers(-3, 3),
    st.randoms(use_true_random=False),
)
def test_any_order_and_any_repeats_give_each_reading_once(
    values: dict[int, int], again: list[int], power: int, random: Random
) -> None:
    starts = list(values)
    told = starts + [starts[i % len(starts)] for i in again]
    random.shuffle(told)
    blocks = [block(reading(AT + HOUR * i, values[i])) for i in told]
    found = read(meter_reading(), reading_type(powerOfTenMultiplier=power), *blocks)
    content = only(found)
    assert content.start_ms.tolist() == [(AT + HOUR * i) * 1000 for i in sorted(values)]
    scale = Decimal(10) ** power
    assert [raw * content.resolution for raw in content.raw.tolist()] == [
        values[i] * scale for i in sorted(values)
    ]
    assert found.ignored.get("repeated readings", 0) == len(again)

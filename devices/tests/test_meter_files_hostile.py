"""Damaged and hostile files end in a named error or in problems, never in anything else."""

import gzip
import io
import re
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from devices.files import opening
from devices.files.content import Intervals, MeterFile, Reads
from devices.files.mapping import ColumnMapping, ValueColumn
from devices.files.problems import NotAMeterFileError
from devices.files.reading import read_meter_file

DAY = ",".join(f"{i}.{i:02}" for i in range(48))
NEM12 = f"""100,NEM12,202401020304,MDA,RET
200,NMI1,E1Q1,1,E1,N1,SER1,kWh,30,
300,20240115,{DAY},A,,,20240116000000,
300,20240116,{DAY},V,,,20240117000000,
400,1,20,E52,79,
400,21,48,A,,
500,N,,20240117000000,1000
200,NMI1,E1Q1,1,Q1,N1,SER1,kVArh,30,
300,20240115,{DAY},A,,,20240116000000,
900
"""
NEM13 = """100,NEM13,202401020304,MDA,RET
250,NMI1,11,1,11,11,S,E,99990,20240101000000,A,,,00010,20240401000000,E52,,,20,kWh,,20240401000000,
550,N,,R,
250,NMI1,11,1,12,12,S,I,1.5,20240101000000,A,,,2.5,20240401000000,A,,,1,kWh,,20240401000000,
900
"""
XML = """<feed xmlns="http://www.w3.org/2005/Atom" xmlns:e="http://naesb.org/espi">
<entry><link rel="self" href="/UsagePoint/1/MeterReading/2"/>
<link rel="related" href="/ReadingType/3"/><content><e:MeterReading/></content></entry>
<entry><link rel="self" href="/ReadingType/3"/><content><e:ReadingType>
<e:flowDirection>1</e:flowDirection><e:powerOfTenMultiplier>-3</e:powerOfTenMultiplier>
<e:uom>72</e:uom></e:ReadingType></content></entry>
<entry><content><e:LocalTimeParameters><e:dstEndRule>B40E2000</e:dstEndRule>
<e:dstOffset>3600</e:dstOffset><e:dstStartRule>360E2000</e:dstStartRule>
<e:tzOffset>-28800</e:tzOffset></e:LocalTimeParameters></content></entry>
<entry><link rel="up" href="/UsagePoint/1/MeterReading/2/IntervalBlock"/>
<content><e:IntervalBlock><e:IntervalReading><e:timePeriod><e:duration>900</e:duration>
<e:start>1704067200</e:start></e:timePeriod><e:value>5</e:value></e:IntervalReading>
<e:IntervalReading><e:timePeriod><e:duration>900</e:duration><e:start>1704068100</e:start>
</e:timePeriod><e:value>6</e:value></e:IntervalReading></e:IntervalBlock></content></entry></feed>
"""
TABLE = "time;kWh;Q\n" + "".join(
    f"27.10.2024 {hour:02}:{minute:02};{hour},5;A\n"
    for hour in (0, 1, 2, 2, 3)
    for minute in (0, 30)
)
MAPPING = ColumnMapping(
    time="time",
    values=(ValueColumn("kWh", "kWh", "import", "Q"),),
    zone="Europe/Vienna",
    unit="Wh",
)
GOOD = [text.encode() for text in (NEM12, NEM13, XML, TABLE)]
GOOD += [gzip.compress(GOOD[0], mtime=0)]
# What breaks readers: separators, signs, quotes, digits that are none of ours, records.
PIECES = [
    *(bytes([byte]) for byte in b',;".\r\n\0-+<>&/AVNE0159 \xff\xe2'),
    b"\n100,NEM12,",
    b"\n200,",
    b"\n300,",
    b"\n400,1,48,A,,",
    b"\n900\n",
    b"\xd9\xa3",
    b"\xc2\xb2",
    b"1e400",
    b"nan",
    b"9" * 30,
    b"<entry>",
    b"</entry>",
    b"<!DOCTYPE a>",
    b"<e:IntervalReading/>",
    b"\xe2\x80\xa8",
]
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.sampled_from(PIECES)), min_size=1, max_size=6
)


def zipped(**files: bytes) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return memory.getvalue()


GOOD += [zipped(a=GOOD[2])]


def answer(data: bytes) -> MeterFile | NotAMeterFileError:
    """What a file says, or the one error that there is."""
    try:
        return read_meter_file(data, name="file", mapping=MAPPING)
    except NotAMeterFileError as error:
        return error


def check(found: MeterFile | NotAMeterFileError) -> None:
    """What holds for every answer, whatever the file was."""
    if isinstance(found, NotAMeterFileError):
        assert re.fullmatch(r"file: .*\.", str(found))
        assert found.code
        return
    for content in found.streams.values():
        assert len(content) > 0
        if isinstance(content, Reads):
            assert (content.current_ms > content.previous_ms).all()
            assert (np.diff(content.current_ms) > 0).all()
            continue
        assert isinstance(content, Intervals)
        columns = (content.length_ms, content.raw, content.quality)
        assert {len(column) for column in columns} == {len(content)}
        assert (content.length_ms > 0).all()
        assert (np.diff(content.start_ms) >= content.length_ms[:-1]).all()
        assert (content.quality <= 4).all()
        assert 0 < content.resolution <= 1
    assert found.streams or not found.acceptable
    for problem in found.problems:
        assert problem.sentence.endswith(".")
        assert re.search(r"\{[a-z]+\}", problem.sentence) is None


@pytest.mark.parametrize("data", GOOD)
def test_the_good_files_are_good(data: bytes) -> None:
    found = answer(data)
    check(found)
    assert isinstance(found, MeterFile)
    assert found.acceptable


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(GOOD), EDITS)
def test_any_damage_ends_in_an_error_or_in_problems(
    data: bytes, edits: list[tuple[float, int, bytes]]
) -> None:
    for where, removed, piece in edits:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + removed :]
    check(answer(data))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([data for data in GOOD if data != TABLE.encode()]), st.floats(0, 1))
def test_any_file_that_is_cut_off_says_so(data: bytes, where: float) -> None:
    """Neither NEM nor XML nor an archive that lost its end passes for whole."""
    cut = data[: int(where * (len(data) - 4))]
    found = answer(cut)
    assert isinstance(found, NotAMeterFileError) or not found.acceptable


@given(st.binary(max_size=300))
@example(b"\x1f\x8b")
@example(b"PK\x03\x04")
@example(b"\xff\xfe\x00")
@example(b"<")
def test_any_bytes_end_in_an_error_or_in_problems(data: bytes) -> None:
    check(answer(data))


def bomb_gzip(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(b"0" * size) + packer.flush()


def nameless() -> bytes:
    """An archive whose directory says that its file has no name."""
    data = bytearray(zipped(a=b"1"))
    lengths = data.index(b"PK\x01\x02") + 28
    data[lengths : lengths + 4] = b"\0\0\1\0"  # of the name, and of what comes behind it
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bomb_gzip(opening.MAX_BYTES + 1), "too_large"),
        (bomb_gzip(opening.MAX_BYTES // 2) * 3, "too_large"),
        (zipped(a=b"0" * (opening.MAX_BYTES + 1)), "too_large"),
        (b"0" * (opening.MAX_BYTES + 1), "too_large"),
        (zipped(), "archive"),
        (zipped(a=b"1", b=b"2"), "archive"),
        (nameless(), "damaged"),
        (gzip.compress(NEM12.encode())[:-9], "damaged"),
        (gzip.compress(NEM12.encode()) + b"more", "damaged"),
        (zipped(a=NEM12.encode())[:-30], "damaged"),
    ],
    ids=[
        "gzip",
        "gzip in parts",
        "zip",
        "plain",
        "none",
        "two",
        "odd",
        "cut gzip",
        "tail",
        "cut zip",
    ],
)
def test_archive_that_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(NotAMeterFileError) as raised:
        read_meter_file(data, name="packed")
    assert raised.value.code == code


def test_too_many_values_are_refused() -> None:
    # One line of a day a minute: little to write, much to keep.
    day = "200,NMI1,E1,1,E1,N1,S,kWh,1,\n300,20240115," + "1," * 1_440 + "A,,,,\n"
    many = opening.MAX_VALUES // 1_440 + 1
    with pytest.raises(NotAMeterFileError, match="more than 4,000,000 values") as raised:
        read_meter_file(b"100,NEM12\n" + day.encode() * many, name="long")
    assert raised.value.code == "too_many_values"

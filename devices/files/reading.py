"""The one way in: a file of any known format, told apart by its content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from devices.files import green_button, nem12, nem13, parquet, table
from devices.files import problems as kinds
from devices.files.content import Content, Format, LocalTime, MeterFile, Stream
from devices.files.mapping import ColumnMapping
from devices.files.opening import text_of, unpacked
from devices.files.problems import NotAMeterFileError, Problems, shown

_NEM_RECORD: Final = re.compile(r'\s*"?(100|200|250|300|400|500|550|900)"?\s*(?:,|$)', re.MULTILINE)


def read_meter_file(data: bytes, *, name: str, mapping: ColumnMapping | None = None) -> MeterFile:
    """What a meter data file says and what is wrong with it; nothing else is read or written.

    `data` may be packed by gzip or zip. `name` is the file's, for sentences. `mapping` says what a
    table's columns mean and is not needed for other formats. Raises NotAMeterFileError, whose
    message begins with the name, when nothing of it can be read.
    """
    problems = Problems()
    try:
        return _read(data, mapping, problems)
    except NotAMeterFileError as error:
        raise NotAMeterFileError(error.code, f"{shown(name)}: {error}") from error


def columns_of(data: bytes) -> tuple[str, ...]:
    """The names of a table's columns; none for other formats and for what cannot be read."""
    try:
        content = unpacked(data)
        if content.startswith(parquet.MAGIC):
            return tuple(parquet.columns_of(content))
        if not content.strip() or _is_xml(content):
            return ()
        text = text_of(content)
        return () if _format(text) != "table" else tuple(table.columns_of(text))
    except NotAMeterFileError:
        return ()


def _read(data: bytes, mapping: ColumnMapping | None, problems: Problems) -> MeterFile:
    content = unpacked(data)
    if not content.strip():
        raise NotAMeterFileError("no_content", "The file is empty. Ask for it again.")
    local_time: LocalTime | None = None
    streams: Mapping[Stream, Content]
    ignored: Counter[str]
    if content.startswith(parquet.MAGIC):
        known: Format = "parquet"
        streams, ignored = parquet.read(content, mapping, problems)
    elif _is_xml(content):
        known = "green_button"
        streams, ignored, local_time = green_button.read(content, mapping, problems)
    else:
        text = text_of(content)
        known = _format(text)
        match known:
            case "nem12":
                streams, ignored = nem12.read(text, problems)
            case "nem13":
                streams, ignored = nem13.read(text, problems)
            case _:
                streams, ignored = table.read(text, mapping, problems)
    if not streams:
        problems.add(kinds.EMPTY)
    return MeterFile(
        format=known,
        streams=MappingProxyType(dict(streams)),
        problems=tuple(problems.found),
        more_problems=problems.more,
        ignored=MappingProxyType({what: count for what, count in ignored.items() if count}),
        local_time=local_time,
    )


def _is_xml(content: bytes) -> bool:
    start = content[:200].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")
    return start.startswith(b"<")


def _format(text: str) -> Format:
    """Which of the formats of text it is. Raises NotAMeterFileError for a NEM file of a version
    that is not read or without its header.
    """
    found = _NEM_RECORD.match(text)
    if found is None:
        return "table"
    line = text[found.start() :].lstrip().splitlines()[0]
    version = [field.strip(' "') for field in line.split(",")][1:2]
    match found.group(1), [field.upper() for field in version]:
        case "100", ["NEM12"]:
            return "nem12"
        case "100", ["NEM13"]:
            return "nem13"
        case "100", _:
            raise NotAMeterFileError(
                "header",
                f"The header says “{shown(''.join(version))}”; NEM12 and NEM13 are read.",
            )
    raise NotAMeterFileError(
        "no_header",
        f"The file begins with a record {found.group(1)}. Its header, a record 100, is missing; ask"
        " for the file again.",
    )

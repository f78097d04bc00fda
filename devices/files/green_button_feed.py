"""The Atom feed of Green Button (NAESB REQ.21, ESPI) as entries with what readings need.

The parser takes no document type, no entities and nothing from elsewhere, and forgets each element
once it has been read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from devices.files.opening import check_count
from devices.files.problems import NotAMeterFileError, shown

# The deepest element of the schema lies 9 deep.
MAX_DEPTH: Final = 40
# Elements beside readings take memory until their entry ends: 25 times their bytes, if empty.
MAX_HELD: Final = 20_000
_ATOM: Final = "{http://www.w3.org/2005/Atom}"
KINDS: Final = frozenset(
    {
        "UsagePoint",
        "MeterReading",
        "ReadingType",
        "IntervalBlock",
        "LocalTimeParameters",
        "UsageSummary",
        "ElectricPowerUsageSummary",
        "ElectricPowerQualitySummary",
    }
)


class RawReading(NamedTuple):
    """An IntervalReading as it is written; empty where an element is missing."""

    path: str
    start: str
    duration: str
    value: str
    qualities: tuple[str, ...]


@dataclass(slots=True)
class Entry:
    """An entry of the feed: its links, what it holds, and of that the elements without children."""

    number: int
    own: str = ""
    up: str = ""
    related: list[str] = field(default_factory=list)
    kind: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    readings: list[RawReading] = field(default_factory=list)


def entries(data: bytes) -> list[Entry]:
    """The entries of a feed, or the one that stands alone. Raises NotAMeterFileError."""
    try:
        return _entries(data)
    except DefusedXmlException as error:
        raise NotAMeterFileError(
            "unsafe_xml",
            "The file declares a document type or entities, which Green Button does not have and"
            " which can do harm. Remove the declaration.",
        ) from error
    except ParseError as error:
        line, column = error.position
        raise NotAMeterFileError(
            "xml",
            f"The XML cannot be read beyond line {line}, column {column + 1}: it is damaged or cut"
            " off. Ask for it again.",
        ) from error
    except (ValueError, LookupError) as error:
        if isinstance(error, NotAMeterFileError):
            raise
        raise NotAMeterFileError(
            "xml", "The XML is in an encoding that cannot be read. Save it as UTF-8."
        ) from error


def _entries(data: bytes) -> list[Entry]:
    found: list[Entry] = []
    current = Entry(0)
    path: list[Element] = []
    count = 0
    held = 0
    for event, element in _events(data):
        if event == "start":
            held += 1
            _check_start(path, element, held)
            path.append(element)
            if element.tag == f"{_ATOM}entry":
                current = Entry(len(found) + 1)
                found.append(current)
            continue
        path.pop()
        name = _name(element)
        if element.tag == f"{_ATOM}link":
            _link(current, element)
        elif name == "IntervalReading":
            count += 1
            check_count(count)
            current.readings.append(_reading(current, element))
            held -= _forget(path, element)
        elif name in KINDS and not current.kind:
            current.kind = name
            current.fields = {
                _name(child): (child.text or "").strip() for child in element if not len(child)
            }
        elif element.tag == f"{_ATOM}entry":
            held -= _forget(path, element)
    return found


def _forget(path: list[Element], element: Element) -> int:
    """Give back the memory of an element that has been read; how many elements that were."""
    count = sum(1 for _ in element.iter())
    if path:
        path[-1].remove(element)
    return count


def _events(data: bytes) -> Iterator[tuple[str, Element]]:
    # Nothing but the bytes is read: `forbid_external` refuses what lies elsewhere.
    yield from iterparse(
        io.BytesIO(data),
        events=("start", "end"),
        forbid_dtd=True,
        forbid_entities=True,
        forbid_external=True,
    )


def _check_start(path: list[Element], element: Element, held: int) -> None:
    if not path and element.tag not in (f"{_ATOM}feed", f"{_ATOM}entry"):
        raise NotAMeterFileError(
            "not_green_button",
            f"The XML is no Atom feed but a “{shown(_name(element))}”. Send the Green Button file"
            " as your supplier gave it.",
        )
    if len(path) >= MAX_DEPTH or held > MAX_HELD:
        raise NotAMeterFileError(
            "xml",
            f"The XML has elements more than {MAX_DEPTH} deep, or more than {MAX_HELD:,} in one"
            " entry. It is no Green Button file.",
        )


def _link(entry: Entry, element: Element) -> None:
    address = element.get("href", "").strip().rstrip("/")
    match element.get("rel"):
        case "self":
            entry.own = address
        case "up":
            entry.up = address
        case "related":
            entry.related.append(address)


def _reading(entry: Entry, element: Element) -> RawReading:
    texts = {"start": "", "duration": "", "value": ""}
    qualities = []
    for child in element.iter():
        name, text = _name(child), (child.text or "").strip()
        if name in texts:
            texts[name] = text
        elif name == "quality":
            qualities.append(text)
    path = f"entry {entry.number}, IntervalReading {len(entry.readings) + 1}"
    return RawReading(path, texts["start"], texts["duration"], texts["value"], tuple(qualities))


def _name(element: Element) -> str:
    return element.tag.rpartition("}")[2]

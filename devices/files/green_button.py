"""Green Button: interval data of a usage point, by meter reading and reading type."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from devices.files import problems as kinds
from devices.files.assembly import Reading, intervals
from devices.files.content import (
    ClockRule,
    Direction,
    Intervals,
    LocalTime,
    Quality,
    Stream,
)
from devices.files.green_button_feed import Entry, RawReading, entries
from devices.files.mapping import ColumnMapping
from devices.files.problems import Problems
from devices.files.units import Unit, quantity_of, unit_of

_METER_READING: Final = re.compile(r"(.*/MeterReading/([^/]+))(?:/|$)")
_USAGE_POINT: Final = re.compile(r"/UsagePoint/([^/]+)(?:/|$)")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")
# ESPI UnitSymbolKind.
_UNITS: Final = MappingProxyType(
    {
        "5": "A",
        "29": "V",
        "33": "Hz",
        "38": "W",
        "61": "VA",
        "63": "var",
        "65": "1",
        "71": "VAh",
        "72": "Wh",
        "73": "varh",
    }
)
_DIRECTIONS: Final[MappingProxyType[str, Direction]] = MappingProxyType(
    {"1": "import", "19": "export"}
)
# ESPI AccumulationKind: none, delta data, indicating, instantaneous. Others count up.
_INTERVAL_KINDS: Final = frozenset({"", "0", "4", "6", "12"})
# ESPI QualityOfReading. What is only questionable, normalised or mixed is no measurement.
_QUALITIES: Final = MappingProxyType(
    dict.fromkeys(("0", "11", "14", "17", "18", "19"), Quality.ACTUAL)
    | dict.fromkeys(("8", "9", "10", "12", "13", "15", "16"), Quality.ESTIMATED)
    | {"7": Quality.SUBSTITUTED}
)
_YEAR_2100: Final = 4_102_444_800
_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class _Type:
    """What a ReadingType says: unit with power of ten, direction, default quality code."""

    unit: Unit
    direction: Direction
    quality: str


def read(
    data: bytes, mapping: ColumnMapping | None, problems: Problems
) -> tuple[dict[Stream, Intervals], Counter[str], LocalTime | None]:
    """The streams of a feed, what was ignored, and its local time. `mapping` says the unit of
    readings for which the feed names none. Raises NotAMeterFileError.
    """
    feed = entries(data)
    ignored = Counter(
        {
            "UsageSummary": sum("UsageSummary" in entry.kind for entry in feed),
            "QualitySummary": sum("QualitySummary" in entry.kind for entry in feed),
        }
    )
    blocks: dict[str, list[Entry]] = {}
    for entry in feed:
        if entry.readings:
            blocks.setdefault(_meter_reading(entry), []).append(entry)
    streams: dict[Stream, Intervals] = {}
    for address, parts in blocks.items():
        what = f"Meter reading {_part(_METER_READING, address, 2) or 'without a name'}"
        said = _type(feed, address, what, len(blocks) == 1, mapping, problems)
        if said is None:
            continue
        readings = [
            reading
            for part in parts
            for raw in part.readings
            if (reading := _reading(raw, said.quality, problems)) is not None
        ]
        if not readings:
            continue
        found, repeated = intervals(readings, said.unit.power, what, problems)
        ignored["repeated readings"] += repeated
        if found is not None:
            stream = _stream(address, said)
            # Two subscriptions may number their usage points and meter readings alike.
            streams[replace(stream, register=address) if stream in streams else stream] = found
    return streams, ignored, _local_time(feed, problems)


def _meter_reading(entry: Entry) -> str:
    """The address of the meter reading that a block belongs to, empty where no link says it."""
    for link in (entry.own, entry.up, *entry.related):
        if found := _part(_METER_READING, link, 1):
            return found
    return ""


def _part(pattern: re.Pattern[str], text: str, group: int) -> str:
    found = pattern.search(text)
    return found.group(group) if found else ""


def _stream(address: str, said: _Type) -> Stream:
    return Stream(
        meter=_part(_USAGE_POINT, address, 1),
        register=_part(_METER_READING, address, 2),
        suffix="",
        serial="",
        unit=said.unit.canonical,
        direction=said.direction,
        quantity=quantity_of(said.unit.canonical, said.direction),
    )


def _type(
    feed: list[Entry],
    address: str,
    what: str,
    alone: bool,
    mapping: ColumnMapping | None,
    problems: Problems,
) -> _Type | None:
    """The reading type that a meter reading names; else the only one there is; else what the
    mapping says; else an assumption, which refuses the file. None when it cannot be read.
    """
    types = {entry.own: entry for entry in feed if entry.kind == "ReadingType"}
    named = [
        link
        for entry in feed
        if entry.kind == "MeterReading" and entry.own == address
        for link in entry.related
        if "/ReadingType" in link
    ]
    here = [types[link] for link in named if link in types]
    if here:
        return _said(here[0], what, problems)
    # Not where another is named, which the feed has left out.
    if alone and not named and len(types) == 1:
        problems.add(kinds.ONLY_READING_TYPE, path=what, what=what)
        return _said(next(iter(types.values())), what, problems)
    unit = unit_of(mapping.unit) if mapping is not None and mapping.unit else None
    if unit is None or mapping is None:
        problems.add(kinds.NO_READING_TYPE, path=what, what=what, unit="Wh")
        return _Type(Unit("Wh", 0), "none", "")
    said = f"{mapping.unit} × 10^{mapping.power_of_ten}" if mapping.power_of_ten else mapping.unit
    problems.add(kinds.UNIT_SAID, path=what, what=what, unit=said)
    return _Type(unit._replace(power=unit.power + mapping.power_of_ten), mapping.direction, "")


def _said(entry: Entry, what: str, problems: Problems) -> _Type | None:
    fields = entry.fields
    path = f"entry {entry.number}, ReadingType"
    uom = fields.get("uom", "")
    power = fields.get("powerOfTenMultiplier", "") or "0"
    kind = fields.get("accumulationBehaviour", "")
    for name, value, known in (
        ("uom", uom, uom in _UNITS),
        ("powerOfTenMultiplier", power, re.fullmatch(r"[+-]?[0-9]{1,2}", power) is not None),
        ("accumulationBehaviour", kind, kind in _INTERVAL_KINDS),
    ):
        if not known:
            problems.add(kinds.READING_TYPE, path=path, what=what, field=name, value=value)
            return None
    direction = _DIRECTIONS.get(fields.get("flowDirection", ""), "none")
    return _Type(Unit(_UNITS[uom], int(power)), direction, fields.get("defaultQuality", ""))


def _reading(raw: RawReading, default: str, problems: Problems) -> Reading | None:
    """A reading with its times, or None when it is refused."""
    bounds = (("start", raw.start, _YEAR_2100), ("duration", raw.duration, _DAY_S))
    for name, text, most in bounds:
        if _WHOLE.fullmatch(text) is None or not 0 < int(text) <= most:
            problems.add(kinds.READING, path=raw.path, value=text, field=name)
            return None
    if _WHOLE.fullmatch(raw.value) is None:
        problems.add(kinds.READING, path=raw.path, value=raw.value, field="value")
        return None
    # Of several the worst counts.
    quality = Quality.ACTUAL
    for code in raw.qualities or ((default,) if default else ()):
        known = _QUALITIES.get(code)
        if known is None:
            problems.add(kinds.READING_QUALITY, path=raw.path, value=code)
        quality = max(quality, Quality.ESTIMATED if known is None else known)
    return Reading(
        int(raw.start) * 1000, int(raw.duration) * 1000, raw.value, quality, path=raw.path
    )


def _local_time(feed: list[Entry], problems: Problems) -> LocalTime | None:
    entry = next((entry for entry in feed if entry.kind == "LocalTimeParameters"), None)
    if entry is None:
        return None
    path = f"entry {entry.number}, LocalTimeParameters"
    offsets = []
    for name in ("tzOffset", "dstOffset"):
        text = entry.fields.get(name, "")
        if _WHOLE.fullmatch(text) is None or abs(int(text)) > _DAY_S:
            problems.add(kinds.LOCAL_TIME, path=path, value=text, field=name)
            return None
        offsets.append(int(text))
    rules = []
    for name in ("dstStartRule", "dstEndRule"):
        text = entry.fields.get(name, "")
        rule = clock_rule(text)
        if rule is None and text.strip("0"):
            problems.add(kinds.LOCAL_TIME, path=path, value=text, field=name)
            return None
        rules.append(rule)
    return LocalTime(offsets[0], offsets[1], rules[0], rules[1])


def clock_rule(text: str) -> ClockRule | None:
    """The rule in the 32 bits of an ESPI DstRuleType, as 8 hexadecimal digits: second of the hour
    (12), hour (5), weekday (3, Monday 1), day (5), operator (3), month (4), from the lowest bit.
    None for what is no rule.
    """
    if re.fullmatch("[0-9A-Fa-f]{8}", text) is None:
        return None
    bits = int(text, 16)
    operator, month = bits >> 25 & 7, bits >> 28
    if not 1 <= month <= 12:
        return None
    return ClockRule(
        month=month,
        day=bits >> 20 & 31,
        weekday=bits >> 17 & 7,
        # 1 is “on or after the day”; 2 to 6 the first to fifth; 7 the last.
        occurrence=-1 if operator == 7 else max(0, operator - 1),
        hour=bits >> 12 & 31,
        second=bits & 0xFFF,
    )

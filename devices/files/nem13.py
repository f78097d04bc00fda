"""NEM13: accumulated reads, a record (250) for the time between two readings of a register."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from devices.files import exact, nem
from devices.files import problems as kinds
from devices.files.content import Direction, Quality, Reads, Stream
from devices.files.opening import check_count
from devices.files.problems import Problems
from devices.files.units import quantity_of, unit_of

# Seen from the grid: what it exports, the site imports.
_DIRECTIONS: Final[dict[str, Direction]] = {"E": "import", "I": "export"}
_FIELDS: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Read:
    """A 250 record; `values` are previous, current and quantity, `power` that of its unit."""

    stream: Stream
    power: int
    line: int
    previous_ms: int
    current_ms: int
    values: exact.Exact
    qualities: tuple[Quality, Quality]
    rolled_over: bool
    updated_ms: int


def read(text: str, problems: Problems) -> tuple[dict[Stream, Reads], nem.Ignored]:
    """The streams of a file, each by time, and what was ignored. Raises NotAMeterFileError."""
    ignored = nem.Ignored()
    found: dict[tuple[Stream, int], _Read] = {}
    last = ""
    for record in nem.body(text, "NEM13", problems):
        if record.kind == "250":
            check_count(len(found) + 1)
            one = _read(record, problems)
            if one is not None:
                _keep(found, one, problems)
        elif record.kind != "550":
            problems.add(kinds.UNKNOWN_RECORD, record.line, record=record.kind, format="NEM13")
        elif last in ("250", "550"):
            ignored["550"] += 1
        else:
            problems.add(kinds.ORPHAN, record.line, record=550, parent=250)
        last = record.kind
    by_stream: dict[Stream, list[_Read]] = {}
    for one in found.values():
        by_stream.setdefault(one.stream, []).append(one)
    streams = {}
    for stream, reads in by_stream.items():
        reads.sort(key=lambda read: read.current_ms)
        for former, one in pairwise(reads):
            if one.previous_ms < former.current_ms:
                time = nem.utc(one.previous_ms)
                problems.add(kinds.READS_OVERLAP, one.line, what=_name(stream), time=time)
        try:
            streams[stream] = _reads(reads)
        except exact.TooWideError:
            problems.add(kinds.TOO_WIDE, reads[0].line, what=_name(stream))
    return streams, ignored


def _read(record: nem.Record, problems: Problems) -> _Read | None:
    """A 250 record, or None when it is refused."""
    line = record.line
    if len(record.fields) < _FIELDS:
        problems.add(kinds.FIELDS, line, record=250, found=len(record.fields), needed=_FIELDS)
        return None
    about = _stream(record, problems)
    times = _times(record, problems)
    qualities = _qualities(record, problems)
    if about is None or times is None or qualities is None:
        return None
    stream, power = about
    what = _name(stream)
    texts = [record.field(8), record.field(13), record.field(18)]
    bad = next((text for text in texts if not exact.is_number(text)), None)
    if bad is not None:
        problems.add(kinds.VALUE, line, what=what, value=bad)
        return None
    if times[1] <= times[0]:
        problems.add(kinds.BACKWARDS, line, what=what)
        return None
    try:
        values = exact.parse(texts)
    except exact.TooWideError:
        problems.add(kinds.TOO_WIDE, line, what=what)
        return None
    return _Read(
        stream=stream,
        power=power,
        line=line,
        previous_ms=times[0],
        current_ms=times[1],
        values=values,
        qualities=qualities,
        rolled_over=_compare(texts, values, line, what, problems),
        updated_ms=nem.update_ms(record.field(21), line, problems),
    )


def _stream(record: nem.Record, problems: Problems) -> tuple[Stream, int] | None:
    meter, register, suffix = record.field(1), record.field(3), record.field(4).upper()
    if not meter or not (register or suffix):
        field = "register" if meter else "NMI"
        problems.add(kinds.NAMELESS, record.line, record=250, field=field)
        return None
    direction = _DIRECTIONS.get(record.field(7).upper())
    if direction is None:
        problems.add(kinds.DIRECTION, record.line, direction=record.field(7))
        return None
    text = record.field(19)
    unit = unit_of(text)
    if unit is None:
        kind = kinds.UNIT if text else kinds.NO_UNIT
        problems.add(kind, record.line, what=f"{meter} {register} {suffix}", unit=text)
        return None
    quantity = quantity_of(unit.canonical, direction)
    serial = record.field(6)
    stream = Stream(meter, register, suffix, serial, unit.canonical, direction, quantity)
    return stream, unit.power


def _times(record: nem.Record, problems: Problems) -> tuple[int, int] | None:
    found = []
    for text in (record.field(9), record.field(14)):
        at_ms = nem.instant_ms(text)
        if at_ms is None:
            problems.add(
                kinds.DATE, record.line, date=text, form="YYYYMMDDhhmmss", example="20240131093000"
            )
            return None
        found.append(at_ms)
    return found[0], found[1]


def _qualities(record: nem.Record, problems: Problems) -> tuple[Quality, Quality] | None:
    found = []
    for text in (record.field(10).upper(), record.field(15).upper()):
        quality = nem.quality_of(text)
        if quality is None:
            problems.add(kinds.FLAG, record.line, flag=text)
            return None
        found.append(quality)
    return found[0], found[1]


def _compare(
    texts: list[str], values: exact.Exact, line: int, what: str, problems: Problems
) -> bool:
    """Whether the register passed its highest value between the reads; tells of that, and of a
    quantity that does not follow from them. What is highest the digits before the point say.
    """
    previous, current, quantity = values.raw.tolist()
    difference = current - previous
    if quantity == difference:
        return False
    digits = {len(text.lstrip("+-").partition(".")[0]) for text in texts[:2]}
    full = 10 ** (digits.pop() + values.decimals) if len(digits) == 1 else 0
    rolled_over = difference < 0 and full > 0 and abs(quantity) == difference + full
    if rolled_over:
        problems.add(kinds.ROLLED_OVER, line, what=what, quantity=texts[2])
    if quantity < 0 and (rolled_over or quantity == -difference):
        problems.add(kinds.NEGATED, line, what=what, quantity=texts[2])
    elif not rolled_over:
        shown = str(difference * values.resolution)
        problems.add(kinds.DIFFERS, line, what=what, quantity=texts[2], difference=shown)
    return rolled_over


def _keep(found: dict[tuple[Stream, int], _Read], one: _Read, problems: Problems) -> None:
    """The newest version of a read counts."""
    key = (one.stream, one.current_ms)
    before = found.get(key)
    if before is not None:
        what = f"{_name(one.stream)} at {nem.utc(one.current_ms)} UTC"
        former = (before.updated_ms, before.line)
        if nem.newer(former, (one.updated_ms, one.line), what, problems) == former:
            return
    found[key] = one


def _reads(reads: list[_Read]) -> Reads:
    values = exact.join([exact.join([read.values], read.power) for read in reads], 0)
    previous, current, quantity = values.raw.reshape(-1, 3).T
    qualities = np.array([read.qualities for read in reads], np.uint8)
    return Reads(
        previous_ms=np.array([read.previous_ms for read in reads], np.int64),
        current_ms=np.array([read.current_ms for read in reads], np.int64),
        previous=previous,
        current=current,
        quantity=quantity,
        resolution=values.resolution,
        previous_quality=qualities[:, 0],
        current_quality=qualities[:, 1],
        rolled_over=np.array([read.rolled_over for read in reads], np.bool_),
    )


def _name(stream: Stream) -> str:
    return " ".join(filter(None, (stream.meter, stream.suffix, stream.register)))

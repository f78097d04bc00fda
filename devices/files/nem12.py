"""NEM12: interval data, a record (300) for a day of one suffix of a meter."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from devices.files import exact, nem
from devices.files import problems as kinds
from devices.files.content import Codes, Intervals, Quality, Stream
from devices.files.opening import check_count
from devices.files.problems import Problems
from devices.files.units import Unit, quantity_of, unit_of

MINUTES_A_DAY: Final = 1_440
_DAY_FLAG: Final = re.compile(r"[AEFNSV][0-9]{0,2}")
_UNSAID: Final = 255


@dataclass(frozen=True, slots=True)
class _Block:
    """A 200 record: what the days after it are about. `power` leads to the canonical unit."""

    stream: Stream
    power: int
    minutes: int

    @property
    def name(self) -> str:
        return f"{self.stream.meter} {self.stream.suffix}"


@dataclass(frozen=True, slots=True, eq=False)
class _Day:
    """A 300 record; `quality` is (n,) and _UNSAID where a 400 record still has to say it."""

    block: _Block
    line: int
    date: str
    start_ms: int
    values: exact.Exact
    quality: Codes
    updated_ms: int

    @property
    def name(self) -> str:
        return f"{self.block.name} on {self.date[:4]}-{self.date[4:6]}-{self.date[6:]}"


def read(text: str, problems: Problems) -> tuple[dict[Stream, Intervals], nem.Ignored]:
    """The streams of a file, each by time, and what was ignored. Raises NotAMeterFileError."""
    reader = _Reader(problems)
    for record in nem.body(text, "NEM12", problems):
        reader.take(record)
    reader.close()
    return reader.streams(), reader.ignored


class _Reader:
    """Goes through the records; what hangs on a refused record is left out with it, silently."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.ignored = nem.Ignored()
        self.block: _Block | None = None
        self.seen_block = False
        self.varying: _Day | None = None  # waits for its 400 records
        self.spans_sound = True
        self.uniform = False  # the day read last has one quality
        self.last = ""
        self.count = 0
        self.days: dict[tuple[str, str, int], _Day] = {}

    def take(self, record: nem.Record) -> None:
        if record.kind != "400":
            self.close()
        match record.kind:
            case "200":
                self.seen_block = True
                self.block = self._block(record)
            case "300":
                self._day(record)
            case "400":
                self._part(record)
            case "500":
                self.ignored["500"] += 1
            case _:
                self.problems.add(
                    kinds.UNKNOWN_RECORD, record.line, record=record.kind, format="NEM12"
                )
        self.last = record.kind

    def _block(self, record: nem.Record) -> _Block | None:
        add = self.problems.add
        if len(record.fields) < 9:
            add(kinds.FIELDS, record.line, record=200, found=len(record.fields), needed=9)
            return None
        meter, register, suffix = record.field(1), record.field(3), record.field(4).upper()
        if not meter or not suffix:
            add(kinds.NAMELESS, record.line, record=200, field="suffix" if meter else "NMI")
            return None
        length = record.field(8)
        minutes = int(length) if re.fullmatch("[0-9]{1,4}", length) else 0
        if not minutes or MINUTES_A_DAY % minutes:
            add(kinds.LENGTH, record.line, length=length)
            return None
        unit = self._unit(record, f"{meter} {suffix}")
        if unit is None:
            return None
        direction = nem.direction_of(suffix)
        quantity = quantity_of(unit.canonical, direction)
        stream = Stream(
            meter, register, suffix, record.field(6), unit.canonical, direction, quantity
        )
        return _Block(stream, unit.power, minutes)

    def _unit(self, record: nem.Record, what: str) -> Unit | None:
        text = record.field(7)
        if not text and record.field(4).upper().startswith("V"):
            self.problems.add(kinds.UNIT_ASSUMED, record.line, what=what)
            return Unit("V", 0)
        unit = unit_of(text)
        if unit is None:
            kind = kinds.UNIT if text else kinds.NO_UNIT
            self.problems.add(kind, record.line, what=what, unit=text)
        return unit

    def _day(self, record: nem.Record) -> None:
        self.uniform = False
        block = self.block
        if block is None:
            # A 200 record that has been refused has been told of.
            if not self.seen_block:
                self.problems.add(kinds.ORPHAN, record.line, record=300, parent=200)
            return
        start_ms = nem.instant_ms(record.field(1)) if len(record.field(1)) == 8 else None
        if start_ms is None:
            self.problems.add(
                kinds.DATE, record.line, date=record.field(1), form="YYYYMMDD", example="20240131"
            )
            return
        problems, line = self.problems, record.line
        texts, flag, updated = self._values(record, block)
        if flag is None:
            return
        self.count += len(texts)
        check_count(self.count)
        try:
            values = exact.parse(texts)
        except exact.TooWideError:
            problems.add(kinds.TOO_WIDE, line, what=block.name)
            return
        quality = _UNSAID if flag.startswith("V") else nem.quality_of(flag)
        day = _Day(
            block=block,
            line=line,
            date=record.field(1),
            start_ms=start_ms,
            values=values,
            quality=np.full(len(texts), quality, np.uint8),
            updated_ms=nem.update_ms(updated, line, problems),
        )
        if values.raw.min() < 0:
            problems.add(kinds.NEGATIVE, line, what=day.name)
        if quality == _UNSAID:
            self.varying = day
        else:
            self.uniform = True
            self._keep(day)

    def _values(self, record: nem.Record, block: _Block) -> tuple[list[str], str | None, str]:
        """The values of a day, its quality flag (None: the day is refused) and its update time."""
        add, line, fields = self.problems.add, record.line, record.fields
        what = f"{block.name} on {record.field(1)}"
        at = next((i for i in range(2, len(fields)) if _DAY_FLAG.fullmatch(fields[i].upper())), 0)
        texts = fields[2:at]
        needed = MINUTES_A_DAY // block.minutes
        bad = next((text for text in texts if not exact.is_number(text)), None)
        if not at:
            add(kinds.NO_FLAG, line, what=what)
        elif not any(texts):
            add(kinds.NO_VALUES, line, what=what)
        elif len(texts) != needed:
            found = len(texts)
            add(
                kinds.VALUE_COUNT,
                line,
                what=what,
                found=found,
                minutes=block.minutes,
                needed=needed,
            )
        elif bad is not None:
            add(kinds.VALUE, line, what=what, value=bad)
        else:
            return texts, fields[at].upper(), record.field(at + 3)
        return [], None, ""

    def _part(self, record: nem.Record) -> None:
        """A 400 record: the quality of the intervals from one to another, counted from 1."""
        day = self.varying
        if self.last not in ("300", "400"):
            self.problems.add(kinds.ORPHAN, record.line, record=400, parent=300)
            return
        if day is None:
            # Either the day has one quality, or it has been refused and told of.
            if self.uniform:
                self.problems.add(kinds.STRAY_PART, record.line)
            return
        flag = record.field(3).upper()
        quality = nem.quality_of(flag)
        if quality is None:
            self.problems.add(kinds.FLAG, record.line, flag=flag)
            self.spans_sound = False
            return
        ends = [record.field(1), record.field(2)]
        if not all(re.fullmatch("[0-9]{1,4}", end) for end in ends):
            self.spans_sound = False
            return
        first, last = (int(end) for end in ends)
        if not 1 <= first <= last <= len(day.quality):
            self.spans_sound = False
            return
        part = day.quality[first - 1 : last]
        self.spans_sound &= bool((part == _UNSAID).all())
        part[:] = quality

    def close(self) -> None:
        """The day that was waiting for 400 records has had them all."""
        day, self.varying = self.varying, None
        sound, self.spans_sound = self.spans_sound, True
        if day is None:
            return
        if sound and not (day.quality == _UNSAID).any():
            self._keep(day)
        else:
            needed = len(day.quality)
            self.problems.add(kinds.PARTS, day.line, what=day.name, needed=needed)

    def _keep(self, day: _Day) -> None:
        """The newest version of a day counts, whichever serial number it is under."""
        null = day.quality == Quality.NULL
        if null.any():
            raw = np.where(null, 0, day.values.raw)
            day = replace(day, values=exact.Exact(raw, day.values.decimals))
        stream = day.block.stream
        key = (stream.meter, stream.suffix, day.start_ms)
        before = self.days.get(key)
        if before is not None:
            one, other = (before.updated_ms, before.line), (day.updated_ms, day.line)
            if nem.newer(one, other, day.name, self.problems) == one:
                return
            del self.days[key]
        self.days[key] = day

    def streams(self) -> dict[Stream, Intervals]:
        """The days as arrays, by stream."""
        by_stream: dict[Stream, list[_Day]] = {}
        for day in self.days.values():
            by_stream.setdefault(day.block.stream, []).append(day)
        found = {}
        for stream, days in by_stream.items():
            days.sort(key=lambda day: day.start_ms)
            try:
                found[stream] = _intervals(days)
            except exact.TooWideError:
                self.problems.add(kinds.TOO_WIDE, days[0].line, what=days[0].block.name)
        return found


def _intervals(days: list[_Day]) -> Intervals:
    """Days of one stream, by time, as intervals; a day may have another length than the next, and
    its values another unit.
    """
    lengths = [day.block.minutes * 60_000 for day in days]
    starts = [
        day.start_ms + np.arange(len(day.quality), dtype=np.int64) * length
        for day, length in zip(days, lengths, strict=True)
    ]
    values = exact.join([exact.join([day.values], day.block.power) for day in days], 0)
    return Intervals(
        start_ms=np.concatenate(starts),
        length_ms=np.repeat(np.array(lengths, np.int64), [len(day.quality) for day in days]),
        raw=values.raw,
        resolution=values.resolution,
        quality=np.concatenate([day.quality for day in days]),
    )

"""What NEM12 and NEM13 have in common (AEMO, Meter Data File Format Specification).

Records of fields separated by commas, the first field saying which; times are Australian Eastern
Standard Time, UTC+10 the whole year.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Final, NamedTuple

from devices.files import problems as kinds
from devices.files.content import QUALITY_LETTERS, Direction, Quality
from devices.files.problems import NotAMeterFileError, Problems

AEST: Final = timezone(timedelta(hours=10))
_FLAG: Final = re.compile(r"[AEFNS][0-9]{0,2}")
_FIRST: Final = datetime(1990, 1, 1, tzinfo=AEST)
_LAST: Final = datetime(2100, 1, 1, tzinfo=AEST)
_STAMP: Final = re.compile(r"[0-9]{8}(?:[0-9]{4}(?:[0-9]{2})?)?")


class Record(NamedTuple):
    """One line: its number in the file and its fields, the first of which is the record type."""

    line: int
    fields: list[str]

    @property
    def kind(self) -> str:
        return self.fields[0]

    def field(self, index: int) -> str:
        """A field, empty where the record ends before it."""
        return self.fields[index] if index < len(self.fields) else ""


def records(text: str) -> Iterator[Record]:
    """The records of a file, without empty lines."""
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
        if line.strip(" ,\t\x1a"):
            yield Record(number, [field.strip(' \t"\x1a') for field in line.split(",")])


def body(text: str, name: str, problems: Problems) -> Iterator[Record]:
    """What lies between records 100 and 900; several files one after the other count as one. Tells
    of a missing end and of what follows it. Raises NotAMeterFileError without a header.
    """
    inside = False
    ended = False
    for record in records(text):
        if record.kind == "100" and not inside:
            if record.field(1).upper() != name.upper():
                raise NotAMeterFileError(
                    "header",
                    f"Line {record.line} says that the file is “{kinds.shown(record.field(1))}”;"
                    f" the file began as {name}. Send the parts by themselves.",
                )
            inside, ended = True, False
        elif record.kind == "900" and inside:
            inside, ended = False, True
        elif inside:
            yield record
        elif ended:
            problems.add(kinds.AFTER_END, record.line)
        else:
            raise NotAMeterFileError(
                "no_header",
                f"The file does not begin with its header, a record 100, but with"
                f" “{kinds.shown(record.kind)}”. Its beginning is missing; ask for it again.",
            )
    if inside:
        problems.add(kinds.ENDS_EARLY)


def quality_of(flag: str) -> Quality | None:
    """The quality that a flag such as A, E52 or N names; None for anything else."""
    return QUALITY_LETTERS[flag[0]] if _FLAG.fullmatch(flag) else None


def instant_ms(text: str) -> int | None:
    """YYYYMMDD, YYYYMMDDhhmm or YYYYMMDDhhmmss in AEST as ms since the Unix epoch, or None."""
    if _STAMP.fullmatch(text) is None:
        return None
    whole = text.ljust(14, "0")  # a day begins at midnight, a minute with its first second
    hour, minute, second = int(whole[8:10]), int(whole[10:12]), int(whole[12:])
    year, month, day = int(whole[:4]), int(whole[4:6]), int(whole[6:8])
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=AEST)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1000 if _FIRST <= moment < _LAST else None


def utc(at_ms: int) -> str:
    """An instant as sentences say it."""
    return datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%d %H:%M")


def direction_of(suffix: str) -> Direction:
    """E and Q count what the site takes, B and K what it gives; others say neither."""
    match suffix[:1]:
        case "E" | "Q":
            return "import"
        case "B" | "K":
            return "export"
        case _:
            return "none"


def update_ms(text: str, line: int, problems: Problems) -> int:
    """When a record was made, 0 where it does not say; tells of one that cannot be read."""
    if not text:
        return 0
    found = instant_ms(text)
    if found is None:
        problems.add(kinds.UPDATED, line, time=text)
    return found or 0


def newer(
    one: tuple[int, int], other: tuple[int, int], what: str, problems: Problems
) -> tuple[int, int]:
    """Which of two (update time in ms, line) about one thing counts; tells that there are two."""
    counts = max(one, other)
    reason = "updated last" if one[0] != other[0] else "the later in the file"
    problems.add(
        kinds.TWICE,
        min(one, other)[1],
        what=what,
        first=one[1],
        second=other[1],
        counts=counts[1],
        reason=reason,
    )
    return counts


Ignored = Counter[str]

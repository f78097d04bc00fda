"""Times as tables write them, as instants: local clocks and both of their changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from devices.files import problems as kinds
from devices.files.problems import Problems

_ISO: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6})0*)?)?"
    r"\s?(Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_DOTTED: Final = re.compile(r"(\d\d?)\.(\d\d?)\.(\d{4}),?\s+(\d\d?):(\d\d)(?::(\d\d))?", re.ASCII)
_UNIX: Final = re.compile(r"\d{1,15}", re.ASCII)
_FIRST_MS: Final = 315_532_800_000  # 1980, before any meter that keeps intervals
_LAST_MS: Final = 4_102_444_800_000  # 2100
# No clock goes back by more: ambiguous times further apart belong to two changes.
_CHANGE: Final = timedelta(hours=6)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Stamp(NamedTuple):
    """A time in a file and the line that it is in."""

    line: int
    text: str


def instants(
    stamps: Sequence[Stamp], form: str, zone_name: str, problems: Problems
) -> list[int | None]:
    """Each stamp as ms since the Unix epoch, or None where it is refused; the problem tells why.

    A local time that was twice is told apart by the order of the rows, upwards or downwards: where
    two passes through the same times follow each other, the first is summer time, the second
    standard time. Anything else is refused: one pass, or a row that lacks in one, tells nothing.
    """
    zone = ZoneInfo(zone_name)
    moments = [_moment(stamp.text, form) for stamp in stamps]
    found: list[int | None] = [None] * len(stamps)
    ambiguous: list[int] = []
    for i, moment in enumerate(moments):
        if moment is None:
            shown = {"auto": "2024-01-31 15:45 or 31.01.2024 15:45"}.get(form, form)
            problems.add(kinds.STAMP, stamps[i].line, stamp=stamps[i].text, form=shown)
            continue
        if moment.tzinfo is None:
            early, late = (
                moment.replace(tzinfo=zone, fold=fold).utcoffset() or timedelta() for fold in (0, 1)
            )
            if early > late:
                ambiguous.append(i)
                continue
            if early < late:
                problems.add(
                    kinds.MISSING_HOUR, stamps[i].line, stamp=stamps[i].text, zone=zone_name
                )
                continue
            moment = moment.replace(tzinfo=zone)
        found[i] = _ms(moment)
        if found[i] is None:
            problems.add(kinds.STAMP, stamps[i].line, stamp=stamps[i].text, form="1980 to 2099")
    _tell_apart(ambiguous, moments, found, zone)
    for i in ambiguous:
        if found[i] is None:
            problems.add(kinds.AMBIGUOUS_HOUR, stamps[i].line, stamp=stamps[i].text, zone=zone_name)
    return found


def _tell_apart(
    ambiguous: Sequence[int],
    moments: Sequence[datetime | None],
    found: list[int | None],
    zone: ZoneInfo,
) -> None:
    """Fill in the times that were twice where their order shows which was which."""
    walls = {i: moment for i in ambiguous if (moment := moments[i]) is not None}
    read = [moment.replace(tzinfo=None) for moment in moments if moment is not None]
    downwards = bool(read) and read[0] > read[-1]
    group: list[list[int]] = []  # the passes of one change
    groups = [group]
    before = -2
    for i in reversed(ambiguous) if downwards else ambiguous:
        # Rows elsewhere in the file may be the same hour once more.
        apart = abs(i - before) > 1
        before = i
        if group and (apart or abs(walls[i] - walls[group[0][0]]) > _CHANGE):
            group = []
            groups.append(group)
        if group and walls[i] > walls[group[-1][-1]]:
            group[-1].append(i)
        else:
            group.append([i])
    for passes in groups:
        told = [[walls[i] for i in rows] for rows in passes]
        if len(told) == 2 and told[0] == told[1]:
            for fold, rows in enumerate(passes):
                for i in rows:
                    found[i] = _ms(walls[i].replace(tzinfo=zone, fold=fold))


def _ms(moment: datetime) -> int | None:
    at_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    return at_ms if _FIRST_MS <= at_ms < _LAST_MS else None


def _moment(text: str, form: str) -> datetime | None:
    """What a text says, without a zone unless it says one; None when it is of another form."""
    try:
        match form:
            case "auto":
                return _auto(text)
            case "unix" | "unix_ms":
                if _UNIX.fullmatch(text) is None:
                    return None
                unit = timedelta(seconds=1) if form == "unix" else timedelta(milliseconds=1)
                return _EPOCH + int(text) * unit
            case _:
                return datetime.strptime(text, form)  # noqa: DTZ007 - the zone follows
    except (ValueError, OverflowError):
        return None


def _auto(text: str) -> datetime | None:
    found = _ISO.fullmatch(text)
    if found is not None:
        year, month, day, hour, minute, second, fraction, offset = found.groups()
        moment = _at(year, month, day, hour, minute, second)
        moment += timedelta(microseconds=int((fraction or "0").ljust(6, "0")))
        if offset is None:
            return moment
        sign = offset.replace("Z", "+00:00").replace(":", "")
        shift = timedelta(hours=int(sign[1:3]), minutes=int(sign[3:]))
        return (moment + (shift if sign[0] == "-" else -shift)).replace(tzinfo=UTC)
    found = _DOTTED.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute, second = found.groups()
    return _at(year, month, day, hour, minute, second)


def _at(year: str, month: str, day: str, hour: str, minute: str, second: str | None) -> datetime:
    """24:00 is the end of its day. Raises ValueError."""
    of_day = int(hour), int(minute), int(second or 0)
    midnight = of_day == (24, 0, 0)
    hours, minutes, seconds = (0, 0, 0) if midnight else of_day
    days = int(year), int(month), int(day)
    moment = datetime(*days, hours, minutes, seconds)  # noqa: DTZ001 - a wall clock
    return moment + timedelta(days=1) if midnight else moment

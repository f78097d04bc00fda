"""What can be wrong with a meter data file, each with its code and its sentence."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

# A file that is wrong in each line would fill memory with sentences that nobody reads.
MAX_PROBLEMS: Final = 1_000
_SHOWN: Final = 60


class NotAMeterFileError(ValueError):
    """Nothing of the file can be read: `code` is stable, `str(error)` a sentence for a person."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Severity(enum.StrEnum):
    """WARN: it has been read, as the sentence says. REFUSE: what the problem is about has been left
    out. REFUSE_FILE: what has been read is shown, but must not be imported.
    """

    WARN = "warn"
    REFUSE = "refuse"
    REFUSE_FILE = "refuse_file"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: `line` of the file, counted from 1, or the `path` of an element."""

    code: str
    severity: Severity
    sentence: str
    line: int | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A problem before it has a place; `sentence` is a format string."""

    code: str
    severity: Severity
    sentence: str


def _warn(code: str, sentence: str) -> Kind:
    return Kind(code, Severity.WARN, sentence)


def _refuse(code: str, sentence: str) -> Kind:
    return Kind(code, Severity.REFUSE, sentence)


def _refuse_file(code: str, sentence: str) -> Kind:
    return Kind(code, Severity.REFUSE_FILE, sentence)


# Any format
EMPTY = _refuse_file(
    "empty", "No reading can be taken from the file. Ask its sender whether it is the right one."
)
UNIT = _refuse(
    "unit",
    "{what} has the unit “{unit}”, which is not known. Known are Wh, varh, VAh, W, var, VA, V, A,"
    " Hz and pf, with k, M or G before them where that is usual.",
)
NO_UNIT = _refuse("no_unit", "{what} names no unit, so its values could be anything. Add the unit.")
VALUE = _refuse("value", "“{value}” in {what} is no number. Correct it or leave the field empty.")
TOO_WIDE = _refuse(
    "too_wide",
    "The values of {what} have more digits together than can be kept exactly. Check their unit.",
)
OVERLAP = _refuse(
    "overlap",
    "{what} has intervals that begin before the one in front of them has ended: {count}, the first"
    " at {time} UTC. Such energy would count twice, so none of it is read. Send each time once.",
)
DISAGREE = _refuse(
    "disagree",
    "{what} has two different values for {time} UTC. Neither is read; ask its sender which counts.",
)
NEGATIVE = _warn(
    "negative", "{what} has a value below zero, which interval data should not have. It is read."
)

# NEM12 and NEM13
ENDS_EARLY = _refuse_file(
    "ends_early",
    "The file ends without its last record (900), so part of it is missing. Ask for it again.",
)
AFTER_END = _refuse(
    "after_end", "This line follows the last record (900) and is not read. Remove one of them."
)
UNKNOWN_RECORD = _refuse(
    "unknown_record", "“{record}” is no record of {format}. The line is not read; check it."
)
FIELDS = _refuse(
    "fields", "This {record} record ends after field {found}; {needed} are needed. Complete it."
)
NAMELESS = _refuse(
    "nameless", "This {record} record has no {field}, so nobody knows what it is about. Add it."
)
LENGTH = _refuse(
    "interval_length",
    "The interval length “{length}” of this 200 record does not divide a day. Write minutes, for"
    " example 5, 15 or 30.",
)
ORPHAN = _refuse(
    "orphan", "This {record} record does not follow a {parent} record, to which it would belong."
)
DATE = _refuse("date", "“{date}” is no day or time. Write it as {form}, for example {example}.")
NO_VALUES = _refuse(
    "no_values",
    "The 300 record of {what} has no values. They are not read as zeros; ask for the day again.",
)
VALUE_COUNT = _refuse(
    "value_count",
    "The 300 record of {what} does not fit its 200 record: values of {minutes} minutes are {needed}"
    " a day, not {found}. Correct one of the two.",
)
NO_FLAG = _refuse(
    "no_quality",
    "The 300 record of {what} has no quality flag (A, E, F, N, S or V) behind its values. It is cut"
    " off or damaged; ask for it again.",
)
FLAG = _refuse("quality", "“{flag}” is no quality flag. Write A, E, F, N or S, and a method.")
PARTS = _refuse(
    "quality_parts",
    "The day {what} varies in quality, but its 400 records do not name each of its {needed}"
    " intervals exactly once. Complete them.",
)
STRAY_PART = _warn(
    "stray_quality",
    "This 400 record belongs to a day whose quality flag is not V. The day's flag counts.",
)
TWICE = _warn(
    "twice",
    "{what} is in the file twice, in lines {first} and {second}. Line {counts} counts, because it"
    " was {reason}.",
)
UPDATED = _warn(
    "update_time", "The update time “{time}” cannot be read. The record counts as never updated."
)
UNIT_ASSUMED = _warn("unit_assumed", "{what} names no unit. It is read as V, as its suffix says.")
BACKWARDS = _refuse(
    "backwards", "The current read of {what} is not later than the previous one. Correct the times."
)
DIRECTION = _refuse("direction", "“{direction}” is no direction: write E (import) or I (export).")
ROLLED_OVER = _warn(
    "rolled_over",
    "The register {what} passed its highest value; the quantity {quantity} fits that.",
)
NEGATED = _warn(
    "negative_quantity",
    "The quantity {quantity} of {what} is negative: the register counts against its direction.",
)
DIFFERS = _warn(
    "quantity_differs",
    "The quantity {quantity} of {what} is not the difference of its reads, {difference}. Ask its"
    " sender before it goes on a bill.",
)
READS_OVERLAP = _warn(
    "reads_overlap",
    "The previous read of {what} at {time} UTC lies before the current read of the record in front"
    " of it. What lies in both would count twice; ask its sender before it goes on a bill.",
)

# Green Button
NO_READING_TYPE = _refuse_file(
    "no_reading_type",
    "{what} names no ReadingType. Its values are shown as {unit}, which is an assumption. Send the"
    " feed with its ReadingType, or say the unit.",
)
UNIT_SAID = _warn(
    "unit_said", "{what} names no ReadingType. Its values are read as {unit}, as you have said."
)
ONLY_READING_TYPE = _warn(
    "only_reading_type",
    "{what} does not name its ReadingType. It is read by the only one in the feed.",
)
READING_TYPE = _refuse(
    "reading_type",
    "The ReadingType of {what} has “{value}” as {field}, which cannot be read. Only interval values"
    " of electricity are.",
)
READING = _refuse(
    "reading", "“{value}” is no {field} of a reading. The reading is left out; correct it."
)
READING_QUALITY = _warn(
    "reading_quality", "The quality “{value}” is not known. The reading is read as an estimate."
)
LOCAL_TIME = _warn(
    "local_time", "“{value}” is no {field}. The local time is left out; readings are in UTC anyway."
)

# Tables
STAMP = _refuse("time", "“{stamp}” is no time of the form {form}. Correct it, or say its form.")
MISSING_HOUR = _refuse(
    "time_missing",
    "{stamp} did not exist in {zone}: the clocks went forward. Correct the time, or say the zone"
    " in which the file was written.",
)
AMBIGUOUS_HOUR = _refuse(
    "time_ambiguous",
    "{stamp} was twice in {zone}: the clocks went back, and the file does not have both hours one"
    " after the other. Write the time with its offset, for example 02:15+01:00.",
)
QUALITY_WORD = _refuse(
    "quality_word", "“{word}” is no quality that is known. Say in the mapping what it means."
)
NO_LENGTH = _refuse_file(
    "no_length",
    "How long the intervals are cannot be told, because there are not two times. Say it in the"
    " mapping.",
)
TOO_LONG = _refuse_file(
    "too_long",
    "The length of the intervals is {minutes} minutes; from 1 minute to 12 hours are read, because"
    " longer ones differ where the clocks change.",
)
DECIMAL_MARK = _refuse_file(
    "decimal_mark",
    "Which mark begins the decimals cannot be told from “{value}” in {what}: it may separate"
    " thousands as well. Say the decimal mark in the mapping.",
)
CELLS = _refuse(
    "cells", "This row ends after cell {found}, before its time or one of its values. Complete it."
)


def shown(text: str) -> str:
    """A text from a file as part of a sentence: one line, not long."""
    plain = "".join(letter if letter.isprintable() else "�" for letter in text[: _SHOWN + 1])
    return plain if len(plain) <= _SHOWN else f"{plain[:_SHOWN]}…"


class Problems:
    """What has been found so far: the first MAX_PROBLEMS, and how many more."""

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.more = 0

    def add(self, kind: Kind, line: int | None = None, path: str = "", **values: object) -> None:
        """Note a problem; `values` fill its sentence."""
        # One that concerns the whole file must never be among those that are only counted.
        if len(self.found) >= MAX_PROBLEMS and kind.severity is not Severity.REFUSE_FILE:
            self.more += 1
            return
        texts = {
            name: shown(value) if isinstance(value, str) else value
            for name, value in values.items()
        }
        sentence = kind.sentence.format(**texts)
        self.found.append(Problem(kind.code, kind.severity, sentence, line, path))

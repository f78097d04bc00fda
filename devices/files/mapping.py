"""What a table's columns mean: said by whoever reads it, never guessed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from devices.files.content import QUALITY_LETTERS, Direction, Quality
from devices.files.units import unit_of

_DIRECTIVE: Final = re.compile(r"%(.?)")
_DIRECTIVES: Final = frozenset("dmYyHMSfzIpbB%")
_KEYS: Final = frozenset(
    {
        "time",
        "values",
        "time_form",
        "zone",
        "stamp",
        "interval_minutes",
        "qualities",
        "meter",
        "decimal_mark",
        "unit",
        "power_of_ten",
        "direction",
    }
)
_VALUE_KEYS: Final = frozenset({"column", "unit", "direction", "quality_column"})


class MappingError(ValueError):
    """A mapping cannot be used; the message is a sentence that says why."""


@dataclass(frozen=True, slots=True)
class ValueColumn:
    """A column of values. Without `unit` its heading has it in brackets: “Consumption (kWh)”;
    without `quality_column` all values are actual.
    """

    column: str
    unit: str = ""
    direction: Direction = "none"
    quality_column: str = ""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """How a table is read.

    `time` is the column of times, which stand at the `start` or the `end` of their interval, or
    are the `instant` at which a value was measured (readings, not intervals).
    `time_form` is `auto` (2024-01-31 15:45, also with seconds, T, Z or an offset; 31.01.2024
    15:45), `unix` (s), `unix_ms`, or a pattern of strptime; times without an offset are those of
    `zone`. `interval_minutes` None: the most frequent distance. `qualities` says what the words in
    the quality columns mean, beside A, E, S, F and N. `decimal_mark` empty: sniffed.

    `unit`, `power_of_ten` and `direction` are for Green Button feeds without a ReadingType.
    """

    time: str = ""
    values: tuple[ValueColumn, ...] = ()
    time_form: str = "auto"
    zone: str = "UTC"
    stamp: Literal["start", "end", "instant"] = "start"
    interval_minutes: int | None = None
    qualities: Mapping[str, Quality] = field(default_factory=lambda: dict(QUALITY_LETTERS))
    meter: str = ""
    decimal_mark: Literal["", ".", ","] = ""
    unit: str = ""
    power_of_ten: int = 0
    direction: Direction = "none"

    def __post_init__(self) -> None:
        """Raises MappingError for what could never be read."""
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise MappingError(
                f"“{self.zone}” is no time zone. Write one such as Europe/Vienna or UTC."
            ) from error
        for value, known, name in (
            (self.stamp, ("start", "end", "instant"), "stamp"),
            (self.decimal_mark, ("", ".", ","), "decimal_mark"),
            *((one.direction, ("import", "export", "none"), "direction") for one in self.values),
            (self.direction, ("import", "export", "none"), "direction"),
        ):
            if value not in known:
                choices = ", ".join(f"“{choice}”" for choice in known)
                raise MappingError(f"“{value}” is no {name}. Write one of {choices}.")
        for unit in (self.unit, *(one.unit for one in self.values)):
            if unit and unit_of(unit) is None:
                raise MappingError(f"“{unit}” is no unit that is known. Write kWh, Wh, kvarh …")
        names = [one.column for one in self.values]
        if len(set(names)) != len(names):
            raise MappingError("A column of values is named more than once. Name each once.")
        if not -12 <= self.power_of_ten <= 12:
            raise MappingError("The power of ten must lie between -12 and 12.")
        _check_form(self.time_form)


def _check_form(form: str) -> None:
    if form in ("auto", "unix", "unix_ms"):
        return
    used = set(_DIRECTIVE.findall(form))
    # Without one of each a time would be a guess, of the year for example.
    if (
        used <= _DIRECTIVES
        and used & set("Yy")
        and "d" in used
        and used & set("mbB")
        and used & set("HI")
    ):
        return
    raise MappingError(
        f"“{form}” is no form of a time that is read. Write auto, unix, unix_ms or a pattern with"
        " day, month, year and hour such as %d/%m/%Y %H:%M."
    )


def mapping_from(document: object) -> ColumnMapping:
    """A mapping from a JSON object with the names of ColumnMapping's fields: `values` is a list of
    objects with those of ValueColumn, `qualities` maps words to names such as `actual`. Raises
    MappingError.
    """
    given = _object(document, _KEYS, "The mapping")
    texts = {key: _text(given, key) for key in _KEYS & given.keys() - _TYPED.keys()}
    typed = {key: _TYPED[key](given[key]) for key in _TYPED.keys() & given.keys()}
    values: dict[str, Any] = {**texts, **typed}
    return ColumnMapping(**values)


def _columns(value: object) -> tuple[ValueColumn, ...]:
    if not isinstance(value, list):
        raise MappingError("“values” must be a list of objects, each with the name of a column.")
    columns = []
    for one in value:
        given = _object(one, _VALUE_KEYS, "An object in “values”")
        if not given.get("column"):
            raise MappingError("An object in “values” names no column.")
        values: dict[str, Any] = {key: _text(given, key) for key in given}
        columns.append(ValueColumn(**values))
    return tuple(columns)


def _qualities(value: object) -> dict[str, Quality]:
    names = {quality.name.lower(): quality for quality in Quality}
    found = dict(QUALITY_LETTERS)
    for word, name in _object(value, None, "“qualities”").items():
        if not isinstance(name, str) or name not in names:
            raise MappingError(f"“{name}” is no quality. Write one of {', '.join(names)}.")
        found[word] = names[name]
    return found


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise MappingError(f"“{value}” must be a whole number.")
    return value


_TYPED: Final = {
    "values": _columns,
    "qualities": _qualities,
    "interval_minutes": _number,
    "power_of_ten": _number,
}


def _text(given: dict[str, object], key: str) -> str:
    value = given[key]
    if not isinstance(value, str):
        raise MappingError(f"“{key}” must be a text.")
    return value


def _object(value: object, keys: frozenset[str] | None, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise MappingError(f"{what} must be a JSON object.")
    unknown = sorted(set(value) - keys) if keys is not None else []
    if keys is not None and unknown:
        raise MappingError(
            f"{what} has “{unknown[0]}”, which is not known. Known are {', '.join(sorted(keys))}."
        )
    return value

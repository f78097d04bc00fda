"""What a document may look like, told once: each shape reads a value, naming what is wrong by its
path, and writes itself as JSON Schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Protocol

from billing.tariffs.sentences import sentence

# Prices and amounts fit the database's columns (numeric(28, 12)) with room for sums.
MAX_NUMBER: Final = 10**9
MAX_PLACES: Final = 10
_DECIMAL: Final = r"^-?[0-9]{1,9}(\.[0-9]{1,10})?$"
_SHOWN: Final = 40


@dataclass(slots=True)
class Problems:
    """What is wrong, as pairs of a path and a sentence. `shape`: wrong in itself, as a JSON Schema
    sees it; `meaning`: what parts say together.
    """

    shape: list[tuple[str, str]] = field(default_factory=list)
    meaning: list[tuple[str, str]] = field(default_factory=list)


class Shape(Protocol):
    """A kind of value."""

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        """The value as the engine wants it; adds to `problems` what is wrong."""

    def schema(self) -> dict[str, Any]:
        """As JSON Schema, draft 2020-12."""


def shown(value: Any) -> str:
    """A value in a message, cut short."""
    text = f"“{value}”" if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True, slots=True)
class Text:
    """Text of a length, maybe of a form, which `means` tells in words."""

    longest: int = 60
    pattern: str = ""
    means: str = sentence("text")

    def read(self, value: Any, path: str, problems: Problems) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= self.longest:
            problems.shape.append(
                (
                    path,
                    sentence(
                        "Here is %(means)s of 1 to %(longest)s characters expected, not %(value)s.",
                        means=self.means,
                        longest=self.longest,
                        value=shown(value),
                    ),
                )
            )
            return ""
        if self.pattern and (value[-1] == "\n" or not re.search(self.pattern, value, re.ASCII)):
            problems.shape.append(
                (
                    path,
                    sentence("%(value)s is not %(means)s.", value=shown(value), means=self.means),
                )
            )
            return ""
        return value

    def schema(self) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": self.longest}
        return made | ({"pattern": self.pattern} if self.pattern else {})


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some words or numbers."""

    values: tuple[str | int, ...]

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        # Bare equality would take true for 1.
        if isinstance(value, bool) or value not in self.values:
            names = ", ".join(map(str, self.values))
            problems.shape.append(
                (
                    path,
                    sentence(
                        "%(value)s is not one of: %(names)s.", value=shown(value), names=names
                    ),
                )
            )
            return self.values[0]
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.values)}


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""

    def read(self, value: Any, path: str, problems: Problems) -> bool:
        if not isinstance(value, bool):
            problems.shape.append(
                (path, sentence("%(value)s is not true or false.", value=shown(value)))
            )
            return False
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`."""

    least: int
    most: int

    def read(self, value: Any, path: str, problems: Problems) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            problems.shape.append(
                (path, sentence("%(value)s is not a whole number.", value=shown(value)))
            )
            return self.least
        if not self.least <= value <= self.most:
            problems.shape.append(
                (
                    path,
                    sentence(
                        "%(value)s is not from %(least)s to %(most)s.",
                        value=value,
                        least=self.least,
                        most=self.most,
                    ),
                )
            )
            return self.least
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True, slots=True)
class Number:
    """An exact number, written as one or as decimal text, within bounds if there are any."""

    least: int | None = None
    above: int | None = None
    most: int | None = None

    def read(self, value: Any, path: str, problems: Problems) -> Decimal:
        number = _decimal(value)
        if number is None:
            told = sentence(
                "%(value)s is not a number such as 0.25, at most %(most)s and with at most"
                " %(places)s decimal places.",
                value=shown(value),
                most=MAX_NUMBER,
                places=MAX_PLACES,
            )
            problems.shape.append((path, told))
            return Decimal(1)
        # A schema cannot compare a number that is written as text: bounds are meaning.
        if number != round(number, MAX_PLACES):
            problems.meaning.append(
                (
                    path,
                    sentence(
                        "%(value)s is not written with at most %(max_places)s decimal places.",
                        value=value,
                        max_places=MAX_PLACES,
                    ),
                )
            )
        if self.least is not None and number < self.least:
            problems.meaning.append(
                (path, sentence("%(value)s is less than %(least)s.", value=value, least=self.least))
            )
        if self.above is not None and number <= self.above:
            problems.meaning.append(
                (
                    path,
                    sentence(
                        "%(value)s is not more than %(above)s.", value=value, above=self.above
                    ),
                )
            )
        if self.most is not None and number > self.most:
            problems.meaning.append(
                (path, sentence("%(value)s is more than %(most)s.", value=value, most=self.most))
            )
        return number

    def schema(self) -> dict[str, Any]:
        return {"$ref": "#/$defs/number"}


NUMBER_SCHEMA: Final = {
    "description": "An exact number, as one or as decimal text.",
    "anyOf": [
        {"type": "number", "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER},
        {"type": "string", "pattern": _DECIMAL},
    ],
}


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal | str):
        return None
    if isinstance(value, str):
        return Decimal(value) if re.search(_DECIMAL, value, re.ASCII) else None
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number) <= MAX_NUMBER else None


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    of: Shape
    least: int = 1
    most: int = 200

    def read(self, value: Any, path: str, problems: Problems) -> list[Any]:
        if not isinstance(value, list | tuple):
            problems.shape.append(
                (path, sentence("Here is a list expected, not %(value)s.", value=shown(value)))
            )
            return []
        if not self.least <= len(value) <= self.most:
            problems.shape.append(
                (
                    path,
                    sentence(
                        "A list of %(least)s to %(most)s is expected, this has %(value)s.",
                        least=self.least,
                        most=self.most,
                        value=len(value),
                    ),
                )
            )
        return [self.of.read(one, f"{path}[{n}]", problems) for n, one in enumerate(value)]

    def schema(self) -> dict[str, Any]:
        return {
            "type": "array",
            "items": self.of.schema(),
            "minItems": self.least,
            "maxItems": self.most,
        }


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping of names to one kind of value."""

    name: Text
    of: Shape
    most: int = 60

    def read(self, value: Any, path: str, problems: Problems) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            problems.shape.append(
                (path, sentence("Here is a mapping expected, not %(value)s.", value=shown(value)))
            )
            return {}
        if not 1 <= len(value) <= self.most:
            problems.shape.append(
                (
                    path,
                    sentence(
                        "1 to %(most)s entries are expected, this has %(value)s.",
                        most=self.most,
                        value=len(value),
                    ),
                )
            )
        made = {}
        for key, one in value.items():
            self.name.read(key, path, problems)
            made[key] = self.of.read(one, f"{path}.{key}", problems)
        return made

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "propertyNames": self.name.schema(),
            "additionalProperties": self.of.schema(),
            "minProperties": 1,
            "maxProperties": self.most,
        }


@dataclass(frozen=True, slots=True)
class Record:
    """A mapping of known keys. `needed` must be there; with `one_of`, exactly one of these too.
    A key that is not there reads as None.
    """

    fields: Mapping[str, Shape]
    needed: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()

    def read(self, value: Any, path: str, problems: Problems) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            problems.shape.append(
                (path, sentence("Here is a mapping expected, not %(value)s.", value=shown(value)))
            )
            return {}
        for key in value:
            if key not in self.fields:
                known = ", ".join(self.fields)
                problems.shape.append(
                    (
                        _join(path, str(key)),
                        sentence("There is no such key here; known are: %(known)s.", known=known),
                    )
                )
        for key in self.needed:
            if key not in value:
                problems.shape.append((_join(path, key), sentence("This is missing.")))
        if self.one_of and sum(key in value for key in self.one_of) != 1:
            problems.shape.append(
                (
                    path,
                    sentence(
                        "Exactly one of these is expected: %(one_of)s.",
                        one_of=", ".join(self.one_of),
                    ),
                )
            )
        return {
            key: shape.read(value[key], _join(path, key), problems) if key in value else None
            for key, shape in self.fields.items()
        }

    def schema(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "type": "object",
            "properties": {key: shape.schema() for key, shape in self.fields.items()},
            "required": list(self.needed),
            "additionalProperties": False,
        }
        if self.one_of:
            made["oneOf"] = [{"required": [key]} for key in self.one_of]
        return made


@dataclass(frozen=True, slots=True)
class ByKey:
    """A record whose kind a word in it tells."""

    key: str
    kinds: Mapping[str, Record]

    def read(self, value: Any, path: str, problems: Problems) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            problems.shape.append(
                (path, sentence("Here is a mapping expected, not %(value)s.", value=shown(value)))
            )
            return {}
        kind = value.get(self.key)
        if not isinstance(kind, str) or kind not in self.kinds:
            names = ", ".join(self.kinds)
            told = (
                sentence("%(value)s is not one of: %(names)s.", value=shown(kind), names=names)
                if kind is not None
                else sentence("This is missing; it is one of: %(names)s.", names=names)
            )
            problems.shape.append((_join(path, self.key), told))
            return {}
        return self.kinds[kind].read(value, path, problems)

    def schema(self) -> dict[str, Any]:
        return {
            "type": "object",
            "properties": {self.key: {"enum": list(self.kinds)}},
            "required": [self.key],
            "allOf": [
                {
                    "if": {"properties": {self.key: {"const": kind}}, "required": [self.key]},
                    "then": one.schema(),
                }
                for kind, one in self.kinds.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class ByType:
    """One of some shapes, told apart by what the value is: a mapping, a list, or else."""

    mapping: Shape | None = None
    listed: Shape | None = None
    plain: Shape | None = None
    means: str = sentence("value")

    def read(self, value: Any, path: str, problems: Problems) -> Any:
        if isinstance(value, Mapping):
            shape = self.mapping
        elif isinstance(value, list | tuple):
            shape = self.listed
        else:
            shape = self.plain
        if shape is None:
            problems.shape.append(
                (
                    path,
                    sentence(
                        "Here is %(means)s expected, not %(value)s.",
                        means=self.means,
                        value=shown(value),
                    ),
                )
            )
            return None
        return shape.read(value, path, problems)

    def schema(self) -> dict[str, Any]:
        shapes: Sequence[Shape | None] = (self.plain, self.listed, self.mapping)
        return {"anyOf": [one.schema() for one in shapes if one is not None]}


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key

"""What the importers of tariffs share: their results, and the fields of a record.

A record is taken field by field. What can be expressed is used, what says nothing about prices is
kept as a note, and everything else is a problem, so that nothing of a record is lost silently.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any, Final

from billing.tariffs.sentences import sentence

# What documents hold: the places of a number.
LEAST: Final = Decimal("1e-10")
MOST: Final = Decimal("1e15")
FARTHEST: Final = 40
# URDB writes "no limit" as 1e38 or as the same in single precision.
ENDLESS: Final = Decimal("9e37")


Record = str | bytes | Mapping[str, Any]
"""One tariff: the text of its JSON, or what that says."""


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be known about a field of the record: `field` is its path, `text` a sentence."""

    field: str
    text: str

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


@dataclass(frozen=True, slots=True)
class Dated:
    """A tariff document for days [first, end), None where the record does not say; and what is to
    be known about its record.
    """

    document: Mapping[str, Any]
    first: date | None = None
    end: date | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """What a record says, in our documents in order of their days. `notes`: the fields that say
    nothing about prices, and how what the record leaves open was taken.
    """

    documents: tuple[Dated, ...]
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The record says what no document can: which fields, and why."""

    problems: tuple[Note, ...]

    @property
    def reason(self) -> str:
        return " ".join(str(problem) for problem in self.problems)


class CannotImportError(Exception):
    """A field cannot be expressed; importers make a `Refused` of it."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.note = Note(name, text)


@dataclass(slots=True)
class Fields:
    """The fields of one mapping of a record, each of which is to be taken.

    `path` is put before names in notes. Raises CannotImportError when it is no mapping.
    """

    record: Mapping[str, Any]
    path: str = ""
    notes: list[Note] = field(default_factory=list)
    _taken: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if not isinstance(self.record, Mapping):
            raise CannotImportError(
                self.path or "record", sentence("is no object with named fields.")
            )

    def __contains__(self, name: str) -> bool:
        return self.record.get(name) is not None

    def name(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name

    def take(self, name: str, default: Any = None) -> Any:
        self._taken.add(name)
        value = self.record.get(name)
        return default if value is None else value

    def number(
        self, name: str, default: Decimal | None = None, *, endless: bool = False
    ) -> Decimal:
        """A number; infinity, which JSON has no word for and some records do, alone as a limit."""
        value = self.take(name)
        if value is None:
            if default is None:
                raise CannotImportError(self.name(name), sentence("is missing."))
            return default
        return self.exact(decimal_of(value, self.name(name), endless=endless), name)

    def exact(self, number: Decimal, name: str) -> Decimal:
        """A price or limit with as many places as documents have, with a note if it had more."""
        rounded = number
        if abs(number) < MOST and number != number.quantize(LEAST):
            rounded = number.quantize(LEAST, ROUND_HALF_EVEN)
            self.note(
                name,
                sentence(
                    "%(number)s is rounded to %(rounded)s.", number=number, rounded=written(rounded)
                ),
            )
        return rounded

    def listed(self, name: str) -> Sequence[Any]:
        """A list, empty where there is none. Raises CannotImportError for anything else."""
        value = self.take(name, [])
        if not isinstance(value, list | tuple):
            raise CannotImportError(self.name(name), sentence("is no list."))
        return value

    def inner(self, name: str) -> Fields:
        """The fields of the mapping in `name`; notes go to the same list."""
        return Fields(self.take(name, {}), self.name(name), self.notes)

    def note(self, name: str, text: str) -> None:
        self.notes.append(Note(self.name(name), text))

    def describe(self, names: Iterable[str]) -> None:
        """Keeps what is there of fields that say nothing about prices."""
        for name in names:
            value = self.take(name)
            if value not in (None, "", [], {}):
                self.note(name, sentence("kept as a description: %(value)s", value=value))

    def finish(self) -> None:
        """Raises CannotImportError for a field with content that nobody took."""
        for name, value in self.record.items():
            if name not in self._taken and value not in (None, "", [], {}):
                raise CannotImportError(
                    self.name(name),
                    sentence("is a field that this import does not know; remove it or ask."),
                )


def decimal_of(value: Any, name: str, *, endless: bool = False) -> Decimal:
    """A number of JSON as it is written there; raises CannotImportError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise CannotImportError(name, sentence("is no number: %(value)s.", value=repr(value)))
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise CannotImportError(
            name, sentence("is no number: %(value)s.", value=repr(value))
        ) from None
    far = not endless if number.is_infinite() else abs(number.adjusted()) > FARTHEST
    if number.is_nan() or far:
        raise CannotImportError(
            name, sentence("is no number of a tariff: %(value)s.", value=repr(value))
        )
    return number


def written(number: Decimal) -> str:
    """A number as documents have it: exact, without an exponent."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") or "0" if "." in text else text


def imported_from(source: Record, read: Callable[[Fields], Dated]) -> Imported | Refused:
    """The tariff that `read` makes of a record; refused when a field is left over."""
    notes: list[Note] = []
    try:
        record = parsed(source) if isinstance(source, str | bytes) else source
        fields = Fields(record, notes=notes)
        dated = read(fields)
        fields.finish()
    except CannotImportError as error:
        return Refused((error.note,))
    return Imported((replace(dated, notes=tuple(notes)),), tuple(notes))


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text, numbers as they are written. Raises CannotImportError."""
    try:
        record = json.loads(text, parse_float=Decimal, parse_constant=Decimal)
        # JSON can name half a character, which neither a database nor an answer can hold.
        json.dumps(record, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        raise CannotImportError("record", sentence("has half a character in it.")) from None
    except (ValueError, RecursionError) as error:
        raise CannotImportError("record", sentence("is no JSON: %(error)s.", error=error)) from None
    return record


def daily_supply(amount: Decimal) -> dict[str, Any]:
    """What a day costs."""
    return {"name": "supply", "kind": "standing", "amount": written(amount), "per": "day"}

"""Prices from CSV files."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.prices_queries import Price
from tenants.days import possible

# Three years of quarters of an hour, with room for wide columns.
MOST_BYTES: Final = 10_000_000
UNITS: Final = {"kWh": Decimal(1), "MWh": Decimal(1000)}
# Whoever has so many lines wrong mends the file as a whole.
MOST_TOLD: Final = 20
_COLUMNS: Final = ("starts_at", "price")


@dataclass(frozen=True, slots=True)
class PriceFile:
    """A file with the columns `starts_at` (ISO 8601 with its offset) and `price`, separated by
    commas, semicolons or tabs; a decimal comma is read where commas do not separate. Prices are for
    one `unit`: kWh, or MWh as exchanges publish them.
    """

    content: bytes
    unit: str = "kWh"


def read_csv(file: PriceFile) -> tuple[Price, ...]:
    """The prices per kWh; ValidationError at `file`, line by line, or at `unit`."""
    if file.unit not in UNITS:
        raise ValidationError({"unit": [_("Prices are for a kWh or a MWh.")]})
    if len(file.content) > MOST_BYTES:
        raise _wrong(_("The file is too large: at most 10 MB."))
    try:
        text = file.content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _wrong(_("The file is no text in UTF-8.")) from error
    head = text.partition("\n")[0]
    separator = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        columns = [name.strip().lower() for name in next(rows, [])]
        if any(columns.count(name) != 1 for name in _COLUMNS):
            raise _wrong(_("The first line names the columns starts_at and price, each once."))
        places = columns.index("starts_at"), columns.index("price")
        return _prices(rows, places, file.unit, decimal_comma=separator != ",")
    except csv.Error as error:
        raise _wrong(_("Line %(line)d cannot be read.") % {"line": rows.line_num}) from error


def _prices(
    rows: Any, places: tuple[int, int], unit: str, *, decimal_comma: bool
) -> tuple[Price, ...]:
    """All lines; what is wrong is told line by line, up to `MOST_TOLD` of them."""
    found: list[Price] = []
    wrong: list[str] = []
    for row in rows:
        if not any(cell.strip() for cell in row):
            continue
        try:
            found.append(_price(row, places, rows.line_num, unit, decimal_comma=decimal_comma))
        except ValidationError as error:
            wrong += error.messages
            if len(wrong) == MOST_TOLD:
                break
    if wrong:
        raise ValidationError({"file": wrong})
    return tuple(found)


def _price(
    row: list[str], places: tuple[int, int], line: int, unit: str, *, decimal_comma: bool
) -> Price:
    try:
        at, price = (row[place].strip() for place in places)
        starts_at = datetime.fromisoformat(at)
        value = Decimal(price.replace(",", ".") if decimal_comma else price)
        if not value.is_finite():
            raise InvalidOperation
    except (IndexError, ValueError, InvalidOperation) as error:
        message = _("Line %(line)d has no instant such as 2026-03-01T00:00+01:00, or no price.")
        raise _wrong(message % {"line": line}) from error
    if starts_at.tzinfo is None:
        message = _("Line %(line)d: give the offset from UTC, for example 2026-03-01T00:00+01:00.")
        raise _wrong(message % {"line": line})
    if not possible(starts_at):
        message = _("Line %(line)d: %(at)s lies too far away.")
        raise _wrong(message % {"line": line, "at": at})
    return Price(starts_at.astimezone(UTC), value / UNITS[unit])


def _wrong(sentence: str) -> ValidationError:
    return ValidationError({"file": [sentence]})

"""Payments as a table: what banks and cash desks export as CSV.

UTF-8 (with or without a mark) or Windows-1252; columns parted by `;`, `,` or tab and found by their
headings (`_HEADINGS`, upper and lower case alike). Day and amount are needed. Amounts may have
either sign for decimals; which one, all amounts of the file must agree on. Rows with a negative
amount are ignored: what the tenant paid itself.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from billing.payments.values import (
    MOST_ACCOUNT,
    MOST_NAME,
    MOST_TEXT,
    Received,
    Statement,
    StatementError,
    gettext_noop,
    identified,
)
from tenants.days import possible

MOST_BYTES: Final = 20_000_000
MOST_ROWS: Final = 50_000
_HEADINGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "day": ("date", "booking date", "booked", "received", "buchungstag", "buchungsdatum"),
        "amount": ("amount", "betrag", "credit"),
        "currency": ("currency", "währung", "waehrung"),
        "payer": ("payer", "name", "debtor", "auftraggeber", "beguenstigter/zahlungspflichtiger"),
        "account": ("iban", "account", "payer account", "kontonummer/iban"),
        "text": ("text", "purpose", "description", "verwendungszweck", "remittance"),
        "reference": ("reference", "end to end", "referenz", "kundenreferenz (end-to-end)"),
        "id": ("id", "transaction", "transaction id", "umsatz-id"),
    }
)
_DAYS: Final = ("%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y")
# As many digits as a payment may have; with them the sums of a file are exact, too.
_POINT: Final = re.compile(r"[+-]?(\d{1,13}|\d{1,3}(,\d{3}){1,4})(\.\d{1,4})?", re.ASCII)
_COMMA: Final = re.compile(r"[+-]?(\d{1,13}|\d{1,3}(\.\d{3}){1,4})(,\d{1,4})?", re.ASCII)
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def read(data: bytes, *, currency: str) -> Statement:
    """The payments of a file; `currency` where it has no such column. Raises StatementError."""
    if len(data) > MOST_BYTES:
        raise StatementError(
            gettext_noop("A file has at most %(most)s MB."), most=MOST_BYTES // 1_000_000
        )
    rows = enumerate(_rows(_text(data)), 1)
    columns = _columns(next(rows, (1, []))[1])
    cells: list[tuple[int, dict[str, str]]] = []
    for number, row in rows:
        if not any(map(str.strip, row)):
            continue
        if len(cells) == MOST_ROWS:
            raise StatementError(
                gettext_noop("A file has at most %(most)s payments."), most=MOST_ROWS
            )
        cells.append((number, {name: _cell(row, at) for name, at in columns.items()}))
    numbers = _amounts(cells)
    found, ignored = [], 0
    for (number, told), amount in zip(cells, numbers, strict=True):
        if amount <= 0:
            ignored += 1
            continue
        found.append(_received(told, amount, number, currency))
    return Statement("", identified("", found, "csv"), ignored)


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise StatementError(gettext_noop("The file is no text: save it as UTF-8.")) from error


def _rows(text: str) -> Iterator[list[str]]:
    """One after the other: a file of nothing but line ends is millions of them."""
    if not text or "\0" in text:
        raise StatementError(gettext_noop("The file has no headings in its first line."))
    head = text.partition("\n")[0]
    delimiter = max(";,\t", key=head.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    except csv.Error as error:
        raise StatementError(
            gettext_noop("The file is no table: %(problem)s."), problem=error
        ) from error


def _columns(head: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    names = [cell.strip().lower() for cell in head]
    for column, known in _HEADINGS.items():
        at = [number for number, name in enumerate(names) if name in known]
        if len(at) > 1:
            raise StatementError(
                gettext_noop("Two columns are the %(column)s: rename or remove one."),
                1,
                column=column,
            )
        if at:
            found[column] = at[0]
    for column in ("day", "amount"):
        if column not in found:
            raise StatementError(
                gettext_noop("No column is the %(column)s: name it one of %(names)s."),
                1,
                column=column,
                names=", ".join(_HEADINGS[column]),
            )
    return found


def _cell(row: list[str], at: int) -> str:
    return row[at].strip() if at < len(row) else ""


def _amounts(cells: list[tuple[int, dict[str, str]]]) -> list[Decimal]:
    """All amounts, read by the one way of writing that fits all of them."""
    told = [(number, row["amount"].replace("\u00a0", "").replace(" ", "")) for number, row in cells]
    point = all(_POINT.fullmatch(text) for _, text in told)
    comma = all(_COMMA.fullmatch(text) for _, text in told)
    if point and comma:
        # Whole numbers alone read the same both ways; 1.234 and 1,234 do not.
        if any("." in text or "," in text for _, text in told):
            raise StatementError(
                gettext_noop(
                    "It is not clear whether the amounts have a point or a comma for decimals:"
                    " write them with two decimals."
                )
            )
    elif not point and not comma:
        wrong = next(
            (n for n, text in told if not _POINT.fullmatch(text) and not _COMMA.fullmatch(text)),
            told[0][0],
        )
        raise StatementError(
            gettext_noop("An amount is no number, or written unlike the others."), wrong
        )
    thousands, decimal = (",", ".") if point else (".", ",")
    return [Decimal(text.replace(thousands, "").replace(decimal, ".")) for _, text in told]


def _received(row: dict[str, str], amount: Decimal, number: int, currency: str) -> Received:
    own = row.get("currency", "").upper() or currency
    if _CURRENCY.fullmatch(own) is None:
        raise StatementError(
            gettext_noop("A currency is written as three letters, such as EUR."), number
        )
    return Received(
        row.get("id", "")[:100],
        amount,
        own,
        _day(row["day"], number),
        payer=row.get("payer", "")[:MOST_NAME],
        payer_account=row.get("account", "").replace(" ", "")[:MOST_ACCOUNT],
        text=" ".join(row.get("text", "").split())[:MOST_TEXT],
        reference=row.get("reference", "")[:MOST_TEXT],
    )


def _day(text: str, number: int) -> date:
    for form in _DAYS:
        try:
            day = datetime.strptime(text, form).date()  # noqa: DTZ007 - a day without a zone
        except ValueError:
            continue
        if possible(day):
            return day
    raise StatementError(gettext_noop("A day is written as 2026-03-31 or 31.03.2026."), number)

"""The accounting journal: every entry of the accounts as lines of a CSV file for bookkeeping.

The columns follow the booking batch of DATEV (docs/bill-documents.md says what they mean); a bill
has a line for each rate of tax, other entries have one. Amounts are positive, `S` (Soll) says that
the customer owes more, `H` (Haben) that he owes less.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from billing.documents.figures import minor_units, rounded

COLUMNS: Final = (
    "Umsatz (ohne Soll/Haben-Kz)",
    "Soll/Haben-Kennzeichen",
    "WKZ Umsatz",
    "Konto",
    "Belegdatum",
    "Belegfeld 1",
    "Belegfeld 2",
    "Buchungstext",
    "KOST1 - Kostenstelle",
    "EU-Land u. UStID",
    "Steuersatz",
    "Netto",
    "Steuer",
    "Art",
    "Name",
    "Vertrag",
    "Leistung von",
    "Leistung bis",
)
# Spreadsheets and bookkeeping in German know the text as UTF-8 by these first bytes.
MARK: Final = "\ufeff"
# A cell that begins so is a formula to a spreadsheet (OWASP: CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An entry of an account. `nets` are the exact net amounts of a bill by rate of tax, empty for
    other entries; `first` … `last` are the days that a bill is for.
    """

    kind: str
    amount: Decimal
    currency: str
    booked_on: date
    due_on: date
    customer: str
    name: str
    agreement: str
    document: str = ""
    text: str = ""
    cost_centre: str = ""
    vat_id: str = ""
    net: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)
    nets: Mapping[Decimal | None, Decimal] | None = None
    first: date | None = None
    last: date | None = None


def head() -> str:
    """The first line."""
    return MARK + _written([COLUMNS])


def lines(entries: Iterable[JournalEntry]) -> str:
    """The lines of entries, in their order."""
    return _written(row for entry in entries for row in _rows(entry))


def _rows(entry: JournalEntry) -> Iterable[tuple[str, ...]]:
    for percent, net, tax in _parts(entry):
        gross = net + tax
        yield (
            _amount(abs(gross), entry.currency),
            "H" if gross < 0 else "S",
            entry.currency,
            _safe(entry.customer),
            _day(entry.booked_on),
            _safe(entry.document),
            _day(entry.due_on),
            _safe(entry.text),
            _safe(entry.cost_centre),
            _safe(entry.vat_id),
            "" if percent is None else _plain(percent),
            _amount(net, entry.currency) if entry.nets else "",
            _amount(tax, entry.currency) if entry.nets else "",
            entry.kind,
            _safe(entry.name),
            _safe(entry.agreement),
            _day(entry.first),
            _day(entry.last),
        )


def _parts(entry: JournalEntry) -> list[tuple[Decimal | None, Decimal, Decimal]]:
    """Rate, net and tax of each part; they add up to the bill, what rounding leaves goes to the
    largest.
    """
    if not entry.nets:
        return [(None, entry.amount, Decimal(0))]
    digits = minor_units(entry.currency)
    rates = sorted(entry.nets, key=lambda one: (one is None, one or 0))
    nets = [rounded(entry.nets[rate], digits) for rate in rates]
    taxes = [rounded(entry.nets[rate] * (rate or 0) / 100, digits) for rate in rates]
    largest = max(range(len(rates)), key=lambda n: (abs(nets[n]) * (rates[n] or 0), abs(nets[n])))
    nets[largest] += entry.net - sum(nets)
    taxes[largest] += entry.tax - sum(taxes)
    return list(zip(rates, nets, taxes, strict=True))


def _written(rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _amount(value: Decimal, currency: str) -> str:
    return f"{rounded(value, minor_units(currency)):f}".replace(".", ",")


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace(".", ",")


def _day(value: date | None) -> str:
    return "" if value is None else value.strftime("%d.%m.%Y")

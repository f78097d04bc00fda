"""The accounting journal has every entry once, bills by their rates of tax, to the cent."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from billing.documents import journal
from billing.documents.journal import JournalEntry
from billing.domain import documents_journal_queries
from billing.models import Agreement, EntryKind
from billing.tests import factories
from devices.tests.factories import facility
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

_BILL: Final[dict[str, Any]] = {
    "kind": "bill",
    "currency": "EUR",
    "booked_on": date(2026, 4, 3),
    "due_on": date(2026, 4, 17),
    "customer": "C-1",
    "name": "Maria; Beispiel",
    "agreement": "A-1",
    "document": "R-1",
    "first": date(2026, 3, 1),
    "last": date(2026, 3, 31),
}


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.removeprefix(journal.MARK).splitlines(), delimiter=";"))


def _written(*entries: JournalEntry) -> list[dict[str, str]]:
    return _rows(journal.head() + journal.lines(entries))


def test_a_bill_has_a_line_for_each_rate() -> None:
    entry = JournalEntry(
        amount=Decimal("133.12"),
        net=Decimal("112.50"),
        tax=Decimal("20.62"),
        nets={Decimal(19): Decimal("105.2501"), Decimal(7): Decimal("7.25"), None: Decimal(0)},
        **_BILL,
    )
    low, high, none = _written(entry)
    assert (high["Umsatz (ohne Soll/Haben-Kz)"], high["Steuersatz"]) == ("125,36", "19")
    assert (high["Netto"], high["Steuer"]) == ("105,25", "20,11")
    assert (low["Netto"], low["Steuer"], low["Steuersatz"]) == ("7,25", "0,51", "7")
    assert (none["Netto"], none["Steuersatz"]) == ("0,00", "")
    assert (high["Soll/Haben-Kennzeichen"], high["Konto"]) == ("S", "C-1")
    assert (high["Belegfeld 1"], high["Belegfeld 2"]) == ("R-1", "17.04.2026")
    assert (high["Leistung von"], high["Leistung bis"]) == ("01.03.2026", "31.03.2026")
    assert high["Name"] == "Maria; Beispiel"


def test_a_payment_is_a_line_on_the_other_side() -> None:
    values = _BILL | {"kind": "payment", "first": None, "last": None, "text": "=1+1"}
    (row,) = _written(JournalEntry(amount=Decimal(-50), **values))
    assert (row["Umsatz (ohne Soll/Haben-Kz)"], row["Soll/Haben-Kennzeichen"]) == ("50,00", "H")
    assert (row["Netto"], row["Steuersatz"], row["Buchungstext"]) == ("", "", "'=1+1")


_RATES: Final = st.sampled_from([None, Decimal(0), Decimal(7), Decimal("8.1"), Decimal(19)])


@given(
    st.dictionaries(_RATES, st.decimals(-5000, 5000, places=6), min_size=1),
    st.sampled_from(["EUR", "JPY", "KWD"]),
)
def test_the_lines_of_a_bill_add_up_to_it(
    nets: dict[Decimal | None, Decimal], currency: str
) -> None:
    coin = Decimal(1).scaleb(-{"EUR": 2, "JPY": 0, "KWD": 3}[currency])
    net = sum(nets.values(), Decimal(0)).quantize(coin)
    tax = sum((one * (rate or 0) / 100 for rate, one in nets.items()), Decimal(0)).quantize(coin)
    entry = JournalEntry(
        amount=net + tax, net=net, tax=tax, nets=nets, **(_BILL | {"currency": currency})
    )

    def amount(row: dict[str, str], name: str) -> Decimal:
        return Decimal(row[name].replace(",", "."))

    rows = _written(entry)
    assert sum(amount(row, "Netto") for row in rows) == net
    assert sum(amount(row, "Steuer") for row in rows) == tax
    signs = {"S": 1, "H": -1}
    assert net + tax == sum(
        signs[row["Soll/Haben-Kennzeichen"]] * amount(row, "Umsatz (ohne Soll/Haben-Kz)")
        for row in rows
    )


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


def _booked(agreement: Agreement, count: int = 1) -> None:
    for _number in range(count):
        bill = factories.bill(agreement)
        factories.entry(agreement, bill.total, EntryKind.BILL, bill=bill)
        paid = factories.payment(agreement.tenant, bill.total, agreement=agreement)
        factories.entry(agreement, -bill.total, EntryKind.PAYMENT, payment=paid)


def _journal(first: date, end: date) -> list[dict[str, str]]:
    text, behind = documents_journal_queries.portion(first=first, end=end, behind=None)
    while behind is not None:
        more, behind = documents_journal_queries.portion(first=first, end=end, behind=behind)
        text += more
    return _rows(text)


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_the_journal_of_a_period_has_what_was_booked_then(
    here: Tenant, count: int, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _number in range(count):
        _booked(factories.agreement(facility(here)))
    first, end = factories.END, date(2026, 4, 2)
    with django_assert_num_queries(2):
        rows = _journal(first, end)
    assert [row["Art"] for row in rows] == ["bill", "payment"] * count
    assert {row["Umsatz (ohne Soll/Haben-Kz)"] for row in rows} == {"119,00"}
    assert _journal(date(2026, 4, 2), date(2026, 5, 1)) == []
    assert _journal(date(2026, 3, 1), factories.END) == []


@pytest.mark.django_db
def test_the_journal_is_read_in_portions(here: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for _number in range(3):
        _booked(factories.agreement(facility(here)))
    whole = _journal(factories.END, date(2026, 4, 2))
    monkeypatch.setattr(documents_journal_queries, "_AT_ONCE", 2)
    assert _journal(factories.END, date(2026, 4, 2)) == whole
    assert len(whole) == 6


@pytest.mark.django_db
def test_the_journal_is_that_of_the_tenant(here: Tenant) -> None:
    other = tenant()
    with open_scope(Scope((other.pk,))):
        _booked(factories.agreement(facility(other)))
    assert _journal(factories.END, date(2026, 4, 2)) == []

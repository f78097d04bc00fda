"""A bill in the terms of EN 16931-1:2017, the semantic model of European e-invoices, from which
both syntaxes are written (`cii`, `ubl`). BT and BG are the numbers of that model.

How a bill becomes one:

- Every line but taxes and rounding is an invoice line (BG-25). Its net amount (BT-131) is the
  line's, rounded to two decimals. Prices are never negative there (BR-27): what is credited (energy
  given to the grid, discounts) has a negative quantity. Where quantity × price is not the amount
  (percentages, minimum charges, parts of months), it is one piece at the amount.
- Value added tax is what `tax_percent` of the lines says: one group (BG-23) for each rate. Where
  lines have several taxes, the last of the tariff is value added tax; the others, and what does not
  follow from the rates, are invoice lines.
- What remains between these sums and the bill, which is rounded once, is the rounding amount
  (BT-114), so that the amount due (BT-115) is that of the bill to the cent.
- A credit note (code 381) has the signs of an invoice: what is given back is positive.

Categories: S with a rate above nothing, Z with a rate of nothing, E for lines without a rate, and O
for a whole bill without rates by a seller without a VAT number.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Final

from babel import Locale

from billing.documents.figures import day, number, rounded
from billing.documents.payment_code import compact_iban
from billing.documents.sheet import reference
from billing.documents.values import Address, BillDocument, DocumentError, DocumentLine
from billing.documents.words import word
from billing.tariffs.sentences import sentence

SPECIFICATION: Final = "urn:cen.eu:en16931:2017"
INVOICE: Final = "380"
CREDIT_NOTE: Final = "381"
STANDARD: Final = "S"
ZERO: Final = "Z"
EXEMPT: Final = "E"
OUTSIDE: Final = "O"
CREDIT_TRANSFER: Final = "30"
SEPA_TRANSFER: Final = "58"

_CENT: Final = Decimal("0.01")
# BR-CO-17 and its kin allow amounts of tax to differ by less than one from rate × basis.
_MOST_OFF: Final = Decimal("0.99")
_PIECE: Final = "C62"
# Percentages are kept with three decimals.
_SAME_PERCENT: Final = Decimal("0.002")
# Of taxes that are taxed: each doubles what percentages may mean.
_MOST_TAXES: Final = 6
# UN/ECE Recommendation 20.
_UNITS: Final = {
    "kWh": "KWH",
    "MWh": "MWH",
    "kW": "KWT",
    "kvarh": "K3",
    "kvar": "KVR",
    "day": "DAY",
    "month": "MON",
    "year": "ANN",
    "%": "P1",
}
_VAT_ID: Final = re.compile(r"[A-Z]{2}[A-Z0-9+*.]{2,}")
# Greece and Northern Ireland have prefixes of their own.
_PREFIXES: Final = frozenset(Locale("en").territories) | {"EL", "XI"}
_NO_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


class EInvoiceError(DocumentError):
    """A bill has not what an e-invoice needs; the sentence says what to enter where."""


@dataclass(frozen=True, slots=True)
class Item:
    """An invoice line (BG-25); `last` is its last day, `percent` None outside of the tax."""

    name: str
    description: str
    first: date
    last: date
    quantity: Decimal
    unit: str
    price: Decimal
    net: Decimal
    category: str
    percent: Decimal | None


@dataclass(frozen=True, slots=True)
class Group:
    """Value added tax of a category and rate (BG-23)."""

    category: str
    percent: Decimal | None
    basis: Decimal
    amount: Decimal
    reason: str


@dataclass(frozen=True, slots=True)
class Party:
    """Seller or buyer; `vat_id` is a VAT number with its prefix, `tax_number` any other."""

    name: str
    address: Address
    identifier: str = ""
    vat_id: str = ""
    tax_number: str = ""
    email: str = ""
    phone: str = ""


@dataclass(frozen=True, slots=True)
class EInvoice:
    """The whole. All amounts have two decimals; `rounding` is BT-114, `due` BT-115."""

    code: str
    number: str
    issued_on: date
    due_on: date
    currency: str
    first: date
    last: date
    notes: tuple[str, ...]
    seller: Party
    buyer: Party
    buyer_reference: str
    contract: str
    accounting: str
    place: str
    place_address: Address
    iban: str
    bic: str
    means: str
    remittance: str
    terms: str
    corrects: str
    corrected_on: date | None
    items: tuple[Item, ...]
    groups: tuple[Group, ...]
    net: Decimal
    tax: Decimal
    rounding: Decimal
    due: Decimal

    @property
    def total(self) -> Decimal:
        """With value added tax (BT-112)."""
        return self.net + self.tax


def einvoice(document: BillDocument) -> EInvoice:
    """A bill in the terms of the standard. Raises EInvoiceError where it has not what that needs:
    the seller's country, a tax or VAT number of the seller, amounts of at most two decimals.
    """
    seller, buyer, supply = document.parties.seller, document.parties.buyer, document.parties.supply
    if not seller.address.country:
        raise EInvoiceError(
            sentence("An e-invoice names the seller's country: enter it in the billing settings.")
        )
    if document.total != rounded(document.total, 2):
        raise EInvoiceError(
            sentence(
                "An e-invoice has two decimals: %(number)s asks for %(total)s %(currency)s.",
                number=document.number,
                total=document.total,
                currency=document.currency,
            )
        )
    sold_by = _party(seller.name, seller.address, seller.vat_id, seller.tax_number)
    if not (sold_by.vat_id or sold_by.tax_number):
        raise EInvoiceError(
            sentence(
                "An e-invoice names the seller by VAT number or tax number: enter one in the"
                " billing settings."
            )
        )
    sold_by = replace(
        sold_by,
        # BR-CO-26: who has no VAT number is known by another.
        identifier="" if sold_by.vat_id else sold_by.tax_number,
        email=seller.email,
        phone=seller.phone,
    )
    country = buyer.address.country or supply.address.country or seller.address.country
    bought_by = replace(
        _party(buyer.name, replace(buyer.address, country=country), buyer.vat_id, ""),
        identifier=_text(buyer.number),
        email=buyer.email,
    )
    items, tax = _items(document, outside=not sold_by.vat_id)
    groups = _groups(items, tax, document.language)
    if any(one.category == OUTSIDE for one in groups):
        bought_by = replace(bought_by, vat_id="")  # BR-O-02
    net = sum((one.net for one in items), Decimal("0.00"))
    vat = sum((one.amount for one in groups), Decimal("0.00"))
    due = rounded(_sign(document) * document.total, 2)
    left = due - net - vat
    if abs(left) > max(_MOST_OFF, _CENT * len(document.lines)):
        raise EInvoiceError(
            f"The lines of {document.number} add up to {net + vat} and not to {due}"
            f" {document.currency}: the bill has to be made anew."
        )
    return EInvoice(
        code=CREDIT_NOTE if document.credit_note else INVOICE,
        number=_text(document.number),
        issued_on=document.issued_on,
        due_on=document.due_on,
        currency=document.currency,
        first=document.first,
        last=document.end - timedelta(days=1),
        notes=tuple(_notes(document)),
        seller=sold_by,
        buyer=bought_by,
        buyer_reference=_text(buyer.reference),
        contract=_text(supply.agreement),
        accounting=_text(supply.cost_centre),
        place=_text(supply.facility),
        place_address=_address(supply.address),
        iban="" if document.credit_note else compact_iban(seller.iban),
        bic="".join(seller.bic.split()).upper(),
        means=SEPA_TRANSFER if document.currency == "EUR" else CREDIT_TRANSFER,
        remittance=_text(reference(document)),
        terms=_terms(document),
        corrects=_text(document.corrects),
        corrected_on=document.corrected_on,
        items=items,
        groups=groups,
        net=net,
        tax=vat,
        rounding=left,
        due=due,
    )


def decimal_text(value: Decimal) -> str:
    """Without exponent and without zeros that say nothing."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(text: str) -> str:
    """Without what XML has no place for."""
    return " ".join(_NO_TEXT.sub(" ", text).split())


def _address(address: Address) -> Address:
    return Address(
        _text(address.street), _text(address.postal_code), _text(address.city), address.country
    )


def _party(name: str, address: Address, vat_id: str, tax_number: str) -> Party:
    plain = "".join(vat_id.split()).upper()
    is_vat = bool(_VAT_ID.fullmatch(plain)) and plain[:2] in _PREFIXES
    return Party(
        name=_text(name),
        address=_address(address),
        vat_id=plain if is_vat else "",
        tax_number=_text(tax_number) or ("" if is_vat else _text(vat_id)),
    )


def _sign(document: BillDocument) -> int:
    return -1 if document.credit_note else 1


def _terms(document: BillDocument) -> str:
    language = document.language
    amount = f"{number(abs(document.total), language, least=2, most=2)} {document.currency}"
    if document.total <= 0:
        return word(language, "pay_credit", amount=amount)
    return word(language, "pay_to", amount=amount, date=day(document.due_on, language))


def _notes(document: BillDocument) -> Iterable[str]:
    if document.cause:
        yield _text(word(document.language, "cause", cause=document.cause))
    if document.estimated_kwh > 0:
        quantity = number(document.estimated_kwh, document.language)
        yield _text(word(document.language, "estimate", quantity=quantity))


def _items(document: BillDocument, *, outside: bool) -> tuple[tuple[Item, ...], Decimal]:
    """The invoice lines, and what is value added tax of the bill's taxes, with the signs of an
    invoice.
    """
    sign = _sign(document)
    priced = [line for line in document.lines if line.kind not in ("tax", "rounding")]
    taxes = [line for line in document.lines if line.kind == "tax"]
    rated = taxes and any(line.tax_percent for line in document.lines)
    for lines, others in (_value_added(priced, taxes), (priced, [])) if rated else ():
        tax = document.tax - sum((line.amount for line in others), Decimal(0))
        items = tuple(_item(line, document, outside=False) for line in lines)
        least = sum((one.amount for one in _groups(items, None, document.language)), Decimal(0))
        if abs(least - sign * tax) <= min(_MOST_OFF, _CENT * (len(lines) + 1) + _coin(document)):
            return items, rounded(sign * tax, 2)
    lines = [replace(line, tax_percent=None) for line in priced + taxes]
    return tuple(_item(line, document, outside=outside) for line in lines), Decimal(0)


def _value_added(
    priced: Sequence[DocumentLine], taxes: Sequence[DocumentLine]
) -> tuple[list[DocumentLine], list[DocumentLine]]:
    """Lines at the rate of value added tax alone, and the taxes that are others.

    Where each line has one tax, all are value added tax. Where some have several, the last one is,
    and a line's percentage is the sum of others, with or without it: p × (1 + T) of value added tax
    where T of the others are themselves taxed.
    """
    single = {abs(line.quantity) for line in taxes}
    found = {line.tax_percent for line in priced if line.tax_percent}
    several = any(min(abs(one - each) for each in single) > _SAME_PERCENT for one in found)
    if len(taxes) > _MOST_TAXES or not (several or any(line.tax_percent for line in taxes)):
        return list(priced), []
    *others, last = taxes
    percent = abs(last.quantity)
    meant: dict[Decimal, Decimal | None] = {}
    for count in range(len(others) + 1):
        for some in combinations(others, count):
            plain = sum((abs(one.quantity) for one in some), Decimal(0))
            taxed = sum((abs(one.quantity) for one in some if one.tax_percent), Decimal(0))
            meant.setdefault(plain + percent * (1 + taxed / 100), percent)
            meant.setdefault(plain, None)
    return [_at(line, meant) for line in priced] + others, others


def _at(line: DocumentLine, meant: Mapping[Decimal, Decimal | None]) -> DocumentLine:
    """A line at the rate that its percentage means."""
    if line.tax_percent:
        for sum_of_taxes, percent in meant.items():
            if abs(sum_of_taxes - line.tax_percent) <= _SAME_PERCENT:
                return replace(line, tax_percent=percent)
    return line


def _coin(document: BillDocument) -> Decimal:
    """Where the whole bill is rounded to larger coins than cents, so is its tax."""
    exact = document.tax == document.tax.to_integral_value()
    return _MOST_OFF if exact else Decimal(0)


def _item(line: DocumentLine, document: BillDocument, *, outside: bool) -> Item:
    sign = _sign(document)
    net = rounded(sign * line.amount, 2)
    quantity, price, unit = sign * line.quantity, line.price, _UNITS.get(line.unit, _PIECE)
    if price is not None and net and abs(quantity * price + net) <= _CENT:
        quantity = -quantity  # given, where the tariff counts what was taken
    if price is None or abs(quantity * price - net) > _CENT:
        quantity, price, unit = Decimal(1), net, _PIECE
    if price < 0:
        quantity, price = -quantity, -price
    percent = line.tax_percent
    category = STANDARD if percent else EXEMPT if percent is None else ZERO
    description = " · ".join(
        text
        for text in (
            line.period,
            word(document.language, "tier", tier=line.tier) if line.tier else "",
        )
        if text
    )
    return Item(
        name=_text(line.label) or line.kind,
        description=_text(description),
        first=line.first,
        last=max(line.end - timedelta(days=1), line.first),
        quantity=quantity,
        unit=unit,
        price=price,
        net=net,
        category=OUTSIDE if outside else category,
        percent=None if outside else percent or Decimal(0),
    )


def _groups(items: Sequence[Item], tax: Decimal | None, language: str) -> tuple[Group, ...]:
    """The tax by category and rate. With `tax` the groups add up to it: what rounding leaves goes
    to the largest.
    """
    sums: dict[tuple[str, Decimal | None], Decimal] = defaultdict(Decimal)
    for item in items:
        sums[item.category, item.percent] += item.net
    groups = [
        Group(
            category,
            percent,
            basis,
            rounded(basis * (percent or 0) / 100, 2),
            word(language, f"vat_{category}") if category in (EXEMPT, OUTSIDE) else "",
        )
        for (category, percent), basis in sorted(
            sums.items(), key=lambda one: (one[0][0], one[0][1] or 0)
        )
    ]
    if tax is not None:
        left = tax - sum((one.amount for one in groups), Decimal(0))
        at = max(range(len(groups)), key=lambda n: abs(groups[n].basis) * (groups[n].percent or 0))
        groups[at] = replace(groups[at], amount=groups[at].amount + left)
    return tuple(groups)

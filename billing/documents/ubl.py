"""E-invoices in UBL 2.1 (ISO/IEC 19845): Invoice and CreditNote as EN 16931-3-2 binds them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Final

from lxml import etree

from billing.documents.einvoice import (
    CREDIT_NOTE,
    SPECIFICATION,
    EInvoice,
    Group,
    Item,
    Party,
    decimal_text,
)
from billing.documents.values import Address

_BASE: Final = "urn:oasis:names:specification:ubl:schema:xsd:"
_CAC: Final = f"{{{_BASE}CommonAggregateComponents-2}}"
_CBC: Final = f"{{{_BASE}CommonBasicComponents-2}}"


def ubl(invoice: EInvoice) -> bytes:
    """The e-invoice as XML in UTF-8: an Invoice, or a CreditNote."""
    credit = invoice.code == CREDIT_NOTE
    kind = "CreditNote" if credit else "Invoice"
    space = f"{_BASE}{kind}-2"
    root = etree.Element(
        f"{{{space}}}{kind}", nsmap={None: space, "cac": _CAC[1:-1], "cbc": _CBC[1:-1]}
    )
    _head(root, invoice, kind)
    _supplier(root, invoice)
    customer = _in(_in(root, "AccountingCustomerParty"), "Party")
    _party(customer, invoice.buyer)
    place = _in(root, "Delivery")
    _text(place, "ActualDeliveryDate", invoice.last.isoformat())
    if invoice.place_address.country:
        _address(_in(_in(place, "DeliveryLocation"), "Address"), invoice.place_address)
        if invoice.place:
            _text(_in(_in(place, "DeliveryParty"), "PartyName"), "Name", invoice.place)
    _payment(root, invoice)
    _sums(root, invoice)
    for position, item in enumerate(invoice.items, 1):
        _line(root, position, item, kind, invoice.currency)
    return bytes(etree.tostring(root, xml_declaration=True, encoding="UTF-8"))


def _in(node: Any, tag: str) -> Any:
    return etree.SubElement(node, _CAC + tag)


def _text(node: Any, tag: str, text: str, **attributes: str) -> None:
    """A leaf; none where there is nothing to say."""
    if text:
        etree.SubElement(node, _CBC + tag, attributes).text = text


def _money(node: Any, tag: str, value: Decimal, currency: str) -> None:
    _text(node, tag, f"{value:.2f}", currencyID=currency)


def _days(node: Any, first: date, last: date) -> None:
    period = _in(node, "InvoicePeriod")
    _text(period, "StartDate", first.isoformat())
    _text(period, "EndDate", last.isoformat())


def _head(root: Any, invoice: EInvoice, kind: str) -> None:
    _text(root, "CustomizationID", SPECIFICATION)
    _text(root, "ID", invoice.number)
    _text(root, "IssueDate", invoice.issued_on.isoformat())
    if kind == "Invoice" and invoice.due > 0:
        _text(root, "DueDate", invoice.due_on.isoformat())
    _text(root, f"{kind}TypeCode", invoice.code)
    # The binding has room for one note.
    _text(root, "Note", " ".join(invoice.notes))
    _text(root, "DocumentCurrencyCode", invoice.currency)
    _text(root, "AccountingCost", invoice.accounting)
    _text(root, "BuyerReference", invoice.buyer_reference)
    _days(root, invoice.first, invoice.last)
    if invoice.corrects:
        before = _in(_in(root, "BillingReference"), "InvoiceDocumentReference")
        _text(before, "ID", invoice.corrects)
        if invoice.corrected_on:
            _text(before, "IssueDate", invoice.corrected_on.isoformat())
    if invoice.contract:
        _text(_in(root, "ContractDocumentReference"), "ID", invoice.contract)


def _supplier(root: Any, invoice: EInvoice) -> None:
    seller = invoice.seller
    party = _in(_in(root, "AccountingSupplierParty"), "Party")
    _party(party, seller)
    if seller.phone and seller.email:
        contact = _in(party, "Contact")
        _text(contact, "Name", seller.name)
        _text(contact, "Telephone", seller.phone)
        _text(contact, "ElectronicMail", seller.email)


def _party(node: Any, party: Party) -> None:
    _text(node, "EndpointID", party.email, schemeID="EM")
    if party.identifier:
        _text(_in(node, "PartyIdentification"), "ID", party.identifier)
    _text(_in(node, "PartyName"), "Name", party.name)
    _address(_in(node, "PostalAddress"), party.address)
    for scheme, text in (("VAT", party.vat_id), ("FC", party.tax_number)):
        if text:
            tax = _in(node, "PartyTaxScheme")
            _text(tax, "CompanyID", text)
            _text(_in(tax, "TaxScheme"), "ID", scheme)
    _text(_in(node, "PartyLegalEntity"), "RegistrationName", party.name)


def _address(node: Any, address: Address) -> None:
    _text(node, "StreetName", address.street)
    _text(node, "CityName", address.city)
    _text(node, "PostalZone", address.postal_code)
    _text(_in(node, "Country"), "IdentificationCode", address.country)


def _payment(root: Any, invoice: EInvoice) -> None:
    if invoice.iban:
        means = _in(root, "PaymentMeans")
        _text(means, "PaymentMeansCode", invoice.means)
        _text(means, "PaymentID", invoice.remittance)
        account = _in(means, "PayeeFinancialAccount")
        _text(account, "ID", invoice.iban)
        _text(account, "Name", invoice.seller.name)
        if invoice.bic:
            _text(_in(account, "FinancialInstitutionBranch"), "ID", invoice.bic)
    _text(_in(root, "PaymentTerms"), "Note", invoice.terms)


def _sums(root: Any, invoice: EInvoice) -> None:
    currency = invoice.currency
    total = _in(root, "TaxTotal")
    _money(total, "TaxAmount", invoice.tax, currency)
    for group in invoice.groups:
        part = _in(total, "TaxSubtotal")
        _money(part, "TaxableAmount", group.basis, currency)
        _money(part, "TaxAmount", group.amount, currency)
        _category(part, "TaxCategory", group)
    sums = _in(root, "LegalMonetaryTotal")
    _money(sums, "LineExtensionAmount", invoice.net, currency)
    _money(sums, "TaxExclusiveAmount", invoice.net, currency)
    _money(sums, "TaxInclusiveAmount", invoice.total, currency)
    if invoice.rounding:
        _money(sums, "PayableRoundingAmount", invoice.rounding, currency)
    _money(sums, "PayableAmount", invoice.due, currency)


def _category(node: Any, tag: str, taxed: Group | Item) -> None:
    category = _in(node, tag)
    _text(category, "ID", taxed.category)
    if taxed.percent is not None:
        _text(category, "Percent", decimal_text(taxed.percent))
    if isinstance(taxed, Group):
        _text(category, "TaxExemptionReason", taxed.reason)
    _text(_in(category, "TaxScheme"), "ID", "VAT")


def _line(root: Any, position: int, item: Item, kind: str, currency: str) -> None:
    line = _in(root, f"{kind}Line")
    _text(line, "ID", str(position))
    tag = "CreditedQuantity" if kind == "CreditNote" else "InvoicedQuantity"
    _text(line, tag, decimal_text(item.quantity), unitCode=item.unit)
    _money(line, "LineExtensionAmount", item.net, currency)
    _days(line, item.first, item.last)
    product = _in(line, "Item")
    _text(product, "Description", item.description)
    _text(product, "Name", item.name)
    _category(product, "ClassifiedTaxCategory", item)
    _text(_in(line, "Price"), "PriceAmount", decimal_text(item.price), currencyID=currency)

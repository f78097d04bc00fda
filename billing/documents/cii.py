"""E-invoices as UN/CEFACT Cross Industry Invoice (D16B/D22B), the syntax inside of Factur-X and
ZUGFeRD, profile EN 16931; built by drafthorse.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drafthorse.models.accounting import ApplicableTradeTax
from drafthorse.models.document import Document
from drafthorse.models.note import IncludedNote
from drafthorse.models.party import TaxRegistration
from drafthorse.models.payment import PaymentMeans, PaymentTerms
from drafthorse.models.tradelines import LineItem

from billing.documents.einvoice import (
    SPECIFICATION,
    EInvoice,
    Group,
    Item,
    Party,
    decimal_text,
)
from billing.documents.values import Address


def cii(invoice: EInvoice) -> bytes:
    """The e-invoice as XML in UTF-8."""
    made = Document()
    made.context.guideline_parameter.id = SPECIFICATION
    made.header.id = invoice.number
    made.header.type_code = invoice.code
    made.header.issue_date_time = invoice.issued_on
    for text in invoice.notes:
        made.header.notes.add(IncludedNote(content=text))
    _agreement(made.trade.agreement, invoice)
    made.trade.delivery.event.occurrence = invoice.last
    if invoice.place_address.country:
        made.trade.delivery.ship_to.name = invoice.place
        _address(made.trade.delivery.ship_to.address, invoice.place_address)
    _settlement(made.trade.settlement, invoice)
    for position, item in enumerate(invoice.items, 1):
        made.trade.items.add(_line(position, item))
    return bytes(made.serialize(schema=None))


def _agreement(agreement: Any, invoice: EInvoice) -> None:
    if invoice.buyer_reference:
        agreement.buyer_reference = invoice.buyer_reference
    _party(agreement.seller, invoice.seller)
    if invoice.seller.phone and invoice.seller.email:
        agreement.seller.contact.person_name = invoice.seller.name
        agreement.seller.contact.telephone.number = invoice.seller.phone
        agreement.seller.contact.email.address = invoice.seller.email
    _party(agreement.buyer, invoice.buyer)
    if invoice.contract:
        agreement.contract.issuer_assigned_id = invoice.contract


def _party(made: Any, party: Party) -> None:
    if party.identifier:
        made.id = party.identifier
    made.name = party.name
    _address(made.address, party.address)
    if party.email:
        made.electronic_address.uri_ID = ("EM", party.email)
    for scheme, text in (("VA", party.vat_id), ("FC", party.tax_number)):
        if text:
            made.tax_registrations.add(TaxRegistration(id=(scheme, text)))


def _address(made: Any, address: Address) -> None:
    if address.postal_code:
        made.postcode = address.postal_code
    if address.street:
        made.line_one = address.street
    if address.city:
        made.city_name = address.city
    made.country_id = address.country


def _settlement(made: Any, invoice: EInvoice) -> None:
    made.payment_reference = invoice.remittance
    made.currency_code = invoice.currency
    if invoice.iban:
        means = PaymentMeans(type_code=invoice.means)
        means.payee_account.iban = invoice.iban
        means.payee_account.account_name = invoice.seller.name
        if invoice.bic:
            means.payee_institution.bic = invoice.bic
        made.payment_means.add(means)
    for group in invoice.groups:
        made.trade_tax.add(_group(group))
    made.period.start, made.period.end = invoice.first, invoice.last
    terms = PaymentTerms(description=invoice.terms)
    if invoice.due > 0:
        terms.due = invoice.due_on
    made.terms.add(terms)
    sums = made.monetary_summation
    sums.line_total = _money(invoice.net)
    sums.tax_basis_total = (_money(invoice.net), None)
    sums.tax_total = (_money(invoice.tax), invoice.currency)
    if invoice.rounding:
        sums.rounding_amount = _money(invoice.rounding)
    sums.grand_total = (_money(invoice.total), None)
    sums.due_amount = _money(invoice.due)
    if invoice.corrects:
        made.invoice_referenced_document.issuer_assigned_id = invoice.corrects
        if invoice.corrected_on:
            made.invoice_referenced_document.issue_date_time = invoice.corrected_on
    if invoice.accounting:
        made.accounting_account.id = invoice.accounting


def _group(group: Group) -> ApplicableTradeTax:
    tax = ApplicableTradeTax(
        calculated_amount=_money(group.amount),
        type_code="VAT",
        basis_amount=_money(group.basis),
        category_code=group.category,
    )
    if group.reason:
        tax.exemption_reason = group.reason
    if group.percent is not None:
        tax.rate_applicable_percent = decimal_text(group.percent)
    return tax


def _line(position: int, item: Item) -> LineItem:
    line = LineItem()
    line.document.line_id = str(position)
    line.product.name = item.name
    if item.description:
        line.product.description = item.description
    line.agreement.net.amount = decimal_text(item.price)
    line.delivery.billed_quantity = (decimal_text(item.quantity), item.unit)
    tax = line.settlement.trade_tax
    tax.type_code, tax.category_code = "VAT", item.category
    if item.percent is not None:
        tax.rate_applicable_percent = decimal_text(item.percent)
    line.settlement.period.start, line.settlement.period.end = item.first, item.last
    line.settlement.monetary_summation.total_amount = _money(item.net)
    return line


def _money(value: Decimal) -> str:
    return f"{value:.2f}"

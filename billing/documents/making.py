"""All files of a bill at once."""

from __future__ import annotations

from dataclasses import dataclass

from billing.documents.cii import cii
from billing.documents.einvoice import EInvoiceError, einvoice
from billing.documents.facturx import embed
from billing.documents.pdf import pdf
from billing.documents.ubl import ubl
from billing.documents.values import BillDocument


@dataclass(frozen=True, slots=True)
class Files:
    """The PDF, and the e-invoice in both syntaxes; these are empty where `problem` says why there
    is none. The PDF has the first of them in it.
    """

    pdf: bytes
    cii: bytes = b""
    ubl: bytes = b""
    problem: str = ""


def make(document: BillDocument) -> Files:
    """The files of a bill: Factur-X and UBL, or where it cannot be an e-invoice a PDF alone. Raises
    DocumentError as `pdf` does.
    """
    try:
        invoice = einvoice(document)
    except EInvoiceError as error:
        return Files(pdf(document), problem=str(error))
    attached = cii(invoice)
    return Files(embed(pdf(document, attached)), attached, ubl(invoice))

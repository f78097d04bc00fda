"""What the document of a bill says, and its files. Needs an open scope that sees the bill.

With `user_id` only bills of that person are seen: a later occupant of a facility has its scope, and
not the bills of those before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import numpy as np
from django.db.models import Q, QuerySet

from billing.documents.values import (
    BillDocument,
    Brand,
    Comparison,
    DocumentLine,
    Parties,
    UseOfDay,
)
from billing.domain import documents_store
from billing.domain.calendars import seconds
from billing.domain.evidence import evidence_of
from billing.models import (
    Bill,
    BillDelivery,
    BillEvidence,
    BillFile,
    BillKind,
    BillLine,
    BillState,
    FileKind,
)
from tenants.domain import branding

_TYPES: Final = {
    FileKind.PDF: ("pdf", "application/pdf"),
    FileKind.CII: ("cii.xml", "application/xml"),
    FileKind.UBL: ("ubl.xml", "application/xml"),
}
_LINE: Final = (
    *("kind", "label", "quantity", "unit", "price", "amount", "period", "tier"),
    *("estimated", "tax_percent"),
)


class NoDocument(LookupError):  # noqa: N818 - it reads as what happened
    """There is no such bill for the reader, it is a draft, or it has no such file."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file to be sent: its name, its media type and its bytes."""

    name: str
    media_type: str
    data: bytes


def final_bills(*, user_id: int | None = None) -> QuerySet[Bill]:
    """Bills that may have documents."""
    rows = Bill.objects.exclude(state=BillState.DRAFT)
    return rows if user_id is None else rows.filter(user_id=user_id)


def files_of(*, bill_id: int, user_id: int | None = None) -> tuple[BillFile, ...]:
    """The files that were made of a bill, PDF first; one query."""
    bills = final_bills(user_id=user_id).filter(pk=bill_id)
    found = BillFile.objects.filter(bill__in=bills).select_related("bill")
    return tuple(sorted(found, key=lambda one: FileKind.values.index(one.kind)))


def content_of(file: BillFile) -> Content:
    """A file's bytes, verified; its name is that of the bill. Raises as `documents_store.read`."""
    ending, media_type = _TYPES[FileKind(file.kind)]
    safe = "".join(sign if sign.isalnum() or sign in "-_." else "-" for sign in file.bill.number)
    return Content(f"{safe}.{ending}", media_type, documents_store.read(file.sha256))


def deliveries_of(*, bill_id: int, user_id: int | None = None) -> tuple[BillDelivery, ...]:
    """To whom a bill went, oldest first; one query."""
    bills = final_bills(user_id=user_id).filter(pk=bill_id)
    return tuple(BillDelivery.objects.filter(bill__in=bills).order_by("pk"))


def deliveries_of_bill(*, bill_id: int, user_id: int | None = None) -> tuple[BillDelivery, ...]:
    """The same; two queries. Raises NoDocument for a draft, or a bill beyond the reader's reach."""
    if not final_bills(user_id=user_id).filter(pk=bill_id).exists():
        raise NoDocument(f"bill {bill_id}")
    return deliveries_of(bill_id=bill_id, user_id=user_id)


def recipient_of(*, bill_id: int) -> str:
    """The e-mail address of a final bill's customer, empty without one; one query. Raises
    NoDocument.
    """
    bill = final_bills().filter(pk=bill_id).first()
    if bill is None:
        raise NoDocument(f"bill {bill_id}")
    return Parties.of(bill.parties).buyer.email


def document_of(*, bill_id: int, user_id: int | None = None) -> BillDocument:
    """What the document of a bill says, from what the bill has kept; seven queries at most. Raises
    NoDocument, and EvidenceError when what it was computed from is damaged.
    """
    rows = final_bills(user_id=user_id).select_related("corrects")
    bill = rows.filter(pk=bill_id).first()
    if bill is None or bill.issued_on is None or bill.due_on is None:
        raise NoDocument(f"bill {bill_id}")
    credit_note = bill.kind == BillKind.CREDIT_NOTE
    corrected = bill.corrects
    return BillDocument(
        credit_note=credit_note,
        number=bill.number,
        issued_on=bill.issued_on,
        due_on=bill.due_on,
        first=bill.first_on,
        end=bill.end_on,
        currency=bill.currency,
        parties=Parties.of(bill.parties),
        lines=tuple(_line(one) for one in bill.lines.order_by("position")),
        net=bill.net,
        tax=bill.tax,
        total=bill.total,
        imported_kwh=bill.imported_kwh,
        exported_kwh=bill.exported_kwh,
        estimated_kwh=bill.estimated_kwh,
        brand=_brand(bill.tenant_id),
        use=() if credit_note else _use(bill),
        comparison=Comparison() if credit_note else _comparison(bill),
        corrects=corrected.number if corrected else "",
        corrected_on=corrected.issued_on if corrected else None,
        cause=bill.cause,
    )


def _line(line: BillLine) -> DocumentLine:
    values: dict[str, Any] = {name: getattr(line, name) for name in _LINE}
    return DocumentLine(first=line.first_on, end=line.end_on, **values)


def _brand(tenant_id: int) -> Brand:
    look = branding.brand_of(tenant_id=tenant_id)
    usual = Brand()
    colours = look.colours and _files(look.colours.tenant_id, look.colours.version)
    logo = look.logo and _files(look.logo.tenant_id, look.logo.version)
    return Brand(
        name=look.name,
        colour=(colours.accent_light if colours else "") or usual.colour,
        logo=logo.logo if logo else None,
    )


@lru_cache(maxsize=64)
def _files(tenant_id: int, version: str) -> branding.BrandFiles | None:
    """What belongs to a version never changes."""
    return branding.brand_files(tenant_id=tenant_id, version=version)


def _use(bill: Bill) -> tuple[UseOfDay, ...]:
    """Energy by local day, from the evidence; nothing where the bill has none."""
    if not BillEvidence.objects.filter(bill_id=bill.pk).exclude(body=b"").exists():
        return ()
    usage = evidence_of(bill_id=bill.pk).usage
    days = [bill.first_on + timedelta(days=n) for n in range((bill.end_on - bill.first_on).days)]
    edges = np.array([seconds(day, bill.zone) for day in [*days, bill.end_on]], np.int64)
    at = np.searchsorted(usage.starts, edges)
    sums = [np.concatenate(([0], np.cumsum(one)))[at] for one in (usage.imported, usage.exported)]
    imported, exported = (np.diff(one).tolist() for one in sums)
    return tuple(
        UseOfDay(day, Decimal(drawn).scaleb(-6), Decimal(given).scaleb(-6))
        for day, drawn, given in zip(days, imported, exported, strict=True)
    )


def _comparison(bill: Bill) -> Comparison:
    """The bill that ends where this begins, and that of the same days a year before."""
    first, end = _year_before(bill.first_on), _year_before(bill.end_on)
    rows = Bill.objects.filter(
        Q(end_on=bill.first_on) | Q(first_on=first, end_on=end),
        agreement_id=bill.agreement_id,
        kind=BillKind.INVOICE,
        state=BillState.FINAL,
    ).exclude(pk=bill.pk)
    before = year_ago = None
    for row in rows.order_by("pk"):
        if row.end_on == bill.first_on:
            before = row
        if (row.first_on, row.end_on) == (first, end):
            year_ago = row
    return Comparison(
        before_kwh=before.imported_kwh if before else None,
        before_days=(before.end_on - before.first_on).days if before else 0,
        year_ago_kwh=year_ago.imported_kwh if year_ago else None,
        year_ago_days=(year_ago.end_on - year_ago.first_on).days if year_ago else 0,
    )


def _year_before(day: date) -> date:
    leap_day = (day.month, day.day) == (2, 29)
    return day.replace(year=day.year - 1, day=28 if leap_day else day.day)

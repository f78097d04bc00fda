"""The bills of a person: the list, one in plain words, its PDF."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from django.http import Http404, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from billing.documents.values import DocumentError
from billing.domain import documents_operations, pages_queries
from billing.domain.documents_queries import NoDocument
from billing.domain.documents_store import FileDamagedError, FileMissingError
from billing.domain.evidence import EvidenceError
from billing.models import Bill, BillKind, BillLine, BillState, FileKind
from portal.consumer import pages
from portal.consumer.guard import AtHome, at_home, problem
from portal.frame import quantities
from tenants.permissions import Permission

logger = logging.getLogger(__name__)

# Units of time: one of it, and what many are called.
_TIMES: Final[Mapping[str, tuple[str | Promise, str | Promise]]] = MappingProxyType(
    {
        "day": (gettext_lazy("A day at %(price)s"), gettext_lazy("days")),
        "month": (gettext_lazy("A month at %(price)s"), gettext_lazy("months")),
        "year": (gettext_lazy("A year at %(price)s"), gettext_lazy("years")),
    }
)
# What a phone shows at once; three years of monthly bills.
MOST = 36


def person_of(request: AtHome) -> int:
    """Whose bills and credit are shown. Raises Http404 for who may see none."""
    bearer = request.visit.bearer
    if bearer.user_id is None or not bearer.allows(Permission.BILLS_VIEW):
        raise Http404
    return bearer.user_id


@require_safe
@never_cache
@at_home
def bill_list(request: AtHome) -> HttpResponse:
    """The person's bills, the newest first."""
    rows = pages_queries.bills(user_id=person_of(request)).order_by("-first_on", "-pk")[:MOST]
    context = pages.person(request.visit) | {"bills": [_entry(one) for one in rows]}
    return render(request, "consumer/bills.html", context)


@require_safe
@never_cache
@at_home
def bill(request: AtHome, *, pk: int) -> HttpResponse:
    """A bill in plain words: what it is made of, and what to do."""
    try:
        found = pages_queries.bill_page(bill_id=pk, user_id=person_of(request))
    except pages_queries.NotThere as error:
        raise Http404 from error
    row = found.bill
    context = pages.person(request.visit) | {
        "facility": {"name": row.facility.name},
        "bill": _entry(row),
        "lines": [_line(one, row) for one in found.lines if one.amount],
        "sentences": _sentences(row, found.open),
    }
    return render(request, "consumer/bill.html", context)


@require_safe
@never_cache
@at_home
def pdf(request: AtHome, *, pk: int) -> HttpResponse:
    """The document of a bill."""
    try:
        content = documents_operations.download(
            bill_id=pk, kind=FileKind.PDF, now=datetime.now(UTC), user_id=person_of(request)
        )
    except NoDocument as error:
        raise Http404 from error
    except (DocumentError, EvidenceError, FileMissingError, FileDamagedError):
        # Who runs the portal reads why: the same is told on the page of the bill there.
        logger.exception("bill.document_failed bill=%d", pk)
        return problem(
            request,
            HTTPStatus.CONFLICT,
            _("This document cannot be shown"),
            _("What you owe is on the page of the bill. Ask your organisation for the document."),
        )
    response = HttpResponse(content.data, content_type=content.media_type)
    response["Content-Disposition"] = str(content_disposition_header(True, content.name))
    return response


def _entry(row: Bill) -> dict[str, Any]:
    credit = row.kind == BillKind.CREDIT_NOTE
    return {
        "address": reverse("consumer:bill", args=[row.pk]),
        "pdf": reverse("consumer:bill-pdf", args=[row.pk]),
        "title": _("Credit note %(number)s") % {"number": row.number}
        if credit
        else _("Bill %(number)s") % {"number": row.number},
        "days": _days(row),
        "place": row.facility.name,
        "total": quantities.money(row.total, row.currency),
        "used": quantities.quantity(row.imported_kwh * 1000, "Wh"),
        "due": row.due_on,
        "void": row.state == BillState.VOID,
        "credit": credit,
    }


def _days(row: Bill) -> str:
    last = row.end_on - timedelta(days=1)
    if row.first_on.day == 1 and row.end_on.day == 1 and last.month == row.first_on.month:
        return date_format(row.first_on, "F Y")
    return f"{date_format(row.first_on, 'j F Y')} – {date_format(last, 'j F Y')}"


def _line(one: BillLine, of: Bill) -> dict[str, str]:
    """A line in a sentence: how much of what, at which price."""
    if one.kind == "tax" or one.price is None:
        text = ""
    elif one.unit in _TIMES and one.quantity == 1:
        text = _TIMES[one.unit][0] % {"price": quantities.price(one.price, of.currency)}
    else:
        unit = _TIMES[one.unit][1] if one.unit in _TIMES else one.unit
        quantity = f"{quantities.number(one.quantity, 2)}\N{NO-BREAK SPACE}{unit}"
        values = {"quantity": quantity, "price": quantities.price(one.price, of.currency)}
        text = _("%(quantity)s at %(price)s each") % values
    if one.period:
        text = f"{one.period}: {text}" if text else one.period
    if one.estimated:
        guessed = quantities.number(one.estimated, 1)
        note = _("%(energy)s of it are estimated") % {"energy": f"{guessed} {one.unit}"}
        text = f"{text} ({note})"
    return {"label": one.label, "text": text, "amount": quantities.money(one.amount, of.currency)}


def _to_pay(row: Bill, due_on: date, still_open: Decimal) -> str:
    if still_open <= 0:
        return _("This bill is paid.")
    due = date_format(due_on, "j F Y")
    if still_open == row.total:
        return _("Please pay by %(day)s. The document says how.") % {"day": due}
    values = {"day": due, "amount": quantities.money(still_open, row.currency)}
    return _("%(amount)s of it are still open: please pay by %(day)s.") % values


def _sentences(row: Bill, still_open: Decimal) -> list[str]:
    """What the person has to know beside the sum."""
    told = []
    if row.state == BillState.VOID:
        told.append(_("This bill was taken back: you need not pay it."))
    elif row.kind == BillKind.CREDIT_NOTE:
        told.append(_("This amount is credited to you."))
    elif row.due_on is not None and row.total > 0:
        told.append(_to_pay(row, row.due_on, still_open))
    if row.cause:
        told.append(_("Why there is this document: %(cause)s") % {"cause": row.cause})
    if row.estimated_kwh:
        energy = quantities.quantity(row.estimated_kwh * 1000, "Wh")
        told.append(
            _("%(energy)s could not be read in time and are estimated; a later bill settles it.")
            % {"energy": energy}
        )
    return told

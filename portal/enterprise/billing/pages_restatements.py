"""What the page of a restatement shows, prepared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _

from billing.domain.restatement_queries import Comparison, LinePair
from billing.domain.restatement_words import sentences
from billing.domain.sentences import spoken
from billing.models import BillLine, RestatementState
from portal.enterprise.billing import pages, words
from portal.enterprise.billing.tables_restatements import TONES
from portal.enterprise.registry import texts
from portal.frame import quantities


def restatement(found: Comparison, *, decides: bool) -> dict[str, Any]:
    """Both bills, their lines beside each other, and what can be decided."""
    row = found.restatement
    currency = row.bill.currency
    is_open = row.ended_at is None
    return {
        "restatement": row,
        "problem": spoken(row.problem),
        "title": _("Restatement of %(number)s") % {"number": row.bill.number},
        "state": {"tone": TONES[row.state], "label": RestatementState(row.state).label},
        "days": words.days(row.bill.first_on, row.bill.end_on),
        "causes": sentences(row.causes),
        "found": texts.instant(row.found_at, row.facility.time_zone),
        "old": {
            "url": reverse("bill", args=[row.bill_id]),
            "title": pages.bill_title(row.bill),
            "total": quantities.money(row.bill.total, currency),
        },
        "new": row.new_bill
        and {
            "url": reverse("bill", args=[row.new_bill_id]),
            "title": pages.bill_title(row.new_bill),
            "total": quantities.money(row.new_bill.total, currency),
        },
        "difference": "" if row.difference is None else quantities.money(row.difference, currency),
        "lines": [line(one, currency) for one in found.lines],
        "may_settle": decides and row.state == RestatementState.DRAFTED,
        "may_dismiss": decides and is_open,
    }


def line(of: LinePair, currency: str) -> dict[str, Any]:
    """A line of both bills; what it comes to more only where there is a new one."""
    note = " · ".join(part for part in (of.any.period, _tier(of.any.tier)) if part)
    return {
        "label": of.any.label or str(words.LINE_KINDS.get(of.any.kind, of.any.kind)),
        "note": note,
        "old": _side(of.old, currency),
        "new": _side(of.new, currency),
        "difference": _money(of.difference, currency),
        "changed": bool(of.difference),
    }


def _tier(number: int) -> str:
    return _("tier %(number)s") % {"number": number} if number else ""


def _side(of: BillLine | None, currency: str) -> dict[str, str] | None:
    if of is None:
        return None
    quantity = words.counted(quantities.exact(of.quantity), of.unit, of.quantity)
    price = quantities.price(of.price, currency)
    return {
        "amount": _money(of.amount, currency),
        "note": f"{quantity} × {price}" if of.price is not None else quantity,
    }


def _money(amount: Decimal, currency: str) -> str:
    return pages.line_amount(amount, currency)

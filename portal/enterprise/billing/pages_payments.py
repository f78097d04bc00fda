"""What the pages of payments and open items show, prepared."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _

from billing.domain.payments_imports import PaymentLine, Preview
from billing.domain.payments_pages_queries import AgeSums, PaymentPage, ProviderPage
from billing.models import Payment, Provider, StatementFormat
from portal.enterprise.billing import words
from portal.enterprise.billing.tables_payments import AGES
from portal.frame import quantities

_DAY = "SHORT_DATE_FORMAT"
# Of a long file the first lines are shown; the sums are of all.
MOST_SHOWN = 200


def payment(found: PaymentPage) -> dict[str, Any]:
    """The page of a payment."""
    row: Any = found.payment
    money = row.currency
    return {
        "payment": row,
        "amount": quantities.money(row.amount, money),
        "left": quantities.money(found.left, money),
        "given_back": bool(found.refunds),
        "provider": dict(Provider.choices)[row.provider],
        "agreement": row.agreement_number or "",
        "customer": row.customer_name or "",
        "goes_back": row.amount < 0,
        "may_refund": row.amount > 0 and found.left > 0,
        "refunds": [
            {
                "url": reverse("payment", args=[one.pk]),
                "amount": quantities.money(one.amount, money),
                "day": date_format(one.received_on, _DAY),
                "text": one.text,
            }
            for one in found.refunds
        ],
        "settled": [
            {
                "url": reverse("bill", args=[one.bill_id]) if one.bill_id else "",
                "name": one.name or words.ENTRY_KINDS.get(one.kind, one.kind),
                "amount": quantities.money(one.amount, money),
            }
            for one in found.settled
        ],
    }


def preview(found: Preview, *, file_name: str) -> dict[str, Any]:
    """What taking a file would do."""
    return {
        "file_name": file_name,
        "format": dict(StatementFormat.choices)[found.format],
        "taken_before": found.taken_before,
        "count": len(found.lines),
        "new": found.new,
        "known": len(found.lines) - found.new,
        "unmatched": found.unmatched,
        "ignored": found.ignored,
        "more": max(0, len(found.lines) - MOST_SHOWN),
        "lines": [_line(one) for one in found.lines[:MOST_SHOWN]],
    }


def _line(one: PaymentLine) -> dict[str, Any]:
    got = one.received
    state, tone = _("new"), "good"
    if one.known:
        state, tone = _("taken before"), ""
    elif one.other_currency:
        state, tone = _("another currency"), "warn"
    elif one.match is None:
        state, tone = _("whose?"), "warn"
    return {
        "day": date_format(got.received_on, _DAY),
        "payer": got.payer or "–",
        "account": got.payer_account,
        "text": " · ".join(part for part in (got.reference, got.text) if part),
        "amount": quantities.money(got.amount, got.currency),
        "agreement": one.match.agreement_number if one.match else "",
        "url": reverse("agreement", args=[one.match.agreement_id]) if one.match else "",
        "state": state,
        "tone": tone,
    }


def service(found: ProviderPage, request: HttpRequest, *, slug: str) -> dict[str, Any]:
    """The page of a payment service."""
    address = reverse("payments-webhook", args=[Provider.STRIPE.value, slug])
    return {
        "address": request.build_absolute_uri(address),
        "has_secret": found.row is not None,
        "last": [_told(one) for one in found.last],
    }


def _told(one: Payment) -> dict[str, Any]:
    return {
        "url": reverse("payment", args=[one.pk]),
        "amount": quantities.money(one.amount, one.currency),
        "day": date_format(one.received_on, _DAY),
        "at": one.created_at,
        "agreement": getattr(one, "agreement_number", None) or _("Nobody's yet"),
        "text": one.text,
    }


def ages(found: tuple[AgeSums, ...]) -> list[dict[str, Any]]:
    """What is owed by currency and age, each the way to its entries."""
    return [
        {
            "currency": of.currency,
            "total": quantities.money(of.total, of.currency),
            "ages": [
                {
                    "label": AGES[n],
                    "amount": quantities.money(amount, of.currency),
                    "count": of.counts[n],
                    "query": urlencode({"age": n}),
                    "late": n > 0 and amount > 0,
                }
                for n, amount in enumerate(of.amounts)
            ],
        }
        for of in found
    ]

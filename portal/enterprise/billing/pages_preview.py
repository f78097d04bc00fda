"""What a preview of a tariff shows, prepared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from billing.domain.preview_queries import Difference, Preview, differences
from portal.enterprise.billing import words
from portal.frame import quantities


def preview(found: Preview) -> dict[str, Any]:
    """Both bills line by line, with their sums."""
    currency = found.account.currency
    draft, agreed = (
        one.rating.total if one.rating else None for one in (found.draft, found.agreed)
    )
    both = draft is not None and agreed is not None
    difference = (draft or Decimal(0)) - (agreed or Decimal(0))
    return {
        "days": words.days(found.period.first, found.period.end),
        "used": quantities.quantity(found.imported_kwh * 1000, "Wh"),
        "draft_total": quantities.money(draft, currency),
        "agreed_total": quantities.money(agreed, currency),
        "difference": _signed(difference, currency) if both else "–",
        "tone": ("bad" if difference > 0 else "good") if both and difference else "",
        "share": quantities.percent(difference / agreed, 1) if both and agreed else "",
        "problems": [
            (label, one.problem)
            for label, one in ((_("By this version"), found.draft), (_("As agreed"), found.agreed))
            if one.problem
        ],
        "rows": [_row(one, currency) for one in differences(found)],
    }


def _row(one: Difference, currency: str) -> dict[str, str]:
    kind = str(words.LINE_KINDS.get(one.kind, one.kind))
    tier = _("tier %(number)d") % {"number": one.tier} if one.tier else ""
    return {
        "label": one.label,
        "note": " · ".join(part for part in (kind, one.period, tier) if part),
        "quantity": words.counted(quantities.number(one.quantity, 2), one.unit, one.quantity),
        "agreed": quantities.money(one.agreed, currency),
        "draft": quantities.money(one.draft, currency),
        "difference": _signed(one.difference, currency),
        "tone": "bad" if one.difference > 0 else "good" if one.difference < 0 else "",
    }


def _signed(amount: Decimal, currency: str) -> str:
    text = quantities.money(amount, currency)
    return f"+{text}" if amount > 0 else text

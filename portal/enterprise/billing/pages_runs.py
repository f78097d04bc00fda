"""What the pages of bill runs show, prepared."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.translation import gettext as _

from billing.domain.pages_queries import RunPage
from billing.models import ItemState, RunState
from portal.enterprise.billing import findings, words
from portal.enterprise.registry.requests import actor_id
from portal.frame import quantities
from portal.frame.permissions import may
from tenants.permissions import Permission


def run(found: RunPage, request: HttpRequest) -> dict[str, Any]:
    """The page of a run."""
    row: Any = found.run
    checking = row.state == RunState.CHECKING
    changes = may(request, Permission.BILLS_CHANGE)
    held = found.states.get(ItemState.HELD, 0)
    return {
        "may_decide": checking and changes,
        "may_approve": checking and not held and may(request, Permission.BILLS_APPROVE),
        "may_cancel": changes and row.state in {RunState.RATING, RunState.CHECKING},
        "held": held if checking else 0,
        "mine": checking and row.asked_by_id == actor_id(request),
        "run": row,
        "days": words.days(row.first_on, row.end_on),
        "tone": words.RUN_TONES[row.state],
        "state": words.RUN_STATES[row.state],
        "moves": row.state in {RunState.RATING, RunState.APPROVED},
        "percent": 100 * row.done_count // max(1, row.item_count),
        "progress": _("%(done)s of %(all)s accounts rated")
        % {"done": quantities.number(row.done_count), "all": quantities.number(row.item_count)},
        "states": [
            {
                "label": words.ITEM_STATES[code],
                "count": found.states.get(code, 0),
                "tone": words.ITEM_TONES[code],
                "query": urlencode({"state": code}),
            }
            for code in ItemState.values
            if found.states.get(code)
        ],
        "findings": [
            {
                "label": findings.title(code),
                "count": count,
                "query": urlencode({"finding": code}),
            }
            for code, count in sorted(found.findings.items(), key=lambda pair: -pair[1])
        ],
        "sums": [
            {
                "currency": one.currency,
                "bills": quantities.number(one.bills),
                "net": quantities.money(one.net, one.currency),
                "tax": quantities.money(one.tax, one.currency),
                "total": quantities.money(one.total, one.currency),
                "kwh": quantities.quantity((one.kwh or 0) * 1000, "Wh"),
                "estimated": quantities.percent(one.estimated_kwh / one.kwh, 1) if one.kwh else "",
            }
            for one in found.sums
        ],
    }

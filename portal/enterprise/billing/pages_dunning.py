"""What the pages of dunning and of plans show, prepared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from billing.accounts.dunning import StepKind
from billing.accounts.dunning_forecast import Expected
from billing.domain.dunning_pages_queries import AccountPage, CasePage
from billing.domain.plans_pages_queries import PlanPage
from billing.models import DunningEvent, DunningKind, Mode
from devices.models import Command, CommandState
from portal.enterprise.billing import words
from portal.enterprise.billing.tables_dunning import (
    CASE_STATES,
    CASE_TONES,
    PLAN_STATES,
    PLAN_TONES,
)
from portal.enterprise.control import commands_words
from portal.frame import quantities

_DAY: Final = "SHORT_DATE_FORMAT"
_KINDS: Final = dict(DunningKind.choices)
_TONES: Final = {
    "restored": "good",
    "closed": "good",
    "spared": "accent",
    "paused": "accent",
    "resumed": "accent",
    "limit": "bad",
    "disable": "bad",
}


def case(found: CasePage) -> dict[str, Any]:
    """The page of a case."""
    row: Any = found.case
    zone = row.facility.time_zone
    state = row.state
    return {
        "case": row,
        "is_open": row.closed_at is None,
        "state": CASE_STATES[state],
        "tone": CASE_TONES.get(state, ""),
        "paused": state == "paused",
        "outcome": words.OUTCOMES.get(row.outcome, row.outcome),
        "customer_name": row.customer_name,
        "events": [event(one, zone) for one in found.events],
        "commands": [_command(one, zone) for one in found.commands],
        **account(found.account),
    }


def event(one: DunningEvent, zone: str) -> dict[str, Any]:
    """Something that happened, in words."""
    text = one.text
    if one.kind == DunningKind.CLOSED:
        text = str(words.OUTCOMES.get(text, text))
    told = []
    if one.fee is not None:
        told.append(
            _("Fee %(amount)s") % {"amount": quantities.money(one.fee.amount, one.currency)}
        )
    if one.commands:
        told.append(
            ngettext("%(count)d command", "%(count)d commands", len(one.commands))
            % {"count": len(one.commands)}
        )
    if one.missed:
        told.append(
            ngettext(
                "%(count)d unit could not be asked",
                "%(count)d units could not be asked",
                len(one.missed),
            )
            % {"count": len(one.missed)}
        )
    if one.mail_to:
        told.append(
            _("mailed to %(address)s") % {"address": one.mail_to}
            if one.mailed_at
            else _("to be mailed to %(address)s") % {"address": one.mail_to}
        )
    return {
        "label": _KINDS[one.kind],
        "tone": _TONES.get(one.kind, "warn"),
        "text": text,
        "told": " · ".join(told),
        "at": quantities.local_time(one.at, zone),
        "overdue": quantities.money(one.overdue, one.currency),
    }


def _command(one: Command, zone: str) -> dict[str, Any]:
    return {
        "url": reverse("command", args=[one.pk]),
        "device": one.device.name or one.device.serial,
        "summary": commands_words.summary(one.kind, one.arguments),
        "state": dict(CommandState.choices)[one.state],
        "at": quantities.local_time(one.state_at, zone),
    }


def account(found: AccountPage) -> dict[str, Any]:
    """How an account stands, and what would happen to it."""
    row: Any = found.agreement
    money = row.currency
    steps = [_expected(one, money) for one in found.forecast.steps]
    return {
        "agreement": row,
        "customer": row.customer_name or "",
        "zone": row.facility.time_zone,
        "overdue": quantities.money(found.balance.overdue, money),
        "owed": quantities.money(found.balance.owed, money),
        "credit": quantities.money(found.balance.credit, money) if found.balance.credit else "",
        "oldest": found.balance.oldest_due,
        "late": found.balance.overdue > 0,
        "running_case": found.case,
        "plan": found.plan,
        "steps": steps,
        "begins": found.forecast.begins_on,
        "nothing": "" if steps else _nothing(found),
    }


def _nothing(found: AccountPage) -> str:
    """Why nothing is foretold."""
    if not found.has_policy:
        return _("The tenant does not dun, or the policy is not yours to see.")
    if found.agreement.mode != Mode.POSTPAID:
        return _(
            "Who pays beforehand is not dunned: the wallet, or the unit itself, ends the supply."
        )
    if found.plan is not None:
        return _("A plan of payments is running: while it is kept, dunning rests.")
    if found.case is not None:
        return _("All steps of the policy were taken.")
    return _("Nothing is owed that dunning would begin with.")


def _expected(one: Expected, currency: str) -> dict[str, Any]:
    step = one.step
    more = ""
    if step.kind is StepKind.FEE:
        more = quantities.money(step.fee, currency)
    elif step.kind is StepKind.LIMIT:
        more = quantities.power(step.limit_w)
    return {
        "number": one.number,
        "label": _KINDS[DunningKind.SPARED] if one.spared else _KINDS[step.kind.value],
        "tone": "accent" if one.spared else _TONES.get(step.kind.value, "warn"),
        "more": more,
        "day": date_format(one.at.date(), _DAY),
        "hour": date_format(one.at, "TIME_FORMAT"),
    }


def plan(found: PlanPage) -> dict[str, Any]:
    """The page of a plan."""
    row: Any = found.plan
    money = row.currency
    return {
        "plan": row,
        "customer": row.customer_name or "",
        "runs": row.ended_at is None,
        "state": PLAN_STATES[row.state],
        "tone": PLAN_TONES.get(row.state, ""),
        "paid": quantities.money(found.paid, money),
        "total": quantities.money(sum((part.amount for part in found.parts), Decimal(0)), money),
        "ended": row.ended_at and quantities.local_time(row.ended_at, row.facility.time_zone),
        "agreed": quantities.local_time(row.created_at, row.facility.time_zone),
        "parts": [
            {
                "day": date_format(part.due_on, _DAY),
                "amount": quantities.money(part.amount, money),
                "open": quantities.money(part.open, money) if part.open else "",
                "state": _part_state(part.open > 0, part.late),
                "tone": "bad" if part.late else "" if part.open else "good",
            }
            for part in found.parts
        ],
    }


def _part_state(is_open: bool, late: bool) -> str:
    if late:
        return _("late")
    return _("to be paid") if is_open else _("paid")

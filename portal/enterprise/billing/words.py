"""Words and tones of billing's pages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.utils.formats import date_format
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

from billing.accounts.dunning import Outcome
from billing.domain.ledger_timeline import Subject, TimelineItem
from billing.models import (
    BillKind,
    BillState,
    CustomerKind,
    Cycle,
    DunningKind,
    EntryKind,
    Flow,
    ItemState,
    Mode,
    PlanState,
    RunKind,
    RunState,
    VersionState,
)
from devices.commands.states import Step
from portal.enterprise.control import commands_words
from portal.frame import quantities

BILL_STATES: Final = dict(BillState.choices)
BILL_KINDS: Final = dict(BillKind.choices)
BILL_TONES: Final = {"draft": "warn", "final": "good", "void": ""}
RUN_STATES: Final = dict(RunState.choices)
RUN_KINDS: Final = dict(RunKind.choices)
RUN_TONES: Final = {
    "rating": "accent",
    "checking": "warn",
    "approved": "accent",
    "finished": "good",
    "cancelled": "",
}
ITEM_STATES: Final = dict(ItemState.choices)
ITEM_TONES: Final = {
    "waiting": "",
    "drafted": "good",
    "held": "warn",
    "final": "good",
    "skipped": "",
    "failed": "bad",
}
MODES: Final = dict(Mode.choices)
CUSTOMER_KINDS: Final = dict(CustomerKind.choices)
CYCLES: Final = dict(Cycle.choices)
FLOWS: Final = dict(Flow.choices)
ENTRY_KINDS: Final = dict(EntryKind.choices)
VERSION_STATES: Final = dict(VersionState.choices)
VERSION_TONES: Final = {"draft": "warn", "published": "good"}

# What a line of a bill is for, by `billing.tariffs.values.Kind`.
LINE_KINDS: Final = {
    "standing": gettext_lazy("Standing charge"),
    "energy": pgettext_lazy("bill", "Energy"),
    "dynamic": gettext_lazy("Energy at changing prices"),
    "demand": gettext_lazy("Highest demand"),
    "power_factor": gettext_lazy("Power factor"),
    "export": gettext_lazy("Energy given to the grid"),
    "credit": gettext_lazy("Credit of former bills"),
    "minimum": gettext_lazy("Up to the minimum"),
    "discount": gettext_lazy("Discount"),
    "levy": gettext_lazy("Levy"),
    "tax": gettext_lazy("Tax"),
    "rounding": gettext_lazy("Rounding"),
}
# Units as they are stored, in the reader's words where they are words.
UNITS: Final = {
    "day": pgettext_lazy("unit", "days"),
    "month": pgettext_lazy("unit", "months"),
    "year": pgettext_lazy("unit", "years"),
    "kW_month": pgettext_lazy("unit", "kW × months"),
}
# Units that a price is told for.
_SIGNS: Final = frozenset({"kWh", "kW", "kvarh"})
_ONE: Final = {
    "day": pgettext_lazy("unit", "day"),
    "month": pgettext_lazy("unit", "month"),
    "year": pgettext_lazy("unit", "year"),
}


def owed(balance: Decimal | None, currency: str) -> str:
    """What an account owes; of one that has more than it owes, the credit."""
    amount = quantities.money(abs(balance or Decimal(0)), currency)
    if balance is not None and balance < 0:
        return gettext("%(amount)s in credit") % {"amount": amount}
    return amount


def counted(number: str, code: str, count: Decimal) -> str:
    """A number, which says `count`, with its unit as people read it; what is known by its sign
    stays.
    """
    known = {**UNITS, **_ONE} if count == 1 else UNITS
    return f"{number}\N{NO-BREAK SPACE}{known.get(code, code)}"


def by_unit(price: str, code: str) -> str:
    """A price with the unit that it is for, where that is known by its sign."""
    return f"{price}/{code}" if code in _SIGNS else price


def days(first: date, end: date) -> str:
    """The days [first, end) as people say them: a month or a year by its name, else first and last
    day.
    """
    last = end - timedelta(days=1)
    if first == last:
        return date_format(first, "SHORT_DATE_FORMAT")
    if first.day == 1 and end.day == 1:
        if (first + timedelta(days=31)).replace(day=1) == end:
            return date_format(first, "F Y")
        if first.month == end.month == 1 and first.year + 1 == end.year:
            return date_format(first, "Y")
    return f"{date_format(first, 'SHORT_DATE_FORMAT')} – {date_format(last, 'SHORT_DATE_FORMAT')}"


_DUNNING_TONES: Final = {"restored": "good", "closed": "good", "spared": "accent"}
_COMMAND_TONES: Final[Mapping[str, str]] = {
    Step.SUCCEEDED: "good",
    Step.FAILED: "bad",
    Step.REFUSED: "warn",
    Step.EXPIRED: "warn",
    Step.CONTRADICTED: "bad",
}
# Why a case of dunning has ended.
OUTCOMES: Final[Mapping[str, Any]] = {
    Outcome.PAID.value: gettext_lazy("Everything that was overdue is paid."),
    Outcome.PART.value: gettext_lazy("Enough is paid to give the supply back."),
    Outcome.PLAN.value: gettext_lazy("A plan of payments was agreed."),
    Outcome.PROTECTED.value: gettext_lazy("The customer is protected."),
    Outcome.NO_POLICY.value: gettext_lazy("Dunning was switched off."),
    Outcome.DROPPED.value: gettext_lazy("It was ended by a person."),
    Outcome.MOVED.value: gettext_lazy("The agreement is over."),
}


def happened(one: TimelineItem) -> tuple[str, str, str]:
    """What an item of an account's time line is called, what more is told of it, and its tone."""
    match one.subject:
        case Subject.ENTRY:
            return str(ENTRY_KINDS.get(one.code, one.code)), one.text, "accent"
        case Subject.DUNNING:
            label = str(dict(DunningKind.choices).get(one.code, one.code))
            closed = one.code == DunningKind.CLOSED
            text = str(OUTCOMES.get(one.text, one.text)) if closed else one.text
            return label, text, _DUNNING_TONES.get(one.code, "warn")
        case Subject.PLAN:
            label = str(dict(PlanState.choices).get(one.code, one.code))
            return gettext("Instalments: %(state)s") % {"state": label}, one.text, "accent"
        case Subject.COMMAND:
            label = commands_words.summary(one.text, one.arguments)
            return label, commands_words.step(one.code), _COMMAND_TONES.get(one.code, "accent")

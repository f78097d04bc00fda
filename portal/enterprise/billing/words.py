"""Words and tones of billing's pages."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from django.utils.formats import date_format
from django.utils.translation import gettext, gettext_lazy, pgettext_lazy

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


def unit(code: str) -> str:
    """A unit as people read it; what is known by its sign stays."""
    return str(UNITS.get(code, code))


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


def happened(one: TimelineItem) -> tuple[str, str]:
    """What an item of an account's time line is called, and its tone."""
    match one.subject:
        case Subject.ENTRY:
            return str(ENTRY_KINDS.get(one.code, one.code)), "accent"
        case Subject.DUNNING:
            label = str(dict(DunningKind.choices).get(one.code, one.code))
            return label, _DUNNING_TONES.get(one.code, "warn")
        case Subject.PLAN:
            label = str(dict(PlanState.choices).get(one.code, one.code))
            return gettext("Instalments: %(state)s") % {"state": label}, "accent"
        case Subject.COMMAND:
            return gettext("Command to the unit"), "accent"

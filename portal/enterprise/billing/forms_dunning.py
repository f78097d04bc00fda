"""Forms of dunning: the policy, what people do about a case, plans of payments."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.utils import dates
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.dunning import MOST_DAYS, MOST_STEPS
from billing.domain.dunning_settings import PolicyDraft
from billing.domain.plans_pages_queries import Wish
from billing.models import DunningKind, DunningPolicy
from portal.enterprise.billing.forms import DayField, ReasonField
from portal.frame.forms import AmountField, FieldGroup, GroupedForm

# What a tenant begins with that has never dunned.
_USUAL: Final[tuple[dict[str, Any], ...]] = (
    {"kind": "reminder", "after_days": 7},
    {"kind": "fee", "after_days": 21, "fee": "5.00"},
)
_STEP_KINDS: Final[list[tuple[str, Any]]] = [
    ("", "–"),
    *(
        (kind.value, kind.label)
        for kind in (
            DunningKind.REMINDER,
            DunningKind.FEE,
            DunningKind.LIMIT,
            DunningKind.DISABLE,
        )
    ),
]
_STEP_COLUMNS: Final = (
    ("kind", gettext_lazy("Step")),
    ("after", gettext_lazy("Days after it was due")),
    ("fee", gettext_lazy("Fee")),
    ("limit", gettext_lazy("Power that remains (W)")),
)
MOST_PARTS: Final = 24


class PolicyForm(GroupedForm, forms.Form):
    """How a tenant duns: its steps, one in a row, and when they rest."""

    is_active = forms.BooleanField(
        label=gettext_lazy("Dun accounts that do not pay"),
        required=False,
        help_text=gettext_lazy("Switched off, what was cut is given back."),
    )
    minimum = forms.DecimalField(
        label=gettext_lazy("Minimum amount"),
        min_value=Decimal(0),
        max_digits=12,
        decimal_places=2,
        localize=True,
        help_text=gettext_lazy("Below it nothing is done."),
    )
    restore_percent = forms.IntegerField(
        label=gettext_lazy("Paid part that gives the supply back (%)"), min_value=1, max_value=100
    )
    quiet_weekdays = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Quiet weekdays"),
        choices=list(dates.WEEKDAYS.items()),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    region = forms.CharField(
        label=gettext_lazy("Public holidays of"),
        max_length=8,
        required=False,
        help_text=gettext_lazy("A country or a part of it, such as DE or DE-BY. They are quiet."),
    )
    hour_from = forms.IntegerField(label=gettext_lazy("From (hour)"), min_value=0, max_value=23)
    hour_to = forms.IntegerField(label=gettext_lazy("Until (hour)"), min_value=1, max_value=24)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = []
        for number in range(1, MOST_STEPS + 1):
            for (part, label), field in zip(_STEP_COLUMNS, _step_fields(), strict=True):
                name = f"{part}_{number}"
                spoken = _("Step %(number)d: %(column)s") % {"number": number, "column": label}
                field.label = spoken
                field.widget.attrs["aria-label"] = spoken
                self.fields[name] = field
                names.append(name)
        self.groups = (
            FieldGroup(
                gettext_lazy("Steps"),
                tuple(names),
                gettext_lazy(
                    "Rows without a kind are left out. Nobody is cut off without a reminder before;"
                    " protected customers never are."
                ),
                tuple(label for _part, label in _STEP_COLUMNS),
                tuple(str(number) for number in range(1, MOST_STEPS + 1)),
            ),
            FieldGroup(
                gettext_lazy("When it rests"),
                ("quiet_weekdays", "region", "hour_from", "hour_to"),
                gettext_lazy("By the clock of each facility. Giving back is done at any time."),
            ),
        )

    @staticmethod
    def initial_of(row: DunningPolicy | None) -> dict[str, Any]:
        """What a policy says, or what most begin with."""
        of = row or DunningPolicy(
            is_active=False, steps=list(_USUAL), minimum=Decimal(10), quiet_weekdays=[5, 6]
        )
        found: dict[str, Any] = {
            name: getattr(of, name)
            for name in (
                "is_active",
                "restore_percent",
                "quiet_weekdays",
                "region",
                "hour_from",
                "hour_to",
            )
        }
        found["minimum"] = Decimal(of.minimum).quantize(Decimal("0.01"))
        for number, step in enumerate(of.steps, 1):
            found[f"kind_{number}"] = step["kind"]
            found[f"after_{number}"] = step["after_days"]
            found[f"fee_{number}"] = Decimal(step["fee"]) if "fee" in step else None
            found[f"limit_{number}"] = step.get("limit_w")
        return found

    def draft(self) -> PolicyDraft:
        """The policy; what does not fit together is refused by the domain."""
        data = self.cleaned_data
        return PolicyDraft(
            steps=[
                self._step(number)
                for number in range(1, MOST_STEPS + 1)
                if data.get(f"kind_{number}")
            ],
            minimum=data["minimum"],
            quiet_weekdays=tuple(data["quiet_weekdays"]),
            region=data["region"],
            hour_from=data["hour_from"],
            hour_to=data["hour_to"],
            restore_percent=data["restore_percent"],
            is_active=data["is_active"],
        )

    def _step(self, number: int) -> dict[str, Any]:
        data = self.cleaned_data
        step: dict[str, Any] = {
            "kind": data[f"kind_{number}"],
            "after_days": data[f"after_{number}"],
        }
        if data[f"fee_{number}"] is not None:
            step["fee"] = str(data[f"fee_{number}"])
        if data[f"limit_{number}"] is not None:
            step["limit_w"] = data[f"limit_{number}"]
        return step


def _step_fields() -> tuple[forms.Field, ...]:
    """The fields of a row, in the order of `_STEP_COLUMNS`."""
    return (
        forms.ChoiceField(choices=_STEP_KINDS, required=False),
        forms.IntegerField(min_value=0, max_value=MOST_DAYS, required=False),
        forms.DecimalField(
            min_value=Decimal(0), max_digits=7, decimal_places=2, required=False, localize=True
        ),
        forms.IntegerField(min_value=1, max_value=1_000_000_000, required=False),
    )


class PauseForm(forms.Form):
    """Until when a case rests."""

    until = DayField(
        label=gettext_lazy("Last day"),
        help_text=gettext_lazy("What is cut stays so until it is paid."),
    )
    reason = ReasonField()


class WishForm(forms.Form):
    """How somebody would like to pay; the portal makes the instalments of it."""

    whole = forms.ChoiceField(
        label=gettext_lazy("Of"),
        choices=[
            ("", gettext_lazy("what is overdue")),
            ("1", gettext_lazy("all that is owed")),
        ],
        required=False,
    )
    count = forms.IntegerField(label=gettext_lazy("Instalments"), min_value=1, max_value=MOST_PARTS)
    first = DayField(label=gettext_lazy("First one due"))
    every = forms.TypedChoiceField(
        label=gettext_lazy("Then every"),
        choices=[
            (0, gettext_lazy("month")),
            (7, gettext_lazy("week")),
            (14, gettext_lazy("two weeks")),
        ],
        coerce=int,
    )

    def wish(self) -> Wish:
        """As the domain takes it."""
        data = self.cleaned_data
        return Wish(data["count"], data["first"], data["every"], bool(data["whole"]))


class PlanForm(GroupedForm, forms.Form):
    """Instalments as they are agreed, one in a row."""

    grace_days = forms.IntegerField(
        label=gettext_lazy("Days of grace"),
        min_value=0,
        max_value=60,
        initial=3,
        help_text=gettext_lazy("A part that is not paid within them breaks the plan."),
    )
    reason = forms.CharField(label=gettext_lazy("Note"), max_length=400, required=False)

    def __init__(self, *args: Any, rows: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rows = rows
        names = []
        for number in range(1, rows + 1):
            day = DayField(required=False)
            amount = AmountField(min_value=Decimal("0.01"), required=False)
            for name, label, field in (
                (f"due_{number}", _("Instalment %(number)d: due"), day),
                (f"amount_{number}", _("Instalment %(number)d: amount"), amount),
            ):
                field.label = label % {"number": number}
                field.widget.attrs["aria-label"] = field.label
                self.fields[name] = field
                names.append(name)
        self.groups = (
            FieldGroup(
                gettext_lazy("Instalments"),
                tuple(names),
                gettext_lazy("Together they are what is overdue, or all that is owed."),
                (gettext_lazy("Due"), gettext_lazy("Amount")),
                tuple(str(number) for number in range(1, rows + 1)),
            ),
        )

    def clean(self) -> dict[str, Any] | None:
        """A row has both or nothing."""
        values = super().clean()
        for number in range(1, self._rows + 1):
            due, amount = f"due_{number}", f"amount_{number}"
            missing = [name for name in (due, amount) if self.cleaned_data.get(name) is None]
            if len(missing) == 1 and missing[0] not in self.errors:
                self.add_error(missing[0], _("Give day and amount, or neither."))
        return values

    def parts(self) -> list[tuple[date, Decimal]]:
        """Day and amount of each."""
        data = self.cleaned_data
        rows = ((data[f"due_{n}"], data[f"amount_{n}"]) for n in range(1, self._rows + 1))
        return [(day, amount) for day, amount in rows if day is not None and amount is not None]

"""Forms of bill runs and of what takes bills back."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy

from billing.models import Cycle
from portal.enterprise.billing.forms import DayField, ReasonField


class RunForm(forms.Form):
    """The period of a run."""

    cycle = forms.ChoiceField(label=gettext_lazy("Billed"), choices=Cycle.choices)
    first_on = DayField(
        label=gettext_lazy("First day"),
        help_text=gettext_lazy("The first day of a month, quarter or year that is over."),
    )


class ApproveForm(forms.Form):
    """The date of the bills."""

    issued_on = DayField(
        label=gettext_lazy("Date of the bills"),
        help_text=gettext_lazy("They are due as many days later as each agreement says."),
    )


class VoidForm(forms.Form):
    """Why a bill is taken back."""

    cause = ReasonField(
        label=gettext_lazy("Cause"),
        help_text=gettext_lazy("The credit note names it to the customer."),
    )
    issued_on = DayField(label=gettext_lazy("Date of the credit note"))


class SettleForm(forms.Form):
    """The date of credit notes and new bills."""

    issued_on = ApproveForm.base_fields["issued_on"]

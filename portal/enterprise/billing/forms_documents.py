"""Forms about documents: where a bill is sent, and which days a journal is for."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.enterprise.billing.forms import DayField


class BillMailForm(forms.Form):
    """Where a bill goes."""

    to = forms.EmailField(label=gettext_lazy("E-mail address"))


class JournalForm(forms.Form):
    """The days of a journal, both inclusive as people say them."""

    first = DayField(label=gettext_lazy("First day"))
    last = DayField(label=gettext_lazy("Last day"))

    def clean(self) -> dict[str, Any] | None:
        """The last day is not before the first."""
        values = super().clean()
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last and last < first:
            self.add_error("last", _("The last day is before the first."))
        return values

    def period(self) -> tuple[date, date]:
        """The days [first, end)."""
        return self.cleaned_data["first"], self.cleaned_data["last"] + timedelta(days=1)


def last_month(today: date) -> dict[str, date]:
    """What a journal is asked for most often."""
    last = today.replace(day=1) - timedelta(days=1)
    return {"first": last.replace(day=1), "last": last}

"""Forms about how long data is kept, and about legal holds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final

from django import forms
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.holds import Held
from devices.domain.retention import Own, RuleFacts
from devices.models import DataClass, Facility

INHERIT: Final = "inherit"
FOR_EVER: Final = "forever"
# Days, so that no rule depends on the length of a month.
PERIODS: Final[dict[int, str | Promise]] = {
    31: gettext_lazy("1 month (31 days)"),
    92: gettext_lazy("3 months (92 days)"),
    183: gettext_lazy("6 months (183 days)"),
    366: gettext_lazy("1 year (366 days)"),
    731: gettext_lazy("2 years (731 days)"),
    1096: gettext_lazy("3 years (1096 days)"),
    1827: gettext_lazy("5 years (1827 days)"),
    3653: gettext_lazy("10 years (3653 days)"),
}
HELP: Final[dict[DataClass, str | Promise]] = {
    DataClass.READINGS: gettext_lazy(
        "Every reading, to the second. Energy by the quarter of an hour and what is made of it"
        " stays when readings go. They go by the week, once all of the week is over."
    ),
    DataClass.QUARTERS: gettext_lazy(
        "Energy, lowest, highest and mean of each quarter of an hour, kept as long as readings at"
        " least. They go by the month."
    ),
    DataClass.DAYS: gettext_lazy(
        "What each day amounted to, and the sums of facilities, kept as long as quarters of an hour"
        " at least. They go by the month and by the quarter of a year."
    ),
    DataClass.LOGS: gettext_lazy("What the firmware of devices writes. They go by the day."),
    DataClass.EVENTS: gettext_lazy("Connections, restarts and alarms. They go by the week."),
    DataClass.QUARANTINE: gettext_lazy(
        "Messages that were refused, with the reason, for somebody to look at."
    ),
}


def in_words(days: int | None) -> str:
    """How long that is."""
    if days is None:
        return _("for ever")
    return str(PERIODS.get(days, _("%(days)d days") % {"days": days}))


class RetentionForm(forms.Form):
    """A choice for each class of data."""

    def __init__(self, data: Any, *, rules: Sequence[RuleFacts]) -> None:
        super().__init__(data)
        for rule in rules:
            self.fields[rule.data_class.value] = _choice(rule)

    def wanted(self) -> dict[DataClass, Own | None]:
        """The rules that were chosen; a class that was not sent stays out."""
        return {
            DataClass(name): None if value == INHERIT else Own(_days(value))
            for name, value in self.cleaned_data.items()
            if value
        }


def _days(value: str) -> int | None:
    return None if value == FOR_EVER else int(value)


def _choice(rule: RuleFacts) -> forms.ChoiceField:
    own = FOR_EVER if rule.days is None else str(rule.days)
    inherited = _("As the organisation above says")
    if not rule.own:
        inherited = _("As above: %(time)s") % {"time": in_words(rule.days)}
    choices = {INHERIT: inherited, FOR_EVER: _("For ever")}
    choices |= {str(days): str(words) for days, words in PERIODS.items()}
    if rule.own:
        choices.setdefault(own, in_words(rule.days))
    return forms.ChoiceField(
        label=rule.data_class.label,
        choices=list(choices.items()),
        initial=own if rule.own else INHERIT,
        required=False,
        help_text=str(HELP[rule.data_class]),
    )


class HoldForm(forms.Form):
    """What is held, from when to when, and why; days of the reader's time zone."""

    facility = forms.ModelChoiceField(
        label=gettext_lazy("Facility"),
        queryset=Facility.objects.none(),
        required=False,
        empty_label=gettext_lazy("All facilities"),
        help_text=gettext_lazy("With its areas and all devices in them."),
    )
    serial = forms.CharField(
        label=gettext_lazy("Serial of a device"),
        required=False,
        max_length=64,
        help_text=gettext_lazy("To hold the data of one device alone."),
    )
    since = forms.DateField(
        label=gettext_lazy("First day"), widget=forms.DateInput({"type": "date"})
    )
    until = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=forms.DateInput({"type": "date"}),
        help_text=gettext_lazy("Leave it empty to hold all that is still to come."),
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=400, widget=forms.Textarea({"rows": 3})
    )

    def __init__(self, data: Any, *, tenant_id: int) -> None:
        super().__init__(data)
        field = self.fields["facility"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Facility.objects.filter(tenant_id=tenant_id).order_by("name", "pk")

    def held(self) -> Held:
        """What was asked for, as instants."""
        values = self.cleaned_data
        until = values["until"]
        return Held(
            _midnight(values["since"]),
            None if until is None else _midnight(until + timedelta(days=1)),
            facility_id=values["facility"].pk if values["facility"] else None,
            serial=values["serial"],
        )


def _midnight(day: Any) -> datetime:
    return datetime.combine(day, time(), timezone.get_current_timezone())

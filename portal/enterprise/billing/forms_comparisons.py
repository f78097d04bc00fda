"""The form of a comparison of tariffs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.dispatch.battery import Battery, BatteryError
from billing.dispatch.solar import SolarError
from billing.domain.comparison_values import Days, Panels, Question, Whose
from billing.domain.comparisons_queries import ComparisonChoices
from billing.domain.sentences import spoken_of
from portal.enterprise.billing.forms import DayField
from portal.enterprise.registry.forms import EMPTY, PickerField
from portal.frame.forms import FieldGroup, GroupedForm

_ALL: Final = "all"
_AGREEMENT: Final = "agreement"
_CUSTOMER: Final = "customer"


def _figure(label: Any, low: float, high: float, help_text: Any = "") -> forms.FloatField:
    return forms.FloatField(
        label=label,
        min_value=low,
        max_value=high,
        required=False,
        localize=True,
        help_text=help_text,
    )


class ComparisonForm(GroupedForm, forms.Form):
    """Whose use of which days by which tariffs, and what else would have been there."""

    whose = PickerField(label=gettext_lazy("Agreements"), coerce=str)
    first = DayField(label=gettext_lazy("First day"))
    last = DayField(label=gettext_lazy("Last day"))
    tariffs = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Tariffs"),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("None chosen: all that are not archived."),
    )
    drafts = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Drafts of tariffs"),
        coerce=int,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("As if they held all the time."),
    )
    kwp = _figure(gettext_lazy("Photovoltaics (kWp)"), 0.001, 100_000)
    tilt = _figure(gettext_lazy("Tilt (degrees)"), 0, 90, gettext_lazy("0 is level, 90 a wall."))
    azimuth = _figure(
        gettext_lazy("Direction (degrees)"),
        0,
        360,
        gettext_lazy("From north over east: 90 is east, 180 south, 270 west."),
    )
    capacity_kwh = _figure(gettext_lazy("Battery (kWh)"), 0.001, 1_000_000)
    power_kw = _figure(
        gettext_lazy("Power (kW)"), 0.001, 1_000_000, gettext_lazy("Left empty, half of the kWh.")
    )
    efficiency = _figure(
        gettext_lazy("Efficiency (%)"),
        10,
        100,
        gettext_lazy("Of what is loaded, what can be taken out again."),
    )
    lowest_peak = forms.BooleanField(
        label=gettext_lazy("Keep the peak as low as the battery can"),
        required=False,
        help_text=gettext_lazy("Otherwise it stores what would be given to the grid."),
    )
    peak_kw = _figure(
        gettext_lazy("Keep the peak at (kW)"), 0, 1_000_000, gettext_lazy("A peak of your choice.")
    )

    groups = (
        FieldGroup("", ("whose", "first", "last", "tariffs", "drafts")),
        FieldGroup(
            gettext_lazy("With photovoltaics"),
            ("kwp", "tilt", "azimuth"),
            gettext_lazy("At each agreement; left empty, as it was measured."),
        ),
        FieldGroup(
            gettext_lazy("With a battery"),
            ("capacity_kwh", "power_kw", "efficiency", "lowest_peak", "peak_kw"),
            gettext_lazy("At each agreement; left empty, as it was measured."),
        ),
    )

    def __init__(self, *args: Any, of: ComparisonChoices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices: list[Any] = [EMPTY]
        if not of.narrowed:
            choices += [
                (f"{_ALL}:{one}", _("All that are billed in %(currency)s") % {"currency": one})
                for one in of.currencies
            ]
            choices.append((_("Customers"), _named(_CUSTOMER, of.customers)))
        choices.append((_("Agreements"), _named(_AGREEMENT, of.agreements)))
        self._choices("whose", choices)
        for name, offered in (("tariffs", of.tariffs), ("drafts", of.drafts)):
            if offered:
                self._choices(name, list(offered))
            else:
                del self.fields[name]

    def _choices(self, name: str, choices: list[Any]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        """Values that only together make panels or a battery."""
        super().clean()
        values = self.cleaned_data
        first, last = values.get("first"), values.get("last")
        if first and last and last < first:
            self.add_error("last", _("The last day is before the first."))
        if not self.errors:
            try:
                values["question"] = self._question()
            except (SolarError, BatteryError) as error:
                raise ValidationError(spoken_of(error)) from error
        return values

    def _question(self) -> Question:
        values = self.cleaned_data
        panels = battery = None
        if values["kwp"]:
            panels = Panels(
                values["kwp"],
                30.0 if values["tilt"] is None else values["tilt"],
                180.0 if values["azimuth"] is None else values["azimuth"],
            )
        if capacity := values["capacity_kwh"]:
            battery = Battery(
                capacity,
                values["power_kw"] or capacity / 2,
                (values["efficiency"] or 90.0) / 100,
                values["peak_kw"],
            )
        return Question(
            tariff_ids=tuple(values.get("tariffs", ())),
            draft_ids=tuple(values.get("drafts", ())),
            panels=panels,
            battery=battery,
            lowest_peak=values["lowest_peak"],
        )

    def whose_use(self) -> Whose:
        """Which agreements."""
        kind, _colon, code = self.cleaned_data["whose"].partition(":")
        if kind == _ALL:
            return Whose(currency=code)
        if kind == _CUSTOMER:
            return Whose(customer_id=int(code))
        return Whose(agreement_id=int(code))

    def days(self) -> Days:
        """The days, with an end that is not part of them."""
        values = self.cleaned_data
        return Days(values["first"], values["last"] + timedelta(days=1))


def _named(kind: str, pairs: Any) -> list[tuple[str, str]]:
    return [(f"{kind}:{pk}", label) for pk, label in pairs]


def initial_of(days: Days, *, agreement: str = "", customer: str = "") -> dict[str, Any]:
    """What the form begins with: numbers as they are in the address."""
    whose = ""
    if agreement.isdecimal():
        whose = f"{_AGREEMENT}:{agreement}"
    elif customer.isdecimal():
        whose = f"{_CUSTOMER}:{customer}"
    return {
        "whose": whose,
        "first": days.first,
        "last": days.end - timedelta(days=1),
        "tilt": 30,
        "azimuth": 180,
        "efficiency": 90,
    }


def initial_again(question: Question, days: Days, agreement_ids: list[int]) -> dict[str, Any]:
    """The form as a comparison was asked for; of several agreements, which is chosen anew."""
    found = initial_of(days, agreement=str(agreement_ids[0]) if len(agreement_ids) == 1 else "")
    found |= {"tariffs": question.tariff_ids, "drafts": question.draft_ids}
    if panels := question.panels:
        found |= {"kwp": panels.kwp, "tilt": panels.tilt, "azimuth": panels.azimuth}
    if battery := question.battery:
        found |= {
            "capacity_kwh": battery.capacity_kwh,
            "power_kw": battery.power_kw,
            "efficiency": round(battery.efficiency * 100, 1),
            "peak_kw": battery.peak_kw,
            "lowest_peak": question.lowest_peak,
        }
    return found

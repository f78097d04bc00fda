"""What is asked of revenue and cost centres: always answered, with what is asked most often."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from billing.domain.revenue_values import Asked, By, Choices
from portal.frame import days

MOST_MONTHS: Final = 60
# A cost centre among the choices, told from "all": "=" is that of whoever has none.
_CENTRE: Final = "="


class MonthField(forms.DateField):
    """A month, as its first day."""

    widget = forms.DateInput(attrs={"type": "month"}, format="%Y-%m")

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(input_formats=["%Y-%m"], validators=[days.known], **kwargs)


def following(month: date) -> date:
    """The month after the one that begins on a day."""
    return (month + timedelta(days=31)).replace(day=1)


def _currency_field() -> forms.ChoiceField:
    return forms.ChoiceField(label=gettext_lazy("Currency"))


def _offer(form: forms.Form, name: str, choices: list[tuple[str, str]]) -> None:
    field = form.fields[name]
    assert isinstance(field, forms.ChoiceField)
    field.choices = choices


class RevenueForm(forms.Form):
    """The months, both inclusive as people say them, and what of them."""

    first = MonthField(label=gettext_lazy("First month"))
    last = MonthField(label=gettext_lazy("Last month"))
    by = forms.ChoiceField(
        label=pgettext_lazy("revenue", "By"),
        choices=[
            (By.ISSUE.value, gettext_lazy("Date of the bill")),
            (By.SUPPLY.value, gettext_lazy("Month of supply")),
        ],
    )
    currency = _currency_field()
    cost_centre = forms.ChoiceField(label=gettext_lazy("Cost centre"), required=False)
    tariff = forms.TypedChoiceField(
        label=gettext_lazy("Tariff"), required=False, coerce=int, empty_value=None
    )

    def __init__(self, data: dict[str, Any], *, choices: Choices, today: date) -> None:
        last = today.replace(day=1)
        first = last.replace(year=last.year - 1)
        usual = {
            "first": f"{following(first):%Y-%m}",
            "last": f"{last:%Y-%m}",
            "by": By.ISSUE.value,
            "currency": choices.currencies[0],
        }
        super().__init__({**usual, **data})
        _offer(self, "currency", [(one, one) for one in choices.currencies])
        centres = [(f"{_CENTRE}{one}", one) for one in choices.cost_centres]
        _offer(self, "cost_centre", [("", _("All")), *centres, (_CENTRE, _("Without one"))])
        tariffs = [(str(pk), name) for pk, name in choices.tariffs]
        _offer(self, "tariff", [("", _("All")), *tariffs])

    def clean(self) -> dict[str, Any] | None:
        """In order, and not too many months."""
        values = super().clean()
        first, last = self.cleaned_data.get("first"), self.cleaned_data.get("last")
        if first and last:
            count = (last.year - first.year) * 12 + last.month - first.month + 1
            if count < 1:
                self.add_error("last", _("The last month is before the first."))
            elif count > MOST_MONTHS:
                text = _("These are %(count)s months; ask for %(most)s at most.")
                self.add_error("last", text % {"count": count, "most": MOST_MONTHS})
        return values

    def asked(self) -> Asked:
        """What a valid form asks for."""
        values = self.cleaned_data
        centre = values["cost_centre"]
        return Asked(
            first=values["first"],
            end=following(values["last"]),
            currency=values["currency"],
            by=By(values["by"]),
            cost_centre=centre.removeprefix(_CENTRE) if centre else None,
            tariff_id=values["tariff"],
        )


class CostCentreForm(forms.Form):
    """A month and a currency."""

    month = MonthField(label=gettext_lazy("Month"))
    currency = _currency_field()

    def __init__(self, data: dict[str, Any], *, choices: Choices, today: date) -> None:
        last = (today.replace(day=1) - timedelta(days=1)).replace(day=1)
        usual = {"month": f"{last:%Y-%m}", "currency": choices.currencies[0]}
        super().__init__({**usual, **data})
        _offer(self, "currency", [(one, one) for one in choices.currencies])

"""Forms of price series."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django import forms
from django.utils.translation import gettext_lazy

from billing.domain.prices_files import MOST_BYTES, UNITS, PriceFile
from billing.domain.prices_queries import Price
from portal.enterprise.registry.forms_loads import LocalDateTimeField, ZonedForm

_STEPS: Final = [
    (3600, gettext_lazy("hour")),
    (1800, gettext_lazy("half an hour")),
    (900, gettext_lazy("quarter of an hour")),
]
_UNITS: Final = [(unit, unit) for unit in UNITS]


class SeriesForm(forms.Form):
    """A new series."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=60,
        help_text=gettext_lazy("Tariffs call it by this name."),
    )
    currency = forms.CharField(
        label=gettext_lazy("Currency"),
        max_length=3,
        help_text=gettext_lazy("Three letters, for example EUR."),
    )
    step_s = forms.TypedChoiceField(
        label=gettext_lazy("A price for each"), choices=_STEPS, coerce=int
    )


class PriceFileForm(forms.Form):
    """A file of prices."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".csv,.txt,text/csv"}),
        help_text=gettext_lazy(
            "CSV with the columns starts_at (such as 2026-03-01T00:00+01:00) and price. At most"
            " 10 MB."
        ),
    )
    unit = forms.ChoiceField(label=gettext_lazy("Prices are for a"), choices=_UNITS)

    def price_file(self) -> PriceFile:
        """The file; one that is too large is read no further than that it shows."""
        return PriceFile(self.cleaned_data["file"].read(MOST_BYTES + 1), self.cleaned_data["unit"])


class PriceForm(ZonedForm):
    """A price by hand, for one step or several."""

    starts_at = LocalDateTimeField(label=gettext_lazy("From"))
    steps = forms.IntegerField(
        label=gettext_lazy("For so many steps"), min_value=1, max_value=200, initial=1
    )
    price = forms.DecimalField(
        label=gettext_lazy("Price"), max_digits=20, decimal_places=10, localize=True
    )
    unit = forms.ChoiceField(label=gettext_lazy("Price for a"), choices=_UNITS)

    def prices(self, step_s: int) -> list[Price]:
        """Each step's; for a kWh."""
        data = self.cleaned_data
        price = data["price"] / UNITS[data["unit"]]
        begin, step = data["starts_at"], timedelta(seconds=step_s)
        return [Price(begin + n * step, price) for n in range(data["steps"])]

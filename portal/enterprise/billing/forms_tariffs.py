"""Forms of tariffs: what people give, as operations take it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.choices_queries import Pair
from billing.tariffs.source import MAX_BYTES
from portal.enterprise.billing.forms import DayField, ReasonField, offer
from portal.enterprise.billing.forms_revenue import MonthField
from portal.enterprise.registry.forms import PickerField

# What a new tariff begins with: it is a sound one, to be changed.
TEMPLATE: Final = """\
tariff: 1
name: {name}
currency: {currency}
holidays: DE-BY

seasons:
  summer: ["04-01..09-30"]
  winter: ["10-01..03-31"]

schedules:
  times:
    - {{period: peak, days: [mon, tue, wed, thu, fri], from: "07:00", to: "21:00"}}
    - {{period: off-peak, days: [mon, tue, wed, thu, fri], to: "07:00"}}
    - {{period: off-peak, days: [mon, tue, wed, thu, fri], from: "21:00"}}
    - {{period: off-peak, days: [sat, sun, holiday]}}

components:
  - kind: standing
    name: base
    label: Base price
    amount: 9.90
    per: month
  - kind: energy
    name: energy
    label: Energy
    schedule: times
    prices:
      peak: 0.34
      off-peak: 0.26
  - kind: tax
    name: vat
    label: VAT
    of: all
    percent: 19
"""


class TariffForm(forms.Form):
    """A tariff's name."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    currency = forms.CharField(
        label=gettext_lazy("Currency"),
        max_length=3,
        initial="EUR",
        help_text=gettext_lazy("Three letters, for example EUR."),
    )
    description = forms.CharField(label=gettext_lazy("Description"), max_length=400, required=False)


class TariffNameForm(forms.Form):
    """What may be changed of a tariff beside its versions."""

    name = TariffForm.base_fields["name"]
    description = TariffForm.base_fields["description"]
    offered = forms.BooleanField(
        label=gettext_lazy("Offered to customers"),
        required=False,
        help_text=gettext_lazy("Customers who compare tariffs are told what they would pay by it."),
    )


class VersionForm(forms.Form):
    """What a tariff says from a day on."""

    valid_from = DayField(
        label=gettext_lazy("Valid from"),
        help_text=gettext_lazy("From the midnight of this day, in the time zone of each facility."),
    )
    source = forms.CharField(
        label=gettext_lazy("Source"),
        strip=False,
        max_length=MAX_BYTES,
        widget=forms.Textarea(
            attrs={"rows": 30, "spellcheck": "false", "autocapitalize": "off", "wrap": "off"}
        ),
        help_text=gettext_lazy("YAML or JSON. What is wrong is told beside it while you write."),
    )
    reason = ReasonField(
        required=False,
        help_text=gettext_lazy(
            "Needed where the version begins on a day that is over, or takes the place of another:"
            " bills are restated then, and name it."
        ),
    )


class ImportForm(forms.Form):
    """A published tariff to be taken in as drafts."""

    content = forms.FileField(
        label=gettext_lazy("File"),
        help_text=gettext_lazy(
            "JSON of OpenEI's URDB, of open-energy-tariffs, or of an Australian retailer or"
            " network: which one is found out by itself."
        ),
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=120,
        required=False,
        help_text=gettext_lazy("Left empty, the one in the file."),
    )
    currency = forms.CharField(
        label=gettext_lazy("Currency"),
        max_length=3,
        initial="USD",
        help_text=gettext_lazy("Of a tariff of URDB, which does not name one."),
    )
    valid_from = DayField(
        label=gettext_lazy("Valid from"),
        required=False,
        help_text=gettext_lazy("Where the file does not say from when on it is valid."),
    )

    def clean_content(self) -> bytes:
        """What is in the file."""
        given = self.cleaned_data["content"]
        if given.size > 4 * MAX_BYTES:
            raise ValidationError(_("The file is too large for a tariff."))
        return bytes(given.read())


class PreviewForm(forms.Form):
    """Whose use of which month is rated."""

    agreement = PickerField(label=gettext_lazy("Agreement"))
    month = MonthField(label=gettext_lazy("Month"))

    def __init__(self, *args: Any, agreements: Sequence[Pair], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "agreement", agreements)

    @property
    def month_first(self) -> date:
        """The first day of the month."""
        chosen: date = self.cleaned_data["month"]
        return chosen

"""Forms of payments: files, whose one is, refunds, write-offs, services."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.payments_imports import Upload
from billing.payments.camt053 import MOST_BYTES
from portal.enterprise.billing.forms import DayField, ReasonField
from portal.frame.forms import AmountField


class StatementForm(forms.Form):
    """A file of payments."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".xml,.csv,.txt"}),
        help_text=gettext_lazy(
            "A bank statement in XML (CAMT.053), or CSV with the columns date and amount. At most"
            " 20 MB."
        ),
    )

    def clean_file(self) -> Any:
        """Refuse what is too big before it is read."""
        file = self.cleaned_data["file"]
        if file.size > MOST_BYTES:
            raise ValidationError(_("The file is too large: at most 20 MB."))
        return file

    def upload(self) -> Upload:
        """The file as it came."""
        file = self.cleaned_data["file"]
        return Upload(str(file.name), file.read())


class AssignForm(forms.Form):
    """Whose a payment is."""

    number = forms.CharField(
        label=gettext_lazy("Number of the agreement or of a bill"), max_length=60
    )


class RefundForm(forms.Form):
    """What of a payment is given back. Sent twice, it goes back once: `key` is drawn with the
    form.
    """

    key = forms.CharField(max_length=36, required=False, widget=forms.HiddenInput)
    amount = AmountField(label=gettext_lazy("Amount"), min_value=Decimal("0.01"))
    on = DayField(label=gettext_lazy("Day"))
    reason = ReasonField()


class WriteOffForm(forms.Form):
    """Why something is given up."""

    on = DayField(label=gettext_lazy("Day"))
    reason = ReasonField()


class ServiceForm(forms.Form):
    """What a payment service signs its notices with. It is never shown again."""

    secret = forms.CharField(
        label=gettext_lazy("Signing secret"),
        required=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Left empty, it stays as it is."),
    )
    is_active = forms.BooleanField(
        label=gettext_lazy("Take payments that the service tells of"), required=False
    )

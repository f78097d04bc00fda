"""Forms of pay-as-you-go units and of tokens that nobody has paid for."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.accounts.tokens import Keys, Kind, TokenError
from billing.domain.payg_operations import REASON_LENGTH, UnitTerms
from billing.models import TokenKind
from devices.models import Device
from portal.enterprise.billing.forms import ReasonField
from portal.enterprise.registry.forms import PickerField

# A key is entered once, and no browser keeps it.
_SECRET: Final = {"autocomplete": "off", "spellcheck": "false", "class": "wl-mono"}
_MOST_CODE: Final = 999_999_999


class UnitForm(forms.Form):
    """A unit as its maker has delivered it."""

    device = PickerField(label=gettext_lazy("Device"))
    secret = forms.CharField(
        label=gettext_lazy("Key"),
        max_length=32,
        widget=forms.TextInput(attrs=_SECRET),
        help_text=gettext_lazy(
            "32 hexadecimal digits from the maker. It is encrypted and never shown again."
        ),
    )
    starting_code = forms.CharField(
        label=gettext_lazy("Starting code"),
        max_length=9,
        widget=forms.TextInput(attrs={**_SECRET, "inputmode": "numeric"}),
        help_text=gettext_lazy("Nine digits from the maker; it is kept like the key."),
    )
    price_per_day = forms.DecimalField(
        label=gettext_lazy("A day costs"),
        min_value=Decimal("0.0001"),
        max_digits=18,
        decimal_places=4,
        localize=True,
    )
    divider = forms.IntegerField(
        label=gettext_lazy("Units of a token in a day"),
        initial=1,
        validators=[MinValueValidator(1), MaxValueValidator(96)],
        help_text=gettext_lazy("1: a token counts days; 24: hours."),
    )
    extended = forms.BooleanField(label=gettext_lazy("Tokens of 12 digits"), required=False)
    restricted_digits = forms.BooleanField(
        label=gettext_lazy("Keypad with 1 to 4 alone"), required=False
    )
    count = forms.IntegerField(
        label=gettext_lazy("Count of the newest token"),
        initial=0,
        min_value=0,
        max_value=2**31 - 1,
        help_text=gettext_lazy("0 for a new unit; else of the last token issued elsewhere."),
    )

    def __init__(self, *args: Any, devices: Sequence[Device], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["device"]
        assert isinstance(field, PickerField)
        field.choices = [(one.pk, f"{one.name} · {one.serial}") for one in devices]

    def clean(self) -> dict[str, Any]:
        """The keys as one value."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        secret, code = data.get("secret"), data.get("starting_code")
        if secret and code:
            if not (code.isascii() and code.isdigit() and 0 < int(code) <= _MOST_CODE):
                self.add_error("starting_code", _("A starting code has up to nine digits."))
                return data
            try:
                data["keys"] = Keys(secret, int(code))
            except TokenError:
                self.add_error("secret", _("The key of a unit has 32 hexadecimal digits."))
        return data

    @property
    def terms(self) -> UnitTerms:
        """How it sells time."""
        names = ("price_per_day", "divider", "extended", "restricted_digits", "count")
        return UnitTerms(**{name: self.cleaned_data[name] for name in names})


class TokenForm(forms.Form):
    """A token that nobody has paid for."""

    kind = forms.TypedChoiceField(
        label=gettext_lazy("What it does"), choices=TokenKind.choices, coerce=Kind
    )
    days = forms.DecimalField(
        label=gettext_lazy("Days"),
        required=False,
        min_value=0,
        max_value=1_000_000,
        decimal_places=4,
        localize=True,
        help_text=gettext_lazy("Which it adds, or sets; left empty for the other kinds."),
    )
    reason = ReasonField(max_length=REASON_LENGTH)

    def clean_days(self) -> Decimal:
        """None are no days."""
        days: Decimal | None = self.cleaned_data["days"]
        return days if days is not None else Decimal(0)

    def clean(self) -> dict[str, Any]:
        """Time for the kinds that have one."""
        data: dict[str, Any] = super().clean() or self.cleaned_data
        if data.get("kind") not in (Kind.ADD_TIME, Kind.SET_TIME) and data.get("days"):
            raise ValidationError({"days": _("This kind of token has no days.")})
        return data

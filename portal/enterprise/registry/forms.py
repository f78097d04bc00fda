"""The registry's forms: what people type, as the values that operations take.

Choices of facilities and types are read before and passed in, so that a template never queries. A
form for something that exists carries the values that it was opened with, signed, in `based_on`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from django import forms
from django.core import signing
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.operations import Address
from devices.domain.registry_operations import DeviceValues, FacilityValues
from devices.domain.registry_queries import Choice, DeviceForm, FacilityForm
from devices.models import DeviceState, FacilityKind, Placement
from portal.frame.forms import FieldGroup, GroupedForm, LongSelect
from tenants import time_zones

_SALT: Final = "registry.based_on"
EMPTY: Final = ("", "—")


def options(choices: Sequence[Choice]) -> list[Any]:
    """Entries of a choice, below the names of their organisations when there are several."""
    found: list[Any] = []
    for tenant, group in groupby(choices, key=lambda choice: choice.tenant_name):
        entries = [(choice.pk, choice.label) for choice in group]
        found += [(tenant, entries)] if tenant else entries
    return found


def add_errors(form: forms.BaseForm, error: ValidationError) -> None:
    """Put what an operation refused at the fields that it concerns, the rest above the form."""
    if not hasattr(error, "error_dict"):
        form.add_error(None, error)
        return
    for field, errors in error.error_dict.items():
        at = field if field in form.fields and field != NON_FIELD_ERRORS else None
        for one in errors:
            form.add_error(at, one)


class PickerField(forms.TypedChoiceField):
    """A choice of an id, or of text, that can be searched (`combobox.js`)."""

    widget = LongSelect

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("coerce", int)
        kwargs.setdefault("empty_value", None)
        super().__init__(**kwargs)
        self.widget.attrs["data-combobox"] = ""


class BasedOnForm(GroupedForm, forms.Form):
    """A form that knows what it was opened with."""

    based_on = forms.CharField(widget=forms.HiddenInput, required=False)

    def clean_based_on(self) -> Mapping[str, Any] | None:
        """The values, None for something new."""
        token = self.cleaned_data["based_on"]
        if not token:
            return None
        try:
            values: Mapping[str, Any] = signing.loads(token, salt=_SALT)
        except signing.BadSignature as error:
            raise ValidationError(_("The form is damaged. Load the page again.")) from error
        return values

    def rebase(self, values: Mapping[str, Any]) -> None:
        """Take `values` as what the form is based on from now on."""
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data["based_on"] = token_of(values)  # type: ignore[index]


def token_of(values: Mapping[str, Any]) -> str:
    """Values as a form carries them."""
    return signing.dumps(dict(values), salt=_SALT)


class FacilityEditForm(BasedOnForm):
    """A facility; as values: `values()`."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    kind = forms.ChoiceField(label=gettext_lazy("Kind"), choices=FacilityKind.choices)
    parent = PickerField(
        label=gettext_lazy("Part of"),
        required=False,
        help_text=gettext_lazy("The facility that this one lies in. An area has its own readings."),
        error_messages={
            "invalid_choice": gettext_lazy("There is no such facility in your organisation.")
        },
    )
    time_zone = PickerField(
        label=gettext_lazy("Time zone"),
        coerce=str,
        help_text=gettext_lazy("Its days, months and tariffs follow the clock there."),
    )
    street = forms.CharField(label=gettext_lazy("Street"), max_length=120, required=False)
    postal_code = forms.CharField(label=gettext_lazy("Postal code"), max_length=16, required=False)
    city = forms.CharField(label=gettext_lazy("City"), max_length=80, required=False)
    region = forms.CharField(label=gettext_lazy("Region"), max_length=80, required=False)
    country = forms.CharField(
        label=gettext_lazy("Country"),
        max_length=2,
        required=False,
        help_text=gettext_lazy("Two letters, for example DE."),
    )
    latitude = forms.DecimalField(
        label=gettext_lazy("Latitude"),
        required=False,
        localize=True,
        min_value=-90,
        max_value=90,
        max_digits=8,
        decimal_places=6,
        help_text=gettext_lazy("Degrees north, WGS 84."),
    )
    longitude = forms.DecimalField(
        label=gettext_lazy("Longitude"),
        required=False,
        localize=True,
        min_value=-180,
        max_value=180,
        max_digits=9,
        decimal_places=6,
        help_text=gettext_lazy("Degrees east, WGS 84."),
    )

    groups = (
        FieldGroup(gettext_lazy("Address"), ("street", "postal_code", "city", "region", "country")),
        FieldGroup(gettext_lazy("Coordinates"), ("latitude", "longitude")),
    )

    def __init__(self, *args: Any, of: FacilityForm, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["parent"].choices = [EMPTY, *options(of.parents)]  # type: ignore[attr-defined]
        self.fields["parent"].disabled = of.place_final
        self.fields["time_zone"].choices = [EMPTY, *time_zones.choices()]  # type: ignore[attr-defined]

    def clean_country(self) -> str:
        """Capital letters."""
        return str(self.cleaned_data["country"]).upper()

    def values(self) -> FacilityValues:
        """What the facility shall be."""
        data = self.cleaned_data
        parts = ("street", "postal_code", "city", "region", "country", "latitude", "longitude")
        return FacilityValues(
            name=data["name"],
            kind=FacilityKind(data["kind"]),
            time_zone=data["time_zone"],
            parent_id=data["parent"],
            address=Address(**{part: data[part] for part in parts}),
        )


class DeviceEditForm(BasedOnForm):
    """A device; as values: `values()`."""

    serial = forms.CharField(
        label=gettext_lazy("Serial"),
        max_length=64,
        help_text=gettext_lazy("As on the label; the device signs in by it."),
    )
    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    facility = PickerField(
        label=gettext_lazy("Facility"),
        error_messages={
            "invalid_choice": gettext_lazy("There is no such facility in your organisation.")
        },
    )
    device_type = PickerField(
        label=gettext_lazy("Device type"),
        help_text=gettext_lazy("Says which channels the device has."),
        error_messages={
            "invalid_choice": gettext_lazy("There is no such device type in your organisation.")
        },
    )
    placement = forms.ChoiceField(
        label=gettext_lazy("Placement"),
        choices=Placement.choices,
        initial=Placement.SUBMETER,
        help_text=gettext_lazy(
            "The facility’s total is the sum over its mains devices; all others lie behind them."
        ),
    )
    hardware_revision = forms.CharField(
        label=gettext_lazy("Hardware revision"), max_length=32, required=False
    )

    def __init__(self, *args: Any, of: DeviceForm, fixed: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["facility"].choices = [EMPTY, *options(of.facilities)]  # type: ignore[attr-defined]
        self.fields["device_type"].choices = [EMPTY, *options(of.types)]  # type: ignore[attr-defined]
        if fixed:
            for name in ("facility", "device_type", "serial"):
                self.fields[name].disabled = True
                self.fields[name].help_text = _("Final, because the device has reported.")

    def values(self) -> DeviceValues:
        """What the device shall be."""
        data = self.cleaned_data
        return DeviceValues(
            facility_id=data["facility"],
            device_type_id=data["device_type"],
            serial=data["serial"],
            name=data["name"],
            placement=Placement(data["placement"]),
            hardware_revision=data["hardware_revision"],
        )


_FIRST_STATES: Final = [
    (DeviceState.ACTIVE.value, gettext_lazy("Active: it may connect at once")),
    (DeviceState.PLANNED.value, gettext_lazy("Planned: it may connect once activated or claimed")),
]


class DeviceCreateForm(DeviceEditForm):
    """A new device, and whether it may connect."""

    state = forms.ChoiceField(
        label=gettext_lazy("State"), choices=_FIRST_STATES, widget=forms.RadioSelect,
        initial=DeviceState.ACTIVE.value,
    )  # fmt: skip

    def state_chosen(self) -> DeviceState:
        """The state to begin with."""
        return DeviceState(self.cleaned_data["state"])


class DeviceAnewForm(DeviceCreateForm):
    """A device that was moved, registered anew."""

    revoke = forms.BooleanField(
        label=gettext_lazy("Revoke the former record"),
        required=False,
        initial=True,
        help_text=gettext_lazy(
            "It can then never connect again under its former serial. Its readings stay."
        ),
    )


class ClaimCodeForm(forms.Form):
    """A code as it is typed."""

    code = forms.CharField(
        label=gettext_lazy("Claim code"),
        max_length=64,
        help_text=gettext_lazy("16 letters and digits on the label, in any grouping."),
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false"}
        ),
    )


class ClaimForm(forms.Form):
    """Where a claimed device stands."""

    facility = PickerField(
        label=gettext_lazy("Facility"),
        error_messages={
            "invalid_choice": gettext_lazy("There is no such facility in your organisation.")
        },
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=120,
        help_text=gettext_lazy("What you will know it by, for example “Mains” or “Cold store”."),
    )
    placement = forms.ChoiceField(label=gettext_lazy("Placement"), choices=Placement.choices)

    def __init__(self, *args: Any, facilities: Sequence[Choice], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["facility"].choices = [EMPTY, *options(facilities)]  # type: ignore[attr-defined]


class LifetimeForm(forms.Form):
    """How long new claim codes are valid."""

    days = forms.TypedChoiceField(
        label=gettext_lazy("Valid for"),
        coerce=int,
        initial=365,
        choices=[
            (30, gettext_lazy("30 days")),
            (90, gettext_lazy("90 days")),
            (365, gettext_lazy("1 year")),
            (730, gettext_lazy("2 years")),
        ],
    )

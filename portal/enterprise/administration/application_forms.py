"""The forms of applications; which fields one has follows from its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from portal.enterprise.people.forms import ALL, CHOSEN, ReachForm
from portal.frame.forms import FieldGroup, GroupedForm
from tenants.models import Application, ApplicationKind
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES

KIND_TEXTS: Final[Mapping[ApplicationKind, tuple[str, str | Promise]]] = {
    ApplicationKind.WEB: (
        "world",
        _("Runs on a server of its own, signs people in and keeps a secret."),
    ),
    ApplicationKind.NATIVE: (
        "device-mobile",
        _("Runs on the people's own devices, where no secret stays one."),
    ),
    ApplicationKind.DEVICE: (
        "router",
        _("Shows a code that a person confirms on a phone or computer."),
    ),
    ApplicationKind.SERVICE: (
        "server",
        _("Acts by itself, for the tenant: no person signs in."),
    ),
}


class AddressesField(forms.CharField):
    """Addresses, one in each line; the model keeps them separated by spaces."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=4000, **kwargs)
        self.widget.attrs |= {"rows": 3, "spellcheck": "false", "class": "wl-mono"}

    def to_python(self, value: Any) -> str:
        """Each address once, in the order of the lines."""
        return " ".join(dict.fromkeys(str(value or "").split()))

    def prepare_value(self, value: Any) -> Any:
        """One in each line."""
        return "\n".join(value.split()) if isinstance(value, str) else value


class ApplicationForm(GroupedForm, ReachForm):
    """An application of one kind."""

    name = forms.CharField(
        label=_("Name"), max_length=120, help_text=_("People see it when they are asked.")
    )
    redirect_uris = AddressesField(
        label=_("Redirect addresses"),
        help_text=_(
            "Where people are sent after signing in, one address in each line, compared exactly: "
            "https, http on the machine itself, or a scheme of the application's own with a dot."
        ),
    )
    post_logout_redirect_uris = AddressesField(
        label=_("Addresses after signing out"),
        required=False,
        help_text=_("Where the application may send people after it has signed them out."),
    )
    backchannel_logout_uri = forms.CharField(
        label=_("Logout notices to"),
        required=False,
        max_length=500,
        widget=forms.TextInput({"inputmode": "url", "spellcheck": "false", "class": "wl-mono"}),
        help_text=_("Gets a signed notice when somebody signs out elsewhere."),
    )
    allowed_scopes = forms.MultipleChoiceField(
        label=_("It may"),
        widget=forms.CheckboxSelectMultiple,
        help_text=_("The most that it may ever ask for."),
    )

    groups = (
        FieldGroup(
            _("Addresses"),
            ("redirect_uris", "post_logout_redirect_uris", "backchannel_logout_uri"),
        ),
        FieldGroup(_("Permissions"), ("allowed_scopes", "reach", "facilities")),
    )

    def __init__(self, *args: Any, kind: ApplicationKind, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind = kind
        service = kind is ApplicationKind.SERVICE
        scopes = list(ACCESS_SCOPES.values())
        if service:
            scopes = [scope for scope in scopes if scope.name not in PERSONAL_SCOPES]
        field = self.fields["allowed_scopes"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [(scope.name, scope.label) for scope in scopes]
        field.initial = [scope.name for scope in scopes]
        unfit = {"reach", "facilities"}
        if service:
            unfit = set()
            reach = self.fields["reach"]
            assert isinstance(reach, forms.ChoiceField)
            reach.choices = [
                (ALL, _("All facilities of the tenant")),
                (CHOSEN, _("Only these facilities")),
            ]
            reach.initial = ALL
            self.fields["facilities"].help_text = ""
        if kind in (ApplicationKind.SERVICE, ApplicationKind.DEVICE):
            unfit |= {"redirect_uris", "post_logout_redirect_uris", "backchannel_logout_uri"}
        if kind is ApplicationKind.NATIVE:
            unfit |= {"backchannel_logout_uri"}
        for name in unfit:
            del self.fields[name]

    def clean(self) -> dict[str, Any]:
        """A service account for chosen facilities has some."""
        cleaned = super().clean() or {}
        if cleaned.get("reach") == CHOSEN and not cleaned.get("facilities"):
            self.add_error("facilities", _("Choose at least one facility."))
        return cleaned

    def values(self) -> dict[str, Any]:
        """The columns of the model that the form fills in."""
        kept = {
            name: value
            for name, value in self.cleaned_data.items()
            if name not in ("reach", "facilities")
        }
        if self.kind is ApplicationKind.SERVICE:
            ids = self.facility_ids()
            kept["facility_ids"] = None if ids is None else list(ids)
        return kept


def initial_of(application: Application) -> dict[str, Any]:
    """What the form begins with."""
    return {
        "name": application.name,
        "redirect_uris": application.redirect_uris,
        "post_logout_redirect_uris": application.post_logout_redirect_uris,
        "backchannel_logout_uri": application.backchannel_logout_uri,
        "allowed_scopes": application.allowed_scopes,
        "reach": ALL if application.facility_ids is None else CHOSEN,
        "facilities": tuple(application.facility_ids or ()),
    }

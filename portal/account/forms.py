"""Forms of signing in and of the account pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from allauth.account.adapter import get_adapter
from django import forms
from django.conf import settings
from django.contrib.auth.forms import SetPasswordForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from portal.account.tasks import note_refused_sign_in
from portal.frame.forms import LongSelect
from portal.middleware import client_address
from tenants import time_zones
from tenants.domain.company_queries import route_of
from tenants.models import User

if TYPE_CHECKING:
    # Generic for the type checker alone.
    _SetPasswordForm = SetPasswordForm[User]
else:
    _SetPasswordForm = SetPasswordForm

logger = logging.getLogger(__name__)

MISMATCH: Final = _("E-mail address and password do not match. Check both, then try again.")
# For every address of a domain whose organisation demands its own sign-in, with or without account.
MISMATCH_OR_COMPANY: Final = _(
    "E-mail address and password do not match, or your organisation asks you to sign in with "
    "%(name)s."
)


class AddressForm(forms.Form):
    """The first step of signing in: who is it?"""

    login = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(
            {"autocomplete": "username webauthn", "autocapitalize": "none", "autofocus": True}
        ),
    )

    def clean_login(self) -> str:
        """The address as accounts have it."""
        return User.objects.normalize_email(self.cleaned_data["login"])


class PasswordForm(AddressForm):
    """The second step: the password."""

    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=1024,
        widget=forms.PasswordInput({"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.user: User | None = None

    def clean(self) -> dict[str, Any]:
        """Look at the limits, then at the password."""
        cleaned = self.cleaned_data
        if "login" not in cleaned or "password" not in cleaned:
            return cleaned
        address = client_address(self.request)
        try:
            self.user = get_adapter(self.request).authenticate(
                self.request, email=cleaned["login"], password=cleaned["password"]
            )
        except ValidationError:
            logger.warning("signin.refused address=%s", address)
            raise
        if self.user is None:
            logger.info("signin.failed address=%s", address)
            note_refused_sign_in.delay(email=cleaned["login"], address=address)
            raise _mismatch(cleaned["login"])
        return cleaned


def _mismatch(email: str) -> ValidationError:
    route = route_of(email=email)
    if route is None or not route.is_enforced:
        return ValidationError(MISMATCH, code="mismatch")
    return ValidationError(MISMATCH_OR_COMPANY, code="mismatch", params={"name": route.name})


class ReauthenticationPasswordForm(forms.Form):
    """The password once more, before the account's security is changed."""

    password = forms.CharField(
        label=_("Password"),
        strip=False,
        max_length=1024,
        widget=forms.PasswordInput({"autocomplete": "current-password", "autofocus": True}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        """The password, within the limits; ValidationError when it is another one."""
        password: str = self.cleaned_data["password"]
        adapter = get_adapter()
        if not adapter.reauthenticate(self.user, password):
            raise adapter.validation_error("incorrect_password")
        return password


class NewPasswordForm(_SetPasswordForm):
    """A new password, twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs["maxlength"] = 1024
        self.fields["new_password1"].widget.attrs["autofocus"] = True
        self.fields["new_password1"].help_text = _(
            "At least 12 characters, not your name or address, and none of the common passwords."
        )


class ResetForm(forms.Form):
    """Whose password is forgotten."""

    email = forms.EmailField(
        label=_("E-mail address"),
        max_length=254,
        widget=forms.EmailInput(
            {"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
        ),
    )


class ProfileForm(forms.Form):
    """How a person is addressed and shown times."""

    name = forms.CharField(
        label=_("Name"),
        max_length=120,
        required=False,
        widget=forms.TextInput({"autocomplete": "name"}),
    )
    language = forms.ChoiceField(
        label=_("Language"),
        choices=settings.LANGUAGES,
        help_text=_("Of the pages and of the messages that you get."),
    )
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        choices=time_zones.choices,
        widget=LongSelect,
        help_text=_("Of times that belong to no facility, such as those of your sessions."),
    )


class EmailForm(forms.Form):
    """Another address to sign in with."""

    email = forms.EmailField(
        label=_("New e-mail address"),
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "email", "autocapitalize": "none"}),
    )

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_email(self) -> str:
        """The address as accounts have it; ValidationError when it is the present one."""
        email = User.objects.normalize_email(self.cleaned_data["email"])
        if email == self.user.email:
            raise ValidationError(_("This is your address already."), code="same")
        return email

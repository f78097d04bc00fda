"""Forms of signing in and of the account pages."""

from __future__ import annotations

import logging
import struct
from typing import TYPE_CHECKING, Any, ClassVar, Final
from zoneinfo import available_timezones

from allauth.account.adapter import get_adapter
from allauth.mfa.adapter import get_adapter as get_mfa_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.totp.forms import ActivateTOTPForm
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    EditWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms
from django.conf import settings
from django.contrib.auth.forms import SetPasswordForm
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from portal.account.tasks import note_refused_sign_in
from portal.middleware import client_address
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
# A code is taken for this long: as long as it could be accepted.
_CODE_LIFETIME_S: Final = 30 * (2 * settings.MFA_TOTP_TOLERANCE + 1)


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


class _EachCodeOnce(forms.Form):
    """Mixin: a code is taken once, as long as it could be accepted (RFC 6238, section 5.2)."""

    user: User

    def clean_code(self) -> str:
        """The code, unless it was used before."""
        code: str = super().clean_code()  # type: ignore[misc]
        digits = "".join(filter(str.isalnum, code)).lower()
        if not cache.add(f"mfa-code:{self.user.pk}:{digits}", 1, _CODE_LIFETIME_S):
            raise get_mfa_adapter().validation_error("incorrect_code")
        return code


def _code_field(form: forms.Form) -> None:
    field = form.fields["code"]
    field.label = _("Code")
    field.widget = forms.TextInput(
        {
            "autocomplete": "one-time-code",
            "inputmode": "numeric",
            "autofocus": True,
            "maxlength": 16,
            "class": "wl-code",
        }
    )


class CodeForm(_EachCodeOnce, AuthenticateForm):
    """The code of an authenticator app, or a recovery code, as the second factor."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _code_field(self)


class ReauthenticationCodeForm(_EachCodeOnce, ReauthenticateForm):
    """The same, before the account's security is changed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _code_field(self)


class ActivateAppForm(_EachCodeOnce, ActivateTOTPForm):
    """The first code of an authenticator app, which proves that it has the secret."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _code_field(self)


class _Wellformed(forms.Form):
    """Mixin: what is no answer of a browser is refused before the library takes it apart."""

    parts: ClassVar[tuple[str, ...]] = ("clientDataJSON", "authenticatorData", "signature")

    def _check_form(self, credential: Any) -> None:
        response = credential.get("response") if isinstance(credential, dict) else None
        texts = (
            [credential.get(name) for name in ("id", "rawId", "type")]
            + [response.get(name) for name in self.parts]
            if isinstance(response, dict)
            else [None]
        )
        if not all(isinstance(text, str) and text for text in texts):
            raise _not_proven()


def _not_proven() -> ValidationError:
    text = _("This passkey could not be used. Try again, or take another way.")
    return ValidationError(text, code="incorrect_code")


# What the library raises for bytes that are none of its formats.
_MALFORMED: Final = (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error)


class _ProofForm(_Wellformed):
    """Mixin of the forms that prove a passkey."""

    def clean_credential(self) -> Any:
        """The authenticator that was proven."""
        self._check_form(self.cleaned_data["credential"])
        try:
            return super().clean_credential()  # type: ignore[misc]
        except _MALFORMED as error:
            raise _not_proven() from error


class SignInPasskeyForm(_ProofForm, LoginWebAuthnForm):
    """A passkey alone."""


class SecondFactorPasskeyForm(_ProofForm, AuthenticateWebAuthnForm):
    """A passkey after the password."""


class ReauthenticationPasskeyForm(_ProofForm, ReauthenticateWebAuthnForm):
    """A passkey, before the account's security is changed."""


class AddPasskeyForm(_Wellformed, AddWebAuthnForm):
    """A new passkey, which signs in alone and therefore checks who holds it."""

    parts = ("clientDataJSON", "attestationObject")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.fields["passwordless"]
        self.fields["name"] = _name_field(initial=self.initial.get("name", ""))

    def clean(self) -> dict[str, Any]:
        """The passkey; ValidationError when it has not checked who holds it."""
        self.cleaned_data["passwordless"] = True
        if "credential" not in self.cleaned_data:
            return self.cleaned_data
        self._check_form(self.cleaned_data["credential"])
        try:
            return super().clean() or {}
        except _MALFORMED as error:
            raise _not_proven() from error


class RenamePasskeyForm(EditWebAuthnForm):
    """Another name for a passkey."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"] = _name_field(initial=self.initial.get("name", ""), required=True)


def _name_field(*, initial: str, required: bool = False) -> forms.CharField:
    return forms.CharField(
        label=_("Name"),
        initial=initial,
        required=required,
        max_length=60,
        help_text=_("By which you know the device that holds the passkey."),
        widget=forms.TextInput({"autocomplete": "off"}),
    )


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
        choices=lambda: [(zone, zone.replace("_", " ")) for zone in sorted(available_timezones())],
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

"""Forms of second factors and passkeys, on those of django-allauth."""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Final

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
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from tenants.models import User

# A code is taken for this long: as long as it could be accepted.
_CODE_LIFETIME_S: Final = 30 * (2 * settings.MFA_TOTP_TOLERANCE + 1)


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

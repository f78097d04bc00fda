"""The form of a new person who accepts an invitation."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.password_validation import (
    password_validators_help_texts,
    validate_password,
)
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tenants.domain.operations_acceptance import NewPerson
from tenants.models import User
from tenants.models.fields import validate_time_zone


class JoinForm(forms.Form):
    """A new person who accepts an invitation."""

    name = forms.CharField(
        label=gettext_lazy("Your name"),
        max_length=120,
        widget=forms.TextInput({"autocomplete": "name"}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )
    repeated = forms.CharField(
        label=gettext_lazy("Password again"),
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
    )
    # What the browser knows; filled in by a script, UTC without one.
    time_zone = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, *args: Any, email: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._email = email
        self.fields["password"].help_text = " ".join(map(str, password_validators_help_texts()))

    def clean_time_zone(self) -> str:
        """A zone that does not exist is no reason to refuse somebody."""
        value: str = self.cleaned_data["time_zone"]
        try:
            validate_time_zone(value)
        except ValidationError:
            return "UTC"
        return value

    def clean(self) -> dict[str, Any]:
        """The password by the validators, and twice the same."""
        cleaned = super().clean() or {}
        password = cleaned.get("password")
        if password is None:
            return cleaned
        if password != cleaned.get("repeated"):
            self.add_error("repeated", _("The two passwords differ: type it once more."))
        try:
            validate_password(password, User(email=self._email, name=cleaned.get("name", "")))
        except ValidationError as error:
            self.add_error("password", error)
        return cleaned

    def person(self, *, language: str) -> NewPerson:
        """What was filled in."""
        return NewPerson(
            name=self.cleaned_data["name"],
            password=self.cleaned_data["password"],
            language=language,
            time_zone=self.cleaned_data["time_zone"],
        )

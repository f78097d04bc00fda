"""The forms of releases and signing keys: what people give, as the values that operations take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy

from firmware.domain.key_operations import LONGEST_NAME
from firmware.domain.release_checks import LONGEST_NOTES, LONGEST_RANGE, Draft
from portal.enterprise.registry.forms import EMPTY, PickerField


class ReleaseForm(forms.Form):
    """A release to upload. What is wrong with it the domain tells, at the fields of this form."""

    device_type = PickerField(label=gettext_lazy("Device type"))
    image = forms.FileField(
        label=gettext_lazy("Image"),
        allow_empty_file=True,
        help_text=gettext_lazy(
            "An MCUboot image as imgtool makes it, an update file of SWUpdate, or a bare binary."
        ),
    )
    signature = forms.FileField(
        label=gettext_lazy("Signature file"),
        allow_empty_file=True,
        widget=forms.FileInput(attrs={"accept": ".json"}),
        help_text=gettext_lazy("What sign_firmware has written beside the image (.sig.json)."),
    )
    version = forms.CharField(
        label=gettext_lazy("Version"),
        required=False,
        max_length=64,
        help_text=gettext_lazy("Such as 1.4.0. Left empty, it is the version that was signed."),
    )
    hardware_revisions = forms.CharField(
        label=gettext_lazy("Hardware revisions"),
        required=False,
        max_length=1_000,
        help_text=gettext_lazy("Separated by commas. Left empty, they are those that were signed."),
    )
    from_versions = forms.CharField(
        label=gettext_lazy("May be installed over"),
        required=False,
        max_length=LONGEST_RANGE,
        help_text=gettext_lazy(
            "A range of versions, such as >=1.2,<2. Left empty, it may be installed over all."
        ),
    )
    notes = forms.CharField(
        label=gettext_lazy("Release notes"),
        required=False,
        max_length=LONGEST_NOTES,
        widget=forms.Textarea(attrs={"rows": 6}),
    )

    def __init__(self, *args: Any, types: Sequence[tuple[int, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["device_type"].choices = [EMPTY, *types]  # type: ignore[attr-defined]

    def draft(self) -> Draft:
        """What was given so far, complete or not; needs a form that was cleaned."""
        given = self.cleaned_data
        revisions = [part.strip() for part in given.get("hardware_revisions", "").split(",")]
        named = tuple(dict.fromkeys(part for part in revisions if part))
        return Draft(
            device_type_id=given.get("device_type") or 0,
            image=given.get("image"),
            signature=given.get("signature"),
            version=given.get("version", ""),
            hardware_revisions=named or None,
            from_versions=given.get("from_versions", ""),
            notes=given.get("notes", ""),
        )


class DraftForm(forms.Form):
    """What was not signed of a draft."""

    from_versions = ReleaseForm.base_fields["from_versions"]
    notes = ReleaseForm.base_fields["notes"]


class KeyForm(forms.Form):
    """A public key."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=LONGEST_NAME,
        help_text=gettext_lazy("Where the private key is, or who signs with it."),
    )
    public_key = forms.CharField(
        label=gettext_lazy("Public key"),
        max_length=2_000,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "wl-mono"}),
        help_text=gettext_lazy(
            "The file that ends in .public.pem; its first line is -----BEGIN PUBLIC KEY-----."
        ),
    )

    def forget_key(self) -> None:
        """Do not send back what was no public key: it may be a secret."""
        self.data = self.data.copy()  # type: ignore[attr-defined]
        self.data["public_key"] = ""  # type: ignore[index]

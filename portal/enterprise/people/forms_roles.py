"""The form of a role that a tenant makes itself."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.frame.forms import FieldGroup, GroupedForm
from tenants.domain.operations_roles import RoleDraft
from tenants.permission_texts import PERMISSION_GROUPS, PERMISSION_TEXTS
from tenants.permissions import Permission, completed

_PREFIX: Final = "permission-"


class CustomRoleForm(GroupedForm, forms.Form):
    """A role of the tenant's own: one check box for each permission.

    Permissions that the reader does not hold cannot be ticked; `held` are those that can.
    """

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=240,
        required=False,
        help_text=gettext_lazy("Who this role is for, and what for."),
    )
    groups = tuple(
        FieldGroup(label, tuple(f"{_PREFIX}{permission.value}" for permission in members))
        for label, members in PERMISSION_GROUPS
    )

    def __init__(
        self,
        *args: Any,
        held: Collection[Permission],
        chosen: Collection[Permission] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        for permission, text in PERMISSION_TEXTS.items():
            field = forms.BooleanField(
                label=str(text.label),
                help_text=str(text.allows),
                required=False,
                initial=permission in chosen,
                disabled=permission not in held,
            )
            if field.disabled:
                field.help_text = _("%(allows)s You do not have this permission yourself.") % {
                    "allows": text.allows
                }
            self.fields[f"{_PREFIX}{permission.value}"] = field

    def clean(self) -> dict[str, Any]:
        """At least one permission."""
        cleaned = super().clean() or {}
        if not self.permissions():
            self.add_error(None, _("Tick at least one permission: the role would allow nothing."))
        return cleaned

    def permissions(self) -> frozenset[Permission]:
        """What is ticked, with what it needs."""
        return completed(p for p in Permission if self.cleaned_data.get(f"{_PREFIX}{p.value}"))

    def draft(self) -> RoleDraft:
        """What was filled in."""
        return RoleDraft(
            name=self.cleaned_data["name"],
            description=self.cleaned_data["description"],
            permissions=self.permissions(),
        )

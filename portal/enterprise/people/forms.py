"""The forms of people and invitations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.people import FacilityChoices
from tenants.domain.bulk_invitations import MAX_LINES
from tenants.domain.operations_invitations import Offer
from tenants.domain.queries import RoleFacts
from tenants.domain.queries_people import key_of, role_of_key
from tenants.permission_texts import ROLE_TEXTS
from tenants.permissions import NARROWED_ROLES, Role

ALL, CHOSEN = "all", "chosen"


def id_of(text: str) -> int | None:
    """The id that a text is; None for what is none, however long it is."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def role_choices(
    built_in: Iterable[Role], custom: Iterable[RoleFacts]
) -> list[tuple[str | Promise, list[tuple[str, str | Promise]]]]:
    """Roles to give, by key, in groups."""
    groups: list[tuple[str | Promise, list[tuple[str, str | Promise]]]] = [
        (
            gettext_lazy("Built-in roles"),
            [(role.value, ROLE_TEXTS[role].label) for role in built_in],
        ),
        (gettext_lazy("Custom roles"), [(key_of(role.role_id), role.name) for role in custom]),
    ]
    return [(label, choices) for label, choices in groups if choices]


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(label=gettext_lazy("Role"))

    def __init__(self, *args: Any, roles: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]

    def clean_role(self) -> Role | int:
        """The role that the key names."""
        return role_of_key(self.cleaned_data["role"])


class FacilityPicker(forms.Widget):
    """Facilities as check boxes: those chosen, and those that a search finds (HTMX)."""

    template_name = "enterprise/people/facility_picker.html"
    use_fieldset = True
    found = FacilityChoices((), 0)
    tenant_id = 0

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """With what is to choose from, and in which tenant to search for more."""
        context = super().get_context(name, value, attrs)
        context["widget"]["tenant_id"] = self.tenant_id
        return {**context, "found": self.found}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        """All boxes that are ticked."""
        del files
        return data.getlist(name)  # type: ignore[no-any-return]

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        """Boxes that are not ticked are not sent."""
        del data, files, name
        return False

    def id_for_label(self, id_: str, index: str | None = None) -> str:
        """No single box stands for all of them."""
        del id_, index
        return ""


class FacilitiesField(forms.Field):
    """Ids of facilities; which of them exist the operation judges."""

    widget = FacilityPicker

    def to_python(self, value: Any) -> tuple[int, ...]:
        """Ids; raises ValidationError for what is none."""
        ids = {id_of(number) for number in value or ()}
        if None in ids:
            raise ValidationError(_("Choose facilities from the list."))
        return tuple(sorted(found for found in ids if found is not None))


class ReachForm(forms.Form):
    """Which facilities a membership reaches."""

    reach = forms.ChoiceField(
        label=gettext_lazy("Facilities"),
        choices=[
            (ALL, gettext_lazy("All facilities of the tenant, and of tenants below it")),
            (CHOSEN, gettext_lazy("Only these facilities, with all areas in them")),
        ],
        widget=forms.RadioSelect,
    )
    facilities = FacilitiesField(
        label=gettext_lazy("Chosen facilities"),
        required=False,
        help_text=gettext_lazy("Areas that are made in a chosen facility later belong to it, too."),
    )

    def chosen(self) -> tuple[int, ...]:
        """The facilities that are ticked at the moment, for the list to begin with."""
        if not self.is_bound:
            return tuple(self.initial.get("facilities", ()))
        raw = self.fields["facilities"].widget.value_from_datadict(
            self.data, {}, self.add_prefix("facilities")
        )
        return tuple(found for text in raw if (found := id_of(text)) is not None)

    def show(self, found: FacilityChoices, *, tenant_id: int) -> None:
        """Say what there is to choose from."""
        widget = self.fields["facilities"].widget
        assert isinstance(widget, FacilityPicker)
        widget.found, widget.tenant_id = found, tenant_id

    def facility_ids(self) -> tuple[int, ...] | None:
        """None for all."""
        if self.cleaned_data["reach"] == ALL:
            return None
        ids: tuple[int, ...] = self.cleaned_data["facilities"]
        return ids


class OfferForm(ReachForm):
    """What somebody is invited to; base of one invitation and of many."""

    role = forms.ChoiceField(label=gettext_lazy("Role"))
    language = forms.ChoiceField(label=gettext_lazy("Language of the e-mail"))
    message = forms.CharField(
        label=gettext_lazy("Personal message"),
        required=False,
        max_length=1000,
        widget=forms.Textarea({"rows": 3}),
        help_text=gettext_lazy("Appears in the e-mail, above the link."),
    )

    def __init__(self, *args: Any, roles: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = roles  # type: ignore[attr-defined]
        self.fields["language"].choices = settings.LANGUAGES  # type: ignore[attr-defined]
        self.fields["reach"].initial = ALL

    def clean(self) -> dict[str, Any]:
        """Consumers are always narrowed: say so instead of doing something else than asked."""
        cleaned = super().clean() or {}
        narrowed = cleaned.get("role") in {role.value for role in NARROWED_ROLES}
        if narrowed and cleaned.get("reach") == ALL:
            self.add_error("reach", _("Consumers see only facilities that are chosen for them."))
        return cleaned

    def offer(self) -> Offer:
        """What was filled in."""
        return Offer(
            role=role_of_key(self.cleaned_data["role"]),
            facility_ids=self.facility_ids(),
            language=self.cleaned_data["language"],
            message=self.cleaned_data["message"],
        )


class InvitationForm(OfferForm):
    """One invitation."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail address"),
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "off"}),
    )
    field_order = ("email", "role", "reach", "facilities", "language", "message")


class BulkForm(OfferForm):
    """Many invitations."""

    people = forms.CharField(
        label=gettext_lazy("People"),
        max_length=40_000,
        widget=forms.Textarea({"rows": 8, "spellcheck": "false"}),
    )
    field_order = ("people", "role", "reach", "facilities", "language", "message")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["people"].help_text = _(
            "One address in each line, at most %(most)d. To give another role than "
            "the one below, write it behind a comma: ada@example.org, Technician"
        ) % {"most": MAX_LINES}


def initial_of_reach(facility_ids: Iterable[int] | None) -> dict[str, Any]:
    """What a form begins with for a membership that reaches these facilities (None: all)."""
    if facility_ids is None:
        return {"reach": ALL, "facilities": ()}
    return {"reach": CHOSEN, "facilities": tuple(facility_ids)}

"""What a roll-out brings, and to whom, as a form."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from devices.domain.selection import MAX_NAMED, Selection
from firmware.domain import rollout_pages
from firmware.domain.rollout_operations import LONGEST_NOTE, MOST_PRIORITY
from firmware.domain.rollout_pages import Choices
from firmware.models import Rollout
from portal.enterprise.control import words as rules
from portal.enterprise.control.forms_groups import RuleForm, fields_of
from portal.enterprise.rollouts.presets import NORMAL, PRESETS
from portal.frame.forms import FieldGroup, GroupedForm, LongSelect

EVERYTHING: Final = "everything"
CHOSEN: Final = "chosen"


class RolloutForm(GroupedForm, forms.Form):
    """Name and release, and who is meant."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    release = forms.TypedChoiceField(
        label=pgettext_lazy("firmware", "Release"),
        coerce=int,
        widget=LongSelect,
        help_text=gettext_lazy("Approved releases, the newest of each device type first."),
    )
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        min_value=-MOST_PRIORITY,
        max_value=MOST_PRIORITY,
        initial=0,
        help_text=gettext_lazy(
            "Of two roll-outs that want a device, the one with the higher number gets it."
        ),
    )
    who = forms.ChoiceField(
        label=gettext_lazy("Who is meant"),
        choices=[
            (EVERYTHING, gettext_lazy("All devices")),
            (CHOSEN, gettext_lazy("Groups, a rule, or single devices: what is named adds up")),
        ],
        initial=EVERYTHING,
        widget=forms.RadioSelect,
    )
    groups_named = forms.TypedMultipleChoiceField(
        label=gettext_lazy("Groups"),
        coerce=int,
        required=False,
        widget=forms.SelectMultiple,
    )
    serials = forms.CharField(
        label=gettext_lazy("Single devices"),
        required=False,
        max_length=MAX_NAMED * 66,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy("Serial numbers, one in each line or with commas between them."),
    )
    preset = forms.ChoiceField(
        label=gettext_lazy("Begin with"),
        choices=[(code, one.name) for code, one in PRESETS.items()],
        initial=NORMAL,
        required=False,
        widget=forms.RadioSelect,
    )
    groups = (
        FieldGroup(gettext_lazy("What"), ("name", "release", "priority")),
        FieldGroup(gettext_lazy("Who"), ("who", "groups_named", "serials")),
    )

    def __init__(self, *args: Any, choices: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        empty = [("", gettext_lazy("Choose a release"))]
        self.fields["release"].choices = [*empty, *choices.releases]  # type: ignore[attr-defined]
        groups = list(choices.groups)
        if groups:
            self.fields["groups_named"].choices = groups  # type: ignore[attr-defined]
            self.fields["groups_named"].widget.attrs["size"] = min(5, len(groups))
        else:
            del self.fields["groups_named"]

    def clean_serials(self) -> list[int]:
        """The devices, by number."""
        given = re.split(r"[\s,;]+", self.cleaned_data["serials"])
        texts = list(dict.fromkeys(filter(None, given)))
        if not texts:
            return []
        found, missing = rollout_pages.named(texts=texts)
        if missing:
            text = ngettext(
                "No device has this serial number: %(serials)s",
                "No device has one of these %(n)d serial numbers: %(serials)s",
                len(missing),
            )
            shown = ", ".join(missing[:5]) + (" …" if len(missing) > 5 else "")
            raise forms.ValidationError(text % {"n": len(missing), "serials": shown})
        return found


class ConditionsForm(RuleForm):
    """The conditions of a rule, all optional."""

    name = None  # type: ignore[assignment] # Django's way of leaving a field out
    description = None  # type: ignore[assignment]


class WhoForms:
    """The two forms that say who is meant, together."""

    def __init__(
        self, data: QueryDict | None, *, choices: Choices, of: Rollout | None = None
    ) -> None:
        initial, conditions = _initial(of)
        self.form = RolloutForm(data, choices=choices, initial=initial)
        self.rule = ConditionsForm(data, choices=choices.rule, initial=conditions, prefix="rule")

    def is_valid(self) -> bool:
        """Both are; the rule counts only where it is asked for."""
        fine = self.form.is_valid()
        return fine and (self.form.cleaned_data["who"] == EVERYTHING or self.rule.is_valid())

    def selection(self) -> dict[str, Any] | None:
        """As JSON; None, with an error, where the rule is none."""
        data = self.form.cleaned_data
        if data["who"] == EVERYTHING:
            return Selection(everything=True).to_json()
        found: dict[str, Any] = {"groups": data.get("groups_named", []), "devices": data["serials"]}
        if any(self.rule.cleaned_data.get(name) for name in rules.FIELDS):
            rule = self.rule.rule()
            if rule is None:
                return None
            found["rule"] = rule.to_json()
        if not any(found.values()):
            self.form.add_error(
                "who", _("Choose a group, fill in a condition, or name single devices.")
            )
            return None
        return {name: value for name, value in found.items() if value}


def fits(of: Rollout) -> bool:
    """Whether the form can show who a draft means."""
    rule = Selection.from_json(of.selection).rule
    return rule is None or fields_of(rule) is not None


def _initial(of: Rollout | None) -> tuple[dict[str, Any], dict[str, Any]]:
    if of is None:
        return {}, {}
    selection = Selection.from_json(of.selection)
    initial: dict[str, Any] = {
        "name": of.name,
        "release": of.release_id,
        "priority": of.priority,
        "who": EVERYTHING if selection.everything else CHOSEN,
        "groups_named": list(selection.groups),
        "preset": "",
    }
    if selection.devices:
        initial["serials"] = "\n".join(rollout_pages.serials(device_ids=selection.devices))
    rule = selection.rule
    return initial, (fields_of(rule) or {}) if rule else {}


class NoteForm(forms.Form):
    """Why somebody does something."""

    note = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=LONGEST_NOTE,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text=gettext_lazy("Whoever looks at the roll-out reads it."),
    )

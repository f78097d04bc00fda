"""The forms of groups: name, and the conditions of a rule as fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy

from devices.domain.groups_operations import NAME_LENGTH, TEXT_LENGTH, GroupValues
from devices.domain.groups_queries import Choices
from devices.domain.selection import MAX_TEXT, Rule, SelectionRefused
from devices.models import DeviceState, FacilityKind, Placement
from portal.enterprise.control import words
from portal.enterprise.registry.forms import add_errors
from portal.frame.forms import FieldGroup, GroupedForm

# Fields that name rows, and fields of texts with what stands between two of them.
_ROWS: Final = ("device_type", "facility", "group")
_TEXTS: Final[Mapping[str, str]] = {"country": ",", "region": ",", "hardware": ",", "firmware": ";"}
_YES: Final = "yes"
_NO: Final = "no"


class NameForm(GroupedForm, forms.Form):
    """What a group is called."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=NAME_LENGTH)
    description = forms.CharField(
        label=gettext_lazy("Description"),
        max_length=TEXT_LENGTH,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )

    def values(self) -> GroupValues:
        """What the group shall be."""
        return GroupValues(self.cleaned_data["name"], self.cleaned_data["description"])


def _some(label: Any, **kwargs: Any) -> forms.TypedMultipleChoiceField:
    return forms.TypedMultipleChoiceField(label=label, required=False, **kwargs)


def _rows(label: Any) -> forms.TypedMultipleChoiceField:
    return _some(label, coerce=int, widget=forms.SelectMultiple(attrs={"size": 5}))


def _boxes(label: Any, choices: Any) -> forms.TypedMultipleChoiceField:
    return _some(label, coerce=str, choices=choices, widget=forms.CheckboxSelectMultiple)


def _line(label: Any, help_text: Any) -> forms.CharField:
    return forms.CharField(
        label=label, required=False, max_length=MAX_TEXT * 10, help_text=help_text
    )


class RuleForm(NameForm):
    """A group by rule: each field that is filled in is a condition, and all of them must hold."""

    device_type = _rows(words.FIELDS["device_type"])
    facility = _rows(words.FIELDS["facility"])
    group = _rows(words.FIELDS["group"])
    placement = _boxes(words.FIELDS["placement"], Placement.choices)
    facility_kind = _boxes(words.FIELDS["facility_kind"], FacilityKind.choices)
    state = _boxes(words.FIELDS["state"], [c for c in DeviceState.choices if c[0] != "revoked"])
    country = _line(words.FIELDS["country"], gettext_lazy("Two letters, for example DE, AT."))
    region = _line(
        words.FIELDS["region"], gettext_lazy("As facilities have it; several by commas.")
    )
    firmware = _line(
        words.FIELDS["firmware"],
        gettext_lazy("A range such as &gt;=1.2,&lt;2 or =1.4.0; several by semicolons."),
    )
    hardware = _line(words.FIELDS["hardware"], gettext_lazy("Several by commas."))
    connected = forms.ChoiceField(
        label=words.FIELDS["connected"],
        required=False,
        choices=[
            ("", gettext_lazy("Any")),
            (_YES, gettext_lazy("Online")),
            (_NO, gettext_lazy("Offline")),
        ],
    )
    negated = forms.MultipleChoiceField(
        label=gettext_lazy("All but these"),
        required=False,
        choices=list(words.FIELDS.items()),
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("A condition that is ticked here holds for all other values."),
    )
    groups = (
        FieldGroup(
            gettext_lazy("What it is"), ("device_type", "hardware", "firmware", "placement")
        ),
        FieldGroup(gettext_lazy("Where it is"), ("facility", "facility_kind", "country", "region")),
        FieldGroup(gettext_lazy("How it is"), ("state", "connected", "group")),
        FieldGroup(gettext_lazy("Exceptions"), ("negated",)),
    )

    def __init__(self, *args: Any, choices: Choices, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, some in (
            ("device_type", choices.types),
            ("facility", choices.facilities),
            ("group", choices.groups),
        ):
            self.fields[name].choices = list(some)  # type: ignore[attr-defined]

    def rule(self) -> Rule | None:
        """The conditions that are filled in; None, with an error, where they are no rule."""
        conditions = []
        for name in words.FIELDS:
            values = self._values(name)
            if values:
                turned = name in self.cleaned_data.get("negated", ())
                conditions.append({"field": name, "values": values, "negated": turned})
        try:
            return Rule.from_json({"conditions": conditions})
        except SelectionRefused as error:
            self.refuse(error)
            return None

    def refuse(self, error: SelectionRefused) -> None:
        """Tell what is wrong at its field."""
        add_errors(self, ValidationError({error.field or "__all__": [str(error)]}))

    def _values(self, name: str) -> list[Any]:
        given = self.cleaned_data.get(name)
        if name in _TEXTS:
            return [one.strip() for one in (given or "").split(_TEXTS[name]) if one.strip()]
        if name == "connected":
            return [given == _YES] if given else []
        return list(given or ())

    def values(self) -> GroupValues:
        """What the group shall be; raises ValidationError for no rule."""
        rule = self.rule()
        if rule is None:
            raise ValidationError({})
        data = self.cleaned_data
        return GroupValues(data["name"], data["description"], rule)


def fields_of(rule: Rule) -> dict[str, Any] | None:
    """What the form begins with; None for a rule that has two conditions about the same."""
    initial: dict[str, Any] = {"negated": [one.field for one in rule.conditions if one.negated]}
    for one in rule.conditions:
        if one.field in initial:
            return None
        if one.field in _TEXTS:
            initial[one.field] = f"{_TEXTS[one.field]} ".join(map(str, one.values))
        elif one.field == "connected":
            if len(one.values) > 1:
                return None
            initial[one.field] = _YES if one.values[0] else _NO
        else:
            initial[one.field] = list(one.values)
    return initial

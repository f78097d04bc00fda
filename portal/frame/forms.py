"""Forms in the portal's style: `{{ form }}` comes out with labels, help, errors and ARIA.

Every form of the project is rendered so (`FORM_RENDERER`); the templates are in
`templates/django/forms/`. A form whose fields belong together in groups says so in `groups`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from django import forms
from django.forms.boundfield import BoundField
from django.forms.renderers import TemplatesSetting
from django.utils.functional import Promise


class PortalRenderer(TemplatesSetting):
    """Renders forms by the project's templates, which lie before Django's own."""

    form_template_name = "django/forms/div.html"
    field_template_name = "django/forms/field.html"


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields under one legend; `text` says what they are for."""

    legend: str | Promise
    fields: tuple[str, ...]
    text: str | Promise = ""


@dataclass(frozen=True, slots=True)
class BoundGroup:
    """A group as the template shows it."""

    legend: str
    text: str
    fields: list[BoundField] = field(default_factory=list)


class GroupedForm(forms.BaseForm):
    """Mixin: a form whose fields are shown in `groups`, and those of no group first."""

    groups: tuple[FieldGroup, ...] = ()

    def bound_groups(self) -> Iterator[BoundGroup]:
        """The groups with their fields."""
        grouped = {name for group in self.groups for name in group.fields}
        rest = [bound for bound in self.visible_fields() if bound.name not in grouped]
        if rest:
            yield BoundGroup("", "", rest)
        for group in self.groups:
            bound = [self[name] for name in group.fields if name in self.fields]
            if bound:
                yield BoundGroup(str(group.legend), str(group.text), bound)

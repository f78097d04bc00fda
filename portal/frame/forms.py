"""Forms in the portal's style: `{{ form }}` comes out with labels, help, errors and ARIA.

Every form of the project is rendered so (`FORM_RENDERER`); the templates are in
`templates/django/forms/`. A form whose fields belong together in groups says so in `groups`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from html import escape
from typing import Any, Final

from django import forms
from django.forms.boundfield import BoundField
from django.forms.renderers import TemplatesSetting
from django.forms.utils import flatatt
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

MOST_DIGITS: Final = 14
_CENT: Final = Decimal("0.01")


class PortalRenderer(TemplatesSetting):
    """Renders forms by the project's templates, which lie before Django's own."""

    form_template_name = "django/forms/div.html"
    field_template_name = "django/forms/field.html"


class LongSelect(forms.Select):
    """A choice of hundreds: the options are written at once, where Django renders a template for
    each of them (a millisecond for every ten).
    """

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """The element with its options, those of a group below its name."""
        del renderer
        attributes = self._attributes(name, attrs)
        chosen = {str(one) for one in self.format_value(value)}
        parts = [
            format_html('<optgroup label="{}">{}</optgroup>', group, _options(entries, chosen))
            if isinstance(entries, (list, tuple))
            else _option(group, entries, chosen)
            for group, entries in self.choices
        ]
        return format_html("<select{}>{}</select>", attributes, mark_safe("".join(parts)))  # noqa: S308

    def _attributes(self, name: str, attrs: dict[str, Any] | None) -> SafeString:
        return flatatt({"name": name, **self.build_attrs(self.attrs, attrs)})


def _options(entries: Iterable[tuple[Any, Any]], chosen: set[str]) -> SafeString:
    return mark_safe("".join(_option(value, label, chosen) for value, label in entries))  # noqa: S308


def _option(value: Any, label: Any, chosen: set[str]) -> str:
    """One option, escaped; `format_html` would cost four times as much for each of hundreds."""
    code = "" if value is None else str(value)
    selected = " selected" if str(value) in chosen else ""
    text = label if isinstance(label, SafeString) else escape(str(label))
    return f'<option value="{escape(code)}"{selected}>{text}</option>'


class AmountField(forms.DecimalField):
    """An amount of money with two places: what is kept with more begins with these, since a form
    that nobody has touched is one that may be sent.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            **{"max_digits": MOST_DIGITS, "decimal_places": 2, "localize": True} | kwargs
        )

    def prepare_value(self, value: Any) -> Any:
        """The amount as it is shown, never more than it is."""
        if isinstance(value, Decimal):
            return value.quantize(_CENT, ROUND_DOWN)
        return value


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Fields under one legend; `text` says what they are for.

    With `rows` they are a table: row by row, a field in each of the `columns`. Each has a name of
    its own for those who do not see the heads (`aria-label`).
    """

    legend: str | Promise
    fields: tuple[str, ...]
    text: str | Promise = ""
    columns: tuple[str | Promise, ...] = ()
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BoundGroup:
    """A group as the template shows it."""

    legend: str
    text: str
    fields: list[BoundField] = field(default_factory=list)
    columns: tuple[str | Promise, ...] = ()
    rows: tuple[str, ...] = ()

    def table(self) -> Iterator[tuple[str, list[tuple[str | Promise, BoundField]]]]:
        """The rows with their fields, each with the head of its column."""
        width = len(self.columns)
        for number, row in enumerate(self.rows):
            cells = self.fields[number * width : (number + 1) * width]
            yield row, list(zip(self.columns, cells, strict=True))


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
                yield BoundGroup(
                    str(group.legend), str(group.text), bound, group.columns, group.rows
                )

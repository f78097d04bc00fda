"""The forms of derived channels and of their formulas."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.formulas.grammar import MAX_LENGTH
from devices.quantities import QUANTITIES
from portal.enterprise.registry.forms_loads import LocalDateTimeField, ZonedForm
from portal.frame.quantities import quantity_name


class FormulaField(forms.CharField):
    """A formula, with room for more than a line."""

    widget = forms.Textarea

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(label=gettext_lazy("Formula"), max_length=MAX_LENGTH, **kwargs)
        self.widget.attrs |= {
            "rows": 3,
            "spellcheck": "false",
            "autocapitalize": "off",
            "autocomplete": "off",
            "class": "wl-mono",
            "aria-describedby": "formula-check",
        }


class _FormulaForm(ZonedForm):
    """What every version of a formula has: from when on it holds, and why."""

    valid_from = LocalDateTimeField(label=gettext_lazy("For readings from"), required=False)
    reason = forms.CharField(label=gettext_lazy("Reason"), max_length=200, required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["valid_from"].help_text += " " + _("Empty: for all that there are.")


class DerivedForm(_FormulaForm):
    """A new derived channel."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    key = forms.CharField(
        label=gettext_lazy("Key"),
        max_length=40,
        help_text=gettext_lazy("By which other formulas call it, such as power_total."),
    )
    quantity = forms.ChoiceField(label=gettext_lazy("Quantity"))
    text = FormulaField()
    field_order = ("name", "key", "quantity", "text", "valid_from", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["quantity"].choices = [  # type: ignore[attr-defined]
            (code, f"{quantity_name(code)} ({one.unit})") for code, one in QUANTITIES.items()
        ]


class VersionForm(_FormulaForm):
    """Another formula for a derived channel."""

    text = FormulaField(required=False, help_text=gettext_lazy("Empty: nothing is computed."))
    field_order = ("text", "valid_from", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"].required = True


class ReadyMadeForm(forms.Form):
    """Which ready-made channel, and what some of them ask for."""

    key = forms.CharField(max_length=40)
    capacity = forms.FloatField(required=False, min_value=0.001, max_value=1e7)
    cells = forms.IntegerField(required=False, min_value=1, max_value=1_000)

    def answers(self) -> dict[str, float]:
        """What was said, by what was asked."""
        return {
            name: value
            for name in ("capacity", "cells")
            if (value := self.cleaned_data[name]) is not None
        }

"""The living style page: every component as it is, in both themes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import django_tables2 as columns
from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.frame.forms import FieldGroup, GroupedForm
from portal.frame.listing import render_list
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of the sample table."""

    pk: int
    name: str
    state: str
    power_w: int


SAMPLES: Final = [
    Sample(n, f"{name} {n}", state, power)
    for n, (name, state, power) in enumerate(
        [("Meter", "good", 4210), ("Inverter", "warn", -312), ("Battery", "bad", 0)] * 20, start=1
    )
]


class SampleTable(PortalTable):
    """A table with a column of each kind."""

    name = columns.Column(verbose_name=_("Name"))
    state = BadgeColumn(
        verbose_name=_("State"),
        labels={"good": _("Online"), "warn": _("Partly"), "bad": _("Offline")},
        tones={"good": "good", "warn": "warn", "bad": "bad"},
    )
    power_w = NumberColumn(verbose_name=_("Power, W"))


class SampleForm(GroupedForm, forms.Form):
    """A form with a field of each kind."""

    name = forms.CharField(label=_("Name"), help_text=_("As it is shown in lists."))
    kind = forms.ChoiceField(label=_("Kind"), choices=[("a", _("Building")), ("b", _("Site"))])
    note = forms.CharField(label=_("Note"), required=False, widget=forms.Textarea({"rows": 3}))
    active = forms.BooleanField(label=_("Active"), help_text=_("Devices may connect."))

    groups = (FieldGroup(_("State"), ("active",), _("What the device may do.")),)


@require_safe
@never_cache
@login_required
def page(request: HttpRequest) -> HttpResponse:
    """Every component."""
    return render_list(
        request,
        table_class=SampleTable,
        rows=SAMPLES,
        template="design/page.html",
        context={"form": SampleForm(), "bad_form": SampleForm({"kind": "a"})},
    )

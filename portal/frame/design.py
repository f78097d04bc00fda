"""The living style page: every component as it is, in both themes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import django_tables2 as columns
from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from portal.frame.colours import MARK_CONTRAST, TEXT_CONTRAST, contrast, tokens
from portal.frame.forms import FieldGroup, GroupedForm
from portal.frame.listing import render_list
from portal.frame.tables import BadgeColumn, PortalTable, QuantityColumn, TimeColumn

_MONDAY: Final = datetime(2025, 3, 3, 12, tzinfo=UTC)
# Foregrounds and what they stand on; the page shows the contrast, a test demands it.
TEXTS: Final = (
    *((text, on) for text in ("text", "text-quiet", "accent") for on in ("surface", "page")),
    ("text", "surface-quiet"),
    ("text-quiet", "surface-quiet"),
    ("text", "surface-raised"),
    ("text-quiet", "surface-raised"),
    ("accent", "accent-soft"),
    ("on-accent", "accent"),
    ("on-bad", "bad"),
    *((tone, on) for tone in ("good", "warn", "bad") for on in ("surface", f"{tone}-soft")),
)
MARKS: Final = (
    *((f"{tone}-mark", "surface") for tone in ("good", "warn", "bad", "idle")),
    ("line-control", "surface"),
    *((f"series-{n}", "surface") for n in range(1, 9)),
)
TONES: Final = ("success", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Sample:
    """A row of the sample table."""

    pk: int
    name: str
    state: str
    power_w: int
    seen_at: datetime
    zone: str = "Europe/Berlin"


SAMPLES: Final = [
    Sample(n, f"{name} {n}", state, power * n, _MONDAY - timedelta(minutes=37 * n))
    for n, (name, state, power) in enumerate(
        [("Meter", "good", 421), ("Inverter", "warn", -3120), ("Battery", "bad", 0)] * 20, start=1
    )
]


class SampleTable(PortalTable):
    """A table with a column of each kind."""

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels={
            "good": gettext_lazy("Online"),
            "warn": gettext_lazy("Partly"),
            "bad": gettext_lazy("Offline"),
        },
        tones={"good": "good", "warn": "warn", "bad": "bad"},
    )
    power_w = QuantityColumn(verbose_name=gettext_lazy("Power"), unit="W")
    seen_at = TimeColumn(verbose_name=gettext_lazy("Last seen"), zone="zone")


class SampleForm(GroupedForm, forms.Form):
    """A form with a field of each kind."""

    name = forms.CharField(
        label=gettext_lazy("Name"), help_text=gettext_lazy("As it is shown in lists.")
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=[("building", gettext_lazy("Building")), ("site", gettext_lazy("Site"))],
    )
    note = forms.CharField(
        label=gettext_lazy("Note"), required=False, widget=forms.Textarea({"rows": 3})
    )
    placement = forms.ChoiceField(
        label=gettext_lazy("Measures"),
        choices=[("mains", gettext_lazy("Mains")), ("submeter", gettext_lazy("Part of it"))],
        widget=forms.RadioSelect,
    )
    active = forms.BooleanField(
        label=gettext_lazy("Active"),
        help_text=gettext_lazy("Devices may connect."),
        required=False,
    )

    groups = (
        FieldGroup(
            gettext_lazy("State"),
            ("placement", "active"),
            gettext_lazy("Where the device is, and what it may do."),
        ),
    )


class SampleDialogForm(forms.Form):
    """The form of the sample dialog."""

    name = forms.CharField(label=gettext_lazy("Name"))


@dataclass(frozen=True, slots=True)
class Pair:
    """One colour on another, in the theme of its group."""

    text: str
    surface: str
    ratio: float
    needed: float


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def page(request: HttpRequest) -> HttpResponseBase:
    """Every component; a POST shows a toast."""
    if request.method == "POST":
        tone = request.POST.get("tone", "")
        if tone in TONES:
            messages.add_message(request, getattr(messages, tone.upper()), _sentence(tone))
        return HttpResponseRedirect(reverse("design"))
    return render_list(
        request,
        table_class=SampleTable,
        rows=SAMPLES,
        template="design/page.html",
        context={
            "form": SampleForm(auto_id="sample-%s"),
            "bad_form": SampleForm({"kind": "site"}, auto_id="wrong-%s"),
            "tones": TONES,
            "colours": _colours(),
            "series": range(1, 9),
            "now": _MONDAY,
            "numbers": {"watts": -4213, "watt_hours": 1_234_567, "ratio": 0.973},
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def dialog(request: HttpRequest) -> HttpResponse:
    """A form in a dialog: what is wrong comes back into it, what is right closes it."""
    form = SampleDialogForm(request.POST or None, auto_id="dialog-%s")
    if request.method == "POST" and form.is_valid():
        text = _("%(name)s is saved.") % {"name": form.cleaned_data["name"]}
        messages.success(request, text)
        return HttpResponse(status=204, headers={"HX-Trigger": "wattline:close-dialog"})
    status = 422 if request.method == "POST" else 200
    return render(request, "design/dialog.html", {"form": form}, status=status)


def _sentence(tone: str) -> str:
    return {
        "success": _("The device is saved."),
        "info": _("The import runs in the background."),
        "warning": _("Two of twelve devices could not be reached."),
        "error": _("The device could not be saved: its serial number is taken."),
    }[tone]


def _colours() -> dict[str, list[Pair]]:
    """The contrasts of each theme."""
    return {theme: pairs(own) for theme, own in tokens().items()}


def pairs(own: dict[str, Any]) -> list[Pair]:
    """Every pair of colours that the design puts together, with its contrast in one theme."""
    listed = [(pair, TEXT_CONTRAST) for pair in TEXTS] + [(pair, MARK_CONTRAST) for pair in MARKS]
    return [Pair(text, on, contrast(own[text], own[on]), needed) for (text, on), needed in listed]

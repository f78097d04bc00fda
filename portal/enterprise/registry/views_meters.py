"""The meter tree of a facility: its energy over a period, and which meter lies behind which."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

from django import forms
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from devices.domain import meters, meters_operations
from devices.domain.overview import COMPLETE
from devices.domain.queries import FacilityNotFound
from devices.domain.registry_versions import ChangedMeanwhile
from devices.domain.series_bounds import SeriesRefusedError
from devices.models import Placement
from portal.enterprise.park.figures import completeness
from portal.enterprise.registry import texts
from portal.enterprise.registry.forms import BasedOnForm, add_errors, token_of
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.permissions import may, requires
from portal.frame.quantities import NOTHING, energy, local_time, percent
from tenants.permissions import Permission

_DEFAULT: Final = "month"
_PERIODS: Final = (
    ("today", gettext_lazy("Today")),
    ("yesterday", gettext_lazy("Yesterday")),
    ("week", gettext_lazy("Last 7 days")),
    ("month", gettext_lazy("This month")),
    ("last-month", gettext_lazy("Last month")),
    ("year", gettext_lazy("This year")),
    ("custom", gettext_lazy("From … to …")),
)
_MAINS: Final = "mains"
# Meters of class 1 or 2 differ by so much in what they count of the same.
_ACCURACY: Final = 0.02
_EARLIEST: Final = date(2000, 1, 1)
_SEES: Final = (Permission.FACILITIES_VIEW, Permission.DEVICES_VIEW)


class _Days(NamedTuple):
    """Local days, both included."""

    first: date
    last: date


class PeriodForm(forms.Form):
    """A period of full days on the clock of a facility."""

    period = forms.ChoiceField(label=gettext_lazy("Period"), choices=_PERIODS, initial=_DEFAULT)
    first = forms.DateField(label=gettext_lazy("From"), required=False, widget=forms.DateInput)
    last = forms.DateField(label=gettext_lazy("To"), required=False, widget=forms.DateInput)

    def __init__(self, data: Mapping[str, Any]) -> None:
        super().__init__(data, label_suffix="")
        for name in ("first", "last"):
            self.fields[name].widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")

    def clean(self) -> dict[str, Any]:
        """Own days need both ends, in order."""
        data = super().clean() or {}
        if data.get("period") == "custom" and not self.errors:
            first, last = data["first"], data["last"]
            if first is None or last is None:
                raise ValidationError(_("Give the first and the last day."))
            if first < _EARLIEST:
                raise ValidationError({"first": _("Readings begin after the year 2000.")})
            if last < first:
                raise ValidationError({"last": _("The last day lies before the first one.")})
        return data

    def days(self, today: date) -> _Days:
        """What was chosen; the default where it is not sound."""
        chosen: dict[str, Any] = {"period": _DEFAULT}
        if self.is_valid():
            chosen = self.cleaned_data
        month = today.replace(day=1)
        return {
            "today": _Days(today, today),
            "yesterday": _Days(today - timedelta(days=1), today - timedelta(days=1)),
            "week": _Days(today - timedelta(days=6), today),
            "month": _Days(month, today),
            "last-month": _Days(
                (month - timedelta(days=1)).replace(day=1), month - timedelta(days=1)
            ),
            "year": _Days(today.replace(month=1, day=1), today),
            "custom": _Days(chosen.get("first") or today, chosen.get("last") or today),
        }[chosen["period"]]


def _over(value: str) -> int | None:
    return None if value == _MAINS else int(value)


class ArrangeForm(BasedOnForm):
    """A choice for each meter: the one that it lies behind."""

    def __init__(self, *args: Any, devices: tuple[meters.Row, ...], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["based_on"].required = True
        placed = [one for one in devices if one.placement != Placement.MAINS]
        choices = [(_MAINS, _("The mains")), *((one.device_id, one.name) for one in placed)]
        for one in placed:
            self.fields[str(one.device_id)] = forms.TypedChoiceField(
                label=one.name,
                help_text=str(texts.PLACEMENTS[one.placement]),
                choices=[choice for choice in choices if choice[0] != one.device_id],
                coerce=_over,
                initial=one.behind_id or _MAINS,
            )

    def behind(self) -> dict[int, int | None]:
        """The meter before each one; None for the mains."""
        return {int(name): one for name, one in self.cleaned_data.items() if name.isdigit()}


@require_safe
@never_cache
@requires(*_SEES, Permission.READINGS_VIEW)
def meter_tree(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What each meter measured in a period, below the one that it lies behind."""
    form = PeriodForm(request.GET if "period" in request.GET else {"period": _DEFAULT})
    now = datetime.now(UTC)
    try:
        tree = meters.tree_of_days(facility_id=pk, choose=form.days, now=now)
    except FacilityNotFound as error:
        raise Http404 from error
    except SeriesRefusedError as error:
        form.add_error(None, str(error))
        tree = meters.tree_of_days(facility_id=pk, choose=form.days, now=now)
    context = {
        "tree": tree,
        "form": form,
        "begins": local_time(tree.start, tree.time_zone),
        "ends": local_time(tree.end, tree.time_zone),
        "meters": [_meter(meter) for meter in tree.meters],
        "has_mains": any(meter.placement == Placement.MAINS for meter in tree.meters),
        "mains": _energy(tree.mains_wh),
        "rest": _energy(tree.rest_wh),
        "rest_share": _part(tree.rest_wh, tree.mains_wh),
        "rest_negative": _is_impossible(tree.rest_wh, tree.mains_wh),
        "may_change": may(request, Permission.DEVICES_CHANGE),
        "may_open_devices": may(request, Permission.DEVICES_VIEW),
    }
    return render(request, "enterprise/registry/meters.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_SEES, Permission.DEVICES_CHANGE)
def arrange(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Say which meter lies behind which."""
    facility = _placed(pk)
    current = {str(one.device_id): one.behind_id for one in facility.devices}
    initial = {"based_on": token_of(current)}
    form = ArrangeForm(posted(request), devices=facility.devices, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            changed = meters_operations.arrange(
                facility_id=pk,
                behind=form.behind(),
                based_on=form.cleaned_data["based_on"],
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        except ChangedMeanwhile as error:
            form.add_error(
                None,
                _("Somebody else has arranged these meters meanwhile. Saving now replaces that."),
            )
            form.rebase(error.current)
        else:
            if changed:
                messages.success(request, _("The changes were saved."))
            return redirect("facility-meters", pk=pk)
    context = {"facility": facility, "form": form}
    status = 422 if form.errors else 200
    return render(request, "enterprise/registry/meters_form.html", context, status=status)


def _placed(pk: int) -> meters.PlacedFacility:
    try:
        return meters.placed_devices(facility_id=pk)
    except FacilityNotFound as error:
        raise Http404 from error


def _meter(meter: meters.Meter) -> dict[str, Any]:
    return {
        "pk": meter.device_id,
        "name": meter.name,
        "placement": texts.PLACEMENTS[meter.placement],
        "depth": min(meter.depth, 6),
        "level": meter.depth + 1,
        "energy": _energy(meter.net_wh),
        "share": NOTHING if meter.share is None else percent(meter.share),
        "rest": "" if meter.rest_wh is None else _energy(meter.rest_wh),
        "negative": _is_impossible(meter.rest_wh, meter.net_wh),
        "coverage": completeness(meter.coverage),
        "gaps": meter.coverage < COMPLETE,
    }


def _energy(wh: float | None) -> str:
    return NOTHING if wh is None else energy(wh)


def _is_impossible(rest: float | None, through: float | None) -> bool:
    """Whether more was measured behind a meter than went through it, beyond its accuracy."""
    return rest is not None and through is not None and rest < -_ACCURACY * abs(through)


def _part(wh: float | None, whole: float | None) -> str:
    return NOTHING if wh is None or not whole or whole < 0 else percent(wh / whole)

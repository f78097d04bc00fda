"""Loads of a facility, and the channels that measure them."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import registry_allocations, registry_loads
from devices.domain.queries import FacilityNotFound
from devices.domain.registry_versions import ChangedMeanwhile
from devices.models import LoadCategory
from portal.enterprise.registry import conflicts, texts
from portal.enterprise.registry.forms import add_errors, token_of
from portal.enterprise.registry.forms_loads import AllocationForm, EndForm, LoadForm
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_FORM = "enterprise/registry/load_form.html"
_SEES = (Permission.FACILITIES_VIEW, Permission.DEVICES_VIEW)
_CHANGES = (*_SEES, Permission.DEVICES_CHANGE)


@require_safe
@never_cache
@requires(*_SEES)
def load_list(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The loads of a facility with their allocations."""
    found = _loads(pk)
    context = {
        "facility": found,
        "loads": [_load(load, found.time_zone) for load in found.loads],
        "may_change": may(request, Permission.DEVICES_CHANGE),
    }
    return render(request, "enterprise/registry/loads.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def create(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A new load of a facility."""
    facility = _loads(pk)
    form = LoadForm(posted(request))
    if request.method == "POST" and form.is_valid():
        try:
            made = registry_allocations.create_load(
                facility_id=pk,
                name=form.cleaned_data["name"],
                category=LoadCategory(form.cleaned_data["category"]),
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("“%(name)s” was created.") % {"name": made.name})
            return redirect("load-list", pk=pk)
    place = {"facility_id": facility.facility_id, "facility_name": facility.name}
    return _answer(request, form, {**place, "heading": _("New load")})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change a load."""
    of = _form_of(pk)
    initial = {**of.values, "based_on": token_of(of.values)}
    form = LoadForm(posted(request), initial=initial)
    changes: list[conflicts.Change] = []
    if request.method == "POST" and form.is_valid():
        try:
            registry_allocations.update_load(
                load_id=pk,
                name=form.cleaned_data["name"],
                category=LoadCategory(form.cleaned_data["category"]),
                based_on=form.cleaned_data["based_on"],
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        except ChangedMeanwhile as error:
            changes = conflicts.explain(form, error)
        else:
            messages.success(request, _("The changes were saved."))
            return redirect("load-list", pk=of.facility_id)
    return _answer(request, form, {**_place(of), "heading": of.name, "changes": changes})


@require_POST
@never_cache
@requires(*_CHANGES)
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Remove a load that was never measured."""
    try:
        load = registry_allocations.remove_load(load_id=pk, actor_id=actor_id(request))
    except ObjectDoesNotExist as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("load-list", pk=_form_of(pk).facility_id)
    messages.success(request, _("“%(name)s” was removed.") % {"name": load.name})
    return redirect("load-list", pk=load.facility_id)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def allocate(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Allocate a channel to a load."""
    of = _form_of(pk)
    form = AllocationForm(posted(request), zone=of.time_zone, channels=of.channels)
    if request.method == "POST" and form.is_valid():
        try:
            registry_allocations.allocate(
                load_id=pk,
                channel_id=form.cleaned_data["channel"],
                starts_at=form.cleaned_data["starts_at"],
                ends_at=form.cleaned_data["ends_at"],
                actor_id=actor_id(request),
            )
        except ObjectDoesNotExist as error:  # the load or the channel was removed meanwhile
            raise Http404 from error
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The channel measures “%(name)s” now.") % {"name": of.name})
            return redirect("load-list", pk=of.facility_id)
    heading = _("Allocate a channel to “%(name)s”") % {"name": of.name}
    return _answer(request, form, {**_place(of), "heading": heading})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End an allocation."""
    try:
        period, of = registry_loads.allocation_entry(allocation_id=pk)
    except registry_loads.AllocationNotFound as error:
        raise Http404 from error
    form = EndForm(posted(request), zone=of.time_zone, initial={"ends_at": period.ends_at})
    if request.method == "POST" and form.is_valid():
        try:
            registry_allocations.end_allocation(
                allocation_id=pk,
                ends_at=form.cleaned_data["ends_at"],
                actor_id=actor_id(request),
            )
        except ObjectDoesNotExist as error:  # the allocation was removed meanwhile
            raise Http404 from error
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The end was saved."))
            return redirect("load-list", pk=of.facility_id)
    names = {"channel": f"{period.device_name} · {period.channel_name}", "load": of.name}
    heading = _("End of “%(channel)s” measuring “%(load)s”") % names
    return _answer(request, form, {**_place(of), "heading": heading})


@require_POST
@never_cache
@requires(*_CHANGES)
def remove_allocation(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take back an allocation that was a mistake."""
    try:
        removed = registry_allocations.remove_allocation(
            allocation_id=pk, actor_id=actor_id(request)
        )
    except ObjectDoesNotExist as error:
        raise Http404 from error
    messages.success(request, _("The allocation was removed."))
    return redirect("load-list", pk=removed.facility_id)


def _loads(pk: int) -> registry_loads.LoadsOfFacility:
    try:
        return registry_loads.loads_of(facility_id=pk)
    except FacilityNotFound as error:
        raise Http404 from error


def _form_of(pk: int) -> registry_loads.LoadForm:
    try:
        return registry_loads.load_form(load_id=pk)
    except registry_loads.LoadNotFound as error:
        raise Http404 from error


def _place(of: registry_loads.LoadForm) -> dict[str, object]:
    return {"facility_id": of.facility_id, "facility_name": of.facility_name}


def _load(load: registry_loads.LoadEntry, zone: str) -> dict[str, object]:
    return {
        "pk": load.load_id,
        "name": load.name,
        "category": texts.CATEGORIES[load.category],
        "allocations": [
            {
                "pk": period.allocation_id,
                "device_id": period.device_id,
                "channel": f"{period.device_name} · {period.channel_name}",
                "starts": texts.instant(period.starts_at, zone),
                "ends": texts.instant(period.ends_at, zone) if period.ends_at else "",
            }
            for period in load.allocations
        ],
    }


def _answer(request: HttpRequest, form: object, context: dict[str, object]) -> HttpResponse:
    status = 409 if context.get("changes") else 422 if getattr(form, "errors", None) else 200
    return render(request, _FORM, {"form": form, **context}, status=status)

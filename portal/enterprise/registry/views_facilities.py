"""Facilities: list and forms."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from devices.domain import registry_operations, registry_queries
from devices.domain.queries import FacilityNotFound
from devices.domain.registry_versions import ChangedMeanwhile
from devices.models import Facility
from portal.enterprise.registry import conflicts
from portal.enterprise.registry.filters import FacilityFilter
from portal.enterprise.registry.forms import FacilityEditForm, add_errors, token_of
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.enterprise.registry.tables import EditableFacilityTable, FacilityTable
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_FORM = "enterprise/registry/facility_form.html"


@require_safe
@never_cache
@requires(Permission.FACILITIES_VIEW)
def facility_list(request: HttpRequest) -> HttpResponseBase:
    """All facilities of the scope."""
    may_change = may(request, Permission.FACILITIES_CHANGE)
    return render_list(
        request,
        table_class=EditableFacilityTable if may_change else FacilityTable,
        rows=registry_queries.facility_rows(),
        filterset_class=FacilityFilter,
        template="enterprise/registry/facilities.html",
        context={"may_change": may_change, "may_import": may(request, Permission.PARK_IMPORT)},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FACILITIES_VIEW, Permission.FACILITIES_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """A new facility, with `?parent=` an area of one."""
    of = registry_queries.facility_form()
    initial = {"parent": request.GET.get("parent", ""), "time_zone": _zone_of(of, request)}
    form = FacilityEditForm(posted(request), of=of, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            made = registry_operations.create_facility(
                tenant_id=own_tenant_id(request), values=form.values(), actor_id=actor_id(request)
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("“%(name)s” was created.") % {"name": made.name})
            return redirect("facility", pk=made.pk)
    return _answer(request, form, {"of": of, "new": True})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FACILITIES_VIEW, Permission.FACILITIES_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change a facility."""
    try:
        of = registry_queries.facility_form(facility_id=pk)
    except FacilityNotFound as error:
        raise Http404 from error
    initial = {**of.values, "based_on": token_of(of.values)}
    form = FacilityEditForm(posted(request), of=of, initial=initial)
    changes: list[conflicts.Change] = []
    if request.method == "POST" and form.is_valid():
        try:
            registry_operations.update_facility(
                facility_id=pk,
                values=form.values(),
                based_on=form.cleaned_data["based_on"],
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        except ChangedMeanwhile as error:
            changes = conflicts.explain(form, error, ("parent", of.parents))
        except Facility.DoesNotExist as error:
            raise Http404 from error
        else:
            messages.success(request, _("The changes were saved."))
            return redirect("facility", pk=pk)
    return _answer(request, form, {"of": of, "changes": changes})


def _zone_of(of: registry_queries.FacilityForm, request: HttpRequest) -> str:
    """A new facility most likely has the zone of the one around it."""
    parent = request.GET.get("parent", "")
    around = {str(choice.pk): choice.time_zone for choice in of.parents}
    return around.get(parent, of.time_zone)


def _answer(
    request: HttpRequest, form: FacilityEditForm, context: dict[str, object]
) -> HttpResponse:
    status = 409 if context.get("changes") else 422 if form.errors else 200
    return render(request, _FORM, {"form": form, **context}, status=status)

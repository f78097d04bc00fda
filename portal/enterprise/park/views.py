"""Overview, facility and device: the pages of a facility manager."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from devices.domain import overview as park
from devices.domain import queries
from portal.enterprise.park import pages
from portal.enterprise.park.tables import FacilityFilter, FacilityTable
from portal.frame.listing import render_list
from portal.frame.permissions import access_of, may, requires
from tenants.permissions import Permission

# Lines of log and history on a device's page.
LINES: Final = 100


@require_safe
@never_cache
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """The park now, and its facilities as a list."""
    access = access_of(request)
    found = park.overview(now=datetime.now(UTC))
    return render_list(
        request,
        table_class=FacilityTable,
        filterset_class=FacilityFilter,
        rows=found.rows,
        template="enterprise/overview.html",
        context={
            "tiles": pages.overview_tiles(found.park),
            "park": found.park,
            "tenant_name": access.tenant.name if access else "",
        },
    )


@require_safe
@never_cache
@requires(Permission.FACILITIES_VIEW, Permission.READINGS_VIEW)
def facility(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A facility: total power, one chart for each quantity, its devices."""
    try:
        detail = queries.facility_detail(facility_id=pk)
    except queries.FacilityNotFound as error:
        raise Http404 from error
    context = pages.facility(detail)
    context["may_open_devices"] = may(request, Permission.DEVICES_VIEW)
    return render(request, "enterprise/facility.html", context)


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.READINGS_VIEW)
def device(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A device: one chart for each quantity, channels, history, firmware log."""
    try:
        detail = queries.device_detail(device_id=pk, lines=LINES)
    except queries.DeviceNotFound as error:
        raise Http404 from error
    context = pages.device(detail, show_log=may(request, Permission.DIAGNOSTICS_VIEW))
    return render(request, "enterprise/device.html", context)

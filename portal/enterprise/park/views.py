"""Overview, facility and device: the pages of a facility manager."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from devices.domain import operations, queries, sites
from devices.domain import overview as park
from devices.models import Device, DeviceState
from devices.protocol.codes import LogLevel
from devices.telemetry.history import Place
from portal.enterprise.park import pages_device, pages_facility, tiles
from portal.enterprise.park.tables import FacilityFilter, FacilityTable
from portal.enterprise.registry.notices import evict_after_commit
from portal.enterprise.registry.requests import actor_id
from portal.frame import htmx
from portal.frame.listing import render_list
from portal.frame.permissions import access_of, may, requires
from tenants.permissions import Permission

# Parts of a device's page that HTMX asks for alone: the next lines of a list, or another level.
_PARTS: Final = {
    "log": "enterprise/device_log.html",
    "log-more": "enterprise/device_log_lines.html",
    "events-more": "enterprise/device_event_lines.html",
}


@require_safe
@never_cache
@login_required
def overview(request: HttpRequest) -> HttpResponseBase:
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
            "tiles": tiles.overview_tiles(found.park),
            "park": found.park,
            "tenant_name": access.tenant.name if access else "",
        },
    )


@require_safe
@never_cache
@requires(Permission.FACILITIES_VIEW, Permission.READINGS_VIEW)
def facility(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A facility: power and its flow, the day, one chart for each quantity, loads, devices."""
    try:
        site = sites.site(facility_id=pk, now=datetime.now(UTC))
    except queries.FacilityNotFound as error:
        raise Http404 from error
    context = pages_facility.facility(site)
    context["may_open_devices"] = may(request, Permission.DEVICES_VIEW)
    context["may_change"] = may(request, Permission.FACILITIES_CHANGE)
    return render(request, "enterprise/facility.html", context)


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.READINGS_VIEW)
def device(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A device: configuration, one chart for each quantity, channels, history, firmware log.

    `level` is the least of the log; `log` and `events` are where a page of them begins.
    """
    level = _level(request)
    try:
        found = sites.device_page(
            device_id=pk,
            now=datetime.now(UTC),
            log_before=Place.parse(request.GET.get("log", "")),
            log_level=level,
            events_before=Place.parse(request.GET.get("events", "")),
        )
    except queries.DeviceNotFound as error:
        raise Http404 from error
    context = pages_device.device(
        found,
        show_log=may(request, Permission.DIAGNOSTICS_VIEW),
        may_change=may(request, Permission.DEVICES_CHANGE),
        level=level,
    )
    context["show_firmware"] = may(request, Permission.FIRMWARE_VIEW)
    template = _PARTS.get(htmx.target(request), "enterprise/device.html")
    return render(request, template, context)


def _level(request: HttpRequest) -> int:
    wanted = request.GET.get("level", "")
    known = {str(int(level)): int(level) for level in LogLevel}
    return known.get(wanted, 0)


@require_POST
@requires(Permission.DEVICES_VIEW, Permission.READINGS_VIEW, Permission.DEVICES_CHANGE)
def change_state(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Activate, suspend or revoke a device."""
    wanted = request.POST.get("state", "")
    if wanted not in DeviceState.values:
        messages.error(request, _("There is no such state: choose one on the page of the device."))
        return redirect("device", pk=pk)
    try:
        eviction = operations.change_state(
            device_id=pk, state=DeviceState(wanted), actor_id=actor_id(request)
        )
    except Device.DoesNotExist as error:
        raise Http404 from error
    except operations.TransitionError:
        messages.error(
            request, _("Somebody has changed the state of the device meanwhile: nothing was done.")
        )
        return redirect("device", pk=pk)
    evict_after_commit([eviction])
    told = {
        DeviceState.ACTIVE: _("The device is active: it may connect."),
        DeviceState.SUSPENDED: _("The device is suspended."),
        DeviceState.REVOKED: _("The device is revoked."),
        DeviceState.PLANNED: _("The device is planned."),
    }
    messages.success(request, told[DeviceState(wanted)])
    return redirect("device", pk=pk)


@require_POST
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.READINGS_VIEW, Permission.DEVICES_CHANGE)
def rotate_secret(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Give a device a new secret, and show it this once."""
    try:
        rotated = operations.rotate_secret(device_id=pk, actor_id=actor_id(request))
    except Device.DoesNotExist as error:
        raise Http404 from error
    except operations.TransitionError:
        messages.error(request, _("The device is revoked: register it anew instead."))
        return redirect("device", pk=pk)
    evict_after_commit([rotated.eviction])
    context = {"device": rotated.device, "secret": rotated.secret.text}
    return render(request, "enterprise/device_secret.html", context)

"""Roll-outs: the list, one of them, its devices, and the firmware of a device."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from devices.domain.queries import DeviceNotFound
from firmware.domain import rollout_pages, rollout_queries
from firmware.domain.rollout_operations import RolloutNotFound
from firmware.models import RolloutState
from portal.enterprise.rollouts import pages
from portal.enterprise.rollouts.tables import (
    PlanTable,
    RolloutFilter,
    RolloutTable,
    TargetFilter,
    TargetTable,
)
from portal.frame import htmx
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

# The part of a device's page that asks for this page.
_PANEL: Final = "device-firmware"


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW)
def rollout_list(request: HttpRequest) -> HttpResponseBase:
    """All roll-outs of the tenant."""
    return render_list(
        request,
        table_class=RolloutTable,
        rows=rollout_queries.rollouts(),
        filterset_class=RolloutFilter,
        template="enterprise/rollouts/list.html",
        context={"may_change": may(request, Permission.ROLLOUTS_CHANGE)},
    )


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW)
def detail(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """A draft with its dry run, or how a roll-out goes."""
    try:
        found = rollout_pages.shown(rollout_id=pk, now=datetime.now(UTC))
    except RolloutNotFound as error:
        raise Http404 from error
    if found.rollout.state != RolloutState.DRAFT:
        return render(request, "enterprise/rollouts/live.html", pages.live(found, request))
    assert found.plan is not None
    return render_list(
        request,
        table_class=PlanTable,
        rows=found.plan.devices,
        template="enterprise/rollouts/draft.html",
        context=pages.draft(found, request),
    )


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW, Permission.DEVICES_VIEW)
def devices(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """The devices of a roll-out."""
    try:
        row = rollout_queries.rollout(rollout_id=pk)
    except RolloutNotFound as error:
        raise Http404 from error
    return render_list(
        request,
        table_class=TargetTable,
        rows=rollout_queries.targets(rollout_id=pk),
        filterset_class=TargetFilter,
        template="enterprise/rollouts/devices.html",
        context={"rollout": row},
    )


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW, Permission.DEVICES_VIEW)
def target(request: HttpRequest, *, pk: int, target: int) -> HttpResponse:
    """What happened to a device in a roll-out."""
    found = rollout_pages.target(rollout_id=pk, target_id=target)
    if found is None:
        raise Http404
    context = {
        "target": found,
        "update": pages.update(found),
        "events": [pages.event(one) for one in rollout_queries.events(target_id=found.pk)],
        "zone": found.device.facility.time_zone,
    }
    return render(request, "enterprise/rollouts/target.html", context)


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW, Permission.DEVICES_VIEW)
def device(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What a device runs, what is waiting for it, and its updates until now."""
    try:
        found = rollout_pages.device_firmware(device_id=pk)
    except DeviceNotFound as error:
        raise Http404 from error
    name = "device_panel" if htmx.target(request) == _PANEL else "device"
    return render(request, f"enterprise/rollouts/{name}.html", pages.device(found))

"""Devices: list, forms, states of several at once; device types."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import registry_operations, registry_queries, registry_states
from devices.domain.operations import Registered
from devices.domain.queries import DeviceNotFound
from devices.domain.registry_versions import ChangedMeanwhile
from devices.models import Device, DeviceState
from portal.enterprise.registry import conflicts, texts
from portal.enterprise.registry.filters import DeviceFilter, DeviceTypeFilter
from portal.enterprise.registry.forms import (
    DeviceAnewForm,
    DeviceCreateForm,
    DeviceEditForm,
    LifetimeForm,
    add_errors,
    token_of,
)
from portal.enterprise.registry.notices import evict_after_commit
from portal.enterprise.registry.requests import actor_id, chosen_ids, posted
from portal.enterprise.registry.tables import DeviceTable, DeviceTypeTable, EditableDeviceTable
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_FORM = "enterprise/registry/device_form.html"
# What the list offers for several devices at once.
_OFFERED = (DeviceState.ACTIVE, DeviceState.SUSPENDED)


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW)
def device_list(request: HttpRequest) -> HttpResponseBase:
    """All devices of the scope."""
    may_change = may(request, Permission.DEVICES_CHANGE)
    return render_list(
        request,
        table_class=EditableDeviceTable if may_change else DeviceTable,
        rows=registry_queries.device_rows(),
        filterset_class=DeviceFilter,
        template="enterprise/registry/devices.html",
        context={
            "may_change": may_change,
            "may_control": may(request, Permission.DEVICES_CONTROL),
            "may_roll_out": may(request, Permission.ROLLOUTS_CHANGE),
            "for_all": _for_all(request),
            "may_claim": may(request, Permission.DEVICES_CLAIM),
            "may_import": may(request, Permission.PARK_IMPORT),
            "lifetime": LifetimeForm(auto_id="lifetime-%s"),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """A new device; its secret is on the answer and nowhere else."""
    of = registry_queries.device_form()
    initial = {"facility": request.GET.get("facility", "")}
    form = DeviceCreateForm(posted(request), of=of, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            registered = registry_operations.register_device(
                values=form.values(), state=form.state_chosen(), actor_id=actor_id(request)
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            return _show_secret(request, registered)
    return _answer(request, form, {"of": of, "new": True})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def anew(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Register a device anew that has reported and was moved."""
    of = _form_of(pk)
    initial = {**of.values, "serial": f"{of.values['serial']}-2"[:64], "state": "active"}
    form = DeviceAnewForm(posted(request), of=of, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            replacement = registry_operations.register_anew(
                device_id=pk,
                values=form.values(),
                state=form.state_chosen(),
                revoke=form.cleaned_data["revoke"],
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            evict_after_commit([replacement.eviction])
            return _show_secret(request, replacement.registered)
    return _answer(request, form, {"of": of, "anew": True})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change a device."""
    of = _form_of(pk)
    initial = {**of.values, "based_on": token_of(of.values)}
    form = DeviceEditForm(posted(request), of=of, fixed=of.reported, initial=initial)
    changes: list[conflicts.Change] = []
    if request.method == "POST" and form.is_valid():
        try:
            registry_operations.update_device(
                device_id=pk,
                values=form.values(),
                based_on=form.cleaned_data["based_on"],
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        except ChangedMeanwhile as error:
            named = (("facility", of.facilities), ("device_type", of.types))
            changes = conflicts.explain(form, error, *named)
        except Device.DoesNotExist as error:
            raise Http404 from error
        else:
            messages.success(request, _("The changes were saved."))
            return redirect("device", pk=pk)
    return _answer(request, form, {"of": of, "changes": changes})


@require_POST
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def change_states(request: HttpRequest) -> HttpResponse:
    """Activate or suspend the chosen devices; the answer tells of each what became of it."""
    wanted = request.POST.get("state", "")
    ids = chosen_ids(request, "device")
    if wanted not in _OFFERED or not ids:
        messages.warning(request, _("Choose devices in the list first."))
        return redirect("device-list")
    state = DeviceState(wanted)
    try:
        results = registry_states.change_states(
            device_ids=ids, state=state, actor_id=actor_id(request)
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("device-list")
    evict_after_commit(result.eviction for result in results)
    context = {
        "results": results,
        "changed": sum(not result.refusal for result in results),
        "state": texts.STATES[state],
    }
    return render(request, "enterprise/registry/states.html", context)


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW)
def type_list(request: HttpRequest) -> HttpResponseBase:
    """The device types of the scope's tenants, and those for all."""
    return render_list(
        request,
        table_class=DeviceTypeTable,
        rows=registry_queries.device_type_rows(),
        filterset_class=DeviceTypeFilter,
        template="enterprise/registry/types.html",
    )


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW)
def type_detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A device type and its channels."""
    try:
        found = registry_queries.device_type(type_id=pk)
    except registry_queries.DeviceTypeNotFound as error:
        raise Http404 from error
    context = {"type": found, "channels": list(found.channels.all())}
    return render(request, "enterprise/registry/type.html", context)


def _for_all(request: HttpRequest) -> dict[str, str] | None:
    """What the list offers for all devices that its filters leave."""
    if not may(request, Permission.DEVICES_CONTROL):
        return None
    label = _("Change settings of all of these")
    return {"url": reverse("settings-many"), "icon": "adjustments", "label": label}


def _form_of(pk: int) -> registry_queries.DeviceForm:
    try:
        return registry_queries.device_form(device_id=pk)
    except DeviceNotFound as error:
        raise Http404 from error


def _show_secret(request: HttpRequest, registered: Registered) -> HttpResponse:
    context = {"device": registered.device, "secret": registered.secret.text}
    return render(request, "enterprise/registry/registered.html", context)


def _answer(request: HttpRequest, form: DeviceEditForm, context: dict[str, object]) -> HttpResponse:
    status = 409 if context.get("changes") else 422 if form.errors else 200
    return render(request, _FORM, {"form": form, **context}, status=status)

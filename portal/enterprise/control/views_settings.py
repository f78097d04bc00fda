"""Settings: of one device beside what it reports, and of many with a preview."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from devices.domain import configuration_operations as operations
from devices.domain.commands_policy import Actor, NotAllowedError
from devices.domain.commands_targets import DevicesNotFound
from devices.domain.configuration_queries import Settings, settings_of
from devices.domain.queries import DeviceNotFound
from devices.domain.selection import MAX_NAMED
from portal.enterprise.control import settings_words as words
from portal.enterprise.control.choosing import meant, named
from portal.enterprise.control.forms_settings import DeviceSettingsForm, SettingsForm
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.permissions import access_of, may, requires
from tenants.permissions import Permission

_SEES = (Permission.DEVICES_VIEW,)
_CHANGES = (Permission.DEVICES_VIEW, Permission.DEVICES_CONTROL)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_SEES)
def device_settings(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Settings as wanted and as reported; who may changes what is wanted."""
    may_control = may(request, Permission.DEVICES_CONTROL)
    if request.method == "POST" and not may_control:
        raise PermissionDenied
    found = _settings(pk)
    form = DeviceSettingsForm(posted(request), of=found)
    if request.method == "POST" and form.is_valid():
        changes = form.changes()
        if not changes:
            messages.info(request, _("Nothing is different from what is wanted already."))
            return redirect("device-settings", pk=pk)
        if _configured(request, form, changes, [pk]):
            messages.success(request, _("The settings were changed; the device is told."))
            return redirect("device-settings", pk=pk)
    context = {**words.page(found), "form": form, "may_control": may_control}
    status = 422 if form.errors else 200
    return render(request, "enterprise/control/settings.html", context, status=status)


@require_POST
@never_cache
@requires(*_CHANGES)
def tell_again(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Try again what the device is not as wanted in."""
    try:
        operations.try_again(_actor(request), device_id=pk, now=datetime.now(UTC))
    except DeviceNotFound as error:
        raise Http404 from error
    messages.success(request, _("The device is told again as soon as it is connected."))
    return redirect("device-settings", pk=pk)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def change_many(request: HttpRequest) -> HttpResponse:
    """The same settings for chosen devices, for a group, or for what a filter of the list leaves.

    First who would get them and who cannot, then the same again to do it.
    """
    ids = meant(request)
    if not ids:
        messages.warning(request, _("Choose devices in the list first."))
        return redirect("device-list")
    if len(ids) > MAX_NAMED:
        messages.warning(
            request,
            _("More than %(most)d devices are meant: narrow the list.") % {"most": MAX_NAMED},
        )
        return redirect("device-list")
    step = request.POST.get("step", "")
    form = SettingsForm(request.POST if step else None)
    context: dict[str, Any] = {"form": form, "count": len(ids), "ids": named(request, ids)}
    if step and form.is_valid():
        changes = form.changes()
        token = form.token(ids)
        if step == "apply" and form.cleaned_data["shown"] == token:
            if _configured(request, form, changes, ids):
                messages.success(request, _("The settings were changed; the devices are told."))
                return redirect("device-list")
        else:
            context |= _previewed(form, changes, ids)
            context["moved"] = step == "apply"
            form.show(token)
    status = 422 if form.errors else 200
    return render(request, "enterprise/control/settings_many.html", context, status=status)


def _previewed(
    form: SettingsForm, changes: dict[str, Any], ids: Sequence[int]
) -> dict[str, object]:
    try:
        found = operations.plan(changes=changes, device_ids=ids)
    except ValidationError as error:
        add_errors(form, error)
        return {}
    except DevicesNotFound as error:
        raise Http404 from error
    return {"plan": words.plan(found), "changes": words.changes(changes)}


def _configured(
    request: HttpRequest, form: SettingsForm, changes: dict[str, Any], ids: Sequence[int]
) -> bool:
    """Whether it was done; what is refused stands in the form."""
    try:
        operations.configure(
            _actor(request),
            changes=changes,
            device_ids=ids,
            reason=form.cleaned_data["reason"],
            now=datetime.now(UTC),
        )
    except ValidationError as error:
        add_errors(form, error)
    except NotAllowedError as error:
        form.add_error(None, str(error))
    except DevicesNotFound as error:
        raise Http404 from error
    else:
        return True
    return False


def _actor(request: HttpRequest) -> Actor:
    access = access_of(request)
    if access is None:
        raise PermissionDenied
    return Actor(actor_id(request), access.permissions)


def _settings(pk: int) -> Settings:
    try:
        return settings_of(device_id=pk)
    except DeviceNotFound as error:
        raise Http404 from error

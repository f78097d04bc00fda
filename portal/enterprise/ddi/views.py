"""Settings of DDI, and the tokens of gateways and devices."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings as site
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.models import Device
from firmware.domain import ddi_keys, ddi_queries
from portal.enterprise.ddi.forms import DdiSettingsForm
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.permissions import requires
from tenants.permissions import Permission

_FOLDER: Final = "enterprise/ddi"


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.TENANTS_CHANGE)
def settings(request: HttpRequest) -> HttpResponse:
    """Intervals, handling, consent; the gateway token."""
    tenant_id = own_tenant_id(request)
    current = ddi_queries.settings_of(tenant_id=tenant_id)
    form = DdiSettingsForm(posted(request), current=current)
    if form.is_bound and form.is_valid():
        ddi_keys.change_settings(
            tenant_id=tenant_id, values=form.cleaned_data, actor_id=actor_id(request)
        )
        messages.success(request, _("The settings have been changed."))
        return redirect("ddi-settings")
    context = {
        "form": form,
        "gateway_issued_at": current.gateway_issued_at,
        "address": _address(ddi_queries.slug_of(tenant_id=tenant_id)),
    }
    status = 422 if form.is_bound else 200
    return render(request, f"{_FOLDER}/settings.html", context, status=status)


@require_POST
@never_cache
@requires(Permission.TENANTS_CHANGE)
def issue_gateway(request: HttpRequest) -> HttpResponse:
    """A new gateway token, shown this once."""
    tenant_id = own_tenant_id(request)
    token = ddi_keys.issue_gateway_token(tenant_id=tenant_id, actor_id=actor_id(request))
    slug = ddi_queries.slug_of(tenant_id=tenant_id)
    context = {"token": token, "header": "GatewayToken", "address": _address(slug)}
    return render(request, f"{_FOLDER}/token.html", context)


@require_POST
@never_cache
@requires(Permission.TENANTS_CHANGE)
def withdraw_gateway(request: HttpRequest) -> HttpResponse:
    """The gateway token opens nothing any more."""
    if ddi_keys.withdraw_gateway_token(
        tenant_id=own_tenant_id(request), actor_id=actor_id(request)
    ):
        messages.success(request, _("The token opens nothing any more."))
    return redirect("ddi-settings")


@require_safe
@never_cache
@requires(Permission.DEVICES_CHANGE)
def device(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A device: its token, and what it told."""
    return render(request, f"{_FOLDER}/device.html", _device(pk))


@require_POST
@never_cache
@requires(Permission.DEVICES_CHANGE)
def issue_token(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A new token of a device, shown this once."""
    try:
        token = ddi_keys.issue_target_token(device_id=pk, actor_id=actor_id(request))
    except Device.DoesNotExist:
        raise Http404 from None
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("ddi-device", pk=pk)
    context = _device(pk) | {"token": token, "header": "TargetToken"}
    return render(request, f"{_FOLDER}/token.html", context)


@require_POST
@never_cache
@requires(Permission.DEVICES_CHANGE)
def withdraw_token(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The token of a device opens nothing any more."""
    try:
        withdrawn = ddi_keys.withdraw_target_token(device_id=pk, actor_id=actor_id(request))
    except Device.DoesNotExist:
        raise Http404 from None
    if withdrawn:
        messages.success(request, _("The token opens nothing any more."))
    return redirect("ddi-device", pk=pk)


def _device(pk: int) -> dict[str, Any]:
    try:
        found = ddi_queries.device(device_id=pk)
    except Device.DoesNotExist:
        raise Http404 from None
    return {
        "device": found,
        "attributes": sorted(found.attributes.items()),
        "address": _address(found.tenant_slug),
    }


def _address(slug: str) -> dict[str, str]:
    """What a client is configured with: server and tenant."""
    where = urlsplit(site.PUBLIC_URL)
    return {"server": f"{where.scheme}://{where.netloc}", "tenant": slug}

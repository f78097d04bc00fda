"""Signing keys: list, add, retire."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from firmware.domain import key_operations, release_queries
from portal.enterprise.firmware.forms import KeyForm
from portal.enterprise.firmware.tables import KeyTable
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW)
def key_list(request: HttpRequest) -> HttpResponseBase:
    """Whose signatures are accepted, or were."""
    context = {
        "may_change": may(request, Permission.FIRMWARE_CHANGE),
        "own_tenant_id": own_tenant_id(request),
    }
    return render_list(
        request,
        table_class=KeyTable,
        rows=release_queries.signing_keys(),
        template="enterprise/firmware/keys.html",
        context=context,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def add(request: HttpRequest) -> HttpResponse:
    """A public key, from now on accepted."""
    form = KeyForm(posted(request))
    if request.method == "POST" and form.is_valid():
        try:
            key_operations.add_key(
                tenant_id=own_tenant_id(request),
                name=form.cleaned_data["name"],
                pem=form.cleaned_data["public_key"].encode(),
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("Releases signed with this key are accepted from now on."))
            return redirect("signing-key-list")
    status = 422 if form.errors else 200
    if "public_key" in form.errors:
        form.forget_key()
    return render(request, "enterprise/firmware/key_new.html", {"form": form}, status=status)


@require_POST
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def retire(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Accept nothing new that a key signs."""
    try:
        key_operations.retire_key(key_id=pk, now=datetime.now(UTC), actor_id=actor_id(request))
    except key_operations.SigningKeyNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("The key is retired: nothing new that it signs is accepted."))
    return redirect("signing-key-list")

"""How long data is kept, and legal holds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.formats import number_format as localized
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import holds as hold_domain
from devices.domain import retention as retention_domain
from devices.domain.holds import HoldRefused
from devices.domain.retention import Effect, RetentionRefused
from devices.models import DataClass, Hold
from portal.enterprise.administration.retention_forms import HoldForm, RetentionForm, in_words
from portal.enterprise.people.views_people import acting
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_FOLDER: Final = "enterprise/administration"


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.RETENTION_CHANGE)
def retention(request: HttpRequest) -> HttpResponse:
    """The rules; a change is shown with what it would remove, and done when it is confirmed."""
    access, user = acting(request)
    tenant_id = access.tenant.tenant_id
    rules = retention_domain.rules(tenant_id=tenant_id)
    form = RetentionForm(request.POST if request.method == "POST" else None, rules=rules)
    context: dict[str, Any] = {"form": form, "may_hold": may(request, Permission.HOLDS_CHANGE)}
    if not form.is_bound:
        return render(request, f"{_FOLDER}/retention.html", context)
    if not form.is_valid():
        return render(request, f"{_FOLDER}/retention.html", context, status=422)
    wanted = form.wanted()
    try:
        if "confirmed" not in request.POST:
            effects = retention_domain.effects(
                tenant_id=tenant_id, wanted=wanted, now=datetime.now(UTC)
            )
            if any(effect.removes for effect in effects):
                context["effects"] = [_told(effect) for effect in effects]
                return render(request, f"{_FOLDER}/retention_confirm.html", context)
        changed = retention_domain.set_rules(tenant_id=tenant_id, wanted=wanted, actor_id=user.pk)
    except RetentionRefused as error:
        form.add_error(error.data_class, str(error))
        return render(request, f"{_FOLDER}/retention.html", context, status=422)
    if changed:
        messages.success(request, _("The rules have been changed."))
    return redirect("retention")


def _told(effect: Effect) -> dict[str, object]:
    readings = effect.preview.readings if effect.preview else 0
    return {
        "name": DataClass(effect.data_class).label,
        "before": in_words(effect.days_before),
        "after": in_words(effect.days),
        "removes": effect.removes,
        "over": effect.over,
        "preview": effect.preview,
        "readings": localized(readings, force_grouping=True),
    }


@require_safe
@never_cache
@requires(Permission.HOLDS_CHANGE)
def holds(request: HttpRequest) -> HttpResponse:
    """The holds of the tenant."""
    access, _user = acting(request)
    rows = hold_domain.all_holds(tenant_id=access.tenant.tenant_id)
    return render(request, f"{_FOLDER}/holds.html", {"holds": rows})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.HOLDS_CHANGE)
def hold(request: HttpRequest) -> HttpResponse:
    """A new hold."""
    access, user = acting(request)
    tenant_id = access.tenant.tenant_id
    form = HoldForm(request.POST if request.method == "POST" else None, tenant_id=tenant_id)
    if form.is_bound and form.is_valid():
        try:
            hold_domain.hold(
                tenant_id=tenant_id,
                held=form.held(),
                reason=form.cleaned_data["reason"],
                now=datetime.now(UTC),
                actor_id=user.pk,
            )
        except HoldRefused as error:
            form.add_error(error.field, str(error))
        else:
            messages.success(request, _("The data is held."))
            return redirect("holds")
    status = 422 if form.is_bound else 200
    return render(request, f"{_FOLDER}/hold_form.html", {"form": form}, status=status)


@require_POST
@never_cache
@requires(Permission.HOLDS_CHANGE)
def release(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a hold."""
    _access, user = acting(request)
    try:
        released = hold_domain.release(hold_id=pk, now=datetime.now(UTC), actor_id=user.pk)
    except Hold.DoesNotExist:
        raise Http404 from None
    if released:
        messages.success(request, _("The hold is released."))
    return redirect("holds")

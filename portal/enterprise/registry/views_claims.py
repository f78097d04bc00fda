"""Claim codes: a device is claimed by the code on its label; codes are issued and printed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import claims_operations, claims_queries, registry_queries
from devices.domain.claims_operations import ClaimRefused
from devices.models import ClaimCode, Placement
from portal.enterprise.registry import labels
from portal.enterprise.registry.filters import CodeFilter
from portal.enterprise.registry.forms import ClaimCodeForm, ClaimForm, LifetimeForm, add_errors
from portal.enterprise.registry.guesses import Guesser
from portal.enterprise.registry.notices import evict_after_commit
from portal.enterprise.registry.requests import actor_id, chosen_ids, posted
from portal.enterprise.registry.tables_bulk import CodeTable
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from portal.middleware import client_address
from tenants.permissions import Permission

_TYPE = "enterprise/registry/claim.html"
_CHOOSE = "enterprise/registry/claim_device.html"


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FACILITIES_VIEW, Permission.DEVICES_CLAIM)
def start(request: HttpRequest) -> HttpResponse:
    """Where a code is typed that was not scanned."""
    form = ClaimCodeForm(posted(request))
    if request.method == "POST" and form.is_valid():
        try:
            code = claims_operations.normal(code=form.cleaned_data["code"])
        except ClaimRefused as refused:
            form.add_error("code", refused.sentence)
        else:
            return redirect("claim-code", code=code)
    return render(request, _TYPE, {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FACILITIES_VIEW, Permission.DEVICES_CLAIM)
def claim(request: HttpRequest, *, code: str) -> HttpResponse:
    """What a code opens, and where the device shall stand."""
    guesser = Guesser(actor_id(request), client_address(request) or "")
    if guesser.exhausted():
        text = _("Too many codes that do not exist. Wait a quarter of an hour, then try again.")
        return _refused(request, code, text, status=429)
    try:
        offer = claims_operations.look_up(code=code)
    except ClaimRefused as refused:
        if refused.guessed:
            guesser.note()
        return _refused(request, code, refused.sentence, status=404)
    facilities = registry_queries.facility_choices()
    form = ClaimForm(
        posted(request),
        facilities=facilities,
        initial={
            "placement": offer.placement,
            "name": offer.device_type,
            "facility": facilities[0].pk if len(facilities) == 1 else None,
        },
    )
    if request.method == "POST" and form.is_valid():
        try:
            claimed = claims_operations.claim(
                code=code,
                facility_id=form.cleaned_data["facility"],
                name=form.cleaned_data["name"],
                placement=Placement(form.cleaned_data["placement"]),
                actor_id=actor_id(request),
            )
        except ClaimRefused as refused:
            form.add_error(None, refused.sentence)
        except ValidationError as error:
            add_errors(form, error)
        else:
            evict_after_commit([claimed.eviction])
            messages.success(
                request,
                _("“%(name)s” is yours now and may connect.") % {"name": claimed.device.name},
            )
            if may(request, Permission.DEVICES_VIEW) and may(request, Permission.READINGS_VIEW):
                return redirect("device", pk=claimed.device.pk)
            return redirect("overview")
    context = {"form": form, "offer": offer, "no_facility": not facilities}
    return render(request, _CHOOSE, context, status=422 if form.errors else 200)


def _refused(request: HttpRequest, code: str, text: str, *, status: int) -> HttpResponse:
    form = ClaimCodeForm(initial={"code": code})
    return render(request, _TYPE, {"form": form, "refusal": text}, status=status)


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def code_list(request: HttpRequest) -> HttpResponseBase:
    """The claim codes of the scope's devices."""
    return render_list(
        request,
        table_class=CodeTable,
        rows=claims_queries.code_rows(now=datetime.now(UTC)),
        filterset_class=CodeFilter,
        template="enterprise/registry/codes.html",
    )


@require_POST
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def issue(request: HttpRequest) -> HttpResponse:
    """New codes for the chosen devices; the answer tells of each what became of it."""
    form, ids = LifetimeForm(request.POST), chosen_ids(request, "device")
    if not form.is_valid() or not ids:
        messages.warning(request, _("Choose devices in the list first."))
        return redirect("device-list")
    try:
        issued = claims_operations.issue_codes(
            device_ids=ids,
            lifetime=timedelta(days=form.cleaned_data["days"]),
            now=datetime.now(UTC),
            actor_id=actor_id(request),
        )
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("device-list")
    made = [one for one in issued if one.code is not None]
    context = {
        "issued": [
            {
                "pk": one.device_id,
                "serial": one.serial,
                "name": one.name,
                "code": one.code.text if one.code else "",
                "refusal": one.refusal,
            }
            for one in issued
        ],
        "made": [one.device_id for one in made],
    }
    return render(request, "enterprise/registry/issued.html", context)


@require_POST
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def withdraw(request: HttpRequest) -> HttpResponse:
    """Make an open code useless."""
    ids = chosen_ids(request, "code")
    try:
        done = claims_operations.withdraw_code(
            code_id=ids[0] if ids else 0, now=datetime.now(UTC), actor_id=actor_id(request)
        )
    except ClaimCode.DoesNotExist as error:
        raise Http404 from error
    if done:
        messages.success(request, _("The code was withdrawn: it opens nothing any more."))
    else:
        messages.info(request, _("The code was used or withdrawn before."))
    return redirect("code-list")


@require_safe
@never_cache
@requires(Permission.DEVICES_VIEW, Permission.DEVICES_CHANGE)
def label_sheet(request: HttpRequest) -> HttpResponse:
    """Labels of the chosen devices on A4 sheets."""
    found = claims_queries.labels(device_ids=chosen_ids(request, "device"), now=datetime.now(UTC))
    context = {
        "labels": labels.stickers(found),
        "hours": int(claims_operations.SEALED_FOR.total_seconds() // 3600),
    }
    return render(request, "enterprise/registry/labels.html", context)

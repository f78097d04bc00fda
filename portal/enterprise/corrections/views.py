"""Corrections of a device's readings: list, form with preview, withdrawal."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from devices.domain import corrections_operations as operations
from devices.domain.catalogue import ChannelNotFound
from devices.domain.corrections_preview import preview
from devices.domain.corrections_queries import (
    CorrectionNotFound,
    CorrectionsOfDevice,
    correction_entry,
    corrections_of_device,
)
from devices.domain.queries import DeviceNotFound
from portal.enterprise.corrections import pages
from portal.enterprise.corrections.forms import CorrectionForm, ReasonForm
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_SEES = (Permission.DEVICES_VIEW, Permission.READINGS_VIEW)
_CORRECTS = (*_SEES, Permission.READINGS_CORRECT)
# The fields of the form that the domain calls otherwise.
_INSIDE = {"shift": "minutes"}


@require_safe
@never_cache
@requires(*_SEES)
def correction_list(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The corrections of a device, the newest first."""
    context = pages.corrections(_of_device(pk))
    context["may_correct"] = may(request, Permission.READINGS_CORRECT)
    return render(request, "enterprise/corrections/list.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CORRECTS)
def make(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A correction: first what it would change, then the same values again to make it."""
    found = _of_device(pk)
    form = CorrectionForm(posted(request), zone=found.zone, channels=found.channels)
    context = {**pages.place(found), "form": form}
    if request.method == "POST" and form.is_valid():
        try:
            if request.POST.get("step") == "make" and form.was_shown():
                operations.make_correction(
                    draft=form.draft(),
                    reason=form.cleaned_data["reason"],
                    now=datetime.now(UTC),
                    actor_id=actor_id(request),
                )
                messages.success(
                    request,
                    _("The readings are corrected. Energy and roll-ups follow within minutes."),
                )
                return redirect("correction-list", pk=pk)
        except ChannelNotFound as error:
            raise Http404 from error
        except ValidationError as error:
            _refuse(form, error)
        context |= _previewed(form, found)
    status = 422 if form.errors else 200
    return render(request, "enterprise/corrections/form.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CORRECTS)
def withdraw(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a correction, for a reason."""
    try:
        entry = correction_entry(correction_id=pk)
    except CorrectionNotFound as error:
        raise Http404 from error
    if entry.withdrawal:
        messages.info(request, _("The correction has been withdrawn already."))
        return redirect("correction-list", pk=entry.device_id)
    form = ReasonForm(posted(request))
    if request.method == "POST" and form.is_valid():
        try:
            operations.withdraw_correction(
                correction_id=pk, reason=form.cleaned_data["reason"], actor_id=actor_id(request)
            )
        except ValidationError as error:
            _refuse(form, error)
        else:
            messages.success(request, _("The correction is withdrawn."))
            return redirect("correction-list", pk=entry.device_id)
    found = operations.preview_withdrawal(correction_id=pk)
    context = {
        **pages.place(_of_device(entry.device_id)),
        "correction": pages.correction(entry, found.zone),
        "form": form,
        "preview": pages.preview(found, entry.unit),
    }
    status = 422 if form.errors else 200
    return render(request, "enterprise/corrections/withdraw.html", context, status=status)


def _previewed(form: CorrectionForm, found: CorrectionsOfDevice) -> dict[str, object]:
    """The preview of a valid form; what cannot be done is told at its fields."""
    units = {one.channel_id: one.unit for one in found.channels}
    try:
        draft = form.draft()
        seen = preview(draft=draft, now=datetime.now(UTC))
    except ChannelNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        if not form.errors:
            _refuse(form, error)
        return {}
    changed_since = bool(form.cleaned_data["shown"]) and not form.was_shown()
    form.show()
    return {"preview": pages.preview(seen, units[draft.channel_id]), "changed": changed_since}


def _refuse(form: CorrectionForm | ReasonForm, error: ValidationError) -> None:
    """Tell a refusal at the fields as the form calls them."""
    if hasattr(error, "error_dict"):
        error = ValidationError(
            {_INSIDE.get(name, name): some for name, some in error.error_dict.items()}
        )
    add_errors(form, error)


def _of_device(pk: int) -> CorrectionsOfDevice:
    try:
        return corrections_of_device(device_id=pk)
    except DeviceNotFound as error:
        raise Http404 from error

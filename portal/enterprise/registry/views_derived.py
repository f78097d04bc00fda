"""Derived channels of a device, and the versions of their formulas."""

from __future__ import annotations

from datetime import UTC, datetime

from django import forms
from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import derived_operations, derived_queries, derived_ready_made
from devices.domain.catalogue import ChannelNotFound
from devices.domain.derived_operations import Derivation
from devices.domain.derived_queries import DerivedPage, FormulaPage
from devices.domain.queries import DeviceNotFound
from portal.enterprise.registry import pages_derived
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.forms_derived import DerivedForm, ReadyMadeForm, VersionForm
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_SEES = (Permission.DEVICES_VIEW, Permission.READINGS_VIEW)
_CHANGES = (*_SEES, Permission.DEVICES_CHANGE)
_EDITOR = "enterprise/registry/derived_form.html"


@require_safe
@never_cache
@requires(*_SEES)
def derived_list(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The derived channels of a device, and what is offered."""
    context = pages_derived.derived(_derived(pk))
    context["may_change"] = may(request, Permission.DEVICES_CHANGE)
    return render(request, "enterprise/registry/derived.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def create(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A new derived channel."""
    found = _derived(pk)
    form = DerivedForm(posted(request), zone=found.place.time_zone)
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            made = derived_operations.derive_channel(
                device_id=pk,
                values=Derivation(data["key"], data["name"], data["quantity"], data["text"]),
                valid_from=data["valid_from"],
                reason=data["reason"],
                actor_id=actor_id(request),
                now=datetime.now(UTC),
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("“%(name)s” was created.") % {"name": made.name})
            return redirect("derived-list", pk=pk)
    context = {
        "place": found.place,
        "form": form,
        "names": pages_derived.names(found.names),
        "heading": _("New derived channel"),
    }
    return _answer(request, form, context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def change(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Another formula for a derived channel; its versions."""
    found = _formula(pk)
    form = VersionForm(
        posted(request), zone=found.place.time_zone, initial={"text": found.channel.text}
    )
    if request.method == "POST" and form.is_valid():
        data = form.cleaned_data
        try:
            derived_operations.change_formula(
                channel_id=pk,
                text=data["text"],
                valid_from=data["valid_from"],
                reason=data["reason"],
                actor_id=actor_id(request),
                now=datetime.now(UTC),
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(
                request, _("The formula was saved. What it holds for is computed now.")
            )
            return redirect("formula-change", pk=pk)
    context = {**pages_derived.history(found), "form": form, "heading": found.channel.name}
    return _answer(request, form, context)


@require_POST
@never_cache
@requires(*_CHANGES)
def check(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What a formula would give, while it is being written."""
    text = request.POST.get("text", "")
    channel = request.POST.get("channel", "")
    try:
        found = derived_queries.preview(
            device_id=pk,
            text=text,
            quantity=request.POST.get("quantity", ""),
            channel_id=int(channel) if channel.isascii() and channel.isdigit() else None,
            now=datetime.now(UTC),
        )
    except DeviceNotFound as error:
        raise Http404 from error
    context = {**pages_derived.check(found), "asked": bool(text.strip())}
    return render(request, "enterprise/registry/derived_check.html", context)


@require_POST
@never_cache
@requires(*_CHANGES)
def add_ready_made(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Make what is offered."""
    form = ReadyMadeForm(request.POST)
    if not form.is_valid():
        messages.error(request, _("Say what the channel needs to know, as positive numbers."))
        return redirect("derived-list", pk=pk)
    try:
        made = derived_ready_made.add_ready_made(
            device_id=pk,
            key=form.cleaned_data["key"],
            answers=form.answers(),
            actor_id=actor_id(request),
            now=datetime.now(UTC),
        )
    except ObjectDoesNotExist as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("“%(name)s” was created.") % {"name": made.name})
    return redirect("derived-list", pk=pk)


def _derived(pk: int) -> DerivedPage:
    try:
        return derived_queries.derived_channels(device_id=pk, now=datetime.now(UTC))
    except DeviceNotFound as error:
        raise Http404 from error


def _formula(pk: int) -> FormulaPage:
    try:
        return derived_queries.formula_history(channel_id=pk, now=datetime.now(UTC))
    except ChannelNotFound as error:
        raise Http404 from error


def _answer(request: HttpRequest, form: forms.BaseForm, context: dict[str, object]) -> HttpResponse:
    return render(request, _EDITOR, context, status=422 if form.errors else 200)

"""Releases: list, upload with checks, detail, approve, retire."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from firmware.domain import release_checks, release_operations, release_queries
from firmware.domain.release_queries import ReleaseNotFound
from firmware.models import Release
from firmware.tasks import make_deltas
from portal.enterprise.firmware import pages
from portal.enterprise.firmware.forms import DraftForm, ReleaseForm
from portal.enterprise.firmware.tables import ReleaseFilter, ReleaseTable
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from portal.frame.streaming import Chunks, stream
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW)
def release_list(request: HttpRequest) -> HttpResponseBase:
    """The tenant's releases, and those of tenants above that serve it."""
    return render_list(
        request,
        table_class=ReleaseTable,
        rows=release_queries.releases(),
        filterset_class=ReleaseFilter,
        template="enterprise/firmware/releases.html",
        context={"may_change": may(request, Permission.FIRMWARE_CHANGE)},
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def upload(request: HttpRequest) -> HttpResponse:
    """A new release, as a draft."""
    form = _form(request)
    if request.method == "POST" and form.is_valid():
        try:
            made = release_operations.create_release(
                tenant_id=own_tenant_id(request), draft=form.draft(), actor_id=actor_id(request)
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The release is a draft until another person approves it."))
            return redirect("release", pk=made.pk)
    template = "enterprise/firmware/release_new.html"
    return render(request, template, {"form": form}, status=422 if form.errors else 200)


@require_POST
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def check(request: HttpRequest) -> HttpResponse:
    """What the files of a form say while it is filled in; nothing is kept."""
    form = _form(request)
    form.full_clean()
    found = release_checks.look_at(form.draft(), tenant_id=own_tenant_id(request))
    context = {"findings": pages.findings(found), "sound": not found.errors}
    return render(request, "enterprise/firmware/release_check.html", context)


def _form(request: HttpRequest) -> ReleaseForm:
    types = release_queries.own_types(tenant_id=own_tenant_id(request))
    files = request.FILES if request.method == "POST" else None
    return ReleaseForm(posted(request), files, types=types)


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A release with its image, signature, patches, and where it runs."""
    try:
        found = release_queries.release_detail(release_id=pk)
    except ReleaseNotFound as error:
        raise Http404 from error
    return render(request, "enterprise/firmware/release.html", pages.release(found, request))


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What was not signed of a draft."""
    try:
        found = release_queries.release(release_id=pk)
    except ReleaseNotFound as error:
        raise Http404 from error
    form = DraftForm(
        posted(request), initial={"from_versions": found.from_versions, "notes": found.notes}
    )
    if request.method == "POST" and form.is_valid():
        try:
            release_operations.edit_draft(
                release_id=pk, **form.cleaned_data, actor_id=actor_id(request)
            )
        except ReleaseNotFound as error:
            raise Http404 from error
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The draft was changed."))
            return redirect("release", pk=pk)
    template = "enterprise/firmware/release_edit.html"
    context = {"form": form, "release": found}
    return render(request, template, context, status=422 if form.errors else 200)


@require_POST
@never_cache
@requires(Permission.FIRMWARE_APPROVE)
def approve(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let a draft be rolled out."""

    def do() -> Release:
        return release_operations.approve_release(
            release_id=pk, actor_id=actor_id(request), now=datetime.now(UTC)
        )

    made = _done(request, do, _("The release is approved and may be rolled out."))
    if made is not None:
        transaction.on_commit(partial(make_deltas.delay, tenant_id=made.tenant_id))
    # Whoever decides in the list of all approvals goes on there.
    return redirect("approvals") if "approvals" in request.POST else redirect("release", pk=pk)


@require_POST
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def retire(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let no new roll-out begin with a release."""

    def do() -> Release:
        return release_operations.retire_release(
            release_id=pk, actor_id=actor_id(request), now=datetime.now(UTC)
        )

    _done(request, do, _("The release is retired: no new roll-out begins with it."))
    return redirect("release", pk=pk)


@require_POST
@never_cache
@requires(Permission.FIRMWARE_CHANGE)
def delete(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Forget a draft."""
    try:
        release_operations.delete_draft(release_id=pk, actor_id=actor_id(request))
    except ReleaseNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("release", pk=pk)
    messages.success(request, _("The draft was deleted."))
    return redirect("approvals" if "approvals" in request.POST else "release-list")


def _done(request: HttpRequest, do: Callable[[], Release], said: str) -> Release | None:
    """Take a step, and say that it was taken or why not."""
    try:
        made = do()
    except ReleaseNotFound as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return None
    messages.success(request, said)
    return made


@require_safe
@never_cache
@requires(Permission.FIRMWARE_VIEW)
def image(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """The image as it was uploaded."""
    try:
        found = release_queries.image(release_id=pk)
    except ReleaseNotFound as error:
        raise Http404 from error
    response = stream(
        request,
        Chunks(found.piece),
        content_type="application/octet-stream",
        file_name=found.file_name,
    )
    response["Content-Length"] = str(found.size)
    return response

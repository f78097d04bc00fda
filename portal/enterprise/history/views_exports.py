"""Exports of readings: choose, watch, download, cancel."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import exports, history_queries
from devices.domain.catalogue import ChannelNotFound
from devices.domain.exports import ExportNotFound, TooManyExportsError
from devices.domain.series_bounds import SeriesRefusedError
from devices.models import DataExport, ExportState
from devices.tasks import export_history
from devices.telemetry.export_formats import MEDIA_TYPE, SUFFIX
from portal.enterprise.history.forms import ExportForm
from portal.enterprise.history.tables import ExportTable
from portal.enterprise.registry.forms import options
from portal.enterprise.registry.requests import actor_id, chosen_ids, posted
from portal.frame.listing import render_list
from portal.frame.permissions import requires
from portal.frame.streaming import Chunks, stream
from tenants.permissions import Permission
from tenants.scope import open_scope, require_scope

_RULE = Permission.READINGS_EXPORT
_WORKED_ON = (ExportState.WAITING, ExportState.RUNNING)


@require_safe
@never_cache
@requires(_RULE)
def export_list(request: HttpRequest) -> HttpResponseBase:
    """All exports that are kept."""
    return render_list(
        request,
        table_class=ExportTable,
        rows=history_queries.export_rows(),
        template="enterprise/history/exports.html",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(_RULE)
def create(request: HttpRequest) -> HttpResponse:
    """Choose channels of the facility in `?facility=`, and ask for an export of them."""
    facility_id = next(iter(chosen_ids(request, "facility")), None)
    offer = history_queries.export_offer(facility_id=facility_id)
    form = ExportForm(posted(request), of=offer)
    if request.method == "POST" and form.is_valid():
        try:
            export = exports.ask(
                question=form.question(), now=datetime.now(UTC), actor_id=actor_id(request)
            )
        except (SeriesRefusedError, ChannelNotFound, TooManyExportsError) as error:
            form.add_error(None, str(error))
        else:
            if export.state == ExportState.WAITING:
                ids = {"tenant_id": export.tenant_id, "export_id": export.pk}
                transaction.on_commit(partial(export_history.delay, **ids))
            return redirect("export", pk=export.pk)
    context = {"form": form, "offer": offer, "facilities": options(offer.facilities)}
    template = "enterprise/history/export_new.html"
    return render(request, template, context, status=422 if form.errors else 200)


@require_safe
@never_cache
@requires(_RULE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One export."""
    return render(request, "enterprise/history/export.html", {"export": _export(pk)})


@require_safe
@never_cache
@requires(_RULE)
def progress(request: HttpRequest, *, pk: int) -> HttpResponse:
    """How far an export is, for the page that shows it; asks to be loaded anew at the end."""
    export = _export(pk)
    response = render(request, "enterprise/history/export_progress.html", {"export": export})
    if export.state not in _WORKED_ON:
        response["HX-Refresh"] = "true"
    return response


@require_safe
@never_cache
@requires(_RULE)
def file(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """The file of a finished export, part by part."""
    try:
        export, parts = exports.file_of(export_id=pk)
    except ExportNotFound as error:
        raise Http404 from error
    scope = require_scope()

    def read(at: int | None) -> tuple[str | bytes, int | None]:
        at = at or 0
        with open_scope(scope):
            piece = exports.part_content(parts[at]) if parts else b""
        return piece, at + 1 if at + 1 < len(parts) else None

    day = export.starts_at.date().isoformat()
    return stream(
        request,
        Chunks(read),
        content_type=MEDIA_TYPE[exports.form_of(export)],
        file_name=f"wattline-{day}-{export.pk}.{SUFFIX[exports.form_of(export)]}",
    )


@require_POST
@never_cache
@requires(_RULE)
def cancel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Stop an export, or remove one that has ended."""
    try:
        exports.cancel(export_id=pk, now=datetime.now(UTC), actor_id=actor_id(request))
    except ExportNotFound as error:
        raise Http404 from error
    return redirect("export-list")


def _export(pk: int) -> DataExport:
    try:
        return exports.entry(export_id=pk)
    except ExportNotFound as error:
        raise Http404 from error

"""Imports of meter data: upload, settings, dry run, run, report."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import history_check, history_imports, history_queries
from devices.domain.history_files import TooLargeError
from devices.domain.history_queries import HistoryImportDetail, HistoryImportNotFound
from devices.domain.imports_check import WrongState
from devices.files.mapping import MappingError
from devices.models import Facility, HistoryImport, HistoryState
from devices.tasks import import_history
from portal.enterprise.history.forms import FileForm, SettingsForm
from portal.enterprise.history.tables import HistoryImportTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import requires
from tenants.permissions import Permission

_RULE = Permission.PARK_IMPORT
_QUALITIES: Final = {
    "estimated": gettext_lazy("estimated"),
    "substituted": gettext_lazy("substituted"),
    "final_substituted": gettext_lazy("substituted for good"),
    "null": gettext_lazy("without a value"),
}
_STEPS: Final = {
    HistoryState.UPLOADED.value: 2,
    HistoryState.CHECKED.value: 3,
    HistoryState.RUNNING.value: 4,
    HistoryState.FINISHED.value: 5,
}


@require_safe
@never_cache
@requires(_RULE)
def import_list(request: HttpRequest) -> HttpResponseBase:
    """All imports of meter data."""
    return render_list(
        request,
        table_class=HistoryImportTable,
        rows=history_queries.import_rows(),
        template="enterprise/history/imports.html",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(_RULE)
def upload(request: HttpRequest) -> HttpResponse:
    """Take in a file."""
    form = FileForm(posted(request), request.FILES if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            run_ = history_imports.upload(
                tenant_id=own_tenant_id(request),
                file_name=file.name,
                content=file.read(),
                language=get_language() or "en",
                actor_id=actor_id(request),
            )
        except TooLargeError as error:
            form.add_error("file", str(error))
        else:
            return redirect("history-import", pk=run_.pk)
    template = "enterprise/history/import_new.html"
    return render(request, template, {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(_RULE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One import at its step. A POST checks the file with the chosen settings."""
    found = _detail(pk)
    form = SettingsForm(posted(request), of=found, zone=timezone.get_current_timezone_name())
    if request.method == "POST" and not found.open:
        messages.warning(request, _("The file is being imported or has been."))
        return redirect("history-import", pk=pk)
    if request.method == "POST" and form.is_valid():
        try:
            history_check.check(
                run_id=pk,
                mapping=form.mapping(),
                facility_id=form.cleaned_data["facility"],
                wishes=form.wishes(),
                now=datetime.now(UTC),
            )
        except (MappingError, Facility.DoesNotExist) as error:
            form.add_error(None, str(error))
        except WrongState as error:
            messages.warning(request, str(error))
            return redirect("history-import", pk=pk)
        else:
            return redirect("history-import", pk=pk)
    choosing = found.state == HistoryState.UPLOADED or bool(form.errors)
    if choosing or (found.open and "settings" in request.GET):
        context = {"run": found, "form": form, "step": 2}
        template = "enterprise/history/import_settings.html"
        return render(request, template, context, status=422 if form.errors else 200)
    return render(request, "enterprise/history/import_report.html", _context(found))


def _context(found: HistoryImportDetail) -> dict[str, Any]:
    streams = [
        {**one, "doubted": _doubted(one["figures"]["quality"])}
        for one in found.report.get("streams", ())
    ]
    return {"run": found, "step": _STEPS[found.state], "streams": streams}


def _doubted(quality: Mapping[str, int]) -> list[tuple[str, int]]:
    """How many values were not simply measured, in words."""
    return [(str(_QUALITIES[name]), count) for name, count in quality.items() if name in _QUALITIES]


@require_safe
@never_cache
@requires(_RULE)
def progress(request: HttpRequest, *, pk: int) -> HttpResponse:
    """How far an import is, for the page that shows it; asks to be loaded anew at the end."""
    found = _detail(pk)
    response = render(request, "enterprise/history/import_progress.html", _context(found))
    if found.state != HistoryState.RUNNING:
        response["HX-Refresh"] = "true"
    return response


@require_POST
@never_cache
@requires(_RULE)
def run(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the checked file be stored."""
    try:
        started = history_imports.start(
            run_id=pk, now=datetime.now(UTC), actor_id=actor_id(request)
        )
    except HistoryImport.DoesNotExist as error:
        raise Http404 from error
    except WrongState as error:
        messages.warning(request, str(error))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        task = partial(import_history.delay, tenant_id=started.tenant_id, run_id=started.pk)
        transaction.on_commit(task)
    return redirect("history-import", pk=pk)


@require_POST
@never_cache
@requires(_RULE)
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Forget an import that has stored nothing."""
    try:
        history_imports.remove(run_id=pk, actor_id=actor_id(request))
    except HistoryImport.DoesNotExist as error:
        raise Http404 from error
    except WrongState as error:
        messages.warning(request, str(error))
        return redirect("history-import", pk=pk)
    messages.success(request, _("The file was discarded."))
    return redirect("history-import-list")


def _detail(pk: int) -> HistoryImportDetail:
    try:
        return history_queries.import_detail(run_id=pk)
    except HistoryImportNotFound as error:
        raise Http404 from error

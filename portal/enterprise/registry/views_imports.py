"""Imports: upload, meaning of the columns, dry run, run, result."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import content_disposition_header, urlencode
from django.utils.translation import get_language
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import imports_check, imports_operations, imports_queries
from devices.domain.claims_queries import MAX_LABELS, OPEN
from devices.domain.imports_check import WrongState
from devices.domain.imports_columns import COLUMNS
from devices.domain.imports_queries import ImportDetail, ImportNotFound, ResultRow
from devices.domain.imports_reading import Unreadable
from devices.models import ImportKind, ImportRun, ImportState, Outcome
from devices.tasks import run_import
from portal.enterprise.registry.filters import LineFilter
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.forms_imports import UploadForm, columns_form
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.enterprise.registry.tables_bulk import ImportTable, line_table
from portal.frame.exporting import harmless
from portal.frame.listing import render_list
from portal.frame.permissions import requires
from tenants.permissions import Permission

_RULE = Permission.PARK_IMPORT


@require_safe
@never_cache
@requires(_RULE)
def import_list(request: HttpRequest) -> HttpResponseBase:
    """All imports."""
    return render_list(
        request,
        table_class=ImportTable,
        rows=imports_queries.run_rows(),
        template="enterprise/registry/imports.html",
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(_RULE)
def upload(request: HttpRequest) -> HttpResponse:
    """Take in a file."""
    initial = {"kind": request.GET.get("kind", ImportKind.DEVICES.value)}
    files = request.FILES if request.method == "POST" else None
    form = UploadForm(posted(request), files, initial=initial)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        try:
            run = imports_operations.upload(
                tenant_id=own_tenant_id(request),
                kind=ImportKind(form.cleaned_data["kind"]),
                file_name=file.name,
                content=file.read(),
                language=get_language() or "en",
                actor_id=actor_id(request),
            )
        except Unreadable as error:
            form.add_error("file", str(error))
        else:
            return redirect("import", pk=run.pk)
    context = {"form": form, "columns": _described()}
    template = "enterprise/registry/import_new.html"
    return render(request, template, context, status=422 if form.errors else 200)


def _described() -> list[dict[str, Any]]:
    """What the columns of both kinds of file mean, for the reader."""
    return [
        {"kind": kind, "label": ImportKind(kind).label, "columns": columns}
        for kind, columns in COLUMNS.items()
    ]


@require_safe
@requires(_RULE)
def template_file(request: HttpRequest) -> HttpResponse:
    """A file with the column names and one example; `?kind=` says of what."""
    kind = request.GET.get("kind", "")
    if kind not in COLUMNS:
        kind = ImportKind.DEVICES.value
    columns = COLUMNS[kind]
    lines = [[str(one.label) for one in columns], [one.example for one in columns]]
    return _file(f"wattline-{kind}.csv", lines)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(_RULE)
def detail(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """One import at its step. A POST checks the file with the chosen columns."""
    found = _detail(pk)
    if request.method == "POST" and not found.columns:
        messages.warning(request, _("The file was checked and run already, so it is kept no more."))
        return redirect("import", pk=pk)
    form = columns_form(found, posted(request), zone=found.time_zone)
    if request.method == "POST" and form.is_valid():
        try:
            imports_check.check(
                run_id=pk,
                columns=form.chosen_columns(),
                options=form.chosen_options(),
                now=datetime.now(UTC),
            )
        except ValidationError as error:
            add_errors(form, error)
        except WrongState as error:
            messages.warning(request, str(error))
            return redirect("import", pk=pk)
        else:
            return redirect("import", pk=pk)
    choosing = found.state == ImportState.UPLOADED or bool(form.errors) or "columns" in request.GET
    if choosing and found.columns:
        context = {"run": found, "form": form, "step": 2}
        template = "enterprise/registry/import_columns.html"
        return render(request, template, context, status=422 if form.errors else 200)
    return render_list(
        request,
        table_class=line_table(found.kind),
        rows=imports_queries.line_rows(run_id=pk),
        filterset_class=LineFilter,
        template="enterprise/registry/import_rows.html",
        context=_context(found),
    )


def _context(found: ImportDetail) -> dict[str, Any]:
    counts = found.counts
    return {
        "run": found,
        "step": {"checked": 3, "running": 4, "finished": 5}.get(found.state, 3),
        "work": counts.create + counts.change,
        "is_devices": found.kind == ImportKind.DEVICES,
        "labels": _labels(found),
        "refuse_filter": f"?outcome={Outcome.REFUSE.value}",
    }


def _labels(found: ImportDetail) -> str:
    """The sheet with the labels of the import, or the list where there are too many for one."""
    if len(found.codes) > MAX_LABELS:
        return f"{reverse('code-list')}?state={OPEN}"
    query = urlencode([("device", pk) for pk in found.codes])
    return f"{reverse('code-labels')}?{query}"


@require_safe
@never_cache
@requires(_RULE)
def progress(request: HttpRequest, *, pk: int) -> HttpResponse:
    """How far a run is, for the page that shows it; asks to be loaded anew at the end."""
    found = _detail(pk)
    response = render(request, "enterprise/registry/import_progress.html", _context(found))
    if found.state != ImportState.RUNNING:
        response["HX-Refresh"] = "true"
    return response


@require_POST
@never_cache
@requires(_RULE)
def run(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the checked rows be done."""
    try:
        started = imports_operations.start(
            run_id=pk, now=datetime.now(UTC), actor_id=actor_id(request)
        )
    except ImportRun.DoesNotExist as error:
        raise Http404 from error
    except WrongState as error:
        messages.warning(request, str(error))
    else:
        task = partial(run_import.delay, tenant_id=started.tenant_id, run_id=started.pk)
        transaction.on_commit(task)
    return redirect("import", pk=pk)


@require_POST
@never_cache
@requires(_RULE)
def result(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The result as a file; new secrets are in the first one alone, so it is no GET."""
    try:
        secrets = imports_operations.take_secrets(run_id=pk, actor_id=actor_id(request))
        rows = imports_queries.result(run_id=pk, secrets=secrets)
    except (ImportRun.DoesNotExist, ImportNotFound) as error:
        raise Http404 from error
    return _file(f"import-{pk}.csv", _result_lines(rows))


def _result_lines(rows: Sequence[ResultRow]) -> Iterable[list[object]]:
    yield [
        *(_("Line"), _("Row"), _("Outcome"), _("Changes and problems")),
        *(_("Number"), _("Claim code"), _("Secret")),
    ]
    for row in rows:
        outcome = str(Outcome(row.outcome).label)
        yield [
            *(row.line, row.label, outcome, row.text),
            *(row.subject_id or "", row.code, row.secret),
        ]


@require_POST
@never_cache
@requires(_RULE)
def remove(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Forget an import; what it did stays."""
    try:
        imports_operations.remove(run_id=pk, actor_id=actor_id(request))
    except ImportRun.DoesNotExist as error:
        raise Http404 from error
    except WrongState as error:
        messages.warning(request, str(error))
        return redirect("import", pk=pk)
    messages.success(request, _("The import was removed from the list."))
    return redirect("import-list")


def _detail(pk: int) -> ImportDetail:
    try:
        return imports_queries.detail(run_id=pk)
    except ImportNotFound as error:
        raise Http404 from error


def _file(name: str, lines: Iterable[Sequence[object]]) -> HttpResponse:
    """A CSV with a mark by which spreadsheets know UTF-8, and without formulas."""
    text = io.StringIO()
    text.write("\N{BYTE ORDER MARK}")
    csv.writer(text).writerows([harmless(cell) for cell in line] for line in lines)
    response = HttpResponse(text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = str(content_disposition_header(True, name))
    return response

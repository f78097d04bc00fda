"""One function behind every list: page, part of a page, or export of the same rows.

Sort, filters and page are query parameters (`sort`, those of the filter set, `page`, `per_page`),
so that an address is a view of the list. Two queries, and those of the filters' choices.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.core.paginator import EmptyPage, PageNotAnInteger
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django_tables2 import RequestConfig

from portal.frame import htmx
from portal.frame.filters import PortalFilterSet
from portal.frame.permissions import access_of
from portal.frame.tables import PAGE_SIZES, PortalTable
from tenants.domain.audit import record_event
from tenants.models import User

LIST_ID: Final = "list"
MAX_EXPORT: Final = 100_000
# A cell that begins so is a formula to a spreadsheet (OWASP: CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Size:
    """A choice of how many rows a page has."""

    rows: int
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class List:
    """What the list's template shows beside table and filters.

    `filtered`: the search or a filter is used, `narrowed`: a filter. `more`: there are filters
    beside the search.
    """

    total: int
    first: int
    last: int
    filtered: bool
    narrowed: bool
    more: bool
    sort: str
    sizes: tuple[Size, ...]
    export: str


def render_list(
    request: HttpRequest,
    *,
    table_class: type[PortalTable],
    rows: QuerySet[Any] | Sequence[Any],
    filterset_class: type[PortalFilterSet] | None = None,
    template: str,
    context: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """The list as the request wants it.

    `template` extends `portal.html` and includes `components/list.html` where the list belongs;
    it gets `table`, `filter`, `list` and `context`. With `?export=csv` the answer is a file of all
    rows that the filters leave, with the columns of the table; above `MAX_EXPORT` rows the reader
    is asked to narrow them.
    """
    filterset = filterset_class(request.GET, queryset=rows) if filterset_class else None
    table = table_class(filterset.qs if filterset else rows)
    RequestConfig(request, paginate=False).configure(table)
    table.settle_order()
    if request.GET.get("export") == "csv":
        return _export(request, table)
    per_page = _per_page(request)
    _paginate(table, request.GET.get("page", ""), per_page)
    everything = {
        **(context or {}),
        "table": table,
        "filter": filterset,
        "list": _describe(request, table, filterset, per_page),
    }
    partial = htmx.target(request) == LIST_ID
    return render(request, "components/list_body.html" if partial else template, everything)


def _per_page(request: HttpRequest) -> int:
    wanted = request.GET.get("per_page", "")
    return int(wanted) if wanted in map(str, PAGE_SIZES) else PAGE_SIZES[0]


def _paginate(table: PortalTable, page: str, per_page: int) -> None:
    """Take one page; the last where there are fewer, the first for what is no number."""
    try:
        table.paginate(page=page or 1, per_page=per_page)
    except PageNotAnInteger:
        table.paginate(page=1, per_page=per_page)
    except EmptyPage:
        table.paginate(page=table.paginator.num_pages, per_page=per_page)


def _describe(
    request: HttpRequest, table: PortalTable, filterset: PortalFilterSet | None, per_page: int
) -> List:
    names = set(filterset.filters) if filterset else set()
    used = {name for name, value in request.GET.items() if value} & names
    return List(
        total=table.paginator.count,
        first=table.page.start_index(),
        last=table.page.end_index(),
        filtered=bool(used),
        narrowed=bool(used - {"q"}),
        more=bool(names - {"q"}),
        sort=request.GET.get("sort", ""),
        sizes=tuple(
            Size(size, _query(request, per_page=str(size)), size == per_page) for size in PAGE_SIZES
        ),
        export=_query(request, export="csv"),
    )


def _query(request: HttpRequest, **changed: str) -> str:
    """The query of this address without the page, with what has `changed`."""
    query = request.GET.copy()
    for name in ("page", "export"):
        query.pop(name, None)
    for name, value in changed.items():
        query[name] = value
    return f"?{query.urlencode()}"


def _export(request: HttpRequest, table: PortalTable) -> HttpResponse:
    total = (
        len(table.rows) if not isinstance(table.data.data, QuerySet) else table.data.data.count()
    )
    if total > MAX_EXPORT:
        text = _("These are %(total)s rows; a file holds %(most)s. Narrow the list by its filters.")
        messages.error(request, text % {"total": total, "most": MAX_EXPORT})
        query = request.GET.copy()
        del query["export"]
        return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
    match = request.resolver_match
    name = slugify(match.url_name if match and match.url_name else "list")
    _tell(request, name, total)
    day = timezone.localdate().isoformat()
    response = HttpResponse(csv_text(table), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = str(content_disposition_header(True, f"{name}-{day}.csv"))
    return response


def _tell(request: HttpRequest, name: str, total: int) -> None:
    """The audit trail knows what was taken away, and by whom."""
    access = access_of(request)
    if access is not None and isinstance(request.user, User):
        record_event(
            user_id=request.user.pk,
            action="export.list",
            tenant_ids=(access.tenant.tenant_id,),
            details={"list": name, "rows": total, "filter": request.GET.urlencode()},
        )


def csv_text(table: PortalTable) -> str:
    """The rows of a table as CSV (RFC 4180) with a mark by which spreadsheets know UTF-8."""
    text = io.StringIO()
    text.write("\N{BYTE ORDER MARK}")
    csv.writer(text).writerows(_lines(table))
    return text.getvalue()


def _lines(table: PortalTable) -> Iterator[list[Any]]:
    for line in table.as_values():
        yield [harmless(cell) for cell in line]


def harmless(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula, behind an apostrophe; else `cell`."""
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return f"'{cell}"
    return cell

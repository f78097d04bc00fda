"""One function behind every list: page, part of a page, or export of the same rows.

Sort, filters and page are query parameters (`sort`, those of the filter set, `page`, `per_page`),
so that an address is a view of the list. Two queries, and those of the filters' choices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.paginator import EmptyPage, PageNotAnInteger
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django_tables2 import RequestConfig

from portal.frame import htmx
from portal.frame.exporting import export
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import PAGE_SIZES, PortalTable

LIST_ID: Final = "list"


@dataclass(frozen=True, slots=True)
class Size:
    """A choice of how many rows a page has."""

    rows: int
    query: str
    current: bool


@dataclass(frozen=True, slots=True)
class List:
    """What the list's template shows beside table and filters. `query` is that of the address.

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
    query: str


def render_list(
    request: HttpRequest,
    *,
    table_class: type[PortalTable],
    rows: QuerySet[Any] | Sequence[Any],
    filterset_class: type[PortalFilterSet] | None = None,
    template: str,
    context: Mapping[str, Any] | None = None,
) -> HttpResponseBase:
    """The list as the request wants it.

    `template` extends `portal.html` and includes `components/list.html` where the list belongs;
    it gets `table`, `filter`, `list` and `context`; with `for_all` in it (url, icon, label) the
    list has a link that does something with all rows that the filters leave. With `?export=csv` the
    answer is a file of all of these, see `exporting`.
    """
    filterset = filterset_class(request.GET, queryset=rows) if filterset_class else None
    table = table_class(filterset.qs if filterset else rows)
    RequestConfig(request, paginate=False).configure(table)
    table.settle_order()
    if request.GET.get("export") == "csv":
        return export(request, table)
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
        query=_query(request),
    )


def _query(request: HttpRequest, **changed: str) -> str:
    """The query of this address without the page, with what has `changed`."""
    query = request.GET.copy()
    for name in ("page", "export"):
        query.pop(name, None)
    for name, value in changed.items():
        query[name] = value
    return f"?{query.urlencode()}"

"""A list as a file: all rows that its filters leave, as CSV.

The order is settled with the keys alone, at once; rows follow in portions while the file is sent,
so that a long one takes little memory and holds nobody up. A row that is gone meanwhile is left
out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.utils import timezone, translation
from django.utils.encoding import force_str
from django.utils.http import content_disposition_header
from django.utils.text import slugify
from django.utils.translation import gettext as _

from portal.frame.permissions import access_of
from portal.frame.rows import PortalRow
from portal.frame.streaming import Chunks, stream
from portal.frame.tables import PortalTable
from tenants.domain.audit import record_event
from tenants.models import User
from tenants.scope import open_scope, require_scope

MAX_ROWS: Final = 100_000
# Rows that are read and written at once.
PORTION: Final = 500
CONTENT_TYPE: Final = "text/csv; charset=utf-8"
# A mark by which spreadsheets know UTF-8.
MARK: Final = "\N{BYTE ORDER MARK}"
# A cell that begins so is a formula to a spreadsheet (OWASP: CSV injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def export(request: HttpRequest, table: PortalTable) -> HttpResponseBase:
    """The file with the columns of the table; above `MAX_ROWS` rows the reader is asked to narrow
    them.
    """
    rows = table.data.data
    keys = list(rows.values_list("pk", flat=True)) if isinstance(rows, QuerySet) else None
    total = len(rows) if keys is None else len(keys)
    if total > MAX_ROWS:
        text = _("These are %(total)s rows; a file holds %(most)s. Narrow the list by its filters.")
        messages.error(request, text % {"total": total, "most": MAX_ROWS})
        query = request.GET.copy()
        del query["export"]
        return HttpResponseRedirect(f"{request.path}?{query.urlencode()}")
    match = request.resolver_match
    name = slugify(match.url_name if match and match.url_name else "list")
    _tell(request, name, total)
    file_name = f"{name}-{timezone.localdate().isoformat()}.csv"
    if keys is not None:
        return stream(request, _chunks(table, keys), content_type=CONTENT_TYPE, file_name=file_name)
    response = HttpResponse(MARK + _head(table) + _body(table, rows), content_type=CONTENT_TYPE)
    response["Content-Disposition"] = str(content_disposition_header(True, file_name))
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


def _chunks(table: PortalTable, keys: Sequence[Any]) -> Chunks[int]:
    """The rows of the keys in their order, in the scope and the language of the request."""
    rows, scope, language = table.data.data, require_scope(), translation.get_language()

    def read(begin: int | None) -> tuple[str | bytes, int | None]:
        begin = begin or 0
        end = begin + PORTION
        with translation.override(language), open_scope(scope):
            found = {row.pk: row for row in rows.filter(pk__in=keys[begin:end]).order_by()}
            text = _body(table, (found[key] for key in keys[begin:end] if key in found))
            if begin == 0:
                text = MARK + _head(table) + text
        return text, end if end < len(keys) else None

    return Chunks(read)


def _columns(table: PortalTable) -> list[Any]:
    """Those of the file: hidden ones too."""
    return [one for one in table.columns.iterall() if not one.column.exclude_from_export]


def _head(table: PortalTable) -> str:
    return csv_text([[str(column.header) for column in _columns(table)]])


def _body(table: PortalTable, records: Iterable[Any]) -> str:
    names = [column.name for column in _columns(table)]
    rows = (PortalRow(record, table=table) for record in records)
    return csv_text(
        [force_str(row.get_cell_value(name), strings_only=True) for name in names] for row in rows
    )


def csv_text(lines: Iterable[list[Any]]) -> str:
    """Lines of CSV (RFC 4180); none of its cells is a formula to a spreadsheet."""
    text = io.StringIO()
    csv.writer(text).writerows(_harmless(lines))
    return text.getvalue()


def _harmless(lines: Iterable[list[Any]]) -> Iterator[list[Any]]:
    for line in lines:
        yield [harmless(cell) for cell in line]


def harmless(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula, behind an apostrophe; else `cell`."""
    if isinstance(cell, str) and cell.startswith(_FORMULA):
        return f"'{cell}"
    return cell

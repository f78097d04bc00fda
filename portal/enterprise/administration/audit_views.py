"""The audit log: search, history of one row, export."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.enterprise.administration import audit_export, audit_pages
from portal.enterprise.administration.audit_forms import AuditFilterForm
from portal.frame import htmx
from portal.frame.permissions import access_of, requires
from portal.frame.streaming import stream
from tenants.domain import audit, audit_queries
from tenants.domain.audit_queries import Cursor
from tenants.models import User
from tenants.permissions import Permission
from tenants.scope import require_scope

LIST_ID: Final = "trail"
OLDER_ID: Final = "trail-older"
_PLACE: Final = "before"


@require_safe
@never_cache
@requires(Permission.AUDIT_VIEW)
def trail(request: HttpRequest) -> HttpResponse:
    """What was done in the tenant and all below it, from new to old."""
    zone = zone_of(request)
    form = AuditFilterForm(request.GET, zone=zone)
    context: dict[str, Any] = {"form": form, "query": _query(request), "zone": zone.key}
    if form.is_valid():
        found = audit_queries.named_page(
            wanted=form.wanted(), behind=audit_pages.cursor_of(request.GET.get(_PLACE, ""))
        )
        entries = [audit_pages.entry(one, names=found.names, zone=zone) for one in found.entries]
        looked_back_to = found.looked_back_to
        context |= {
            "days": audit_pages.by_day(entries),
            "older": _query(request, found.older) if found.older else "",
            "looked_back_to": audit_pages.moment(looked_back_to, zone) if looked_back_to else "",
            "filtered": any(form.cleaned_data.values()),
            "history": entries[0] if form.cleaned_data["subject"] and entries else None,
            "several_tenants": len(require_scope().tenant_ids) > 1,
        }
    partial = htmx.target(request) in (LIST_ID, OLDER_ID)
    template = "trail_entries" if partial else "trail"
    return render(request, f"enterprise/administration/{template}.html", context)


@require_safe
@never_cache
@requires(Permission.AUDIT_VIEW)
def export(request: HttpRequest, *, kind: str) -> HttpResponse | StreamingHttpResponse:
    """The entries that the search leaves, as a file; that it was taken is an entry itself."""
    form = AuditFilterForm(request.GET, zone=zone_of(request))
    if not form.is_valid():
        context = {"form": form, "query": _query(request)}
        return render(request, "enterprise/administration/trail.html", context, status=400)
    scope = require_scope()
    access = access_of(request)
    assert access is not None  # the guard has seen a permission
    audit.record_event(
        user_id=request.user.pk,
        action="export.audit",
        tenant_ids=(access.tenant.tenant_id,),
        details={"kind": kind, "filter": request.GET.urlencode()},
    )
    day = datetime.now(zone_of(request)).date().isoformat()
    return stream(
        request,
        audit_export.chunks(kind=kind, scope=scope, wanted=form.wanted()),
        content_type=audit_export.CONTENT_TYPES[kind],
        file_name=f"audit-{day}.{kind}",
    )


def zone_of(request: HttpRequest) -> ZoneInfo:
    """The time zone of the signed-in user."""
    return ZoneInfo(request.user.time_zone) if isinstance(request.user, User) else ZoneInfo("UTC")


def _query(request: HttpRequest, place: Cursor | None = None) -> str:
    """The query of this address from the newest entry on, or from behind a place."""
    query = request.GET.copy()
    query.pop(_PLACE, None)
    for name in [name for name, value in query.items() if not value]:
        del query[name]
    if place is not None:
        query[_PLACE] = audit_pages.cursor_text(place)
    return f"?{query.urlencode()}"

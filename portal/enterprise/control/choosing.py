"""Which devices a page for many of them means."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import Http404, HttpRequest

from devices.domain import groups_queries, registry_queries
from devices.domain.groups_queries import GroupNotFound
from devices.domain.selection import MAX_NAMED
from portal.enterprise.registry.filters import DeviceFilter
from portal.enterprise.registry.requests import chosen_ids


def meant(request: HttpRequest) -> list[int]:
    """The devices: those that were chosen, those of a group, or what the list's filter leaves; one
    more than may be named at most.
    """
    chosen = chosen_ids(request, "device")
    if chosen:
        return sorted(set(chosen))
    group = request.GET.get("group", "")
    if group.isascii() and group.isdigit():
        try:
            rows = groups_queries.held_rows(group_id=int(group))
        except GroupNotFound as error:
            raise Http404 from error
    elif request.GET:
        rows = DeviceFilter(request.GET, queryset=registry_queries.device_rows()).qs
    else:
        return []
    return sorted(rows.order_by("pk").values_list("pk", flat=True)[: MAX_NAMED + 1])


def named(request: HttpRequest, ids: Sequence[int]) -> Sequence[int]:
    """The devices that a form has to carry: those that the address does not say."""
    return ids if chosen_ids(request, "device") else ()

"""Lists page by page, ordered by id: a row is met once, however many come and go meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from django.db.models import Model, QuerySet

from devices.domain.catalogue import Page

Row = TypeVar("Row", bound=Model)


def page_of(
    rows: QuerySet[Row], *, limit: int, after: int, wanted: Mapping[str, Any] | None = None
) -> Page[Row]:
    """The rows after an id that have the `wanted` values (None: any); one query."""
    filters = {name: value for name, value in (wanted or {}).items() if value is not None}
    found = list(rows.filter(pk__gt=after, **filters).order_by("pk")[: limit + 1])
    next_after = found[limit - 1].pk if len(found) > limit else None
    return Page(tuple(found[:limit]), next_after)

"""Tables of lists: `PortalTable` on django-tables2, with columns for what the portal shows.

A table takes an ordered `QuerySet` and sorts and pages it in SQL. `render_<column>` makes what the
page shows, `value_<column>` what the export writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import django_tables2 as tables
from django.db.models import F, QuerySet
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from portal.frame import quantities
from portal.frame.rows import PortalRows

PAGE_SIZES: Final = (25, 50, 100)
NOTHING: Final = "–"
TEMPLATE: Final = "components/table.html"


class PortalTable(tables.Table):
    """Base of all tables. `Meta.order_by` is the first order; `empty_*` fill the empty state.

    django-tables2 does not inherit `Meta`, so what holds for every table is set here.
    """

    empty_icon = "inbox"
    empty_title: str | Promise = _("Nothing here yet")
    empty_body: str | Promise = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("default", NOTHING)
        kwargs.setdefault("template_name", TEMPLATE)
        super().__init__(*args, **kwargs)
        self.rows = PortalRows(data=self.data, table=self)

    def settle_order(self) -> None:
        """Make the order total, empty values last: a row is on one page and no other."""
        rows = self.data.data
        if not isinstance(rows, QuerySet):
            return
        terms = [_last(term) for term in rows.query.order_by or rows.model._meta.ordering]  # noqa: SLF001
        self.data.data = rows.order_by(*terms, "pk")


def _last(term: Any) -> Any:
    if not isinstance(term, str):
        return term
    if term.startswith("-"):
        return F(term[1:]).desc(nulls_last=True)
    return F(term).asc(nulls_last=True)


def _with_class(attrs: Mapping[str, Any] | None, names: str) -> dict[str, Any]:
    """`attrs` with further classes for head and cells."""
    merged: dict[str, Any] = dict(attrs or {})
    for part in ("th", "td"):
        own = dict(merged.get(part, {}))
        own["class"] = f"{own.get('class', '')} {names}".strip()
        merged[part] = own
    return merged


class NumberColumn(tables.Column):
    """A number in the reader's format, on the right; the export has it plain."""

    def __init__(self, *args: Any, decimals: int = 0, **kwargs: Any) -> None:
        kwargs["attrs"] = _with_class(kwargs.get("attrs"), "wl-right wl-number")
        super().__init__(*args, **kwargs)
        self._decimals = decimals

    def render(self, value: Any) -> str:
        """The number for people."""
        return quantities.number(value, self._decimals)

    def value(self, **kwargs: Any) -> Any:
        """The number for programs."""
        return kwargs["value"]


class QuantityColumn(NumberColumn):
    """A value of `unit` with the prefix that keeps it short; the export has it in `unit`."""

    def __init__(self, *args: Any, unit: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._unit = unit

    def render(self, value: Any) -> str:
        """The quantity for people."""
        return quantities.quantity(value, self._unit, self._decimals)


class TimeColumn(tables.Column):
    """An instant in a zone: `zone` names the row's attribute that has it (`facility__time_zone`);
    the export has it in UTC (ISO 8601).
    """

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._zone = tables.A(zone)

    def render(self, value: datetime, record: Any) -> str:
        """Date and time where the facility is."""
        zone = self._zone.resolve(record)
        shown = quantities.local_time(value, zone)
        return format_html(
            '<time datetime="{}" title="{}">{}</time>', value.isoformat(), zone, shown
        )

    def value(self, **kwargs: Any) -> str:
        """For programs."""
        return str(kwargs["value"].isoformat())


class BadgeColumn(tables.Column):
    """A code or a flag as a badge: `labels` in words, `tones` good, warn, bad or none."""

    def __init__(
        self,
        *args: Any,
        labels: Mapping[Any, str | Promise],
        tones: Mapping[Any, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._labels = labels
        self._tones = tones or {}

    def render(self, record: Any, bound_column: Any) -> str:
        """The badge."""
        code = _code(record, bound_column)
        return format_html(
            '<span class="wl-tag" data-tone="{}">{}</span>',
            self._tones.get(code, ""),
            self._labels.get(code, code),
        )

    def value(self, **kwargs: Any) -> str:
        """The code in words."""
        code = _code(kwargs["record"], kwargs["bound_column"])
        return str(self._labels.get(code, code))


def _code(record: Any, bound_column: Any) -> Any:
    """What is stored: of a field with choices the table itself would give the name."""
    return bound_column.accessor.resolve(record)

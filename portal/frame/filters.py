"""Filters of lists, on django-filter: query parameters that narrow a `QuerySet`."""

from __future__ import annotations

from typing import Any, ClassVar

import django_filters
from django import forms
from django.db.models import Q, QuerySet
from django.utils.translation import gettext_lazy as _


class PortalFilterSet(django_filters.FilterSet):
    """Base of all filter sets: a search over `search_fields` (every word must be in one of them),
    before the filters that a list adds."""

    search_fields: ClassVar[tuple[str, ...]] = ()

    q = django_filters.CharFilter(
        label=_("Search"),
        method="search",
        max_length=100,
        widget=forms.TextInput(
            attrs={"type": "search", "placeholder": _("Search"), "autocomplete": "off"}
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.search_fields:
            del self.filters["q"]

    def search(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """The rows in which every word is found."""
        del name
        for word in value.split():
            found = Q()
            for field in self.search_fields:
                found |= Q(**{f"{field}__icontains": word})
            rows = rows.filter(found)
        return rows

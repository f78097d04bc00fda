"""The list of price series."""

from __future__ import annotations

import django_tables2 as columns
from django.utils.translation import gettext_lazy

from billing.models import PriceSeries
from portal.enterprise.billing.tables import link
from portal.enterprise.registry.tables import ROOMY
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import PortalTable


class SeriesTable(PortalTable):
    """Series of prices, and what time they have prices for."""

    empty_icon = "chart-line"
    empty_title = gettext_lazy("No price series")
    empty_body = gettext_lazy("Tariffs with changing prices call a series by its name.")

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    currency = columns.Column(verbose_name=gettext_lazy("Currency"))
    step_s = columns.Column(verbose_name=gettext_lazy("Step"), attrs=ROOMY)
    first_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("From"), format="SHORT_DATETIME_FORMAT", short=True, attrs=ROOMY
    )
    last_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Last price"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("name",)

    def render_name(self, value: str, record: PriceSeries) -> str:
        """The way to the series."""
        return link("price-series", record.pk, value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_step_s(self, value: int) -> str:
        """In minutes."""
        return f"{value // 60}\N{NO-BREAK SPACE}min"


class SeriesFilter(PortalFilterSet):
    """By name."""

    search_fields = ("name",)

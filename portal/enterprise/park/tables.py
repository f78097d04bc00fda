"""The list of facilities on the overview."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import django_filters
import django_tables2 as columns
from django.db.models import QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.overview import Rank, recent_power
from devices.models import FacilityKind
from portal.charts import spark
from portal.enterprise.park.figures import compared, completeness
from portal.frame.filters import PortalFilterSet
from portal.frame.quantities import NOTHING, energy, power
from portal.frame.tables import PortalTable

_RIGHT: Final = {"th": {"class": "wl-right"}, "td": {"class": "wl-right wl-number"}}
_STATES: Final = {
    Rank.OFFLINE: ("offline", gettext_lazy("Offline")),
    Rank.PARTLY: ("partly", gettext_lazy("Partly online")),
    Rank.INCOMPLETE: ("partly", gettext_lazy("Readings missing")),
    Rank.WELL: ("online", gettext_lazy("Online")),
}


class FacilityTable(PortalTable):
    """A facility in each row, with what it does now and has done today."""

    name = columns.Column(
        verbose_name=gettext_lazy("Facility"), linkify=("facility", {"pk": columns.A("pk")})
    )
    rank = columns.Column(verbose_name=gettext_lazy("State"))
    power_w = columns.Column(verbose_name=gettext_lazy("Power now"), attrs=_RIGHT)
    recent = columns.Column(
        verbose_name=gettext_lazy("Last 24 hours"), orderable=False, exclude_from_export=True
    )
    energy_wh = columns.Column(verbose_name=gettext_lazy("Today"), attrs=_RIGHT)
    coverage = columns.Column(verbose_name=gettext_lazy("Complete"), attrs=_RIGHT)
    kind = columns.Column(verbose_name=gettext_lazy("Kind"))

    class Meta:
        order_by = ("-rank", "name")

    empty_icon = "building"
    empty_title = gettext_lazy("No facilities")
    empty_body = gettext_lazy(
        "Your access does not include any facility yet. An administrator of your organisation can "
        "grant it."
    )

    def render_name(self, value: str, record: Any) -> SafeString:
        """The name; the place stands below."""
        place = ", ".join(part for part in (record.city, record.country) if part)
        return (
            format_html("{}<small>{}</small>", value, place) if place else format_html("{}", value)
        )

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_rank(self, record: Any) -> SafeString:
        """How its devices are connected."""
        if not record.devices_active:
            return format_html(
                '<span class="wl-state" data-state="none">{}</span>', _("No devices")
            )
        state, text = _STATES[record.rank]
        counts = _("%(online)s of %(devices)s devices") % {
            "online": record.online, "devices": record.devices_active,
        }  # fmt: skip
        return format_html(
            '<span class="wl-cell"><span class="wl-state" data-state="{}">{}</span>'
            "<small>{}</small></span>",
            state,
            text,
            counts,
        )

    def value_rank(self, record: Any) -> str:
        """The state in words."""
        return str(_STATES[record.rank][1]) if record.devices_active else _("No devices")

    def render_power_w(self, record: Any) -> SafeString:
        """Power of the loads; below, what is generated or given to the grid."""
        notes = []
        if record.generation_w and record.grid_w is not None:
            notes.append(_("%(power)s generated") % {"power": power(record.generation_w)})
        if record.grid_w is not None and record.grid_w < 0:
            notes.append(_("%(power)s to the grid") % {"power": power(-record.grid_w)})
        return _with_note(power(record.power_w), ", ".join(notes))

    def value_power_w(self, value: float | None) -> float | None:
        """Watts."""
        return value

    def render_recent(self, value: list[list[float | None]]) -> SafeString:
        """The power of the last day as a small line."""
        line = recent_power(value, now=datetime.now(UTC))
        most = max((watts for watts in line if watts is not None), default=None)
        if most is None:
            return mark_safe(NOTHING)  # noqa: S308 - a constant
        return format_html(
            '<svg class="wl-spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"'
            ' aria-label="{}"><path d="{}"/></svg>',
            spark.WIDTH,
            spark.HEIGHT,
            _("Power of the last 24 hours, up to %(most)s") % {"most": power(most)},
            spark.path(line),
        )

    def render_energy_wh(self, record: Any) -> SafeString:
        """Energy since midnight; below, against yesterday at the same time."""
        return _with_note(
            energy(record.energy_wh), compared(record.energy_wh, record.energy_same_wh)
        )

    def value_energy_wh(self, value: float | None) -> float | None:
        """Watt-hours."""
        return value

    def render_coverage(self, value: float) -> str:
        """The part of today that was measured."""
        return completeness(value)

    def value_coverage(self, value: float | None) -> float | None:
        """The part, 0 to 1."""
        return value

    def render_kind(self, value: str) -> SafeString:
        """What the facility is."""
        return format_html('<span class="wl-tag">{}</span>', value)

    def value_kind(self, value: str) -> str:
        """What the facility is, in words."""
        return value


def _with_note(text: object, note: str) -> SafeString:
    if not note:
        return format_html("{}", text)
    return format_html('<span class="wl-cell">{}<small>{}</small></span>', text, note)


class FacilityFilter(PortalFilterSet):
    """Search by name and place; kind, and whether something is wrong."""

    search_fields: ClassVar[tuple[str, ...]] = ("name", "city", "street")

    kind = django_filters.ChoiceFilter(
        label=gettext_lazy("Kind"),
        choices=FacilityKind.choices,
        empty_label=gettext_lazy("All kinds"),
    )
    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        method="by_state",
        choices=[("trouble", gettext_lazy("Needs attention")), ("well", gettext_lazy("All well"))],
        empty_label=gettext_lazy("All states"),
    )

    def by_state(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Those that are in trouble, or those that are not."""
        del name
        if value == "trouble":
            return rows.filter(rank__gt=Rank.WELL)
        return rows.filter(rank=Rank.WELL)

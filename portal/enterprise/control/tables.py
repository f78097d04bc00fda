"""The lists of groups and of the devices in one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain import groups_queries
from devices.models import DeviceGroup
from portal.enterprise.registry.tables import CHOICE, ROOMY, DeviceTable
from portal.frame.filters import PortalFilterSet
from portal.frame.quantities import number
from portal.frame.tables import NumberColumn, PortalTable


class GroupTable(PortalTable):
    """Groups of devices; the counts of a page are found at once."""

    empty_icon = "stack-2"
    empty_title = gettext_lazy("No groups")
    empty_body = gettext_lazy(
        "A group puts devices under one name: those that you choose, or all that satisfy a rule."
    )

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    rule = columns.Column(verbose_name=gettext_lazy("Kind"), empty_values=(), orderable=False)
    devices = NumberColumn(verbose_name=gettext_lazy("Devices"), empty_values=(), orderable=False)
    description = columns.Column(verbose_name=gettext_lazy("Description"), attrs=ROOMY)

    class Meta:
        order_by = ("name",)

    @cached_property
    def counts(self) -> Mapping[int, int]:
        """The devices of the groups that are shown."""
        return groups_queries.counts([row.record for row in self.paginated_rows])

    def render_name(self, value: str, record: DeviceGroup) -> str:
        """The way to the group's page."""
        return format_html('<a href="{}">{}</a>', reverse("group", args=[record.pk]), value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_rule(self, record: DeviceGroup) -> str:
        """Whether it has members or a rule."""
        return format_html('<span class="wl-tag">{}</span>', kind(record))

    def value_rule(self, record: DeviceGroup) -> str:
        """The same in words."""
        return kind(record)

    def render_devices(self, record: DeviceGroup) -> str:
        """How many it holds now."""
        return number(self.counts[record.pk])

    def value_devices(self, record: DeviceGroup) -> int:
        """The number."""
        return self.counts[record.pk]


def kind(group: Any) -> str:
    """Whether a group has members or a rule, in words."""
    return _("Members") if group.rule is None else _("By rule")


class GroupFilter(PortalFilterSet):
    """By words."""

    search_fields = ("name", "description")


class MemberTable(DeviceTable):
    """The members of a group, with a box to choose each."""

    empty_icon = "stack-2"
    empty_title = gettext_lazy("No devices in this group")
    empty_body = gettext_lazy(
        "Choose devices in the list of devices, and put them into this group there."
    )

    chosen = columns.Column(
        accessor="pk",
        orderable=False,
        verbose_name=gettext_lazy("Choose"),
        attrs=CHOICE,
        exclude_from_export=True,
    )

    class Meta(DeviceTable.Meta):
        sequence = ("chosen", "...")

    def render_chosen(self, value: int, record: Any) -> str:
        """A box of the form `chosen` (see the page's template)."""
        return format_html(
            '<input type="checkbox" name="device" value="{}" form="chosen" aria-label="{}">',
            value,
            _("Choose %(name)s") % {"name": record.name},
        )


class RuledTable(DeviceTable):
    """The devices that a rule finds."""

    empty_icon = "stack-2"
    empty_title = gettext_lazy("No device satisfies the rule now")
    empty_body = gettext_lazy("Devices that come to satisfy it belong to the group from then on.")

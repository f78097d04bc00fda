"""The registry's lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.models import Device, DeviceType, Facility
from portal.enterprise.registry import texts
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

ROOMY = {"th": {"class": "wl-roomy"}, "td": {"class": "wl-roomy"}}
# Columns whose head is only heard.
TOOLS = {"td": {"class": "wl-right wl-tools"}, "th": {"class": "wl-head-heard"}}
CHOICE = {"th": {"class": "wl-head-heard"}}


class FacilityTable(PortalTable):
    """Facilities with how many of their active devices are connected."""

    empty_icon = "building-community"
    empty_title = gettext_lazy("No facilities")
    empty_body = gettext_lazy("Facilities are the places that devices measure in.")

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    parent = columns.Column(
        accessor="parent__name", verbose_name=gettext_lazy("Part of"), attrs=ROOMY
    )
    kind = BadgeColumn(verbose_name=gettext_lazy("Kind"), labels=texts.FACILITY_KINDS)
    city = columns.Column(verbose_name=gettext_lazy("Place"), empty_values=())
    time_zone = columns.Column(verbose_name=gettext_lazy("Time zone"), attrs=ROOMY)
    device_count = NumberColumn(verbose_name=gettext_lazy("Devices"))
    online_count = NumberColumn(verbose_name=gettext_lazy("Online"))

    class Meta:
        order_by = ("name",)

    def render_name(self, value: str, record: Facility) -> str:
        """The way to the facility's page."""
        return format_html('<a href="{}">{}</a>', reverse("facility", args=[record.pk]), value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_city(self, record: Facility) -> str:
        """Town and street."""
        town = " ".join(part for part in (record.postal_code, record.city) if part)
        return format_html("{}<small>{}</small>", town or "–", record.street)

    def value_city(self, record: Facility) -> str:
        """The address in one line."""
        town = " ".join(part for part in (record.postal_code, record.city) if part)
        return ", ".join(part for part in (record.street, town, record.country) if part)

    def render_online_count(self, value: int, record: Any) -> str:
        """A state as well as a number."""
        if not record.device_count:
            return "–"
        state = {0: "offline", record.device_count: "online"}.get(value, "partly")
        return format_html(
            '<span class="wl-state" data-state="{}">{}</span>',
            state,
            _("%(online)d of %(all)d") % {"online": value, "all": record.device_count},
        )

    def value_online_count(self, value: int) -> int:
        """The number alone."""
        return value


class EditableFacilityTable(FacilityTable):
    """With the way to the form."""

    tools = columns.Column(
        empty_values=(),
        orderable=False,
        verbose_name=gettext_lazy("Change"),
        attrs=TOOLS,
        exclude_from_export=True,
    )

    def render_tools(self, record: Facility) -> str:
        """The way to the form."""
        return _edit(reverse("facility-edit", args=[record.pk]), record.name)


class DeviceTable(PortalTable):
    """Devices and how they are linked."""

    empty_icon = "cpu"
    empty_title = gettext_lazy("No devices")
    empty_body = gettext_lazy(
        "Register a device, import a list of them, or claim one that was delivered."
    )

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    # Shown below the name, a column of its own in the export.
    serial = columns.Column(verbose_name=gettext_lazy("Serial"), visible=False)
    facility = columns.Column(accessor="facility__name", verbose_name=gettext_lazy("Facility"))
    device_type = columns.Column(
        accessor="device_type__name", verbose_name=gettext_lazy("Type"), attrs=ROOMY
    )
    placement = columns.Column(verbose_name=gettext_lazy("Placement"), visible=False)
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=texts.STATES, tones=texts.STATE_TONES
    )
    connected = columns.Column(verbose_name=gettext_lazy("Link"), empty_values=())
    last_seen_at = columns.Column(verbose_name=gettext_lazy("Last seen"))
    firmware_version = columns.Column(verbose_name=gettext_lazy("Firmware"), attrs=ROOMY)

    class Meta:
        order_by = ("name",)

    def render_name(self, value: str, record: Device) -> str:
        """The way to the device's page, and its serial."""
        return format_html(
            '<a href="{}">{}</a><small class="wl-mono">{}</small>',
            reverse("device", args=[record.pk]),
            value,
            record.serial,
        )

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_facility(self, value: str, record: Device) -> str:
        """The way to the facility's page."""
        url = reverse("facility", args=[record.facility_id])
        return format_html('<a href="{}">{}</a>', url, value)

    def value_facility(self, value: str) -> str:
        """The name alone."""
        return value

    def render_device_type(self, value: str, record: Device) -> str:
        """What it is and where it measures."""
        return format_html("{}<small>{}</small>", value, texts.PLACEMENTS[record.placement])

    def value_device_type(self, value: str) -> str:
        """The type alone."""
        return value

    def render_connected(self, record: Any) -> str:
        """Only an active device has a link that could be missing."""
        link = _link(record)
        if link is None:
            return "–"
        state = {texts.ONLINE: "online", texts.OFFLINE: "offline"}.get(link, "idle")
        return format_html(
            '<span class="wl-state" data-state="{}">{}</span>', state, texts.LINKS[link]
        )

    def value_connected(self, record: Any) -> str:
        """In words."""
        link = _link(record)
        return "" if link is None else str(texts.LINKS[link])

    def render_last_seen_at(self, value: datetime, record: Any) -> str:
        """How long ago."""
        return texts.ago(value, record.facility.time_zone, now=datetime.now(UTC))

    def value_last_seen_at(self, value: datetime | None) -> str:
        """For programs."""
        return "" if value is None else value.isoformat()


class EditableDeviceTable(DeviceTable):
    """With a box to choose each device, and the way to the form."""

    chosen = columns.Column(
        accessor="pk",
        orderable=False,
        verbose_name=gettext_lazy("Choose"),
        attrs=CHOICE,
        exclude_from_export=True,
    )
    tools = columns.Column(
        empty_values=(),
        orderable=False,
        verbose_name=gettext_lazy("Change"),
        attrs=TOOLS,
        exclude_from_export=True,
    )

    class Meta(DeviceTable.Meta):
        sequence = ("chosen", "...")

    def render_chosen(self, value: int, record: Device) -> str:
        """A box of the form `chosen` (see the list's template)."""
        return format_html(
            '<input type="checkbox" name="device" value="{}" form="chosen" aria-label="{}">',
            value,
            _("Choose %(name)s") % {"name": record.name},
        )

    def render_tools(self, record: Device) -> str:
        """The way to the form."""
        return _edit(reverse("device-edit", args=[record.pk]), record.name)


class DeviceTypeTable(PortalTable):
    """Models of devices."""

    empty_icon = "tag"
    empty_title = gettext_lazy("No device types")
    empty_body = gettext_lazy("Device types come with the installation, or with claimed devices.")

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    code = columns.Column(verbose_name=gettext_lazy("Code"))
    manufacturer = columns.Column(verbose_name=gettext_lazy("Manufacturer"))
    version = columns.Column(verbose_name=gettext_lazy("Version"), attrs=ROOMY)
    channel_count = NumberColumn(verbose_name=gettext_lazy("Channels"))
    device_count = NumberColumn(verbose_name=gettext_lazy("Devices"))

    class Meta:
        order_by = ("name",)

    def render_name(self, value: str, record: DeviceType) -> str:
        """The way to its page."""
        return format_html('<a href="{}">{}</a>', reverse("device-type", args=[record.pk]), value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value


def _link(record: Any) -> str | None:
    if record.state != "active":
        return None
    if record.connected:
        return texts.ONLINE
    return texts.OFFLINE if record.last_seen_at else texts.NEVER


def _edit(url: str, name: str) -> str:
    return format_html(
        '<a class="wl-button" data-kind="quiet" data-size="s" href="{}" aria-label="{}">{}</a>',
        url,
        _("Edit %(name)s") % {"name": name},
        _("Edit"),
    )

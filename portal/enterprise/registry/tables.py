"""The registry's lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain import claims_queries, imports_queries
from devices.models import ClaimCode, Device, DeviceType, Facility, ImportRow, ImportRun
from devices.models.import_run import ImportKind, ImportState, Outcome
from portal.enterprise.registry import texts
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

_ROOMY = {"th": {"class": "wl-roomy"}, "td": {"class": "wl-roomy"}}
# Columns whose head is only heard.
_TOOLS = {"td": {"class": "wl-right wl-tools"}, "th": {"class": "wl-head-heard"}}
_CHOICE = {"th": {"class": "wl-head-heard"}}


class FacilityTable(PortalTable):
    """Facilities with how many of their active devices are connected."""

    empty_icon = "building-community"
    empty_title = gettext_lazy("No facilities")
    empty_body = gettext_lazy("Facilities are the places that devices measure in.")

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    parent = columns.Column(
        accessor="parent__name", verbose_name=gettext_lazy("Part of"), attrs=_ROOMY
    )
    kind = BadgeColumn(verbose_name=gettext_lazy("Kind"), labels=texts.FACILITY_KINDS)
    city = columns.Column(verbose_name=gettext_lazy("Place"), empty_values=())
    time_zone = columns.Column(verbose_name=gettext_lazy("Time zone"), attrs=_ROOMY)
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
        attrs=_TOOLS,
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
        accessor="device_type__name", verbose_name=gettext_lazy("Type"), attrs=_ROOMY
    )
    placement = columns.Column(verbose_name=gettext_lazy("Placement"), visible=False)
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=texts.STATES, tones=texts.STATE_TONES
    )
    connected = columns.Column(verbose_name=gettext_lazy("Link"), empty_values=())
    last_seen_at = columns.Column(verbose_name=gettext_lazy("Last seen"))
    firmware_version = columns.Column(verbose_name=gettext_lazy("Firmware"), attrs=_ROOMY)

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
        attrs=_CHOICE,
        exclude_from_export=True,
    )
    tools = columns.Column(
        empty_values=(),
        orderable=False,
        verbose_name=gettext_lazy("Change"),
        attrs=_TOOLS,
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
    version = columns.Column(verbose_name=gettext_lazy("Version"), attrs=_ROOMY)
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


class CodeTable(PortalTable):
    """Claim codes, without the codes themselves."""

    empty_icon = "qrcode"
    empty_title = gettext_lazy("No claim codes")
    empty_body = gettext_lazy(
        "Choose planned devices in the list of devices and issue codes for their labels."
    )

    chosen = columns.Column(
        accessor="device_id",
        orderable=False,
        verbose_name=gettext_lazy("Choose"),
        attrs=_CHOICE,
        exclude_from_export=True,
    )
    serial = columns.Column(verbose_name=gettext_lazy("Serial"))
    facility_name = columns.Column(verbose_name=gettext_lazy("Facility"))
    ending = columns.Column(verbose_name=gettext_lazy("Code ends with"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels={
            claims_queries.OPEN: gettext_lazy("Open"),
            claims_queries.USED: gettext_lazy("Used"),
            claims_queries.WITHDRAWN: gettext_lazy("Withdrawn"),
            claims_queries.EXPIRED: gettext_lazy("Expired"),
        },
        tones={claims_queries.OPEN: "accent", claims_queries.USED: "good"},
    )
    created_at = columns.Column(verbose_name=gettext_lazy("Issued"))
    expires_at = columns.Column(verbose_name=gettext_lazy("Valid until"))
    tools = columns.Column(
        empty_values=(),
        orderable=False,
        verbose_name=gettext_lazy("Change"),
        attrs=_TOOLS,
        exclude_from_export=True,
    )

    class Meta:
        order_by = ("-created_at",)

    def render_chosen(self, value: int, record: Any) -> str:
        """A box of the form `chosen`, while the label can be printed."""
        if not record.printable:
            return ""
        return format_html(
            '<input type="checkbox" name="device" value="{}" form="chosen" aria-label="{}">',
            value,
            _("Choose %(name)s") % {"name": record.serial},
        )

    def render_serial(self, value: str, record: ClaimCode) -> str:
        """The way to the device's page."""
        url = reverse("device", args=[record.device_id])
        return format_html('<a class="wl-mono" href="{}">{}</a>', url, value)

    def value_serial(self, value: str) -> str:
        """The serial alone."""
        return value

    def render_ending(self, value: str) -> str:
        """The last group."""
        return format_html('<span class="wl-mono">…{}</span>', value)

    def render_created_at(self, value: datetime, record: Any) -> str:
        """The day in the facility's zone."""
        return texts.day(value, record.zone)

    def render_expires_at(self, value: datetime, record: Any) -> str:
        """The day in the facility's zone."""
        return texts.day(value, record.zone)

    def value_created_at(self, value: datetime) -> str:
        """For programs."""
        return value.isoformat()

    def value_expires_at(self, value: datetime) -> str:
        """For programs."""
        return value.isoformat()

    def render_tools(self, record: Any) -> str:
        """The way to withdraw it."""
        if record.state != claims_queries.OPEN:
            return ""
        return format_html(
            '<button class="wl-button" data-kind="quiet" data-size="s" form="withdraw" name="code"'
            ' value="{}">{}</button>',
            record.pk,
            _("Withdraw"),
        )


class ImportTable(PortalTable):
    """Bulk imports."""

    empty_icon = "file-import"
    empty_title = gettext_lazy("No imports")
    empty_body = gettext_lazy("A file with many facilities or devices is checked before it is run.")

    file_name = columns.Column(verbose_name=gettext_lazy("File"))
    kind = BadgeColumn(verbose_name=gettext_lazy("Of"), labels=dict(ImportKind.choices))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels=dict(ImportState.choices),
        tones={"running": "accent", "finished": "good", "checked": "warn"},
    )
    row_count = NumberColumn(verbose_name=gettext_lazy("Rows"))
    done_count = NumberColumn(verbose_name=gettext_lazy("Done"))
    refused_count = NumberColumn(verbose_name=gettext_lazy("Refused"))
    by_name = columns.Column(verbose_name=gettext_lazy("By"), attrs=_ROOMY)
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Uploaded"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("-created_at",)

    def render_file_name(self, value: str, record: ImportRun) -> str:
        """The way to its page."""
        return format_html('<a href="{}">{}</a>', reverse("import", args=[record.pk]), value)

    def value_file_name(self, value: str) -> str:
        """The name alone."""
        return value


class LineTable(PortalTable):
    """The rows of one import; `kind` is set by `line_table`."""

    kind = ""
    empty_icon = "list"
    empty_title = gettext_lazy("No rows")

    line = NumberColumn(verbose_name=gettext_lazy("Line"))
    label = columns.Column(verbose_name=gettext_lazy("Row"))
    outcome = BadgeColumn(
        verbose_name=gettext_lazy("What it does"),
        labels=dict(Outcome.choices),
        tones={"create": "good", "change": "accent", "refuse": "bad"},
    )
    text = columns.Column(
        empty_values=(), orderable=False, verbose_name=gettext_lazy("Changes and problems")
    )
    done_at = columns.Column(verbose_name=gettext_lazy("Done"), empty_values=())

    class Meta:
        order_by = ("line",)

    def render_text(self, record: ImportRow) -> str:
        """What is wrong, or what changes."""
        return imports_queries.row_text(self.kind, record)

    def render_done_at(self, value: datetime | None) -> str:
        """Yes or not yet."""
        return _("Yes") if value else "–"


def line_table(kind: str) -> type[LineTable]:
    """The table of rows of an import of facilities or devices."""
    return type("KindLineTable", (LineTable,), {"kind": kind})


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

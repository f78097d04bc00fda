"""Lists of claim codes and imports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from devices.domain import claims_queries, imports_queries
from devices.models import ClaimCode, ImportRow, ImportRun
from devices.models.import_run import ImportKind, ImportState, Outcome
from portal.enterprise.registry import texts
from portal.enterprise.registry.tables import CHOICE, ROOMY, TOOLS
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable


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
        attrs=CHOICE,
        exclude_from_export=True,
    )
    serial = columns.Column(verbose_name=gettext_lazy("Serial"))
    facility_name = columns.Column(verbose_name=gettext_lazy("Facility"))
    ending = columns.Column(verbose_name=gettext_lazy("Code ends with"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels={
            claims_queries.OPEN: pgettext_lazy("state", "Open"),
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
        attrs=TOOLS,
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
    by_name = columns.Column(verbose_name=gettext_lazy("By"), attrs=ROOMY)
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
        verbose_name=gettext_lazy("Outcome"),
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

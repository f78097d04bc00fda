"""Lists of imports and exports of history."""

from __future__ import annotations

import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from devices.models import (
    DataExport,
    ExportFormat,
    ExportResolution,
    ExportState,
    HistoryImport,
    HistoryState,
)
from portal.enterprise.registry.tables import ROOMY
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable


class HistoryImportTable(PortalTable):
    """Imports of meter data."""

    empty_icon = "file-import"
    empty_title = gettext_lazy("No meter data imported")
    empty_body = gettext_lazy("A file of a utility is checked before anything is stored.")

    file_name = columns.Column(verbose_name=gettext_lazy("File"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels=dict(HistoryState.choices),
        tones={"running": "accent", "finished": "good", "checked": "warn"},
    )
    new_count = NumberColumn(verbose_name=gettext_lazy("New readings"))
    changed_count = NumberColumn(verbose_name=gettext_lazy("Changed readings"))
    by_name = columns.Column(verbose_name=gettext_lazy("By"), attrs=ROOMY)
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Uploaded"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("-created_at",)

    def render_file_name(self, value: str, record: HistoryImport) -> str:
        """The way to its page."""
        return format_html(
            '<a href="{}">{}</a>', reverse("history-import", args=[record.pk]), value
        )

    def value_file_name(self, value: str) -> str:
        """The name alone."""
        return value


class ExportTable(PortalTable):
    """Exports of readings."""

    empty_icon = "download"
    empty_title = gettext_lazy("No exports")
    empty_body = gettext_lazy("Choose channels and a period; the file is kept for seven days.")

    starts_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("From"), format="SHORT_DATE_FORMAT", short=True
    )
    ends_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("To"), format="SHORT_DATE_FORMAT", short=True
    )
    facility_name = columns.Column(verbose_name=gettext_lazy("Facility"))
    resolution = BadgeColumn(
        verbose_name=gettext_lazy("Resolution"), labels=dict(ExportResolution.choices)
    )
    format = BadgeColumn(verbose_name=gettext_lazy("Format"), labels=dict(ExportFormat.choices))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels=dict(ExportState.choices),
        tones={"running": "accent", "finished": "good", "failed": "bad"},
    )
    row_count = NumberColumn(verbose_name=gettext_lazy("Rows"))
    by_name = columns.Column(verbose_name=gettext_lazy("By"), attrs=ROOMY)

    class Meta:
        order_by = ("-starts_at",)

    def render_starts_at(self, value: object, record: DataExport) -> str:
        """The way to its page."""
        text = record.starts_at.date().isoformat()
        del value
        return format_html('<a href="{}">{}</a>', reverse("export", args=[record.pk]), text)

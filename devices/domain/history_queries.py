"""What pages read of imports and exports of history. Everything needs an open scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, F, Q, QuerySet, Sum

from devices.domain import history_files
from devices.domain.registry_queries import Choice, facility_choices
from devices.files.reading import columns_of
from devices.models import Channel, DataExport, Facility, HistoryImport, HistoryState

# Channels that one page offers.
MOST_OFFERED: Final = 500


class HistoryImportNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such import in the scope."""


@dataclass(frozen=True, slots=True)
class HistoryImportDetail:
    """An import; `columns` are those of a table whose mapping can still be said, `totals` readings
    that are stored: new, changed, same.
    """

    run_id: int
    tenant_id: int
    state: str
    file_name: str
    sha256: str
    size: int
    columns: tuple[str, ...]
    is_table: bool
    mapping: Mapping[str, Any]
    options: Mapping[str, Any]
    report: Mapping[str, Any]
    facility_id: int | None
    facilities: tuple[Choice, ...]
    parts_done: int
    parts: int
    totals: Mapping[str, int]
    finished_at: datetime | None

    @property
    def open(self) -> bool:
        """Whether it can still be checked."""
        return self.state in (HistoryState.UPLOADED, HistoryState.CHECKED)

    @property
    def has_work(self) -> bool:
        """Whether a checked file has anything that can be stored."""
        return bool(self.report.get("acceptable")) and bool(self.report.get("devices"))


@dataclass(frozen=True, slots=True)
class OfferedChannel:
    """A channel that can be exported."""

    channel_id: int
    device: str
    name: str
    unit: str


@dataclass(frozen=True, slots=True)
class ExportOffer:
    """What can be exported of a facility; `more`: it has more channels than are offered."""

    facility_id: int | None
    time_zone: str
    facilities: tuple[Choice, ...]
    channels: tuple[OfferedChannel, ...]
    more: bool


def import_rows() -> QuerySet[HistoryImport]:
    """The imports, newest first, with `size`, `new_count`, `changed_count` and `by_name`."""
    return (
        HistoryImport.objects.defer("report", "plan", "mapping")
        .annotate(
            size=F("file__size"),
            new_count=Sum("parts__new"),
            changed_count=Sum("parts__changed"),
            by_name=F("created_by__name"),
        )
        .order_by("-created_at", "pk")
    )


def import_detail(*, run_id: int) -> HistoryImportDetail:
    """An import with what its page needs; five queries at most. Raises HistoryImportNotFound."""
    run = (
        HistoryImport.objects.filter(pk=run_id)
        .select_related("file")
        .defer("file__content")
        .first()
    )
    if run is None:
        raise HistoryImportNotFound(f"import {run_id}")
    is_open = run.state in (HistoryState.UPLOADED, HistoryState.CHECKED)
    columns = columns_of(history_files.content_of(run.file_id)) if is_open else ()
    found = run.parts.aggregate(
        parts=Count("pk"),
        done=Count("pk", filter=Q(done_at__isnull=False)),
        new=Sum("new"),
        changed=Sum("changed"),
        same=Sum("same"),
    )
    choices = facility_choices() if is_open else ()
    return HistoryImportDetail(
        run_id=run.pk,
        tenant_id=run.tenant_id,
        state=run.state,
        file_name=run.file_name,
        sha256=bytes(run.file.sha256).hex(),
        size=run.file.size,
        columns=columns,
        is_table=bool(columns),
        mapping=run.mapping or {},
        options=run.options,
        report=run.report,
        facility_id=run.facility_id,
        facilities=tuple(one for one in choices if one.tenant_id == run.tenant_id),
        parts_done=found["done"],
        parts=found["parts"],
        totals={name: found[name] or 0 for name in ("new", "changed", "same")},
        finished_at=run.finished_at,
    )


def export_rows() -> QuerySet[DataExport]:
    """The exports, newest first, with `by_name` and `facility_name`."""
    return DataExport.objects.annotate(
        by_name=F("created_by__name"), facility_name=F("facility__name")
    ).order_by("-created_at", "pk")


def export_offer(*, facility_id: int | None) -> ExportOffer:
    """What can be exported of a facility; three queries at most. An unknown one has nothing."""
    facilities = facility_choices()
    facility = Facility.objects.filter(pk=facility_id).first() if facility_id else None
    if facility is None:
        return ExportOffer(None, "UTC", facilities, (), more=False)
    rows = (
        Channel.objects.filter(device__facility=facility)
        .order_by("device__name", "device_id", "number")
        .values_list("pk", "device__name", "name", "unit")[: MOST_OFFERED + 1]
    )
    offered = tuple(OfferedChannel(*row) for row in rows)
    return ExportOffer(
        facility.pk,
        facility.time_zone,
        facilities,
        offered[:MOST_OFFERED],
        more=len(offered) > MOST_OFFERED,
    )

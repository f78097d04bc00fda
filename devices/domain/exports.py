"""Exports of history: asked for, written in the background, fetched for some days, removed.

An export is written window by window, each in a transaction of its own, so that it can be watched
and cancelled. One whose worker was killed is begun anew: nothing but time is lost by that.

Needs an open scope that contains the tenant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F, Sum
from django.utils.translation import gettext as _

from devices.domain import export_reading
from devices.domain.catalogue import ChannelNotFound, Page
from devices.domain.series import channel_facts
from devices.domain.series_bounds import SeriesRefusedError, zone_named
from devices.models import (
    DataExport,
    DataExportPart,
    ExportFormat,
    ExportResolution,
    ExportState,
    Facility,
)
from devices.telemetry.export_formats import Form, NotExactlyError, Writer
from devices.telemetry.periods import Resolution
from tenants.domain.audit import record

KEPT_FOR: Final = timedelta(days=7)
# Of one tenant: exports that wait or run, and bytes of all that are kept.
MOST_AT_ONCE: Final = 5
MOST_BYTES: Final = 5_000_000_000
# An export that has not moved for so long has lost its worker.
STALLED: Final = timedelta(minutes=5)
# Begun so often without an end, it is given up.
MOST_ATTEMPTS: Final = 5
# Hours of one channel that are written at once, while whoever asked waits.
SMALL_HOURS: Final = 24
SMALL_PERIODS: Final = 400
_WORKED_ON: Final = (ExportState.WAITING, ExportState.RUNNING)


class TooManyExportsError(ValueError):
    """The tenant has as many exports under way, or as much kept, as it may; the text says so."""


class ExportNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such export in the scope, or its file is not (any more) there."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be exported: channels in [start, end); `zone` None: that of the first channel."""

    channels: tuple[int, ...]
    start: datetime
    end: datetime
    resolution: ExportResolution
    format: ExportFormat
    as_of: datetime | None = None
    zone: str | None = None

    @property
    def small(self) -> bool:
        """Whether it is written at once."""
        hours = (self.end - self.start).total_seconds() / 3600
        if self.resolution == ExportResolution.RAW or self.as_of is not None:
            return hours * len(self.channels) <= SMALL_HOURS
        length = 0.25 if self.resolution == ExportResolution.QUARTER else 1
        return hours / length * len(self.channels) <= SMALL_PERIODS


@transaction.atomic
def create(*, question: Question, now: datetime, actor_id: int | None) -> DataExport:
    """Take in an export of the channels' tenant; the entry point starts the task after commit.

    Raises SeriesRefusedError, ChannelNotFound and TooManyExportsError.
    """
    facts = export_reading.check_question(
        channels=question.channels,
        start=question.start,
        end=question.end,
        resolution=Resolution(question.resolution),
        as_of=question.as_of,
    )
    zone = question.zone or facts[0].zone
    zone_named(zone)
    facilities = {one.facility_id for one in facts}
    tenant_id = _tenant_of(facilities)
    _require_room(tenant_id)
    export = DataExport.objects.create(
        tenant_id=tenant_id,
        facility_id=facilities.pop() if len(facilities) == 1 else None,
        channels=list(question.channels),
        starts_at=question.start,
        ends_at=question.end,
        resolution=question.resolution,
        format=question.format,
        as_of=question.as_of,
        time_zone=zone,
        created_by_id=actor_id,
        advanced_at=now,
    )
    record(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action="export.create",
        subject=export,
        after={
            "channels": export.channels,
            "from": export.starts_at.isoformat(),
            "to": export.ends_at.isoformat(),
            "resolution": export.resolution,
            "format": export.format,
        },
    )
    return export


def _tenant_of(facilities: set[int]) -> int:
    """The tenant of facilities. Raises SeriesRefusedError where they are of several."""
    found = set(Facility.objects.filter(pk__in=facilities).values_list("tenant_id", flat=True))
    if len(found) > 1:
        raise SeriesRefusedError(
            "channels", "These channels belong to several organisations: export each by itself."
        )
    return found.pop()


def ask(*, question: Question, now: datetime, actor_id: int | None) -> DataExport:
    """`create`, and what is small is written at once: then its state is not `waiting` any more."""
    export = create(question=question, now=now, actor_id=actor_id)
    if question.small:
        run(export_id=export.pk, scoped=nullcontext, clock=lambda: now)
        export.refresh_from_db()
    return export


def _require_room(tenant_id: int) -> None:
    own = DataExport.objects.filter(tenant_id=tenant_id)
    if own.filter(state__in=_WORKED_ON).count() >= MOST_AT_ONCE:
        raise TooManyExportsError(
            _("%(count)s exports are under way already. Wait for one, or cancel it.")
            % {"count": MOST_AT_ONCE}
        )
    if (own.aggregate(size=Sum("size"))["size"] or 0) >= MOST_BYTES:
        raise TooManyExportsError(
            _("The exports that are kept take %(size)s GB already. Remove some of them.")
            % {"size": MOST_BYTES // 1_000_000_000}
        )


# Opens the scope that an export is written in, once for each step.
Scoped = Callable[[], AbstractContextManager[object]]


class _StoppedError(Exception):
    """Somebody cancelled the export, or another worker began it anew."""


def run(*, export_id: int, scoped: Scoped, clock: Callable[[], datetime]) -> None:
    """Write an export from its beginning to its end; nothing where it is not to be written.

    Each step opens the scope for itself. Two at once do no harm: the one who began later goes on.
    """
    with scoped():
        export = _begin(export_id, clock())
    if export is None:
        return
    try:
        _write(export, scoped, clock)
    except (SeriesRefusedError, ChannelNotFound, NotExactlyError, TooManyExportsError) as error:
        with scoped():
            _end(export, ExportState.FAILED, clock(), problem=str(error))
    except _StoppedError:
        return


@transaction.atomic
def _begin(export_id: int, now: datetime) -> DataExport | None:
    worked_on = DataExport.objects.filter(pk=export_id, state__in=_WORKED_ON)
    if worked_on.filter(attempt__gte=MOST_ATTEMPTS).update(
        state=ExportState.FAILED,
        problem=_("It could not be finished in several attempts. Choose a shorter period."),
        finished_at=now,
        expires_at=now + KEPT_FOR,
    ):
        DataExportPart.objects.filter(export_id=export_id).delete()
        return None
    begun = worked_on.update(
        state=ExportState.RUNNING,
        attempt=F("attempt") + 1,
        advanced_at=now,
        progress=0,
        parts_written=0,
        row_count=0,
        size=0,
    )
    if not begun:
        return None
    DataExportPart.objects.filter(export_id=export_id).delete()
    return DataExport.objects.get(pk=export_id)


def _write(export: DataExport, scoped: Scoped, clock: Callable[[], datetime]) -> None:
    resolution = Resolution(export.resolution)
    pieces: list[bytes] = []
    with scoped():
        fields = export_reading.fields_of(channel_facts(export.channels), resolution)
    writer = Writer(
        form_of(export),
        fields,
        zone=export.time_zone,
        facts=export_reading.facts_of(export),
        sink=pieces.append,
        with_end=resolution is not Resolution.RAW,
    )
    for window in export_reading.windows(
        export.starts_at,
        export.ends_at,
        resolution,
        len(export.channels),
        export.time_zone,
        as_of=export.as_of is not None,
    ):
        with scoped():
            export.row_count += export_reading.write_window(
                writer,
                fields,
                export.channels,
                window,
                resolution=resolution,
                as_of=export.as_of,
                zone=export.time_zone,
            )
            export.progress = window.part
            _advance(export, pieces, clock())
    writer.close()
    with scoped():
        _advance(export, pieces, clock())
        _end(export, ExportState.FINISHED, clock())


def form_of(export: DataExport) -> Form:
    """The form of its file."""
    forms: dict[str, Form] = {"csv": "csv", "parquet": "parquet", "arrow": "arrow"}
    return forms[export.format]


@transaction.atomic
def _advance(export: DataExport, pieces: list[bytes], now: datetime) -> None:
    """Keep what has been written. Raises _StoppedError and TooManyExportsError."""
    first, written = export.parts_written, list(pieces)
    pieces.clear()
    export.parts_written += len(written)
    export.size += sum(map(len, written))
    # First, and with its row locked: who began anew has parts of the same numbers.
    going_on = DataExport.objects.filter(
        pk=export.pk, state=ExportState.RUNNING, attempt=export.attempt
    ).update(
        advanced_at=now,
        progress=export.progress,
        parts_written=export.parts_written,
        row_count=export.row_count,
        size=export.size,
    )
    if not going_on:
        raise _StoppedError
    for number, piece in enumerate(written, first):
        DataExportPart.objects.create(
            tenant_id=export.tenant_id,
            export=export,
            facility_id=export.facility_id,
            number=number,
            content=piece,
        )
    if export.size > MOST_BYTES:
        raise TooManyExportsError(
            _("The file would have more than %(size)s GB. Choose a shorter period.")
            % {"size": MOST_BYTES // 1_000_000_000}
        )


@transaction.atomic
def _end(export: DataExport, state: ExportState, now: datetime, *, problem: str = "") -> None:
    ended = DataExport.objects.filter(
        pk=export.pk, state=ExportState.RUNNING, attempt=export.attempt
    ).update(state=state, problem=problem, finished_at=now, expires_at=now + KEPT_FOR)
    if ended and state != ExportState.FINISHED:
        _drop_parts(export.pk)


def _drop_parts(export_id: int) -> None:
    DataExportPart.objects.filter(export_id=export_id).delete()
    DataExport.objects.filter(pk=export_id).update(size=0)


@transaction.atomic
def cancel(*, export_id: int, now: datetime, actor_id: int | None) -> None:
    """Stop an export that waits or runs, or remove one that has ended, with its file.

    Raises ExportNotFound.
    """
    export = DataExport.objects.select_for_update().filter(pk=export_id).first()
    if export is None:
        raise ExportNotFound(f"export {export_id}")
    if export.state in _WORKED_ON:
        export.state, export.finished_at, export.expires_at = (
            ExportState.CANCELLED,
            now,
            now + KEPT_FOR,
        )
        export.save(update_fields=["state", "finished_at", "expires_at"])
        _drop_parts(export.pk)
    else:
        _remove([export.pk])
    record(
        tenant_id=export.tenant_id,
        actor_id=actor_id,
        action="export.cancel" if export.state == ExportState.CANCELLED else "export.remove",
        subject=export,
    )


def file_of(*, export_id: int) -> tuple[DataExport, Sequence[int]]:
    """A finished export and the ids of the parts of its file, in order. Raises ExportNotFound."""
    export = DataExport.objects.filter(pk=export_id, state=ExportState.FINISHED).first()
    if export is None:
        raise ExportNotFound(f"export {export_id}")
    return export, list(export.parts.order_by("number").values_list("pk", flat=True))


def page(*, limit: int, after: int = 0) -> Page[DataExport]:
    """Exports of the scope by id, behind one; one query."""
    rows = list(DataExport.objects.filter(pk__gt=after).order_by("pk")[: limit + 1])
    return Page(tuple(rows[:limit]), rows[limit - 1].pk if len(rows) > limit else None)


def entry(*, export_id: int) -> DataExport:
    """One export. Raises ExportNotFound."""
    found = DataExport.objects.filter(pk=export_id).first()
    if found is None:
        raise ExportNotFound(f"export {export_id}")
    return found


def numbered_part(*, export_id: int, number: int) -> tuple[DataExport, bytes]:
    """A finished export and a part of its file, counted from 0. Raises ExportNotFound."""
    export, parts = file_of(export_id=export_id)
    if not 0 <= number < len(parts):
        raise ExportNotFound(f"part {number} of export {export_id}")
    return export, part_content(parts[number])


def part_content(part_id: int) -> bytes:
    """Some of a file. Raises ExportNotFound: the export was removed meanwhile."""
    found = DataExportPart.objects.filter(pk=part_id).values_list("content", flat=True).first()
    if found is None:
        raise ExportNotFound(f"part {part_id}")
    return bytes(found)


def contents(part_ids: Sequence[int], scoped: Scoped) -> Iterator[bytes]:
    """The parts one after the other, each read in a scope of its own while the file is sent."""
    for part_id in part_ids:
        with scoped():
            piece = part_content(part_id)
        yield piece


def stalled(*, now: datetime) -> tuple[tuple[int, int], ...]:
    """Exports of the scope whose worker has gone, as (tenant, export)."""
    rows = DataExport.objects.filter(state__in=_WORKED_ON, advanced_at__lt=now - STALLED)
    return tuple(rows.order_by("pk").values_list("tenant_id", "pk"))


@transaction.atomic
def expire(*, now: datetime) -> int:
    """Remove exports of the scope whose time is up; returns how many."""
    old = DataExport.objects.filter(expires_at__lt=now)
    return _remove(list(old.values_list("pk", flat=True)))


def _remove(export_ids: Sequence[int]) -> int:
    DataExportPart.objects.filter(export_id__in=export_ids).delete()
    count, _by_model = DataExport.objects.filter(pk__in=export_ids).delete()
    return count

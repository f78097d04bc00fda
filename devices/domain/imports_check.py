"""The dry run of an import: what is there is read, the plan made and kept row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.utils.translation import gettext as _

from devices.domain import imports_reading
from devices.domain.imports_columns import COLUMNS, labels
from devices.domain.imports_plan import (
    Existing,
    Options,
    Path,
    Planned,
    plan_devices,
    plan_facilities,
)
from devices.domain.imports_reading import Line, Table
from devices.domain.registry_operations import FACILITY_FIELDS
from devices.domain.registry_queries import PATH_SEPARATOR
from devices.domain.registry_versions import values_of
from devices.models import (
    Allocation,
    Device,
    DeviceType,
    Facility,
    ImportKind,
    ImportRow,
    ImportRun,
    ImportState,
)
from devices.telemetry import status


class WrongState(Exception):  # noqa: N818 - it reads as what happened
    """The import is not at the step that this belongs to; the message is a sentence."""


def locked(run_id: int, *states: ImportState) -> ImportRun:
    """The run, locked; raises WrongState when it is at another step."""
    run = ImportRun.objects.select_for_update().get(pk=run_id)
    if run.state not in states:
        raise WrongState(
            _("The import has gone on meanwhile: it is %(state)s now.")
            % {"state": ImportState(run.state).label.lower()}
        )
    return run


@transaction.atomic
def check(*, run_id: int, columns: Sequence[str], options: Options, now: datetime) -> ImportRun:
    """The dry run: what each row would do, with these meanings of the columns.

    It can be repeated. Raises ValidationError for the columns, WrongState once the import runs.
    """
    run = locked(run_id, ImportState.UPLOADED, ImportState.CHECKED)
    table = imports_reading.read(bytes(run.content or b""))
    _require_columns(run.kind, columns, table)
    facilities = list(Facility.objects.filter(tenant_id=run.tenant_id))
    paths = _paths(facilities)
    plan = _plan(run, table.lines, columns, options, facilities, paths)
    run.rows.all().delete()
    rows = (_row(run, planned, paths) for planned in plan)
    ImportRow.objects.bulk_create(rows, batch_size=2000)
    run.columns, run.options = list(columns), asdict(options)
    run.state, run.checked_at = ImportState.CHECKED, now
    run.save(update_fields=["columns", "options", "state", "checked_at"])
    return run


def _require_columns(kind: str, columns: Sequence[str], table: Table) -> None:
    names = labels(kind)
    if len(columns) != len(table.header) or not set(columns) <= {*names, ""}:
        raise ValidationError(_("Say for each column what it is, or that it is not imported."))
    chosen = [name for name in columns if name]
    twice = sorted({str(names[name]) for name in chosen if chosen.count(name) > 1})
    if twice:
        raise ValidationError(
            _("Two columns cannot both be: %(names)s.") % {"names": ", ".join(twice)}
        )
    missing = [str(one.label) for one in COLUMNS[kind] if one.required and one.field not in chosen]
    if missing:
        raise ValidationError(
            _("No column is chosen for: %(names)s.") % {"names": ", ".join(missing)}
        )


def _plan(
    run: ImportRun,
    lines: Sequence[Line],
    columns: Sequence[str],
    options: Options,
    rows: Sequence[Facility],
    paths: Mapping[int, Path],
) -> list[Planned]:
    if run.kind == ImportKind.FACILITIES:
        facilities = {
            paths[row.pk]: Existing(row.pk, values_of(row, FACILITY_FIELDS)) for row in rows
        }
        return plan_facilities(lines, columns, options, facilities)
    places = {path: pk for pk, path in paths.items()}
    own = DeviceType.objects.filter(tenant_id=run.tenant_id)
    # A type of the tenant's own hides one for all with the same code.
    types = {row.code: row.pk for row in [*DeviceType.objects.filter(tenant=None), *own]}
    return plan_devices(lines, columns, options, _devices(run.tenant_id), places, types)


def _paths(rows: Sequence[Facility]) -> dict[int, Path]:
    by_id = {row.pk: row for row in rows}

    def path(row: Facility) -> Path:
        above = () if row.parent_id is None else path(by_id[row.parent_id])
        return (*above, row.name)

    return {row.pk: path(row) for row in rows}


def _devices(tenant_id: int) -> dict[str, Existing]:
    rows = list(Device.objects.filter(tenant_id=tenant_id))
    reported = status.reported(connection, [row.pk for row in rows])
    allocated = set(
        Allocation.objects.filter(tenant_id=tenant_id).values_list("channel__device", flat=True)
    )
    return {
        row.serial: Existing(
            pk=row.pk,
            values={
                "serial": row.serial,
                "facility": row.facility_id,
                "device_type": row.device_type_id,
                "name": row.name,
                "placement": row.placement,
                "hardware_revision": row.hardware_revision,
                "secret_sha256": bytes(row.secret_sha256).hex(),
            },
            fixed=row.pk in reported or row.pk in allocated,
            state=row.state,
        )
        for row in rows
    }


def _row(run: ImportRun, planned: Planned, paths: Mapping[int, Path]) -> ImportRow:
    """The row as it is kept; facilities that change are told by their paths."""

    def told(field: str, value: Any) -> Any:
        known = field == "facility" and value in paths
        return PATH_SEPARATOR.join(paths[value]) if known else value

    return ImportRow(
        tenant_id=run.tenant_id,
        run=run,
        line=planned.line,
        label=planned.label[:200],
        values=dict(planned.values),
        outcome=planned.outcome,
        changes=[
            [name, told(name, before), told(name, after)] for name, before, after in planned.changes
        ],
        problems=[asdict(problem) for problem in planned.problems],
        subject_id=planned.subject_id,
    )

"""What pages read of imports. Everything needs an open scope and sees what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.models import Count, F, Q, QuerySet
from django.utils.functional import Promise

from devices.domain import imports_reading
from devices.domain.claims_operations import PURPOSE
from devices.domain.imports_columns import labels
from devices.domain.imports_plan import problem_text
from devices.domain.imports_values import Problem
from devices.domain.registry_queries import Choice, facility_choices
from devices.domain.sealing import unseal
from devices.models import (
    ClaimCode,
    DeviceType,
    FacilityKind,
    ImportKind,
    ImportRow,
    ImportRun,
    Outcome,
    Placement,
)

# Rows of the file that are shown beside the choice of columns.
PREVIEW: Final = 3


class ImportNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such import in the scope."""


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of the file: its header, some of its cells, and the field that it fills."""

    header: str
    examples: tuple[str, ...]
    field: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows by what they do, and how many are done."""

    create: int
    change: int
    leave: int
    refuse: int
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class ImportDetail:
    """An import; `columns` are empty once its file is gone. `secrets` wait to be fetched once.

    `time_zone` is the tenant's; `codes` are the devices whose labels can be printed.
    """

    run_id: int
    tenant_id: int
    time_zone: str
    kind: str
    state: str
    file_name: str
    encoding: str
    separator: str
    columns: tuple[FileColumn, ...]
    options: Mapping[str, Any]
    counts: Counts
    created_at: datetime
    finished_at: datetime | None
    secrets: int
    codes: tuple[int, ...]
    facilities: tuple[Choice, ...]
    types: tuple[Choice, ...]


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A line of the result file; `secret` and `code` are '' where there is none to be shown."""

    line: int
    label: str
    outcome: str
    subject_id: int | None
    text: str
    code: str
    secret: str


def run_rows() -> QuerySet[ImportRun]:
    """The imports, newest first, with `row_count`, `done_count`, `refused_count`, `by_name`."""
    return (
        ImportRun.objects.defer("content")
        .annotate(
            row_count=Count("rows"),
            done_count=Count("rows", filter=Q(rows__done_at__isnull=False)),
            refused_count=Count("rows", filter=Q(rows__outcome=Outcome.REFUSE)),
            by_name=F("created_by__name"),
        )
        .order_by("-created_at", "pk")
    )


def line_rows(*, run_id: int) -> QuerySet[ImportRow]:
    """The rows of an import by line."""
    return ImportRow.objects.filter(run=run_id).order_by("line")


def detail(*, run_id: int) -> ImportDetail:
    """An import with what its page needs; six queries at most. Raises ImportNotFound."""
    run = ImportRun.objects.filter(pk=run_id).select_related("tenant").first()
    if run is None:
        raise ImportNotFound(f"import {run_id}")
    table = imports_reading.read(bytes(run.content)) if run.content else None
    columns: tuple[FileColumn, ...] = ()
    if table is not None:
        columns = tuple(
            FileColumn(header, tuple(_cells(table.lines[:PREVIEW], at)), field)
            for at, (header, field) in enumerate(zip(table.header, run.columns, strict=True))
        )
    choices = table is not None and run.kind == ImportKind.DEVICES
    return ImportDetail(
        run_id=run.pk,
        tenant_id=run.tenant_id,
        time_zone=run.tenant.time_zone,
        kind=run.kind,
        state=run.state,
        file_name=run.file_name,
        encoding=table.encoding if table else "",
        separator=table.separator if table else "",
        columns=columns,
        options=run.options,
        counts=counts(run_id=run.pk),
        created_at=run.created_at,
        finished_at=run.finished_at,
        secrets=run.rows.filter(sealed__isnull=False).count(),
        codes=_printable(run.pk) if run.kind == ImportKind.DEVICES else (),
        facilities=_own(facility_choices(), run.tenant_id) if choices else (),
        types=_types(run.tenant_id) if choices else (),
    )


def counts(*, run_id: int) -> Counts:
    """How far an import is; one query."""
    outcomes = {outcome.value: Count("pk", filter=Q(outcome=outcome)) for outcome in Outcome}
    found = ImportRow.objects.filter(run=run_id).aggregate(
        **outcomes, done=Count("pk", filter=Q(done_at__isnull=False)), total=Count("pk")
    )
    return Counts(**found)


def result(*, run_id: int, secrets: Mapping[int, str]) -> tuple[ResultRow, ...]:
    """What became of every row, with claim codes that can still be shown and the given secrets.

    Three queries. Raises ImportNotFound.
    """
    run = ImportRun.objects.filter(pk=run_id).defer("content").first()
    if run is None:
        raise ImportNotFound(f"import {run_id}")
    rows = list(run.rows.order_by("line").defer("values", "sealed"))
    codes: dict[int, str] = {}
    if run.kind == ImportKind.DEVICES:
        codes = {
            row.device_id: unseal(bytes(row.sealed or b""), purpose=PURPOSE)
            for row in _sealed_codes(run.pk)
        }
    return tuple(
        ResultRow(
            line=row.line,
            label=row.label,
            outcome=row.outcome,
            subject_id=row.subject_id,
            text=row_text(run.kind, row),
            code=codes.get(row.subject_id or 0, ""),
            secret=secrets.get(row.line, ""),
        )
        for row in rows
    )


def row_text(kind: str, row: ImportRow) -> str:
    """What is wrong with a row, or what it changes, in words."""
    if row.problems:
        return " ".join(problem_text(kind, Problem(**one)) for one in row.problems)
    fields = labels(kind)
    return "; ".join(
        f"{fields.get(name, name)}: {_shown(name, before)} → {_shown(name, after)}"
        for name, before, after in row.changes
    )


_CODES: Final[dict[str, Mapping[Any, str | Promise]]] = {
    "kind": {member.value: member.label for member in FacilityKind},
    "placement": {member.value: member.label for member in Placement},
}


def _shown(field: str, value: Any) -> str:
    if value in (None, ""):
        return "–"
    return str(_CODES.get(field, {}).get(value, value))


def _cells(lines: tuple[imports_reading.Line, ...], at: int) -> list[str]:
    return [line.cells[at] if at < len(line.cells) else "" for line in lines]


def _own(choices: tuple[Choice, ...], tenant_id: int) -> tuple[Choice, ...]:
    return tuple(choice for choice in choices if choice.tenant_id == tenant_id)


def _types(tenant_id: int) -> tuple[Choice, ...]:
    rows = DeviceType.objects.filter(Q(tenant=tenant_id) | Q(tenant=None)).order_by("name", "pk")
    return tuple(Choice(row.pk, f"{row.name} ({row.code})", row.tenant_id, "") for row in rows)


def _sealed_codes(run_id: int) -> QuerySet[ClaimCode]:
    made = ImportRow.objects.filter(run=run_id, outcome=Outcome.CREATE).values("subject_id")
    return ClaimCode.objects.filter(device__in=made, sealed__isnull=False, withdrawn_at=None)


def _printable(run_id: int) -> tuple[int, ...]:
    return tuple(_sealed_codes(run_id).order_by("device_id").values_list("device_id", flat=True))

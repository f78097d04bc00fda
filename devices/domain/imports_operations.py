"""Bulk imports: a file is taken in, checked row by row, and then run in the background.

A row is done in the transaction that marks it done, so that a run which was killed goes on where it
was. Rows that the database refuses after all are told so; the others are not held up by them.

Needs an open scope that contains the tenant and is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.db import transaction
from django.utils.translation import gettext as _
from django.utils.translation import override

from devices.domain import imports_reading
from devices.domain.imports_apply import SECRET_PURPOSE, Applied, Applier
from devices.domain.imports_check import locked
from devices.domain.imports_columns import guess
from devices.domain.imports_plan import Options
from devices.domain.sealing import unseal
from devices.models import ImportKind, ImportRow, ImportRun, ImportState, Outcome
from tenants.domain.audit import record

# Rows of one transaction: few enough that progress is seen and little is done again after a crash.
GROUP: Final = 25
# A run that has not moved for so long has lost its worker.
STALLED: Final = timedelta(minutes=2)
# New secrets wait so long to be fetched.
SEALED_FOR: Final = timedelta(hours=24)
# A file that nobody ran is forgotten.
ABANDONED: Final = timedelta(days=7)


def upload(
    *,
    tenant_id: int,
    kind: ImportKind,
    file_name: str,
    content: bytes,
    language: str,
    actor_id: int | None,
) -> ImportRun:
    """Take in a file, its columns guessed by their names. Raises imports_reading.Unreadable."""
    table = imports_reading.read(content)
    return ImportRun.objects.create(
        tenant_id=tenant_id,
        kind=kind,
        created_by_id=actor_id,
        language=language,
        file_name=file_name[-200:],
        content=content,
        columns=guess(kind, table.header),
    )


@transaction.atomic
def start(*, run_id: int, now: datetime, actor_id: int | None) -> ImportRun:
    """Let the checked rows be done; the entry point starts the task after commit.

    Rows that are left or refused are done with that. Raises WrongState.
    """
    run = locked(run_id, ImportState.CHECKED)
    idle = run.rows.filter(outcome__in=[Outcome.LEAVE, Outcome.REFUSE])
    idle.update(done_at=now)
    run.state, run.started_at, run.advanced_at, run.content = ImportState.RUNNING, now, now, None
    run.started_by_id = actor_id
    run.save(update_fields=["state", "started_at", "started_by", "advanced_at", "content"])
    record(
        tenant_id=run.tenant_id,
        actor_id=actor_id,
        action="import.start",
        subject=run,
        after={"file": run.file_name, "kind": run.kind, "rows": run.rows.count()},
    )
    return run


@dataclass(frozen=True, slots=True)
class Advance:
    """What one group did: `more` while there are rows, and another worker does not have them."""

    done: int
    more: bool


@transaction.atomic
def advance(*, run_id: int, now: datetime, group: int = GROUP) -> Advance:
    """Do the next rows of a running import, in one transaction; finish it after the last.

    Two workers on one run do no harm: who does not get the lock at once leaves it to the other.
    """
    running = ImportRun.objects.select_for_update(skip_locked=True)
    run = running.filter(pk=run_id, state=ImportState.RUNNING).first()
    if run is None:
        return Advance(0, more=False)
    rows = list(run.rows.filter(done_at__isnull=True).order_by("line")[:group])
    applier = Applier(run, Options(**run.options), now=now)
    with override(run.language):
        for row in rows:
            _do(applier, row, now)
    run.advanced_at = now
    if len(rows) < group:
        run.state, run.finished_at = ImportState.FINISHED, now
        _record_end(run)
    run.save(update_fields=["advanced_at", "state", "finished_at"])
    return Advance(len(rows), more=run.state == ImportState.RUNNING)


def _do(applier: Applier, row: ImportRow, now: datetime) -> None:
    try:
        with transaction.atomic():
            applied = applier.apply(row)
    except ValidationError as error:
        row.outcome, row.problems = Outcome.REFUSE, _problems(error)
    except ObjectDoesNotExist:
        text = _("What the row refers to has been removed since the check.")
        row.outcome, row.problems = Outcome.REFUSE, [{"field": "", "text": text}]
    else:
        _note(row, applied)
    row.done_at = now
    row.save(update_fields=["outcome", "problems", "subject_id", "sealed", "done_at"])


def _note(row: ImportRow, applied: Applied) -> None:
    row.subject_id, row.sealed = applied.subject_id, applied.sealed


def _problems(error: ValidationError) -> list[dict[str, str]]:
    if not hasattr(error, "error_dict"):
        return [{"field": "", "text": " ".join(error.messages)}]
    return [
        {"field": "" if field.startswith("__") else field, "text": " ".join(messages)}
        for field, messages in error.message_dict.items()
    ]


def _record_end(run: ImportRun) -> None:
    outcomes = list(run.rows.values_list("outcome", flat=True))
    record(
        tenant_id=run.tenant_id,
        actor_id=run.started_by_id,
        action="import.finish",
        subject=run,
        after={outcome.value: outcomes.count(outcome) for outcome in Outcome},
    )


def stalled(*, now: datetime) -> tuple[tuple[int, int], ...]:
    """Runs of the scope whose worker has gone, as (tenant, run)."""
    rows = ImportRun.objects.filter(state=ImportState.RUNNING, advanced_at__lt=now - STALLED)
    return tuple(rows.order_by("pk").values_list("tenant_id", "pk"))


@transaction.atomic
def take_secrets(*, run_id: int, actor_id: int | None) -> Mapping[int, str]:
    """The new secrets of an import by line, which then are gone: nobody can fetch them again.

    Of two who ask at once, one gets them.
    """
    run = ImportRun.objects.select_for_update().get(pk=run_id)
    rows = list(run.rows.filter(sealed__isnull=False).only("line", "sealed"))
    secrets = {row.line: unseal(bytes(row.sealed or b""), purpose=SECRET_PURPOSE) for row in rows}
    if secrets:
        run.rows.filter(sealed__isnull=False).update(sealed=None)
        record(
            tenant_id=run.tenant_id,
            actor_id=actor_id,
            action="import.fetch_secrets",
            subject=run,
            after={"secrets": len(secrets)},
        )
    return secrets


@transaction.atomic
def remove(*, run_id: int, actor_id: int | None) -> None:
    """Forget an import that is not running, with its rows; what it did stays."""
    run = locked(run_id, ImportState.UPLOADED, ImportState.CHECKED, ImportState.FINISHED)
    record(
        tenant_id=run.tenant_id,
        actor_id=actor_id,
        action="import.remove",
        subject=run,
        before={"file": run.file_name, "kind": run.kind, "state": run.state},
    )
    run.delete()


def forget_sealed(*, now: datetime) -> int:
    """Remove secrets that nobody fetched in time, and files that nobody ran; returns how many."""
    old = ImportRow.objects.filter(sealed__isnull=False, done_at__lt=now - SEALED_FOR)
    abandoned = ImportRun.objects.filter(
        state__in=[ImportState.UPLOADED, ImportState.CHECKED], created_at__lt=now - ABANDONED
    )
    forgotten = old.update(sealed=None)
    count, _by_model = abandoned.delete()
    return forgotten + count

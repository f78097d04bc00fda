"""What tests of imports need: a facility, and a file taken in from upload to the roll-ups."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from devices.domain import history_check, history_imports, redo, rollups
from devices.domain.history_plan import Wishes
from devices.models import Facility, HistoryImport
from devices.tests import factories
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

DATA: Final = Path(os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data")
NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)


def place(zone: str = "Europe/Vienna") -> Facility:
    """A facility of a new tenant."""
    of: Tenant = factories.tenant()
    with open_scope(Scope((of.pk,))):
        at = factories.facility(of)
        at.tenant, at.time_zone = of, zone
        at.save(update_fields=["time_zone"])
    return at


def scope(at: Facility) -> Scope:
    """All of the facility's tenant."""
    return Scope((at.tenant_id,))


def checked(
    at: Facility,
    content: bytes,
    *,
    name: str = "file.csv",
    mapping: dict[str, Any] | None = None,
    wishes: Wishes | None = None,
    now: datetime = NOW,
) -> HistoryImport:
    """A file with its dry run."""
    with open_scope(scope(at)):
        run = history_imports.upload(
            tenant_id=at.tenant_id, file_name=name, content=content, language="en", actor_id=None
        )
        return history_check.check(
            run_id=run.pk, mapping=mapping, facility_id=at.pk, wishes=wishes or Wishes(), now=now
        )


def run_to_end(at: Facility, run: HistoryImport, *, now: datetime = NOW) -> HistoryImport:
    """Start a checked import and store all of its parts."""
    with open_scope(scope(at)):
        history_imports.start(run_id=run.pk, now=now, actor_id=None)
        prepared = history_imports.open_run(run.pk)
    part: int | None = 0
    while prepared is not None and part is not None:
        with open_scope(scope(at)):
            part = history_imports.advance(
                run_id=run.pk, prepared=prepared, now=now, after=part
            ).part_id
    with open_scope(scope(at)):
        run.refresh_from_db()
    return run


def imported(at: Facility, content: bytes, **options: Any) -> HistoryImport:
    """A file, checked and stored; roll-ups and sums are up to date."""
    now = options.get("now", NOW)
    run = run_to_end(at, checked(at, content, **options), now=now)
    roll(at)
    return run


def roll(at: Facility) -> None:
    """Compute what was asked for, then the sums of facilities."""
    with open_scope(scope(at)):
        last: int | None = 0
        while last is not None:
            done = redo.redo(after=last)
            last = 0 if done.more else done.last
        while rollups.sum_facilities() == rollups.MAX_DIRTY:
            pass

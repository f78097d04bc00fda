"""`manage.py import_meter_file`: store what a meter data file says."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices import tasks
from devices.domain import history_check, history_imports
from devices.domain.history_files import MAX_UPLOAD, TooLargeError
from devices.domain.history_plan import Wishes
from devices.domain.imports_check import WrongState
from devices.files.mapping import MappingError
from devices.models import Facility, HistoryImport, HistoryState, Placement
from tenants.models import Tenant
from tenants.scope import Scope, open_scope


class Command(BaseCommand):
    """Keeps the file, prints the dry run, and stores unless only that was asked for."""

    help = (
        "Import a meter data file (NEM12, NEM13, Green Button, CSV or Parquet with a mapping) into"
        " a tenant. The same file once more changes nothing. Exit code 1 when nothing is stored."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="may be packed by gzip or zip")
        parser.add_argument("--tenant", required=True, metavar="SLUG")
        parser.add_argument(
            "--facility", metavar="NAME", help="where meters that are not there yet are taken in"
        )
        parser.add_argument("--mapping", type=Path, metavar="FILE", help="JSON, for CSV files")
        parser.add_argument("--placement", choices=Placement.values, default=Placement.MAINS)
        parser.add_argument(
            "--serial",
            action="append",
            default=[],
            metavar="METER=SERIAL",
            help="another serial number for a meter of the file",
        )
        parser.add_argument("--leave-out", action="append", default=[], metavar="METER")
        parser.add_argument("--dry-run", action="store_true", help="store nothing")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            tenant = Tenant.objects.using("owner").get(slug=options["tenant"])
        except Tenant.DoesNotExist:
            raise CommandError(f"there is no tenant {options['tenant']}") from None
        scope = Scope((tenant.pk,))
        with open_scope(scope):
            run = _checked(tenant.pk, options)
        if not options["json"] or options["dry_run"]:
            self._print(run, as_json=options["json"])
        elif "error" in run.report:
            raise CommandError(run.report["error"])
        if options["dry_run"]:
            with open_scope(scope):
                history_imports.remove(run_id=run.pk, actor_id=None)
            return
        try:
            with open_scope(scope):
                history_imports.start(run_id=run.pk, now=datetime.now(UTC), actor_id=None)
        except WrongState as error:
            raise CommandError(str(error)) from error
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        tasks.import_history(tenant_id=tenant.pk, run_id=run.pk)
        self._tell(run, scope, as_json=options["json"])

    def _tell(self, run: HistoryImport, scope: Scope, *, as_json: bool) -> None:
        with open_scope(scope):
            run.refresh_from_db()
            totals = history_imports.totals(run)
        if as_json:
            self.stdout.write(json.dumps({"import": run.pk, "state": run.state, **totals}))
            return
        told = ", ".join(f"{count} {name}" for name, count in totals.items())
        self.stdout.write(f"import {run.pk}, readings: {told}")
        if run.state != HistoryState.FINISHED:
            self.stdout.write(
                "A part waits for frames of its device to become segments; it is stored then."
            )

    def _print(self, run: HistoryImport, *, as_json: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(run.report))
            return
        if "error" in run.report:
            raise CommandError(run.report["error"])
        for stream in run.report["streams"]:
            figures = stream["figures"]
            goes = stream["refused"] or f"→ {stream['serial']} {stream['channel']}"
            total = f", total {figures['total']} {stream['unit']}" if figures["total"] else ""
            self.stdout.write(f"{stream['label']}: {figures['readings']} values{total} {goes}")
            for count, what in (
                (stream["beyond"], "beyond the limits of the channel"),
                (stream["future"], "not over yet"),
                (len(stream["days_without"]) + stream["more_days_without"], "days incomplete"),
            ):
                if count:
                    self.stdout.write(f"  {count} {what}")
        for serial, met in run.report["devices"].items():
            told = ", ".join(f"{count} {name}" for name, count in met.items())
            self.stdout.write(f"{serial}: {told}")
        for problem in run.report["problems"]:
            place = f"line {problem['line']}: " if problem["line"] is not None else ""
            self.stdout.write(f"{problem['severity']}: {place}{problem['sentence']}")
        if run.report["more_problems"]:
            self.stdout.write(f"and {run.report['more_problems']} more problems")


def _checked(tenant_id: int, options: dict[str, Any]) -> HistoryImport:
    """The file, taken in and checked. Raises CommandError."""
    path: Path = options["file"]
    wishes = Wishes(
        placement=options["placement"],
        serials=dict(_pair(text) for text in options["serial"]),
        left_out=tuple(options["leave_out"]),
    )
    try:
        run = history_imports.upload(
            tenant_id=tenant_id,
            file_name=path.name,
            content=_bytes(path),
            language="en",
            actor_id=None,
        )
        return history_check.check(
            run_id=run.pk,
            mapping=None if options["mapping"] is None else _mapping(options["mapping"]),
            facility_id=_facility(tenant_id, options["facility"]),
            wishes=wishes,
            now=datetime.now(UTC),
        )
    except (TooLargeError, MappingError) as error:
        raise CommandError(str(error)) from error


def _pair(text: str) -> tuple[str, str]:
    meter, mark, serial = text.partition("=")
    if not mark or not serial:
        raise CommandError(f"{text!r} must be METER=SERIAL")
    return meter, serial


def _facility(tenant_id: int, name: str | None) -> int | None:
    if name is None:
        return None
    found = list(Facility.objects.filter(tenant_id=tenant_id, name=name)[:2])
    if len(found) != 1:
        many = "no facility" if not found else "more than one facility"
        raise CommandError(f"there is {many} named {name}")
    return found[0].pk


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Enough to be told that it is too large.
            return file.read(MAX_UPLOAD + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error


def _mapping(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_bytes(path))
    except ValueError as error:
        raise CommandError(f"{path.name} is no mapping: {error}") from error
    if not isinstance(found, dict):
        raise CommandError(f"{path.name} is no mapping: it must be a JSON object")
    return found

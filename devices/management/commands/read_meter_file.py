"""`manage.py read_meter_file`: what a meter data file says and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from devices.files.content import Content, MeterFile, Stream
from devices.files.figures import figures_of
from devices.files.mapping import ColumnMapping, MappingError, mapping_from
from devices.files.opening import MAX_BYTES
from devices.files.problems import NotAMeterFileError, Severity
from devices.files.reading import read_meter_file

_COLUMNS: Final = ("readings", "from", "to", "minutes", "total", "unit", "direction", "quality")


class Command(BaseCommand):
    """A dry run: nothing is stored, and no database is asked."""

    help = (
        "Read a meter data file (NEM12, NEM13, Green Button, or CSV with a mapping) and print its"
        " streams, totals and problems; exit code 1 when anything is refused."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="may be packed by gzip or zip")
        parser.add_argument(
            "--mapping",
            type=Path,
            metavar="FILE",
            help="a JSON object that says what the columns of a CSV file mean",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        mapping = None if options["mapping"] is None else _mapping(options["mapping"])
        try:
            found = read_meter_file(_bytes(path), name=path.name, mapping=mapping)
        except NotAMeterFileError as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.stdout.write(json.dumps(_document(found)))
        else:
            self._print(found)
        refused = sum(problem.severity is not Severity.WARN for problem in found.problems)
        if refused or found.more_problems:
            many = f"{refused} problems" if refused != 1 else "1 problem"
            if found.more_problems:
                many = "more problems than are listed"
            raise CommandError(
                f"{path.name}: something is refused because of {many}"
                + ("." if found.acceptable else "; the file as a whole must not be imported.")
            )

    def _print(self, found: MeterFile) -> None:
        self.stdout.write(f"format: {found.format}")
        for stream, content in found.streams.items():
            row = _row(stream, content)
            self.stdout.write(" ".join(filter(None, asdict(stream).values())))
            self.stdout.write("  " + ", ".join(f"{name} {row[name]}" for name in _COLUMNS))
        for what, count in found.ignored.items():
            self.stdout.write(f"ignored: {count} × {what}")
        for problem in found.problems:
            place = f"line {problem.line}" if problem.line is not None else problem.path
            start = f"{problem.severity}: {place}: " if place else f"{problem.severity}: "
            self.stdout.write(f"{start}{problem.sentence}")
        if found.more_problems:
            self.stdout.write(f"and {found.more_problems} more problems")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Enough to be told that it is too large.
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}") from error


def _mapping(path: Path) -> ColumnMapping:
    try:
        return mapping_from(json.loads(_bytes(path)))
    except (MappingError, ValueError) as error:
        raise CommandError(f"{path.name} is no mapping: {error}") from error


def _document(found: MeterFile) -> dict[str, Any]:
    return {
        "format": found.format,
        "acceptable": found.acceptable,
        "streams": [
            {**asdict(stream), **_row(stream, content)} for stream, content in found.streams.items()
        ],
        "problems": [asdict(problem) for problem in found.problems],
        "more_problems": found.more_problems,
        "ignored": dict(found.ignored),
        "local_time": None if found.local_time is None else asdict(found.local_time),
    }


def _row(stream: Stream, content: Content) -> dict[str, Any]:
    """What a stream amounts to; the total is text, so that it stays exact."""
    found = figures_of(content)
    return {
        "readings": found.readings,
        "from": _utc(found.from_ms),
        "to": _utc(found.to_ms),
        "minutes": list(found.minutes),
        "total": found.total,
        "unit": stream.unit,
        "direction": stream.direction,
        "quality": found.quality,
    }


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""`manage.py bench NAME [--json] …`: the benchmarks, each by itself; `bench all` runs every one.

A benchmark is a module in the package `benchmarks` of an installed app with the functions
`add_arguments(parser: ArgumentParser) -> None` and `run(options: Namespace) -> dict[str, object]`.
The result is one JSON object. Its key `ok`, if there is one, says whether what must hold did hold;
False makes the exit code 1. A module with `IN_ALL = False` runs only by its name.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pkgutil
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from devices.benchmarks.stack import StackError
from portal import env
from portal.devstack import certificates
from portal.devstack.errors import SetupError
from portal.devstack.servers import Endpoints, open_session

ALL = "all"


def benchmarks() -> dict[str, ModuleType]:
    """Every benchmark by name."""
    found: dict[str, ModuleType] = {}
    for app in apps.get_app_configs():
        if importlib.util.find_spec(f"{app.name}.benchmarks") is None:
            continue
        package = importlib.import_module(f"{app.name}.benchmarks")
        for _, name, _ in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{name}")
            if hasattr(module, "add_arguments") and hasattr(module, "run"):
                found[name] = module
    return dict(sorted(found.items()))


class Command(BaseCommand):
    """Starts the servers when they are down and stops them again."""

    help = "Measure; see docs/performance.md."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
        for name, module in benchmarks().items():
            one = names.add_parser(name, help=_first_line(module))
            _add_json(one)
            module.add_arguments(one)
        every = names.add_parser(ALL, help="all of them, one after the other")
        _add_json(every)
        every.add_argument("--seconds", type=int, help="how long each measures, where it can say")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        try:
            session = open_session(self._progress)
        except SetupError as error:
            raise CommandError(str(error)) from error
        try:
            _follow(session.endpoints)
            certificates.ensure(session.home, self._progress)
            if name == ALL:
                result = self._run_all(options)
            else:
                result = benchmarks()[name].run(Namespace(**options))
        except StackError as error:
            raise CommandError(str(error)) from error
        finally:
            session.close()
        if options["json"]:
            self.stdout.write(json.dumps({"benchmark": name} | result))
        else:
            for line in _lines(result):
                self.stdout.write(line)
        if result.get("ok") is False:
            raise CommandError(f"bench {name}: something that must hold did not, see above")

    def _progress(self, line: str) -> None:
        self.stderr.write(f"wattline: {line}")

    def _run_all(self, options: Mapping[str, Any]) -> dict[str, object]:
        """Each in a process of its own, so that none measures what another left behind."""
        results: dict[str, object] = {}
        good = True
        for name, module in benchmarks().items():
            if not getattr(module, "IN_ALL", True):
                continue
            self._progress(f"bench {name}")
            command = [sys.executable, "manage.py", "bench", name, "--json"]
            if options["seconds"] is not None and _takes_seconds(module):
                command += ["--seconds", str(options["seconds"])]
            done = subprocess.run(
                command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, text=True, check=False
            )
            good &= done.returncode == 0
            line = done.stdout.strip().splitlines()[-1:] or ["null"]
            results[name] = json.loads(line[0])
        return {"ok": good, "results": results}


def _follow(endpoints: Endpoints) -> None:
    """Servers that were just started may listen elsewhere than when the settings were read."""
    os.environ.update(endpoints.variables())
    for alias, variable in (
        ("owner", "DATABASE_URL"),
        ("default", "DATABASE_APP_URL"),
        ("ingest", "DATABASE_INGEST_URL"),
    ):
        address = env.database(variable)
        settings.DATABASES[alias].update(address)
        connections[alias].settings_dict.update(address)
    settings.REDIS_URL = endpoints.redis_url


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _takes_seconds(module: ModuleType) -> bool:
    parser = ArgumentParser()
    module.add_arguments(parser)
    return "--seconds" in parser.format_help()


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _lines(result: Mapping[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in result.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}:")
            lines += _lines(value, indent + "  ")
        else:
            lines.append(f"{indent}{key}: {value}")
    return lines

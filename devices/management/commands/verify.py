"""`manage.py verify`: are the readings of a period what they were when they were sealed?"""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from devices.domain.seals import Verified, verify
from devices.models import Device


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no day: write it as 2026-03-31") from None


class Command(BaseCommand):
    """Reads as the owner, over all tenants."""

    help = (
        "Compare segments with their seals. Prints the root of the period: who keeps it can ask"
        " later, with --expect, whether anything was changed. Exit code 1 when something differs."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="first", type=_day, required=True, metavar="DAY")
        parser.add_argument("--to", dest="last", type=_day, required=True, metavar="DAY")
        parser.add_argument("--tenant", metavar="SLUG", help="the devices of this tenant alone")
        parser.add_argument("--device", action="append", metavar="SERIAL", help="this device alone")
        parser.add_argument("--expect", metavar="ROOT", help="the root that was printed before")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["last"] < options["first"]:
            raise CommandError("the period ends before it begins: exchange --from and --to")
        serials = _devices(options["tenant"], options["device"])
        found = verify(connections["owner"], list(serials), options["first"], options["last"])
        problems = [
            f"{serials[one.device_id]} {one.starts_at:%Y-%m-%dT%H:%MZ}: {one.problem}"
            for one in found.differences
        ]
        expected = options["expect"]
        if expected is not None and expected.lower() != found.root:
            problems.append(f"the root is {found.root}, not {expected}: seals were renewed since")
        self._print(found, problems, as_json=options["json"])
        if problems:
            raise CommandError("not what was sealed\n" + "\n".join(problems))

    def _print(self, found: Verified, problems: list[str], *, as_json: bool) -> None:
        told = {"root": found.root, "days": found.days, "segments": found.segments}
        removed = [
            {
                "segments": one.segments,
                "removed_at": one.removed_at.isoformat(),
                "days": one.days,
                "rule_of_tenant": one.rule_tenant,
            }
            for one in found.removed
        ]
        if as_json:
            answer = {"ok": not problems, **told, "removed": removed, "differences": problems}
            self.stdout.write(json.dumps(answer))
            return
        self.stdout.write(f"{found.segments} segments of {found.days} days of devices")
        for one in found.removed:
            self.stdout.write(
                f"{one.segments} removed by retention at {one.removed_at:%Y-%m-%dT%H:%MZ}"
                f" under the rule of {one.days} days of tenant {one.rule_tenant}"
            )
        self.stdout.write(f"root {found.root}")


def _devices(tenant: str | None, wanted: list[str] | None) -> dict[int, str]:
    """Serial by id; CommandError names what does not exist."""
    devices = Device.objects.using("owner")
    if tenant is not None:
        devices = devices.filter(tenant__slug=tenant)
    if wanted is not None:
        devices = devices.filter(serial__in=wanted)
    found = dict(devices.values_list("pk", "serial"))
    missing = sorted(set(wanted or ()) - set(found.values()))
    if missing:
        raise CommandError(f"there is no device {', '.join(missing)}")
    if not found:
        raise CommandError("there is no device in that tenant")
    return found

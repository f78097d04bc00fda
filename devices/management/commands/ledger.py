"""`manage.py ledger`: is every message that the devices have sent accounted for?"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connections

from devices.ingest.ledger import DeviceTotals, check
from devices.models import Device
from devices.telemetry import status

COLUMNS: Final = (
    "sent",
    "stored",
    "duplicate",
    "quarantined",
    "skipped",
    "other",
    "under_way",
    "committed",
    "frames",
)


class Command(BaseCommand):
    """Reads as the owner, over all tenants."""

    help = "Print the conservation ledger; exit code 1 when it does not balance."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--device",
            action="append",
            metavar="SERIAL",
            help="only this device; may be given several times",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        serials = _serials(options["device"])
        ids = None if options["device"] is None else list(serials)
        totals = status.balance(connections["owner"], ids)
        imbalances = check(totals)
        if options["json"]:
            rows = [_row(total, serials) for total in totals]
            problems = [asdict(imbalance) for imbalance in imbalances]
            content = {"ok": not imbalances, "devices": rows, "imbalances": problems}
            self.stdout.write(json.dumps(content))
        else:
            self._print(totals, serials)
        if imbalances:
            named = [f"{serials[one.device_id]}: {one.problem}" for one in imbalances]
            raise CommandError("the ledger does not balance\n" + "\n".join(named))

    def _print(self, totals: list[DeviceTotals], serials: dict[int, str]) -> None:
        width = max([len("device"), *map(len, serials.values())])
        self.stdout.write("device".ljust(width) + "".join(f"{name:>13}" for name in COLUMNS))
        for total in totals:
            numbers = "".join(f"{getattr(total, name):>13}" for name in COLUMNS)
            self.stdout.write(serials[total.device_id].ljust(width) + numbers)


def _serials(wanted: list[str] | None) -> dict[int, str]:
    """Serial by id; CommandError names one that does not exist."""
    devices = Device.objects.using("owner")
    if wanted is not None:
        devices = devices.filter(serial__in=wanted)
    found = dict(devices.values_list("pk", "serial"))
    missing = sorted(set(wanted or ()) - set(found.values()))
    if missing:
        raise CommandError(f"there is no device {', '.join(missing)}")
    return found


def _row(total: DeviceTotals, serials: dict[int, str]) -> dict[str, Any]:
    derived = {"sent": total.sent, "under_way": total.under_way}
    return {"serial": serials[total.device_id], **asdict(total), **derived}

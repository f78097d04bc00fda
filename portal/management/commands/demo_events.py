"""`manage.py demo_events`: lets happen in the demo what its people would do: commands, roll-outs,
bills, and an account that does not pay.

`make up` runs it once everything is ready. It waits for the devices, asks for what was not asked
for before, and ends.
"""

from __future__ import annotations

import signal
import threading
import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any, Final

from django.core.management.base import BaseCommand
from django.db import close_old_connections

from portal.management.demo_billing import BILLING, BillingAct, pasts
from portal.management.demo_dunning import OVERDUE, Overdue
from portal.management.demo_history import Past
from portal.management.demo_story import REFUSALS, STORY, Act, perform

Step = Act | Overdue | BillingAct | Past

EVERY_S: Final = 3.0
# Devices that are not there by then have been switched off by whoever tries the demo.
PATIENCE_S: Final = 1_800.0


class Command(BaseCommand):
    """Ends with 0 also where an act was not possible: the demo is there to be changed."""

    help = "Let the demo's people ask its devices for something, as soon as these are connected."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--patience", type=float, default=PATIENCE_S, metavar="S")

    def handle(self, *args: object, **options: Any) -> None:
        stopped = threading.Event()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda _number, _frame: stopped.set())
        left: list[Step] = [*STORY, *BILLING, OVERDUE]
        # What takes long comes when everybody else was asked.
        late: list[Step] = [*pasts(stopped.is_set)]
        ends_at = time.monotonic() + options["patience"]
        while left or late:
            left = [act for act in left if not self._done(act)]
            if not (left or late) or time.monotonic() >= ends_at or stopped.wait(EVERY_S):
                break
            close_old_connections()
            late = [act for act in late if not self._done(act)]
        for act in [*left, *late]:
            self.stdout.write(f"demo: not done, what it waits for is not there: {act.name}")

    def _done(self, act: Step) -> bool:
        try:
            now = datetime.now(UTC)
            return act.go_on(now) if isinstance(act, Past) else perform(act, now)
        except REFUSALS as error:
            self.stdout.write(f"demo: {act.name} is not possible any more: {error}")
            return True

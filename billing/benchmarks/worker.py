"""A worker of `bench billing`: brings runs on until its standard input ends, as the task does.

`python -m billing.benchmarks.worker` prints a line when it is ready, and at the end a JSON object:
processor time in seconds since then, and the most memory that it has held.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
import time
from datetime import UTC, datetime
from typing import Final

import django

_WAIT_S: Final = 0.05


def main() -> None:
    """Work until nobody wants it any more."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    # After the set-up: what it imports are models.
    from billing.domain import runs_steps

    runs_steps.moving()
    begun = _cpu_s()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        done = sum(
            runs_steps.work(
                tenant_id=tenant_id,
                run_id=run_id,
                go_on=lambda: True,
                clock=lambda: datetime.now(UTC),
            )
            for tenant_id, run_id in runs_steps.moving()
        )
        if not done:
            time.sleep(_WAIT_S)
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": _cpu_s() - begun, "rss_mb": held}))


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

"""A worker of `bench billing`: brings runs on as the task does, and makes documents when asked to.

`python -m billing.benchmarks.worker` prints a line when it is ready. A line TENANT PART PARTS
SECONDS on its standard input has it make documents of one of so many parts of a tenant's bills for
a while, from the database to the bytes that would be kept; it prints how many as a JSON object. At
the end of its input it prints another: processor time in seconds since it was ready, documents left
out, and the most memory that it has held until the first of them.
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
# What is made first, and reads fonts and templates, is not counted.
_WARM_UP: Final = 3


def main() -> None:
    """Work until nobody wants it any more."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    # After the set-up: what it imports are models.
    from billing.domain import runs_steps

    runs_steps.moving()
    begun, documents_s, held = _used()[0], 0.0, 0.0
    print("ready", flush=True)
    while True:
        if select.select([sys.stdin], [], [], 0)[0]:
            held = held or _used()[1]
            line = sys.stdin.readline()
            if not line:
                break
            before = _used()[0]
            _make_documents(*map(int, line.split()))
            documents_s += _used()[0] - before
            continue
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
    print(json.dumps({"cpu_s": _used()[0] - begun - documents_s, "rss_mb": held}))


def _make_documents(tenant_id: int, part: int, parts: int, seconds: int) -> None:
    from billing.documents.making import make
    from billing.domain import documents_queries
    from tenants.scope import Scope, open_scope

    scope = Scope((tenant_id,))
    with open_scope(scope):
        ids = list(documents_queries.final_bills().order_by("pk").values_list("pk", flat=True))
    done, size, began = -_WARM_UP, 0, time.monotonic()
    for bill_id in ids[part::parts]:
        with open_scope(scope):
            document = documents_queries.document_of(bill_id=bill_id)
        size = len(make(document).pdf)
        done += 1
        if done == 0:
            began = time.monotonic()
        if time.monotonic() - began > seconds:
            break
    took = time.monotonic() - began
    print(json.dumps({"made": done, "seconds": took, "bytes": size}), flush=True)


def _used() -> tuple[float, float]:
    """Processor time so far in seconds, and the most memory held in MB."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()

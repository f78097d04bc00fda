"""The processes of the product, in the order of their start; they stop in the reverse order."""

from __future__ import annotations

import sys

from portal.devstack.home import Home
from portal.devstack.supervisor import Process


def product(home: Home, web_port: int) -> list[Process]:
    """What `make up` runs.

    Whoever takes readings starts after those who store and show them, and stops before.
    """
    manage = (sys.executable, "manage.py")
    # Celery warns at length when root runs it, which here is the choice of who called `make up`.
    silent = "ignore:You're running the worker with superuser privileges"
    celery = (sys.executable, "-W", silent, "-m", "celery", "--app", "portal", "--quiet")
    schedule = str(home.run / "celery-beat")
    uvicorn = (
        *(sys.executable, "-m", "uvicorn", "portal.asgi:application"),
        *("--host", "127.0.0.1", "--port", str(web_port)),
        *("--lifespan", "off", "--no-access-log", "--log-level", "warning"),
        *("--timeout-graceful-shutdown", "3"),
        # Pages send short JSON, and frames are packed already: deflate would only cost memory.
        *("--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
    )
    return [
        Process("web", uvicorn),
        Process("worker", (*celery, "worker", "--concurrency", "2", "--without-gossip")),
        Process("beat", (*celery, "beat", "--schedule", schedule)),
        Process("writer", (*manage, "run_writer"), grace_seconds=15),
        Process("live", (*manage, "run_live")),
        Process("dispatcher", (*manage, "run_dispatcher"), grace_seconds=15),
        Process("bridge", (*manage, "run_bridge"), grace_seconds=15),
        Process("simulate", (*manage, "simulate", "--demo")),
        # It works out months of readings, and is in no hurry: who looks at the pages comes first.
        Process("demo", ("nice", "--adjustment=10", *manage, "demo_events"), errand=True),
    ]

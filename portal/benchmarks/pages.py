"""Server time and queries of every page, with 500 facilities, 10 000 devices, 80 000 channels.

In one process without a network: a request goes through all middleware and is rendered in full.
The pages are those that an administrator, the operator and a consumer find by the routes and by
following links; of a list every order, page and filter that it offers is asked for, and none may
run more queries than its first page, but for looking up what it filters by.

Beside the time that a page takes stands the processor time that it costs, here and in PostgreSQL,
which says the same on a busy machine.
"""

from __future__ import annotations

import logging
import os
import time
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Final

import numpy as np
from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.client import RedirectCycleError
from django.test.utils import CaptureQueriesContext, override_settings

from devices.benchmarks.series import CHANNELS
from devices.benchmarks.stack import open_stack, session_cpu_s
from portal import survey
from portal.benchmarks import park
from portal.collector import settle
from tenants.models import User

GOAL_MS: Final = 100.0
# A filter looks up what it filters by; the search asks once for each kind of thing.
LOOK_UPS: Final = 4
_PLAIN: Final = "django.contrib.staticfiles.storage.StaticFilesStorage"
PEOPLE: Final = {"admin": park.ADMIN, "operator": park.OPERATOR, "consumer": park.CONSUMER}


def add_arguments(parser: ArgumentParser) -> None:
    """How often each page is asked for, and which."""
    parser.add_argument("--facilities", type=int, default=500, help="of twenty devices each")
    parser.add_argument("--requests", type=int, default=40, help="of each page")
    parser.add_argument("--only", default="", help="routes whose name contains this")
    parser.add_argument("--goal-ms", type=float, default=GOAL_MS, help="of the 95th percentile")
    parser.add_argument("--sql", action="store_true", help="tell the slowest query of each page")


@dataclass(frozen=True, slots=True)
class Measured:
    """What one page took."""

    path: str
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    database_cpu_ms: float
    queries: int
    variants: int
    most_queries: int
    slowest_variant_ms: float
    slowest_variant: str
    slowest_query: str

    @property
    def fixed(self) -> bool:
        """Whether no order, page or filter asks more than the first page does."""
        return self.most_queries <= self.queries + LOOK_UPS


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when a page is slower than the goal or its queries grow."""
    # The manifest of hashed names, which `collectstatic` makes, is a look-up in a dict.
    storages = {**settings.STORAGES, "staticfiles": {"BACKEND": _PLAIN}}
    # Addresses that answer no GET, or not to everybody, are asked for too.
    logging.getLogger("django.request").setLevel(logging.ERROR)
    settle()
    with open_stack(park.seed(options.facilities)), override_settings(STORAGES=storages):
        results = {name: _of(email, options) for name, email in PEOPLE.items()}
    slow = {
        f"{name} {route}": one.p95_ms
        for name, pages in results.items()
        for route, one in pages.items()
        if one.p95_ms > options.goal_ms
    }
    growing = [
        f"{name} {route}"
        for name, pages in results.items()
        for route, one in pages.items()
        if not one.fixed
    ]
    return {
        "ok": not slow and not growing,
        "facilities": options.facilities,
        "devices": options.facilities * park.DEVICES_EACH,
        "channels": options.facilities * park.DEVICES_EACH * len(CHANNELS),
        "requests": options.requests,
        "goal_ms": options.goal_ms,
        # What else the processors had to do: a busy machine measures itself.
        "load_1m": round(os.getloadavg()[0], 1),
        "slow": slow,
        "queries_grow": growing,
        "pages": {
            name: {route: _described(one, options) for route, one in pages.items()}
            for name, pages in results.items()
        },
    }


def _described(one: Measured, options: Namespace) -> dict[str, object]:
    told: dict[str, object] = {
        "path": one.path,
        "p50_ms": one.p50_ms,
        "p95_ms": one.p95_ms,
        "cpu_ms": one.cpu_ms,
        "database_cpu_ms": one.database_cpu_ms,
        "queries": one.queries,
    }
    if one.variants:
        told |= {
            "variants": one.variants,
            "most_queries": one.most_queries,
            "slowest_variant_ms": one.slowest_variant_ms,
            "slowest_variant": one.slowest_variant,
        }
    if options.sql:
        told["slowest_query"] = one.slowest_query
    return told


def _of(email: str, options: Namespace) -> dict[str, Measured]:
    client, user = Client(headers={"host": "localhost"}), User.objects.get(email=email)
    client.force_login(user)

    def get(path: str) -> survey.Answer:
        try:
            answer = client.get(path, follow=True)
        except RedirectCycleError:
            # The sign-in of the consumer's home needs a provider that answers over the network.
            return survey.Answer(508, "", path, "")
        return survey.Answer(
            answer.status_code,
            answer.get("Content-Type", ""),
            answer.request["PATH_INFO"],
            answer.getvalue().decode(errors="replace"),
        )

    results = {}
    for page in survey.explore(get):
        if options.only in page.route:
            # Some pages want a sign-in of the last minutes.
            client.force_login(user)
            results[page.route] = _measure(client, page, options.requests)
    return results


def _measure(client: Client, page: survey.Page, requests: int) -> Measured:
    with CaptureQueriesContext(connection) as asked:
        client.get(page.path)
    first = len(asked)
    slowest = max(asked.captured_queries, key=lambda q: float(q["time"]), default={"sql": ""})
    database_began = session_cpu_s(connection)
    took = [_milliseconds(client, page.path) for _ in range(requests)]
    database_s = session_cpu_s(connection) - database_began
    counts, times = {page.path: first}, {"": 0.0}
    for address in survey.variants(page):
        with CaptureQueriesContext(connection) as further:
            client.get(address)
        counts[address] = len(further)
        times[address] = min(_milliseconds(client, address)[0] for _ in range(min(3, requests)))
    worst = max(times, key=lambda address: times[address])
    return Measured(
        path=page.path,
        p50_ms=_percentile([one[0] for one in took], 50),
        p95_ms=_percentile([one[0] for one in took], 95),
        cpu_ms=_percentile([one[1] for one in took], 50),
        database_cpu_ms=round(database_s * 1000 / requests, 1),
        queries=first,
        variants=len(counts) - 1,
        most_queries=max(counts.values()),
        slowest_variant_ms=round(times[worst], 1),
        slowest_variant=worst,
        slowest_query=str(slowest["sql"])[:2000],
    )


def _percentile(values: list[float], percent: int) -> float:
    return round(float(np.percentile(values, percent)), 1)


def _milliseconds(client: Client, path: str) -> tuple[float, float]:
    """How long a request took, and the processor time of this process in it."""
    began, began_cpu = time.perf_counter(), time.process_time()
    answer = client.get(path)
    took, used = time.perf_counter() - began, time.process_time() - began_cpu
    if answer.status_code != 200:
        raise RuntimeError(f"{path} answered {answer.status_code}")
    return took * 1000, used * 1000

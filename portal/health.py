"""Health: whether this process serves, and whether everything it needs is up.

Open to everybody, so the answers name parts and states and nothing else.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.db.migrations.loader import MigrationLoader
from django.http import HttpRequest, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from devices.ingest import heartbeat

logger = logging.getLogger(__name__)


def _is_no_answer_of_ours(record: logging.LogRecord) -> bool:
    """A 503 of `ready` is an answer, asked for every second: no error of a request to log."""
    request = getattr(record, "request", None)
    return getattr(getattr(request, "resolver_match", None), "func", None) is not ready


logging.getLogger("django.request").addFilter(_is_no_answer_of_ours)

# Whatever hangs, the answer comes within this time.
ANSWER_SECONDS = 3.0
# Shorter, so that a dependency that does not answer is told apart from one that refuses.
_CONNECT_SECONDS = 2
# An outcome is used again for this long: a crowd of askers costs no more than one.
_FRESH_SECONDS = 1.0
# The processes of an installation besides the one that answers.
PROCESSES = ("bridge", "writer", "live", "dispatcher", "worker", "beat")

Outcome = dict[str, object]
UP: Outcome = {"status": "up"}
DOWN: Outcome = {"status": "down"}
NO_ANSWER: Outcome = {"status": "no answer"}
UNKNOWN: Outcome = {"status": "unknown"}


class Probe:
    """One check in a thread of its own: never two at once, however many ask and however it
    hangs."""

    def __init__(self, name: str, check: Callable[[], Outcome]) -> None:
        self._name = name
        self._check = check
        self._lock = threading.Lock()
        self._running: Future[Outcome] | None = None
        self._ended_at = 0.0

    def start(self) -> Future[Outcome]:
        """The check under way, the fresh outcome of the last one, or a new one."""
        with self._lock:
            fresh = time.monotonic() - self._ended_at < _FRESH_SECONDS
            if self._running is None or (self._running.done() and not fresh):
                self._running = Future()
                threading.Thread(
                    target=self._run, args=[self._running], name=f"health-{self._name}", daemon=True
                ).start()
            return self._running

    def _run(self, future: Future[Outcome]) -> None:
        outcome = DOWN
        try:
            outcome = self._check()
        except (psycopg.Error, redis.RedisError, OSError) as error:
            logger.warning("health: %s is down: %s", self._name, error)
        finally:  # whatever else is raised, nobody waits for ever
            with self._lock:
                self._ended_at = time.monotonic()
            future.set_result(outcome)


def _check_database() -> Outcome:
    """As the role that the portal itself uses."""
    with _connect("default") as connection:
        connection.execute("SELECT 1")
    return UP


def _check_migrations() -> Outcome:
    with _connect("default") as connection:
        try:
            rows = connection.execute("SELECT app, name FROM django_migrations").fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InsufficientPrivilege):
            rows = []  # until the migrations that let the application read it have run
    pending = len(_migrations_on_disk() - {(str(app), str(name)) for app, name in rows})
    return {"status": "pending", "count": pending} if pending else UP


@cache
def _migrations_on_disk() -> frozenset[tuple[str, str]]:
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return frozenset(loader.disk_migrations)


def _check_processes() -> Outcome:
    """Number of living instances by the name of the process; doubles as the check of Redis."""
    with redis.Redis.from_url(
        settings.REDIS_URL, socket_timeout=_CONNECT_SECONDS, socket_connect_timeout=_CONNECT_SECONDS
    ) as client:
        return dict(Counter(sign.name for sign in heartbeat.alive(client)))


_database = Probe("database", _check_database)
_migrations = Probe("migrations", _check_migrations)
_processes = Probe("redis", _check_processes)


@require_safe
@never_cache
def live(_request: HttpRequest) -> JsonResponse:
    """200 as long as this process serves requests; depends on nothing else."""
    return JsonResponse({"status": "live"})


@require_safe
@never_cache
def ready(_request: HttpRequest) -> JsonResponse:
    """200 when every dependency and process is up, else 503; the body says which are not."""
    started = {
        "database": _database.start(),
        "migrations": _migrations.start(),
        "redis": _processes.start(),
    }
    deadline = time.monotonic() + ANSWER_SECONDS
    dependencies = {name: _await(future, deadline) for name, future in started.items()}
    instances = dependencies["redis"]
    processes: dict[str, Outcome] = {"web": UP}
    if instances in (DOWN, NO_ANSWER):
        processes |= dict.fromkeys(PROCESSES, UNKNOWN)
    else:
        dependencies["redis"] = UP
        processes |= {
            name: {**UP, "instances": instances[name]} if name in instances else DOWN
            for name in PROCESSES
        }
    up = all(part["status"] == "up" for part in [*dependencies.values(), *processes.values()])
    body = {
        "status": "ready" if up else "not ready",
        "dependencies": dependencies,
        "processes": processes,
    }
    return JsonResponse(body, status=200 if up else 503)


def _await(future: Future[Outcome], deadline: float) -> Outcome:
    try:
        return future.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return NO_ANSWER


def _connect(alias: str) -> psycopg.Connection:
    database: dict[str, Any] = settings.DATABASES[alias]
    tls = {key: text for key, text in database["OPTIONS"].items() if key.startswith("ssl")}
    return psycopg.connect(
        **tls,
        host=database["HOST"],
        port=database["PORT"] or None,
        user=database["USER"],
        password=database["PASSWORD"],
        dbname=database["NAME"],
        connect_timeout=_CONNECT_SECONDS,
        options=f"-c statement_timeout={_CONNECT_SECONDS * 1000}",
        autocommit=True,
    )

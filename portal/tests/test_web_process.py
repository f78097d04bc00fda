"""A real web process under load: the scopes of concurrent requests stay apart."""

from __future__ import annotations

import http.client
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection
from pytest_django import DjangoDbBlocker

from devices.tests import factories
from devices.tests.factories import Park
from portal.benchmarks.live import session_cookie
from portal.devstack.process import free_port

_READY_S = 40
# Enough to go round the connections of the pool many times, in whatever order.
_ROUNDS = 40
_AT_ONCE = 24


@dataclass(frozen=True)
class Web:
    """A web process and two tenants."""

    port: int
    parks: tuple[Park, Park]

    def get(self, path: str, cookie: str | None) -> tuple[int, str]:
        """Status and text of a page, over a connection of its own."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request("GET", path, headers={"Cookie": cookie} if cookie else {})
            answer = line.getresponse()
            return answer.status, answer.read().decode()
        finally:
            line.close()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def web(
    tmp_path_factory: pytest.TempPathFactory,
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
) -> Iterator[Web]:
    """uvicorn on the test's database, two parks in it."""
    log = tmp_path_factory.mktemp("web") / "web.log"
    port = free_port()
    with django_db_blocker.unblock():
        parks = factories.park(), factories.park()
        process = _start(port, log)
        try:
            deadline = time.monotonic() + _READY_S
            while not _listens(port):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield Web(port, parks)
        finally:
            process.terminate()
            process.wait(20)
            factories.remove_everything()


def _start(port: int, log: Path) -> subprocess.Popen[bytes]:
    uvicorn = ("uvicorn", "portal.asgi:application", "--port", str(port), "--lifespan", "off")
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *uvicorn, "--log-level", "warning"],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "portal.tests.plain_settings",
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


Ask = tuple[str | None, str, int, set[str]]  # session, path; status and facilities to be shown


def _asks(parks: tuple[Park, Park]) -> list[Ask]:
    asks: list[Ask] = [(None, "/", 302, set())]
    for park, foreign in (parks, parks[::-1]):
        first, second = park.branches
        own, both = {first.facility.name}, {first.facility.name, second.facility.name}
        # A consumer is led on to the consumer's door.
        for user, status, overview in ((park.manager, 200, both), (park.consumer(0), 302, set())):
            cookie = session_cookie(user)
            asks += [
                (cookie, "/", status, overview),
                (cookie, f"/facilities/{first.facility.pk}/", 200, own),
                (cookie, f"/facilities/{foreign.branches[0].facility.pk}/", 404, set()),
            ]
    return asks


def test_concurrent_requests_keep_their_scopes_apart(
    web: Web, django_db_blocker: DjangoDbBlocker
) -> None:
    with django_db_blocker.unblock():  # committed, for another process reads the sessions
        asks = _asks(web.parks)
    asks *= _ROUNDS
    random.Random(20260301).shuffle(asks)
    names = {branch.facility.name for park in web.parks for branch in park.branches}

    def ask(one: Ask) -> tuple[int, set[str]]:
        status, text = web.get(one[1], one[0])
        return status, {name for name in names if name in text}

    with ThreadPoolExecutor(_AT_ONCE) as crowd:
        answers = list(crowd.map(ask, asks))
    assert answers == [(status, shown) for _, _, status, shown in asks]


@pytest.mark.django_db
def test_statements_and_idle_transactions_of_the_application_end() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),"
            " current_setting('idle_in_transaction_session_timeout')"
        )
        assert cursor.fetchone() == ("30s", "10s", "5min")


def test_what_a_web_process_loads_is_out_of_the_collectors_sight() -> None:
    # In a process of its own: what is frozen here would stay so for the other tests.
    script = "import portal.asgi, gc; print(gc.get_freeze_count(), len(gc.get_objects()))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=settings.BASE_DIR,
        env={**os.environ, "SECRET_KEY": settings.SECRET_KEY},
        capture_output=True,
        text=True,
        check=True,
    )
    frozen, looked_at = map(int, done.stdout.split())
    assert frozen > 100_000
    assert looked_at < frozen / 10

"""Health with a real database and a Redis that is taken away."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator

import psycopg
import pytest
import redis
from django.test import Client
from pytest_django import Settings

from devices.ingest import heartbeat
from portal import health
from portal.devstack import packages, process
from portal.devstack.home import current
from portal.devstack.redis_server import Redis
from portal.devstack.servers import Endpoints

pytestmark = pytest.mark.django_db(databases=["default", "owner"])


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is asked anew: the outcome of the test before must not answer it."""
    monkeypatch.setattr(health, "_FRESH_SECONDS", 0.0)


@pytest.fixture
def own_redis(settings: Settings) -> Iterator[Redis]:
    """A Redis that the test may kill, with a sign of life of every process."""
    home = current()
    folder = home.path / "tests" / f"health-{os.getpid()}"
    folder.mkdir(parents=True)
    program = packages.find(home, print).redis_server
    server = Redis(
        program, folder / "redis", folder / "redis.log", process.free_port(), home.secret("redis")
    )
    server.launch()
    server.wait_ready()
    settings.REDIS_URL = server.url
    with redis.Redis.from_url(server.url) as client:
        for name in health.PROCESSES:
            heartbeat.beat(client, name, "test-1")
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_live_answers_without_dependencies(client: Client, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = client.get("/health/live")
    assert (response.status_code, response.json()) == (200, {"status": "live"})


def test_ready_names_every_dependency_and_process(client: Client, own_redis: Redis) -> None:
    response = client.get("/health/ready")
    up = {"status": "up"}
    one = {"status": "up", "instances": 1}
    assert response.json() == {
        "status": "ready",
        "dependencies": {"database": up, "migrations": up, "redis": up},
        "processes": {
            "web": up,
            "bridge": one,
            "writer": one,
            "live": one,
            "dispatcher": one,
            "worker": one,
            "beat": one,
        },
    }
    assert response.status_code == 200
    assert "no-store" in response.headers["Cache-Control"]


def test_ready_is_503_while_a_process_is_missing(client: Client, own_redis: Redis) -> None:
    with redis.Redis.from_url(own_redis.url) as connection:
        heartbeat.clear(connection, "writer", "test-1")
        heartbeat.beat(connection, "bridge", "test-2")
    response = client.get("/health/ready")
    processes = response.json()["processes"]
    assert response.status_code == 503
    assert processes["writer"] == {"status": "down"}
    assert processes["bridge"] == {"status": "up", "instances": 2}


def test_ready_is_503_when_redis_is_killed(client: Client, own_redis: Redis) -> None:
    own_redis.kill()
    response = client.get("/health/ready")
    assert response.status_code == 503
    body = response.json()
    assert body["dependencies"]["redis"] == {"status": "down"}
    assert body["dependencies"]["database"] == {"status": "up"}
    assert body["processes"]["writer"] == {"status": "unknown"}


def test_ready_answers_while_redis_hangs(client: Client, own_redis: Redis) -> None:
    assert own_redis.server is not None
    own_redis.server.send_signal(signal.SIGSTOP)
    try:
        response = client.get("/health/ready")
    finally:
        own_redis.server.send_signal(signal.SIGCONT)
    assert response.status_code == 503
    assert response.json()["dependencies"]["redis"]["status"] in {"down", "no answer"}


def test_ready_counts_pending_migrations(
    client: Client, own_redis: Redis, servers: Endpoints
) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as owner:
        removed = owner.execute(
            "DELETE FROM django_migrations WHERE app = 'devices' RETURNING app, name, applied"
        ).fetchall()
        try:
            response = client.get("/health/ready")
        finally:
            with owner.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO django_migrations (app, name, applied) VALUES (%s, %s, %s)",
                    removed,
                )
    assert response.status_code == 503
    assert response.json()["dependencies"]["migrations"] == {
        "status": "pending",
        "count": len(removed),
    }


def test_ready_tells_no_secrets(client: Client, own_redis: Redis, servers: Endpoints) -> None:
    own_redis.kill()
    text = client.get("/health/ready").content.decode()
    secrets = [own_redis.password, "127.0.0.1", "wattline_app", servers.database_url]
    assert [secret for secret in secrets if secret in text] == []


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_health_is_read_only(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405

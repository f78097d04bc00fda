"""Fixtures of the tests that run a real bridge."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from redis import Redis

from devices.ingest.writer import Writer, WriterOptions
from devices.tests.bridge_devices import WAIT_S, RunningBridge, Servers, bridge_options
from devices.tests.device_server import make_certificate
from devices.tests.ingest_park import Owner


@pytest.fixture
def owner(servers: Servers) -> Iterator[Owner]:
    """The database as its owner, every statement committed."""
    with psycopg.connect(servers.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def redis(servers: Servers) -> Iterator[Redis]:
    """An empty Redis."""
    with Redis.from_url(servers.redis_url) as client:
        client.flushall()
        yield client


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """Certificate (its own authority) and key of a bridge on localhost."""
    return make_certificate(tmp_path)


@pytest.fixture
def bridges(
    servers: Servers, redis: Redis, certificate: tuple[Path, Path]
) -> Iterator[Callable[..., RunningBridge]]:
    """Starts bridges; they stop with the test, and must stop well."""
    started: list[RunningBridge] = []

    def start(**changes: Any) -> RunningBridge:
        started.append(RunningBridge(bridge_options(servers, certificate, **changes)))
        return started[-1]

    yield start
    for bridge in started:
        bridge.stop()


@pytest.fixture
def writer(servers: Servers, redis: Redis) -> Iterator[Writer]:
    """A writer at work."""
    writer = Writer(
        WriterOptions(
            database_url=servers.database_ingest_url,
            redis_url=servers.redis_url,
            instance="writer-of-a-test",
        )
    )
    thread = threading.Thread(target=writer.run, name="writer")
    thread.start()
    yield writer
    writer.stop()
    thread.join(WAIT_S)
    assert not thread.is_alive()

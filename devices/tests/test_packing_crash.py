"""Packing killed at any moment: nothing lost, nothing doubled, the same packed days."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections

from devices.domain import packing
from devices.models import Device
from devices.tests import factories
from devices.tests.test_packing import (
    END,
    NONE,
    Kept,
    agree,
    make_device,
    pack,
    read,
    same,
    scope_of,
    some_rows,
    write,
)
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.crash,
    pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"]),
]

ROUNDS = 50


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


def _work(tenant_id: int) -> None:
    """Pack in small steps, until nothing is left."""
    crowded = True
    while crowded:
        with open_scope(Scope((tenant_id,))):
            crowded = packing.pack(before=END).crowded
    packing.drop_empty_chunks(before=END)


def _killed(tenant_id: int, after_s: float) -> None:
    """A process of its own that works, and is killed."""
    for each in connections.all():
        each.close()
        each.close_pool()  # type: ignore[attr-defined] # of PostgreSQL's wrapper
    child = os.fork()
    if child == 0:
        try:
            _work(tenant_id)
        finally:
            os._exit(0)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _stored(table: str, device: Device) -> list[Any]:
    with connections["owner"].cursor() as cursor:
        columns = "starts_at" if table == "rollup_15m" else "starts_at, body"
        cursor.execute(
            f"SELECT {columns} FROM {table} WHERE device_id = %s ORDER BY 1", [device.pk]
        )
        return list(cursor.fetchall())


def test_killed_fifty_times_nothing_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    draw, chance = random.Random(4), random.Random(5)
    killed, undisturbed = make_device(), make_device()
    expected: Kept = {}
    interrupted = 0
    monkeypatch.setattr(packing, "MAX_DAYS", 1)
    for _ in range(ROUNDS):
        rows = some_rows(draw) | some_rows(draw)
        gone = draw.sample(sorted(expected), min(len(expected), 3))
        for device in (killed, undisturbed):
            write(device, rows)
            if gone:
                write(device, dict.fromkeys(gone, NONE))
        expected = {key: row for key, row in (expected | rows).items() if key not in set(gone)}
        _killed(killed.tenant_id, chance.uniform(0.02, 0.2))
        assert same(read(killed), expected)
        interrupted += len(_stored("rollup_15m", killed)) > 0
    assert interrupted > ROUNDS // 4  # they were killed at work, not after it
    monkeypatch.undo()
    _work(killed.tenant_id)
    assert pack(undisturbed, END).last == undisturbed.pk
    agree(killed, expected, "Europe/Berlin")
    for table in ("rollup_15m", "rollup_packed"):
        assert _stored(table, killed) == _stored(table, undisturbed)
    with open_scope(scope_of(undisturbed)):
        assert packing.pack(before=END).last is None

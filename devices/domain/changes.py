"""What has changed in the past of devices: what bills restate by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import connection

from devices.telemetry import redo_store
from devices.telemetry.redo_store import Change

MOST: Final = 10_000


def changes_after(number: int, *, limit: int = MOST) -> Sequence[Change]:
    """The changes announced after the one with `number` (0: from the beginning), in order.

    Numbers rise in the order in which changes become visible: who goes on from the last one that
    it has read misses none. Needs an open scope and sees what it holds.
    """
    return redo_store.changes_after(connection, number, limit=limit)


def last_change() -> int:
    """The number of the last announced change, 0 before the first: what is read afterwards knows
    all changes up to it. Needs an open scope and sees what it holds.
    """
    return redo_store.last_change(connection)

"""What roll-outs need to know of connections, and the locks by which they take turns.

Every function takes an open Django connection and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.backends.base.base import BaseDatabaseWrapper


@dataclass(frozen=True, slots=True)
class FirmwareFacts:
    """A device's connection and what it said of itself at its beginning.

    `capabilities` is None before its first connection; `image_sha256` (hex) is empty when it does
    not tell.
    """

    device_id: int
    connected: bool
    connection: int
    firmware_version: str
    image_sha256: str
    hardware_revision: str
    capabilities: int | None


def facts(connection: BaseDatabaseWrapper, device_ids: Sequence[int]) -> dict[int, FirmwareFacts]:
    """The facts of some devices by id; one query."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT device_id, connected, connection, firmware_version,"
            " coalesce(image_sha256, ''), coalesce(hardware_revision, ''), capabilities"
            " FROM device_link WHERE device_id = ANY(%s)",
            [list(device_ids)],
        )
        return {row[0]: FirmwareFacts(*row) for row in cursor.fetchall()}


def inbox_waits(connection: BaseDatabaseWrapper, topic: str, device_ids: Sequence[int]) -> bool:
    """Whether one of some devices has said something of a topic that nobody has taken yet."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM device_inbox WHERE topic = %s AND device_id = ANY(%s))",
            [topic, list(device_ids)],
        )
        row = cursor.fetchone()
    return row is not None and bool(row[0])


def hold_turn(connection: BaseDatabaseWrapper, work: str) -> None:
    """Wait until nobody else does some work; nobody else will before this transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"wattline:{work}"]
        )

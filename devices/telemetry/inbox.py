"""The inbox: what devices have said that the application must act on (`command_schema.py`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

# Of the advisory locks, one for each topic: the name of the table as a number.
_LOCKS: Final = 0x1B0C


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One thing that a device has said: `body` by the topic and kind, instants in UTC."""

    row_id: int
    tenant_id: int
    device_id: int
    topic: str
    kind: str
    occurred_at: datetime
    received_at: datetime
    body: dict[str, Any]


def take(connection: BaseDatabaseWrapper, topic: str, most: int) -> list[InboxRow]:
    """Delete the oldest rows of a topic in the scope, at most `most`, and return them by id.

    Nothing while somebody else has taken of this topic and not ended its transaction.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s, hashtext(%s))", [_LOCKS, topic])
        row = cursor.fetchone()
        if row is None or not row[0]:
            return []
        cursor.execute(
            "WITH oldest AS MATERIALIZED ("
            " SELECT id FROM device_inbox WHERE topic = %s ORDER BY id LIMIT %s)"
            " DELETE FROM device_inbox i USING oldest o WHERE i.id = o.id"
            " RETURNING i.id, i.tenant_id, i.device_id, i.topic, i.kind, i.occurred_at,"
            " i.received_at, i.body::text",
            [topic, most],
        )
        rows: Sequence[tuple[Any, ...]] = cursor.fetchall()
    found = (InboxRow(*(*row[:7], json.loads(row[7]))) for row in rows)
    return sorted(found, key=lambda row: row.row_id)

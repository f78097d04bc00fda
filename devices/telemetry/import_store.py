"""What an import of history asks of the database beside segments.

Every function takes an open Django connection with a scope, inside a transaction.
"""

from __future__ import annotations

from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from devices.telemetry.segment_store import moment

_JOIN: Final = (
    "INSERT INTO rollup_progress (device_id, tenant_id) VALUES (%s, %s) ON CONFLICT DO NOTHING"
)
_LOCK: Final = "SELECT FROM rollup_progress WHERE device_id = %s FOR UPDATE"
_FRAMES: Final = (
    "SELECT EXISTS (SELECT FROM telemetry_frame"
    " WHERE device_id = %s AND started_at < %s AND ended_at >= %s)"
)


def lock(connection: BaseDatabaseWrapper, tenant_id: int, device_id: int) -> None:
    """Hold the device as rollers and movers do, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute(_JOIN, [device_id, tenant_id])
        cursor.execute(_LOCK, [device_id])


def has_frames(connection: BaseDatabaseWrapper, device_id: int, start_ms: int, end_ms: int) -> bool:
    """Whether a device has frames with readings in [start, end) (ms since the Unix epoch)."""
    with connection.cursor() as cursor:
        cursor.execute(_FRAMES, [device_id, moment(end_ms), moment(start_ms)])
        return bool(cursor.fetchone()[0])

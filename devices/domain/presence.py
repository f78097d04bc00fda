"""Devices that keep no connection but ask from time to time: when they were last heard of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import connection

from devices.telemetry import status

SILENT = "silent"


def seen(*, tenant_id: int, device_id: int, now: datetime) -> None:
    """The device has asked: it counts as connected until it was silent for long.

    One that also has a connection over a bridge is told about by the bridge.
    """
    if status.mark_seen(connection, device_id, now):
        status.record_event(
            connection,
            tenant_id=tenant_id,
            device_id=device_id,
            occurred_at=now,
            kind="connected",
            data={"by": "polling"},
        )


def told_version(*, device_id: int, version: str) -> None:
    """The device has said what it runs."""
    status.set_firmware_version(connection, device_id, version)


def close_silent(*, silence_s: Mapping[int, int], now: datetime) -> int:
    """Take devices that ask from time to time as disconnected when they did not for so many seconds
    (by tenant); returns how many.
    """
    closed = status.close_silent(connection, silence_s, now)
    for device_id, tenant_id in closed:
        status.record_event(
            connection,
            tenant_id=tenant_id,
            device_id=device_id,
            occurred_at=now,
            kind="disconnected",
            data={"reason": SILENT, "text": "the device has not asked for a while"},
        )
    return len(closed)

"""Links of devices whose bridge died without saying goodbye."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from django.db import connection

from devices.telemetry import status

BRIDGE_LOST = "bridge_lost"


def bridges() -> frozenset[str]:
    """The bridges that hold a link of the scope, as far as the database knows."""
    return status.linked_bridges(connection)


def close_links_of(lost: Collection[str], *, now: datetime) -> int:
    """Take the devices of lost bridges as disconnected; returns how many.

    Each gets an event in its connection history. A device that has come back over another bridge
    is linked to that one, and is not touched.
    """
    closed = status.close_links(connection, list(lost), now)
    for device_id, tenant_id, bridge in closed:
        status.record_event(
            connection,
            tenant_id=tenant_id,
            device_id=device_id,
            occurred_at=now,
            kind="disconnected",
            data={"reason": BRIDGE_LOST, "bridge": bridge, "text": "the bridge was lost"},
        )
    return len(closed)

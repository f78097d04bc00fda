"""A small park in any migrated database, made as the owner, and the questions that tests ask.

Plain SQL: crash tests use servers of their own, which Django does not know.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg

from devices.ingest.ledger import DeviceTotals, Imbalance, check

Owner = psycopg.Connection[tuple[Any, ...]]


class Endpoints(Protocol):
    """Where a test's servers are: what the fixture `servers` gives."""

    @property
    def database_url(self) -> str: ...
    @property
    def database_app_url(self) -> str: ...
    @property
    def database_ingest_url(self) -> str: ...
    @property
    def redis_url(self) -> str: ...


# Raw limits of every channel: physical limits of ±1 MW at a resolution of 0.1 W.
RAW_LIMIT = 10_000_000


@dataclass(frozen=True)
class ParkDevice:
    """A registered device and the secret that only it knows."""

    device_id: int
    tenant_id: int
    serial: str
    secret: bytes
    device_type: str


def make_park(owner: Owner, devices: int, channels: int = 3) -> list[ParkDevice]:
    """A tenant with one facility and `devices` active devices, cursors at zero."""
    mark = secrets.token_hex(4)
    (tenant_id,) = _one(
        owner,
        "INSERT INTO tenants_tenant (kind, name, slug, time_zone, language, created_at)"
        " VALUES ('operator', %s, %s, 'UTC', 'en', now()) RETURNING id",
        f"Park {mark}",
        f"park-{mark}",
    )
    (facility_id,) = _one(
        owner,
        "INSERT INTO devices_facility (tenant_id, name, kind, street, postal_code, city, region,"
        " country, time_zone, created_at)"
        " VALUES (%s, 'Site', 'site', '', '', '', '', '', 'Europe/Berlin', now()) RETURNING id",
        tenant_id,
    )
    device_type = f"meter-{mark}"
    (type_id,) = _one(
        owner,
        "INSERT INTO devices_devicetype (tenant_id, code, version, manufacturer, name, step_ms,"
        " samples, capabilities, created_at)"
        " VALUES (%s, %s, '1', '', 'Meter', 2000, 30, '{}', now()) RETURNING id",
        tenant_id,
        device_type,
    )
    return [
        _make_device(owner, tenant_id, facility_id, type_id, device_type, channels)
        for _ in range(devices)
    ]


def _make_device(
    owner: Owner, tenant_id: int, facility_id: int, type_id: int, device_type: str, channels: int
) -> ParkDevice:
    serial = f"P-{secrets.token_hex(6)}"
    secret = secrets.token_bytes(32)
    (device_id,) = _one(
        owner,
        "INSERT INTO devices_device (tenant_id, facility_id, device_type_id, serial, name,"
        " placement, state, secret_sha256, hardware_revision, created_at)"
        " VALUES (%s, %s, %s, %s, %s, 'mains', 'active', %s, '', now()) RETURNING id",
        tenant_id,
        facility_id,
        type_id,
        serial,
        serial,
        hashlib.sha256(secret).digest(),
    )
    for number in range(channels):
        owner.execute(
            "INSERT INTO devices_channel (tenant_id, device_id, number, key, name, quantity, unit,"
            " resolution, minimum, maximum, in_total)"
            " VALUES (%s, %s, %s, %s, 'Power', 'active_power', 'W', 0.1, -1000000, 1000000, false)",
            [tenant_id, device_id, number, f"active_power_{number}"],
        )
    owner.execute(
        "INSERT INTO device_cursor (device_id, tenant_id) VALUES (%s, %s)", [device_id, tenant_id]
    )
    return ParkDevice(device_id, tenant_id, serial, secret, device_type)


def rows(owner: Owner, query: str, *parameters: object) -> list[tuple[Any, ...]]:
    """The rows of a query."""
    return owner.execute(query, parameters).fetchall()


def _one(owner: Owner, query: str, *parameters: object) -> tuple[Any, ...]:
    (row,) = rows(owner, query, *parameters)
    return row


def totals(owner: Owner) -> list[DeviceTotals]:
    """Cursor, ledger and frames of every device, ascending."""
    found = rows(
        owner,
        "SELECT device_id, committed, produced, coalesce(stored, 0), coalesce(duplicate, 0),"
        " coalesce(quarantined, 0), coalesce(skipped, 0), coalesce(other, 0), coalesce(frames, 0),"
        " coalesce(doubled, 0)"
        " FROM device_cursor"
        " LEFT JOIN (SELECT device_id, sum(stored)::bigint AS stored,"
        "   sum(duplicate)::bigint AS duplicate, sum(quarantined)::bigint AS quarantined,"
        "   sum(skipped)::bigint AS skipped, sum(other)::bigint AS other"
        "   FROM ledger_hour GROUP BY device_id) AS ledger USING (device_id)"
        " LEFT JOIN (SELECT device_id, count(*) AS frames,"
        "   count(*) - count(DISTINCT sequence) AS doubled"
        "   FROM telemetry_frame GROUP BY device_id) AS frame USING (device_id)"
        " ORDER BY device_id",
    )
    return [DeviceTotals(*row) for row in found]


def imbalances(owner: Owner) -> list[Imbalance]:
    """What the conservation check finds in the whole database."""
    return check(totals(owner))

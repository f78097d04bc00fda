"""The doors through which a device is claimed; migration 0005 of this app makes them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection


@dataclass(frozen=True, slots=True)
class Found:
    """What the label says, and `state`: open, used, withdrawn, expired or taken."""

    serial: str
    device_type: str
    hardware_revision: str
    placement: str
    tenant_name: str
    state: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Moved:
    """A claimed device; both tenants are the same when it was in the claimer's tenant already."""

    device_id: int
    former_tenant_id: int
    tenant_id: int


def look_up(digest: bytes) -> Found | None:
    """The device of a code, when the scope holds its tenant or one below; else None."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT serial, device_type, hardware_revision, placement, tenant_name, state,"
            " expires_at FROM door_claim(%s)",
            [digest],
        )
        row = cursor.fetchone()
    return None if row is None else Found(*row)


def claim(digest: bytes, facility_id: int, name: str, placement: str) -> Moved:
    """Move the device of a code into a facility of the scope and activate it.

    Raises IntegrityError with a constraint `devices_claimcode_…`: facility, unknown, used,
    withdrawn, expired or taken.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT claimed_device, former_tenant, current_tenant"
            " FROM door_claim_device(%s, %s, %s, %s)",
            [digest, facility_id, name, placement],
        )
        row = cursor.fetchone()
    assert row is not None
    return Moved(*row)

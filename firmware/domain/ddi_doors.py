"""Who asks over the DDI interface, before a scope can be opened."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from devices.models.device_type import SERIAL_PATTERN
from firmware.ddi.tokens import Presented
from firmware.models.ddi import DdiHandling
from tenants.scope import Scope

# What is no serial of a device is not looked up: PostgreSQL takes no text with NUL.
_SERIAL: Final = re.compile(SERIAL_PATTERN)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the tenant set for its devices."""

    polling_s: int
    busy_polling_s: int
    handling: DdiHandling
    confirmation: bool


@dataclass(frozen=True, slots=True)
class Controller:
    """A device that has shown its token, or a gateway that has shown its tenant's. `tenant` is the
    short name as it was asked for.
    """

    tenant_id: int
    tenant: str
    device_id: int
    facility_id: int
    serial: str
    rules: Rules

    @property
    def scope(self) -> Scope:
        """What a device reaches: what is of its own facility."""
        return Scope((self.tenant_id,), (self.facility_id,))


class NotAdmitted(Exception):  # noqa: N818 - it reads as what happened
    """The token opens nothing here; why is not told."""


class UnknownController(Exception):  # noqa: N818 - it reads as what happened
    """A gateway speaks for a device that its tenant does not have, or not for DDI."""


class InactiveController(Exception):  # noqa: N818 - it reads as what happened
    """The device is not active: planned, suspended or revoked."""


def admit(*, tenant: str, controller: str, presented: Presented) -> Controller:
    """The device behind an address (short name of the tenant, serial) and a token.

    Raises NotAdmitted, UnknownController or InactiveController; the latter two only towards whoever
    holds a token of the tenant.
    """
    if _SERIAL.fullmatch(controller) is None:
        raise NotAdmitted
    row = _behind_the_door(tenant, controller)
    if row is None and tenant != tenant.lower():
        # To hawkBit the letters of a tenant are the same in both cases.
        row = _behind_the_door(tenant.lower(), controller)
    target, gateway = (row[4], row[5]) if row else (None, None)
    if not presented.opens(target=target, gateway=gateway) or row is None:
        raise NotAdmitted
    if row[1] is None:
        raise UnknownController
    if not row[3]:
        raise InactiveController
    return Controller(
        tenant_id=row[0],
        tenant=tenant,
        device_id=row[1],
        facility_id=row[2],
        serial=controller,
        rules=Rules(row[6], row[7], DdiHandling(row[8]), row[9]),
    )


def _behind_the_door(tenant: str, controller: str) -> tuple[Any, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tenant_id, device_id, facility_id, active, target_sha256, gateway_sha256,"
            " polling_s, busy_polling_s, handling, confirmation FROM door_ddi(%s, %s)",
            [tenant, controller],
        )
        row: tuple[Any, ...] | None = cursor.fetchone()
        return row

"""What tenants demand of commands and roll-outs, with what the tenants above them demand.

Every function needs an open scope that contains the tenant; of one outside the database tells
nothing, not even that nothing is demanded (42501).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import connection
from django.db.models import BooleanField, Expression, F, Func

from devices.domain.commands_policy import CommandRule, command_rule
from firmware.models import FirmwarePolicy
from tenants.domain.two_persons import OffAsked


@dataclass(frozen=True, slots=True)
class Demands:
    """What is demanded of roll-outs: a second person, downloads at once, bytes per second of all
    together; None: no limit.
    """

    second_person: bool = False
    max_downloads: int | None = None
    bytes_per_s: int | None = None

    def with_(self, other: Demands) -> Demands:
        """Both of them."""
        return Demands(
            self.second_person or other.second_person,
            _narrower(self.max_downloads, other.max_downloads),
            _narrower(self.bytes_per_s, other.bytes_per_s),
        )


@dataclass(frozen=True, slots=True)
class FirmwareRule:
    """The demands of a tenant (`own`) and those of all above it together.

    `off_asked`: somebody else has to agree before the tenant's own second person is given up.
    """

    own: Demands
    above: Demands
    off_asked: OffAsked | None

    @property
    def counts(self) -> Demands:
        """What binds the roll-outs of the tenant."""
        return self.own.with_(self.above)


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a tenant for commands and for roll-outs."""

    commands: CommandRule
    firmware: FirmwareRule


def rules(*, tenant_id: int) -> Rules:
    """All of them; four queries."""
    return Rules(command_rule(tenant_id=tenant_id), firmware_rule(tenant_id=tenant_id))


def firmware_rule(*, tenant_id: int) -> FirmwareRule:
    """The rule of a tenant for its roll-outs; two queries."""
    own, above = _demands(tenant_id)
    row = FirmwarePolicy.objects.filter(tenant_id=tenant_id).select_related("off_asked_by").first()
    return FirmwareRule(own, above, OffAsked.of(row))


def demands(*, tenant_id: int) -> Demands:
    """What binds the roll-outs of a tenant; one query."""
    own, above = _demands(tenant_id)
    return own.with_(above)


def second_person(*, tenant_id: int) -> bool:
    """Whether somebody else has to approve; one query."""
    return demands(tenant_id=tenant_id).second_person


def demands_second_person(tenant_id: Expression | F) -> Func:
    """The same, for a query set of rows in the scope."""
    return Func(tenant_id, template=_DEMANDED, output_field=BooleanField())


_DEMANDED: Final = (
    "(SELECT d.own_second OR d.above_second FROM door_firmware_policy(%(expressions)s) d)"
)


def _demands(tenant_id: int) -> tuple[Demands, Demands]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_firmware_policy(%s)", [tenant_id])
        row = cursor.fetchone()
    assert row is not None, "it aggregates"
    return Demands(*row[:3]), Demands(*row[3:])


def _narrower(one: int | None, other: int | None) -> int | None:
    given = [limit for limit in (one, other) if limit is not None]
    return min(given, default=None)

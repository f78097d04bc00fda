"""What tenants demand of commands and roll-outs, with what the tenants above them demand.

Every function needs an open scope that contains the tenant; of one outside the database tells
nothing, not even that nothing is demanded (42501).
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.domain.commands_policy import CommandRule, command_rule
from firmware.domain.policy_doors import Demands, demands_of
from firmware.models import FirmwarePolicy
from tenants.domain.two_persons import OffAsked


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
    own, above = demands_of(tenant_id)
    row = FirmwarePolicy.objects.filter(tenant_id=tenant_id).select_related("off_asked_by").first()
    return FirmwareRule(own, above, OffAsked.of(row))


def demands(*, tenant_id: int) -> Demands:
    """What binds the roll-outs of a tenant; one query."""
    own, above = demands_of(tenant_id)
    return own.with_(above)


def second_person(*, tenant_id: int) -> bool:
    """Whether somebody else has to approve; one query."""
    return demands(tenant_id=tenant_id).second_person

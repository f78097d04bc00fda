"""Who may ask for what, and when a second person has to agree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.db import connection, transaction
from django.utils.translation import gettext as _

from devices.commands.kinds import Wanted
from devices.commands.states import Origin
from devices.models import CommandPolicy
from devices.telemetry import command_store
from tenants.domain import audit
from tenants.domain.two_persons import NeedsPersonError, OffAsked, turned
from tenants.permissions import Permission

# What these ask for has been asked for, and approved, before.
_BEYOND_APPROVAL: Final = frozenset({Origin.RECONCILIATION, Origin.ROLLOUT})


class NotAllowedError(Exception):
    """The actor may not do this; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the person (None: a service account or the system) and what it may do."""

    user_id: int | None
    permissions: frozenset[Permission]

    def require(self, permission: Permission, sentence: str) -> None:
        """Raise NotAllowedError with the sentence unless the permission is there."""
        if permission not in self.permissions:
            raise NotAllowedError(sentence)


SYSTEM: Final = Actor(None, frozenset(Permission))


def require_asking(actor: Actor, wanted: Wanted) -> None:
    """Raise NotAllowedError unless the actor may ask for the command."""
    actor.require(Permission.DEVICES_CONTROL, _("You may not send commands to devices."))
    if wanted.off:
        actor.require(
            Permission.DEVICES_DISABLE, _("You may not ask for an output to be switched off.")
        )


def needs_approval(actor: Actor, wanted: Wanted, *, origin: Origin, tenant_id: int) -> bool:
    """Whether a second person has to agree: for switching off, where the tenant or one above it
    asks it of everybody, and else where the actor may not approve itself.
    """
    if not wanted.off or origin in _BEYOND_APPROVAL:
        return False
    if Permission.DEVICES_APPROVE not in actor.permissions:
        return True
    return two_persons(tenant_id=tenant_id)


def two_persons(*, tenant_id: int) -> bool:
    """Whether the tenant, or one above it, wants a second person for every switching off, whoever
    asks; one query.
    """
    own, above = command_store.two_persons(connection, tenant_id)
    return own or above


@dataclass(frozen=True, slots=True)
class CommandRule:
    """Two persons for every switching off: as the tenant wants it (`own`) and as one above it does.

    `off_asked`: somebody else has to agree before the tenant's own rule is switched off.
    """

    own: bool
    above: bool
    off_asked: OffAsked | None

    @property
    def counts(self) -> bool:
        """Whether it takes two persons."""
        return self.own or self.above


def command_rule(*, tenant_id: int) -> CommandRule:
    """The rule of a tenant; two queries."""
    own, above = command_store.two_persons(connection, tenant_id)
    row = CommandPolicy.objects.filter(tenant_id=tenant_id).select_related("off_asked_by").first()
    return CommandRule(own, above, OffAsked.of(row))


@transaction.atomic
def set_two_persons(
    *, actor: Actor, tenant_id: int, wanted: bool, now: datetime | None = None
) -> bool:
    """Say so; what is queued already stays so. Returns whether anything changed.

    Off takes two persons: the first asks for it, the second does it; `SYSTEM` does it at once.
    Raises NotAllowedError.
    """
    actor.require(Permission.TENANTS_CHANGE, _("You may not change how commands are approved."))
    row, _made = CommandPolicy.objects.select_for_update().get_or_create(tenant_id=tenant_id)
    try:
        values = turned(
            row,
            "two_persons",
            wanted=wanted,
            by=actor.user_id,
            system=actor is SYSTEM,
            now=now or datetime.now(UTC),
        )
    except NeedsPersonError as error:
        raise NotAllowedError(needs_person()) from error
    return audit.update(
        row, values, actor_id=actor.user_id, action="command_policy.change", validate=False
    )


def needs_person() -> str:
    """Why a service account cannot switch such a rule off."""
    return _(
        "Two persons have to agree that this is switched off: sign in, or use an application that"
        " somebody has allowed to act for him, not a service account."
    )

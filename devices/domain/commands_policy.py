"""Who may ask for what, and when a second person has to agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.utils.translation import gettext as _

from devices.commands.kinds import Wanted
from devices.commands.states import Origin
from devices.models import CommandPolicy
from tenants.domain import audit
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
    """Whether a second person has to agree: for switching off, where the tenant asks it of
    everybody, and else where the actor may not approve itself.
    """
    if not wanted.off or origin in _BEYOND_APPROVAL:
        return False
    if Permission.DEVICES_APPROVE not in actor.permissions:
        return True
    return two_persons(tenant_id=tenant_id)


def two_persons(*, tenant_id: int) -> bool:
    """Whether the tenant wants a second person for every switching off, whoever asks."""
    return CommandPolicy.objects.filter(tenant_id=tenant_id, two_persons=True).exists()


@transaction.atomic
def set_two_persons(*, actor: Actor, tenant_id: int, wanted: bool) -> bool:
    """Say so; what is queued already stays so. Returns whether anything changed.

    Raises NotAllowedError.
    """
    actor.require(Permission.TENANTS_CHANGE, _("You may not change how commands are approved."))
    row, _made = CommandPolicy.objects.select_for_update().get_or_create(tenant_id=tenant_id)
    return audit.update(
        row, {"two_persons": wanted}, actor_id=actor.user_id, action="command_policy.change"
    )

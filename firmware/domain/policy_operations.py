"""Changing what a tenant demands of commands and roll-outs; each change is audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any, Final

from django.db import transaction
from django.utils.translation import gettext as _

from devices.domain.commands_policy import (
    SYSTEM,
    Actor,
    NotAllowedError,
    needs_person,
    set_two_persons,
)
from devices.models import CommandPolicy
from firmware.domain import policy_queries
from firmware.domain.rollout_operations import RolloutRefused
from firmware.models import FirmwarePolicy
from tenants.domain import audit
from tenants.domain.two_persons import NeedsPersonError, turned
from tenants.permissions import Permission

# What the columns hold.
MOST_DOWNLOADS: Final = 2**31 - 1
MOST_BYTES_PER_S: Final = 2**63 - 1
_MOST: Final = {"max_downloads": MOST_DOWNLOADS, "bytes_per_s": MOST_BYTES_PER_S}


class Same(Enum):
    """Not given: it stays as it is."""

    SAME = "same"


SAME: Final = Same.SAME


class Rule(StrEnum):
    """A rule that wants two persons: for switching off, or for roll-outs."""

    COMMANDS = "commands"
    FIRMWARE = "firmware"


_MODELS: Final[Mapping[Rule, type[CommandPolicy | FirmwarePolicy]]] = {
    Rule.COMMANDS: CommandPolicy,
    Rule.FIRMWARE: FirmwarePolicy,
}


@dataclass(frozen=True, slots=True)
class Change:
    """What shall be different. A limit of None is none; `two_persons` is that of commands."""

    two_persons: bool | Same = SAME
    second_person: bool | Same = SAME
    max_downloads: int | Same | None = SAME
    bytes_per_s: int | Same | None = SAME


@transaction.atomic
def change(*, actor: Actor, tenant_id: int, wanted: Change, now: datetime | None = None) -> bool:
    """Change rules of a tenant; returns whether anything changed.

    A rule that wants two persons is switched off by two: the first asks for it, the second does it;
    `SYSTEM` does it at once. What the tenants above demand stays, whatever is wanted here. Raises
    NotAllowedError, RolloutRefused.
    """
    actor.require(Permission.TENANTS_CHANGE, _("You may not change how commands are approved."))
    now = now or datetime.now(UTC)
    changed = False
    if wanted.two_persons is not SAME:
        changed |= set_two_persons(
            actor=actor, tenant_id=tenant_id, wanted=wanted.two_persons, now=now
        )
    if (wanted.second_person, wanted.max_downloads, wanted.bytes_per_s) != (SAME, SAME, SAME):
        changed |= _change_firmware(actor, tenant_id, wanted, now)
    return changed


@transaction.atomic
def decide(
    *, actor: Actor, tenant_id: int, rule: Rule, agree: bool, now: datetime | None = None
) -> bool:
    """Agree that a rule is switched off, which somebody else has asked for, or keep it.

    Returns whether that was done: not where nobody has asked (any more), or the actor has asked and
    agrees with himself. Who has asked takes it back by keeping it. Raises NotAllowedError.
    """
    row = _MODELS[rule].objects.select_for_update().filter(tenant_id=tenant_id).first()
    if row is None or row.off_asked_by_id is None:
        return False
    if agree and row.off_asked_by_id == actor.user_id:
        return False
    on = not agree
    wanted = Change(two_persons=on) if rule is Rule.COMMANDS else Change(second_person=on)
    return change(actor=actor, tenant_id=tenant_id, wanted=wanted, now=now)


def _change_firmware(actor: Actor, tenant_id: int, wanted: Change, now: datetime) -> bool:
    row, _made = FirmwarePolicy.objects.select_for_update().get_or_create(tenant_id=tenant_id)
    values: dict[str, Any] = {
        name: value
        for name, value in (
            ("max_downloads", wanted.max_downloads),
            ("bytes_per_s", wanted.bytes_per_s),
        )
        if value is not SAME and value != getattr(row, name)
    }
    above = policy_queries.firmware_rule(tenant_id=tenant_id).above if values else None
    for name, value in values.items():
        _check_limit(name, value, getattr(above, name))
    if wanted.second_person is not SAME:
        try:
            values |= turned(
                row,
                "second_person",
                wanted=wanted.second_person,
                by=actor.user_id,
                system=actor is SYSTEM,
                now=now,
            )
        except NeedsPersonError as error:
            raise NotAllowedError(needs_person()) from error
    return audit.update(
        row, values, actor_id=actor.user_id, action="firmware_policy.set", validate=False
    )


def _check_limit(field: str, value: int | None, above: int | None) -> None:
    if value is None:
        return
    if not 1 <= value <= _MOST[field]:
        raise RolloutRefused(
            field,
            _("Give a number from 1 to %(most)d, or nothing for no limit.")
            % {"most": _MOST[field]},
        )
    if above is not None and value > above:
        raise RolloutRefused(
            field,
            _("The organisation above allows at most %(most)d: give no more than that.")
            % {"most": above},
        )

"""Updates that somebody at the device has to agree to (where the tenant demands it)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from firmware.ddi import mapping
from firmware.ddi.answers import Deployment
from firmware.ddi.requests import AutoConfirm, Consent
from firmware.domain import ddi_actions as actions
from firmware.domain.ddi_doors import Controller
from firmware.models import DdiOutcome
from tenants.domain import audit


def consent(*, controller: Controller, action_id: int, said: Consent, now: datetime) -> None:
    """Somebody at the device agrees to an update, or declines; raises DdiError, ActionOver.

    Declining ends the attempt with the code `busy`: whether and when the roll-out asks again is for
    its retry policy to say.
    """
    action = actions.locked(controller, action_id)
    if not actions.awaits_consent(action, controller) or not actions.is_present(action):
        raise actions.not_found(action_id)
    actions.count(action, final=True)
    if said.confirmed:
        action.agreed_at = now
        action.save(update_fields=["agreed_at"])
        return
    actions.close(action, DdiOutcome.DENIED, now)
    actions.tell(
        action, now, mapping.News("rejected", "busy", said.text or "Declined at the device")
    )


def to_confirm(*, controller: Controller, action_id: int) -> Deployment:
    """What somebody at the device is asked to agree to; raises DdiError NOT_FOUND."""
    action = actions.find_open(controller, action_id)
    if not actions.awaits_consent(action, controller) or not actions.is_present(action):
        raise actions.not_found(action_id)
    return actions.described(action, controller)


@dataclass(frozen=True, slots=True)
class ConsentState:
    """Whether updates were agreed to in advance, and the action that waits for consent."""

    waiting: int | None
    tag: int
    by: str = ""
    remark: str = ""
    at: datetime | None = None


def consent_state(*, controller: Controller, now: datetime) -> ConsentState:
    """What there is to agree to."""
    known = actions.known_target(controller)
    action = None if actions.settle(controller, now) else actions.present(controller, now)
    waits = action is not None and actions.awaits_consent(action, controller, known)
    waiting = action.pk if action is not None and waits else None
    if known is None:
        return ConsentState(waiting, actions.tag_of(action))
    return ConsentState(
        waiting,
        actions.tag_of(action),
        by=known.auto_confirm_by,
        remark=known.auto_confirm_remark,
        at=known.auto_confirm_at,
    )


def agree_in_advance(*, controller: Controller, said: AutoConfirm, now: datetime) -> None:
    """Somebody at the device agrees to all updates from now on."""
    row = actions.target_row(controller)
    values = {
        "auto_confirm_at": row.auto_confirm_at or now,
        "auto_confirm_by": said.initiator,
        "auto_confirm_remark": said.remark,
    }
    audit.update(row, values, actor_id=None, action="device.ddi_consent")


def ask_again(*, controller: Controller) -> None:
    """Somebody at the device wants to be asked about each update again."""
    values = {"auto_confirm_at": None, "auto_confirm_by": "", "auto_confirm_remark": ""}
    audit.update(actions.target_row(controller), values, actor_id=None, action="device.ddi_consent")

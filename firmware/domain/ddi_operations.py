"""What devices do over the DDI interface: ask, tell, stop.

Every function is called in the scope of a `Controller` (`ddi_doors`). `DdiError` says what is wrong
with a request; `ActionOver` that nothing more is heard of an action.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from devices.domain import presence
from firmware.ddi import mapping
from firmware.ddi.answers import Deployment, Due
from firmware.ddi.requests import Attributes, Execution, Feedback
from firmware.domain import ddi_actions as actions
from firmware.domain.ddi_doors import Controller
from firmware.models import DdiAction, DdiOutcome, DdiTarget

# The attribute by which a device tells what it runs.
VERSION_ATTRIBUTE: Final = "firmware_version"


@dataclass(frozen=True, slots=True)
class Polled:
    """What a device that asked is told; `polling_s` is when to ask again."""

    due: Due
    polling_s: int


def poll(*, controller: Controller, now: datetime) -> Polled:
    """A device asks what there is to do."""
    presence.seen(tenant_id=controller.tenant_id, device_id=controller.device_id, now=now)
    known = actions.known_target(controller)
    cancel = actions.settle(controller, now)
    action = None if cancel else actions.present(controller, now)
    waits = action is not None and actions.awaits_consent(action, controller, known)
    due = Due(
        deploy=action.pk if action and not waits else None,
        confirm=action.pk if action and waits else None,
        cancel=cancel.pk if cancel else None,
        installed=_installed(controller),
        attributes=known is None or known.attributes_wanted,
        tag=actions.tag_of(action),
    )
    busy = action is not None or cancel is not None
    rules = controller.rules
    return Polled(due, min(rules.busy_polling_s, rules.polling_s) if busy else rules.polling_s)


def deployment(*, controller: Controller, action_id: int, now: datetime) -> Deployment:
    """What a device is to install; raises DdiError NOT_FOUND while it is not (or no more) to."""
    action = actions.find_open(controller, action_id)
    if actions.awaits_consent(action, controller) or not actions.is_present(action):
        raise actions.not_found(action_id)
    if action.retrieved_at is None:
        if not actions.retrieve(action, now):
            raise actions.not_found(action_id)
        actions.tell(action, now, mapping.News("accepted"))
    return actions.described(action, controller)


def installed(*, controller: Controller, action_id: int) -> Deployment:
    """What a device has installed; raises DdiError NOT_FOUND."""
    action = actions.find(controller, action_id)
    if action.outcome != DdiOutcome.SUCCESS:
        raise actions.not_found(action_id)
    return actions.described(action, controller)


def feedback(*, controller: Controller, action_id: int, told: Feedback, now: datetime) -> None:
    """A device tells how far it is; raises DdiError, ActionOver.

    One that was never shown what to install has nothing to tell.
    """
    action = actions.locked(controller, action_id)
    if action.retrieved_at is None:
        raise actions.not_found(action_id)
    news = mapping.news_of(told, action.trouble)
    action.trouble = mapping.trouble_in([*action.trouble.split("\n"), *told.details])
    actions.count(action, final=news.final)
    if news.final:
        actions.close(action, _outcome(told, news), now)
    if news.kind == "confirmed":
        presence.told_version(device_id=action.device_id, version=action.target.to_version)
        # It may describe itself otherwise now.
        DdiTarget.objects.filter(device_id=action.device_id).update(attributes_wanted=True)
    actions.tell(action, now, news)


def to_cancel(*, controller: Controller, action_id: int) -> int:
    """The action that a device is to stop; raises DdiError NOT_FOUND when it is not to."""
    action = actions.find_open(controller, action_id)
    if not actions.is_over(action) or action.refused_at is not None:
        raise actions.not_found(action_id)
    return action.pk


def cancel_feedback(
    *, controller: Controller, action_id: int, told: Feedback, now: datetime
) -> None:
    """A device says whether it has stopped; raises DdiError, ActionOver.

    One that refuses goes on, and is heard as before.
    """
    action = actions.locked(controller, action_id)
    if not actions.is_over(action):
        raise actions.not_found(action_id)
    stopped = mapping.cancelled(told)
    actions.count(action, final=stopped is not None)
    if stopped:
        actions.close(action, DdiOutcome.CANCELED, now)
        actions.tell(action, now, mapping.News("withdrawn", "withdrawn", told.text))
    elif stopped is False:
        action.refused_at = now
        action.save(update_fields=["refused_at"])
        text = told.text or "The device did not stop the update"
        actions.tell(action, now, mapping.News("progress", "", text))


def take_attributes(*, controller: Controller, told: Attributes, now: datetime) -> None:
    """A device tells of itself; raises DdiError when it tells too much."""
    row = actions.target_row(controller)
    row.attributes = told.applied_to(row.attributes)
    row.attributes_at, row.attributes_wanted = now, False
    row.save(update_fields=["attributes", "attributes_at", "attributes_wanted"])
    if version := row.attributes.get(VERSION_ATTRIBUTE):
        presence.told_version(device_id=controller.device_id, version=version[:64])


def _outcome(told: Feedback, news: mapping.News) -> DdiOutcome:
    if told.execution is Execution.CANCELED:
        return DdiOutcome.CANCELED
    return DdiOutcome.SUCCESS if news.kind == "confirmed" else DdiOutcome.FAILURE


def _installed(controller: Controller) -> int | None:
    return (
        DdiAction.objects.filter(device_id=controller.device_id, outcome=DdiOutcome.SUCCESS)
        .order_by("-pk")
        .values_list("pk", flat=True)
        .first()
    )

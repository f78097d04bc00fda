"""Actions: the attempts of roll-outs' targets as DDI devices see them.

A target becomes an action when its device asks while the target is offered to it. All news go to
the roll-out by `reports.take`, the one way in for every medium. Every function is called in the
scope of a `Controller` (`ddi_doors`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from firmware.ddi.answers import Deployment, Handling
from firmware.ddi.errors import DdiError, ErrorCode
from firmware.ddi.mapping import News
from firmware.domain import ddi_files, reports
from firmware.domain.ddi_doors import Controller
from firmware.domain.reports import Report
from firmware.models import (
    DdiAction,
    DdiHandling,
    DdiOutcome,
    DdiTarget,
    Medium,
    Release,
    RolloutTarget,
    TargetState,
)

# The states in which a device is shown an update.
_SHOWN: Final = (TargetState.OFFERED, TargetState.DOWNLOADING, TargetState.INSTALLING)
# Its place is kept.
_RESTING: Final = (TargetState.PENDING, TargetState.WAITING)
# A device that tells more of one action than this is not heard any more, except for how it ended
# (hawkBit's own bound).
MOST_FEEDBACKS: Final = 1000

_HANDLING: Final = {
    DdiHandling.FORCED: Handling.FORCED,
    DdiHandling.ATTEMPT: Handling.ATTEMPT,
}


class ActionOver(Exception):  # noqa: N818 - it reads as what happened
    """The action is over; nothing more is heard of it."""


def known_target(controller: Controller) -> DdiTarget | None:
    """What is known of the device, if anything."""
    return DdiTarget.objects.filter(device_id=controller.device_id).first()


def target_row(controller: Controller) -> DdiTarget:
    """What is known of the device, to be changed: locked, and made when there is nothing yet."""
    return DdiTarget.objects.select_for_update().get_or_create(
        tenant_id=controller.tenant_id, device_id=controller.device_id
    )[0]


def settle(controller: Controller, now: datetime) -> DdiAction | None:
    """The action that the device is to stop, if any. What was over before the device had seen it is
    forgotten; a refusal to stop is respected.
    """
    opened = DdiAction.objects.select_related("target").filter(
        device_id=controller.device_id, closed_at__isnull=True
    )
    stop = None
    for action in opened:
        if not is_over(action):
            continue
        if action.retrieved_at is None and _forget(action, now):
            continue
        if action.refused_at is None:
            stop = action
    return stop


def present(controller: Controller, now: datetime) -> DdiAction | None:
    """The action of the target that is offered to the device, if any; made when it is new."""
    target = (
        RolloutTarget.objects.filter(
            device_id=controller.device_id, state__in=_SHOWN, medium=Medium.DDI
        )
        .order_by("pk")
        .first()
    )
    if target is None:
        return None
    action, _new = DdiAction.objects.get_or_create(
        update_uid=target.update_uid,
        defaults={
            "tenant_id": controller.tenant_id,
            "device_id": controller.device_id,
            "target": target,
            "created_at": now,
        },
    )
    # Closed by the device, while the roll-out has not drawn its conclusion yet.
    return None if action.closed_at is not None else action


def is_present(action: DdiAction) -> bool:
    """Whether the attempt is the one that its target makes now."""
    target = action.target
    return target.update_uid == action.update_uid and target.state in _SHOWN


def is_over(action: DdiAction) -> bool:
    """Whether the attempt has come to its end for the roll-out. One that rests, because the device
    did not ask for long, is shown again later.
    """
    target = action.target
    return target.update_uid != action.update_uid or target.state not in (*_SHOWN, *_RESTING)


def awaits_consent(
    action: DdiAction, controller: Controller, known: DdiTarget | None = None
) -> bool:
    """Whether somebody at the device has to agree first; `known` where it was read already.

    Whoever has been shown what to install is not asked any more when the tenant begins to demand
    it.
    """
    asked = controller.rules.confirmation and action.agreed_at is None
    if not asked or action.retrieved_at is not None:
        return False
    known = known or known_target(controller)
    return known is None or known.auto_confirm_at is None


def find(controller: Controller, action_id: int) -> DdiAction:
    """An action of the device; raises DdiError NOT_FOUND."""
    action = (
        DdiAction.objects.select_related("target")
        .filter(pk=action_id, device_id=controller.device_id)
        .first()
    )
    if action is None:
        raise not_found(action_id)
    return action


def find_open(controller: Controller, action_id: int) -> DdiAction:
    """An action of the device that is not over for it; raises DdiError NOT_FOUND."""
    action = find(controller, action_id)
    if action.closed_at is not None:
        raise not_found(action_id)
    return action


def locked(controller: Controller, action_id: int) -> DdiAction:
    """An open action, and nobody else changes it before this transaction ends; raises DdiError
    NOT_FOUND, ActionOver.
    """
    action = (
        DdiAction.objects.select_for_update(of=("self",))
        .select_related("target")
        .filter(pk=action_id, device_id=controller.device_id)
        .first()
    )
    if action is None:
        raise not_found(action_id)
    if action.closed_at is not None:
        raise ActionOver
    return action


def count(action: DdiAction, *, final: bool) -> None:
    """One more feedback, and what it told of trouble; raises DdiError QUOTA, but never for one that
    ends the action.
    """
    if action.feedbacks >= MOST_FEEDBACKS and not final:
        raise DdiError(
            ErrorCode.QUOTA,
            f"An action has at most {MOST_FEEDBACKS} feedbacks; only how it ended is still heard.",
        )
    action.feedbacks += 1
    action.save(update_fields=["feedbacks", "trouble"])


def retrieve(action: DdiAction, now: datetime) -> bool:
    """The device is shown what to install; False when the attempt was forgotten meanwhile."""
    row = DdiAction.objects.filter(pk=action.pk, closed_at__isnull=True)
    return row.update(retrieved_at=now) == 1


def _forget(action: DdiAction, now: datetime) -> bool:
    """The attempt was over before the device had seen it; False when it has seen it meanwhile."""
    row = DdiAction.objects.filter(pk=action.pk, closed_at__isnull=True, retrieved_at__isnull=True)
    return row.update(closed_at=now, outcome=DdiOutcome.UNTOLD) == 1


def close(action: DdiAction, outcome: DdiOutcome, now: datetime) -> None:
    """The action is over for the device."""
    action.closed_at, action.outcome = now, outcome
    action.save(update_fields=["closed_at", "outcome"])


def tell(action: DdiAction, now: datetime, news: News, *, offset: int = 0) -> None:
    """The roll-out hears of it. DDI has no digest of what runs: a success is the device's word that
    the release runs.
    """
    confirmed = news.kind == "confirmed"
    reports.take(
        [
            Report(
                device_id=action.device_id,
                update_uid=action.update_uid,
                kind=news.kind,
                at=now,
                code=news.code,
                detail=news.detail,
                version=action.target.to_version if confirmed else "",
                offset=offset,
            )
        ]
    )


def described(action: DdiAction, controller: Controller) -> Deployment:
    """What an action says."""
    release_id = action.target.release_id
    assert release_id is not None, "a target that is offered has a release"
    release = Release.objects.select_related("artifact").get(pk=release_id)
    return Deployment(
        action=action.pk,
        module=release.pk,
        name=release.type_code,
        version=release.version,
        files=(ddi_files.file_of(release),),
        handling=_HANDLING[DdiHandling(controller.rules.handling)],
        part=ddi_files.part_of(release),
    )


def tag_of(action: DdiAction | None) -> int:
    """Changes with what an action says."""
    if action is None:
        return 0
    return action.pk * 2 + (action.agreed_at is not None)


def not_found(action_id: int) -> DdiError:
    """There is no such action for this device, or none to be asked for now."""
    return DdiError(ErrorCode.NOT_FOUND, f"There is no action {action_id} to be done now.")

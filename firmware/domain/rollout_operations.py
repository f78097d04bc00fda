"""What people do with roll-outs. Each call is one transaction with an entry in the audit trail.

An operation writes what is wanted (a state, an approval); the driver does what follows from it with
its next tick. Needs an open scope that holds the roll-out's tenant as a whole.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.db import connection, transaction
from django.db.models import Count
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.selection import Selection, SelectionRefused
from devices.telemetry import firmware_facts
from firmware.domain import (
    gate_words,
    policy_queries,
    release_queries,
    reports,
    rollout_plan,
    rollout_rollback,
    rollout_start,
    rollout_words,
)
from firmware.gate.limits import GateLimits, GateLimitsError
from firmware.models import (
    Release,
    ReleaseState,
    Rollout,
    RolloutKind,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    TargetState,
    WaveState,
)
from firmware.rollout.changes import next_uid
from firmware.rollout.strategy import BadStrategyError, Strategy
from tenants.domain import audit

MOST_PRIORITY: Final = 1000
LONGEST_NOTE: Final = 400


class RolloutNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such roll-out in the scope."""


class RolloutRefused(ValueError):  # noqa: N818 - it reads as what happened
    """What cannot be done; `field` is at fault ('' for the whole), the message says why and what to
    do.
    """

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person says of a roll-out before it starts; selection and strategy as JSON."""

    name: str
    release_id: int
    selection: Any
    strategy: Any
    priority: int = 0


@transaction.atomic
def create(*, tenant_id: int, draft: Draft, actor_id: int | None) -> Rollout:
    """Keep a draft. Raises RolloutRefused."""
    _need_person(tenant_id, actor_id)
    row = Rollout(tenant_id=tenant_id, created_by_id=actor_id, **_checked(draft))
    return audit.insert(row, actor_id=actor_id, action="rollout.create")


@transaction.atomic
def change(*, rollout_id: int, draft: Draft, actor_id: int | None) -> Rollout:
    """Change a draft; an approval that it had is gone, and who changes it does not approve it.

    Raises RolloutNotFound, RolloutRefused.
    """
    row = _locked(rollout_id)
    _need(row, RolloutState.DRAFT)
    _need_person(row.tenant_id, actor_id)
    values = {**_checked(draft), "approved_by_id": None, "changed_by_id": actor_id}
    audit.update(row, values, actor_id=actor_id, action="rollout.change", validate=False)
    return row


@transaction.atomic
def remove(*, rollout_id: int, actor_id: int | None) -> None:
    """Remove a draft. Raises RolloutNotFound, RolloutRefused."""
    row = _locked(rollout_id)
    _need(row, RolloutState.DRAFT)
    audit.delete(row, actor_id=actor_id, action="rollout.remove")


@transaction.atomic
def start(*, rollout_id: int, now: datetime, actor_id: int | None) -> Rollout:
    """Start a draft: who gets what is decided now, exactly as `rollout_plan.plan_of` tells.

    Raises RolloutNotFound, RolloutRefused.
    """
    row = _locked(rollout_id)
    _need(row, RolloutState.DRAFT)
    if policy_queries.second_person(tenant_id=row.tenant_id) and row.approved_by_id is None:
        raise RolloutRefused("", _("Somebody else has to approve it before it starts."))
    assert row.release_id is not None, "a roll-back is never a draft"
    if not release_queries.rollable().filter(pk=row.release_id).exists():
        raise RolloutRefused("release", unapproved())
    plan = rollout_plan.plan_of(row)
    if not plan.getting:
        raise RolloutRefused(
            "selection", _("No device would get it: the dry run says why for each of them.")
        )
    rollout_start.store(row, plan, now=now)
    values = {"state": RolloutState.RUNNING, "started_at": now}
    audit.update(row, values, actor_id=actor_id, action="rollout.start", validate=False)
    return row


@transaction.atomic
def approve(*, rollout_id: int, now: datetime, actor_id: int | None) -> Rollout:
    """Approve a draft, or let the wave after the one that was judged begin.

    Raises RolloutNotFound, RolloutRefused.
    """
    row = _locked(rollout_id)
    _need(row, RolloutState.DRAFT, RolloutState.AWAITING_APPROVAL)
    _need_person(row.tenant_id, actor_id)
    if policy_queries.second_person(tenant_id=row.tenant_id) and row.is_of(actor_id):
        raise RolloutRefused("", another())
    if row.state == RolloutState.DRAFT:
        values: dict[str, Any] = {"approved_by_id": actor_id}
        audit.update(row, values, actor_id=actor_id, action="rollout.approve", validate=False)
        return row
    undecided = row.state_reason == "gate_undecided"
    _pass_wave(row, now, actor_id, overruled=undecided)
    _move(row, RolloutState.RUNNING, actor_id, "rollout.approve")
    return row


@transaction.atomic
def advance_anyway(*, rollout_id: int, note: str, now: datetime, actor_id: int | None) -> Rollout:
    """Let the next wave begin in spite of what became of this one. `note` says why.

    Raises RolloutNotFound, RolloutRefused.
    """
    row = _locked(rollout_id)
    _need(row, RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.AWAITING_APPROVAL)
    note = _note(note)
    if not note:
        raise RolloutRefused("note", _("Say why: somebody else will read it."))
    _need_person(row.tenant_id, actor_id)
    if policy_queries.second_person(tenant_id=row.tenant_id) and row.is_of(actor_id):
        raise RolloutRefused("", another())
    _accept_failures(row)
    _pass_wave(row, now, actor_id, overruled=True)
    _move(row, RolloutState.RUNNING, actor_id, "rollout.advance_anyway", "person", {"note": note})
    return row


@transaction.atomic
def pause(*, rollout_id: int, note: str = "", actor_id: int | None) -> Rollout:
    """Stop offering. What is under way goes on to its end. Raises as above."""
    row = _locked(rollout_id)
    _need(row, RolloutState.RUNNING, RolloutState.AWAITING_APPROVAL)
    data = {"note": _note(note)}
    _move(row, RolloutState.PAUSED, actor_id, "rollout.pause", "person", data)
    return row


@transaction.atomic
def resume(*, rollout_id: int, actor_id: int | None) -> Rollout:
    """Go on. What has failed until now is known and does not stop it again. Raises as above."""
    row = _locked(rollout_id)
    _need(row, RolloutState.PAUSED)
    _accept_failures(row)
    _move(row, RolloutState.RUNNING, actor_id, "rollout.resume")
    return row


@transaction.atomic
def abort(*, rollout_id: int, note: str = "", actor_id: int | None) -> Rollout:
    """End it: what is not installed yet is withdrawn; devices that install are waited for.

    Raises as above.
    """
    row = _locked(rollout_id)
    _need(row, *_ALIVE)
    data = {"note": _note(note)}
    _move(row, RolloutState.ABORTED, actor_id, "rollout.abort", "person", data)
    return row


@transaction.atomic
def roll_back(*, rollout_id: int, now: datetime, actor_id: int | None) -> Rollout:
    """Take an update back: it is aborted if it runs, and its updated devices get what they came
    from by a roll-out of its own, which is returned. Raises as above.
    """
    row = _locked(rollout_id)
    _need(row, *_ALIVE, RolloutState.COMPLETED, RolloutState.ABORTED)
    if row.kind == RolloutKind.ROLLBACK:
        raise RolloutRefused("", _("A roll-back is not taken back: roll the release out again."))
    if row.state in _ALIVE:
        _move(row, RolloutState.ABORTED, actor_id, "rollout.abort", "rollback", {})
    return rollout_rollback.begin(row, now=now, actor_id=actor_id)


@transaction.atomic
def retry_failed(
    *, rollout_id: int, codes: Collection[str] = (), now: datetime, actor_id: int | None
) -> int:
    """Give failed devices (all, or those of some codes) as many attempts as at first; returns how
    many. A completed roll-out goes on with them. Raises as above.
    """
    row = _locked(rollout_id)
    _need(row, *_ALIVE, RolloutState.COMPLETED)
    if Rollout.objects.filter(parent=row).exists():
        raise RolloutRefused("", _("It was taken back: roll the release out again."))
    firmware_facts.hold_turn(connection, reports.turn_of(row.pk))
    failed = RolloutTarget.objects.filter(rollout=row, state=TargetState.FAILED)
    if codes:
        failed = failed.filter(failure_code__in=codes)
    again = list(failed)
    for target in again:
        target.state, target.state_at = TargetState.PENDING, now
        target.update_uid, target.attempts = next_uid(target.update_uid), 0
        target.next_at = target.sent_at = target.heard_at = target.confirmed_at = None
        target.offset = target.rate = 0
    RolloutTarget.objects.bulk_update(again, _ANEW, batch_size=500)
    _accept_failures(row)
    if row.state == RolloutState.COMPLETED and again:
        row.ended_at = None
        row.save(update_fields=["ended_at"])
        _move(row, RolloutState.RUNNING, actor_id, "rollout.resume")
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor_id,
        action="rollout.retry",
        subject=row,
        after={"devices": len(again), "codes": sorted(codes)},
    )
    return len(again)


@transaction.atomic
def set_priority(*, rollout_id: int, priority: int, actor_id: int | None) -> Rollout:
    """Change which roll-out comes first. Raises as above."""
    row = _locked(rollout_id)
    _need(row, *_ALIVE, RolloutState.DRAFT)
    _check_priority(priority)
    # As everybody who changes its targets: reports are taken in another order.
    firmware_facts.hold_turn(connection, reports.turn_of(row.pk))
    values = {"priority": priority}
    audit.update(row, values, actor_id=actor_id, action="rollout.priority", validate=False)
    RolloutTarget.objects.filter(rollout=row).exclude(priority=priority).update(priority=priority)
    return row


def another() -> str:
    """Why a person cannot approve."""
    return _("Somebody else than who made or changed it has to approve it.")


def unapproved() -> str:
    """Why a release cannot be rolled out."""
    return _("Only an approved release can be rolled out.")


_ALIVE: Final = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.AWAITING_APPROVAL)
_ANEW: Final = (
    "state",
    "state_at",
    "update_uid",
    "attempts",
    "next_at",
    "sent_at",
    "heard_at",
    "confirmed_at",
    "offset",
    "rate",
)
_NOT_NOW: Final = {
    RolloutState.DRAFT: gettext_lazy("It has not been started yet."),
    RolloutState.RUNNING: gettext_lazy("It is running already."),
    RolloutState.PAUSED: gettext_lazy("It is paused: resume it first."),
    RolloutState.AWAITING_APPROVAL: gettext_lazy("It waits for an approval."),
    RolloutState.COMPLETED: gettext_lazy("It is over."),
    RolloutState.ABORTED: gettext_lazy("It was aborted."),
}


def _locked(rollout_id: int) -> Rollout:
    row = Rollout.objects.select_for_update().filter(pk=rollout_id).first()
    if row is None:
        raise RolloutNotFound(f"roll-out {rollout_id}")
    return row


def _need(row: Rollout, *states: RolloutState) -> None:
    if row.state not in states:
        raise RolloutRefused("", str(_NOT_NOW[RolloutState(row.state)]))


def _need_person(tenant_id: int, actor_id: int | None) -> None:
    """A service account could be of the very person who has to be another one."""
    if actor_id is None and policy_queries.second_person(tenant_id=tenant_id):
        raise RolloutRefused(
            "",
            _(
                "Two persons answer for it: use an application that somebody has allowed to act for"
                " him, not a service account."
            ),
        )


def _note(note: str) -> str:
    return note.strip()[:LONGEST_NOTE]


def _move(
    row: Rollout,
    state: RolloutState,
    actor_id: int | None,
    action: str,
    reason: str = "",
    data: dict[str, Any] | None = None,
) -> None:
    values = {"state": state, "state_reason": reason, "state_data": data or {}}
    audit.update(row, values, actor_id=actor_id, action=action, validate=False)


def _pass_wave(row: Rollout, now: datetime, actor_id: int | None, *, overruled: bool) -> None:
    """The wave that is in work may be followed by the next one."""
    wave = (
        RolloutWave.objects.filter(rollout=row)
        .exclude(state__in=(WaveState.PENDING, WaveState.DONE))
        .order_by("number")
        .first()
    )
    if wave is None:
        raise RolloutRefused("", _("No wave is waiting: it goes on by itself."))
    wave.approved_at, wave.approved_by_id = now, actor_id
    wave.overruled = wave.overruled or overruled
    wave.save(update_fields=["approved_at", "approved_by", "overruled"])


def _accept_failures(row: Rollout) -> None:
    """What has failed until now is known to a person."""
    failed = dict(
        RolloutTarget.objects.filter(rollout=row, state=TargetState.FAILED)
        .order_by()
        .values_list("wave_id")
        .annotate(number=Count("pk"))
    )
    for wave in RolloutWave.objects.filter(rollout=row):
        wave.accepted_failures = failed.get(wave.pk, 0)
        wave.save(update_fields=["accepted_failures"])


def _check_priority(priority: int) -> None:
    if not -MOST_PRIORITY <= priority <= MOST_PRIORITY:
        raise RolloutRefused(
            "priority",
            _("Give a priority from %(low)d to %(high)d.")
            % {"low": -MOST_PRIORITY, "high": MOST_PRIORITY},
        )


def _checked(draft: Draft) -> dict[str, Any]:
    """The columns of a draft. Raises RolloutRefused."""
    name = draft.name.strip()
    if not 0 < len(name) <= 120:
        raise RolloutRefused("name", _("Give it a name of at most 120 characters."))
    release = Release.objects.filter(pk=draft.release_id).first()
    if release is None:
        raise RolloutRefused("release", _("There is no such release."))
    if release.state != ReleaseState.APPROVED:
        # A draft may be deleted by who does not see this roll-out.
        raise RolloutRefused("release", unapproved())
    _check_priority(draft.priority)
    try:
        selection = Selection.from_json(draft.selection)
    except SelectionRefused as error:
        raise RolloutRefused("selection", str(error)) from error
    return {
        "name": name,
        "release_id": release.pk,
        "selection": selection.to_json(),
        "strategy": checked_strategy(draft.strategy).to_json(),
        "priority": draft.priority,
    }


def checked_strategy(data: Any) -> Strategy:
    """A strategy of JSON, gate limits included. Raises RolloutRefused; `field` is the setting."""
    try:
        strategy = Strategy.from_json(data)
        if strategy.gate is not None:
            GateLimits.from_json(strategy.gate)
    except BadStrategyError as error:
        text = f"{error.field}: {rollout_words.strategy_problem(error)}"
        raise RolloutRefused(error.field, text) from error
    except GateLimitsError as error:
        raise RolloutRefused("gate", gate_words.limits_problem(error)) from error
    return strategy

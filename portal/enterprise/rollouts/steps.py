"""What people can do with a roll-out, and what would follow from it, told before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from firmware.domain.rollout_pages import may_go_back
from firmware.domain.rollout_plan import Plan
from firmware.domain.rollout_queries import Summary
from firmware.models import Rollout, RolloutKind, RolloutState, TargetState
from portal.frame.quantities import number

APPROVALS: Final = ("approve", "advance")
_ALIVE: Final = (RolloutState.RUNNING, RolloutState.PAUSED, RolloutState.AWAITING_APPROVAL)


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do; `note`: a reason is asked for, "must" or "may"."""

    code: str
    label: str | Promise
    icon: str
    kind: str
    question: str | Promise
    note: str = ""

    @property
    def approval(self) -> bool:
        """Whether it is up to those who approve."""
        return self.code in APPROVALS


STEPS: Final = {
    one.code: one
    for one in (
        Step(
            "start", gettext_lazy("Start"), "player-play", "", gettext_lazy("Start the roll-out?")
        ),
        Step("approve", gettext_lazy("Approve"), "shield-check", "", gettext_lazy("Approve it?")),
        Step(
            "pause",
            gettext_lazy("Pause"),
            "player-pause",
            "quiet",
            gettext_lazy("Pause the roll-out?"),
            "may",
        ),
        Step(
            "resume",
            gettext_lazy("Resume"),
            "player-play",
            "",
            gettext_lazy("Resume the roll-out?"),
        ),
        Step(
            "advance",
            gettext_lazy("Begin the next wave anyway"),
            "arrow-right",
            "quiet",
            gettext_lazy("Begin the next wave in spite of what became of this one?"),
            "must",
        ),
        Step(
            "retry",
            gettext_lazy("Retry failed devices"),
            "refresh",
            "quiet",
            gettext_lazy("Try failed devices again?"),
        ),
        Step(
            "rollback",
            gettext_lazy("Roll back"),
            "history",
            "danger",
            gettext_lazy("Give updated devices back what they ran?"),
        ),
        Step(
            "abort",
            gettext_lazy("Abort"),
            "ban",
            "danger",
            gettext_lazy("Abort the roll-out?"),
            "may",
        ),
        Step(
            "remove",
            gettext_lazy("Delete the draft"),
            "trash",
            "danger",
            gettext_lazy("Delete the draft?"),
        ),
    )
}


def offered(
    row: Rollout,
    *,
    second_person: bool,
    person_id: int,
    may_change: bool,
    may_approve: bool,
    failed: int,
) -> list[Step]:
    """The steps that a person can take now."""
    state = RolloutState(row.state)
    another = not (second_person and row.is_of(person_id))
    waits = second_person and row.approved_by_id is None
    draft = state == RolloutState.DRAFT
    fits = {
        "start": draft and not waits,
        "approve": (draft and waits and another)
        or (state == RolloutState.AWAITING_APPROVAL and another),
        "pause": state in (RolloutState.RUNNING, RolloutState.AWAITING_APPROVAL),
        "resume": state == RolloutState.PAUSED,
        "advance": state == RolloutState.PAUSED and another,
        "retry": failed > 0 and state in (*_ALIVE, RolloutState.COMPLETED),
        "rollback": may_go_back(row),
        "abort": state in _ALIVE,
        "remove": draft,
    }
    return [
        step
        for code, step in STEPS.items()
        if fits[code] and (may_approve if step.approval else may_change)
    ]


def consequences(step: Step, found: Summary, plan: Plan | None) -> list[str]:
    """What would follow, in sentences with numbers."""
    counts = found.counts
    under_way = sum(
        counts.get(state, 0) for state in (TargetState.OFFERED, TargetState.DOWNLOADING)
    )
    told: Mapping[str, list[str]] = {
        "start": _starting(plan) if step.code == "start" else [],
        "approve": [
            _("It may be started then; any change of the draft takes the approval away again.")
            if found.rollout.state == RolloutState.DRAFT
            else _("The next wave begins at once, within its windows.")
        ],
        "pause": [
            _("Nothing new is offered until somebody resumes it."),
            _("%(n)s devices that download and %(m)s that install go on to their end.")
            % {"n": number(under_way), "m": number(counts.get(TargetState.INSTALLING, 0))},
        ],
        "resume": [
            _("Offers go out again. The %(n)s failures until now do not stop it a second time.")
            % {"n": number(counts.get(TargetState.FAILED, 0))}
        ],
        "advance": [
            _("The next wave begins, whatever the thresholds and the gate say about this one."),
            _("The %(n)s failures until now are taken as known.")
            % {"n": number(counts.get(TargetState.FAILED, 0))},
        ],
        "retry": [
            _("%(n)s failed devices get as many attempts as at first.")
            % {"n": number(counts.get(TargetState.FAILED, 0))}
        ],
        "abort": _aborting(found, under_way),
        "rollback": [],
        "remove": [_("Nothing has been sent to any device; nothing is undone.")],
    }
    if step.code == "rollback":
        return _going_back(found, plan, under_way)
    return list(told[step.code])


def _starting(plan: Plan | None) -> list[str]:
    if plan is None:
        return []
    lines = [
        _("%(n)s devices get it in %(m)s waves; %(k)s of the selection get nothing.")
        % {
            "n": number(plan.getting),
            "m": number(len(plan.waves)),
            "k": number(len(plan.devices) - plan.getting),
        }
    ]
    if plan.waves:
        lines.append(_("The first wave has %(n)s devices.") % {"n": number(plan.waves[0])})
    if plan.held:
        lines.append(
            _("%(n)s devices are in another roll-out now and wait for its end.")
            % {"n": number(plan.held)}
        )
    return lines


def _aborting(found: Summary, under_way: int) -> list[str]:
    counts = found.counts
    waiting = counts.get(TargetState.PENDING, 0) + counts.get(TargetState.WAITING, 0)
    return [
        _("%(n)s devices that wait get nothing; %(m)s downloads are withdrawn.")
        % {"n": number(waiting), "m": number(under_way)},
        _("%(n)s devices that install already are waited for.")
        % {"n": number(counts.get(TargetState.INSTALLING, 0))},
        _("%(n)s updated devices keep what they run: roll back to change that.")
        % {"n": number(counts.get(TargetState.SUCCEEDED, 0))},
        _("It cannot be resumed."),
    ]


def _going_back(found: Summary, plan: Plan | None, under_way: int) -> list[str]:
    lines = []
    if found.rollout.kind == RolloutKind.UPDATE and found.rollout.state in _ALIVE:
        lines.append(
            _("The roll-out is aborted: %(n)s downloads are withdrawn.") % {"n": number(under_way)}
        )
    if plan is not None:
        lines.append(
            _("%(n)s devices get what they ran before, at once and before any other roll-out.")
            % {"n": number(plan.getting)}
        )
        lost = len(plan.devices) - plan.getting
        if lost:
            lines.append(
                _("%(n)s updated devices cannot go back and stay as they are.")
                % {"n": number(lost)}
            )
    lines.append(_("Devices that are still installing join when they have confirmed."))
    return lines

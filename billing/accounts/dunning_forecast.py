"""What dunning will do to an account that pays nothing, and when.

Pure. It asks `decide` again and again with the clock that `decide` waits for, so what is foretold
is what would be done. Fees that steps would add are not counted in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Final

from billing.accounts.dunning import CUTS, Case, Facts, Policy, Step, StepKind, decide

# Steps lie at most two years apart; who is protected, or keeps a plan, is asked about day by day.
_MOST_LOOKS: Final = 1_000


@dataclass(frozen=True, slots=True)
class Expected:
    """Step `number` (from 1) at the local time `at`. `spared`: it is due, and not taken while the
    customer is protected.
    """

    number: int
    step: Step
    at: datetime
    spared: bool = False


def forecast(
    policy: Policy, facts_on: Callable[[date], Facts], case: Case, now: datetime
) -> tuple[Expected, ...]:
    """The steps that are still to come from the local time `now` on, if nothing is paid. `facts_on`
    tells how the account stands on a day then.
    """
    found: list[Expected] = []
    for _look in range(_MOST_LOOKS):
        facts = facts_on(now.date())
        decision = decide(policy, facts, case, now)
        if decision.outcome is not None or case.taken >= len(policy.steps):
            break
        number = case.taken + 1
        if decision.step is not None:
            found.append(Expected(number, decision.step, now))
            case = _taken(case, decision.step, facts, now.date())
            continue
        if decision.spares and (not found or found[-1].number != number):
            found.append(Expected(number, policy.steps[case.taken], now, spared=True))
        if decision.wait_until is None and not facts.rests:
            break
        now = decision.wait_until or datetime.combine(now.date() + timedelta(days=1), time())
    return tuple(found)


def _taken(case: Case, step: Step, facts: Facts, day: date) -> Case:
    """The case after a step, whose commands reach their units; who has left has none."""
    cuts = not facts.over
    return replace(
        case,
        taken=case.taken + 1,
        last_on=day,
        limited=case.limited or (cuts and step.kind is StepKind.LIMIT),
        disabled=case.disabled or (cuts and step.kind is StepKind.DISABLE),
        owed_at_cut=facts.overdue if step.kind in CUTS else case.owed_at_cut,
    )

"""What dunning foretells is what it then does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from billing.accounts.dunning import CUTS, Case, Facts, StepKind, decide
from billing.accounts.dunning_forecast import forecast
from billing.tests.test_dunning_machine import DUE, OWED, POLICY, at


def _told(facts: Facts, case: Case, now: datetime) -> list[tuple[int, datetime, bool]]:
    steps = forecast(POLICY, lambda _day: facts, case, now)
    return [(one.number, one.at, one.spared) for one in steps]


def test_each_step_has_its_day_and_hour() -> None:
    # 3 May 2026 is a Sunday.
    assert _told(OWED, Case(DUE), at(4, 3)) == [
        (1, at(4, 6, 8), False),
        (2, at(4, 13, 8), False),
        (3, at(4, 23, 8), False),
        (4, at(5, 4, 8), False),
    ]


def test_what_is_foretold_is_done_by_who_looks_each_hour() -> None:
    case, now = Case(DUE), at(4, 2, 0)
    done: list[tuple[int, datetime, bool]] = []
    expected = _told(OWED, case, now)
    for _hour in range(24 * 60):
        step = decide(POLICY, OWED, case, now).step
        if step is not None:
            done.append((case.taken + 1, now, False))
            case = replace(
                case,
                taken=case.taken + 1,
                last_on=now.date(),
                limited=case.limited or step.kind is StepKind.LIMIT,
                disabled=case.disabled or step.kind is StepKind.DISABLE,
                owed_at_cut=OWED.overdue if step.kind in CUTS else case.owed_at_cut,
            )
        now += timedelta(hours=1)
    assert done == expected


def test_who_is_protected_is_spared_until_the_protection_is_over() -> None:
    def facts_on(day: date) -> Facts:
        return replace(OWED, protected=day <= date(2026, 4, 30))

    taken = Case(DUE, taken=2, last_on=date(2026, 4, 13))
    steps = forecast(POLICY, facts_on, taken, at(4, 14))
    assert [(one.number, one.at, one.spared) for one in steps] == [
        (3, at(4, 23, 8), True),
        (3, at(5, 4, 8), False),
        (4, at(5, 14, 8), False),
    ]


def test_nothing_is_foretold_while_all_is_paid_or_a_plan_is_kept() -> None:
    assert _told(Facts(Decimal(0), None), Case(DUE), at(4, 3)) == []
    assert _told(replace(OWED, rests=True), Case(DUE), at(4, 3)) == []
    paused = Case(DUE, paused_until=date(2026, 4, 20))
    assert _told(OWED, paused, at(4, 3))[0] == (1, at(4, 21, 8), False)


def test_who_has_left_is_dunned_to_the_end() -> None:
    all_steps = _told(OWED, Case(DUE), at(4, 3))
    assert _told(replace(OWED, over=True), Case(DUE), at(4, 3)) == all_steps
    assert len(all_steps) == len(POLICY.steps)

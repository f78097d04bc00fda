"""What dunning never does, and always does, in whatever order things happen."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from billing.accounts.dunning import (
    CUTS,
    Case,
    Decision,
    Facts,
    Outcome,
    Policy,
    PolicyError,
    Quiet,
    StepKind,
    decide,
    is_behind,
)

STEPS: list[dict[str, Any]] = [
    {"kind": "reminder", "after_days": 3},
    {"kind": "fee", "after_days": 10, "fee": "5.00"},
    {"kind": "limit", "after_days": 20, "limit_w": 1000},
    {"kind": "disable", "after_days": 30},
]
# Saturdays, Sundays and the first of May are quiet; work is from 8 to 18.
QUIET = Quiet(frozenset({5, 6}), frozenset({date(2026, 5, 1)}), 8, 18)
POLICY = Policy.of(STEPS, quiet=QUIET, minimum=Decimal(10))
DUE = date(2026, 4, 1)
OWED = Facts(Decimal(100), DUE)


def at(month: int, day: int, hour: int = 10) -> datetime:
    return datetime(2026, month, day, hour)  # noqa: DTZ001 - the facility's clock


def step_at(case: Case, now: datetime, facts: Facts = OWED) -> StepKind | None:
    step = decide(POLICY, facts, case, now).step
    return None if step is None else step.kind


def test_steps_come_on_their_days() -> None:
    assert decide(POLICY, OWED, Case(DUE), at(4, 3)) == Decision(wait_until=at(4, 6, 8))
    assert step_at(Case(DUE), at(4, 6)) is StepKind.REMINDER
    taken = Case(DUE, taken=1, last_on=date(2026, 4, 6))
    assert decide(POLICY, OWED, taken, at(4, 6)) == Decision(wait_until=at(4, 13, 8))
    assert step_at(taken, at(4, 13)) is StepKind.FEE


def test_nothing_is_done_on_quiet_days_and_outside_of_the_hours() -> None:
    # 4 April 2026 is a Saturday, 1 May a holiday and a Friday.
    assert decide(POLICY, OWED, Case(DUE), at(4, 4)).wait_until == at(4, 6, 8)
    assert decide(POLICY, OWED, Case(DUE), at(4, 6, 7)).wait_until == at(4, 6, 8)
    assert decide(POLICY, OWED, Case(DUE), at(4, 6, 18)).wait_until == at(4, 7, 8)
    late = Case(DUE, taken=3, last_on=date(2026, 4, 21))
    assert decide(POLICY, OWED, late, at(5, 1)) == Decision(wait_until=at(5, 4, 8))


def test_who_looks_late_does_not_take_all_steps_at_once() -> None:
    taken = Case(DUE, taken=1, last_on=date(2026, 6, 1))
    assert decide(POLICY, OWED, taken, at(6, 1)).wait_until == at(6, 8, 8)
    assert step_at(taken, at(6, 8)) is StepKind.FEE


def test_a_protected_customer_is_spared_and_gets_back_what_was_cut() -> None:
    before = Case(DUE, taken=2, last_on=date(2026, 4, 13))
    protected = Facts(Decimal(100), DUE, protected=True)
    found = decide(POLICY, protected, before, at(4, 28))
    assert (found.step, found.spares, found.wait_until) == (None, True, at(4, 29, 8))
    cut = Case(DUE, taken=4, disabled=True, owed_at_cut=Decimal(100))
    assert decide(POLICY, protected, cut, at(5, 2, 23)) == Decision(outcome=Outcome.PROTECTED)


@pytest.mark.parametrize("now", [at(5, 1), at(5, 2, 3), at(5, 4)])
def test_what_is_paid_comes_back_at_once(now: datetime) -> None:
    cut = Case(DUE, taken=4, disabled=True, owed_at_cut=Decimal(100))
    assert decide(POLICY, Facts(Decimal(0), None), cut, now) == Decision(outcome=Outcome.PAID)
    # Less than anybody is dunned for.
    assert decide(POLICY, Facts(Decimal("9.99"), DUE), cut, now).outcome is Outcome.PAID
    assert decide(POLICY, Facts(Decimal(10), DUE), cut, now) == Decision()


@pytest.mark.parametrize(
    ("percent", "overdue", "outcome"),
    [(100, 99, None), (60, 41, None), (60, 40, Outcome.PART), (1, 99, Outcome.PART)],
)
def test_a_part_is_enough_where_the_policy_says_so(
    percent: int, overdue: int, outcome: Outcome | None
) -> None:
    policy = Policy.of(STEPS, restore_percent=percent)
    cut = Case(DUE, taken=4, disabled=True, owed_at_cut=Decimal(100))
    assert decide(policy, Facts(Decimal(overdue), DUE), cut, at(5, 4)).outcome is outcome


def test_a_plan_rests_the_steps_and_gives_back() -> None:
    rests = Facts(Decimal(100), DUE, rests=True)
    assert decide(POLICY, rests, Case(DUE), at(4, 20)) == Decision()
    cut = Case(DUE, taken=3, limited=True, owed_at_cut=Decimal(100))
    assert decide(POLICY, rests, cut, at(4, 20)) == Decision(outcome=Outcome.PLAN)


def test_a_case_that_is_paused_waits_and_gives_back_all_the_same() -> None:
    paused = Case(DUE, paused_until=date(2026, 4, 20))
    assert decide(POLICY, OWED, paused, at(4, 20, 17)) == Decision(wait_until=at(4, 21, 8))
    assert step_at(paused, at(4, 21)) is StepKind.REMINDER
    cut = Case(DUE, taken=4, disabled=True, paused_until=date(2026, 5, 20))
    assert decide(POLICY, Facts(Decimal(0), None), cut, at(5, 2)).outcome is Outcome.PAID


def test_without_a_policy_nobody_stays_cut() -> None:
    assert decide(None, OWED, Case(DUE), at(4, 20)) == Decision(outcome=Outcome.NO_POLICY)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([], "one to 12"),
        ([{"kind": "reminder"}], "after_days"),
        ([{"kind": "shout", "after_days": 1}], "kind"),
        ([{"kind": "reminder", "after_days": -1}], "whole number"),
        ([{"kind": "reminder", "after_days": 1.5}], "whole number"),
        ([{"kind": "fee", "after_days": 1}], "fee"),
        ([{"kind": "fee", "after_days": 1, "fee": "NaN"}], "fee"),
        ([{"kind": "fee", "after_days": 1, "fee": "1e9"}], "fee"),
        ([{"kind": "reminder", "after_days": 1, "fee": "5"}], "fee"),
        ([STEPS[0], {"kind": "limit", "after_days": 5}], "limit_w"),
        ([STEPS[1], STEPS[0]], "no earlier"),
        ([{"kind": "disable", "after_days": 5}], "without a reminder"),
        ([STEPS[0], STEPS[3], STEPS[3]], "once each"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(steps: list[Any], says: str) -> None:
    with pytest.raises(PolicyError, match=says):
        Policy.of(steps)


def test_a_policy_leaves_a_weekday() -> None:
    with pytest.raises(PolicyError, match="weekday"):
        Policy.of(STEPS, quiet=Quiet(frozenset(range(7))))


class Dunning(RuleBasedStateMachine):
    """An account that things happen to, and a driver that looks whenever it likes."""

    @initialize(
        percent=st.integers(1, 100),
        gaps=st.lists(st.integers(0, 9), min_size=4, max_size=4),
        minimum=st.integers(0, 30),
        quiet=st.frozensets(st.integers(0, 6), max_size=5),
        hours=st.tuples(st.integers(0, 11), st.integers(12, 24)),
    )
    def begin(
        self,
        percent: int,
        gaps: list[int],
        minimum: int,
        quiet: frozenset[int],
        hours: tuple[int, int],
    ) -> None:
        steps: list[dict[str, Any]] = []
        day = 0
        for step, gap in zip(STEPS, gaps, strict=True):
            day += gap
            steps.append({**step, "after_days": day})
        self.policy: Policy | None = Policy.of(
            steps,
            quiet=Quiet(quiet, frozenset({date(2026, 5, 1)}), *hours),
            minimum=Decimal(minimum),
            restore_percent=percent,
        )
        self.now = at(4, 1)
        self.debts: list[tuple[date, Decimal]] = []
        self.protected = self.rests = self.over = False
        self.case: Case | None = None
        self.cut: set[StepKind] = set()
        self.taken: list[StepKind] = []
        self.anew: date | None = None
        self.looked = False

    def facts(self) -> Facts:
        late = [debt for debt in self.debts if debt[0] < self.now.date()]
        return Facts(
            sum((amount for _, amount in late), Decimal(0)),
            min((day for day, _ in late), default=None),
            self.protected,
            self.rests,
            self.over,
        )

    @rule(hours=st.integers(1, 24 * 40))
    def time_passes(self, hours: int) -> None:
        self.now += timedelta(hours=hours)
        self.looked = False

    @rule(amount=st.integers(1, 100), days=st.integers(-5, 20))
    def a_bill_is_sent(self, amount: int, days: int) -> None:
        self.debts.append((self.now.date() + timedelta(days=days), Decimal(amount)))
        self.debts.sort()
        self.looked = False

    @rule(amount=st.integers(1, 120))
    def something_is_paid(self, amount: int) -> None:
        left = Decimal(amount)
        while left and self.debts:
            day, owed = self.debts.pop(0)
            if owed > left:
                self.debts.insert(0, (day, owed - left))
            left -= min(owed, left)
        self.looked = False

    @rule()
    def all_is_paid(self) -> None:
        self.debts.clear()
        self.looked = False

    @rule(value=st.booleans())
    def protection_changes(self, value: bool) -> None:
        self.protected = value
        self.looked = False

    @rule(value=st.booleans())
    def a_plan_begins_or_ends(self, value: bool) -> None:
        self.rests = value
        self.looked = False

    @rule(value=st.booleans())
    def the_customer_moves_out_or_stays(self, value: bool) -> None:
        self.over = value
        self.looked = False

    @precondition(lambda self: self.case is not None)
    @rule(days=st.none() | st.integers(0, 40))
    def a_person_pauses_or_resumes(self, days: int | None) -> None:
        assert self.case is not None
        until = None if days is None else self.now.date() + timedelta(days=days)
        self.case = replace(self.case, paused_until=until)
        self.looked = False

    @precondition(lambda self: self.policy is not None)
    @rule(times=st.integers(1, 3))
    def somebody_looks(self, times: int) -> None:
        for _ in range(times):
            self.look()
        self.looked = True

    @precondition(lambda self: self.debts)
    @rule(days=st.integers(1, 60), hour=st.integers(0, 23))
    def days_pass_and_somebody_looks(self, days: int, hour: int) -> None:
        for _ in range(days):
            self.now = (self.now + timedelta(days=1)).replace(hour=hour)
            self.look()
        self.looked = True

    def look(self) -> None:
        facts = self.facts()
        assert self.policy is not None
        if self.case is None:
            if facts.rests or not is_behind(self.policy, facts):
                return
            counts = facts.oldest_due or self.now.date()
            self.case = Case(max(counts, self.anew or counts))
            self.taken = []
        decision = decide(self.policy, facts, self.case, self.now)
        assert decision.outcome is None or decision.step is None
        if decision.outcome is not None:
            self.cut.clear()
            self.case = None
            # What is not settled counts from now on.
            self.anew = None if decision.outcome is Outcome.PAID else self.now.date()
        elif decision.step is not None:
            self.take(decision, self.case)
        else:
            assert decision.wait_until is None or decision.wait_until > self.now

    def take(self, decision: Decision, case: Case) -> None:
        step, policy = decision.step, self.policy
        assert step is not None
        assert policy is not None
        assert policy.quiet.allows(self.now)
        assert not (self.protected and step.kind in CUTS)
        assert not self.rests
        assert case.paused_until is None or self.now.date() > case.paused_until
        assert step.kind not in self.taken
        assert step == policy.steps[len(self.taken)]
        assert (self.now.date() - case.counts_from).days >= step.after_days
        if case.last_on is not None:
            before = policy.steps[case.taken - 1]
            apart = (self.now.date() - case.last_on).days
            assert apart >= step.after_days - before.after_days
        self.taken.append(step.kind)
        # Who has moved out has no unit that could be cut.
        if step.kind in CUTS and not self.over:
            self.cut.add(step.kind)
        self.case = Case(
            case.counts_from,
            case.taken + 1,
            self.now.date(),
            StepKind.LIMIT in self.cut,
            StepKind.DISABLE in self.cut,
            self.facts().overdue if step.kind in self.cut else case.owed_at_cut,
            case.paused_until,
        )

    @invariant()
    def nobody_stays_cut_who_must_not(self) -> None:
        if not self.looked or not self.cut:
            return
        facts = self.facts()
        assert not facts.protected
        assert not facts.rests
        assert not facts.over
        assert facts.overdue > 0
        assert self.policy is not None
        assert facts.overdue >= self.policy.minimum


Dunning.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
TestDunning = Dunning.TestCase

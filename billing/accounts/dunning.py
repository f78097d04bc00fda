"""What is done next about an account that does not pay.

Pure: policy, facts, case and the local clock in; a decision out. Whoever acts on it keeps the case.
Rules that hold whatever happens, in any order (`test_dunning_machine.py`):

- a protected customer is never limited or switched off, and gets the supply back that was cut;
- nothing but giving back is done on a quiet day or outside of the hours;
- no step is taken while a person has paused the case, its last day included;
- a step is taken once in a case, each at least as long after the one before as the policy says,
  also when nobody looked for weeks;
- what was cut comes back as soon as the account is settled, or settled as far as the policy asks,
  and when the agreement is over: somebody else may live there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any, Final

MOST_STEPS: Final = 12
MOST_DAYS: Final = 730
# How far ahead a day is looked for that is not quiet.
_LOOK_AHEAD: Final = 60
_MOST_FEE: Final = Decimal(10_000)
_MOST_WATTS: Final = 1_000_000_000


def gettext_noop(text: str) -> str:
    """Marks a sentence for the catalogues; what is here knows no Django."""
    return text


class PolicyError(ValueError):
    """What is no policy; the message says what to do, in English, `step` (from 1) where it is about
    one. `template` with `values` is what it was made of.
    """

    def __init__(self, template: str, step: int | None = None, **values: object) -> None:
        super().__init__(template % values if values else template)
        self.step = step
        self.template = template
        self.values = values


class StepKind(StrEnum):
    """What a step does; the codes are stored."""

    REMINDER = "reminder"
    FEE = "fee"
    LIMIT = "limit"
    DISABLE = "disable"


CUTS: Final = frozenset({StepKind.LIMIT, StepKind.DISABLE})


@dataclass(frozen=True, slots=True)
class Step:
    """Something to do `after_days` after the oldest debt was due: a FEE has an amount, a LIMIT the
    power (W) that remains.
    """

    kind: StepKind
    after_days: int
    fee: Decimal = Decimal(0)
    limit_w: int = 0

    @classmethod
    def from_json(cls, row: Mapping[str, Any], number: int) -> Step:
        """A step as it is stored: kind, after_days, and fee (text) or limit_w.

        Raises PolicyError.
        """
        try:
            kind = StepKind(row["kind"])
            after = row["after_days"]
            fee = Decimal(str(row.get("fee", "0")))
            limit = row.get("limit_w", 0)
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise PolicyError(
                gettext_noop("A step has a kind (reminder, fee, limit or disable) and after_days."),
                number,
            ) from error
        if type(after) is not int or not 0 <= after <= MOST_DAYS:
            raise PolicyError(
                gettext_noop(
                    "The days of a step (after_days) are a whole number from 0 to %(most)s."
                ),
                number,
                most=MOST_DAYS,
            )
        if not fee.is_finite() or not 0 <= fee <= _MOST_FEE or (kind is StepKind.FEE) != (fee > 0):
            raise PolicyError(
                gettext_noop(
                    "A fee step, and no other, has a fee of more than 0 and at most %(most)s."
                ),
                number,
                most=_MOST_FEE,
            )
        if type(limit) is not int or (kind is StepKind.LIMIT) != (0 < limit <= _MOST_WATTS):
            raise PolicyError(
                gettext_noop("A limit step, and no other, has a power (limit_w) in whole watts."),
                number,
            )
        return cls(kind, after, fee, limit)

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        row: dict[str, Any] = {"kind": self.kind.value, "after_days": self.after_days}
        if self.kind is StepKind.FEE:
            row["fee"] = str(self.fee)
        if self.kind is StepKind.LIMIT:
            row["limit_w"] = self.limit_w
        return row


@dataclass(frozen=True, slots=True)
class Quiet:
    """When nothing is done: weekdays (0: Monday), days of the calendar, and outside of hours."""

    weekdays: frozenset[int] = frozenset()
    holidays: frozenset[date] = frozenset()
    hour_from: int = 0
    hour_to: int = 24

    def allows_day(self, day: date) -> bool:
        """Whether anything may be done on a day."""
        return day.weekday() not in self.weekdays and day not in self.holidays

    def allows(self, now: datetime) -> bool:
        """Whether anything may be done at a local time."""
        return self.allows_day(now.date()) and self.hour_from <= now.hour < self.hour_to

    def next_day(self, day: date) -> date | None:
        """The first day from `day` on that is not quiet; None where there is none for long."""
        for ahead in range(_LOOK_AHEAD):
            if self.allows_day(day + timedelta(days=ahead)):
                return day + timedelta(days=ahead)
        return None


@dataclass(frozen=True, slots=True)
class Policy:
    """The steps in their order, and when they rest. See `DunningPolicy`."""

    steps: tuple[Step, ...]
    quiet: Quiet = Quiet()
    minimum: Decimal = Decimal(0)
    restore_percent: int = 100

    @classmethod
    def of(cls, steps: Sequence[Mapping[str, Any]], **others: Any) -> Policy:
        """A policy whose steps fit together; raises PolicyError."""
        if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
            raise PolicyError(gettext_noop("A policy has one to %(most)s steps."), most=MOST_STEPS)
        made = tuple(Step.from_json(row, number) for number, row in enumerate(steps, 1))
        for number, (step, before) in enumerate(zip(made[1:], made, strict=False), 2):
            if step.after_days < before.after_days:
                raise PolicyError(
                    gettext_noop("A step comes no earlier than the one before."), number
                )
        cut = [number for number, step in enumerate(made, 1) if step.kind in CUTS]
        if cut and cut[0] == 1:
            raise PolicyError(gettext_noop("Nobody is cut off without a reminder before."), 1)
        if len({step.kind for step in made if step.kind in CUTS}) != len(cut):
            raise PolicyError(
                gettext_noop("The supply is limited and switched off at most once each."), cut[-1]
            )
        quiet: Quiet = others.get("quiet", Quiet())
        if quiet.weekdays >= frozenset(range(7)):
            raise PolicyError(gettext_noop("One weekday at least must not be quiet."))
        return cls(made, **others)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an account: `overdue` is due and not paid, the oldest since `oldest_due`.

    `rests`: a plan is being kept. `over`: the agreement has ended.
    """

    overdue: Decimal
    oldest_due: date | None
    protected: bool = False
    rests: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """How far a case is; see `DunningCase`."""

    counts_from: date
    taken: int = 0
    last_on: date | None = None
    limited: bool = False
    disabled: bool = False
    owed_at_cut: Decimal = Decimal(0)
    paused_until: date | None = None

    @property
    def cut(self) -> bool:
        """Whether less than the whole supply is there."""
        return self.limited or self.disabled


class Outcome(StrEnum):
    """How a case ends; the codes are stored. PART: as much was paid as the policy asks for;
    DROPPED: a person has ended it. MOVED: the agreement is over.
    """

    PAID = "paid"
    PART = "part"
    PLAN = "plan"
    PROTECTED = "protected"
    NO_POLICY = "no_policy"
    DROPPED = "dropped"
    MOVED = "moved"


@dataclass(frozen=True, slots=True)
class Decision:
    """At most one of: take `step`, or close with `outcome` (and give back what was cut).

    `spares`: a step that is due is not taken because the customer is protected. `wait_until`: the
    local time at which there may be more to do; None: not before something changes.
    """

    step: Step | None = None
    outcome: Outcome | None = None
    spares: bool = False
    wait_until: datetime | None = None


def is_behind(policy: Policy, facts: Facts) -> bool:
    """Whether an account is one for dunning."""
    return facts.overdue > 0 and facts.overdue >= policy.minimum


def decide(policy: Policy | None, facts: Facts, case: Case, now: datetime) -> Decision:
    """What to do at the local time `now` (naive, of the facility's clock)."""
    if outcome := _outcome(policy, facts, case):
        return Decision(outcome=outcome)
    assert policy is not None
    if facts.rests or case.taken >= len(policy.steps):
        return Decision()
    if case.paused_until is not None and now.date() <= case.paused_until:
        return Decision(wait_until=_opening(policy, case.paused_until + timedelta(days=1)))
    step = policy.steps[case.taken]
    due = policy.quiet.next_day(_due_on(policy, case))
    if due is None:
        return Decision(wait_until=now + timedelta(days=_LOOK_AHEAD))
    if due > now.date():
        return Decision(wait_until=_opening(policy, due))
    if step.kind in CUTS and facts.protected:
        return Decision(spares=True, wait_until=_opening(policy, now.date() + timedelta(days=1)))
    if policy.quiet.allows(now):
        return Decision(step=step)
    if policy.quiet.allows_day(now.date()) and now.hour < policy.quiet.hour_from:
        return Decision(wait_until=_opening(policy, now.date()))
    ahead = policy.quiet.next_day(now.date() + timedelta(days=1))
    return Decision(wait_until=None if ahead is None else _opening(policy, ahead))


def _outcome(policy: Policy | None, facts: Facts, case: Case) -> Outcome | None:
    """Why the case is over, if it is."""
    if facts.overdue <= 0:
        return Outcome.PAID
    if policy is None:
        return Outcome.NO_POLICY
    if facts.overdue < policy.minimum:
        return Outcome.PAID
    if not case.cut:
        return None
    if facts.over:
        return Outcome.MOVED
    if facts.protected:
        return Outcome.PROTECTED
    if facts.rests:
        return Outcome.PLAN
    keeps = case.owed_at_cut * (100 - policy.restore_percent) / 100
    return Outcome.PART if facts.overdue <= keeps else None


def _due_on(policy: Policy, case: Case) -> date:
    """The first day for the next step."""
    step = policy.steps[case.taken]
    due = case.counts_from + timedelta(days=step.after_days)
    if case.taken and case.last_on is not None:
        apart = step.after_days - policy.steps[case.taken - 1].after_days
        due = max(due, case.last_on + timedelta(days=apart))
    return due


def _opening(policy: Policy, day: date) -> datetime:
    return datetime.combine(day, time(policy.quiet.hour_from))

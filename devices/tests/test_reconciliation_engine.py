"""What differences between wanted and reported settings lead to, and that it comes to an end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.commands.kinds import ArgumentError, Kind
from devices.configuration.reconciliation import (
    LONGEST_WAIT,
    MEMORY,
    MOST_ATTEMPTS,
    PATIENCE,
    SETTLING,
    Answer,
    Drift,
    Outcome,
    Standing,
    Told,
    look,
    reported_anew,
    wait_after,
    wanted_anew,
)
from devices.configuration.settings import Value, checked_changes, difference, entries_of, told

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _look(
    standing: Standing,
    desired: dict[str, Value],
    reported: dict[str, Value],
    *,
    pending: tuple[str, ...] = (),
    answers: dict[str, Answer] | None = None,
) -> tuple[Standing, tuple[Told, ...]]:
    decision = look(
        standing,
        desired=desired,
        reported=reported,
        pending=pending,
        answers=answers or {},
        now=NOW,
        chance=0,
    )
    return decision.standing, decision.send


def test_what_nobody_wants_is_no_difference() -> None:
    assert difference({"samples": 30}, {"samples": 30, "step_ms": 500}) == ()
    assert difference({"samples": 30, "output": 1}, {"samples": 20}) == ("output", "samples")
    assert _look(Standing(), {}, {"step_ms": 500}) == (Standing(settled_at=NOW), ())


def test_a_difference_is_told_with_all_that_the_command_sets() -> None:
    desired: dict[str, Value] = {"step_ms": 2000, "samples": 30, "output": 1}

    standing, send = _look(Standing(settled_at=NOW), desired, {"step_ms": 2000, "samples": 5})

    assert send == (
        Told(Kind.SET_REPORTING, {"step_ms": 2000, "samples": 30}),
        Told(Kind.SET_OUTPUT, {"output": 1}),
    )
    assert standing == Standing(attempts=1, tried_at=NOW, next_at=NOW + MINUTE)


def test_a_command_under_way_has_the_word() -> None:
    standing, send = _look(Standing(), {"output": 1}, {"output": 0}, pending=("output",))

    assert (standing, send) == (Standing(next_at=NOW + PATIENCE), ())
    # One that sets something else does not matter.
    assert _look(Standing(), {"output": 1}, {"output": 0}, pending=("samples",))[1] != ()


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    waits = [wait_after(attempts, 0) for attempts in range(1, 7)]

    assert waits == [MINUTE, 4 * MINUTE, 16 * MINUTE, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]
    assert wait_after(2, 0.5) == 3 * MINUTE
    assert wait_after(10**6, 0) == LONGEST_WAIT


@pytest.mark.parametrize(
    ("answer", "reported", "attempts", "drift", "detail"),
    [
        (Answer(Outcome.REFUSED, {"output": 1}, "locked"), {"output": 0}, 1, "refused", "locked"),
        (Answer(Outcome.FAILED, {"output": 1}, "stuck"), {"output": 0}, 5, "refused", "stuck"),
        (Answer(Outcome.DONE, {"output": 1}), {"step_ms": 1}, 1, "unsupported", "output"),
        (Answer(Outcome.DONE, {"output": 1}, "ok"), {"output": 0}, 5, "not_kept", "ok"),
    ],
)
def test_what_does_not_change_is_left_with_a_reason(
    answer: Answer, reported: dict[str, Value], attempts: int, drift: str, detail: str
) -> None:
    before = Standing(attempts=attempts, tried_at=NOW)

    standing, send = _look(before, {"output": 1}, reported, answers={Kind.SET_OUTPUT: answer})

    assert send == ()
    assert (standing.next_at, standing.drift, standing.detail) == (None, drift, detail)


@pytest.mark.parametrize(
    "answers", [{}, {Kind.SET_OUTPUT: Answer(Outcome.UNANSWERED, {"output": 1})}]
)
def test_who_never_answers_is_told_again_after_a_long_while(answers: dict[str, Answer]) -> None:
    before = Standing(attempts=MOST_ATTEMPTS, tried_at=NOW)

    standing, send = _look(before, {"output": 1}, {"output": 0}, answers=answers)

    assert send == ()
    assert (standing.next_at, standing.drift) == (NOW + MEMORY, Drift.UNANSWERED)


def test_an_answer_to_something_else_counts_for_nothing() -> None:
    answers: dict[str, Answer] = {Kind.SET_OUTPUT: Answer(Outcome.REFUSED, {"output": 0}, "locked")}

    _, send = _look(
        Standing(attempts=1, tried_at=NOW), {"output": 1}, {"output": 0}, answers=answers
    )

    assert send == (Told(Kind.SET_OUTPUT, {"output": 1}),)


def test_one_setting_that_is_refused_does_not_hold_up_another() -> None:
    answers: dict[str, Answer] = {Kind.SET_OUTPUT: Answer(Outcome.REFUSED, {"output": 1}, "locked")}

    _, send = _look(
        Standing(attempts=1, tried_at=NOW),
        {"output": 1, "power_limit_w": 10},
        {"output": 0, "power_limit_w": -1},
        answers=answers,
    )

    assert send == (Told(Kind.SET_POWER_LIMIT, {"power_limit_w": 10}),)


def test_the_same_report_again_does_not_wake_what_was_given_up() -> None:
    left = Standing(attempts=5, tried_at=NOW - MEMORY, drift=Drift.NOT_KEPT, detail="x")

    assert reported_anew(left, changed=False, now=NOW) == left
    awake = reported_anew(left, changed=True, now=NOW)
    assert (awake.attempts, awake.next_at, awake.drift) == (0, NOW + SETTLING, Drift.NONE)


def test_a_report_never_brings_a_waiting_attempt_forward() -> None:
    waiting = Standing(attempts=2, tried_at=NOW, next_at=NOW + 4 * MINUTE)

    assert reported_anew(waiting, changed=True, now=NOW) == waiting


def test_values_are_brought_into_one_form_and_refused_by_name() -> None:
    assert checked_changes({"channels": [3, 1, 2], "output": True, "power_limit_w": None}) == {
        "channels": "1-3", "output": 1, "power_limit_w": None
    }  # fmt: skip
    assert told({"channels": "0-1,2", "output": "on", "firmware_knows": 1}) == {
        "channels": "0-2", "output": "on", "firmware_knows": 1
    }  # fmt: skip
    assert entries_of(Kind.SET_CHANNELS, {"limits": "", "output": 1}) == {"limits": ""}
    for changes, wrong in (({}, "changes"), ({"colour": 1}, "colour"), ({"samples": 0}, "samples")):
        with pytest.raises(ArgumentError) as refused:
            checked_changes(changes)
        assert refused.value.field == wrong


# --- From any state, through any loss ---------------------------------------------------------

KEYS = {"step_ms": (1000, 2000), "samples": (10, 30), "output": (0, 1), "power_limit_w": (-1, 900)}
_SOME = st.fixed_dictionaries({}, optional={key: st.sampled_from(two) for key, two in KEYS.items()})
_ALL = st.fixed_dictionaries({key: st.sampled_from(two) for key, two in KEYS.items()})


@dataclass
class _World:
    """A server and a device; commands are lost as the test says, reports arrive late or at once."""

    desired: dict[str, Value]
    device: dict[str, Value]
    standing: Standing = field(default_factory=Standing)
    reported: dict[str, Value] | None = None
    now: datetime = NOW
    pending: list[Told] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    reports: list[dict[str, Value]] = field(default_factory=list)
    by_itself: list[datetime] = field(default_factory=list)

    def report(self) -> None:
        self.reports.append(dict(self.device))

    def deliver_reports(self) -> None:
        for report in self.reports:
            changed = report != self.reported
            self.reported = report
            self.standing = reported_anew(self.standing, changed=changed, now=self.now)
        self.reports.clear()

    def person(self, changes: dict[str, Value]) -> None:
        """Somebody wants something else, and says so by a command."""
        self.desired |= changes
        self.standing = wanted_anew(
            self.standing, told=True, reports=self.reported is not None, now=self.now
        )
        for kind in {Kind.SET_REPORTING, Kind.SET_OUTPUT, Kind.SET_POWER_LIMIT}:
            entries = {k: v for k, v in entries_of(kind, self.desired).items() if k in changes}
            if entries:
                # What was never sent is overtaken by the newer command.
                self.pending = [
                    old for old in self.pending if not set(old.entries) <= set(entries)
                ] + [Told(kind, entries)]

    def answer(self, *, lost: bool) -> None:
        """The device does the oldest command, or never hears of it."""
        if not self.pending:
            return
        command = self.pending.pop(0)
        outcome = Outcome.UNANSWERED if lost else Outcome.DONE
        if not lost:
            before = dict(self.device)
            self.device |= command.entries
            if before != self.device:
                self.report()
        self.answers[command.kind] = Answer(outcome, command.entries)

    def tick(self) -> None:
        """The server looks, when it is time."""
        if (
            self.reported is None
            or self.standing.next_at is None
            or self.standing.next_at > self.now
        ):
            return
        decision = look(
            self.standing,
            desired=self.desired,
            reported=self.reported,
            pending={key for command in self.pending for key in command.entries},
            answers=self.answers,
            now=self.now,
            chance=0.3,
        )
        self.standing = decision.standing
        self.pending += decision.send
        if decision.send:
            self.by_itself.append(self.now)

    def pass_time(self, length: timedelta) -> None:
        self.now += length
        self.tick()


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("person"), _SOME.filter(bool)),
        st.tuples(st.just("reset"), _ALL),
        st.tuples(st.just("answer"), st.booleans()),
        st.tuples(st.just("reports"), st.none()),
        st.tuples(st.just("time"), st.integers(1, 600)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(_SOME, _ALL, _STEPS)
def test_from_any_state_through_any_loss_the_device_comes_to_what_is_wanted(
    desired: dict[str, Value], device: dict[str, Value], steps: list[tuple[str, object]]
) -> None:
    world = _World(desired, device)
    world.report()
    for step, what in steps:
        match step, what:
            case "person", dict():
                world.person(what)
            case "reset", dict():
                world.device = dict(what)
                world.report()
            case "answer", bool():
                world.answer(lost=what)
            case "reports", _:
                world.deliver_reports()
            case _, int():
                world.pass_time(timedelta(minutes=what))

    wanted = dict(world.desired)
    for _ in range(4 * 24 * 60 // 5):
        world.deliver_reports()
        world.pass_time(timedelta(minutes=5))
        world.answer(lost=False)

    # What people want last is what the device has, and nothing is to be done any more.
    assert {key: world.device[key] for key in wanted} == wanted == world.desired
    assert (world.pending, world.standing.next_at, world.standing.drift) == ([], None, Drift.NONE)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 90))
def test_a_device_that_falls_back_costs_few_commands(every: int) -> None:
    """Its owner switches it back by hand again and again, for two days."""
    world = _World({"output": 1}, {"output": 0})
    world.report()
    for minute in range(2 * 24 * 60):
        world.pass_time(MINUTE)
        world.answer(lost=False)
        world.deliver_reports()
        if minute % every == 0 and world.device["output"] == 1:
            world.device["output"] = 0
            world.report()

    for at in world.by_itself:
        lately = [other for other in world.by_itself if at <= other < at + MEMORY]
        assert len(lately) <= 2 * MOST_ATTEMPTS


@given(_ALL, _SOME)
def test_a_device_that_is_as_wanted_is_left_alone(
    device: dict[str, Value], wish: dict[str, Value]
) -> None:
    world = _World({key: device[key] for key in wish}, device)
    world.report()
    world.deliver_reports()
    for _ in range(100):
        world.pass_time(MINUTE)

    assert world.by_itself == []
    assert world.standing.next_at is None

"""Checks of commands, and the machine that decides over them: any order of events."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from devices.commands import machine
from devices.commands.kinds import ArgumentError, Fault, Kind, checked
from devices.commands.machine import (
    ANSWER_S,
    FINISH,
    GRACE,
    LAST_WAIT_S,
    MAX_ATTEMPTS,
    Change,
    NotPossibleError,
    Situation,
)
from devices.commands.states import ENDED, UNSENT, Cause, State, Step
from devices.protocol import Command, ResultStatus
from devices.protocol.codes import Capability

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR_S = 3_600


def queued(**values: Any) -> Situation:
    return replace(machine.asked(now=NOW, lifetime_s=HOUR_S, approval=False), **values)


# --- Arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "given_", "travels", "subjects"),
    [
        ("set_reporting", {"step_ms": 2000}, {"step_ms": 2000}, ("step_ms",)),
        (
            "set_reporting",
            {"samples": 30, "step_ms": 1000},
            {"step_ms": 1000, "samples": 30},
            ("samples", "step_ms"),
        ),
        ("set_channels", {"channels": [3, 1, 2]}, {"channels": "1-3"}, ("channels",)),
        ("set_channels", {"limits": {"0": [-5, None]}}, {"limits": "0:-5:"}, ("limits",)),
        ("set_channels", {"limits": ""}, {"limits": ""}, ("limits",)),
        ("set_output", {"output": False}, {"output": 0}, ("output",)),
        ("set_output", {"output": 1}, {"output": 1}, ("output",)),
        ("set_power_limit", {"power_limit_w": None}, {"power_limit_w": -1}, ("power_limit_w",)),
        ("set_display", {"display.price": "0.31"}, {"display.price": "0.31"}, ("display.price",)),
        ("reboot", {}, {}, ("reboot",)),
        ("send_logs", {"lines": 50, "level": 3}, {"lines": 50, "level": 3}, ()),
        ("live", {"seconds": 60}, {"seconds": 60}, ("live",)),
        ("identify", {}, {}, ("identify",)),
        ("enter_token", {"token": "123 456 789"}, {"token": "123456789"}, ()),
    ],
)
def test_arguments_travel_as_entries(
    kind: str, given_: dict[str, Any], travels: dict[str, Any], subjects: tuple[str, ...]
) -> None:
    wanted = checked(kind, given_)
    assert (dict(wanted.arguments), wanted.subjects) == (travels, subjects)
    message = Command(b"\1" * 16, wanted.kind.value, wanted.arguments)
    assert Command.decode(message.body()) == message
    assert checked(kind, travels).arguments == travels  # what travels is accepted again


@pytest.mark.parametrize(
    ("kind", "given_", "field", "fault"),
    [
        ("explode", {}, "kind", Fault.UNKNOWN_KIND),
        ("reboot", {"now": 1}, "now", Fault.UNKNOWN),
        ("enter_token", {}, "token", Fault.MISSING),
        ("enter_token", {"token": 123456789}, "token", Fault.NO_TEXT),
        ("enter_token", {"token": "12345678"}, "token", Fault.FORM),
        ("enter_token", {"token": "12345678x"}, "token", Fault.FORM),
        ("set_output", {}, "output", Fault.MISSING),
        ("set_output", {"output": "off"}, "output", Fault.FORM),
        ("set_output", {"output": 2}, "output", Fault.FORM),
        ("set_reporting", {}, "arguments", Fault.ONE_OF),
        ("set_reporting", {"step_ms": True}, "step_ms", Fault.NO_NUMBER),
        ("set_reporting", {"step_ms": 0}, "step_ms", Fault.RANGE),
        ("set_power_limit", {"power_limit_w": -2}, "power_limit_w", Fault.RANGE),
        ("set_channels", {"channels": []}, "channels", Fault.FORM),
        ("set_channels", {"channels": [256]}, "channels", Fault.FORM),
        ("set_channels", {"channels": "a"}, "channels", Fault.FORM),
        ("set_channels", {"limits": {"0": [5, 5]}}, "limits", Fault.FORM),
        ("set_channels", {"limits": {"x": [1, 5]}}, "limits", Fault.FORM),
        ("set_channels", {"limits": {"0": 5}}, "limits", Fault.FORM),
        ("set_display", {"display.price": 3}, "display.price", Fault.NO_TEXT),
        ("set_display", {"display.price": "\ud800"}, "display.price", Fault.NO_TEXT),
        ("set_display", {"display.message": "x" * 161}, "display.message", Fault.TOO_LONG),
        ("live", {"seconds": 3601}, "seconds", Fault.RANGE),
    ],
)
def test_bad_arguments_are_refused_at_their_field(
    kind: str, given_: dict[str, Any], field: str, fault: Fault
) -> None:
    with pytest.raises(ArgumentError) as caught:
        checked(kind, given_)
    assert (caught.value.field, caught.value.fault) == (field, fault)


def test_lifetime_is_bounded() -> None:
    assert checked("reboot", {}, 10).lifetime_s == 10
    with pytest.raises(ArgumentError):
        checked("reboot", {}, 9)
    with pytest.raises(ArgumentError):
        checked("reboot", {}, 31 * 86_400)


def test_live_needs_both_capabilities() -> None:
    assert checked("live", {"seconds": 1}).capabilities == Capability.COMMANDS | Capability.LIVE
    assert checked("reboot", {}).capabilities == Capability.COMMANDS


@given(
    st.sampled_from(Kind),
    st.dictionaries(
        st.sampled_from(
            ["output", "step_ms", "samples", "channels", "limits", "power_limit_w", "seconds"]
        )
        | st.text(max_size=5),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=8)
        | st.lists(st.integers(-1, 300), max_size=4)
        | st.dictionaries(st.text(max_size=3), st.lists(st.none() | st.integers(), max_size=3)),
        max_size=4,
    ),
)
def test_whatever_is_given_travels_or_is_refused(kind: Kind, given_: dict[str, Any]) -> None:
    try:
        wanted = checked(kind, given_)
    except ArgumentError:
        return
    message = Command(b"\1" * 16, wanted.kind.value, wanted.arguments)
    assert Command.decode(message.body()) == message


# --- Single steps ---------------------------------------------------------------------------


@given(st.integers(1, 50), st.floats(0, 1, exclude_max=True))
def test_waits_are_spread_and_bounded(attempts: int, draw: float) -> None:
    wait_s = machine.wait_s(attempts, draw)
    assert ANSWER_S <= wait_s <= ANSWER_S + LAST_WAIT_S


def test_a_disconnected_device_is_not_sent_to() -> None:
    assert machine.due(queued(), now=NOW, connection=None, draw=0.0) is None


def test_who_comes_back_is_sent_to_at_once() -> None:
    first = machine.due(queued(), now=NOW, connection=7, draw=0.0)
    assert first is not None
    again = machine.due(first.situation, now=NOW, connection=8, draw=0.0)
    assert again is not None
    assert (first.cause, again.cause) == (Cause.FIRST, Cause.RECONNECTED)
    assert (again.send, again.situation.attempts, again.situation.connection) == (True, 2, 8)


def test_without_an_answer_it_is_sent_again_and_given_up_in_the_end() -> None:
    command, now, causes = queued(lifetime_s=86_400), NOW, []
    command = replace(command, expires_at=NOW + timedelta(days=1))
    while command.state not in ENDED:
        change = machine.due(command, now=now, connection=7, draw=0.5)
        if change is None:
            assert command.next_at is not None
            now = command.next_at
            continue
        causes.append((change.step, change.cause))
        command = change.situation
    assert causes == [
        (Step.SENT, Cause.FIRST),
        *[(Step.SENT, Cause.NO_ANSWER)] * (MAX_ATTEMPTS - 1),
        (Step.FAILED, Cause.NO_ANSWER),
    ]


@pytest.mark.parametrize(
    ("command", "at", "state", "cause"),
    [
        (queued(), NOW + timedelta(hours=1), State.EXPIRED, Cause.NEVER_CONNECTED),
        (
            machine.asked(now=NOW, lifetime_s=60, approval=True),
            NOW + timedelta(days=1),
            State.EXPIRED,
            Cause.NOT_APPROVED,
        ),
        (
            queued(state=State.SENT, attempts=1, connection=7),
            NOW + timedelta(hours=1) + GRACE,
            State.EXPIRED,
            Cause.NO_ANSWER,
        ),
        (
            queued(state=State.ACKNOWLEDGED, next_at=NOW + FINISH),
            NOW + FINISH,
            State.FAILED,
            Cause.NO_RESULT,
        ),
    ],
)
def test_what_takes_too_long_ends(
    command: Situation, at: datetime, state: State, cause: Cause
) -> None:
    assert machine.due(command, now=at - timedelta(seconds=1), connection=None, draw=0.0) is None
    change = machine.due(command, now=at, connection=None, draw=0.0)
    assert change is not None
    assert (change.situation.state, change.cause, change.send) == (state, cause, False)


def test_after_its_expiry_a_command_is_not_sent_again() -> None:
    command = queued(state=State.SENT, attempts=1, connection=7, next_at=NOW)
    at = command.expires_at
    assert machine.due(command, now=at, connection=8, draw=0.0) is None


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize(
    ("status", "ends"),
    [
        (ResultStatus.DONE, (State.SUCCEEDED, Cause.DEVICE)),
        (ResultStatus.FAILED, (State.FAILED, Cause.DEVICE)),
        (ResultStatus.REJECTED, (State.FAILED, Cause.REJECTED)),
        (ResultStatus.EXPIRED, (State.EXPIRED, Cause.DEVICE)),
        (200, (State.FAILED, Cause.DEVICE)),
    ],
)
def test_the_device_has_the_last_word_whatever_was_supposed(
    state: State, status: int, ends: tuple[State, Cause]
) -> None:
    change = machine.answered(queued(state=state), status=status, detail="so", now=NOW)
    command = change.situation
    assert (command.state, command.cause, command.answered_at) == (*ends, NOW)
    again = machine.answered(command, status=status, detail="so", now=NOW + GRACE)
    assert (again.step, again.situation) == (Step.REPEATED, command)
    other = ResultStatus.FAILED if status == ResultStatus.DONE else ResultStatus.DONE
    contrary = machine.answered(command, status=other, detail="", now=NOW)
    assert (contrary.step, contrary.situation) == (Step.CONTRADICTED, command)


def test_who_has_taken_a_command_is_not_asked_again() -> None:
    taken = machine.answered(
        queued(state=State.SENT), status=ResultStatus.ACCEPTED, detail="at it", now=NOW
    ).situation
    assert taken.state == State.ACKNOWLEDGED
    later = NOW + timedelta(minutes=50)
    assert machine.due(taken, now=later, connection=9, draw=0.0) is None
    again = machine.answered(taken, status=ResultStatus.ACCEPTED, detail="at it", now=later)
    assert (again.step, again.situation) == (Step.REPEATED, taken)


def test_a_report_since_it_was_taken_decides_where_no_last_word_comes() -> None:
    taken = queued(state=State.ACKNOWLEDGED, next_at=NOW + FINISH)
    assert machine.reported(taken, as_wanted=False) is None
    as_wanted = machine.reported(taken, as_wanted=True)
    assert as_wanted is not None
    assert (as_wanted.step, as_wanted.situation.state) == (Step.REPORTED, State.ACKNOWLEDGED)
    command = as_wanted.situation
    assert machine.reported(command, as_wanted=True) is None
    assert machine.due(command, now=NOW, connection=7, draw=0.0) is None
    ended = machine.due(command, now=NOW + FINISH, connection=None, draw=0.0)
    assert ended is not None
    assert (ended.situation.state, ended.cause) == (State.SUCCEEDED, Cause.REPORTED)
    assert ended.situation.answered_at is None  # what the device says later still counts
    again = machine.answered(
        ended.situation, status=ResultStatus.ACCEPTED, detail="", now=NOW + FINISH
    )
    assert (again.step, again.situation) == (Step.REPEATED, ended.situation)
    # Another report since says something else.
    otherwise = machine.reported(command, as_wanted=False)
    assert otherwise is not None
    ended = machine.due(otherwise.situation, now=NOW + FINISH, connection=None, draw=0.0)
    assert ended is not None
    assert (ended.situation.state, ended.cause) == (State.FAILED, Cause.NO_RESULT)
    late = machine.reported(ended.situation, as_wanted=True)
    assert late is not None
    assert (late.step, late.situation.state) == (Step.SUCCEEDED, State.SUCCEEDED)


@pytest.mark.parametrize("state", sorted(set(State) - {State.ACKNOWLEDGED}))
@pytest.mark.parametrize("as_wanted", [True, False])
def test_a_report_says_nothing_of_other_commands(state: State, as_wanted: bool) -> None:
    assert machine.reported(queued(state=state, cause=Cause.DEVICE), as_wanted=as_wanted) is None


def test_approval_begins_its_time_anew() -> None:
    waiting = machine.asked(now=NOW, lifetime_s=60, approval=True)
    later = NOW + timedelta(hours=20)
    approved = machine.approve(waiting, now=later).situation
    assert (approved.state, approved.queued_at) == (State.QUEUED, later)
    assert approved.expires_at == later + timedelta(seconds=60)


@pytest.mark.parametrize("state", sorted(set(State) - {State.AWAITING_APPROVAL}))
def test_nothing_but_what_waits_for_it_is_approved_or_refused(state: State) -> None:
    with pytest.raises(NotPossibleError):
        machine.approve(queued(state=state), now=NOW)
    with pytest.raises(NotPossibleError):
        machine.refuse(queued(state=state), detail="no")


def test_an_approval_that_comes_too_late_is_none() -> None:
    waiting = machine.asked(now=NOW, lifetime_s=60, approval=True)
    with pytest.raises(NotPossibleError):
        machine.approve(waiting, now=waiting.expires_at)


@pytest.mark.parametrize("state", State)
def test_what_has_not_been_taken_can_be_cancelled(state: State) -> None:
    if state in UNSENT | {State.SENT}:
        assert machine.cancel(queued(state=state)).situation.state == State.CANCELLED
    else:
        with pytest.raises(NotPossibleError):
            machine.cancel(queued(state=state))


@pytest.mark.parametrize("state", State)
def test_of_a_revoked_device_nothing_is_expected(state: State) -> None:
    change = machine.gone(queued(state=state))
    assert (change is None) == (state in ENDED)


# --- Any order of events ---------------------------------------------------------------------


class Talk(RuleBasedStateMachine):
    """A server that follows the machine, a link that loses everything at will, and a device that
    remembers the ids of commands over its restarts and keeps its answers until they are stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.commands: dict[int, Situation] = {}
        self.history: dict[int, list[Change]] = {}
        self.connection = 0
        self.connected = False
        self.down: list[int] = []  # under way to the device
        self.up: list[tuple[int, int]] = []  # answers, stored in this order
        self.journal: dict[int, int] = {}
        self.runs: list[int] = []

    @initialize()
    def connect_first(self) -> None:
        self.connect()

    def _keep(self, number: int, change: Change) -> None:
        self.commands[number] = change.situation
        self.history[number].append(change)

    @rule(approval=st.booleans())
    def ask(self, approval: bool) -> None:
        number = len(self.commands)
        self.commands[number] = machine.asked(now=self.now, lifetime_s=600, approval=approval)
        self.history[number] = []

    @rule(data=st.data())
    @precondition(lambda self: self.commands)
    def decide(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.commands)))
        decision = data.draw(st.sampled_from(["approve", "refuse", "cancel"]))
        try:
            if decision == "approve":
                change = machine.approve(self.commands[number], now=self.now)
            elif decision == "refuse":
                change = machine.refuse(self.commands[number], detail="no")
            else:
                change = machine.cancel(self.commands[number])
        except NotPossibleError:
            return
        self._keep(number, change)

    @rule()
    def connect(self) -> None:
        self.connection += 1
        self.connected = True
        self.down = []  # an older connection's messages are lost with it

    @rule()
    def disconnect(self) -> None:
        self.connected = False
        self.down = []

    @rule()
    def lose(self) -> None:
        self.down = []

    @rule(seconds=st.sampled_from([1, 15, 120, 700, 4000]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(draw=st.floats(0, 1, exclude_max=True))
    def dispatch(self, draw: float) -> None:
        connection = self.connection if self.connected else None
        for number, command in self.commands.items():
            change = machine.due(command, now=self.now, connection=None, draw=draw)
            if change is not None:
                self._keep(number, change)
        head = self._head()
        if head is not None:
            change = machine.due(
                self.commands[head], now=self.now, connection=connection, draw=draw
            )
            if change is not None:
                self._keep(head, change)
                if change.send:
                    self.down.append(head)

    def _head(self) -> int | None:
        """As `command_store.due`: the unanswered one, else the first of the queue."""
        sent = [n for n, c in self.commands.items() if c.state == State.SENT]
        line = [n for n, c in self.commands.items() if c.state == State.QUEUED]
        line.sort(key=lambda n: (self.commands[n].queued_at, n))
        return (sent + line)[0] if sent or line else None

    @rule(slow=st.booleans(), status=st.sampled_from([0, 2, 3]))
    @precondition(lambda self: self.down and self.connected)
    def device_takes(self, slow: bool, status: int) -> None:
        number = self.down.pop(0)
        if number not in self.journal:
            if self.now < self.commands[number].expires_at:
                self.runs.append(number)
                self.journal[number] = ResultStatus.ACCEPTED if slow else status
            else:
                self.journal[number] = ResultStatus.EXPIRED
        self.up.append((number, self.journal[number]))

    @rule(data=st.data())
    def device_finishes(self, data: st.DataObject) -> None:
        at_it = [n for n, status in self.journal.items() if status == ResultStatus.ACCEPTED]
        if at_it:
            number = data.draw(st.sampled_from(at_it))
            self.journal[number] = ResultStatus.DONE
            self.up.append((number, ResultStatus.DONE))

    @rule(most=st.integers(1, 3))
    @precondition(lambda self: self.up)
    def store_answers(self, most: int) -> None:
        for number, status in self.up[:most]:
            command = self.commands[number]
            self._keep(number, machine.answered(command, status=status, detail="", now=self.now))
        del self.up[:most]

    @invariant()
    def each_runs_at_most_once(self) -> None:
        assert len(self.runs) == len(set(self.runs))

    @invariant()
    def one_is_unanswered_at_most(self) -> None:
        assert sum(c.state == State.SENT for c in self.commands.values()) <= 1

    @invariant()
    def attempts_are_bounded(self) -> None:
        assert all(c.attempts <= MAX_ATTEMPTS for c in self.commands.values())

    @invariant()
    def history_tells_the_state(self) -> None:
        for number, changes in self.history.items():
            if changes:
                assert changes[-1].situation == self.commands[number]
            sent = [change for change in changes if change.send]
            assert self.commands[number].attempts == len(sent)

    @invariant()
    def what_is_told_is_true(self) -> None:
        told = {State.SUCCEEDED: {0}, State.FAILED: {2, 3}, State.EXPIRED: {4}}
        for number, command in self.commands.items():
            if command.answered_at is not None:
                assert self.journal[number] in told[command.state]
            if command.state == State.ACKNOWLEDGED:
                assert number in self.journal
            if number in self.runs:
                assert command.attempts > 0

    def teardown(self) -> None:
        """Once the link holds and the device answers, everything ends, and truly."""
        for number in sorted(self.journal):
            if self.journal[number] == ResultStatus.ACCEPTED:
                self.journal[number] = ResultStatus.DONE
                self.up.append((number, ResultStatus.DONE))
        self.connect()
        for _ in range(6 * len(self.commands) + 6):
            self.dispatch(0.5)
            while self.down:
                self.device_takes(slow=False, status=0)
            while self.up:
                self.store_answers(3)
            self.now += timedelta(seconds=1)
        self.now += timedelta(days=2)
        self.dispatch(0.5)
        self.dispatch(0.5)
        assert all(command.state in ENDED for command in self.commands.values())
        for number in self.journal:
            assert self.commands[number].answered_at is not None


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""What follows for a command from what happens: values in, values out, the clock passed in.

A command is sent until the device has answered, each time with the same id, and the device does it
once. So sending again is always safe, and what is kept is never more than what is known: a command
that nobody answered ends as failed or expired, and becomes what the device says if it speaks later.

    awaiting_approval → queued → sent → (acknowledged →) succeeded | failed | expired
          any of the first three → cancelled

Only the device's last word is final (`answered_at`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from devices.commands.states import ENDED, OPEN, UNSENT, Cause, State, Step
from devices.protocol.codes import ResultStatus

# An answer takes the way through the queue and the database: so long nobody asks again.
ANSWER_S: Final = 10.0
# Waits grow twofold up to this, each drawn evenly between nothing and that ("full jitter", AWS
# Architecture Blog, Exponential Backoff And Jitter), on top of the time of an answer.
FIRST_WAIT_S: Final = 10.0
LAST_WAIT_S: Final = 600.0
# With the waits above, half an hour on one connection without an answer.
MAX_ATTEMPTS: Final = 8
# An answer that was given in time may be under way when a command expires.
GRACE: Final = timedelta(seconds=30)
# Within this a device that has taken a command says how it ended.
FINISH: Final = timedelta(hours=1)
APPROVAL: Final = timedelta(days=1)


class NotPossibleError(ValueError):
    """What was wanted of a command is not possible in its state."""

    def __init__(self, state: State) -> None:
        super().__init__(f"not possible: the command is {state}")
        self.state = state


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a command is; the fields are those of `devices.models.Command`."""

    state: State
    expires_at: datetime
    lifetime_s: int
    attempts: int = 0
    connection: int = 0
    next_at: datetime | None = None
    answered_at: datetime | None = None
    queued_at: datetime | None = None
    cause: Cause = Cause.NONE
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """A step of a command: its new situation, and what its history says of it.

    `send`: the command has to be given to the device now.
    """

    situation: Situation
    step: Step
    cause: Cause = Cause.NONE
    detail: str = ""
    send: bool = False


def asked(*, now: datetime, lifetime_s: int, approval: bool) -> Situation:
    """A new command, which may have to wait for somebody's approval."""
    if approval:
        return Situation(State.AWAITING_APPROVAL, now + APPROVAL, lifetime_s)
    return Situation(State.QUEUED, now + timedelta(seconds=lifetime_s), lifetime_s, queued_at=now)


def approve(command: Situation, *, now: datetime) -> Change:
    """Somebody else agrees: it is queued, and its time begins. Raises NotPossibleError."""
    if command.state != State.AWAITING_APPROVAL or now >= command.expires_at:
        raise NotPossibleError(command.state)
    expires_at = now + timedelta(seconds=command.lifetime_s)
    queued = replace(command, state=State.QUEUED, queued_at=now, expires_at=expires_at)
    return Change(queued, Step.APPROVED, Cause.SECOND_PERSON)


def refuse(command: Situation, *, detail: str) -> Change:
    """Somebody else does not agree. Raises NotPossibleError."""
    if command.state != State.AWAITING_APPROVAL:
        raise NotPossibleError(command.state)
    return _end(command, State.CANCELLED, Step.REFUSED, Cause.NOT_APPROVED, detail)


def cancel(command: Situation) -> Change:
    """It is not wanted any more. One that was sent may have been done all the same, and is not sent
    again; one that the device has taken cannot be cancelled. Raises NotPossibleError.
    """
    if command.state not in UNSENT | {State.SENT}:
        raise NotPossibleError(command.state)
    return _end(command, State.CANCELLED, Step.CANCELLED, Cause.PERSON)


def due(command: Situation, *, now: datetime, connection: int | None, draw: float) -> Change | None:
    """What time has brought: to be sent, given up, or (None) nothing.

    `connection` is the device's connection, None when it has none; `draw` is in [0, 1). The caller
    asks for the first unanswered command of a device alone, so that they keep their order.
    """
    if command.state in UNSENT and now >= command.expires_at:
        waiting = command.state == State.AWAITING_APPROVAL
        cause = Cause.NOT_APPROVED if waiting else Cause.NEVER_CONNECTED
        return _end(command, State.EXPIRED, Step.EXPIRED, cause)
    if command.state == State.QUEUED and connection is not None:
        return _send(command, Cause.FIRST, now, connection, draw)
    if command.state == State.SENT:
        return _unanswered(command, now, connection, draw)
    if command.state == State.ACKNOWLEDGED and command.next_at and now >= command.next_at:
        if command.cause == Cause.REPORTED:
            return _end(command, State.SUCCEEDED, Step.SUCCEEDED, Cause.REPORTED)
        return _end(command, State.FAILED, Step.FAILED, Cause.NO_RESULT)
    return None


def _unanswered(
    command: Situation, now: datetime, connection: int | None, draw: float
) -> Change | None:
    if now >= command.expires_at + GRACE:
        return _end(command, State.EXPIRED, Step.EXPIRED, Cause.NO_ANSWER)
    if connection is None or now >= command.expires_at:
        return None  # what it has done before it went away, it will say when it is back
    waited = command.next_at is None or now >= command.next_at
    if command.attempts >= MAX_ATTEMPTS:
        return _end(command, State.FAILED, Step.FAILED, Cause.NO_ANSWER) if waited else None
    if connection != command.connection:
        return _send(command, Cause.RECONNECTED, now, connection, draw)
    return _send(command, Cause.NO_ANSWER, now, connection, draw) if waited else None


def _send(command: Situation, cause: Cause, now: datetime, connection: int, draw: float) -> Change:
    attempts = command.attempts + 1
    sent = replace(
        command,
        state=State.SENT,
        cause=Cause.NONE,
        attempts=attempts,
        connection=connection,
        next_at=now + timedelta(seconds=wait_s(attempts, draw)),
    )
    return Change(sent, Step.SENT, cause, send=True)


def wait_s(attempts: int, draw: float) -> float:
    """Seconds until it is sent again, after so many times; `draw` in [0, 1)."""
    ceiling = min(LAST_WAIT_S, FIRST_WAIT_S * 2.0 ** (attempts - 1))
    return float(ANSWER_S + draw * ceiling)


# RESULT → state, step, cause. A status of a later version is an end that nobody here understands.
_ENDS: Final = {
    ResultStatus.DONE: (State.SUCCEEDED, Step.SUCCEEDED, Cause.DEVICE),
    ResultStatus.FAILED: (State.FAILED, Step.FAILED, Cause.DEVICE),
    ResultStatus.REJECTED: (State.FAILED, Step.FAILED, Cause.REJECTED),
    ResultStatus.EXPIRED: (State.EXPIRED, Step.EXPIRED, Cause.DEVICE),
}


def answered(command: Situation, *, status: int, detail: str, now: datetime) -> Change:
    """The device has spoken of it, for the first time or again, in time or late.

    Its word counts, whatever was supposed meanwhile; after its last word nothing changes.
    """
    if status == ResultStatus.ACCEPTED:
        known = command.state == State.ACKNOWLEDGED or command.cause == Cause.REPORTED
        if command.answered_at is not None or known:
            return Change(command, Step.REPEATED, Cause.DEVICE, detail)
        taken = replace(
            command,
            state=State.ACKNOWLEDGED,
            cause=Cause.NONE,
            detail=detail,
            next_at=now + FINISH,
        )
        return Change(taken, Step.ACKNOWLEDGED, Cause.DEVICE, detail)
    if status in _ENDS:
        state, step, cause = _ENDS[ResultStatus(status)]
    else:
        state, step, cause = State.FAILED, Step.FAILED, Cause.DEVICE
        detail = f"status {status}: {detail}" if detail else f"status {status}"
    if command.answered_at is not None:
        same = (command.state, command.cause) == (state, cause)
        return Change(command, Step.REPEATED if same else Step.CONTRADICTED, cause, detail)
    change = _end(command, state, step, cause, detail)
    return replace(change, situation=replace(change.situation, answered_at=now))


def reported(command: Situation, *, as_wanted: bool) -> Change | None:
    """The device has told its settings; `as_wanted`: they are what the command was to make them.

    Only a command counts that the device has taken and never said the end of: when its time is over
    it has succeeded, by the last report since, instead of failed; one that had failed for want of
    its last word has succeeded now. None: nothing follows.
    """
    if command.state == State.FAILED and command.cause == Cause.NO_RESULT and as_wanted:
        return _end(command, State.SUCCEEDED, Step.SUCCEEDED, Cause.REPORTED)
    cause = Cause.REPORTED if as_wanted else Cause.NONE
    if command.state != State.ACKNOWLEDGED or command.cause == cause:
        return None
    return Change(replace(command, cause=cause), Step.REPORTED, cause)


def gone(command: Situation) -> Change | None:
    """The device will never connect again (revoked): what it was to do is given up."""
    if command.state not in OPEN:
        return None
    return _end(command, State.FAILED, Step.FAILED, Cause.DEVICE_GONE)


def _end(command: Situation, state: State, step: Step, cause: Cause, detail: str = "") -> Change:
    assert state in ENDED
    ended = replace(command, state=state, cause=cause, detail=detail, next_at=None)
    return Change(ended, step, cause, detail)

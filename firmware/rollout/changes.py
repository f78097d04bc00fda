"""How a target changes: what follows from a success, a failure, an end. Each returns new values and
an entry of the history.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5

from firmware.rollout.strategy import UNTRUE, Retry, Strategy
from firmware.rollout.values import Event, State, Target

# However often it doubles, a delay is never longer.
LONGEST_DELAY: Final = timedelta(days=1)

Change = tuple[Target, Event]


def next_uid(uid: UUID) -> UUID:
    """The name of the attempt after the one with this name: always the same, so that a step that is
    done again names it no differently.
    """
    return uuid5(NAMESPACE_OID, uid.hex)


def delay_of(retry: Retry, attempts: int) -> timedelta:
    """How long to wait after so many failed attempts."""
    # Beyond that it is a day anyway, and the number would only grow.
    doubled = retry.delay_s * 2 ** min(attempts - 1, 20)
    return min(timedelta(seconds=doubled), LONGEST_DELAY)


def succeed(target: Target, now: datetime, *, late: bool = False) -> Change:
    """The device runs the release and has confirmed it."""
    done = replace(
        target,
        state=State.SUCCEEDED,
        state_at=now,
        failure="",
        confirmed_at=target.confirmed_at or now,
        rate=0,
    )
    return done, Event(target.target_id, "succeeded", "late" if late else "")


def fail(
    target: Target, code: str, strategy: Strategy, now: datetime, *, final: bool, detail: str = ""
) -> Change:
    """An attempt has failed: another one follows if the strategy has one left for this code, unless
    it is to be `final`.
    """
    attempts = target.attempts + 1
    retry = strategy.retries.get(code)
    data: Mapping[str, object] = {"attempt": attempts, "update": target.uid.hex}
    if final or code == UNTRUE or retry is None or attempts > retry.limit:
        ended = replace(
            target, state=State.FAILED, state_at=now, attempts=attempts, failure=code, rate=0
        )
        return ended, Event(target.target_id, "failed", code, detail, data)
    again = replace(
        target,
        state=State.WAITING,
        state_at=now,
        attempts=attempts,
        failure=code,
        uid=next_uid(target.uid),
        next_at=now + delay_of(retry, attempts),
        sent_at=None,
        heard_at=None,
        confirmed_at=None,
        rate=0,
        offset=0,
    )
    return again, Event(target.target_id, "retry", code, detail, data)


def let_go(target: Target, now: datetime) -> Change:
    """The device went away before it had everything: it keeps its place and its attempt."""
    waiting = replace(target, state=State.WAITING, state_at=now, rate=0)
    return waiting, Event(target.target_id, "away", data={"offset": target.offset})


def cancel(target: Target, code: str, now: datetime) -> Change:
    """It ends without having been tried, or before anything was installed."""
    ended = replace(target, state=State.CANCELLED, state_at=now, failure=code, rate=0)
    return ended, Event(target.target_id, "cancelled", code)


def skip(target: Target, code: str, now: datetime) -> Change:
    """It turns out that the device does not get it."""
    ended = replace(target, state=State.SKIPPED, state_at=now, failure=code, rate=0)
    return ended, Event(target.target_id, "skipped", code)

"""What the word of a device means for its target.

A report belongs to an attempt by its id: one of an earlier attempt changes nothing, except that a
device which has confirmed has confirmed. Reports come late, twice and out of order; the state only
goes forward within an attempt. What the server guessed (a time-out) gives way to what the device
says, also after the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from firmware.rollout import changes
from firmware.rollout.eligibility import runs
from firmware.rollout.strategy import DEVICE_CODES, Strategy
from firmware.rollout.values import (
    DDI,
    HELD,
    LOADING,
    OPEN,
    Event,
    Link,
    State,
    Target,
)

ACCEPTED: Final = "accepted"
PROGRESS: Final = "progress"
DOWNLOADED: Final = "downloaded"
INSTALLING: Final = "installing"
CONFIRMED: Final = "confirmed"
REVERTED: Final = "reverted"
FAILED: Final = "failed"
REJECTED: Final = "rejected"
WITHDRAWN: Final = "withdrawn"
KINDS: Final = frozenset(
    {
        ACCEPTED,
        PROGRESS,
        DOWNLOADED,
        INSTALLING,
        CONFIRMED,
        REVERTED,
        FAILED,
        REJECTED,
        WITHDRAWN,
    }
)
# What the server supposes of a device that does not answer.
TIMEOUT: Final = "timeout"
# What a failure is when the device gives no code that is known.
_USUAL: Final[Mapping[str, str]] = {
    REVERTED: "self_test",
    FAILED: "other",
    REJECTED: "other",
    WITHDRAWN: "withdrawn",
}


@dataclass(frozen=True, slots=True)
class Word:
    """What a device said about an update. `current`: about the present attempt, not an earlier one.
    `version` and `image` are what it says that it runs, as far as it does.
    """

    kind: str
    at: datetime
    current: bool = True
    code: str = ""
    detail: str = ""
    version: str = ""
    image: str = ""
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What follows: new values (None: none), the entry of the history (None: not worth one), and
    whether the device must be told that the update is withdrawn.
    """

    target: Target | None = None
    event: Event | None = None
    withdraw: bool = False


def heard(
    target: Target, word: Word, link: Link, strategy: Strategy, now: datetime, *, final: bool
) -> Heard:
    """Take a report. `link` is what the device said when it last connected, `final` whether no
    further attempt may follow (the roll-out was aborted).
    """
    if word.kind == CONFIRMED:
        return _confirmed(target, word, link, now)
    if not word.current:
        return Heard(event=_entry(target, word, "ignored"))
    if word.kind in _USUAL:
        return _failed(target, word, strategy, now, final=final)
    if target.state not in OPEN:
        # It goes on with what was called off: the message did not reach it.
        return Heard(
            event=_entry(target, word, "ignored"), withdraw=target.state is State.CANCELLED
        )
    if target.state not in HELD:
        return Heard(event=_entry(target, word, "ignored"), withdraw=True)
    return _forward(target, word, now)


def _forward(target: Target, word: Word, now: datetime) -> Heard:
    moved = replace(target, heard_at=now, offset=max(target.offset, word.offset))
    if word.kind in (DOWNLOADED, INSTALLING):
        event = _entry(target, word, word.kind)
        if target.state is State.INSTALLING:
            return Heard(moved, event)
        # Whatever we thought of it: it has everything and needs nothing more of the link.
        return Heard(replace(moved, state=State.INSTALLING, state_at=now, rate=0), event)
    if target.state is State.OFFERED:
        moved = replace(moved, state=State.DOWNLOADING, state_at=now)
    # A device that is waiting to come back says late how far it had come: it stays where it is,
    # because only a new offer lets it go on.
    return Heard(moved, _entry(target, word, ACCEPTED) if word.kind == ACCEPTED else None)


def _confirmed(target: Target, word: Word, link: Link, now: datetime) -> Heard:
    if target.state is State.SUCCEEDED:
        return Heard()
    if _is_so(target, word, link):
        late = target.state not in HELD or not word.current
        done, event = changes.succeed(target, now, late=late)
        return Heard(done, event)
    if not word.current or target.state not in HELD:
        return Heard(event=_entry(target, word, "ignored"))
    # What it runs may be told in a moment: `waiting` looks for it, and for how long.
    waits = replace(
        target, state=State.INSTALLING, state_at=now, heard_at=now, confirmed_at=now, rate=0
    )
    return Heard(waits, _entry(target, word, CONFIRMED))


def _is_so(target: Target, word: Word, link: Link) -> bool:
    if target.medium == DDI:
        told = Link(version=word.version or target.goal.version, image=word.image)
        return runs(target.goal, told)
    return runs(target.goal, link)


def _failed(target: Target, word: Word, strategy: Strategy, now: datetime, *, final: bool) -> Heard:
    code = word.code if word.code in DEVICE_CODES else _USUAL[word.kind]
    if target.state is State.SUCCEEDED and word.kind == REVERTED:
        # It had confirmed and has gone back all the same.
        gone, event = changes.fail(target, code, strategy, now, final=True, detail=word.detail)
        return Heard(gone, event)
    guessed = target.state is State.FAILED and target.failure == TIMEOUT
    if guessed and word.kind != WITHDRAWN and code != TIMEOUT:
        # Nobody had answered in time; the device knows why.
        event = replace(_entry(target, word, FAILED), code=code)
        return Heard(replace(target, failure=code), event)
    if target.state not in HELD:
        return Heard(event=_entry(target, word, "ignored"))
    if word.kind == WITHDRAWN and target.state not in LOADING:
        return Heard(event=_entry(target, word, "ignored"))
    failed, event = changes.fail(target, code, strategy, now, final=final, detail=word.detail)
    return Heard(failed, event)


def _entry(target: Target, word: Word, kind: str) -> Event:
    data = {"said": word.kind} if kind != word.kind else {}
    extra = {"version": word.version, "image": word.image, "offset": word.offset}
    return Event(
        target.target_id,
        kind,
        word.code,
        word.detail,
        {**data, **{name: value for name, value in extra.items() if value}},
    )

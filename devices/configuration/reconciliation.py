"""What a difference between wanted and reported settings leads to: a command, patience, or a word.

Pure: the clock and chance are passed in. A device is told again with growing waits, at most
MOST_ATTEMPTS times; what is then still different is shown as drift, with its reason, until
something changes; one that never answers is told again after MEMORY. So a device that falls back
again and again costs a bounded number of commands, and one that is under way is never doubled.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from devices.commands.kinds import Kind
from devices.configuration.settings import KINDS, Values, difference, entries_of, kinds_of

MOST_ATTEMPTS: Final = 5
FIRST_WAIT: Final = timedelta(minutes=1)
WAIT_FACTOR: Final = 4
LONGEST_WAIT: Final = timedelta(hours=1)
# A report may be older than the answer that came before it: the next one is on its way.
SETTLING: Final = timedelta(seconds=30)
# While a command is under way, its difference is looked at again so often.
PATIENCE: Final = timedelta(minutes=1)
# What was tried so long ago is forgotten when something changes.
MEMORY: Final = timedelta(hours=6)


class Drift(StrEnum):
    """Why a difference is left as it is."""

    NONE = ""
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    NOT_KEPT = "not_kept"
    UNSUPPORTED = "unsupported"


class Outcome(StrEnum):
    """How the last command of a kind that has ended did end."""

    DONE = "done"
    # The device cannot do it as it is said; saying it again changes nothing.
    REFUSED = "refused"
    # It has tried.
    FAILED = "failed"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of the last command of a kind: what it carried, and what the device said."""

    outcome: Outcome
    entries: Values
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the reconciliation of a device stands.

    `attempts` counts the commands sent because of the difference, a person's own among them;
    `tried_at` is the last of them. `next_at` is when the difference is looked at again, None for
    never by itself. `settled_at`: since when there is none. `drift` and `detail` say why one is
    left.
    """

    attempts: int = 0
    tried_at: datetime | None = None
    next_at: datetime | None = None
    settled_at: datetime | None = None
    drift: Drift = Drift.NONE
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """A command to be sent: its kind and its entries."""

    kind: Kind
    entries: Values


@dataclass(frozen=True, slots=True)
class Decision:
    """What to send now, and how it stands after that."""

    standing: Standing
    send: tuple[Told, ...] = ()


def wait_after(attempts: int, chance: float) -> timedelta:
    """How long to wait after so many attempts; `chance` in [0, 1) spreads devices apart."""
    factor = int(WAIT_FACTOR ** min(attempts - 1, 8))
    return min(LONGEST_WAIT, FIRST_WAIT * factor) * (1 - chance / 2)


def wanted_anew(standing: Standing, *, told: bool, reports: bool, now: datetime) -> Standing:
    """Something else is wanted. `told`: by a command that says so; `reports`: the device tells its
    settings, so that there is something to compare.
    """
    return Standing(
        attempts=1 if told else 0,
        tried_at=now if told else standing.tried_at,
        next_at=now + (SETTLING if told else timedelta()) if reports else None,
    )


def reported_anew(standing: Standing, *, changed: bool, now: datetime) -> Standing:
    """The device has told its settings; `changed`: they are not what they were."""
    if not changed and standing.drift is not Drift.NONE:
        return standing
    forget = standing.tried_at is None or now - standing.tried_at >= MEMORY
    return replace(
        standing,
        attempts=0 if forget else standing.attempts,
        next_at=max(standing.next_at or now, now + SETTLING) if not forget else now + SETTLING,
        drift=Drift.NONE,
        detail="",
    )


def refused(standing: Standing, *, detail: str) -> Standing:
    """The device cannot be asked at all; `detail` says why."""
    return replace(standing, next_at=None, drift=Drift.REFUSED, detail=detail)


def look(
    standing: Standing,
    *,
    desired: Values,
    reported: Values,
    pending: Collection[str],
    answers: Mapping[str, Answer],
    now: datetime,
    chance: float,
) -> Decision:
    """What follows from the settings of a device that is connected.

    `pending` are the settings that commands under way are to set, whoever asked for them: while
    there is one among the differences, it has the word. `answers` are the last ones by kind.
    """
    different = difference(desired, reported)
    if not different:
        settled = replace(
            standing,
            next_at=None,
            settled_at=standing.settled_at or now,
            drift=Drift.NONE,
            detail="",
        )
        return Decision(settled)
    standing = replace(standing, settled_at=None)
    if not set(different).isdisjoint(pending):
        return Decision(replace(standing, next_at=now + PATIENCE))
    reasons = {
        key: _left(key, desired=desired, reported=reported, standing=standing, answers=answers)
        for key in different
    }
    kinds = kinds_of([key for key, reason in reasons.items() if reason is None])
    if not kinds:
        return Decision(_given_up([reason for reason in reasons.values() if reason], standing, now))
    attempts = standing.attempts + 1
    tried = replace(
        standing,
        attempts=attempts,
        tried_at=now,
        next_at=now + wait_after(attempts, chance),
        drift=standing.drift if standing.drift is Drift.UNANSWERED else Drift.NONE,
        detail="",
    )
    return Decision(tried, tuple(Told(kind, entries_of(kind, desired)) for kind in kinds))


def _given_up(reasons: Sequence[tuple[Drift, str]], standing: Standing, now: datetime) -> Standing:
    """The standing of a device that is not told again soon. One that does not answer is told again
    after a long while: nothing else would ever bring it to its settings.
    """
    drift, detail = reasons[0]
    if any(reason[0] is Drift.UNANSWERED for reason in reasons):
        return replace(
            standing, attempts=0, next_at=now + MEMORY, drift=Drift.UNANSWERED, detail=""
        )
    return replace(standing, next_at=None, drift=drift, detail=detail)


def _left(
    key: str,
    *,
    desired: Values,
    reported: Values,
    standing: Standing,
    answers: Mapping[str, Answer],
) -> tuple[Drift, str] | None:
    """Why the setting is left as it is; None when the device is to be told."""
    if standing.attempts == 0:
        return None
    answer = answers.get(KINDS[key])
    heard = answer is not None and answer.entries.get(key) == desired[key]
    if answer is not None and heard and answer.outcome is Outcome.REFUSED:
        return Drift.REFUSED, answer.detail
    if key not in reported and heard:
        return Drift.UNSUPPORTED, key
    if standing.attempts < MOST_ATTEMPTS:
        return None
    if answer is None or not heard or answer.outcome is Outcome.UNANSWERED:
        return Drift.UNANSWERED, ""
    if answer.outcome is Outcome.FAILED:
        return Drift.REFUSED, answer.detail
    return Drift.NOT_KEPT, answer.detail

"""Whether a wave is over, may be followed by the next, or has gone wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from firmware.rollout.strategy import Strategy
from firmware.rollout.values import OPEN, OUT, Review, State, Wave, WavePhase


@dataclass(frozen=True, slots=True)
class Trouble:
    """A threshold was passed: `reason` is a code, `data` the numbers of its sentence."""

    reason: str
    data: Mapping[str, Any]


def trouble(waves: Iterable[Wave], strategy: Strategy) -> Trouble | None:
    """What is wrong with the waves that have begun, if anything. Failures that a person knew of
    when the roll-out was resumed do not count again.
    """
    begun = [wave for wave in waves if wave.phase is not WavePhase.PENDING]
    failures = sum(failures_of(wave) for wave in begun)
    if strategy.error_count is not None and failures >= strategy.error_count:
        return Trouble("error_count", {"failures": failures, "limit": strategy.error_count})
    for wave in begun:
        base, failed = counting(wave), failures_of(wave)
        if failed * 100 > strategy.error_percent * base:
            data = {"wave": wave.number, "failures": failed, "devices": base}
            return Trouble("error_percent", {**data, "limit": strategy.error_percent})
        if wave.phase is not WavePhase.DONE and not wave.overruled and wave.counts:
            found = _shortage(wave, base, strategy)
            if found is not None:
                return found
    return None


def _shortage(wave: Wave, base: int, strategy: Strategy) -> Trouble | None:
    """Whether too few devices of a wave can still succeed for it to be over."""
    succeeded, left = wave.counts.get(State.SUCCEEDED, 0), still_open(wave)
    if not succeeded and not left and base <= wave.accepted_failures:
        return Trouble("nobody", {"wave": wave.number})
    wanted = max(0, base - wave.accepted_failures)
    if (succeeded + left) * 100 < strategy.success_percent * wanted or not succeeded + left:
        data = {"wave": wave.number, "succeeded": succeeded, "devices": base}
        return Trouble("success_percent", {**data, "limit": strategy.success_percent})
    return None


def counting(wave: Wave) -> int:
    """The devices of the wave that count: without those left out and called off."""
    return sum(number for state, number in wave.counts.items() if state not in OUT)


def failures_of(wave: Wave) -> int:
    """Failed devices that nobody knew of when the roll-out was resumed."""
    return max(0, wave.counts.get(State.FAILED, 0) - wave.accepted_failures)


def still_open(wave: Wave) -> int:
    """The devices of the wave that have not come to their end."""
    return sum(number for state, number in wave.counts.items() if state in OPEN)


def is_settled(wave: Wave, strategy: Strategy, *, busy: int, last: bool) -> bool:
    """Whether the wave is updated as far as it needs to be: nobody is `busy` (being updated, or
    about to be), and enough have succeeded. The last wave waits for everybody.
    """
    if busy or (last and still_open(wave)):
        return False
    if wave.overruled:
        return True
    succeeded = wave.counts.get(State.SUCCEEDED, 0)
    base = max(0, counting(wave) - wave.accepted_failures)
    return succeeded > 0 and succeeded * 100 >= strategy.success_percent * base


def soaked_at(wave: Wave, strategy: Strategy) -> datetime | None:
    """When the soak is over: counted from the last confirmation."""
    since = [at for at in (wave.soaking_at, wave.updated_at) if at is not None]
    return max(since) + timedelta(seconds=strategy.soak_s) if since else None


def is_fresh(review: Review | None, wave: Wave, strategy: Strategy) -> bool:
    """Whether what the gate says rests on all of the soak, after the last confirmation."""
    over = soaked_at(wave, strategy)
    return review is not None and over is not None and review.evidence_until >= over

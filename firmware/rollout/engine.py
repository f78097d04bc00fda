"""One step of a roll-out: what follows from how things stand now.

The driver calls it every few seconds with what it has read, stores what it answers, and sends what
is to be sent. Nothing is remembered between two steps but what is stored, so that a step may be
lost or done again at any moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from firmware.rollout import changes, judging
from firmware.rollout.admission import admit
from firmware.rollout.changes import Change
from firmware.rollout.eligibility import unfit
from firmware.rollout.judging import Trouble
from firmware.rollout.strategy import OnError
from firmware.rollout.values import (
    DDI,
    LOADING,
    NO_LINK,
    OPEN,
    Decision,
    Event,
    Limit,
    Link,
    Phase,
    State,
    Target,
    Use,
    View,
    Wave,
    WavePhase,
)
from firmware.rollout.waiting import tend
from firmware.rollout.waves import place
from firmware.rollout.windows import is_open, jittered

# A step is bounded, so that it is short however large the roll-out is: the next one goes on.
MOST_CLAIMS: Final = 1000
MOST_OFFERS: Final = 1000
# How often the gate is asked again while it cannot tell, unless its limits say otherwise.
REVIEW_EVERY_S: Final = 900

_BEFORE: Final = datetime.min.replace(tzinfo=UTC)
_BEGUN: Final = frozenset({WavePhase.RUNNING, WavePhase.DONE})
_ACTIONS: Final = {
    OnError.PAUSE: Phase.PAUSED,
    OnError.ABORT: Phase.ABORTED,
    OnError.ROLLBACK: Phase.ABORTED,
}


def step(view: View) -> Decision:
    """What is to be done now."""
    return _Step(view).decide()


@dataclass
class _Outcome:
    """What a step says of the roll-out as a whole."""

    phase: Phase | None = None
    reason: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    ended: bool = False
    review_wave: int | None = None
    roll_back: bool = False


class _Step:
    """A step in the making."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.now = view.now
        self.strategy = view.rollout.strategy
        self.seed = view.rollout.seed
        self.targets = {target.target_id: target for target in view.targets}
        self.former = dict(self.targets)
        self.waves = {wave.number: wave for wave in view.waves}
        self.former_waves = dict(self.waves)
        self.counts = {number: Counter(wave.counts) for number, wave in self.waves.items()}
        self.events: list[Event] = []
        self.offers: list[int] = []
        self.withdrawals: list[Target] = []
        self.taken: list[int] = []
        self.outcome = _Outcome()

    def decide(self) -> Decision:
        phase = self.view.rollout.phase
        self._tend(final=phase is Phase.ABORTED)
        if phase is Phase.ABORTED:
            self._call_off()
        elif phase is Phase.RUNNING:
            self._run()
        return self._decision()

    def _run(self) -> None:
        found = judging.trouble(self._counted(), self.strategy)
        if found is not None:
            self._stop(found)
            return
        self._close_joining()
        self._advance()
        if self.outcome.phase is None:
            self._claim()
            self._admit()

    # What is under way

    def _tend(self, *, final: bool) -> None:
        for target in self.view.targets:
            if target.state not in LOADING and target.state is not State.INSTALLING:
                continue
            link = self._link(target)
            tended = tend(target, link, self.strategy, self.now, final=final)
            if tended.withdraw:
                self.withdrawals.append(target)
            if tended.target is not None:
                self._set(tended.target, tended.event)
            if tended.resend:
                self.offers.append(target.target_id)

    def _call_off(self) -> None:
        """The roll-out was aborted: whoever has not begun to install is called off."""
        for target in list(self.targets.values()):
            if target.state in LOADING or (target.state is State.WAITING and target.sent_at):
                self.withdrawals.append(target)
            if target.state in OPEN and target.state is not State.INSTALLING:
                self._change(changes.cancel(target, "aborted", self.now))
        self.offers.clear()
        if not any(target.state in OPEN for target in self.targets.values()):
            self.outcome.ended = True

    def _stop(self, found: Trouble) -> None:
        self.outcome.phase = _ACTIONS[self.strategy.on_error]
        self.outcome.reason, self.outcome.data = found.reason, dict(found.data)
        self.outcome.roll_back = self.strategy.on_error is OnError.ROLLBACK

    # Waves

    def _close_joining(self) -> None:
        """Devices that were away for too long are not waited for any longer."""
        join = timedelta(days=self.strategy.join_days)
        over = {
            wave.number
            for wave in self.waves.values()
            if wave.phase in _BEGUN and wave.started_at and self.now - wave.started_at > join
        }
        for target in list(self.targets.values()) if over else ():
            if target.wave in over and self._is_gone(target):
                code = "held" if target.state is State.PENDING else "away"
                self._change(changes.cancel(target, code, self.now))

    def _advance(self) -> None:
        """Move the waves on as far as they go; when all are done and nobody is left, it is over."""
        for number in sorted(self.waves):
            wave = self.waves[number]
            if wave.phase is WavePhase.DONE:
                continue
            if wave.phase is WavePhase.PENDING:
                self._set_wave(wave, phase=WavePhase.RUNNING, started_at=self.now)
                return
            if not self._is_over(wave):
                return
            self._set_wave(self.waves[number], phase=WavePhase.DONE, ended_at=self.now)
        if not self.view.backlog and not any(map(judging.still_open, self._counted())):
            self.outcome.phase, self.outcome.ended = Phase.COMPLETED, True

    def _is_over(self, wave: Wave) -> bool:
        """Bring a wave as far as it goes; whether the next one may begin."""
        last = wave.number == max(self.waves)
        if self.view.backlog or self.view.partial:
            return False  # what is known is not all
        if wave.phase is WavePhase.RUNNING:
            busy = sum(self._is_busy(target, wave) for target in self.targets.values())
            if last and any(judging.still_open(one) for one in self._counted()):
                return False
            if not judging.is_settled(self._with_counts(wave), self.strategy, busy=busy, last=last):
                return False
            if last:
                return True
            wave = self._set_wave(wave, phase=WavePhase.SOAKING, soaking_at=self.now)
        elif not judging.is_settled(self._with_counts(wave), self.strategy, busy=0, last=last):
            # Devices have gone back since: the wave goes on with those that are left.
            self._set_wave(wave, phase=WavePhase.RUNNING, soaking_at=None, judged_at=None)
            return False
        if wave.phase is WavePhase.SOAKING:
            over = judging.soaked_at(wave, self.strategy)
            if over is None or self.now < over:
                return False
            wave = self._set_wave(wave, phase=WavePhase.JUDGED, judged_at=self.now)
        return self._may_follow(wave)

    def _may_follow(self, wave: Wave) -> bool:
        over = judging.soaked_at(wave, self.strategy)
        if over is not None and self.now < over:
            return False  # somebody has confirmed after all: the soak goes on
        if self.strategy.gate is not None and not wave.overruled and not self._gate_passes(wave):
            return False
        if self.strategy.approval_between and not wave.approved and not wave.overruled:
            self.outcome.phase = Phase.AWAITING_APPROVAL
            self.outcome.reason, self.outcome.data = "approval", {"wave": wave.number}
            return False
        return True

    def _gate_passes(self, wave: Wave) -> bool:
        review = self.view.review
        if review is None or not judging.is_fresh(review, wave, self.strategy):
            self.outcome.review_wave = wave.number
            return False
        if review.outcome == "fail":
            self._stop(Trouble("gate", {"wave": wave.number}))
            return False
        if review.outcome == "pass":
            return True
        if review.undecided:
            self.outcome.phase = Phase.AWAITING_APPROVAL
            self.outcome.reason, self.outcome.data = "gate_undecided", {"wave": wave.number}
            return False
        every = (self.strategy.gate or {}).get("look_every_s", REVIEW_EVERY_S)
        if self.now - review.at >= timedelta(seconds=every):
            self.outcome.review_wave = wave.number
        return False

    # Devices whose turn it is

    def _claim(self) -> None:
        """Take devices of begun waves, unless another roll-out has them."""
        begun = {wave.number for wave in self.waves.values() if wave.phase in _BEGUN}
        claimed = 0
        for target in list(self.targets.values()):
            if target.state is not State.PENDING or target.wave not in begun:
                continue
            if claimed >= MOST_CLAIMS:
                return
            claimed += self._claim_one(target)

    def _claim_one(self, target: Target) -> bool:
        code = self._unfit(target)
        if code:
            self._change(changes.skip(target, code, self.now))
            return True
        holder = self.view.held.get(target.device_id)
        if holder is not None:
            if not holder.fresh or holder.priority >= self.view.rollout.priority:
                return False
            self.taken.append(holder.target_id)
        self._set(replace(target, state=State.WAITING, state_at=self.now), None)
        return True

    def _admit(self) -> None:
        """Offer to as many of those that are ready as the limits allow, earlier waves first."""
        waiting = [target for target in self.targets.values() if target.state is State.WAITING]
        ready = sorted(filter(self._is_ready, waiting), key=self._turn)[:MOST_OFFERS]
        fit: list[Target] = []
        for target in ready:
            # Facts may have changed since it was claimed.
            code = "" if target.attempts or target.sent_at else self._unfit(target)
            if code:
                self._change(changes.skip(target, code, self.now))
            else:
                fit.append(target)
        loading = [target for target in self.targets.values() if target.state in LOADING]
        mine = Use(len(loading), sum(target.rate for target in loading))
        own = Limit(self.strategy.max_downloads, self.strategy.bytes_per_s)
        others = (
            (limit, Use(use.downloads + mine.downloads, use.bytes_per_s + mine.bytes_per_s))
            for limit, use in self.view.limits
        )
        wanted = sum(counts[State.WAITING] for counts in self.counts.values()) + len(loading)
        granted = admit([(own, mine), *others], len(fit), wanted)
        for target in fit[: granted.count]:
            self._offer(target, granted.rate)

    def _turn(self, target: Target) -> tuple[int, bool, datetime, float, int]:
        """Who comes first. Of a wave, who is there and was not put off: a device that asks by
        itself and does not ask for long would take its place again and again from those behind it.
        """
        there = self._link(target).connected
        since = target.next_at or _BEFORE
        return target.wave, not there, since, place(self.seed, target.device_id), target.device_id

    def _offer(self, target: Target, rate: int) -> None:
        offered = replace(
            target,
            state=State.OFFERED,
            state_at=self.now,
            sent_at=self.now,
            connection=self._link(target).connection,
            rate=rate,
        )
        # One that does not ask is offered the same every few minutes for weeks: told once.
        again = target.sent_at is not None and not self._link(target).connected
        event = None if again else Event(target.target_id, "offered", data={"rate": rate})
        self._set(offered, event)
        self.offers.append(target.target_id)

    def _is_ready(self, target: Target) -> bool:
        wave = self.waves[target.wave]
        if wave.phase not in _BEGUN or wave.started_at is None or self._is_away(target):
            return False  # a wave that soaks is left alone
        if target.next_at is not None and self.now < target.next_at:
            return False
        strategy = self.strategy
        begins = jittered(
            self.seed, target.device_id, target.wave, wave.started_at, strategy.jitter_s
        )
        return self.now >= begins and is_open(strategy.windows, target.zone, self.now)

    def _is_away(self, target: Target) -> bool:
        """Whether there is nothing to be done with it now. Whether a device that asks by itself is
        there shows only when it is offered something.
        """
        asks = target.medium == DDI and target.state is State.WAITING
        return not asks and self._is_gone(target)

    def _is_gone(self, target: Target) -> bool:
        """Whether it is not there to be updated, or somebody else has it."""
        if target.state is State.PENDING:
            return target.device_id in self.view.held
        return target.state is State.WAITING and not self._link(target).connected

    def _is_busy(self, target: Target, wave: Wave) -> bool:
        """Whether the wave has to wait for it before it can be judged."""
        if target.wave != wave.number or target.state not in OPEN:
            return False
        if target.medium == DDI and target.state in (State.WAITING, State.OFFERED):
            return False  # whether it is there shows only when it asks
        return not self._is_away(target)

    def _unfit(self, target: Target) -> str:
        return unfit(
            target.goal,
            device_type=target.device_type,
            active=target.active,
            medium=target.medium,
            link=self._link(target),
        )

    # What has been decided

    def _link(self, target: Target) -> Link:
        return self.view.links.get(target.device_id, NO_LINK)

    def _change(self, change: Change) -> None:
        self._set(*change)

    def _set(self, target: Target, event: Event | None) -> None:
        former = self.targets[target.target_id]
        self.targets[target.target_id] = target
        if former.state is not target.state:
            counts = self.counts[target.wave]
            counts[former.state] -= 1
            counts[target.state] += 1
            if target.state is State.SUCCEEDED:
                self._set_wave(self.waves[target.wave], updated_at=self.now)
        if event is not None:
            self.events.append(event)

    def _set_wave(self, wave: Wave, **values: Any) -> Wave:
        self.waves[wave.number] = replace(wave, **values)
        return self.waves[wave.number]

    def _with_counts(self, wave: Wave) -> Wave:
        counts = {state: number for state, number in self.counts[wave.number].items() if number}
        return replace(self.waves[wave.number], counts=counts)

    def _counted(self) -> Iterable[Wave]:
        return [self._with_counts(self.waves[number]) for number in sorted(self.waves)]

    def _decision(self) -> Decision:
        outcome = self.outcome
        return Decision(
            targets=tuple(t for k, t in self.targets.items() if t is not self.former[k]),
            waves=tuple(w for k, w in self.waves.items() if w is not self.former_waves[k]),
            offers=tuple(
                target
                for target in (self.targets[key] for key in self.offers)
                if target.state in LOADING
            ),
            withdrawals=tuple(self.withdrawals),
            taken=tuple(self.taken),
            events=tuple(self.events),
            phase=outcome.phase,
            reason=outcome.reason,
            data=outcome.data,
            ended=outcome.ended,
            review_wave=outcome.review_wave,
            roll_back=outcome.roll_back,
        )

"""No sequence of events breaks a limit, updates a device twice, has it in two roll-outs, leaves one
without a final state, or lets a wave begin on stale numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from firmware.rollout import judging
from firmware.rollout.reporting import KINDS, Word
from firmware.rollout.strategy import OnError, Retry, Strategy, WaveSize, Window
from firmware.rollout.values import (
    HELD,
    LOADING,
    OPEN,
    Decision,
    Limit,
    Phase,
    State,
    Target,
    WavePhase,
)
from firmware.rollout.windows import jittered
from firmware.tests.rollout_world import World

DEVICES = list(range(1, 9))
SEEDS = (1, 2)
_DAY = Window(tuple(range(7)), "08:00", "16:00")
_CODES = ("", "flash", "timeout", "download", "busy", "signature")
_STRATEGIES = st.builds(
    Strategy,
    waves=st.sampled_from(
        [
            (WaveSize(count=1), WaveSize(percent=50), WaveSize(percent=100)),
            (WaveSize(percent=25),),
            (WaveSize(percent=100),),
        ]
    ),
    soak_s=st.sampled_from([0, 600]),
    approval_between=st.booleans(),
    success_percent=st.sampled_from([0, 0, 50, 100]),
    error_percent=st.sampled_from([0, 50, 100, 100]),
    error_count=st.sampled_from([None, None, 2]),
    on_error=st.sampled_from(OnError),
    windows=st.sampled_from([(), (), (_DAY,)]),
    jitter_s=st.sampled_from([0, 300]),
    max_downloads=st.sampled_from([None, 1, 3]),
    bytes_per_s=st.sampled_from([None, 100, 5000]),
    retries=st.sampled_from([{}, {"timeout": Retry(1, 30), "busy": Retry(2, 30)}]),
    offer_s=st.just(120),
    download_s=st.just(600),
    install_s=st.just(300),
    confirm_s=st.just(300),
    join_days=st.sampled_from([0, 1]),
    gate=st.sampled_from([None, {}, {}]),
)


class Rollouts(RuleBasedStateMachine):
    """Two roll-outs that want the same devices, which do whatever they like."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.begun_at: dict[tuple[int, int], Any] = {}
        self.succeeded: set[tuple[int, int]] = set()

    @initialize(
        one=_STRATEGIES,
        other=_STRATEGIES,
        priority=st.integers(-1, 1),
        downloads=st.sampled_from([None, 2]),
        rate=st.sampled_from([None, 6000]),
    )
    def start(
        self, one: Strategy, other: Strategy, priority: int, downloads: int | None, rate: int | None
    ) -> None:
        self.world.limit = Limit(downloads, rate)
        for device_id in DEVICES[:6]:
            self.world.connect(device_id)
        self.world.begin(1, DEVICES, one)
        self.world.begin(2, DEVICES[3:], other, version="3.0.0", priority=priority)

    @rule(seed=st.sampled_from(SEEDS))
    def tick(self, seed: int) -> None:
        self._tick(seed)

    @rule(seconds=st.sampled_from([1, 20, 200, 2000, 100_000]))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    @rule(device=st.sampled_from(DEVICES))
    def come(self, device: int) -> None:
        former = self.world.links.get(device)
        self.world.connect(device, version=former.version if former else "1.0.0")

    @rule(device=st.sampled_from(DEVICES))
    def go(self, device: int) -> None:
        self.world.disconnect(device)

    @rule(
        seed=st.sampled_from(SEEDS),
        device=st.sampled_from(DEVICES),
        kind=st.sampled_from(sorted(KINDS)),
        code=st.sampled_from(_CODES),
        current=st.booleans(),
        offset=st.integers(0, 1000),
    )
    def say(self, seed: int, device: int, kind: str, code: str, current: bool, offset: int) -> None:
        """Anything, at any time: late, twice, out of order, about an earlier attempt."""
        if seed * 1000 + device in self.world.runs[seed].targets:
            word = Word(kind, self.world.now, current, code, offset=offset)
            self.world.say(seed, device, word)

    @rule(seed=st.sampled_from(SEEDS), device=st.sampled_from(DEVICES))
    def obey(self, seed: int, device: int) -> None:
        """A device that was offered something does it."""
        target = self.world.runs[seed].targets.get(seed * 1000 + device)
        if target is not None and target.state in LOADING:
            self.world.update(seed, device)

    @rule(seed=st.sampled_from(SEEDS))
    def obey_all(self, seed: int) -> None:
        for target in list(self.world.runs[seed].targets.values()):
            self.obey(seed, target.device_id)
        self._tick(seed)

    @rule(seed=st.sampled_from(SEEDS), early=st.sampled_from([0, 1, 599]), late=st.booleans())
    def soak(self, seed: int, early: int, late: bool) -> None:
        """The gate is asked during the soak, and perhaps somebody confirms after it was."""
        self._go_to_soak(seed)
        self.world.wait(early)
        self.world.look(seed, "pass")
        self.world.wait(601 - early)
        if late:
            for target in list(self.world.runs[seed].targets.values()):
                if target.state is State.FAILED:
                    self.world.update(seed, target.device_id)
        self._tick(seed)

    @rule(seed=st.sampled_from(SEEDS), age=st.sampled_from([0, 1, 2, 600, 700]))
    def judge(self, seed: int, age: int) -> None:
        """A wave has soaked, and the gate speaks of what had arrived some time before."""
        self._go_to_soak(seed)
        self.world.wait(601)
        self.world.look(seed, "pass", age_s=age)
        self._tick(seed)

    def _go_to_soak(self, seed: int) -> None:
        """The wave that runs comes to its soak, where nothing but time is in its way."""
        for _ in range(3):
            self.world.wait(100)
            self.obey_all(seed)

    @rule(seed=st.sampled_from(SEEDS))
    def pause(self, seed: int) -> None:
        run = self.world.runs[seed]
        if run.rollout.phase in (Phase.RUNNING, Phase.AWAITING_APPROVAL):
            self._move(seed, Phase.PAUSED)

    @rule(seed=st.sampled_from(SEEDS))
    def resume(self, seed: int) -> None:
        if self.world.runs[seed].rollout.phase is Phase.PAUSED:
            self.world.resume(seed)

    @rule(seed=st.sampled_from(SEEDS))
    def approve(self, seed: int) -> None:
        if self.world.runs[seed].rollout.phase is Phase.AWAITING_APPROVAL:
            self.world.approve(seed)

    @rule(seed=st.sampled_from(SEEDS))
    @precondition(lambda self: self.world.now.minute % 4 == 0)
    def abort(self, seed: int) -> None:
        run = self.world.runs[seed]
        if not run.ended and run.rollout.phase is not Phase.ABORTED:
            self._move(seed, Phase.ABORTED)

    @rule(
        seed=st.sampled_from(SEEDS),
        outcome=st.sampled_from(["pass", "wait", "fail"]),
        undecided=st.booleans(),
        age=st.sampled_from([0, 0, 600, 2000]),
    )
    def look(self, seed: int, outcome: str, undecided: bool, age: int) -> None:
        self.world.look(seed, outcome, undecided=undecided, age_s=age)

    @rule(waits=st.booleans())
    def inbox(self, waits: bool) -> None:
        self.world.backlog = waits

    def _move(self, seed: int, phase: Phase) -> None:
        run = self.world.runs[seed]
        run.rollout = type(run.rollout)(seed, phase, run.rollout.strategy, run.rollout.priority)

    def _tick(self, seed: int) -> None:
        """A step, and whether each wave that has just ended was allowed to."""
        run = self.world.runs[seed]
        before = dict(run.waves)
        former, aborted = dict(run.targets), run.rollout.phase is Phase.ABORTED
        held = self._fresh_of_others(seed)
        offered = len(self.world.sent)
        decision = self.world.tick(seed)
        for key, target in run.targets.items():
            self._check_change(seed, former[key], target)
        self._check_taken(seed, decision, held)
        if aborted and not self.world.runs[seed].ended:
            left = {one.state for one in run.targets.values() if one.state in OPEN}
            assert left == {State.INSTALLING}, "who has not begun to install is called off"
        for number, wave in run.waves.items():
            if wave.phase is WavePhase.DONE and before[number].phase is not WavePhase.DONE:
                self._check_end(seed, number)
        open_uids = {one.uid for one in run.targets.values() if one.state in LOADING}
        for _device, uid in self.world.sent[offered:]:
            assert uid in open_uids, "something was offered to a device that is not to load it"

    def _check_change(self, seed: int, former: Target, target: Target) -> None:
        """What a step does to a target it may do."""
        world, run = self.world, self.world.runs[seed]
        strategy, began = run.rollout.strategy, run.waves[target.wave].started_at
        link = world.links.get(target.device_id)
        there = link is not None and link.connected
        if target.state is former.state:
            return
        if target.state is State.OFFERED:
            assert there
            assert began is not None
            assert not strategy.windows or 8 <= world.now.hour < 16, "an offer outside the window"
            own = jittered(seed, target.device_id, target.wave, began, strategy.jitter_s)
            assert world.now >= own, "an offer before the device's own time"
        if target.state is State.CANCELLED and target.failure in ("away", "held"):
            assert began is not None
            assert world.now - began > timedelta(days=strategy.join_days), "not waited for"
        if former.state is State.INSTALLING and target.state is State.WAITING:
            assert there, "a device that did not come back is not counted"

    def _fresh_of_others(self, seed: int) -> dict[int, tuple[bool, int]]:
        """Whether targets of other roll-outs have been sent nothing, and their priority."""
        return {
            key: (target.fresh, other.rollout.priority)
            for number, other in self.world.runs.items()
            if number != seed
            for key, target in other.targets.items()
        }

    def _check_taken(
        self, seed: int, decision: Decision, held: Mapping[int, tuple[bool, int]]
    ) -> None:
        for key in decision.taken:
            fresh, priority = held[key]
            assert fresh, "a device was taken away to which something had been sent"
            assert priority < self.world.runs[seed].rollout.priority

    def _check_end(self, seed: int, number: int) -> None:
        world, run = self.world, self.world.runs[seed]
        wave, strategy = run.waves[number], run.rollout.strategy
        mine = [one for one in run.targets.values() if one.wave == number]
        assert not world.backlog, "a wave ended while devices had said more"
        if wave.overruled:
            return
        assert any(one.state is State.SUCCEEDED for one in mine)
        if number == max(run.waves):
            return
        over = world.wave_over_at(seed, number)
        assert over is not None
        assert world.now >= over, "a wave ended before its soak"
        if strategy.gate is not None:
            assert run.review is not None
            assert run.review.outcome == "pass"
            assert run.review.evidence_until >= over, "a wave ended on stale numbers"
        assert wave.approved or not strategy.approval_between

    @invariant()
    def limits_hold(self) -> None:
        everybody = self.world.use()
        _within(self.world.limit, everybody.downloads, everybody.bytes_per_s)
        for run in self.world.runs.values():
            loading = [one for one in run.targets.values() if one.state in LOADING]
            strategy = run.rollout.strategy
            own = Limit(strategy.max_downloads, strategy.bytes_per_s)
            _within(own, len(loading), sum(one.rate for one in loading))

    @invariant()
    def device_is_in_one_rollout(self) -> None:
        held = [
            one.device_id
            for run in self.world.runs.values()
            for one in run.targets.values()
            if one.state in HELD
        ]
        assert len(held) == len(set(held))

    @invariant()
    def attempts_are_limited(self) -> None:
        for run in self.world.runs.values():
            retries = run.rollout.strategy.retries
            for one in run.targets.values():
                if one.state in HELD and one.failure:
                    assert one.attempts <= retries[one.failure].limit

    @invariant()
    def nobody_is_updated_twice(self) -> None:
        for run in self.world.runs.values():
            for one in run.targets.values():
                key = (run.rollout.seed, one.device_id)
                if key in self.succeeded:
                    # It may have gone back by itself; it is never offered anything again.
                    assert one.state in (State.SUCCEEDED, State.FAILED)
                if one.state is State.SUCCEEDED:
                    self.succeeded.add(key)

    @invariant()
    def waves_come_one_after_the_other(self) -> None:
        for run in self.world.runs.values():
            phases = [run.waves[number].phase for number in sorted(run.waves)]
            begun = [phase for phase in phases if phase is not WavePhase.PENDING]
            assert phases[: len(begun)] == begun
            assert all(phase is WavePhase.DONE for phase in begun[:-1])
            for one in run.targets.values():
                if one.state in HELD:
                    assert run.waves[one.wave].phase is not WavePhase.PENDING

    @invariant()
    def what_is_over_has_left_nobody(self) -> None:
        for run in self.world.runs.values():
            if run.ended:
                assert not [one for one in run.targets.values() if one.state in OPEN]
            if run.rollout.phase is Phase.COMPLETED:
                assert run.ended

    def teardown(self) -> None:
        """Whatever has happened: with devices that obey and people who say yes, all come to an end
        and each device has a final state.
        """
        world = self.world
        world.backlog = False
        for _round in range(120):
            world.wait(4000)
            for device_id in DEVICES:
                link = world.links.get(device_id)
                if link is None or not link.connected:
                    world.connect(device_id, version=link.version if link else "1.0.0")
            for seed, run in world.runs.items():
                if run.rollout.phase in (Phase.PAUSED, Phase.AWAITING_APPROVAL):
                    world.approve(seed, overruled=True)
                world.look(seed, "pass")
                self.obey_all(seed)
            self.limits_hold()
            self.device_is_in_one_rollout()
            if all(run.ended for run in world.runs.values()):
                break
        for run in world.runs.values():
            assert run.ended, (run.rollout.phase, run.waves, world.states(run.rollout.seed))
            assert not any(judging.still_open(wave) for wave in world.view(run.rollout.seed).waves)


def _within(limit: Limit, downloads: int, bytes_per_s: int) -> None:
    assert limit.downloads is None or downloads <= limit.downloads
    assert limit.bytes_per_s is None or bytes_per_s <= limit.bytes_per_s


TestRollouts = Rollouts.TestCase
TestRollouts.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)

"""Roll-outs in memory: what the driver does, without a database, for the tests of the engine."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from firmware.rollout import engine, reporting
from firmware.rollout.reporting import Word
from firmware.rollout.strategy import Retry, Strategy, WaveSize
from firmware.rollout.values import (
    DDI,
    HELD,
    LOADING,
    NO_LINK,
    OPEN,
    WIRE,
    Decision,
    Goal,
    Holder,
    Limit,
    Link,
    Phase,
    Review,
    Rollout,
    State,
    Target,
    Use,
    View,
    Wave,
    WavePhase,
)
from firmware.rollout.waves import assign

START = datetime(2026, 3, 2, 12, tzinfo=UTC)
NAMES = UUID(int=7)
UPDATES = 0x04
NO_LIMIT = Limit()


@dataclass
class Run:
    """A roll-out as it is stored."""

    rollout: Rollout
    waves: dict[int, Wave]
    targets: dict[int, Target]
    review: Review | None = None
    ended: bool = False
    rolled_back: bool = False


@dataclass
class World:
    """Devices, their connections, and the roll-outs that want something of them."""

    limit: Limit = NO_LIMIT
    now: datetime = START
    links: dict[int, Link] = field(default_factory=dict)
    runs: dict[int, Run] = field(default_factory=dict)
    backlog: bool = False
    sent: list[tuple[int, UUID]] = field(default_factory=list)
    withdrawn: list[UUID] = field(default_factory=list)

    def connect(self, device_id: int, *, version: str = "1.0.0", image: str = "") -> None:
        """The device comes (back); it keeps the version that it told unless another is given."""
        former = self.links.get(device_id, NO_LINK)
        self.links[device_id] = Link(
            connected=True,
            connection=former.connection + 1,
            version=version,
            image=image,
            capabilities=UPDATES,
        )

    def disconnect(self, device_id: int) -> None:
        self.links[device_id] = replace(self.links.get(device_id, NO_LINK), connected=False)

    def begin(
        self,
        seed: int,
        device_ids: list[int],
        strategy: Strategy,
        *,
        version: str = "2.0.0",
        image: str = "",
        priority: int = 0,
        medium: str = WIRE,
    ) -> Run:
        """Start a roll-out to some devices."""
        goal = Goal(seed, "meter", version, image)
        waves = assign(seed, device_ids, strategy.waves)
        run = Run(
            Rollout(seed, Phase.RUNNING, strategy, priority),
            {number: Wave(number, WavePhase.PENDING) for number in sorted(set(waves.values()))},
            {
                seed * 1000 + device_id: Target(
                    target_id=seed * 1000 + device_id,
                    device_id=device_id,
                    tenant_id=1,
                    wave=waves[device_id],
                    uid=uuid5(NAMES, f"{seed}:{device_id}"),
                    goal=goal,
                    state=State.PENDING,
                    state_at=self.now,
                    device_type="meter",
                    medium=medium,
                )
                for device_id in device_ids
            },
        )
        self.runs[seed] = run
        return run

    def tick(self, seed: int) -> Decision:
        """One step of a roll-out, stored."""
        run = self.runs[seed]
        if run.ended:
            return Decision()
        decision = engine.step(self.view(seed))
        for target_id in decision.taken:
            for other in self.runs.values():
                if target_id in other.targets:
                    given = other.targets[target_id]
                    assert given.fresh
                    other.targets[target_id] = replace(given, state=State.PENDING)
        run.targets |= {target.target_id: target for target in decision.targets}
        run.waves |= {wave.number: wave for wave in decision.waves}
        if decision.phase is not None:
            run.rollout = replace(run.rollout, phase=decision.phase)
        run.ended |= decision.ended
        run.rolled_back |= decision.roll_back
        for target in decision.offers:
            self.sent.append((target.device_id, target.uid))
        self.withdrawn += [target.uid for target in decision.withdrawals]
        return decision

    def view(self, seed: int) -> View:
        """What the driver would read."""
        run = self.runs[seed]
        begun = {n for n, wave in run.waves.items() if wave.phase is not WavePhase.PENDING}
        all_open = [target for target in run.targets.values() if target.state in OPEN]
        aborted = run.rollout.phase is Phase.ABORTED
        join = timedelta(days=run.rollout.strategy.join_days)
        joined = any(
            wave.started_at and self.now - wave.started_at > join for wave in run.waves.values()
        )
        return View(
            now=self.now,
            rollout=run.rollout,
            waves=tuple(
                replace(
                    wave,
                    counts=Counter(
                        target.state for target in run.targets.values() if target.wave == number
                    ),
                    updated_at=self.confirmed_at(run, number) or wave.updated_at,
                )
                for number, wave in sorted(run.waves.items())
            ),
            targets=tuple(
                one
                for one in all_open
                if aborted or (one.wave in begun and (joined or not self.is_away(one)))
            ),
            links=self.links,
            held={
                target.device_id: Holder(target.target_id, other.rollout.priority, target.fresh)
                for number, other in self.runs.items()
                if number != seed
                for target in other.targets.values()
                if target.state in HELD
            },
            limits=((self.limit, self.use(but=seed)),),
            review=run.review,
            backlog=self.backlog,
        )

    def is_away(self, target: Target) -> bool:
        """Whether the driver leaves it out: it waits, and is not there."""
        link = self.links.get(target.device_id, NO_LINK)
        return target.state is State.WAITING and target.medium != DDI and not link.connected

    @staticmethod
    def confirmed_at(run: Run, wave: int) -> datetime | None:
        """When the last device of a wave confirmed."""
        done = [
            target.state_at
            for target in run.targets.values()
            if target.wave == wave and target.state is State.SUCCEEDED
        ]
        return max(done, default=None)

    def use(self, *, but: int | None = None) -> Use:
        """What roll-outs use of the limits together."""
        loading = [
            target
            for number, run in self.runs.items()
            if number != but
            for target in run.targets.values()
            if target.state in LOADING
        ]
        return Use(len(loading), sum(target.rate for target in loading))

    def say(self, seed: int, device_id: int, word: Word) -> None:
        """A device says something about its update, which the driver takes."""
        run = self.runs[seed]
        target = run.targets[seed * 1000 + device_id]
        followed = reporting.heard(
            target,
            word,
            self.links.get(device_id, NO_LINK),
            run.rollout.strategy,
            self.now,
            final=run.rollout.phase is Phase.ABORTED,
        )
        if followed.target is not None:
            run.targets[target.target_id] = followed.target
        if followed.withdraw:
            self.withdrawn.append(target.uid)

    def update(self, seed: int, device_id: int) -> None:
        """A device does all that is asked of it, and comes back with the new version."""
        run = self.runs[seed]
        target = run.targets[seed * 1000 + device_id]
        for kind in ("accepted", "downloaded", "installing"):
            self.say(seed, device_id, Word(kind, self.now))
        self.connect(device_id, version=target.goal.version)
        self.say(seed, device_id, Word("confirmed", self.now, version=target.goal.version))

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def resume(self, seed: int) -> None:
        """As the operation does: a person knows of the failures until now."""
        run = self.runs[seed]
        run.rollout = replace(run.rollout, phase=Phase.RUNNING)
        for number, wave in run.waves.items():
            failed = sum(
                target.wave == number and target.state is State.FAILED
                for target in run.targets.values()
            )
            run.waves[number] = replace(wave, accepted_failures=failed)

    def approve(self, seed: int, *, overruled: bool = False) -> None:
        """As the operations do."""
        run = self.runs[seed]
        for number, wave in sorted(run.waves.items()):
            if wave.phase not in (WavePhase.PENDING, WavePhase.DONE):
                run.waves[number] = replace(
                    wave, approved=True, overruled=wave.overruled or overruled
                )
                break
        self.resume(seed)

    def look(self, seed: int, outcome: str, *, undecided: bool = False, age_s: int = 0) -> None:
        """The gate says something, from all that had arrived `age_s` ago."""
        until = self.now - timedelta(seconds=age_s)
        self.runs[seed].review = Review(outcome, self.now, until, undecided)

    def states(self, seed: int) -> Counter[State]:
        return Counter(target.state for target in self.runs[seed].targets.values())

    def wave_over_at(self, seed: int, number: int) -> datetime | None:
        """When a wave has soaked; worked out here and not by the engine, which is judged by it."""
        run = self.runs[seed]
        since = [run.waves[number].soaking_at, self.confirmed_at(run, number)]
        known = [at for at in since if at is not None]
        return max(known) + timedelta(seconds=run.rollout.strategy.soak_s) if known else None


def quick(**values: Any) -> Strategy:
    """A strategy with two waves of which nothing has to be waited for, changed as said."""
    base = Strategy(
        waves=(WaveSize(count=1), WaveSize(percent=100)),
        soak_s=0,
        success_percent=100,
        error_percent=0,
        max_downloads=None,
        retries={"timeout": Retry(1, 60)},
    )
    return replace(base, **values)

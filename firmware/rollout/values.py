"""What the engine works with: values, as the driver reads and writes them. Instants are UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from firmware.rollout.strategy import Strategy


class Phase(StrEnum):
    """The state of a roll-out; the codes are stored."""

    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    ABORTED = "aborted"


class WavePhase(StrEnum):
    """The state of a wave; the codes are stored."""

    PENDING = "pending"
    RUNNING = "running"
    SOAKING = "soaking"
    JUDGED = "judged"
    DONE = "done"


class State(StrEnum):
    """The state of a target; the codes are stored."""

    PENDING = "pending"
    WAITING = "waiting"
    OFFERED = "offered"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


HELD: Final = frozenset({State.WAITING, State.OFFERED, State.DOWNLOADING, State.INSTALLING})
OPEN: Final = HELD | {State.PENDING}
LOADING: Final = frozenset({State.OFFERED, State.DOWNLOADING})
# A device of these counts neither for nor against its wave.
OUT: Final = frozenset({State.CANCELLED, State.SKIPPED})

WIRE: Final = "wire"
DDI: Final = "ddi"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a device is to run: the facts of a release. `image` is the SHA-256 of the whole image
    (hex, may be empty); `lower`: a version below the one that runs is meant (roll-backs).
    """

    release_id: int
    device_type: str
    version: str
    image: str = ""
    hardware: tuple[str, ...] = ()
    from_versions: str = ""
    lower: bool = False


@dataclass(frozen=True, slots=True)
class Link:
    """What a device said when it last connected, and whether it is connected now.

    `capabilities` None: it has never told.
    """

    connected: bool = False
    connection: int = 0
    version: str = ""
    image: str = ""
    hardware: str = ""
    capabilities: int | None = None


NO_LINK: Final = Link()


@dataclass(frozen=True, slots=True)
class Target:
    """A device of a roll-out. `zone` is its facility's time zone; the rest is as in the table."""

    target_id: int
    device_id: int
    tenant_id: int
    wave: int
    uid: UUID
    goal: Goal
    state: State
    state_at: datetime
    medium: str = WIRE
    zone: str = "UTC"
    device_type: str = ""
    active: bool = True
    attempts: int = 0
    failure: str = ""
    next_at: datetime | None = None
    sent_at: datetime | None = None
    heard_at: datetime | None = None
    confirmed_at: datetime | None = None
    connection: int = 0
    rate: int = 0
    offset: int = 0

    @property
    def fresh(self) -> bool:
        """Whether nothing of the present attempt has left the server."""
        return self.state is State.WAITING and self.sent_at is None


@dataclass(frozen=True, slots=True)
class Wave:
    """A wave; `counts` says how many of its devices are in which state."""

    number: int
    phase: WavePhase
    started_at: datetime | None = None
    updated_at: datetime | None = None
    soaking_at: datetime | None = None
    judged_at: datetime | None = None
    ended_at: datetime | None = None
    accepted_failures: int = 0
    overruled: bool = False
    approved: bool = False
    counts: Mapping[State, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Review:
    """What the telemetry gate said of a wave: `outcome` pass, wait or fail, from what had arrived
    until `evidence_until`. `undecided`: it will not find out any more, a person has to say.
    """

    outcome: str
    at: datetime
    evidence_until: datetime
    undecided: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """How many downloads there are, and the bytes per second granted to them."""

    downloads: int = 0
    bytes_per_s: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """At most so much at once; None: as much as there is."""

    downloads: int | None = None
    bytes_per_s: int | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """The roll-out that has a device: its priority, its target, and whether it may be taken from
    it, because nothing has been sent yet.
    """

    target_id: int
    priority: int
    fresh: bool


@dataclass(frozen=True, slots=True)
class Rollout:
    """A roll-out. `seed` is its number; `lower` as in `Goal`."""

    seed: int
    phase: Phase
    strategy: Strategy
    priority: int = 0


@dataclass(frozen=True, slots=True)
class View:
    """All that a step needs to know.

    `targets` are all that are open in waves that have begun, and (once the roll-out has been
    aborted) in all waves. `links` are by device; `held` says which other roll-out has a device.
    `limits` are pairs of a limit beyond the roll-out's own and what other roll-outs use of it.
    `backlog`: devices have said more than was taken in, so that counts are not the last word.
    `partial`: there are more targets that something could be done for than are given here.
    """

    now: datetime
    rollout: Rollout
    waves: tuple[Wave, ...]
    targets: tuple[Target, ...]
    links: Mapping[int, Link] = field(default_factory=dict)
    held: Mapping[int, Holder] = field(default_factory=dict)
    limits: tuple[tuple[Limit, Use], ...] = ()
    review: Review | None = None
    backlog: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """An entry of a target's history."""

    target_id: int
    kind: str
    code: str = ""
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done: new values of targets and waves, and messages to send once these are
    stored.

    `taken` are targets of other roll-outs that go back to pending. `offers` are of this step alone:
    the driver finds the payload for each. `phase` None: as before. `ended`: nothing is left to do.
    """

    targets: tuple[Target, ...] = ()
    waves: tuple[Wave, ...] = ()
    offers: tuple[Target, ...] = ()
    withdrawals: tuple[Target, ...] = ()
    taken: tuple[int, ...] = ()
    events: tuple[Event, ...] = ()
    phase: Phase | None = None
    reason: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False
    review_wave: int | None = None
    roll_back: bool = False

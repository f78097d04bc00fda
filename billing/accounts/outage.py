"""Why a unit has gone dark: facts in, causes out, ranked by how certain they are.

Who calls brings all facts and the clock. A cause is certain when what it rests on is told by the
device itself or by the books, likely when something is seen that usually does it, and possible when
it cannot be ruled out. Its evidence are plain values by name; what they mean is said by whoever
shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final

# A battery with no more charge than this (%) switches off what hangs on it.
EMPTY_PERCENT: Final = 5.0
# Drawing this part of a power limit is being held back by it.
AT_LIMIT: Final = 0.97
# Resets, and minutes with errors in the log, within a day.
MANY_RESETS: Final = 3
MANY_ERRORS: Final = 5
# Without a word for so long, a unit that keeps a connection has lost it.
SILENT: Final = timedelta(minutes=10)


class Supply(StrEnum):
    """Whether the output is on, as far as anybody knows."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class Reason(StrEnum):
    """Why. WALLET, DUNNING and TIME are not paid; COMMAND: somebody has switched it off."""

    WALLET = "wallet"
    DUNNING = "dunning"
    TIME = "time"
    COMMAND = "command"
    HARDWARE = "hardware"
    BATTERY = "battery"
    LIMIT = "limit"
    LINK = "link"
    MAINTENANCE = "maintenance"
    NOT_ACTIVE = "not_active"


class Certainty(IntEnum):
    """How much speaks for a cause; the higher, the more."""

    POSSIBLE = 1
    LIKELY = 2
    CERTAIN = 3


@dataclass(frozen=True, slots=True)
class Output:
    """The output as wanted and as the device says, and the last command that switched it."""

    wanted: bool | None = None
    reported: bool | None = None
    reported_at: datetime | None = None
    switched_by: str = ""  # of the newest relay event: command, payg
    switched_at: datetime | None = None
    origin: str = ""  # of the newest command: person, api, billing, …
    asked_by: str = ""
    asked_at: datetime | None = None
    reason: str = ""
    command_state: str = ""
    command_key: str = ""


@dataclass(frozen=True, slots=True)
class WalletSide:
    """The prepaid wallet of the agreement."""

    balance: Decimal
    currency: str
    state: str
    off_since: datetime | None


@dataclass(frozen=True, slots=True)
class DunningSide:
    """The open dunning case of the agreement; `disabled`, `limited`: what it has cut."""

    overdue: Decimal
    currency: str
    disabled: bool
    limited: bool
    since: datetime


@dataclass(frozen=True, slots=True)
class TimeSide:
    """Time that is paid for: by the tokens issued, and as the unit says itself."""

    paid_until: datetime | None
    told_until: datetime | None
    released: bool


@dataclass(frozen=True, slots=True)
class Health:
    """What the last day tells of the hardware and the link."""

    resets: int = 0
    error_minutes: int = 0
    connections: int = 0


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a unit."""

    state: str  # of the device: active, suspended, revoked, planned
    connected: bool | None = None  # None: it has never connected
    changed_at: datetime | None = None
    last_seen_at: datetime | None = None
    disconnect: str = ""
    output: Output = Output()
    wallet: WalletSide | None = None
    dunning: DunningSide | None = None
    time: TimeSide | None = None
    health: Health = Health()
    charge_percent: float | None = None
    watts: float | None = None
    limit_w: int | None = None
    installing_since: datetime | None = None
    rebooting: bool = False


@dataclass(frozen=True, slots=True)
class Cause:
    """Why it is off, may be off, or may soon be: `since` where that is known."""

    reason: Reason
    certainty: Certainty
    since: datetime | None = None
    evidence: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True)
class Explanation:
    """Whether a unit is on, since when, and the causes, the most certain first."""

    supply: Supply
    since: datetime | None
    causes: tuple[Cause, ...]


_ORDER: Final = tuple(Reason)


def explain(facts: Facts, *, now: datetime) -> Explanation:
    """What is to be said about a unit."""
    supply, since = _supply(facts, now)
    causes = [*_paid(facts, supply, now), *_switched(facts, supply), *_technical(facts, now)]
    causes.sort(key=lambda cause: (-cause.certainty, _ORDER.index(cause.reason)))
    return Explanation(supply, since, tuple(causes))


def _supply(facts: Facts, now: datetime) -> tuple[Supply, datetime | None]:
    """The device's own word, as long as it can be heard; a word that it is off outlives the link,
    since nothing comes back by itself.
    """
    output = facts.output
    told = output.reported
    if told is False:
        return Supply.OFF, output.switched_at or output.reported_at
    if _silent(facts, now):
        return Supply.UNKNOWN, facts.changed_at
    if told is None and output.wanted is None and not facts.connected:
        return Supply.UNKNOWN, facts.changed_at
    return Supply.ON, output.switched_at or output.reported_at


def _silent(facts: Facts, now: datetime) -> bool:
    if facts.connected:
        return False
    return facts.last_seen_at is None or now - facts.last_seen_at > SILENT


def _of(output: Output, prefix: str) -> bool:
    """Whether the newest command that switched the output was billing's, under a key like this."""
    return output.origin == "billing" and output.command_key.startswith(prefix)


def _paid(facts: Facts, supply: Supply, now: datetime) -> Iterator[Cause]:
    output, off = facts.output, supply is Supply.OFF
    wallet = facts.wallet
    if wallet is not None and wallet.off_since is not None:
        does_it = off and (_of(output, "wallet:") or output.wanted is False)
        yield Cause(
            Reason.WALLET,
            Certainty.CERTAIN if does_it else Certainty.LIKELY,
            wallet.off_since,
            {"balance": wallet.balance, "currency": wallet.currency, "state": wallet.state},
        )
    dunning = facts.dunning
    if dunning is not None and dunning.disabled:
        does_it = off and (_of(output, "dunning:") or output.wanted is False)
        yield Cause(
            Reason.DUNNING,
            Certainty.CERTAIN if does_it else Certainty.LIKELY,
            dunning.since,
            {"overdue": dunning.overdue, "currency": dunning.currency},
        )
    paid = facts.time
    if paid is not None and not paid.released:
        until = paid.told_until or paid.paid_until
        if until is None or until <= now:
            does_it = off and output.switched_by == "payg"
            told = paid.told_until is not None
            yield Cause(
                Reason.TIME,
                Certainty.CERTAIN if does_it or (off and told) else Certainty.LIKELY,
                until,
                {"paid_until": until, "by_unit": told},
            )
        elif off and (paid.told_until is None or until < (paid.paid_until or until)):
            # Issued and not typed in. A unit that tells of no time at all has taken no token yet.
            never = paid.told_until is None
            yield Cause(
                Reason.TIME,
                Certainty.LIKELY if never else Certainty.POSSIBLE,
                None if never else until,
                {"paid_until": until, "not_entered": True},
            )


def _switched(facts: Facts, supply: Supply) -> Iterator[Cause]:
    output = facts.output
    if output.wanted is False and output.origin and output.origin != "billing":
        yield Cause(
            Reason.COMMAND,
            Certainty.CERTAIN if supply is Supply.OFF else Certainty.LIKELY,
            output.switched_at or output.asked_at,
            {
                "by": output.asked_by,
                "origin": output.origin,
                "why": output.reason,
                "state": output.command_state,
            },
        )
    elif (
        supply is Supply.OFF
        and output.wanted is not False
        and output.switched_by != "payg"
        and facts.time is None
    ):
        # Off by its own word, though nobody wants it so: switched at the place, or a fault.
        yield Cause(Reason.HARDWARE, Certainty.LIKELY, output.switched_at, {"off_by_itself": True})


def _technical(facts: Facts, now: datetime) -> Iterator[Cause]:
    if facts.state != "active":
        yield Cause(Reason.NOT_ACTIVE, Certainty.CERTAIN, None, {"state": facts.state})
    elif _silent(facts, now):
        yield Cause(
            Reason.LINK,
            Certainty.CERTAIN if facts.last_seen_at is not None else Certainty.LIKELY,
            facts.changed_at or facts.last_seen_at,
            {
                "last_seen_at": facts.last_seen_at,
                "disconnect": facts.disconnect,
                "connections": facts.health.connections,
            },
        )
    if facts.charge_percent is not None and facts.charge_percent <= EMPTY_PERCENT:
        yield Cause(
            Reason.BATTERY,
            Certainty.LIKELY,
            None,
            {"charge_percent": facts.charge_percent, "watts": facts.watts},
        )
    limit = facts.limit_w
    if limit is not None and facts.watts is not None and abs(facts.watts) >= limit * AT_LIMIT:
        yield Cause(
            Reason.LIMIT,
            Certainty.LIKELY,
            None,
            {
                "limit_w": limit,
                "watts": facts.watts,
                "by_dunning": facts.dunning is not None and facts.dunning.limited,
            },
        )
    health = facts.health
    if health.resets >= MANY_RESETS or health.error_minutes >= MANY_ERRORS:
        yield Cause(
            Reason.HARDWARE,
            Certainty.LIKELY,
            None,
            {"resets": health.resets, "error_minutes": health.error_minutes},
        )
    if facts.installing_since is not None or facts.rebooting:
        yield Cause(
            Reason.MAINTENANCE,
            Certainty.LIKELY,
            facts.installing_since,
            {"installing": facts.installing_since is not None, "rebooting": facts.rebooting},
        )

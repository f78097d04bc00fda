"""What time and the connection do to a target that is under way: offers sent again, attempts that
take too long, devices that went away, and whether what confirmed is what it says.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from firmware.rollout import changes
from firmware.rollout.eligibility import runs
from firmware.rollout.strategy import UNTRUE, Strategy
from firmware.rollout.values import DDI, Event, Link, State, Target

# A message down may get lost: an offer is repeated this often until the device answers,
RESEND: Final = timedelta(seconds=15)
# and while it downloads whenever it has said nothing for so long, as after a bridge that restarted.
REMIND: Final = timedelta(seconds=120)
# So long after the confirmation the facts of the connection may be behind it.
VERIFY: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Tended:
    """What follows: new values (None: as before), the entry of the history, and a message to send:
    the same offer again, or its withdrawal.
    """

    target: Target | None = None
    event: Event | None = None
    resend: bool = False
    withdraw: bool = False


AS_BEFORE: Final = Tended()


def tend(target: Target, link: Link, strategy: Strategy, now: datetime, *, final: bool) -> Tended:
    """Look at a target that is offered, downloading or installing. `final` as in `heard`."""
    if target.state is State.INSTALLING:
        return _installing(target, link, strategy, now, final=final)
    if target.medium == DDI:
        return _polling(target, strategy, now, final=final)
    if not link.connected:
        return Tended(*changes.let_go(target, now))
    stuck = (
        now - target.state_at > timedelta(seconds=strategy.offer_s)
        if target.state is State.OFFERED
        else now - _heard_at(target) > timedelta(seconds=strategy.download_s)
    )
    if stuck:
        failed, event = changes.fail(target, "timeout", strategy, now, final=final)
        return Tended(failed, event, withdraw=True)
    every = RESEND if target.state is State.OFFERED else REMIND
    if link.connection != target.connection or now - _last_sign(target) > every:
        sent = replace(target, connection=link.connection, sent_at=now)
        return Tended(sent, resend=True)
    return AS_BEFORE


def _installing(
    target: Target, link: Link, strategy: Strategy, now: datetime, *, final: bool
) -> Tended:
    if target.confirmed_at is not None:
        if runs(target.goal, link):
            return Tended(*changes.succeed(target, now))
        if now - target.confirmed_at > VERIFY:
            told = f"{link.version} {link.image[:12]}".strip()
            return Tended(*changes.fail(target, UNTRUE, strategy, now, final=True, detail=told))
        return AS_BEFORE
    if now - target.state_at > timedelta(seconds=strategy.install_s + strategy.confirm_s):
        # Who has not come back from its restart has failed here and now. Waiting for it with
        # another attempt would hide it from the thresholds while others go the same way.
        final = final or (target.medium != DDI and not link.connected)
        return Tended(*changes.fail(target, "timeout", strategy, now, final=final))
    return AS_BEFORE


def _polling(target: Target, strategy: Strategy, now: datetime, *, final: bool) -> Tended:
    """A device that asks by itself: one that has not asked yet gives its place to others."""
    if target.state is State.OFFERED:
        if now - target.state_at > timedelta(seconds=strategy.offer_s):
            gone, _event = changes.let_go(target, now)
            later = now + timedelta(seconds=strategy.offer_s)
            return Tended(replace(gone, next_at=later))
        return AS_BEFORE
    if now - _heard_at(target) > timedelta(seconds=strategy.download_s):
        return Tended(*changes.fail(target, "timeout", strategy, now, final=final))
    return AS_BEFORE


def _heard_at(target: Target) -> datetime:
    return target.heard_at or target.state_at


def _last_sign(target: Target) -> datetime:
    return max(_heard_at(target), target.sent_at or target.state_at)

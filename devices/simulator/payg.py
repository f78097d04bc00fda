"""A pay-as-you-go unit: its output is on while time is paid for, by tokens that somebody types in.

The tokens are those of the OpenPAYGO Token standard, read by its own library; counter, paid time
and why the output is off outlive a restart. What a unit of this kind tells of it is the event
`payg.changed` (docs/protocol.md, section 11.2).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from openpaygo import OpenPAYGOTokenDecoder, TokenType

from devices.protocol.fields import Value
from devices.simulator.keyring import KeyringError

DAY_MS: Final = 86_400_000
# A unit looks at least so often whether its time is over.
LOOK_S: Final = 30.0
MOST_DIGITS: Final = {False: 12, True: 20}  # by whether the keypad has the digits 1 to 4 alone


@dataclass(frozen=True, slots=True)
class PaygKeys:
    """What a unit has from the factory: its key (32 hexadecimal digits) and starting code;
    `divider` units of a token are a day.
    """

    secret: str = field(repr=False)
    starting_code: int = field(repr=False)
    divider: int = 1
    restricted: bool = False

    @classmethod
    def of(cls, entry: Mapping[str, Any] | None) -> PaygKeys | None:
        """From a device's entry of the keyring, None where it has no such part. Raises
        KeyringError.
        """
        if entry is None:
            return None
        try:
            return cls(
                str(entry["secret"]),
                int(entry["starting_code"]),
                int(entry.get("divider", 1)),
                bool(entry.get("restricted", False)),
            )
        except (KeyError, ValueError) as error:
            raise KeyringError(
                f"the keys of a pay-as-you-go unit are incomplete: {error}"
            ) from None


class Refusal(StrEnum):
    """Why a token did nothing; the sentences are the RESULT's detail."""

    DIGITS = "a token of this unit has other digits"
    USED = "this token was used already"
    FOREIGN = "this token is not for this unit"
    RELEASED = "this unit is paid for and needs no token"


@dataclass(frozen=True, slots=True)
class PaygState:
    """What the unit remembers. `off`: it has switched the output off itself, for want of time."""

    count: int = 0
    used: tuple[int, ...] = (0,)
    paid_until_ms: int = 0
    released: bool = False
    off: bool = False

    def paid(self, now_ms: int) -> bool:
        """Whether the output may be on."""
        return self.released or now_ms < self.paid_until_ms

    def entries(self) -> dict[str, Value]:
        """What `payg.changed` says."""
        return {
            "count": self.count,
            "paid_until_ms": self.paid_until_ms,
            "released": int(self.released),
        }


def enter(keys: PaygKeys, state: PaygState, token: str, *, now_ms: int) -> PaygState | Refusal:
    """The state after a token was typed in, or why it did nothing."""
    digits = "".join(token.split())
    if not digits.isascii() or not digits.isdigit() or len(digits) > MOST_DIGITS[keys.restricted]:
        return Refusal.DIGITS
    if keys.restricted and not set(digits) <= set("1234"):
        return Refusal.DIGITS
    if state.released:
        return Refusal.RELEASED
    value, kind, count, used = OpenPAYGOTokenDecoder.decode_token(
        token=digits,
        secret_key=keys.secret,
        count=state.count,
        used_counts=list(state.used),
        starting_code=keys.starting_code,
        restricted_digit_set=keys.restricted,
    )
    if kind == TokenType.ALREADY_USED:
        return Refusal.USED
    if kind == TokenType.INVALID:
        return Refusal.FOREIGN
    until_ms = state.paid_until_ms
    if kind == TokenType.ADD_TIME:
        until_ms = max(now_ms, until_ms) + int(value * DAY_MS) // keys.divider
    elif kind == TokenType.SET_TIME:
        until_ms = now_ms + int(value or 0) * DAY_MS // keys.divider
    # An older token that was left over does not take the counter back; what sets it, does.
    kept = count if kind == TokenType.COUNTER_SYNC else max(count, state.count)
    return replace(
        state,
        count=kept,
        used=tuple(used),
        paid_until_ms=until_ms,
        released=kind == TokenType.DISABLE_PAYG,
    )


class PaygStore:
    """The state in a device's folder; a damaged file counts as none: the unit is off then."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "payg.json"
        self.state = PaygState()
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self.state = PaygState(**{**found, "used": tuple(found["used"])})
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError):
            self._path.unlink()

    def keep(self, state: PaygState) -> None:
        """Remember, before it takes effect."""
        self.state = state
        draft = self._path.with_suffix(".new")
        text = {
            "count": state.count,
            "used": list(state.used),
            "paid_until_ms": state.paid_until_ms,
            "released": state.released,
            "off": state.off,
        }
        draft.write_text(json.dumps(text), encoding="utf-8")
        os.replace(draft, self._path)  # noqa: PTH105 (the atomic rename is the point)


class PaygUnit:
    """The part of a running device that sells its output by time.

    `switch` puts the output on or off, `output` says which it is, `tell` sends an event.
    """

    def __init__(
        self,
        keys: PaygKeys,
        folder: Path,
        *,
        now_ms: Callable[[], int],
        output: Callable[[], bool],
        switch: Callable[[bool], None],
        tell: Callable[[str, dict[str, Value]], object],
    ) -> None:
        self._keys = keys
        self._store = PaygStore(folder)
        self._now_ms = now_ms
        self._output = output
        self._switch = switch
        self._tell = tell

    @property
    def state(self) -> PaygState:
        """Counter and paid time."""
        return self._store.state

    @property
    def paid(self) -> bool:
        """Whether the output may be on now."""
        return self.state.paid(self._now_ms())

    def enter(self, token: str) -> Refusal | None:
        """Type a token in; returns why it did nothing."""
        now = enter(self._keys, self.state, token, now_ms=self._now_ms())
        if isinstance(now, Refusal):
            return now
        self._store.keep(now)
        self._tell("payg.changed", now.entries())
        self.look()
        return None

    def told(self) -> str:
        """Until when it is paid, for people."""
        if self.state.released:
            return "paid for good"
        until = datetime.fromtimestamp(self.state.paid_until_ms / 1_000, UTC)
        return f"paid until {until:%Y-%m-%d %H:%M} UTC"

    def switched_off(self) -> None:
        """A command has switched the output off: paying does not switch it on again."""
        if self.state.off:
            self._store.keep(replace(self.state, off=False))

    def look(self) -> None:
        """Switch off when time is over, on again when it was bought."""
        paid = self.paid
        if not paid and self._output():
            self._store.keep(replace(self.state, off=True))
            self._switch(False)
        elif paid and self.state.off:
            self._store.keep(replace(self.state, off=False))
            self._switch(True)

    async def watch(self) -> None:
        """Look when time is over, for ever."""
        while True:
            self.look()
            left_s = (self.state.paid_until_ms - self._now_ms()) / 1_000
            await asyncio.sleep(left_s if 0 < left_s < LOOK_S else LOOK_S)

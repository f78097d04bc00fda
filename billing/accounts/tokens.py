"""Tokens of pay-as-you-go units: the OpenPAYGO Token standard, as its library `openpaygo` has it.

A token carries a kind and a value, and a count that only grows: even for adding time, odd for the
rest. The unit has the same key and knows the counts that it has taken. Values are whole units of
time, of which `divider` make a day; a standard token has 9 digits and carries at most 995, an
extended one 12 digits and 999 999. With restricted digits (keypads with 1 to 4 alone) they are 15
and 20 digits long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_UP, Decimal
from enum import StrEnum
from typing import Final

from openpaygo import OpenPAYGOTokenEncoder, TokenType

MOST_VALUE: Final = 995
MOST_EXTENDED_VALUE: Final = 999_999
# A unit looks so far ahead of the newest count that it has taken.
MOST_AHEAD: Final = 64
_KEY: Final = re.compile(r"\A[0-9a-fA-F]{32}\Z")
_MOST_CODE: Final = 999_999_999


class TokenError(ValueError):
    """A token that cannot be made; the message says why."""


class Kind(StrEnum):
    """What a token does; the codes are stored."""

    ADD_TIME = "add_time"
    SET_TIME = "set_time"
    DISABLE_PAYG = "disable_payg"
    COUNTER_SYNC = "counter_sync"


_TYPES: Final = {
    Kind.ADD_TIME: TokenType.ADD_TIME,
    Kind.SET_TIME: TokenType.SET_TIME,
    Kind.DISABLE_PAYG: TokenType.DISABLE_PAYG,
    Kind.COUNTER_SYNC: TokenType.COUNTER_SYNC,
}
_TIMED: Final = frozenset({Kind.ADD_TIME, Kind.SET_TIME})


@dataclass(frozen=True, slots=True)
class Keys:
    """What a unit and its server share: the key (32 hexadecimal digits) and the starting code."""

    secret: str
    starting_code: int

    def __post_init__(self) -> None:
        if not _KEY.match(self.secret):
            raise TokenError("the key of a unit has 32 hexadecimal digits")
        if not 1 <= self.starting_code <= _MOST_CODE:
            raise TokenError("the starting code of a unit has at most nine digits and is not 0")

    def __repr__(self) -> str:
        return "Keys(…)"  # never into a log


@dataclass(frozen=True, slots=True)
class Made:
    """A token as it is typed in, and the count of the unit from then on."""

    token: str
    count: int


def make(
    keys: Keys,
    *,
    count: int,
    kind: Kind,
    value: int = 0,
    extended: bool = False,
    restricted: bool = False,
) -> Made:
    """The next token after `count`. Raises TokenError when it cannot carry the value.

    Tokens that end pay as you go or set the counter have no extended form: the standard's would be
    read as a number of days.
    """
    if kind in _TIMED:
        most = MOST_EXTENDED_VALUE if extended else MOST_VALUE
        least = 1 if kind is Kind.ADD_TIME else 0
        if not least <= value <= most:
            raise TokenError(f"a token of this unit carries {least} to {most}, not {value}")
    elif value:
        raise TokenError("this kind of token carries no value")
    timed = kind in _TIMED
    made_count, token = OpenPAYGOTokenEncoder.generate_token(
        secret_key=keys.secret,
        count=count,
        value=value if timed else None,
        token_type=_TYPES[kind],
        starting_code=keys.starting_code,
        restricted_digit_set=restricted,
        extended_token=extended and timed,
    )
    return Made(str(token), int(made_count))


@dataclass(frozen=True, slots=True)
class Bought:
    """What money buys: whole units of time, and what is left over for the next time."""

    units: int
    left: Decimal


def bought(money: Decimal, *, price_per_day: Decimal, divider: int, extended: bool) -> Bought:
    """How many units of time (of `divider` a day) money pays for, at most what a token carries."""
    most = MOST_EXTENDED_VALUE if extended else MOST_VALUE
    units = min(int(money * divider // price_per_day), most)
    # Up to the smallest coin that an account knows: who pays does not get more than was paid for.
    cost = (units * price_per_day / divider).quantize(Decimal("0.0001"), ROUND_UP)
    return Bought(units, max(money - cost, Decimal(0)))


def grouped(token: str) -> str:
    """A token for people to read out: digits in threes."""
    return " ".join(token[at : at + 3] for at in range(0, len(token), 3))

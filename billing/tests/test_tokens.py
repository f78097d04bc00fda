"""Tokens as units of the standard's own library take them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpaygo import OpenPAYGOTokenDecoder, TokenType

from billing.accounts.tokens import Bought, Keys, Kind, TokenError, bought, grouped, make

KEYS = Keys("a29ab82edc5fbbc41ec9530f6dac86b1", 123456789)


def taken(token: str, count: int, used: list[int], keys: Keys = KEYS) -> tuple[object, ...]:
    value, kind, new_count, _used = OpenPAYGOTokenDecoder.decode_token(
        token=token,
        secret_key=keys.secret,
        count=count,
        used_counts=used,
        starting_code=keys.starting_code,
        restricted_digit_set=len(token) > 12,
    )
    return value, kind, new_count


@settings(max_examples=40)
@given(
    count=st.integers(0, 60),
    value=st.integers(1, 995),
    kind=st.sampled_from([Kind.ADD_TIME, Kind.SET_TIME]),
    extended=st.booleans(),
    restricted=st.booleans(),
)
def test_a_unit_takes_what_was_made_for_it(
    count: int, value: int, kind: Kind, extended: bool, restricted: bool
) -> None:
    made = make(KEYS, count=count, kind=kind, value=value, extended=extended, restricted=restricted)
    types = {Kind.ADD_TIME: TokenType.ADD_TIME, Kind.SET_TIME: TokenType.SET_TIME}
    assert made.count > count
    assert (
        len(made.token)
        == {(False, False): 9, (True, False): 12, (False, True): 15, (True, True): 20}[
            extended, restricted
        ]
    )
    assert taken(made.token, count, [count]) == (value, types[kind], made.count)


def test_tokens_that_end_pay_as_you_go_or_set_the_counter() -> None:
    for kind, told in (
        (Kind.DISABLE_PAYG, TokenType.DISABLE_PAYG),
        (Kind.COUNTER_SYNC, TokenType.COUNTER_SYNC),
    ):
        made = make(KEYS, count=4, kind=kind, extended=True)
        assert len(made.token) == 9
        assert taken(made.token, 4, [4])[1:] == (told, 5)


def test_another_unit_does_not_take_it() -> None:
    made = make(KEYS, count=2, kind=Kind.ADD_TIME, value=7)
    other = Keys("b29ab82edc5fbbc41ec9530f6dac86b1", 987654321)
    assert taken(made.token, 2, [2], other)[1] == TokenType.INVALID


@pytest.mark.parametrize(
    ("kind", "value", "extended"),
    [
        (Kind.ADD_TIME, 996, False),
        (Kind.ADD_TIME, 0, False),
        (Kind.SET_TIME, 1_000_000, True),
        (Kind.DISABLE_PAYG, 1, False),
    ],
)
def test_a_value_that_no_token_carries_is_refused(kind: Kind, value: int, extended: bool) -> None:
    with pytest.raises(TokenError):
        make(KEYS, count=2, kind=kind, value=value, extended=extended)


def test_keys_are_checked_and_not_shown() -> None:
    assert KEYS.secret not in repr(KEYS)
    with pytest.raises(TokenError):
        Keys("short", 1)
    with pytest.raises(TokenError):
        Keys(KEYS.secret, 1_000_000_000)


def test_money_buys_whole_units_and_the_rest_is_kept() -> None:
    def buys(money: str, price: str, divider: int = 1, *, extended: bool = False) -> Bought:
        return bought(
            Decimal(money), price_per_day=Decimal(price), divider=divider, extended=extended
        )

    assert buys("10", "0.50") == Bought(20, Decimal(0))
    assert buys("10.30", "0.50") == Bought(20, Decimal("0.3000"))
    assert buys("0.49", "0.50") == Bought(0, Decimal("0.4900"))
    assert buys("1", "0.07", 24) == Bought(342, Decimal("0.0025"))
    assert buys("1000", "0.50") == Bought(995, Decimal("502.5000"))
    assert buys("1000", "0.50", extended=True) == Bought(2000, Decimal(0))


def test_a_token_is_read_out_in_threes() -> None:
    assert grouped("123456789") == "123 456 789"

"""Settings as values of entries: channels and limits, there and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocol.errors import ProtocolError
from devices.protocol.settings import channels_text, limits_text, parse_channels, parse_limits

_RAW = st.integers(-(2**63), 2**63 - 1)
_LIMIT = st.one_of(
    st.tuples(_RAW, st.none()),
    st.tuples(st.none(), _RAW),
    st.tuples(_RAW, _RAW).filter(lambda pair: pair[0] < pair[1]),
)


@pytest.mark.parametrize(
    ("numbers", "text"),
    [([0], "0"), ([3, 1, 2, 0, 7], "0-3,7"), ([254, 255], "254-255"), ([5, 9], "5,9")],
)
def test_channels_are_spans(numbers: list[int], text: str) -> None:
    assert channels_text(numbers) == text
    assert parse_channels(text) == tuple(sorted(numbers))


@given(st.sets(st.integers(0, 255), min_size=1))
def test_channels_come_back(numbers: set[int]) -> None:
    text = channels_text(numbers)

    assert parse_channels(text) == tuple(sorted(numbers))
    assert len(text) <= 1024


@pytest.mark.parametrize(
    "text", ["", "a", "3-1", "1,1", "2,1", "0-256", "256", "01", "1-", "-1", "0 ", "0-3,2"]
)
def test_what_is_no_channels_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_channels(text)


def test_limits_are_raw_integers_by_channel() -> None:
    limits = {3: (None, 4000), 0: (-500, 12000), 5: (None, None), 7: (9, None)}

    assert limits_text(limits) == "0:-500:12000,3::4000,7:9:"
    assert parse_limits("0:-500:12000,3::4000,7:9:") == {
        0: (-500, 12000), 3: (None, 4000), 7: (9, None)
    }  # fmt: skip
    assert limits_text({}) == ""
    assert parse_limits("") == {}


@given(st.dictionaries(st.integers(0, 255), _LIMIT, max_size=20))
def test_limits_come_back(limits: dict[int, tuple[int | None, int | None]]) -> None:
    assert parse_limits(limits_text(limits)) == limits


@pytest.mark.parametrize(
    "text", ["0", "0:1", "0:2:1", "0:1:1", "256::1", "1::2,0::2", "0::99999999999999999999", "0::x"]
)
def test_what_is_no_limits_is_refused(text: str) -> None:
    with pytest.raises(ProtocolError):
        parse_limits(text)


def test_limits_that_do_not_fit_an_entry_are_refused() -> None:
    with pytest.raises(ProtocolError, match="at most 1024"):
        limits_text(dict.fromkeys(range(40), (-(10**17), 10**17)))

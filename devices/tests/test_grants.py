"""What a device may fetch, and how fast: pure."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.ingest.grants import MAX_OUTSTANDING, REFUSALS_AT_ONCE, Grants
from devices.ingest.limits import PACE_SLACK_S, Pace
from devices.protocol import Chunk, ChunkStatus, Fetch, Offer

ONE, TWO, THREE = (bytes([number]) * 16 for number in (1, 2, 3))


def offer(update_id: bytes = ONE, *, size: int = 1_000, payload: int = 7, rate: int = 0) -> Offer:
    return Offer(update_id, b"m", bytes(64), bytes([payload]) * 32, size, rate=rate)


def granted(*offers: Offer) -> Grants:
    grants = Grants()
    for one in offers or (offer(),):
        assert grants.offered(one) == []
    return grants


def test_only_what_was_offered_may_be_fetched() -> None:
    grants = granted()
    assert grants.asked(Fetch(TWO, 0, 10)) == Chunk(TWO, ChunkStatus.GONE, 0)
    assert grants.asked(Fetch(ONE, 0, 10)) is None
    assert [(one.offset, one.length) for one in grants.requests] == [(0, 10)]


def test_fetch_ends_with_the_payload() -> None:
    grants = granted()
    assert grants.asked(Fetch(ONE, 990, 64)) is None
    assert grants.requests[0].length == 10
    assert grants.asked(Fetch(ONE, 1_000, 1)) == Chunk(ONE, ChunkStatus.RANGE, 1_000)


def test_few_requests_wait_and_more_are_told_to_come_again() -> None:
    grants = granted()
    for number in range(MAX_OUTSTANDING):
        assert grants.asked(Fetch(ONE, number, 1)) is None
    assert grants.asked(Fetch(ONE, 9, 1)) == Chunk(ONE, ChunkStatus.NOT_NOW, 9, 1)
    grants.requests.popleft()
    assert grants.asked(Fetch(ONE, 9, 1)) is None


def test_withdrawing_answers_what_waits() -> None:
    grants = granted(offer(), offer(TWO))
    grants.asked(Fetch(ONE, 5, 1))
    grants.asked(Fetch(TWO, 6, 1))
    assert grants.withdrawn(ONE) == [Chunk(ONE, ChunkStatus.GONE, 5)]
    assert [one.offset for one in grants.requests] == [6]
    assert grants.asked(Fetch(ONE, 5, 1)) == Chunk(ONE, ChunkStatus.GONE, 5)
    assert grants.withdrawn(ONE) == []


def test_the_same_offer_again_keeps_what_waits_and_another_payload_does_not() -> None:
    grants = granted()
    grants.asked(Fetch(ONE, 5, 1))
    assert grants.offered(offer(rate=9)) == []
    assert (len(grants.requests), grants.pace.rate) == (1, 9)
    assert grants.offered(offer(payload=8)) == [Chunk(ONE, ChunkStatus.GONE, 5)]
    assert grants.asked(Fetch(ONE, 5, 1)) is None


def test_a_third_offer_takes_the_place_of_the_first() -> None:
    grants = granted(offer(), offer(TWO))
    grants.asked(Fetch(ONE, 5, 1))
    assert grants.offered(offer(THREE)) == [Chunk(ONE, ChunkStatus.GONE, 5)]
    assert grants.asked(Fetch(TWO, 0, 1)) is None


def test_refusals_are_limited() -> None:
    grants = Grants()
    assert [grants.tolerates_refusal(0) for _ in range(REFUSALS_AT_ONCE + 1)] == [
        *[True] * REFUSALS_AT_ONCE,
        False,
    ]
    assert grants.tolerates_refusal(2_000_000)


SIZES = st.integers(1, 32_768)
# What happens to a connection: so much later, it wants to send so many bytes.
ATTEMPTS = st.lists(st.tuples(st.floats(0, 30, allow_nan=False), SIZES), min_size=1, max_size=40)


@given(st.integers(1, 1_000_000), ATTEMPTS)
def test_no_more_is_sent_than_the_rate_allows(rate: int, attempts: list[tuple[float, int]]) -> None:
    pace, now, sent = Pace(rate), 1_000.0, []
    for later_s, size in attempts:
        now += later_s
        now += pace.wait_s(now)
        pace.spend(size, now)
        sent.append((now, size))
    for first in range(len(sent)):
        total = 0
        for at, size in sent[first:]:
            total += size
            allowed = rate * (at - sent[first][0] + PACE_SLACK_S) + 32_768
            assert total <= allowed + 1e-3 * rate


@given(st.integers(1, 1_000_000), st.lists(SIZES, min_size=2, max_size=40))
def test_who_always_wants_to_send_gets_the_whole_rate(rate: int, sizes: list[int]) -> None:
    pace, now, times = Pace(rate), 50.0, []
    for size in sizes:
        now += pace.wait_s(now)
        times.append(now)
        pace.spend(size, now)
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert now - 50.0 <= sum(sizes[:-1]) / rate + 1e-6 * len(sizes)


def test_no_rate_means_no_wait() -> None:
    pace = Pace(0)
    pace.spend(1 << 40, 0.0)
    assert pace.wait_s(0.0) == 0.0


def test_a_new_rate_counts_from_the_next_chunk_on() -> None:
    pace = Pace(100)
    pace.spend(1_000, 0.0)
    assert pace.wait_s(0.0) == pytest.approx(10 - PACE_SLACK_S)
    pace.rate = 1_000
    pace.spend(1_000, 10.0)
    assert pace.wait_s(10.0) == pytest.approx(1 - PACE_SLACK_S)

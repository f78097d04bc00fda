"""Intervals of use are put in order, and those that contradict each other are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.tariffs.values import Quality, Usage, UsageError


def _column(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@given(st.permutations([0, 1, 2, 3, 1, 3]))
def test_intervals_in_any_order_and_sent_again_are_the_same_use(order: list[int]) -> None:
    numbers = np.array(order, np.int64)
    usage = Usage.of(900, numbers * 900, numbers * 7, quality=(numbers == 2).astype(np.uint8))
    assert usage.starts.tolist() == [0, 900, 1800, 2700]
    assert usage.imported.tolist() == [0, 7, 14, 21]
    assert usage.exported.tolist() == [0, 0, 0, 0]
    assert usage.quality.tolist() == [0, 0, Quality.ESTIMATED, 0]


def test_a_part_of_the_use_begins_in_its_period() -> None:
    starts = _column(0, 900, 1800)
    usage = Usage.of(900, starts, _column(1, 2, 3), reactive=_column(4, 5, 6))
    part = usage.between(1, 1800)
    assert (part.starts.tolist(), part.imported.tolist()) == ([900], [2])
    assert part.reactive is not None
    assert part.reactive.tolist() == [5]


@pytest.mark.parametrize(
    ("step_s", "starts", "imported", "sentence"),
    [
        (900, (0, 900, 0), (1, 2, 3), "two different values of imported for the interval at 0"),
        (900, (0, 901), (1, 2), "an interval does not start at a multiple of 900 s"),
        (900, (0, 900), (1,), "imported has 1 values for 2 intervals"),
        (700, (0,), (1,), "an interval of 700 s is no part of an hour"),
        (0, (0,), (1,), "an interval of 0 s is no part of an hour"),
    ],
)
def test_intervals_that_are_no_usage_are_refused(
    step_s: int, starts: tuple[int, ...], imported: tuple[int, ...], sentence: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Usage.of(step_s, _column(*starts), _column(*imported))
    assert str(refused.value) == sentence

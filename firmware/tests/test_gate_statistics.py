"""The statistics of the gate, by closed forms where there are some and else by simulation.

Random numbers have fixed seeds: what holds, holds on every run.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.gate.comparison import Measure, Park
from firmware.gate.dispersion import Units, cumulants_of, fit
from firmware.gate.gamma import gamma_upper, student, upper_tail
from firmware.gate.matching import strata
from firmware.gate.metrics import METRICS, Metric
from firmware.gate.past import expected
from firmware.gate.ratio import Matched, compare


def random() -> np.random.Generator:
    return np.random.default_rng(20260302)


@given(st.floats(0.001, 300))
def test_gamma_tail_agrees_with_its_closed_forms(x: float) -> None:
    assert gamma_upper(1, x) == pytest.approx(math.exp(-x), rel=1e-9, abs=1e-14)
    assert gamma_upper(0.5, x) == pytest.approx(math.erfc(math.sqrt(x)), rel=1e-9, abs=1e-14)
    poisson = sum(math.exp(k * math.log(x) - x - math.lgamma(k + 1)) for k in range(7))
    assert gamma_upper(7, x) == pytest.approx(poisson, rel=1e-9, abs=1e-14)


def test_gamma_tail_of_large_shapes_goes_on_where_the_exact_one_ends() -> None:
    for distance in (-3, 0, 3, 4):
        exact = gamma_upper(4_999, 4_999 + distance * math.sqrt(4_999))
        near = gamma_upper(5_001, 5_001 + distance * math.sqrt(5_001))
        assert near == pytest.approx(exact, rel=0.01)


@given(st.floats(-50, 50), st.floats(0.01, 100), st.floats(-100, 100))
def test_tails_are_probabilities_that_fall(excess: float, variance: float, third: float) -> None:
    here = upper_tail(excess, variance, third)
    further = upper_tail(excess + 0.5, variance, third)
    assert 0 <= further <= here + 1e-12 <= 1 + 2e-12
    other = upper_tail(-excess, variance, -third)
    assert here + other == pytest.approx(1, abs=1e-9)


def test_a_tail_without_skewness_is_normal() -> None:
    assert upper_tail(1.959964 * 3, 9, 0) == pytest.approx(0.025, rel=1e-5)
    assert upper_tail(1, 0, 0) == 0
    assert upper_tail(-1, 0, 0) == 1


def test_few_degrees_of_freedom_bring_an_excess_nearer() -> None:
    # P(t > 2.228) = 0.025 with 10 degrees of freedom.
    assert student(2.228, 1, 10) == pytest.approx(1.96, abs=0.01)
    assert student(-2.228, 1, 10) == pytest.approx(-1.96, abs=0.01)
    assert student(3, 1, 1e9) == pytest.approx(3, rel=1e-6)


def test_dispersion_is_found_again() -> None:
    drawn = random()
    mean = drawn.gamma(1, 5, 40_000) + 0.1
    units = Units.of(np.arange(40_000) // 4)
    shared = drawn.gamma(5, 1 / 5, 10_000)[units.number]
    own = drawn.gamma(10, 1 / 10, 40_000)
    bursts = drawn.poisson(mean * shared * own / 2)
    found = fit(2.0 * bursts - mean, mean, units, 1.0)
    assert found.bursts == pytest.approx(2, rel=0.1)
    assert found.spread == pytest.approx(1.2 * 1.1 - 1, rel=0.1)
    assert found.shared == pytest.approx(0.2, rel=0.1)
    assert 1_000 < found.freedom < 10_000


def test_cumulants_of_counts_are_those_of_their_distribution() -> None:
    units = Units.of(np.arange(3))
    mean, weight = np.array([0.5, 2, 4]), np.ones(3)
    quiet = fit(np.zeros(0), np.zeros(0), Units.of(np.zeros(0, np.int64)), 1.0)
    poisson = type(quiet)(bursts=1, spread=0, shared=0, freedom=1)
    assert cumulants_of(poisson, mean, weight, units) == (6.5, 6.5)
    negative_binomial = type(quiet)(bursts=1, spread=0.5, shared=0, freedom=1)
    variance, third = cumulants_of(negative_binomial, mean, weight, units)
    assert variance == pytest.approx((mean + 0.5 * mean**2).sum())
    assert third == pytest.approx((mean + 1.5 * mean**2 + 0.5 * mean**3).sum())
    # Two that share everything vary as one of twice the mean.
    together = cumulants_of(
        type(quiet)(bursts=1, spread=0.5, shared=0.5, freedom=1),
        np.array([1.0, 1.0]),
        np.ones(2),
        Units.of(np.zeros(2, np.int64)),
    )
    assert together[0] == pytest.approx(2 + 0.5 * 4)


places = st.lists(
    st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 2), st.integers(0, 2)),
    min_size=1,
    max_size=120,
)


@given(places)
def test_every_stratum_has_both_and_leaves_nobody_who_could_be_compared(
    rows: list[tuple[bool, int, int, int]],
) -> None:
    updated, facility, tenant, kind = (np.array(column) for column in zip(*rows, strict=True))
    park = Park(np.arange(len(rows)), updated, facility, tenant, kind)
    usable = np.ones(len(rows), np.bool_)
    stratum, local = strata(park, usable)
    for one in np.unique(stratum[stratum >= 0]):
        inside = stratum == one
        assert updated[inside].any()
        assert (~updated[inside]).any()
        if local[inside].any():
            assert local[inside].all()
            assert len(np.unique(facility[inside])) == 1
    left = stratum < 0
    assert not (updated[left].any() and (~updated[left]).any())
    assert (strata(park, ~usable)[0] == -1).all()


def test_the_nearest_devices_are_compared() -> None:
    # Facility 0 has enough of its own; facility 1 has not, but its tenant has shops; facility 2 is
    # alone with its kind.
    facility = np.array([0] * 6 + [1] + [3] * 20 + [2] + [4] * 3)
    tenant = np.array([1] * 6 + [1] + [1] * 20 + [2] + [2] * 3)
    kind = np.array([7] * 6 + [8] + [8] * 20 + [9] + [5] * 3)
    updated = np.zeros(31, np.bool_)
    updated[[0, 6, 27]] = True
    stratum, local = strata(Park(np.arange(31), updated, facility, tenant, kind), updated | True)
    assert len({*stratum[:6]}) == 1
    assert local[:6].all()
    assert len({*stratum[6:27]}) == 1
    assert not local[6:].any()
    assert len({*stratum[27:]}) == 1
    assert len({stratum[0], stratum[6], stratum[27]}) == 3


def test_the_past_counts_as_far_as_it_foretells() -> None:
    drawn = random()
    rates = drawn.gamma(1, 10, 2_000)
    week = np.full(2_000, 7.0)
    control = np.ones(2_000, np.bool_)
    info = METRICS[Metric.RECONNECTS]

    def foretold(past: np.ndarray) -> np.ndarray:
        amount = drawn.poisson(rates).astype(float)
        return expected(Measure(amount, np.ones(2_000), past, week), control, info)

    own = foretold(drawn.poisson(7 * rates).astype(float))
    assert np.corrcoef(own, rates)[0, 1] > 0.95
    others = foretold(drawn.permutation(drawn.poisson(7 * rates)).astype(float))
    assert others.std() / others.mean() < 0.1
    nothing = foretold(np.zeros(2_000))
    assert nothing == pytest.approx(info.floor)


def matched(updated: int, control: int, rate: float, effect: float = 1.0) -> Matched:
    drawn = random()
    n = updated + control
    is_updated = np.arange(n) < updated
    mean = np.where(is_updated, effect, 1.0) * rate
    return Matched(
        is_updated,
        np.zeros(n, np.int64),
        np.arange(n),
        drawn.poisson(mean).astype(float),
        np.full(n, rate),
        np.ones(n),
    )


def test_bounds_hold_the_ratio_and_part_at_their_probabilities() -> None:
    ratio = compare(matched(300, 3_000, 4.0, 1.5), METRICS[Metric.RECONNECTS])
    assert ratio.value == pytest.approx(1.5, rel=0.05)
    low, high = ratio.at_least(0.025), ratio.at_most(0.025)
    assert low < ratio.value < high
    # Of Poisson counts the logarithm has the variance 1/a + 1/c.
    width = 1.96 * math.sqrt(1 / (300 * 6) + 1 / (3_000 * 4))
    assert math.log(high / low) == pytest.approx(2 * width, rel=0.15)
    assert ratio.p_worse(low) == pytest.approx(0.025, rel=1e-3)
    assert ratio.p_better(high) == pytest.approx(0.025, rel=1e-3)
    assert ratio.at_least(1e-5) < low


def test_a_control_group_without_events_counts_as_having_the_floor() -> None:
    n = 400
    quiet = Matched(
        np.arange(n) < 200, np.zeros(n, np.int64), np.arange(n), np.zeros(n), np.ones(n), np.ones(n)
    )
    ratio = compare(quiet, METRICS[Metric.RESETS])
    assert ratio.value == 0
    assert ratio.at_least(0.025) == 0
    # None in 200 device-days: at 0.02 a day, 1.5 times as many is all that is excluded so far.
    assert 0.8 < ratio.at_most(0.05) < 2.5
    assert ratio.p_worse(1.0) > 0.9

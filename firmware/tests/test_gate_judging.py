"""What the gate says of a park: of faults, of outages that are none, and of too little to judge."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware.benchmarks import gate as bench
from firmware.benchmarks.gate_park import MadeUpPark
from firmware.gate.comparison import Comparison, Measure, Park
from firmware.gate.judging import judge
from firmware.gate.limits import GateLimits
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict, MetricVerdict

LIMITS = GateLimits()
AT = datetime(2026, 3, 2, tzinfo=UTC)


def wave(
    devices: int,
    updated: int,
    effects: Mapping[Metric, float] | None = None,
    *,
    seed: int = 7,
    days: float = 1.0,
    look: int = 1,
) -> Comparison:
    """A wave of a made-up park after some days."""
    random = np.random.default_rng(seed)
    park = MadeUpPark(devices, random)
    chosen = np.zeros(devices, np.bool_)
    chosen[random.permutation(devices)[:updated]] = True
    park.pass_time(days, chosen, effects or {})
    return park.comparison(chosen, waves=2, look=look)


def changed(comparison: Comparison, metric: Metric, **arrays: np.ndarray) -> Comparison:
    """The same with other amounts of one metric."""
    measure = replace(comparison.measures[metric], **arrays)
    return replace(comparison, measures={**comparison.measures, metric: measure})


def of(verdict: GateVerdict, metric: Metric) -> MetricVerdict:
    return next(one for one in verdict.metrics if one.metric is metric)


@pytest.mark.parametrize(
    ("metric", "effect", "updated"),
    [
        (Metric.GAPS, 1.2, 1_500),
        (Metric.RESETS, 3.0, 500),
        (Metric.RECONNECTS, 3.0, 50),
        (Metric.DRAIN, 1.15, 300),
        (Metric.ERRORS, 3.0, 100),
        (Metric.MISSING, 3.0, 100),
        (Metric.SHAPE, 2.0, 50),
    ],
)
def test_a_fault_fails_the_wave_and_nothing_else_does(
    metric: Metric, effect: float, updated: int
) -> None:
    verdict = judge(wave(10 * updated, updated, {metric: effect}), LIMITS)
    assert verdict.outcome == "fail"
    assert [one.metric for one in verdict.metrics if one.state == "fail"] == [metric]
    told = of(verdict, metric)
    assert told.at_least is not None
    assert told.ratio is not None
    assert told.limit < told.at_least < told.ratio
    # What a device shows counts up to five times what was expected, which takes from large ones.
    assert told.ratio == pytest.approx(effect, rel=0.3)
    assert told.updated == updated
    assert 7 * updated < told.control <= 9 * updated


def test_a_large_wave_without_a_fault_passes() -> None:
    verdict = judge(wave(20_000, 5_000), LIMITS)
    assert {one.metric for one in verdict.metrics if one.state != "pass"} == set()
    assert (verdict.outcome, verdict.needs_person) == ("pass", False)


def test_few_false_alarms_and_faults_caught_as_the_benchmark_counts_them() -> None:
    parser = ArgumentParser()
    bench.add_arguments(parser)
    found = bench.run(parser.parse_args(["--rollouts", "6", "--repeats", "4", "--wave", "300"]))
    assert found["false_alarms_percent"] == {"100": 0, "500": 0, "2000": 0, "10000": 0}
    power = found["power_percent"]
    assert isinstance(power, dict)
    assert power["reconnects x 3"]["300"] == power["drain +15 %"]["300"] == 100
    assert set(power["gaps +20 %"]) == {"10", "30", "100", "300"}
    # What is not caught is held for a person: a fault is not let through.
    passed = found["passed_percent"]
    assert isinstance(passed, dict)
    assert set(passed) == {*power, "nothing"}
    assert {share for name in power for share in passed[name].values()} == {0}


def test_an_outage_of_one_place_is_not_the_firmwares_doing() -> None:
    comparison = wave(2_000, 40)
    updated = np.flatnonzero(comparison.park.updated)
    # A quarter of the updated stand in one facility, where nobody else does.
    facility = comparison.park.facility.copy()
    facility[updated[:10]] = 9_999
    amount = comparison.measures[Metric.GAPS].amount.copy()
    amount[updated[:10]] += 40
    comparison = replace(
        changed(comparison, Metric.GAPS, amount=amount),
        park=replace(comparison.park, facility=facility),
    )
    told = of(judge(comparison, LIMITS), Metric.GAPS)
    assert told.ratio is not None
    assert told.ratio > 1.5
    assert told.state == "open"


def test_an_outage_that_all_of_a_place_share_is_no_difference() -> None:
    comparison = wave(400, 100)
    facility = np.arange(400) // 20
    hit = facility == 3
    measure = comparison.measures[Metric.GAPS]
    comparison = replace(
        changed(comparison, Metric.GAPS, amount=measure.amount + 60 * hit),
        park=replace(comparison.park, facility=facility),
    )
    assert of(judge(comparison, LIMITS), Metric.GAPS).state != "fail"


def test_one_device_in_trouble_does_not_speak_for_the_others() -> None:
    comparison = wave(2_000, 100)
    amount = comparison.measures[Metric.ERRORS].amount.copy()
    amount[np.flatnonzero(comparison.park.updated)[0]] = 1_440
    told = of(judge(changed(comparison, Metric.ERRORS, amount=amount), LIMITS), Metric.ERRORS)
    assert told.state != "fail"
    # What it showed is told as it was.
    assert told.updated_rate is not None
    assert told.updated_rate > 14


def test_devices_without_a_past_are_left_out_and_counted() -> None:
    comparison = wave(2_000, 100)
    updated = np.flatnonzero(comparison.park.updated)
    measure = comparison.measures[Metric.RECONNECTS]
    amount, past = measure.amount.copy(), measure.past_exposure.copy()
    amount[updated[:30]], past[updated[:30]] = 500, 0
    comparison = changed(comparison, Metric.RECONNECTS, amount=amount, past_exposure=past)
    told = of(judge(comparison, LIMITS), Metric.RECONNECTS)
    assert (told.updated, told.no_past) == (70, 30)
    assert told.state != "fail"


def test_updated_devices_that_fall_silent_are_not_overlooked() -> None:
    comparison = wave(2_000, 200)
    exposure = np.where(comparison.park.updated, 0.0, 1.0)
    verdict = judge(changed(comparison, Metric.DRAIN, exposure=exposure), LIMITS)
    assert of(verdict, Metric.DRAIN).reason == "silent"
    assert (verdict.outcome, verdict.needs_person) == ("wait", True)


@pytest.mark.parametrize(
    ("devices", "updated", "facilities", "reason"),
    [
        (25, 10, 25, "few_control"),
        (10, 10, 10, "no_control"),
        (500, 10, 1, ""),
        (500, 2, 500, "few_places"),
    ],
)
def test_what_cannot_be_judged_is_left_to_a_person(
    devices: int, updated: int, facilities: int, reason: str
) -> None:
    comparison = wave(devices, updated)
    facility = np.arange(devices) % facilities
    comparison = replace(comparison, park=replace(comparison.park, facility=facility))
    verdict = judge(comparison, LIMITS)
    assert {one.reason for one in verdict.metrics} == {reason}
    assert (verdict.outcome, verdict.needs_person) == ("wait", bool(reason))
    if reason:
        assert {one.state for one in verdict.metrics} == {"blind"}


def test_what_nobody_measures_is_left_out() -> None:
    comparison = wave(20_000, 5_000)
    nothing = np.zeros(20_000)
    comparison = changed(comparison, Metric.DRAIN, exposure=nothing, past_exposure=nothing)
    verdict = judge(comparison, LIMITS)
    assert of(verdict, Metric.DRAIN).reason == "not_measured"
    assert verdict.outcome == "pass"
    empty = judge(replace(comparison, measures={}), LIMITS)
    assert (empty.outcome, empty.needs_person) == ("wait", True)


def test_the_last_look_leaves_it_to_a_person_or_lets_it_pass() -> None:
    early, last = wave(1_000, 50), wave(1_000, 50, look=4)
    verdict = judge(early, LIMITS)
    assert (verdict.outcome, verdict.needs_person) == ("wait", False)
    verdict = judge(last, LIMITS)
    assert (verdict.outcome, verdict.needs_person) == ("wait", True)
    verdict = judge(last, replace(LIMITS, inconclusive="pass"))
    assert (verdict.outcome, verdict.settled) == ("pass", True)
    # What cannot be judged does not pass by itself.
    blind = judge(wave(25, 10, look=4), replace(LIMITS, inconclusive="pass"))
    assert (blind.outcome, blind.needs_person) == ("wait", True)


def test_a_verdict_survives_json() -> None:
    for comparison in (wave(500, 50, {Metric.RECONNECTS: 4}), wave(25, 10)):
        verdict = judge(comparison, LIMITS)
        assert GateVerdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(0, 1_000))
def test_the_order_of_devices_means_nothing(shuffle: object, seed: int) -> None:
    comparison = wave(300, 30, {Metric.RECONNECTS: 2.0}, seed=seed)
    order = np.random.default_rng(seed).permutation(300)
    park = comparison.park
    shuffled = replace(
        comparison,
        park=Park(
            *(
                getattr(park, name)[order]
                for name in ("device", "updated", "facility", "tenant", "kind")
            )
        ),
        measures={
            metric: Measure(
                one.amount[order],
                one.exposure[order],
                one.past_amount[order],
                one.past_exposure[order],
            )
            for metric, one in comparison.measures.items()
        },
    )
    before, after = judge(comparison, LIMITS), judge(shuffled, LIMITS)
    for one, other in zip(before.metrics, after.metrics, strict=True):
        assert one.state == other.state
        assert one.ratio == pytest.approx(other.ratio, rel=1e-6)
        assert one.at_least == pytest.approx(other.at_least, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1_000), st.sampled_from(Metric))
def test_showing_more_never_looks_better(seed: int, metric: Metric) -> None:
    comparison = wave(300, 30, seed=seed)
    measure = comparison.measures[metric]
    more = changed(
        comparison, metric, amount=np.where(comparison.park.updated, 2, 1) * measure.amount
    )
    before, after = of(judge(comparison, LIMITS), metric), of(judge(more, LIMITS), metric)
    assert before.ratio is not None
    assert after.ratio is not None
    assert after.ratio >= before.ratio
    assert not (after.state == "pass" and before.state != "pass")


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    """Parks of any kind: amounts from nothing to far beyond, some devices without past or after."""
    n = draw(st.integers(1, 80))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    scale = draw(st.sampled_from([0.0, 1e-9, 0.01, 1.0, 50.0, 1e9]))
    zeros, unknown = draw(st.floats(0, 1)), draw(st.floats(0, 1))

    def amounts(factor: float) -> np.ndarray:
        return scale * factor * random.lognormal(0, 2, n) * (random.random(n) >= zeros)

    def exposures(days: float) -> np.ndarray:
        return np.where(random.random(n) < unknown, 0.0, days)

    return Comparison(
        park=Park(
            np.arange(n),
            random.random(n) < draw(st.floats(0, 1)),
            random.integers(0, draw(st.integers(1, 40)), n),
            random.integers(0, 3, n),
            random.integers(0, 3, n),
        ),
        measures={
            metric: Measure(amounts(1), exposures(1), amounts(7), exposures(7)) for metric in Metric
        },
        begins_at=AT,
        evidence_until=AT,
    )


@settings(max_examples=150, deadline=None)
@given(comparisons())
def test_whatever_is_shown_there_is_a_verdict(comparison: Comparison) -> None:
    verdict = judge(comparison, LIMITS)
    assert GateVerdict.from_json(json.loads(json.dumps(verdict.to_json()))) == verdict
    for one in verdict.metrics:
        assert (one.state == "blind") == bool(one.reason)
        if one.ratio is not None and one.low is not None and one.high is not None:
            assert one.low <= one.high
        if one.state == "fail":
            assert one.at_least is None or one.at_least >= one.limit * 0.999
    failed = any(one.state == "fail" for one in verdict.metrics)
    assert failed == (verdict.outcome == "fail")

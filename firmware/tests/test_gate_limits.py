"""Limits of the gate: both ways through JSON, and what makes no sense is refused in words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware.domain.gate_words import limits_problem
from firmware.gate.limits import LEAST_LIMIT, MOST_LIMIT, GateLimits, GateLimitsError
from firmware.gate.metrics import METRICS, Metric

limits = st.builds(
    GateLimits,
    ratios=st.dictionaries(st.sampled_from(Metric), st.floats(LEAST_LIMIT, MOST_LIMIT), min_size=1),
    false_alarms=st.floats(0.0001, 0.1),
    confidence=st.floats(0.8, 0.999),
    looks=st.integers(1, 24),
    look_every_s=st.integers(900, 86_400),
    past_days=st.integers(1, 28),
    inconclusive=st.sampled_from(["person", "pass"]),
)


@given(limits)
def test_limits_survive_json(given_limits: GateLimits) -> None:
    text = json.dumps(given_limits.to_json())
    assert GateLimits.from_json(json.loads(text)) == given_limits


def test_limits_left_out_are_the_usual_ones() -> None:
    assert GateLimits.from_json({}) == GateLimits()
    assert GateLimits().ratios == {metric: info.limit for metric, info in METRICS.items()}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ([], "The limits of the gate are an object of settings."),
        ({"speed": 1}, "The gate has no setting “speed”."),
        ({"ratios": {}}, "The gate looks at nothing: set a limit for one metric at least."),
        ({"ratios": []}, "Give the limits as an object: a number for each metric."),
        (
            {"ratios": {"gaps": 1}},
            "The limit of “gaps” is a multiple of the control group's, from 1.01 to 100.0.",
        ),
        ({"ratios": {"gaps": "2"}}, "“gaps” is a number."),
        (
            {"ratios": {"heat": 2}},
            (
                "The gate has no metric “heat”. It has: missing_readings, gaps, resets, reconnects,"
                " errors, load_shape, drain."
            ),
        ),
        ({"false_alarms": 0.5}, "“false_alarms” lies between 0.0001 and 0.1."),
        ({"confidence": float("nan")}, "“confidence” lies between 0.8 and 0.999."),
        ({"looks": 2.5}, "“looks” is a whole number."),
        ({"looks": True}, "“looks” is a whole number."),
        ({"looks": 0}, "“looks” lies between 1 and 24."),
        ({"inconclusive": "hope"}, "“inconclusive” is “person” or “pass”."),
    ],
)
def test_limits_that_make_no_sense_are_refused(value: object, sentence: str) -> None:
    with pytest.raises(GateLimitsError) as refused:
        GateLimits.from_json(value)
    assert limits_problem(refused.value) == sentence

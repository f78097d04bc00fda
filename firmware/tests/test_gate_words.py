"""What the gate says, in words and numbers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from django.utils import translation

from firmware.domain import gate_words
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict, MetricVerdict, Reason

FAILED = MetricVerdict(
    Metric.RECONNECTS,
    "fail",
    1.5,
    ratio=3.1234,
    low=2.4,
    high=4.0,
    updated_rate=11.2,
    control_rate=3.6,
    updated_past=3.5,
    control_past=3.4,
    updated=40,
    control=360,
    places=30,
)
AT = datetime(2026, 3, 2, tzinfo=UTC)
VERDICT = GateVerdict("fail", (FAILED,), AT, AT, look=1, looks=4)


def test_a_failure_is_told_with_its_numbers() -> None:
    assert gate_words.metric_sentence(FAILED) == (
        "3.12 × the control group's (95 %: 2.40–4.00), beyond the limit of 1.50"
    )
    assert gate_words.rates_sentence(FAILED) == (
        "Updated: 11.2, before 3.50 (40 devices). Control group: 3.60, before 3.40 (360 devices)."
        " Unit: connections a day."
    )
    assert gate_words.verdict_sentence(VERDICT) == (
        "The updated devices do worse than the limits allow: Connections."
    )
    with translation.override("de"):
        assert "3,12" in gate_words.metric_sentence(FAILED)


def test_every_state_has_its_sentence() -> None:
    open_ = replace(FAILED, state="open", high=None, no_past=1)
    assert gate_words.metric_sentence(open_) == (
        "3.12 × the control group's (95 %: 2.40 or more); whether the limit of 1.50 is kept cannot"
        " be told yet"
    )
    assert gate_words.rates_sentence(open_).endswith("1 updated device without a past is left out.")
    assert "within" in gate_words.metric_sentence(replace(FAILED, state="pass"))
    for reason in get_args(Reason):
        if reason:
            blind = MetricVerdict(Metric.GAPS, "blind", 1.1, reason, control=7, places=2)
            sentence = gate_words.metric_sentence(blind)
            assert sentence.endswith(".")
            assert "%" not in sentence
            assert gate_words.rates_sentence(blind) == ""
    assert set(gate_words.NAMES) == set(gate_words.UNITS) == set(Metric)


def test_every_outcome_has_its_sentence() -> None:
    def said(**values: object) -> str:
        return gate_words.verdict_sentence(replace(VERDICT, **values))  # type: ignore[arg-type]

    assert said(outcome="pass") == "The updated devices keep every limit."
    assert said(outcome="pass", settled=True, look=4).startswith("Nothing was found to be worse.")
    assert said(outcome="wait") == "Not decided yet: look 1 of 4."
    assert said(outcome="wait", needs_person=True) == (
        "The gate cannot decide this: a person has to."
    )

"""What the telemetry gate found, drawn: places on the axis, paths, and no script or style."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.template.loader import render_to_string
from django.utils import translation

from firmware.domain.gate_evidence import Course, Line
from firmware.domain.gate_queries import Look
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict, MetricVerdict
from portal.charts.gate import COURSE_HEIGHT, WIDTH, review_chart

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
WORSE = MetricVerdict(
    Metric.RECONNECTS,
    "fail",
    1.5,
    ratio=3.1,
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
UNSURE = replace(WORSE, metric=Metric.RESETS, state="open", ratio=1.2, low=0.0, high=None)
BLIND = MetricVerdict(Metric.DRAIN, "blind", 1.07, "not_measured")
LOOK = Look(
    wave_id=1,
    wave=1,
    at=AT,
    verdict=GateVerdict("fail", (WORSE, UNSURE, BLIND), AT - timedelta(days=1), AT, 1, 4),
    course=Course(
        tuple(range(0, 14_400, 3600)),
        {
            Metric.RECONNECTS: Line((4.0, 8.0, None, 2.0), (4.0, 4.0, 4.0, 0.0)),
            Metric.RESETS: Line((None,) * 4, (None,) * 4),
            Metric.DRAIN: Line((1.0,) * 4, (1.0,) * 4),
        },
    ),
)


def test_places_follow_one_logarithmic_axis() -> None:
    chart = review_chart(LOOK)
    worse, unsure, blind = chart.intervals
    places = [float(value or 0) for value in (worse.low, worse.ratio, worse.high)]
    assert 0 < float(chart.same) < float(worse.limit) < places[0] < places[1] < places[2] < WIDTH
    assert worse.limit == unsure.limit
    # An interval without an end reaches the edges.
    assert (float(unsure.low or 0), float(unsure.high or 0)) == (4, WIDTH - 4)
    assert (blind.ratio, blind.low, blind.high) == (None, None, None)
    assert [one.state_name for one in chart.intervals] == [
        "Beyond the limit",
        "Not decided",
        "Cannot be judged",
    ]


def test_a_course_is_a_line_for_each_group_broken_where_nothing_is_known() -> None:
    (course,) = review_chart(LOOK).courses
    assert (course.name, course.most) == ("Connections", "8.00")
    assert course.updated == "M4.0 45.0L134.7 4.0M396.0 65.5h0.1"
    assert course.control.startswith("M4.0 45.0L")
    assert course.control.endswith(f"L396.0 {COURSE_HEIGHT - 4:.1f}")


@pytest.mark.parametrize("language", ["en", "de"])
def test_the_component_needs_no_script_and_no_style(language: str) -> None:
    with translation.override(language):
        html = render_to_string(
            "components/gate_review.html", {"review": review_chart(LOOK), "zone": "Europe/Berlin"}
        )
    assert html.count("<svg") == 3
    assert "style=" not in html
    assert "<script" not in html
    assert ("3.10 × the control group" in html) == (language == "en")
    assert ("3,10-Fache der Vergleichsgruppe" in html) == (language == "de")


def test_a_look_without_measures_is_a_sentence() -> None:
    nothing = replace(LOOK, verdict=replace(LOOK.verdict, outcome="wait", metrics=()))
    chart = review_chart(nothing)
    assert (chart.intervals, chart.courses) == ((), ())
    assert chart.sentence == "Not decided yet: look 1 of 4."

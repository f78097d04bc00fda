"""What the telemetry gate found, as SVG that needs no script: it is drawn anew with every refresh.

The ratio of each metric with its interval and its limit on one logarithmic axis, and the course of
updated and control group over the hours since the wave. `templates/components/gate_review.html`
shows both, with the numbers beside them in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _

from firmware.domain import gate_words
from firmware.domain.gate_queries import Look
from firmware.gate.metrics import Metric
from firmware.gate.verdict import GateVerdict, MetricVerdict

WIDTH: Final = 400
ROW: Final = 28
COURSE_HEIGHT: Final = 90
_PAD: Final = 4
# The axis reaches at least from half to double, and nowhere beyond a thirtieth and thirty times.
_LEAST: Final = (0.5, 2.0)
_MOST: Final = (1 / 30, 30.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A metric's row: places of ratio, interval and limit on the axis; None where nothing is known.

    `state` is a code: pass, fail, open or blind.
    """

    name: str
    state: str
    state_name: str
    sentence: str
    rates: str
    limit: str
    ratio: str | None = None
    low: str | None = None
    high: str | None = None


@dataclass(frozen=True, slots=True)
class CourseChart:
    """A metric over the hours since the wave, as paths in WIDTH × COURSE_HEIGHT."""

    name: str
    unit: str
    most: str
    updated: str
    control: str


@dataclass(frozen=True, slots=True)
class ReviewChart:
    """A look at a wave, ready for the template."""

    outcome: str
    sentence: str
    at: datetime
    begins_at: datetime
    evidence_until: datetime
    intervals: tuple[Interval, ...]
    courses: tuple[CourseChart, ...]
    same: str
    width: int = WIDTH
    row: int = ROW
    middle: int = ROW // 2
    course_height: int = COURSE_HEIGHT


def review_chart(look: Look) -> ReviewChart:
    """What `templates/components/gate_review.html` shows of a look."""
    place = _axis(look.verdict)
    return ReviewChart(
        outcome=look.verdict.outcome,
        sentence=gate_words.verdict_sentence(look.verdict),
        at=look.at,
        begins_at=look.verdict.begins_at,
        evidence_until=look.verdict.evidence_until,
        intervals=tuple(_interval(one, place) for one in look.verdict.metrics),
        courses=tuple(_courses(look)),
        same=f"{place(1.0):.1f}",
    )


def _axis(verdict: GateVerdict) -> Callable[[float], float]:
    """The place of a ratio; those beyond the axis stand at its end."""
    known = [
        value
        for one in verdict.metrics
        for value in (one.low, one.high, one.ratio, one.limit)
        if value is not None and value > 0
    ]
    low = max(_MOST[0], min([_LEAST[0], *known]) / 1.1)
    high = min(_MOST[1], max([_LEAST[1], *known]) * 1.1)
    scale = (WIDTH - 2 * _PAD) / math.log(high / low)
    return lambda ratio: _PAD + scale * math.log(min(max(ratio, low), high) / low)


def _interval(one: MetricVerdict, place: Callable[[float], float]) -> Interval:
    def at(value: float | None, otherwise: float | None = None) -> str | None:
        found = otherwise if value is None else value
        return None if found is None else f"{place(found):.1f}"

    known = one.ratio is not None
    return Interval(
        name=str(gate_words.NAMES[one.metric]),
        state=one.state,
        state_name=_state_name(one.state),
        sentence=gate_words.metric_sentence(one),
        rates=gate_words.rates_sentence(one),
        limit=f"{place(one.limit):.1f}",
        ratio=at(one.ratio),
        low=at(one.low) if known else None,
        # An interval without an end goes to the edge.
        high=at(one.high, math.inf) if known else None,
    )


def _state_name(state: str) -> str:
    return {
        "pass": _("Within the limit"),
        "fail": _("Beyond the limit"),
        "open": _("Not decided"),
        "blind": _("Cannot be judged"),
    }[state]


def _courses(look: Look) -> Sequence[CourseChart]:
    asked = {one.metric for one in look.verdict.metrics if one.state != "blind"}
    charts = []
    for metric in Metric:
        line = look.course.lines.get(metric)
        if line is None or metric not in asked:
            continue
        values = [value for value in (*line.updated, *line.control) if value is not None]
        if not values:
            continue
        most = max(values) or 1.0
        charts.append(
            CourseChart(
                name=str(gate_words.NAMES[metric]),
                unit=str(gate_words.UNITS[metric]),
                most=gate_words.number(most),
                updated=_path(line.updated, most),
                control=_path(line.control, most),
            )
        )
    return charts


def _path(values: Sequence[float | None], most: float) -> str:
    """A line from zero to `most`, broken where nothing is known; a lone value is a short stroke."""
    step = (WIDTH - 2 * _PAD) / max(1, len(values) - 1)
    parts = []
    drawn = False
    for number, value in enumerate(values):
        if value is None:
            drawn = False
            continue
        x = _PAD + number * step
        y = COURSE_HEIGHT - _PAD - value / most * (COURSE_HEIGHT - 2 * _PAD)
        alone = not drawn and (number + 1 == len(values) or values[number + 1] is None)
        parts.append(f"{'L' if drawn else 'M'}{x:.1f} {y:.1f}{'h0.1' if alone else ''}")
        drawn = True
    return "".join(parts)

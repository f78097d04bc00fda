"""The judgement: each metric by itself, then all together.

The gate may be wrong about a harmless roll-out with probability `limits.false_alarms` in all. That
is shared evenly among every question that the roll-out may come to ask: metrics × waves × looks
(C. E. Bonferroni, 1936: it holds however they depend on each other, and looks at growing evidence
do).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from firmware.gate.comparison import Bools, Comparison, Floats, Measure, Park
from firmware.gate.limits import GateLimits
from firmware.gate.matching import strata
from firmware.gate.metrics import METRICS, Metric, MetricInfo
from firmware.gate.past import expected
from firmware.gate.ratio import Matched, Ratio, compare
from firmware.gate.verdict import (
    GateVerdict,
    MetricVerdict,
    Outcome,
    Reason,
    State,
    finite,
)

# Less past than this (device-days) tells nothing of a device.
LEAST_PAST: Final = 0.25
# Fewer sound devices cannot tell how much sound devices vary.
LEAST_CONTROL: Final = 20
# Where the updated stand in fewer places, what happens to a place looks like the firmware's doing.
LEAST_PLACES: Final = 3
# A failure stands only if it is likely even without the place that speaks loudest for it.
_WITHOUT_WORST: Final = 0.05
# For the interval that is told; the bounds that decide have their own.
_TOLD: Final = 0.025


@dataclass(frozen=True, slots=True)
class _Levels:
    """How unlikely what was seen must be: if nothing had changed, and on the limit's other side."""

    alarm: float
    sure: float
    intervals: bool


def judge(comparison: Comparison, limits: GateLimits, *, intervals: bool = True) -> GateVerdict:
    """Judge a wave; without `intervals` the bounds are left out, which is quicker."""
    asked = [metric for metric in limits.ratios if _is_measured(comparison, metric)]
    # A further look is asked for by people; each takes half of what the last one left.
    questions = max(1, len(asked)) * comparison.waves * (limits.looks + 1)
    further = max(0, comparison.look - limits.looks)
    levels = _Levels(
        alarm=limits.false_alarms / questions / 2**further,
        sure=(1 - limits.confidence) / limits.looks,
        intervals=intervals,
    )
    metrics = []
    for metric, limit in limits.ratios.items():
        if metric in asked:
            measure = comparison.measures[metric]
            metrics.append(_metric(comparison.park, measure, metric, limit, levels))
        else:
            metrics.append(MetricVerdict(metric, "blind", limit, "not_measured"))
    outcome, needs_person, settled = _together(metrics, comparison.look, limits)
    return GateVerdict(
        outcome=outcome,
        metrics=tuple(metrics),
        begins_at=comparison.begins_at,
        evidence_until=comparison.evidence_until,
        look=comparison.look,
        looks=limits.looks,
        needs_person=needs_person,
        settled=settled,
    )


def _is_measured(comparison: Comparison, metric: Metric) -> bool:
    measure = comparison.measures.get(metric)
    return measure is not None and bool((measure.exposure > 0).any())


def _together(
    metrics: list[MetricVerdict], look: int, limits: GateLimits
) -> tuple[Outcome, bool, bool]:
    """The outcome, whether it is left to a person, and whether open metrics were let pass."""
    states = {one.state for one in metrics if one.reason != "not_measured"}
    if "fail" in states:
        return "fail", False, False
    if not states or "blind" in states:
        return "wait", True, False
    if states == {"pass"}:
        return "pass", False, False
    if look < limits.looks:
        return "wait", False, False
    if limits.inconclusive == "pass":
        return "pass", False, True
    return "wait", True, False


def _metric(
    park: Park, measure: Measure, metric: Metric, limit: float, levels: _Levels
) -> MetricVerdict:
    measured = measure.exposure > 0
    usable = measured & (measure.past_exposure >= LEAST_PAST)
    stratum, local = strata(park, usable)
    compared = stratum >= 0
    unit = np.where(local, -1 - park.device, park.facility)
    blank = MetricVerdict(
        metric,
        "blind",
        limit,
        updated=int((compared & park.updated).sum()),
        control=int((compared & ~park.updated).sum()),
        places=len(np.unique(unit[compared & park.updated])),
        no_past=int((measured & ~usable & park.updated).sum()),
    )
    reason = _blind(park, measure, usable, blank)
    if reason:
        return replace(blank, reason=reason)
    some, updated, info = _only(measure, compared), park.updated[compared], METRICS[metric]
    matched = Matched(
        updated=updated,
        stratum=stratum[compared],
        unit=unit[compared],
        amount=some.amount,
        expected=expected(some, ~updated, info),
        exposure=some.exposure,
    )
    ratio = compare(matched, info)
    told = replace(
        blank,
        state=_state(ratio, matched, limit, levels),
        ratio=finite(ratio.value),
        updated_rate=_rate(some.amount, some.exposure, updated),
        control_rate=_rate(some.amount, some.exposure, ~updated),
        updated_past=_rate(some.past_amount, some.past_exposure, updated),
        control_past=_rate(some.past_amount, some.past_exposure, ~updated),
    )
    return _with_bounds(told, ratio, levels) if levels.intervals else told


def _state(ratio: Ratio, matched: Matched, limit: float, levels: _Levels) -> State:
    if ratio.p_better(limit) <= levels.sure:
        return "pass"
    if (
        ratio.p_worse(1.0) <= levels.alarm
        and ratio.p_worse(limit) <= levels.sure
        and _stands_without_worst(matched, ratio.info, limit)
    ):
        return "fail"
    return "open"


def _blind(park: Park, measure: Measure, usable: Bools, blank: MetricVerdict) -> Reason:
    if not (measure.exposure > 0)[park.updated].any():
        return "silent" if (measure.past_exposure > 0)[park.updated].any() else "not_measured"
    if not (usable & park.updated).any():
        return "no_past"
    if not (usable & ~park.updated).any():
        return "no_control"
    if blank.control < LEAST_CONTROL:
        return "few_control"
    if blank.places < LEAST_PLACES:
        return "few_places"
    return ""


def _stands_without_worst(matched: Matched, info: MetricInfo, limit: float) -> bool:
    """Whether a failure is likely without the unit that shows the most beyond its expectation."""
    common = matched.amount[~matched.updated].sum() / matched.expected[~matched.updated].sum()
    units, number = np.unique(matched.unit[matched.updated], return_inverse=True)
    beyond = (matched.amount - common * matched.expected)[matched.updated]
    worst = units[int(np.bincount(number, beyond).argmax())]
    kept = ~(matched.updated & (matched.unit == worst))
    rest = Matched(
        updated=matched.updated[kept],
        stratum=matched.stratum[kept],
        unit=matched.unit[kept],
        amount=matched.amount[kept],
        expected=matched.expected[kept],
        exposure=matched.exposure[kept],
    )
    return compare(rest, info).p_worse(limit) <= _WITHOUT_WORST


def _with_bounds(told: MetricVerdict, ratio: Ratio, levels: _Levels) -> MetricVerdict:
    return replace(
        told,
        low=finite(ratio.at_least(_TOLD)),
        high=finite(ratio.at_most(_TOLD)),
        at_least=finite(ratio.at_least(levels.sure)),
        at_most=finite(ratio.at_most(levels.sure)),
    )


def _rate(amount: Floats, exposure: Floats, who: Bools) -> float | None:
    return finite(float(amount[who].sum() / exposure[who].sum()))


def _only(measure: Measure, who: Bools) -> Measure:
    return Measure(
        measure.amount[who],
        measure.exposure[who],
        measure.past_amount[who],
        measure.past_exposure[who],
    )

"""What the gate compares. Every metric is an amount per device-day, and more of it is worse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Metric(StrEnum):
    """The codes are stored; their names are in the portal."""

    MISSING = "missing_readings"
    GAPS = "gaps"
    RESETS = "resets"
    RECONNECTS = "reconnects"
    ERRORS = "errors"
    SHAPE = "load_shape"
    DRAIN = "drain"


@dataclass(frozen=True, slots=True)
class MetricInfo:
    """How a metric is counted.

    `floor`: a control group with less than this per device-day counts as having it, since a
    multiple of next to nothing harms nobody. `grain`: the least amount by which it changes, which
    is also the least over-dispersion that is believed. `step`: 1 for counts, 0 for what is
    continuous. `limit`: the ratio that is allowed unless somebody says otherwise. `cap`: what a
    device counts at least in full, however little was expected of it.
    """

    floor: float
    grain: float
    step: float
    limit: float
    cap: float


# Units: minutes without readings; quarters of an hour with a gap; resets; connections; minutes with
# error lines; mean deviation of the load from its usual course, as a part of it, times days;
# percentage points of charge lost.
METRICS = MappingProxyType(
    {
        Metric.MISSING: MetricInfo(floor=2.0, grain=1.0, step=0.0, limit=1.25, cap=60.0),
        Metric.GAPS: MetricInfo(floor=0.2, grain=1.0, step=1.0, limit=1.08, cap=4.0),
        Metric.RESETS: MetricInfo(floor=0.02, grain=1.0, step=1.0, limit=1.5, cap=3.0),
        Metric.RECONNECTS: MetricInfo(floor=0.1, grain=1.0, step=1.0, limit=1.5, cap=4.0),
        Metric.ERRORS: MetricInfo(floor=0.1, grain=1.0, step=1.0, limit=1.5, cap=4.0),
        Metric.SHAPE: MetricInfo(floor=0.02, grain=0.005, step=0.0, limit=1.25, cap=0.5),
        Metric.DRAIN: MetricInfo(floor=0.5, grain=0.05, step=0.0, limit=1.07, cap=5.0),
    }
)

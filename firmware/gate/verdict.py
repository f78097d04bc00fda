"""What the gate says, and how it is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from firmware.gate.metrics import Metric

# `open`: not decided yet. `blind`: it cannot be judged, and time does not help.
State = Literal["pass", "fail", "open", "blind"]
# Why a metric is blind; `silent`: the updated devices were measured before, and are not any more.
Reason = Literal["", "not_measured", "silent", "no_past", "no_control", "few_control", "few_places"]
Outcome = Literal["pass", "wait", "fail"]


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One metric. Ratios are updated to control; an infinite one is None.

    `low` and `high` bound the ratio with 95 %. `at_least` and `at_most` are the bounds that decide:
    beyond `limit` the first fails, below it the second passes. Rates are means per device-day, of
    the devices that are compared; `no_past` counts the updated devices that were left out.
    """

    metric: Metric
    state: State
    limit: float
    reason: Reason = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    at_least: float | None = None
    at_most: float | None = None
    updated_rate: float | None = None
    control_rate: float | None = None
    updated_past: float | None = None
    control_past: float | None = None
    updated: int = 0
    control: int = 0
    places: int = 0
    no_past: int = 0


@dataclass(frozen=True, slots=True)
class GateVerdict:
    """What is said of a wave.

    `needs_person`: the gate will not decide this any more, however long it waits. `settled`: what
    was still open when the looks were used up passes, because the limits say so.
    """

    outcome: Outcome
    metrics: tuple[MetricVerdict, ...]
    begins_at: datetime
    evidence_until: datetime
    look: int
    looks: int
    needs_person: bool = False
    settled: bool = False

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {
            "outcome": self.outcome,
            "needs_person": self.needs_person,
            "settled": self.settled,
            "look": self.look,
            "looks": self.looks,
            "begins_at": self.begins_at.isoformat(),
            "evidence_until": self.evidence_until.isoformat(),
            "metrics": [asdict(one) | {"metric": one.metric.value} for one in self.metrics],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> GateVerdict:
        """Read what `to_json` gave."""
        return cls(
            outcome=value["outcome"],
            needs_person=value["needs_person"],
            settled=value["settled"],
            look=value["look"],
            looks=value["looks"],
            begins_at=datetime.fromisoformat(value["begins_at"]),
            evidence_until=datetime.fromisoformat(value["evidence_until"]),
            metrics=tuple(
                MetricVerdict(**{**one, "metric": Metric(one["metric"])})
                for one in value["metrics"]
            ),
        )


def finite(value: float) -> float | None:
    """What JSON can hold."""
    return round(value, 6) if math.isfinite(value) else None

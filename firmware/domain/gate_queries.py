"""What the gate has said, for pages and the REST API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from firmware.domain.gate_evidence import Course
from firmware.gate.verdict import GateVerdict
from firmware.models import GateReview


@dataclass(frozen=True, slots=True)
class Look:
    """One review of a wave."""

    wave_id: int
    wave: int
    at: datetime
    verdict: GateVerdict
    course: Course


def looks(*, rollout_id: int) -> list[Look]:
    """All reviews of a roll-out of the scope, by wave and look. One query."""
    rows = GateReview.objects.filter(rollout_id=rollout_id).order_by("wave__number", "look")
    return [_look(row) for row in rows.select_related("wave")]


def last_looks(*, rollout_id: int) -> dict[int, Look]:
    """The last review of each wave of a roll-out of the scope, by number of the wave. One query."""
    rows = (
        GateReview.objects.filter(rollout_id=rollout_id)
        .select_related("wave")
        .order_by("wave_id", "-look")
        .distinct("wave_id")
    )
    return {row.wave.number: _look(row) for row in rows}


def _look(row: GateReview) -> Look:
    return Look(
        wave_id=row.wave_id,
        wave=row.wave.number,
        at=row.at,
        verdict=GateVerdict.from_json(row.verdict),
        course=Course.from_json(row.course),
    )

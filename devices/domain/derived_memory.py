"""What formulas remember from hour to hour: integrals, energy of the day, state of charge.

A value of an hour is computed from what the formula remembers at the beginning of that hour (UTC),
which follows from the hour before, and so on: the same value, wherever a question begins. What was
found is kept (`formula_state`) for every hour with readings, so that nobody begins with the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from django.db import connection

from devices.domain.derived_definitions import Part, Stretch
from devices.formulas.columns import Column
from devices.formulas.plans import Memory
from devices.protocol.data import Int64s
from devices.telemetry import derived_store
from devices.telemetry.rollup import Floats
from devices.telemetry.segment import HOUR_MS
from devices.telemetry.segment_store import milliseconds

# Hours with readings that are gone through at once for something that was not kept yet: two weeks.
MOST_HOURS: Final = 14 * 24

State = dict[str, Any]


@dataclass(slots=True)
class Recall:
    """From where a formula goes on for a window, and what is known of later hours.

    `hour_ms`: where it begins, with `state`; `later`: states of hours after it that are kept.
    `found`: what was computed of the beginnings of hours.
    """

    hour_ms: int
    state: State
    later: Mapping[int, State]
    found: dict[int, State] = field(default_factory=dict)


def recall(
    part: Part,
    stretch: Stretch,
    devices: frozenset[int],
    start_ms: int,
    end_ms: int,
    *,
    as_of: datetime | None,
    anew: bool,
) -> Recall | None:
    """From where a formula goes on for values in [start, end); None where too much lies between
    and is not computed yet, or nothing was measured.

    `devices`: whose readings it rests on. `anew`: what is kept of hours after the first is not
    trusted.
    """
    first = start_ms // HOUR_MS * HOUR_MS
    kept = dict(
        derived_store.remembered(connection, stretch.version_id, first, end_ms, as_of=as_of)
    )
    begins = min(kept, default=first + 1)
    if begins <= first:
        later = {} if anew else {hour: state for hour, state in kept.items() if hour > begins}
        found = Recall(begins, kept[begins], later)
    else:
        known = derived_store.measured(connection, sorted(devices))
        if known is None:
            return None
        origin = max(_origin(part, stretch), milliseconds(known[0].replace(microsecond=0)))
        found = Recall(origin // HOUR_MS * HOUR_MS, {}, {} if anew else kept)
    if first - found.hour_ms > MOST_HOURS * HOUR_MS:
        hours = derived_store.hours_measured(connection, sorted(devices), found.hour_ms, first)
        if hours > MOST_HOURS:
            return None
    return found


def _origin(part: Part, stretch: Stretch) -> int:
    """Where a formula begins to remember: with the local day in which it begins to hold."""
    zone = ZoneInfo(part.zone)
    begins = datetime.fromtimestamp(stretch.start_ms / 1000, UTC).astimezone(zone)
    midnight = begins.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return milliseconds(midnight.astimezone(UTC))


def evaluated(
    part: Part,
    stretch: Stretch,
    recalled: Recall,
    inputs: Mapping[str, Column],
    end_ms: int,
) -> Iterator[tuple[Int64s, Floats]]:
    """(times, values) of the hours from where a formula goes on until `end_ms`, one after the
    other; what it remembers at the beginning of each, and at the end of the last, is noted in
    `recalled.found`.
    """
    zone = ZoneInfo(part.zone)
    reach = stretch.reach_ms
    state, at = recalled.state, recalled.hour_ms
    later = sorted(recalled.later, reverse=True)
    for hour in _hours(inputs, at, end_ms, reach):
        while later and later[-1] <= hour:
            state = recalled.later[later.pop()]
        recalled.found[hour] = state
        column, state = stretch.formula.go_on(
            {
                name: sliced(column, hour - 2 * reach, hour + HOUR_MS + reach)
                for name, column in inputs.items()
            },
            zone=zone,
            # What is remembered at an hour is that of readings so much older that all that it
            # rests on lies before them; it begins with the hour itself.
            memory=Memory(hour - reach if state else hour, state),
            until_ms=hour + HOUR_MS - reach,
        )
        recalled.found[hour + HOUR_MS] = state
        rows = slice(*np.searchsorted(column.times, (hour, hour + HOUR_MS)).tolist())
        yield column.times[rows], column.values[rows]


def _hours(inputs: Mapping[str, Column], start_ms: int, end_ms: int, reach: int) -> list[int]:
    """The hours in [start, end) that any reading may matter to; in others nothing changes."""
    around = -(-2 * reach // HOUR_MS)
    with_readings = np.unique(
        np.concatenate([column.times // HOUR_MS for column in inputs.values()])
    )
    near = np.unique(np.concatenate([with_readings + off for off in range(-around, around + 1)]))
    chosen = near[(near >= start_ms // HOUR_MS) & (near * HOUR_MS < end_ms)]
    return [hour * HOUR_MS for hour in chosen.tolist()]


def sliced(column: Column, start_ms: int, end_ms: int) -> Column:
    """The readings of a column in [start, end)."""
    rows = slice(*np.searchsorted(column.times, (start_ms, end_ms)).tolist())
    return Column(column.times[rows], column.values[rows], column.step_ms)

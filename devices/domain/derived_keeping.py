"""What formulas remember is kept, and whatever follows from it is computed again where it is not
what it was.
"""

from __future__ import annotations

from typing import Any, Final

from django.db import connection

from devices.domain import derived_due
from devices.domain.derived_definitions import Part, Stretch
from devices.domain.derived_memory import Recall, State
from devices.domain.derived_readings import Window
from devices.telemetry import derived_store
from devices.telemetry.derived_store import Due
from devices.telemetry.periods import DAY_MS

# How much is computed again at first: what is remembered soon agrees again, or does not for long.
_AT_FIRST_MS: Final = DAY_MS


def keep_memory(part: Part, stretch: Stretch, recalled: Recall, span: Window) -> bool:
    """Keep what a formula remembers of the hours of a span, and ask for the time after it where
    that rests on something else than before; returns whether it did.
    """
    if not recalled.found:
        return False
    last = max(recalled.found)
    kept = dict(
        derived_store.remembered(connection, stretch.version_id, recalled.hour_ms - 1, last)
    )
    changed = {
        hour
        for hour in recalled.found
        if hour in kept and not _same(kept[hour], recalled.found[hour])
    }
    fresh = {
        hour for hour in recalled.found if hour not in kept and span.start_ms <= hour < span.end_ms
    }
    states = {hour: recalled.found[hour] for hour in sorted(changed | fresh)}
    following = None
    if last not in kept:
        following = derived_store.next_remembered(connection, stretch.version_id, last + 1)
    if following is not None and not _same(following[1], recalled.found[last]):
        # Without readings in between it remembers then what it does now.
        states[following[0]] = recalled.found[last]
        changed.add(following[0])
    _remember(part, stretch, states)
    after = [hour for hour in changed if hour >= span.end_ms]
    if after:
        first = min(after)
        period = (first, min(first + _AT_FIRST_MS, stretch.end_ms))
        derived_store.ask(connection, [Due(0, part.channel_id, *period)])
        derived_due.derived_changed(part.device_id, part.channel_id, [period])
    if len(after) < len(changed):
        period = (span.start_ms, span.end_ms)
        derived_due.derived_changed(part.device_id, part.channel_id, [period])
    return bool(changed)


def _same(one: State, other: State) -> bool:
    """Whether states are equal; a large number may come back from the database as an integer."""
    if one.keys() != other.keys():
        return False
    return all(_numbers(one[key]) == _numbers(other[key]) for key in one)


def _numbers(value: Any) -> list[float | None]:
    several = value if isinstance(value, list) else [value]
    return [None if number is None else float(number) for number in several]


def _remember(part: Part, stretch: Stretch, states: dict[int, State]) -> None:
    derived_store.remember(
        connection,
        [
            derived_store.State(
                part.tenant_id, part.device_id, part.channel_id, stretch.version_id, hour, state
            )
            for hour, state in states.items()
        ],
    )

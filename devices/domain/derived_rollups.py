"""The roll-ups of derived channels: computed from their values as those of measured ones are from
their readings, whenever something that they are computed from has changed.

Needs an open scope, and works on what it holds. A step is one transaction and takes a bounded part;
it may be killed at any moment, repeated, and done by several at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import numpy as np
from django.db import connection, transaction

from devices.domain import redo, removed, rollups
from devices.domain.derived_definitions import Definitions, Part, Stretch, definitions_of
from devices.domain.derived_keeping import keep_memory
from devices.domain.derived_readings import Derivations, Window, read_derived
from devices.models import DataClass
from devices.telemetry import derived_store, redo_store, rollup_store
from devices.telemetry.derived_store import Due
from devices.telemetry.rollup import QUARTER_MS, Quarters, no_quarters, roll
from devices.telemetry.rollup_samples import Samples, Series, reach_ms
from devices.telemetry.segment import HOUR_MS, Readings

MAX_CHANNELS: Final = 200
# Quarters of one channel in one transaction: two days.
MAX_QUARTERS: Final = 2 * 96


@dataclass(frozen=True, slots=True)
class Derived:
    """What a step did.

    `last` is the highest channel id that it claimed, None when none was left; `more` says whether
    it left anything of these channels, or asked for more.
    """

    last: int | None
    quarters: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class _Task:
    """What is done now of a channel: the quarters from `start_ms` to `end_ms`, and up to when that
    answers each of what was due.
    """

    channel_id: int
    start_ms: int
    end_ms: int
    done: Sequence[tuple[int, int]]
    more: bool


@transaction.atomic
def advance(*, after: int = 0, limit: int = MAX_CHANNELS) -> Derived:
    """Compute what is due of up to `limit` channels with ids above `after`; a part of it, if it is
    long; one transaction.
    """
    due = derived_store.claim(connection, after=after, limit=limit)
    if not due:
        return Derived(None)
    by_channel: dict[int, list[Due]] = defaultdict(list)
    for one in due:
        by_channel[one.channel_id].append(one)
    definitions = definitions_of(by_channel)
    parts = definitions.parts
    rollup_store.hold(connection, [parts[channel_id].device_id for channel_id in by_channel])
    tasks = [
        _task(channel_id, some, definitions.reach_of(channel_id), definitions.parts[channel_id])
        for channel_id, some in by_channel.items()
    ]
    touched: list[tuple[int, int]] = []
    summed: list[tuple[int, int]] = []
    more = any(task.more for task in tasks)
    for group in _together(tasks):
        written, followed = _computed(definitions, group)
        more |= followed
        for part, start in written:
            touched.append((part.device_id, start))
            if part.in_total:
                summed.append((part.device_id, start))
    rollup_store.mark_facilities(connection, sorted(set(summed)))
    derived_store.finish(connection, [pair for task in tasks for pair in task.done])
    _announce(touched)
    return Derived(max(by_channel), len(touched), more)


def _task(channel_id: int, due: Sequence[Due], reach: int, part: Part) -> _Task:
    """As much of what is due of a channel as a transaction takes, from its beginning on."""
    reach += reach_ms(part.step_ms)
    first = (due[0].start_ms - reach) // QUARTER_MS * QUARTER_MS
    # More than what a single reading matters to: so every part gets further.
    most = max(MAX_QUARTERS * QUARTER_MS, 3 * reach + 2 * QUARTER_MS)
    end = first
    done = []
    more = False
    for one in due:
        last = -(-(one.end_ms + reach) // QUARTER_MS) * QUARTER_MS
        if one.start_ms - reach > end and end > first:
            more = True  # a part of its own: what lies between has not changed
            break
        if last - first > most:
            end = first + most
            # The next part begins with the quarters that readings after this instant matter to.
            done.append((one.id, max(one.start_ms, end - reach)))
            more = True
            break
        end = max(end, last)
        done.append((one.id, one.end_ms))
    return _Task(channel_id, first, end, done, more)


def _together(tasks: Sequence[_Task]) -> Iterator[list[_Task]]:
    """Tasks for about the same time: their readings are read at once."""
    group: list[_Task] = []
    for task in sorted(tasks, key=lambda one: (one.start_ms, one.channel_id)):
        if group:
            span = max(task.end_ms, *(one.end_ms for one in group)) - group[0].start_ms
            longest = max(one.end_ms - one.start_ms for one in [*group, task])
            if span > 2 * longest:
                yield group
                group = []
        group.append(task)
    if group:
        yield group


def _computed(
    definitions: Definitions, tasks: Sequence[_Task]
) -> tuple[list[tuple[Part, int]], bool]:
    """Compute and keep the quarters of some tasks, and take away those of which nothing is known
    any more; gives (channel, start in ms) of what was written, and whether more follows from it.
    """
    spans: dict[int, Window] = {}
    for task in tasks:
        device_id = definitions.parts[task.channel_id].device_id
        span = Window(task.start_ms, task.end_ms)
        if definitions.remembers(task.channel_id):
            span = span.in_full(HOUR_MS)
        spans[device_id] = span.joined(spans.get(device_id))
    parts = [definitions.parts[task.channel_id] for task in tasks]
    derivations = Derivations(definitions, anew=frozenset(part.channel_id for part in parts))
    found = rolled_up(derivations, {part.channel_id: spans[part.device_id] for part in parts})
    flat = [series_of(part, part.step_ms) for part in parts]
    rolled = _concatenated(
        [
            replace(quarters, series=np.full(len(quarters.starts), place, np.int64))
            for place, part in enumerate(parts)
            if len((quarters := found[part.channel_id]).starts)
        ]
    )
    starts = {
        device_id: range(span.start_ms, span.end_ms, QUARTER_MS)
        for device_id, span in spans.items()
    }
    tenants = {part.device_id: part.tenant_id for part in parts}
    written = []
    left = _left_alone(definitions, parts, starts)
    for found_ in (rolled, redo.gone(rolled, flat, starts)):
        keys = zip(found_.series.tolist(), found_.starts.tolist(), strict=True)
        quarters = found_.only(np.array([key not in left for key in keys], np.bool_))
        rollups.keep(quarters, flat, tenants)
        written += [
            (parts[place], start)
            for place, start in zip(quarters.series.tolist(), quarters.starts.tolist(), strict=True)
        ]
    followed = [
        keep_memory(part, stretch, recalled, spans[part.device_id])
        for part in parts
        for stretch in definitions.stretches[part.channel_id]
        if (recalled := derivations.recalls.get(stretch.version_id)) is not None
    ]
    return written, any(followed)


def _left_alone(
    definitions: Definitions, parts: Sequence[Part], starts: Mapping[int, Sequence[int]]
) -> set[tuple[int, int]]:
    """(Place among the parts, start) of quarters whose formulas take readings that are gone."""
    known = definitions.parts
    own = {
        place: removed.Rests(starts[part.device_id], frozenset({part.device_id}), 0)
        for place, part in enumerate(parts)
    }
    tenants = {place: part.tenant_id for place, part in enumerate(parts)}
    gone = removed.covered(own, tenants, data_class=DataClass.QUARTERS)
    return gone | removed.left_alone(
        {
            place: removed.Rests(
                starts[part.device_id],
                frozenset(
                    known[channel_id].device_id
                    for channel_id in definitions.measured_of([part.channel_id])
                ),
                definitions.reach_of(part.channel_id) + reach_ms(part.step_ms),
            )
            for place, part in enumerate(parts)
        }
    )


def rolled_up(derivations: Derivations, windows: Mapping[int, Window]) -> dict[int, Quarters]:
    """The quarters of derived channels within windows (full quarters), from their values.

    Each formula's by themselves: what the last value of one says holds no longer than it does.
    """
    parts = derivations.definitions.parts
    wider = {
        channel_id: window.wider(reach_ms(parts[channel_id].step_ms))
        for channel_id, window in windows.items()
    }
    found = read_derived(derivations, wider)
    return {
        channel_id: _rolled(parts[channel_id], found.get(channel_id, []), window)
        for channel_id, window in windows.items()
    }


def _rolled(part: Part, pieces: Sequence[tuple[Stretch, Readings]], window: Window) -> Quarters:
    rolled = []
    for stretch, readings in pieces:
        if len(readings):
            nothing = np.zeros(len(readings), np.int64)
            samples = Samples(nothing, readings.times, nothing, readings.raw)
            quarters = roll(samples, [series_of(part, stretch.step_ms)])
            own = window.within(stretch)
            rolled.append(
                quarters.only((quarters.starts >= own.start_ms) & (quarters.starts < own.end_ms))
            )
    return _concatenated(rolled)


def _concatenated(parts: Sequence[Quarters]) -> Quarters:
    if not parts:
        return no_quarters()
    return Quarters(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Quarters.__slots__)
    )


def series_of(part: Part, step_ms: int) -> Series:
    """A derived channel as the roller takes it, when its values come at this step."""
    return Series(
        device_id=part.device_id,
        number=part.number,
        resolution=part.resolution,
        kind=rollups.kind_of(part.quantity, part.unit),
        step_ms=step_ms,
        maximum=part.maximum,
    )


def _announce(touched: Sequence[tuple[int, int]]) -> None:
    """Tell of what was computed for a time that had been over for a while."""
    redo_store.announce(
        connection, rollups.late(set(touched), datetime.now(UTC), redo_store.Cause.DERIVED)
    )

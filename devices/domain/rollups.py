"""Rolling up: from new frames to quarters of an hour of channels, then of facilities.

Needs an open scope, and works on what it holds. Nothing is ever added to what is there: a quarter
that a new frame may matter to is computed again from all of its frames. So it does not matter in
which order frames come, how often a run is repeated, or where one is cut off.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.db import connection, transaction

from devices.domain import corrections_gone, derived_due, removed
from devices.models import FROM_FILES, Channel, Placement
from devices.protocol.data import Block, decode_data, decode_many
from devices.quantities import QUANTITIES
from devices.telemetry import facility_sums, redo_store, segment_store
from devices.telemetry import rollup_store as store
from devices.telemetry.rollup import QUARTER_MS, Quarters, no_quarters, roll
from devices.telemetry.rollup_corrections import Shifts, corrections_of, shifts_of
from devices.telemetry.rollup_samples import Kind, Series, reach_ms, samples_of
from devices.telemetry.segment import HOUR_MS
from devices.telemetry.segment_codec import decode

# Devices claimed in one transaction, new frames of a device in it, and values computed at once:
# 4 million take about 300 MB.
MAX_DEVICES: Final = 500
MAX_FRAMES: Final = 3_000
MAX_VALUES: Final = 4_000_000
# What has become a segment has lower sequence numbers than any frame that has not.
_BEFORE_ALL: Final = 0
# Devices that report in batches are up to date again within this time after a quarter is over; what
# comes later is announced as a change of the past.
LATE_AFTER: Final = timedelta(hours=2)
_DAY_MS: Final = 24 * HOUR_MS
# Facility quarters summed in one transaction.
MAX_DIRTY: Final = 2_000


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a step did.

    `last` is the highest device id that it claimed, None when none was left; `crowded` says whether
    a device had more new frames than one turn takes.
    """

    last: int | None
    devices: int = 0
    frames: int = 0
    quarters: int = 0
    crowded: bool = False


@transaction.atomic
def roll_up(*, after: int = 0, limit: int = MAX_DEVICES) -> Rolled:
    """Roll up the new frames of up to `limit` devices with ids above `after`; one transaction.

    A device with more than MAX_FRAMES new ones is left to be claimed again.
    """
    claims = store.claim(connection, after=after, limit=limit)
    if not claims:
        return Rolled(None)
    frames = store.new_frames(connection, claims, limit=MAX_FRAMES)
    fresh: dict[int, list[store.NewFrame]] = defaultdict(list)
    for frame in frames:
        fresh[frame.device_id].append(frame)
    series = series_of(list(fresh))
    shifts = shifts_of(connection, corrected_devices(series))
    tenants = {claim.device_id: claim.tenant_id for claim in claims}
    touched: list[tuple[int, int]] = []
    quarters = 0
    for group in _groups(fresh):
        dirty: Mapping[int, Sequence[int]] = {
            device_id: _dirty(fresh[device_id], series[device_id], shifts)
            for device_id in group
            if series.get(device_id)
        }
        dirty = removed.without_removed(dirty, series, tenants)
        dirty = corrections_gone.without_gone(dirty, series, shifts)
        touched += [(device_id, start) for device_id, starts in dirty.items() for start in starts]
        rolled, flat = compute(dirty, series)
        keep(rolled, flat, tenants)
        quarters += len(rolled.starts)
    store.mark_facilities(connection, touched)
    store.advance(connection, [_progress(claim, fresh.get(claim.device_id)) for claim in claims])
    derived_due.readings_changed(
        (frame.device_id, begin, end - 1)
        for frame in frames
        for start_ms, end_ms in _stretches(frame)
        for begin, end in shifts.reached(frame.device_id, start_ms, end_ms + 1)
    )
    late_ones = late(touched, datetime.now(UTC), redo_store.Cause.LATE)
    redo_store.announce(connection, late_ones)
    crowded = any(len(found) >= MAX_FRAMES for found in fresh.values())
    return Rolled(claims[-1].device_id, len(claims), len(frames), quarters, crowded)


def late(
    touched: Iterable[tuple[int, int]], now: datetime, cause: redo_store.Cause
) -> list[redo_store.Changed]:
    """Of the quarters of devices that were computed, the periods that had been over for a while."""
    before = segment_store.milliseconds(now.replace(microsecond=0) - LATE_AFTER) - QUARTER_MS
    return [
        redo_store.Changed(device_id, start_ms, end_ms, cause)
        for device_id, start_ms, end_ms in periods_of(
            (device_id, start) for device_id, start in touched if start <= before
        )
    ]


def periods_of(quarters: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Quarters (device, start in ms) as periods (device, start, end), those of a day as one."""
    begin = before = None
    for device_id, start in sorted(quarters):
        if begin is None or before is None:
            begin = before = (device_id, start)
        elif device_id != before[0] or start - before[1] > _DAY_MS:
            yield *begin, before[1] + QUARTER_MS
            begin = (device_id, start)
        before = (device_id, start)
    if begin is not None and before is not None:
        yield *begin, before[1] + QUARTER_MS


def _progress(claim: store.Claim, frames: Sequence[store.NewFrame] | None) -> store.Done:
    if not frames:
        return store.Done(claim.device_id, claim.committed)
    return store.Done(
        claim.device_id,
        claim.committed if len(frames) < MAX_FRAMES else frames[-1].sequence,
        max(frame.received_at for frame in frames),
        max(frame.end_ms for frame in frames),
    )


def _groups(fresh: Mapping[int, Sequence[store.NewFrame]]) -> Iterator[list[int]]:
    """Devices whose quarters are computed at once."""
    group: list[int] = []
    values = 0
    for device_id, frames in fresh.items():
        # What is read is more than what is new: the quarter around it.
        longest = max(frame.value_count for frame in frames)
        expected = sum(frame.value_count for frame in frames) + 15 * longest
        if group and values + expected > MAX_VALUES:
            yield group
            group, values = [], 0
        group.append(device_id)
        values += expected
    if group:
        yield group


def _dirty(frames: Sequence[store.NewFrame], series: Sequence[Series], shifts: Shifts) -> list[int]:
    """The starts (ms) of the quarters that the frames may matter to, in order."""
    reach = reach_ms(series[0].step_ms)
    starts: set[int] = set()
    for frame in frames:
        for start_ms, end_ms in _stretches(frame):
            for begin, end in shifts.reached(frame.device_id, start_ms, end_ms + 1):
                first = (begin - reach) // QUARTER_MS
                starts.update(range(first, (end - 1 + reach) // QUARTER_MS + 1))
    return [start * QUARTER_MS for start in sorted(starts)]


def _stretches(frame: store.NewFrame) -> Iterator[tuple[int, int]]:
    """From when to when (ms) samples of a frame lie: of a long one, each quarter with samples."""
    if frame.body is None:
        yield frame.start_ms, frame.end_ms
        return
    for block in decode_data(bytes(frame.body)).blocks:
        for quarter in np.unique(block.times // QUARTER_MS).tolist():
            yield quarter * QUARTER_MS, (quarter + 1) * QUARTER_MS - 1


def compute(
    dirty: Mapping[int, Sequence[int]], series: Mapping[int, Sequence[Series]]
) -> tuple[Quarters, list[Series]]:
    """The roll-ups of quarters (starts in ms, rising, for each device) from what is stored, and the
    series that they tell of. Quarters into which no sample holds are left out.
    """
    flat = [one for device_id in dirty for one in series[device_id]]
    if not flat:
        return no_quarters(), flat
    blocks: dict[int, list[tuple[int, Block]]] = defaultdict(list)
    spans = [
        span
        for device_id, starts in dirty.items()
        for span in _spans(device_id, starts, reach_ms(series[device_id][0].step_ms))
    ]
    corrections = corrections_of(connection, spans, corrected_devices(series))
    rows = store.frames_in(connection, corrections.spans)
    bodies = decode_many([bytes(body) for _, _, body in rows])
    for device_id, block in _moved(corrections.spans):
        blocks[device_id].append((_BEFORE_ALL, block))
    for (device_id, sequence, _), data in zip(rows, bodies, strict=True):
        blocks[device_id] += [(sequence, block) for block in data.blocks]
    index = {(one.device_id, one.number): place for place, one in enumerate(flat)}
    samples = corrections.applied(samples_of(list(blocks.items()), index), index)
    rolled = roll(samples, flat)
    return _wanted(rolled, dirty, flat), flat


def _moved(spans: Iterable[store.Span]) -> Iterator[tuple[int, Block]]:
    """What segments have of some periods: a block for each device, hour and channel."""
    wanted = {
        (span.device_id, start_ms)
        for span in spans
        for start_ms in range(span.start_ms // HOUR_MS * HOUR_MS, span.end_ms, HOUR_MS)
    }
    for (device_id, start_ms), body in segment_store.segments_of(connection, wanted).items():
        for number, readings in decode(start_ms, body).items():
            counting = readings.counting()
            yield device_id, Block(counting.times, (number,), counting.raw.reshape(1, -1))


def _spans(device_id: int, starts: Sequence[int], reach: int) -> Iterator[store.Span]:
    """The periods whose frames are needed, quarters that lie together as one."""
    begin = before = starts[0]
    for start in [*starts[1:], None]:
        if start is None or start - before > QUARTER_MS + 2 * reach:
            yield store.Span(device_id, begin - reach, before + QUARTER_MS + reach)
            if start is None:
                return
            begin = start
        before = start


def _wanted(
    quarters: Quarters, dirty: Mapping[int, Sequence[int]], series: Sequence[Series]
) -> Quarters:
    """Of all quarters that frames were read of, those that were read in full."""
    devices = np.array([one.device_id for one in series], np.int64)[quarters.series]
    asked = np.array(
        [(device_id, start) for device_id, starts in dirty.items() for start in starts], np.int64
    )
    keys = np.unique(asked[:, 0] * (1 << 32) + asked[:, 1] // QUARTER_MS)
    return quarters.only(np.isin(devices * (1 << 32) + quarters.starts // QUARTER_MS, keys))


def keep(quarters: Quarters, series: Sequence[Series], tenants: Mapping[int, int]) -> None:
    """Write roll-ups of some series over those of the same quarters; `tenants` by device."""
    if len(quarters.starts):
        devices = np.array([one.device_id for one in series], np.int64)
        numbers = np.array([one.number for one in series], np.int64)
        owners = np.array([tenants[one.device_id] for one in series], np.int64)
        store.keep(
            connection,
            quarters,
            tenants=owners[quarters.series],
            devices=devices[quarters.series],
            channels=numbers[quarters.series],
        )


def series_of(device_ids: Sequence[int]) -> dict[int, list[Series]]:
    """The measured channels of some devices as the roller takes them, by device and number; one
    query.
    """
    rows = list(
        Channel.objects.filter(device_id__in=device_ids, derived=False)
        .order_by("device_id", "number")
        .values_list(
            "device_id", "number", "quantity", "unit", "resolution", "minimum", "maximum",
            "device__device_type__step_ms", "device__device_type__capabilities", "corrected",
        )
    )  # fmt: skip
    most: dict[int, float] = {}
    for device_id, _, quantity, _, _, minimum, maximum, *_ in rows:
        if quantity == "active_power":
            most[device_id] = max(most.get(device_id, 0.0), float(max(-minimum, maximum)))
    found: dict[int, list[Series]] = defaultdict(list)
    for device_id, number, quantity, unit, resolution, _, maximum, step_ms, able, fixed in rows:
        found[device_id].append(
            Series(
                device_id=device_id,
                number=number,
                resolution=resolution,
                kind=kind_of(quantity, unit),
                step_ms=step_ms,
                maximum=Decimal(maximum),
                most_w=most.get(device_id),
                exact=FROM_FILES in able,
                corrected=fixed,
            )
        )
    return found


def corrected_devices(series: Mapping[int, Sequence[Series]]) -> list[int]:
    """The devices of which a channel was corrected at some time."""
    return [
        device_id
        for device_id, channels in series.items()
        if any(one.corrected for one in channels)
    ]


def kind_of(quantity: str, unit: str) -> Kind:
    """What energy means for a channel of this quantity."""
    if quantity == "active_power":
        return Kind.POWER
    if unit == "Wh" and QUANTITIES[quantity].behaviour == "register":
        return Kind.REGISTER
    return Kind.NONE


@transaction.atomic
def sum_facilities(*, limit: int = MAX_DIRTY) -> int:
    """Sum up to `limit` quarters of facilities whose devices have changed; returns how many."""
    dirty = store.take_dirty(connection, limit=limit)
    left = removed.without_lost_sums(dirty)
    if left:
        facility_ids = sorted({facility_id for facility_id, _, _ in left})
        facility_sums.sum_facilities(connection, left, energy_sources(facility_ids=facility_ids))
    return len(dirty)


def energy_sources(*, facility_ids: Iterable[int]) -> list[store.Source]:
    """The channels that the energy of facilities is counted from; one query.

    Of each device by its placement: mains import and export, a generator generates, a battery
    charges and discharges. A register counts where the device has one for that direction, else
    what its power amounts to.
    """
    counted = [Placement.MAINS, Placement.GENERATION, Placement.STORAGE]
    return _sources(device__facility_id__in=list(facility_ids), device__placement__in=counted)


def meter_sources(*, device_ids: Iterable[int]) -> list[store.Source]:
    """The channels that the energy of meters is counted from, wherever they are placed, by the same
    rules: a sub-meter counts as mains do; one query.
    """
    return _sources(device_id__in=list(device_ids))


def _sources(**chosen: Any) -> list[store.Source]:
    rows = Channel.objects.filter(
        **chosen,
        in_total=True,
        quantity__in=["active_power", "energy_import", "energy_export"],
    ).order_by("device_id", "number")
    devices: dict[tuple[int, int, str], dict[str, list[int]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for facility_id, device_id, placement, quantity, number in rows.values_list(
        "device__facility_id", "device_id", "device__placement", "quantity", "number"
    ):
        devices[facility_id, device_id, placement][quantity].append(number)
    return [
        store.Source(facility_id, device_id, number, flow, part)
        for (facility_id, device_id, placement), numbers in devices.items()
        for flow, number, part in _flows(Placement(placement), numbers)
    ]


def _flows(
    placement: Placement, numbers: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, int, str]]:
    if placement is Placement.GENERATION:
        registers = numbers.get("energy_export") or numbers.get("energy_import")
        for number in registers or numbers.get("active_power", ()):
            yield "generation", number, "energy"
        return
    stored = placement is Placement.STORAGE
    for flow, quantity, part in (
        ("charge" if stored else "import", "energy_import", "forward"),
        ("discharge" if stored else "export", "energy_export", "returned"),
    ):
        for number in numbers.get(quantity, ()):
            yield flow, number, "energy"
        if quantity not in numbers:
            for number in numbers.get("active_power", ()):
                yield flow, number, part

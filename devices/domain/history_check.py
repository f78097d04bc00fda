"""The dry run of an import of history: what a file says, where it goes, and what it would change.

The same functions prepare what is stored afterwards, so that both say the same. Needs an open scope
that contains the tenant and is not narrowed to facilities.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import numpy as np
from django.db import transaction

from devices.domain import history_files, history_plan, history_write
from devices.domain.history_plan import KnownChannel, KnownDevice, Target, Wishes
from devices.domain.history_write import Column, Compared
from devices.domain.imports_check import WrongState
from devices.files.content import Content, Instants, MeterFile, Reads
from devices.files.figures import figures_of
from devices.files.mapping import MappingError, mapping_from
from devices.files.problems import NotAMeterFileError
from devices.files.reading import read_meter_file
from devices.files.steps import NotExactError, Samples, joined
from devices.models import FROM_FILES, Device, Facility, HistoryImport, HistoryState
from devices.telemetry.periods import Resolution, edges
from devices.telemetry.segment_store import milliseconds

# Days without values, and problems, that a report lists; the others it counts.
LISTED_DAYS: Final = 40
LISTED_PROBLEMS: Final = 200


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A stream that is taken in: its readings, without those beyond the limits of the channel
    (`beyond`) and those of the future (`future`).
    """

    target: Target
    samples: Samples
    beyond: int
    future: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A file, read and planned."""

    file: MeterFile
    targets: tuple[Target, ...]
    taken: tuple[Taken, ...]

    def columns(self, serial: str) -> list[Column]:
        """What is written of one device."""
        found: dict[int, list[Taken]] = {}
        for one in self.taken:
            if one.target.serial == serial and one.target.number is not None:
                found.setdefault(one.target.number, []).append(one)
        return [
            Column(number, some[0].target.quality_number, joined([one.samples for one in some]))
            for number, some in sorted(found.items())
        ]

    @property
    def serials(self) -> list[str]:
        """Of the devices that anything is written of."""
        return sorted({one.target.serial for one in self.taken})


def locked(run_id: int, *states: HistoryState) -> HistoryImport:
    """The import, locked; raises WrongState when it is at another step."""
    run = HistoryImport.objects.select_for_update().get(pk=run_id)
    if run.state not in states:
        state = HistoryState(run.state).label.lower()
        raise WrongState(f"The import has gone on meanwhile: it is {state} now.")
    return run


def read(run: HistoryImport) -> MeterFile:
    """What the file of an import says. Raises NotAMeterFileError and MappingError."""
    mapping = mapping_from(run.mapping) if run.mapping is not None else None
    data = history_files.content_of(run.file_id)
    return read_meter_file(data, name=run.file_name, mapping=mapping)


def prepare(run: HistoryImport, file: MeterFile, *, now: datetime) -> Prepared:
    """Where the streams go by what is there now, and their readings until `now`."""
    wishes = wishes_of(run)
    known = known_devices(run.tenant_id, history_plan.serials_of(file.streams, wishes))
    targets = history_plan.plan(file.streams, known, wishes)
    return taken_from(file, targets, now=now)


def taken_from(file: MeterFile, targets: Sequence[Target], *, now: datetime) -> Prepared:
    """The readings of the streams with the given targets."""
    until = milliseconds(now.replace(microsecond=0))
    told: list[Target] = []
    taken: list[Taken] = []
    for target in targets:
        stream, content = next(
            (stream, content) for stream, content in file.streams.items() if target.is_for(stream)
        )
        del stream
        if target.refused:
            told.append(target)
            continue
        one = _taken(target, content, until)
        others = [
            other.samples
            for other in taken
            if (other.target.serial, other.target.number) == (target.serial, target.number)
        ]
        try:
            joined([*others, one.samples])
        except NotExactError as error:
            told.append(replace(target, refused=str(error)))
            continue
        told.append(target)
        if len(one.samples):
            taken.append(one)
    return Prepared(file, tuple(told), tuple(taken))


def _taken(target: Target, content: Content, until: int) -> Taken:
    samples = history_plan.samples_for(target, content)
    resolution = Decimal(target.resolution)
    least, most = (int(Decimal(limit) / resolution) for limit in (target.minimum, target.maximum))
    inside = (samples.raw >= least) & (samples.raw <= most)
    # An interval counts once it is over.
    length = 0 if isinstance(content, Reads | Instants) else target.step_ms
    past = samples.times + length <= until
    kept = inside & past
    return Taken(
        target,
        Samples(samples.times[kept], samples.raw[kept], samples.quality[kept]),
        beyond=int((~inside).sum()),
        future=int((inside & ~past).sum()),
    )


def known_devices(tenant_id: int, serials: set[str]) -> dict[str, KnownDevice]:
    """Devices of a tenant by serial number; two queries."""
    devices = (
        Device.objects.filter(tenant_id=tenant_id, serial__in=serials)
        .select_related("device_type")
        .prefetch_related("channels")
    )
    return {
        one.serial: KnownDevice(
            device_id=one.pk,
            serial=one.serial,
            facility_id=one.facility_id,
            step_ms=one.device_type.step_ms,
            from_files=FROM_FILES in one.device_type.capabilities,
            channels=tuple(
                KnownChannel(
                    channel.number, channel.key, channel.quantity, channel.unit,
                    channel.resolution.normalize(), channel.minimum, channel.maximum,
                )
                for channel in one.channels.all()
            ),
        )
        for one in devices
    }  # fmt: skip


def wishes_of(run: HistoryImport) -> Wishes:
    """What was wished of an import."""
    options = run.options
    return Wishes(
        placement=options.get("placement", "mains"),
        serials=dict(options.get("serials", {})),
        left_out=tuple(options.get("left_out", ())),
    )


@transaction.atomic
def check(
    *,
    run_id: int,
    mapping: dict[str, Any] | None,
    facility_id: int | None,
    wishes: Wishes,
    now: datetime,
) -> HistoryImport:
    """The dry run: what is in the file, where it would go and what it would change.

    It can be repeated. Raises WrongState once the import runs, MappingError for a mapping that
    cannot be used, Facility.DoesNotExist.
    """
    run = locked(run_id, HistoryState.UPLOADED, HistoryState.CHECKED)
    if mapping is not None:
        mapping_from(mapping)
    run.mapping = mapping
    run.facility = (
        None
        if facility_id is None
        else Facility.objects.get(pk=facility_id, tenant_id=run.tenant_id)
    )
    run.options = json.loads(json.dumps(asdict(wishes)))
    run.plan = []
    try:
        prepared = prepare(run, read(run), now=now)
    except (NotAMeterFileError, MappingError) as error:
        code = error.code if isinstance(error, NotAMeterFileError) else "mapping"
        run.state = HistoryState.UPLOADED
        run.report = {"error": str(error), "code": code}
    else:
        run.state, run.checked_at = HistoryState.CHECKED, now
        run.report = _report(run, prepared)
        run.plan = [target.document() for target in prepared.targets]
    run.save(
        update_fields=["mapping", "facility", "options", "plan", "state", "report", "checked_at"]
    )
    return run


def _report(run: HistoryImport, prepared: Prepared) -> dict[str, Any]:
    file = prepared.file
    zones = _zones(run, prepared.targets)
    taken = {id(one.target): one for one in prepared.taken}
    met = {serial: _met(prepared, serial) for serial in prepared.serials}
    return {
        "format": file.format,
        "acceptable": file.acceptable,
        "streams": [
            _stream(target, file, taken.get(id(target)), zones) for target in prepared.targets
        ],
        "devices": {serial: asdict(compared) for serial, compared in met.items()},
        "problems": [asdict(one) for one in file.problems[:LISTED_PROBLEMS]],
        "more_problems": file.more_problems + max(0, len(file.problems) - LISTED_PROBLEMS),
        "ignored": dict(file.ignored),
    }


def _met(prepared: Prepared, serial: str) -> Compared:
    device_id = next(one.target.device_id for one in prepared.taken if one.target.serial == serial)
    columns = prepared.columns(serial)
    if device_id is None:
        return Compared(new=sum(len(column.samples) for column in columns))
    return history_write.compare(device_id, columns)


def _stream(
    target: Target, file: MeterFile, taken: Taken | None, zones: Mapping[str, str]
) -> dict[str, Any]:
    content = next(one for stream, one in file.streams.items() if target.is_for(stream))
    days = _days_without(taken, zones.get(target.serial, "UTC"))
    return {
        "label": target.label,
        "meter": target.meter,
        "serial": target.serial,
        "device": target.device_id,
        "channel": target.key,
        "unit": target.unit,
        "refused": target.refused,
        "figures": figures_of(content).document(),
        "beyond": taken.beyond if taken else 0,
        "future": taken.future if taken else 0,
        "days_without": days[:LISTED_DAYS],
        "more_days_without": max(0, len(days) - LISTED_DAYS),
    }


def _zones(run: HistoryImport, targets: Sequence[Target]) -> dict[str, str]:
    """The time zone of each device: that of its facility; two queries."""
    there = Device.objects.filter(serial__in={one.serial for one in targets})
    zones = dict(there.values_list("serial", "facility__time_zone"))
    new = run.facility.time_zone if run.facility is not None else "UTC"
    return {one.serial: zones.get(one.serial, new) for one in targets}


def _days_without(taken: Taken | None, zone: str) -> list[str]:
    """The local days between first and last reading of which any interval is missing."""
    if taken is None or not taken.target.energy:
        return []
    times, step = taken.samples.times, taken.target.step_ms
    first, last = int(times[0]), int(times[-1]) + step
    borders = edges(Resolution.DAY, first, last, ZoneInfo(zone))
    begins = np.maximum(borders[:-1], first)
    lengths = np.minimum(borders[1:], last) - begins
    place = np.clip(np.searchsorted(borders, times, side="right") - 1, 0, len(lengths) - 1)
    covered = np.bincount(place, minlength=len(lengths)) * step
    # A step that begins in one day and ends in the next belongs to the first.
    short = np.flatnonzero((lengths - covered >= step) & (lengths > 0))
    return [
        datetime.fromtimestamp(int(begins[i]) / 1000, UTC)
        .astimezone(ZoneInfo(zone))
        .date()
        .isoformat()
        for i in short.tolist()
    ]

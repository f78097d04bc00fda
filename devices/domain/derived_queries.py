"""Derived channels as pages and clients show them; what a formula would give before it is saved.

Every function needs an open scope, and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

from django.db import connection

from devices.domain.catalogue import ChannelNotFound, Page
from devices.domain.derived_check import accepted
from devices.domain.derived_definitions import (
    FOR_EVER_MS,
    Definitions,
    Part,
    Stretch,
    definitions_of,
)
from devices.domain.derived_names import Named, Names, names_for
from devices.domain.derived_operations import STEPS
from devices.domain.derived_readings import Derivations, Window, read_derived
from devices.domain.derived_ready_made import offered_for
from devices.domain.queries import DeviceNotFound
from devices.domain.series_bounds import MOST_RAW_HOURS
from devices.formulas.errors import EvaluationError, FormulaError
from devices.formulas.formula import Formula
from devices.formulas.grammar import parse_tree
from devices.formulas.ready_made import ReadyMade
from devices.formulas.tree import canonical, renamed
from devices.models import Channel, Device, FormulaVersion
from devices.quantities import QUANTITIES
from devices.telemetry import derived_store
from devices.telemetry.periods import DAY_MS
from devices.telemetry.rollup_samples import Kind, Series, reach_ms
from devices.telemetry.segment import HOUR_MS, concatenated
from devices.telemetry.segment_store import milliseconds
from devices.telemetry.series import Curve, curve_of, thinned

Entry = TypeVar("Entry")

_POINTS: Final = 400
# Of a preview: no stored version and no stored channel has it.
_NONE: Final = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A device and where it stands."""

    device_id: int
    device_name: str
    facility_id: int
    facility_name: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class DerivedEntry:
    """A derived channel; `text` is the formula that holds now, as its channels are called today,
    empty where none does. `due`: the period that is still to be computed.
    """

    channel_id: int
    key: str
    name: str
    quantity: str
    unit: str
    resolution: Decimal
    text: str
    since: datetime | None
    due: tuple[datetime, datetime] | None


@dataclass(frozen=True, slots=True)
class DerivedPage:
    """The derived channels of a device, what is offered beside, and what formulas may use."""

    place: Place
    channels: Sequence[DerivedEntry]
    offered: Sequence[ReadyMade]
    names: Sequence[Named]


@dataclass(frozen=True, slots=True)
class VersionEntry:
    """A version: from when it holds, since when it is known, by whom and why; `counts`: no later
    one with the same date has taken its place.
    """

    version_id: int
    valid_from: datetime
    known_at: datetime
    author: str
    reason: str
    text: str
    counts: bool


@dataclass(frozen=True, slots=True)
class FormulaPage:
    """A derived channel with its versions, the newest knowledge first."""

    place: Place
    channel: DerivedEntry
    versions: Sequence[VersionEntry]
    names: Sequence[Named]


@dataclass(frozen=True, slots=True)
class Preview:
    """What a formula is and would give: `unit` and `curve` (of the last day with readings), or
    `error` with the place in the text that it is about. `zone`: of the facility.
    """

    zone: str
    text: str = ""
    unit: str = ""
    curve: Curve | None = None
    error: str = ""
    position: int | None = None


def derived_channels(*, device_id: int, now: datetime) -> DerivedPage:
    """The derived channels of a device; six queries. Raises DeviceNotFound."""
    device = _device(device_id)
    names = names_for(device)
    channels = list(device.channels.filter(derived=True).order_by("-number"))
    return DerivedPage(
        place=_place(device),
        channels=_entries(channels, names, now),
        offered=offered_for(device),
        names=names.offered,
    )


def formula_history(*, channel_id: int, now: datetime) -> FormulaPage:
    """A derived channel with its versions; seven queries. Raises ChannelNotFound."""
    channel = Channel.objects.filter(pk=channel_id, derived=True).first()
    if channel is None:
        raise ChannelNotFound(f"derived channel {channel_id}")
    device = _device(channel.device_id)
    names = names_for(device)
    rows = list(channel.versions.select_related("author").order_by("-known_at", "-pk"))
    newest = {row.valid_from: row.pk for row in reversed(rows)}
    (entry,) = _entries([channel], names, now)
    return FormulaPage(
        place=_place(device),
        channel=entry,
        versions=[
            VersionEntry(
                version_id=row.pk,
                valid_from=row.valid_from,
                known_at=row.known_at,
                author="" if row.author is None else str(row.author),
                reason=row.reason,
                text=_text(row, names),
                counts=newest[row.valid_from] == row.pk,
            )
            for row in rows
        ],
        names=names.offered,
    )


def derived_page(
    *, device_id: int, limit: int, after: int = 0, now: datetime
) -> Page[DerivedEntry]:
    """Derived channels of a device by id. Raises DeviceNotFound."""
    found = derived_channels(device_id=device_id, now=now)
    entries = sorted(found.channels, key=lambda one: one.channel_id)
    return _page(entries, lambda one: one.channel_id, limit, after)


def derived_entry(*, channel_id: int, now: datetime) -> DerivedEntry:
    """One derived channel. Raises ChannelNotFound."""
    return formula_history(channel_id=channel_id, now=now).channel


def version_page(
    *, channel_id: int, limit: int, after: int = 0, now: datetime
) -> Page[VersionEntry]:
    """Versions of a channel's formula by id. Raises ChannelNotFound."""
    found = formula_history(channel_id=channel_id, now=now)
    entries = sorted(found.versions, key=lambda one: one.version_id)
    return _page(entries, lambda one: one.version_id, limit, after)


def _page(
    entries: Sequence[Entry], number: Callable[[Entry], int], limit: int, after: int
) -> Page[Entry]:
    left = [one for one in entries if number(one) > after]
    more = len(left) > limit
    return Page(tuple(left[:limit]), number(left[limit - 1]) if more else None)


def preview(
    *,
    device_id: int,
    text: str,
    quantity: str,
    now: datetime,
    channel_id: int | None = None,
) -> Preview:
    """What a formula of a device would give in the last day with readings; nothing is kept.

    Raises DeviceNotFound.
    """
    device = _device(device_id)
    names = names_for(device)
    unit = QUANTITIES[quantity].unit if quantity in QUANTITIES else None
    try:
        checked = accepted(names, text, unit, channel_id=channel_id)
        formula = Formula.parse(checked.text, names.units, checked.unit)
    except FormulaError as error:
        return Preview(device.facility.time_zone, error=str(error), position=error.position)
    inputs = dict(zip(checked.names, checked.inputs, strict=True))
    try:
        curve = _curve(device, formula, inputs, now)
    except EvaluationError as error:
        return Preview(device.facility.time_zone, checked.text, checked.unit, error=str(error))
    return Preview(device.facility.time_zone, checked.text, checked.unit, curve)


def _curve(
    device: Device, formula: Formula, inputs: Mapping[str, int], now: datetime
) -> Curve | None:
    """The values of a formula that is not kept, in the last day with readings."""
    below = definitions_of(inputs.values())
    measured = below.measured_of(inputs.values())
    devices = sorted({below.parts[one].device_id for one in measured})
    known = derived_store.measured(connection, devices)
    if known is None:
        return None
    end_ms = milliseconds(min(known[1], now).replace(microsecond=0)) + 1_000
    length = min(DAY_MS, MOST_RAW_HOURS * HOUR_MS // max(1, len(measured)))
    window = Window(end_ms - length, end_ms)
    parts = [below.parts[one] for one in inputs.values()]
    stretch = Stretch(
        version_id=_NONE,
        start_ms=window.start_ms,
        end_ms=FOR_EVER_MS,
        formula=formula,
        inputs=inputs,
        step_ms=min(part.step_ms for part in parts),
        reach_ms=formula.levels * reach_ms(max(part.step_ms for part in parts)),
    )
    step = STEPS.get(formula.unit, Decimal("0.0001"))
    own = Part(
        _NONE, device.tenant_id, device.pk, device.facility_id, 0, "", formula.unit, step,
        -step * (1 << 53), step * (1 << 53), False, True, stretch.step_ms,
        device.facility.time_zone,
    )  # fmt: skip
    definitions = Definitions(
        {**below.parts, _NONE: own}, {**below.stretches, _NONE: [stretch]}, [*below.order, _NONE]
    )
    pieces = read_derived(Derivations(definitions), {_NONE: window})[_NONE]
    readings = concatenated([piece for _, piece in pieces])
    series = Series(device.pk, 0, step, Kind.NONE, stretch.step_ms)
    return thinned(curve_of(readings, series), _POINTS)


def _device(device_id: int) -> Device:
    device = Device.objects.select_related("facility", "device_type").filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound(f"device {device_id}")
    return device


def _place(device: Device) -> Place:
    return Place(
        device_id=device.pk,
        device_name=device.name,
        facility_id=device.facility_id,
        facility_name=device.facility.name,
        time_zone=device.facility.time_zone,
    )


def _entries(channels: Sequence[Channel], names: Names, now: datetime) -> list[DerivedEntry]:
    ids = [channel.pk for channel in channels]
    holding: dict[int, FormulaVersion] = {}
    rows = FormulaVersion.objects.filter(channel_id__in=ids, valid_from__lte=now)
    for row in rows.order_by("valid_from", "known_at", "pk"):
        holding[row.channel_id] = row
    due = derived_store.left(connection, ids)
    return [
        DerivedEntry(
            channel_id=channel.pk,
            key=channel.key,
            name=channel.name,
            quantity=channel.quantity,
            unit=channel.unit,
            resolution=channel.resolution,
            text=_text(holding[channel.pk], names) if channel.pk in holding else "",
            since=holding[channel.pk].valid_from if channel.pk in holding else None,
            due=due.get(channel.pk),
        )
        for channel in channels
    ]


def _text(version: FormulaVersion, names: Names) -> str:
    """A formula with its channels as they are called today."""
    if not version.text:
        return ""
    today = {
        written: current
        for written, channel_id in zip(version.names, version.inputs, strict=True)
        if (current := names.name_of(channel_id)) is not None
    }
    return canonical(renamed(parse_tree(version.text), today))

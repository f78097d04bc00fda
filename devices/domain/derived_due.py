"""What has changed below derived channels: asked for where readings are rolled up, in the same
transaction, and done by `derived_rollups`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from django.db import connection

from devices.models import FormulaVersion
from devices.telemetry import derived_store
from devices.telemetry.derived_store import Due
from devices.telemetry.rollup import QUARTER_MS

# (start, end) in ms since the Unix epoch.
Periods = Sequence[tuple[int, int]]


def readings_changed(periods: Iterable[tuple[int, int, int]]) -> None:
    """Readings of (device, from, to), in ms since the Unix epoch, are new or others than before.

    One query where nothing is derived from the devices.
    """
    by_device: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for device_id, start_ms, end_ms in periods:
        by_device[device_id].append((start_ms, end_ms + 1))
    if by_device:
        _ask(by_device, {})


def derived_changed(device_id: int, channel_id: int, periods: Periods) -> None:
    """Values of a derived channel have changed beyond what its inputs explain."""
    _ask({device_id: periods}, {channel_id: periods})


def _ask(by_device: Mapping[int, Periods], known: Mapping[int, Periods]) -> None:
    """Ask for all that is computed from devices, and from what is computed from them.

    `known`: the derived channels that changed; where there are none, readings of the devices did.
    """
    affected: dict[int, list[tuple[int, int]]] = {one: list(known[one]) for one in known}
    frontier = {device_id: list(periods) for device_id, periods in by_device.items()}
    first = not known
    while frontier:
        rows = FormulaVersion.objects.filter(devices__overlap=list(frontier)).values_list(
            "channel_id", "device_id", "inputs", "devices"
        )
        fresh: dict[int, list[tuple[int, int]]] = {}
        owners = {}
        for channel_id, device_id, inputs, devices in rows.distinct():
            if channel_id in affected:
                continue
            if first:
                sources = [frontier[one] for one in devices if one in frontier]
            else:
                sources = [affected[one] for one in inputs if one in affected]
            if sources:
                owners[channel_id] = device_id
                fresh.setdefault(channel_id, []).extend(each for some in sources for each in some)
        affected |= {channel_id: merged(periods) for channel_id, periods in fresh.items()}
        frontier = {owners[channel_id]: affected[channel_id] for channel_id in fresh}
        first = False
    derived_store.ask(
        connection,
        [
            Due(0, channel_id, start_ms, end_ms)
            for channel_id, periods in affected.items()
            if channel_id not in known
            for start_ms, end_ms in periods
        ],
    )


def merged(periods: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Periods in order, those that lie less than a quarter of an hour apart as one."""
    found: list[tuple[int, int]] = []
    for start_ms, end_ms in sorted(periods):
        if found and start_ms - found[-1][1] < QUARTER_MS:
            found[-1] = (found[-1][0], max(found[-1][1], end_ms))
        else:
            found.append((start_ms, end_ms))
    return found

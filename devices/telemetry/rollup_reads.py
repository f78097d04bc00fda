"""Reading roll-ups: quarters of an hour of facilities and of devices.

Every function takes an open Django connection and sees what the wall lets it see.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import isnan
from typing import Final, NamedTuple

import numpy as np
from django.db.backends.base.base import BaseDatabaseWrapper

from devices.telemetry.quarter_reads import Span, read_quarters
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_codec import NUMBERS
from devices.telemetry.segment_store import milliseconds, moment

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class FacilityQuarter(NamedTuple):
    """What a facility used in a quarter, in Wh; None where nothing measures it.

    `covered`: the sum over its devices of the part of the quarter in which each was measured.
    """

    facility_id: int
    starts_at: datetime
    import_wh: float | None
    export_wh: float | None
    generation_wh: float | None
    charge_wh: float | None
    discharge_wh: float | None
    covered: float


def facility_quarters(
    connection: BaseDatabaseWrapper,
    facility_ids: Sequence[int],
    start: datetime,
    end: datetime,
) -> list[FacilityQuarter]:
    """The quarters of some facilities that begin in [start, end), by facility and start."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT facility_id, starts_at, import_wh, export_wh, generation_wh, charge_wh,"
            " discharge_wh, covered FROM facility_15m"
            " WHERE facility_id = ANY(%s) AND starts_at >= %s AND starts_at < %s"
            " ORDER BY facility_id, starts_at",
            [list(facility_ids), start, end],
        )
        return list(map(FacilityQuarter._make, cursor.fetchall()))


class DeviceQuarter(NamedTuple):
    """The roll-up of a channel in a quarter that other modules ask for."""

    device_id: int
    channel: int
    starts_at: datetime
    n: int
    mean: float
    energy_wh: float | None
    returned_wh: float | None
    coverage: float


def device_quarters(
    connection: BaseDatabaseWrapper, device_ids: Sequence[int], start: datetime, end: datetime
) -> list[DeviceQuarter]:
    """The roll-ups of some devices that begin in [start, end), by device, channel and start."""
    spans = [Span(one, milliseconds(start), milliseconds(end)) for one in sorted(set(device_ids))]
    found = read_quarters(connection, spans)
    devices, channels = np.divmod(found.series, NUMBERS)
    return [
        DeviceQuarter(device, channel, moment(at), n, mean, _known(energy), _known(back), coverage)
        for device, channel, at, n, mean, energy, back, coverage in zip(
            *(
                column.tolist()
                for column in (
                    devices, channels, found.starts, found.n, found.mean, found.energy,
                    found.returned, found.coverage,
                )
            ),
            strict=True,
        )
    ]  # fmt: skip


def _known(value: float) -> float | None:
    return None if isnan(value) else value


def quarter_of(moment: datetime) -> datetime:
    """The start of the quarter of an hour that holds a moment."""
    return moment - (moment - _EPOCH) % QUARTER

"""What the meters of the demo counted before they were there: a file of readings, imported.

The devices of the demo begin two days before it was made. For bills their registers are needed for
the two full months before. The model that plays the devices says what they would have counted; the
file goes the way of every meter data file, and stays as evidence of what was billed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from django.conf import settings
from django.core.exceptions import ValidationError

from devices import tasks
from devices.domain import history_check, history_imports
from devices.domain.history_plan import Wishes
from devices.models import HistoryImport, HistoryState
from devices.simulator import keyring
from devices.simulator.model.chance import Int64s
from devices.simulator.model.loads import STEP_S
from devices.simulator.model.site import HOUR_S
from devices.simulator.park import FACILITIES, ParkDevice, ParkFacility
from tenants.domain.queries import all_tenant_ids
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

# Registers that are read each minute tell of every quarter of an hour that it was measured.
READ_EVERY_S: Final = 60
_TIME: Final = "time"


@dataclass(frozen=True, slots=True)
class Timeline:
    """When what of the demo is: `epoch_s` (s since the Unix epoch, a midnight in UTC) is the first
    reading of its devices.
    """

    epoch_s: int

    @property
    def months(self) -> tuple[date, date]:
        """The first days of the two full months before the epoch, the earlier one first."""
        last = _month_before(datetime.fromtimestamp(self.epoch_s, UTC).date())
        return _month_before(last), last

    @property
    def first_s(self) -> int:
        """From when on readings are made up: the day before the months, so that each has its first
        quarter in every zone.
        """
        begin = datetime.combine(self.months[0], datetime.min.time(), UTC) - timedelta(days=1)
        return round(begin.timestamp())

    @property
    def today(self) -> date:
        """The first day of which the devices themselves have told all, in every zone."""
        return datetime.fromtimestamp(self.epoch_s, UTC).date() + timedelta(days=1)


def timeline() -> Timeline | None:
    """That of this installation's demo; None where there is none. Raises KeyringError."""
    epoch_s = keyring.load(settings.HOME / "demo.json").get("epoch_s")
    return None if epoch_s is None else Timeline(int(epoch_s))


@dataclass(frozen=True, slots=True)
class Counter:
    """A register of a device, by the key of its channel."""

    serial: str
    key: str

    @property
    def heading(self) -> str:
        """What its column is called."""
        return f"{self.serial} {self.key} (Wh)"


def counted(
    facility: ParkFacility,
    counters: Sequence[Counter],
    *,
    first_s: int,
    epoch_s: int,
    stopped: Callable[[], bool] = lambda: False,
) -> dict[Counter, Int64s]:
    """Readings (n,) in Wh of registers of a facility at each minute of [first_s, epoch_s).

    They go on at the epoch without a step. What would lie below zero, because the register has not
    counted that much yet, is -1: no reading. Empty when `stopped` said so meanwhile.
    """
    devices = {device.serial: device for device in facility.devices}
    places = {one: _place(devices[one.serial], one.key) for one in counters}
    past = facility.site(first_s)
    parts: dict[Counter, list[Int64s]] = {one: [] for one in counters}
    for number in range(first_s // HOUR_S, epoch_s // HOUR_S):
        if stopped():
            return {}
        hour = past.hour(number)
        for one, (meter, channel) in places.items():
            parts[one].append(hour[meter][channel, :: READ_EVERY_S // STEP_S])
    end = past.hour(epoch_s // HOUR_S)
    begin = facility.site(epoch_s).hour(epoch_s // HOUR_S)
    found = {}
    for one, (meter, channel) in places.items():
        readings = np.concatenate(parts[one])
        readings = readings + (begin[meter][channel, 0] - end[meter][channel, 0])
        found[one] = np.where(readings < 0, -1, readings)
    return found


def file_of(columns: dict[Counter, Int64s], *, first_s: int) -> bytes:
    """Readings as a Parquet file with a column for each register, headed as imports read it."""
    count = len(next(iter(columns.values())))
    times = (np.arange(count, dtype=np.int64) * READ_EVERY_S + first_s) * 1_000_000
    table = pa.table(
        {_TIME: pa.array(times, pa.timestamp("us", "UTC"))}
        | {
            one.heading: pa.array(readings, pa.int64(), mask=readings < 0)
            for one, readings in columns.items()
        }
    )
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def mapping_of(columns: Sequence[Counter]) -> dict[str, Any]:
    """What the columns of the file mean."""
    values = [{"column": one.heading} for one in columns]
    return {"time": _TIME, "stamp": "instant", "zone": "UTC", "values": values}


@dataclass(slots=True)
class Past:
    """Somebody brings in what the meters of a tenant counted before. One facility is worked out at
    a time, so that nothing else of the demo waits for it; not to its end when `stopped` says so.
    """

    name: str
    tenant: str
    by: Callable[[], int]
    counters: tuple[Counter, ...]
    facilities: tuple[ParkFacility, ...] = FACILITIES
    stopped: Callable[[], bool] = lambda: False
    _made: dict[Counter, Int64s] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """By which the import is known again."""
        return f"{self.name}.parquet"

    def go_on(self, now: datetime) -> bool:
        """Do the next part; whether all is stored, now or earlier. Raises as imports do."""
        at = timeline()
        if at is None:
            return True
        with open_scope(Scope(all_tenant_ids())):
            tenant_id = Tenant.objects.get(slug=self.tenant).pk
        with open_scope(Scope((tenant_id,))):
            run = HistoryImport.objects.filter(file_name=self.file_name).order_by("pk").last()
            state = None if run is None else run.state
        if run is not None and state in (HistoryState.RUNNING, HistoryState.FINISHED):
            return state == HistoryState.FINISHED
        if self._work_out(at):
            return False
        run_id = self._begun(tenant_id, at, now)
        # After the commit, as every import. A worker that dies is followed by another one.
        tasks.import_history.delay(tenant_id=tenant_id, run_id=run_id)
        self._made.clear()
        return False

    def _work_out(self, at: Timeline) -> bool:
        """Whether there was a facility still to be worked out."""
        for facility in self.facilities:
            serials = {device.serial for device in facility.devices}
            own = [one for one in self.counters if one.serial in serials]
            if own and own[0] not in self._made:
                self._made |= counted(
                    facility,
                    own,
                    first_s=at.first_s,
                    epoch_s=at.epoch_s,
                    stopped=self.stopped,
                )
                return True
        return False

    def _begun(self, tenant_id: int, at: Timeline, now: datetime) -> int:
        columns = {one: self._made[one] for one in self.counters if one in self._made}
        content = file_of(columns, first_s=at.first_s)
        with open_scope(Scope((tenant_id,))):
            actor_id = self.by()
            run = history_imports.upload(
                tenant_id=tenant_id,
                file_name=self.file_name,
                content=content,
                language="de",
                actor_id=actor_id,
            )
            run = history_check.check(
                run_id=run.pk,
                mapping=mapping_of(list(columns)),
                facility_id=None,
                wishes=Wishes(),
                now=now,
            )
            if "error" in run.report:
                raise ValidationError(run.report["error"])
            for stream in run.report["streams"]:
                if stream["refused"]:
                    raise ValidationError(stream["refused"])
            history_imports.start(run_id=run.pk, now=now, actor_id=actor_id)
            return run.pk


def _place(device: ParkDevice, key: str) -> tuple[str, int]:
    """Meter and channel in the model."""
    return device.meter, device.type.number(key)


def _month_before(day: date) -> date:
    return (day.replace(day=1) - timedelta(days=1)).replace(day=1)

"""Imports of history: a file is kept, checked, and then stored in the background.

A part (a device and a month) is stored in the transaction that marks it done, so that an import
which was killed goes on where it was. The same file once more changes nothing.

Needs an open scope that contains the tenant and is not narrowed to facilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum

from devices.domain import history_check, history_files, history_write, operations
from devices.domain.history_check import Prepared, locked
from devices.domain.history_plan import MAX_CHANNEL_NUMBER, Target, quality_key
from devices.domain.history_write import Column, Compared, FramesPendingError
from devices.domain.imports_check import WrongState
from devices.domain.registry_refusals import told_at_fields
from devices.files.content import Quality
from devices.models import (
    FROM_FILES,
    Channel,
    Device,
    DeviceType,
    HistoryImport,
    HistoryImportPart,
    HistoryState,
    Placement,
)
from devices.telemetry.segment_store import moment
from tenants.domain.audit import record, snapshot

# What one transaction stores: hours of a month, each of which is a segment.
PART_MS: Final = 31 * 24 * 3_600_000
# An import that has not moved for so long has lost its worker.
STALLED: Final = timedelta(minutes=2)
# A file that nobody had stored is forgotten.
ABANDONED: Final = timedelta(days=7)


def upload(
    *,
    tenant_id: int,
    file_name: str,
    content: bytes,
    language: str,
    actor_id: int | None,
) -> HistoryImport:
    """Take in a file. Raises history_files.TooLargeError."""
    return HistoryImport.objects.create(
        tenant_id=tenant_id,
        file=history_files.keep_file(tenant_id=tenant_id, data=content),
        file_name=file_name[-200:],
        created_by_id=actor_id,
        language=language,
    )


@transaction.atomic
def start(*, run_id: int, now: datetime, actor_id: int | None) -> HistoryImport:
    """Take in new meters and let the readings be stored; the entry point starts the task after
    commit.

    Raises WrongState when there is nothing to be stored or the park has changed since the check,
    ValidationError for a meter that cannot be registered.
    """
    run = locked(run_id, HistoryState.CHECKED)
    if not run.report.get("acceptable"):
        raise WrongState("The file as a whole must not be imported. Its report says why.")
    prepared = history_check.prepare(run, history_check.read(run), now=now)
    if [one.document() for one in prepared.targets] != run.plan:
        raise WrongState("The park has changed since the check. Check the file again.")
    if not prepared.taken:
        raise WrongState("Nothing in the file can be stored. Its report says why.")
    targets = _registered(run, prepared, actor_id)
    prepared = history_check.taken_from(prepared.file, targets, now=now)
    run.plan = [one.document() for one in targets]
    run.state, run.started_at, run.advanced_at = HistoryState.RUNNING, now, now
    run.started_by_id = actor_id
    run.save(update_fields=["plan", "state", "started_at", "started_by", "advanced_at"])
    HistoryImportPart.objects.bulk_create(_parts(run, prepared))
    record(
        tenant_id=run.tenant_id,
        actor_id=actor_id,
        action="history_import.start",
        subject=run,
        after={
            "file": run.file_name,
            "sha256": bytes(run.file.sha256).hex(),
            "devices": prepared.serials,
        },
    )
    return run


def _parts(run: HistoryImport, prepared: Prepared) -> list[HistoryImportPart]:
    found = []
    for serial in prepared.serials:
        device_id = _device_of(prepared, serial)
        times = np.concatenate([one.samples.times for one in prepared.columns(serial)])
        found += [
            HistoryImportPart(
                tenant_id=run.tenant_id,
                run=run,
                device_id=device_id,
                starts_at=moment(part * PART_MS),
                ends_at=moment((part + 1) * PART_MS),
            )
            for part in np.unique(times // PART_MS).tolist()
        ]
    return found


def _device_of(prepared: Prepared, serial: str) -> int:
    device_id = next(one.target.device_id for one in prepared.taken if one.target.serial == serial)
    assert device_id is not None  # the start has registered it
    return device_id


def _registered(run: HistoryImport, prepared: Prepared, actor_id: int | None) -> list[Target]:
    """The targets with the devices and channels that were missing."""
    wanted = {id(one.target) for one in prepared.taken}
    devices: dict[str, Device] = {
        one.serial: one
        for one in Device.objects.filter(
            tenant_id=run.tenant_id, serial__in=prepared.serials
        ).order_by("pk")
    }
    made: set[tuple[int, int]] = set(
        Channel.objects.filter(device__in=devices.values()).values_list("device_id", "number")
    )
    targets = []
    for target in prepared.targets:
        if id(target) not in wanted:
            targets.append(target)
            continue
        device = devices.get(target.serial)
        if device is None:
            device = devices[target.serial] = _new_meter(run, target, actor_id)
        for channel in _channels(device, target):
            if (device.pk, channel.number) not in made:
                _add_channel(channel, actor_id)
                made.add((device.pk, channel.number))
        targets.append(replace(target, device_id=device.pk))
    return targets


def _new_meter(run: HistoryImport, target: Target, actor_id: int | None) -> Device:
    if run.facility_id is None:
        raise ValidationError({"facility": ["Choose the facility of the meters that are new."]})
    placement = Placement(history_check.wishes_of(run).placement)
    with told_at_fields("device"):
        return operations.register_device(
            tenant_id=run.tenant_id,
            facility_id=run.facility_id,
            device_type_id=_type(run.tenant_id, target.step_ms, actor_id).pk,
            serial=target.serial,
            name=target.serial,
            placement=placement,
            actor_id=actor_id,
        ).device


def _type(tenant_id: int, step_ms: int, actor_id: int | None) -> DeviceType:
    """The tenant's type of meters whose readings come from files in this step."""
    code = f"meter-file-{step_ms // 1000}s" if step_ms % 1000 == 0 else f"meter-file-{step_ms}ms"
    found = DeviceType.objects.filter(tenant_id=tenant_id, code=code).first()
    if found is not None:
        return found
    return operations.create_device_type(
        tenant_id=tenant_id,
        code=code,
        name=f"Meter data files, {step_ms / 60_000:g} min",
        channels=(),
        step_ms=step_ms,
        capabilities=(FROM_FILES,),
        actor_id=actor_id,
    )


def _channels(device: Device, target: Target) -> list[Channel]:
    """The channels of a stream, as they would be made."""
    assert target.number is not None  # of those that are refused alone there is none
    found = [
        Channel(
            tenant_id=device.tenant_id,
            device=device,
            number=target.number,
            key=target.key,
            name=target.name,
            quantity=target.quantity,
            unit=target.channel_unit,
            resolution=Decimal(target.resolution),
            minimum=Decimal(target.minimum),
            maximum=Decimal(target.maximum),
            # A register that is read every few months would stand in front of the intervals.
            in_total=target.energy,
        )
    ]
    if target.quality_number is not None:
        found.append(
            Channel(
                tenant_id=device.tenant_id,
                device=device,
                number=target.quality_number,
                key=quality_key(target.key),
                name=f"{target.name} (quality)",
                quantity="ratio",
                unit="1",
                resolution=Decimal(1),
                minimum=Decimal(Quality.ACTUAL),
                maximum=Decimal(Quality.NULL),
            )
        )
    return found


def _add_channel(channel: Channel, actor_id: int | None) -> None:
    assert channel.number <= MAX_CHANNEL_NUMBER  # the plan has counted
    channel.clean_fields()
    channel.save(force_insert=True)
    record(
        tenant_id=channel.tenant_id,
        actor_id=actor_id,
        action="channel.create",
        subject=channel,
        after=snapshot(channel),
    )


@dataclass(frozen=True, slots=True)
class Advance:
    """What one step did: the part that it was about, None when no part is left behind the one asked
    for; `waits`: its frames have not become segments yet.
    """

    part_id: int | None
    waits: bool = False


def open_run(run_id: int) -> Prepared | None:
    """A running import, read; None when it does not run (any more)."""
    run = HistoryImport.objects.filter(pk=run_id, state=HistoryState.RUNNING).first()
    if run is None or run.started_at is None:
        return None
    targets = [Target(**one) for one in run.plan]
    return history_check.taken_from(history_check.read(run), targets, now=run.started_at)


@transaction.atomic
def advance(*, run_id: int, prepared: Prepared, now: datetime, after: int = 0) -> Advance:
    """Store the next part behind one; finish the import when none is left.

    Two workers on one import do no harm: who does not get the lock at once leaves it to the other.
    """
    running = HistoryImport.objects.select_for_update(skip_locked=True)
    run = running.filter(pk=run_id, state=HistoryState.RUNNING).first()
    if run is None:
        return Advance(None)
    waiting = run.parts.filter(done_at__isnull=True)
    part = waiting.filter(pk__gt=after).order_by("pk").select_related("device").first()
    run.advanced_at = now
    if part is None:
        if not waiting.exists():
            run.state, run.finished_at = HistoryState.FINISHED, now
            _record_end(run)
        run.save(update_fields=["advanced_at", "state", "finished_at"])
        return Advance(None)
    run.save(update_fields=["advanced_at"])
    try:
        with transaction.atomic():
            _store(part, prepared, now)
    except FramesPendingError:
        return Advance(part.pk, waits=True)
    return Advance(part.pk)


def _store(part: HistoryImportPart, prepared: Prepared, now: datetime) -> None:
    start_ms, end_ms = (round(at.timestamp() * 1000) for at in (part.starts_at, part.ends_at))
    columns = _between(prepared.columns(part.device.serial), start_ms, end_ms)
    found = Compared()
    if columns:
        found = history_write.write(
            tenant_id=part.tenant_id,
            device_id=part.device_id,
            columns=columns,
            now=now,
            import_id=part.run_id,
        )
    part.new, part.changed, part.same, part.done_at = found.new, found.changed, found.same, now
    part.save(update_fields=["new", "changed", "same", "done_at"])


def _between(columns: Sequence[Column], start_ms: int, end_ms: int) -> list[Column]:
    cut = [replace(one, samples=one.samples.between(start_ms, end_ms)) for one in columns]
    return [one for one in cut if len(one.samples)]


def _record_end(run: HistoryImport) -> None:
    record(
        tenant_id=run.tenant_id,
        actor_id=run.started_by_id,
        action="history_import.finish",
        subject=run,
        after=totals(run),
    )


def totals(run: HistoryImport) -> dict[str, Any]:
    """Readings of the parts that are done: new, changed, same."""
    found = run.parts.aggregate(new=Sum("new"), changed=Sum("changed"), same=Sum("same"))
    return {name: count or 0 for name, count in found.items()}


def stalled(*, now: datetime) -> tuple[tuple[int, int], ...]:
    """Imports of the scope whose worker has gone or that wait for frames, as (tenant, import)."""
    rows = HistoryImport.objects.filter(state=HistoryState.RUNNING, advanced_at__lt=now - STALLED)
    return tuple(rows.order_by("pk").values_list("tenant_id", "pk"))


@transaction.atomic
def remove(*, run_id: int, actor_id: int | None) -> None:
    """Forget an import that has stored nothing, with its file unless another one has it too.

    What was stored stays, and so does what tells where it came from. Raises WrongState.
    """
    run = locked(run_id, HistoryState.UPLOADED, HistoryState.CHECKED)
    record(
        tenant_id=run.tenant_id,
        actor_id=actor_id,
        action="history_import.remove",
        subject=run,
        before={"file": run.file_name, "state": run.state},
    )
    file_id = run.file_id
    run.delete()
    history_files.forget_unused(file_id=file_id)


@transaction.atomic
def forget_abandoned(*, now: datetime) -> int:
    """Remove imports of the scope that nobody had stored; returns how many."""
    old = HistoryImport.objects.filter(
        state__in=[HistoryState.UPLOADED, HistoryState.CHECKED], created_at__lt=now - ABANDONED
    )
    files = list(old.values_list("file_id", flat=True))
    count, _by_model = old.delete()
    for file_id in files:
        history_files.forget_unused(file_id=file_id)
    return count

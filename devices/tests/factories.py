"""Data for tests, made by the operations that the product uses.

Call them inside an open scope that contains the tenant. Every name is new, so that tests can run in
any order on one database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from django.db import connection, connections

from devices.domain import (
    derived_operations,
    energy,
    exports,
    flow,
    history_imports,
    holds,
    operations,
    packing,
    retention,
    rollups,
    seals,
)
from devices.domain.claims_code import Code
from devices.domain.exports import Question
from devices.domain.operations import ChannelSpec, Registered
from devices.models import (
    Allocation,
    Channel,
    ClaimCode,
    Command,
    CommandBatch,
    CommandEvent,
    CommandPolicy,
    ConfigurationChange,
    Correction,
    CorrectionWithdrawal,
    DataClass,
    DataExport,
    DataExportPart,
    Device,
    DeviceConfiguration,
    DeviceGroup,
    DeviceGroupMember,
    DeviceState,
    DeviceType,
    ExportFormat,
    ExportResolution,
    Facility,
    FacilityAccess,
    HistoryImport,
    HistoryImportPart,
    Hold,
    ImportKind,
    ImportRow,
    ImportRun,
    Load,
    Outcome,
    Placement,
)
from devices.protocol.data import Block, encode_data
from devices.telemetry import derived_store, redo_store, rollup_store, segment_store
from devices.telemetry.quarter_reads import Span, read_quarters
from devices.telemetry.rollup_codec import DAY_MS, NUMBERS
from devices.telemetry.segment import Readings
from devices.telemetry.segment_codec import encode
from tenants.models import Consent, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import (
    authorization,
    company_login,
    custom_role,
    impersonation,
    invitation,
    look,
    member,
    number,
    operator,
    tenant,
    user,
)
from tenants.tests.trail import audit_may_be_emptied

__all__ = [
    "CHANNELS",
    "START",
    "Branch",
    "Park",
    "branch",
    "derived",
    "device",
    "device_type",
    "facility",
    "frame_body",
    "member",
    "number",
    "operator",
    "park",
    "remove_everything",
    "segment",
    "store_frame",
    "telemetry",
    "tenant",
    "user",
]

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

CHANNELS = (
    ChannelSpec(
        number=0,
        key="active_power",
        name="Active power",
        quantity="active_power",
        resolution=Decimal("0.1"),
        minimum=Decimal(-20_000),
        maximum=Decimal(20_000),
    ),
    ChannelSpec(
        number=1,
        key="voltage",
        name="Voltage",
        quantity="voltage",
        resolution=Decimal("0.01"),
        minimum=Decimal(0),
        maximum=Decimal(300),
    ),
)


def facility(of: Tenant, parent: Facility | None = None) -> Facility:
    """A facility in Berlin's time zone."""
    return operations.create_facility(
        tenant_id=of.pk,
        name=f"Facility {number():06}",
        time_zone="Europe/Berlin",
        parent_id=parent.pk if parent else None,
        actor_id=None,
    )


def device_type(of: Tenant) -> DeviceType:
    """A type with the channels of CHANNELS."""
    return operations.create_device_type(
        tenant_id=of.pk,
        code=f"meter-{number()}",
        name="Meter",
        channels=CHANNELS,
        actor_id=None,
    )


def device(
    at: Facility,
    kind: DeviceType | None = None,
    *,
    state: DeviceState = DeviceState.ACTIVE,
    placement: Placement = Placement.MAINS,
) -> Registered:
    """A registered device with its secret; its type is a new one unless given."""
    n = number()
    return operations.register_device(
        tenant_id=at.tenant_id,
        facility_id=at.pk,
        device_type_id=(kind or device_type(at.tenant)).pk,
        serial=f"WL-{n:06}",
        name=f"Device {n:06}",
        placement=placement,
        state=state,
        actor_id=None,
    )


@dataclass(frozen=True, slots=True)
class Branch:
    """A facility with one row of everything in it, telemetry included."""

    facility: Facility
    device: Device
    channel: Channel
    load: Load
    allocation: Allocation
    access: FacilityAccess


@dataclass(frozen=True, slots=True)
class Park:
    """A tenant with a manager, two branches, and for each of them a consumer who sees only it."""

    tenant: Tenant
    manager: User
    branches: tuple[Branch, Branch]
    consent: Consent
    imported: ImportRun

    @property
    def hold_id(self) -> int:
        """The legal hold of the first branch."""
        with open_scope(self.scope):
            return Hold.objects.get(facility=self.branches[0].facility).pk

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    def consumer(self, branch: int) -> User:
        """The consumer of a branch."""
        return self.branches[branch].access.membership.user


def park() -> Park:
    """A new park. Telemetry is written by the ingest connection, hence committed: use it in tests
    that commit, and remove it with `remove_everything`.
    """
    of = tenant()
    with open_scope(Scope((of.pk,))):
        managing = member(of, Role.MANAGER)
        manager = managing.user
        impersonation(of, managing)
        consent = authorization(of, manager)
        look(of)
        custom_role(of)
        invitation(of)
        company_login(of)
        kind = device_type(of)
        branches = branch(of, kind), branch(of, kind)
        imported = import_run(of)
        retention.set_rules(
            tenant_id=of.pk, wanted={DataClass.LOGS: retention.Own(3653)}, actor_id=None
        )
        history_import(branches[0])
        CommandPolicy.objects.create(tenant=of)
        for one in branches:
            data_export(one)
            command(one.device, batch=True)
    for made in branches:
        telemetry(made.device)
    removal(of)
    with open_scope(Scope((of.pk,))):
        derived([made.device for made in branches])
    return Park(of, manager, branches, consent, imported)


def branch(of: Tenant, kind: DeviceType) -> Branch:
    """A facility with one row in every table of the ORM."""
    at = facility(of)
    made = device(at, kind).device
    channel = made.channels.get(number=0)
    load = operations.create_load(
        tenant_id=of.pk, facility_id=at.pk, name=f"Load {number():06}", actor_id=None
    )
    allocation = operations.allocate_channel(
        channel_id=channel.pk, load_id=load.pk, starts_at=START, actor_id=None
    )
    withdrawn_code(made)
    holds.hold(
        tenant_id=of.pk,
        held=holds.Held(START, START + timedelta(days=1), facility_id=at.pk),
        reason="What a bill rests on",
        now=START,
        actor_id=None,
    )
    correction(made)
    withdrawn_correction(made)
    configured(made)
    consumer = member(of, Role.CONSUMER)
    access = operations.grant_facility(membership_id=consumer.pk, facility_id=at.pk, actor_id=None)
    return Branch(at, made, channel, load, allocation, access)


def withdrawn_code(of: Device) -> ClaimCode:
    """A claim code that opens nothing any more."""
    code = Code.draw()
    return ClaimCode.objects.create(
        tenant_id=of.tenant_id,
        device=of,
        code_sha256=code.sha256,
        ending=code.ending,
        expires_at=START,
        withdrawn_at=START,
    )


def correction(of: Device, *, days: int = 4) -> Correction:
    """A correction of a day so many days before all else."""
    return Correction.objects.create(
        tenant_id=of.tenant_id,
        device=of,
        channel=0,
        kind="remove",
        starts_at=START - timedelta(days=days),
        ends_at=START - timedelta(days=days - 1),
        reason=f"The mains were switched off ({number():06}).",
    )


def withdrawn_correction(of: Device) -> Correction:
    """A correction that does not count any more."""
    row = correction(of, days=2)
    CorrectionWithdrawal.objects.create(
        tenant_id=of.tenant_id, device=of, correction=row, reason="They were not."
    )
    return row


def configured(of: Device) -> DeviceConfiguration:
    """A group with the device in it, and settings that are wanted of it."""
    group = DeviceGroup.objects.create(tenant_id=of.tenant_id, name=f"Group {number():06}")
    DeviceGroupMember.objects.create(tenant_id=of.tenant_id, group=group, device=of)
    ConfigurationChange.objects.create(
        tenant_id=of.tenant_id,
        device=of,
        version=1,
        changed_at=START,
        origin="person",
        before={"power_limit_w": None},
        after={"power_limit_w": 9_000},
    )
    return DeviceConfiguration.objects.create(
        tenant_id=of.tenant_id, device=of, desired={"power_limit_w": 9_000}, version=1
    )


def import_run(of: Tenant) -> ImportRun:
    """An import with one row."""
    run = ImportRun.objects.create(
        tenant_id=of.pk,
        kind=ImportKind.FACILITIES,
        file_name=f"import-{number()}.csv",
        content=b"name\nHouse A\n",
        columns=["name"],
    )
    ImportRow.objects.create(tenant_id=of.pk, run=run, line=2, outcome=Outcome.CREATE)
    return run


def data_export(at: Branch) -> DataExport:
    """An export with a part of its file."""
    export = exports.create(
        question=Question(
            channels=(at.channel.pk,),
            start=START,
            end=START + timedelta(days=1),
            resolution=ExportResolution.RAW,
            format=ExportFormat.CSV,
        ),
        now=START,
        actor_id=None,
    )
    DataExportPart.objects.create(
        tenant_id=export.tenant_id,
        export=export,
        facility_id=export.facility_id,
        number=0,
        content=b"part",
    )
    return export


def history_import(at: Branch) -> HistoryImport:
    """An import of history with its file and one part."""
    content = f"file {number()}".encode()
    run = history_imports.upload(
        tenant_id=at.facility.tenant_id,
        file_name=f"history-{number()}.csv",
        content=content,
        language="en",
        actor_id=None,
    )
    HistoryImportPart.objects.create(
        tenant_id=at.facility.tenant_id,
        run=run,
        device=at.device,
        starts_at=START - timedelta(days=1),
        ends_at=START,
    )
    return run


def command(of: Device, *, batch: bool = False, **values: Any) -> Command:
    """A queued command with the first step of its history, by itself or as a batch of one."""
    of_batch = None
    if batch:
        of_batch = CommandBatch.objects.create(
            tenant_id=of.tenant_id,
            kind="identify",
            asked_by=values.get("asked_by"),
            asked_at=START,
            facilities=[of.facility_id],
            devices=1,
        )
    made = Command.objects.create(
        **{
            "tenant_id": of.tenant_id,
            "device": of,
            "batch": of_batch,
            "kind": "identify",
            "asked_at": START,
            "queued_at": START,
            "lifetime_s": 3600,
            "expires_at": START + timedelta(hours=1),
            "state_at": START,
        }
        | values
    )
    CommandEvent.objects.create(
        tenant_id=of.tenant_id,
        command=made,
        device=of,
        at=START,
        step="asked",
        state=made.state,
    )
    return made


def frame_body(sequence: int, start_ms: int, values: list[list[int]], step_ms: int = 2000) -> bytes:
    """The DATA body of one regular frame: `values` holds raw integers, one list a channel."""
    columns = np.array(values, np.int64)
    times = start_ms + np.arange(columns.shape[1], dtype=np.int64) * step_ms
    return encode_data(sequence, [Block(times, tuple(range(len(values))), columns)])


def store_frame(
    of: Device,
    sequence: int,
    started_at: datetime,
    values: Sequence[Sequence[int]],
    *,
    received_at: datetime | None = None,
    step_ms: int = 2000,
) -> None:
    """A regular frame, committed as the writer does: with the cursor. It arrives a second after its
    last sample unless another moment is given.
    """
    ended_at = started_at + timedelta(milliseconds=step_ms * (len(values[0]) - 1))
    arrived = received_at or ended_at + timedelta(seconds=1)
    start_ms = int(started_at.timestamp() * 1000)
    body = frame_body(sequence, start_ms, [list(row) for row in values], step_ms)
    with connections["ingest"].cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
            [arrived, of.tenant_id, of.pk, sequence, started_at, ended_at,
             len(values) * len(values[0]), body],
        )  # fmt: skip
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s,"
            " last_received_at = greatest(last_received_at, %s),"
            " last_sample_at = greatest(last_sample_at, %s) WHERE device_id = %s",
            [sequence, sequence, arrived, ended_at, of.pk],
        )
        cursor.execute("COMMIT")


def telemetry(of: Device) -> None:
    """One row in each table outside the ORM, as the writer would leave them."""
    milliseconds = int(START.timestamp() * 1000)
    body = frame_body(1, milliseconds, [[1000, 1010], [23000, 23010]])
    key: list[Any] = [START, of.tenant_id, of.pk]
    with connections["ingest"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, 1, %s, %s, 4, %s)",
            [*key, START, START.replace(second=2), body],
        )
        cursor.execute(
            "INSERT INTO telemetry_quarantine"
            " (received_at, tenant_id, device_id, sequence, reason, message)"
            " VALUES (%s, %s, %s, 2, 'limit', '')",
            key,
        )
        cursor.execute(
            "INSERT INTO device_log VALUES (%s, %s, %s, 3, %s, 3, 'line')", [*key, START]
        )
        cursor.execute(
            "INSERT INTO device_event VALUES (%s, %s, %s, 4, %s, 'reboot', '{}')", [*key, START]
        )
        cursor.execute(
            "INSERT INTO device_inbox (received_at, tenant_id, device_id, topic, kind, occurred_at,"
            " body) VALUES (%s, %s, %s, 'commands', 'result', %s, '{}')",
            [*key, START],
        )
        cursor.execute(
            "INSERT INTO ledger_hour (device_id, hour, tenant_id, stored, quarantined, other,"
            " stored_values) VALUES (%s, %s, %s, 1, 1, 2, 4)",
            [of.pk, START, of.tenant_id],
        )
        cursor.execute(
            "UPDATE device_cursor SET committed = 4, produced = 4, last_received_at = %s,"
            " last_sample_at = %s WHERE device_id = %s",
            [START, START.replace(second=2), of.pk],
        )


def removal(of: Tenant) -> None:
    """What is written when readings have been removed; the doors alone may, as the owner."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO retention_removal (tenant_id, data_class, starts_at, ends_at,"
            " first_device, last_device, removed_at, days, rule_tenant, kept)"
            " VALUES (%s, 'readings', '2020-01-02Z', '2020-01-09Z', 1, 1, %s, 365, %s, '[]')",
            [of.pk, START, of.pk],
        )


def derived(of: Sequence[Device]) -> None:
    """What the background tasks make of the telemetry of some devices, a row in each table."""
    moment = START + timedelta(minutes=1)
    rollups.roll_up()
    rollups.sum_facilities()
    energy.refresh_days(now=moment)
    flow.refresh_power(now=moment)
    _packed(of)
    before = [
        segment(device, START - timedelta(hours=1), {0: [990, 995], 1: [22990]}) for device in of
    ]
    segment_store.keep(connection, before)
    seals.renew(connection, before, {})
    # Something is left to be done.
    start_ms = int(START.timestamp() * 1000)
    rollup_store.mark_facilities(connection, [(device.pk, start_ms) for device in of])
    again = [redo_store.Redo(device.pk, start_ms, start_ms + 1) for device in of]
    redo_store.ask_again(connection, again, cause=redo_store.Cause.CORRECTION)
    for device in of:
        computed(device)


def computed(of: Device) -> Channel:
    """A derived channel, with something due and something remembered."""
    channel = derived_operations.derive_channel(
        device_id=of.pk,
        values=derived_operations.Derivation("doubled", "Doubled", "voltage", "2 * voltage"),
        actor_id=None,
        now=START,
    )
    start_ms = int(START.timestamp() * 1000)
    due = derived_store.Due(0, channel.pk, start_ms, start_ms + 1)
    derived_store.ask(connection, [due])
    version = channel.versions.get().pk
    state = derived_store.State(of.tenant_id, of.pk, channel.pk, version, start_ms, {})
    derived_store.remember(connection, [state])
    return channel


def _packed(of: Sequence[Device]) -> None:
    """The roll-ups packed, with their local days, and rows of the day after."""
    start_ms = int(START.timestamp() * 1000)
    spans = [Span(device.pk, start_ms, start_ms + DAY_MS) for device in of]
    quarters = read_quarters(connection, spans)
    packing.pack(before=START + timedelta(days=2))
    devices, numbers = np.divmod(quarters.series, NUMBERS)
    tenants = {device.pk: device.tenant_id for device in of}
    rollup_store.keep(
        connection,
        replace(quarters, starts=quarters.starts + 3 * DAY_MS),
        tenants=np.array([tenants[device_id] for device_id in devices.tolist()]),
        devices=devices,
        channels=numbers,
    )


def segment(of: Device, starts_at: datetime, values: dict[int, list[int]]) -> segment_store.Kept:
    """The segment of an hour: raw integers by channel, a reading each two seconds."""
    start_ms = segment_store.milliseconds(starts_at)
    hour = {}
    for channel, raw in values.items():
        times = start_ms + np.arange(len(raw), dtype=np.int64) * 2000
        hour[channel] = Readings(times, times // 1000, np.array(raw, np.int64))
    segment_store.keep_latest(connection, {of.pk: of.tenant_id}, {of.pk: hour})
    count = sum(map(len, values.values()))
    return segment_store.Kept(starts_at, of.tenant_id, of.pk, count, encode(start_ms, hour))


def remove_everything() -> None:
    """Empty every table that hangs on tenants or users, and the sessions, as the owner of them."""
    for alias in ("default", "ingest"):
        connections[alias].close()  # an open transaction there would block the owner
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
            " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'"
            " AND a.attname = 'tenant_id' AND NOT a.attisdropped"
        )
        tables = [row[0] for row in cursor.fetchall()]
        with audit_may_be_emptied(cursor):
            cursor.execute(
                f"TRUNCATE {', '.join(tables)}, tenants_tenant, tenants_user, django_session"
                " CASCADE"
            )

"""The park that pages are measured on: facilities of 20 devices with 8 channels each.

One client has all of it; an operator, a reseller for every 25 facilities and a further client for
each stand beside and above it, so that the operator's scope is as wide as scopes get. Every device
has a link, a cursor, a ledger, its last frames, log lines and events, ending now, every facility
two days of energy and 400 entries in the audit trail.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from django.apps import apps
from django.db import connections
from django.db.migrations.loader import MigrationLoader

from devices.benchmarks.series import CHANNELS, series
from devices.benchmarks.stack import Seed
from devices.domain import energy, flow, rollups
from devices.domain.operations import ChannelSpec, create_device_type
from devices.models import (
    Allocation,
    Channel,
    Device,
    DeviceState,
    DeviceTypeChannel,
    Facility,
    FacilityAccess,
    FacilityKind,
    Load,
    Placement,
)
from devices.protocol.data import Block, encode_data
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_reads import quarter_of
from tenants.domain.operations import create_tenant
from tenants.models import AuditEntry, Membership, Tenant, TenantKind, User
from tenants.permissions import Role
from tenants.scope import Scope, long_scope, open_scope

DEVICES_EACH: Final = 20
MEMBERS_EACH: Final = 0.6  # for each facility
AUDIT_ENTRIES_EACH: Final = 400  # for each facility
FRAMES: Final = 3
SAMPLES: Final = 30
STEP_MS: Final = 2000
ADMIN: Final = "admin@park.example"
OPERATOR: Final = "operator@park.example"
DAYS_ROLLED: Final = 2
CONSUMER: Final = "consumer@park.example"
_TOWNS: Final = ("Berlin", "Hamburg", "München", "Köln", "Leipzig", "Dresden", "Bremen", "Kassel")
_CHUNK: Final = 5000


def seed(facilities: int) -> Seed:
    """The park as a seed; it is made anew when the tables, this module or the day change."""
    migrations = sorted(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)
    here = Path(__file__).read_text(encoding="utf-8")
    tables = [
        inspect.getsource(model) for model in apps.get_models() if model.__module__[:7] != "django."
    ]
    text = f"{migrations}{here}{tables}{datetime.now(UTC).date()}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Seed(f"park{facilities}", digest, partial(fill, facilities))


@dataclass(frozen=True, slots=True)
class _Park:
    tenant: Tenant
    members: list[Membership]
    now: datetime


def fill(facilities: int) -> None:
    """Write everything; half a minute for 500 facilities."""
    print("wattline: making the park that pages are measured on", file=sys.stderr)
    root = _tenant("Park operator", "park-operator", TenantKind.OPERATOR, None)
    resellers = [
        _tenant(f"Reseller {number:02}", f"reseller-{number}", TenantKind.RESELLER, root)
        for number in range(1 + facilities // 25)
    ]
    clients = [
        _tenant(f"Client {n:03}", f"client-{n}", TenantKind.CLIENT, resellers[n % len(resellers)])
        for n in range(facilities)
    ]
    with open_scope(Scope((root.pk,))):
        Membership.objects.create(tenant=root, user=_user(OPERATOR), role=Role.OPERATOR)
    # The park is one client among them.
    tenant = clients[0]
    with open_scope(Scope((tenant.pk,))):
        park = _Park(tenant, _members(tenant, facilities), datetime.now(UTC))
        devices = _devices(park, facilities)
        _audit(park, devices)
    _telemetry(park, devices)
    _rolled_up(park, devices)


def _tenant(name: str, slug: str, kind: TenantKind, parent: Tenant | None) -> Tenant:
    parent_id = parent.pk if parent else None
    return create_tenant(name=name, slug=slug, kind=kind, parent_id=parent_id, actor_id=None)


def _user(email: str) -> User:
    return User.objects.create_user(email=email, name=email.partition("@")[0].title())


def _members(tenant: Tenant, facilities: int) -> list[Membership]:
    roles = [role for role in Role if role not in (Role.OPERATOR, Role.CONSUMER)]
    users = User.objects.bulk_create(
        User(email=f"person{n}@park.example", name=f"Person {n:03}")
        for n in range(int(facilities * MEMBERS_EACH))
    )
    made = [Membership(tenant=tenant, user=_user(ADMIN), role=Role.ADMIN)]
    consumer = _user(CONSUMER)
    made += [Membership(tenant=tenant, user=consumer, role=Role.CONSUMER, narrowed=True)]
    made += [
        Membership(tenant=tenant, user=user, role=roles[n % len(roles)])
        for n, user in enumerate(users)
    ]
    return Membership.objects.bulk_create(made)


def _devices(park: _Park, facilities: int) -> list[Device]:
    tenant = park.tenant
    kind = create_device_type(
        tenant_id=tenant.pk,
        code="bench",
        name="Meter of the benchmark",
        channels=[
            ChannelSpec(
                number=number,
                key=channel.key,
                name=channel.key.replace("_", " ").capitalize(),
                quantity=channel.quantity,
                resolution=Decimal(channel.resolution),
                minimum=Decimal(channel.minimum),
                maximum=Decimal(channel.maximum),
                in_total=channel.quantity == "active_power",
            )
            for number, channel in enumerate(CHANNELS)
        ],
        actor_id=None,
    )
    kinds = list(FacilityKind)
    sites = Facility.objects.bulk_create(
        Facility(
            tenant=tenant,
            name=f"Site {n:03} {_TOWNS[n % len(_TOWNS)]}",
            kind=kinds[n % len(kinds)] if n % 5 == 0 else FacilityKind.SITE,
            street=f"Street {n}",
            postal_code=f"{10_000 + n}",
            city=_TOWNS[n % len(_TOWNS)],
            country="DE",
            time_zone="Europe/Berlin",
        )
        for n in range(facilities)
    )
    consumer = next(member for member in park.members if member.role == Role.CONSUMER)
    FacilityAccess.objects.create(tenant=tenant, membership=consumer, facility=sites[0])
    placements = [
        Placement.MAINS,
        *[Placement.SUBMETER] * 7,
        Placement.GENERATION,
        Placement.STORAGE,
    ]
    devices: list[Device] = Device.objects.bulk_create(
        (
            Device(
                tenant=tenant,
                facility=facility,
                device_type=kind,
                serial=f"BENCH-{n:03}-{m:02}",
                name=f"Meter {m:02}",
                placement=placements[m % len(placements)] if m < 10 else Placement.SUBMETER,
                state=DeviceState.SUSPENDED if (n + m) % 97 == 0 else DeviceState.ACTIVE,
                secret_sha256=hashlib.sha256(f"{n} {m}".encode()).digest(),
                hardware_revision="B2",
            )
            for n, facility in enumerate(sites)
            for m in range(DEVICES_EACH)
        ),
        batch_size=_CHUNK,
    )
    measured = list(DeviceTypeChannel.objects.filter(device_type=kind).order_by("number"))
    channels = Channel.objects.bulk_create(
        (
            Channel(
                tenant=tenant,
                device=device,
                number=channel.number,
                key=channel.key,
                name=channel.name,
                quantity=channel.quantity,
                unit=channel.unit,
                resolution=channel.resolution,
                minimum=channel.minimum,
                maximum=channel.maximum,
                in_total=channel.in_total,
            )
            for device in devices
            for channel in measured
        ),
        batch_size=_CHUNK,
    )
    loads = Load.objects.bulk_create(
        Load(tenant=tenant, facility=facility, name=f"Load {n}")
        for facility in sites
        for n in range(4)
    )
    each = DEVICES_EACH * len(CHANNELS)
    Allocation.objects.bulk_create(
        Allocation(
            tenant=tenant,
            facility_id=load.facility_id,
            channel=channels[n // 4 * each + (n % 4 + 1) * len(CHANNELS)],
            load=load,
            starts_at=park.now - timedelta(days=30),
        )
        for n, load in enumerate(loads)
    )
    return devices


def _audit(park: _Park, devices: list[Device]) -> None:
    total = len(devices) // DEVICES_EACH * AUDIT_ENTRIES_EACH
    ago = timedelta(days=90) / total
    actors = [member.user_id for member in park.members]
    for first in range(0, total, _CHUNK):
        AuditEntry.objects.bulk_create(
            AuditEntry(
                tenant=park.tenant,
                actor_id=actors[n % len(actors)],
                action="device.rename",
                subject_type="device",
                subject_id=(device := devices[n % len(devices)]).pk,
                subject_name=device.serial,
                before={"name": device.name},
                after={"name": f"{device.name} ({n})"},
                at=park.now - n * ago,
            )
            for n in range(first, min(first + _CHUNK, total))
        )


# --- Telemetry ------------------------------------------------------------------------------


def _telemetry(park: _Park, devices: list[Device]) -> None:
    """What the writer would have left; one body a frame serves all devices."""
    length = timedelta(milliseconds=SAMPLES * STEP_MS)
    numbers = tuple(range(len(CHANNELS)))
    frames = []
    for n in range(FRAMES):
        started = park.now - (FRAMES - n) * length
        times = int(started.timestamp() * 1000) + np.arange(SAMPLES) * STEP_MS
        values = series(n, SAMPLES, STEP_MS / 1000)
        frames.append((n + 1, started, encode_data(n + 1, [Block(times, numbers, values)])))
    key = park.tenant.pk
    for sequence, started, body in frames:
        ended = started + length - timedelta(milliseconds=STEP_MS)
        _copy(
            "telemetry_frame (device_id, received_at, tenant_id, sequence, started_at, ended_at,"
            " value_count, frame)",
            _each(devices, ended, key, sequence, started, ended, SAMPLES * len(CHANNELS), body),
        )
    _copy(
        "device_cursor (device_id, tenant_id, committed, produced, last_received_at,"
        " last_sample_at)",
        _each(devices, key, FRAMES, FRAMES, park.now, park.now),
    )
    _copy(
        "device_link (device_id, tenant_id, connected, connection, bridge, changed_at,"
        " last_seen_at, firmware_version)",
        (
            (
                *(device.pk, key, n % 50 != 7, n + 1, "bridge-1"),
                *(park.now - timedelta(hours=n % 40), park.now, f"2.{n % 4}.0"),
            )
            for n, device in enumerate(devices)
        ),
    )
    hours = [
        park.now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=h) for h in range(24)
    ]
    _copy(
        "ledger_hour (device_id, hour, tenant_id, stored, stored_values)",
        ((device.pk, hour, key, 60, 14_400) for device in devices for hour in hours),
    )
    _copy(
        "device_log (received_at, tenant_id, device_id, sequence, logged_at, level, line)",
        (
            (park.now - timedelta(minutes=m), key, device.pk, m + 10, park.now, m % 5, f"line {m}")
            for device in devices
            for m in range(10)
        ),
    )
    _copy(
        "device_event (received_at, tenant_id, device_id, sequence, occurred_at, kind, data)",
        (
            (at := park.now - timedelta(hours=h), key, device.pk, None, at, kind, "{}")
            for device in devices
            for h, kind in enumerate(("connected", "disconnected") * 3)
        ),
    )


def _rolled_up(park: _Park, devices: list[Device]) -> None:
    """Two days of every facility, and of the devices of the first; then what the tasks make."""
    key = park.tenant.pk
    newest = quarter_of(park.now)
    quarters = [newest - n * QUARTER for n in range(1, DAYS_ROLLED * 96 + 1)]
    _copy(
        "facility_15m (starts_at, tenant_id, facility_id, import_wh, export_wh, generation_wh,"
        " covered)",
        (
            (starts_at, key, facility_id, 500.0 + n % 90, n % 7, 60.0 + n % 40, 19.5)
            for facility_id in sorted({device.facility_id for device in devices})
            for n, starts_at in enumerate(quarters)
        ),
    )
    _copy(
        "rollup_15m (starts_at, tenant_id, device_id, channel, n, minimum, maximum, mean, first,"
        " last, energy_wh, returned_wh, coverage)",
        (
            (starts_at, key, device.pk, channel, 450, 1.0, 9.0, 5.0, 2.0, 3.0, 1.25, 0.0, 1.0)
            for device in devices[:DEVICES_EACH]
            for channel in range(len(CHANNELS))
            for starts_at in quarters
        ),
    )
    with connections["owner"].cursor() as cursor:
        # As autovacuum does: without it the planner takes the tables for empty, and minutes.
        cursor.execute("ANALYZE")
    with long_scope(Scope((key,))):
        after = 0
        while (rolled := rollups.roll_up(after=after)).last is not None:
            after = rolled.last
        while rollups.sum_facilities():
            pass
        flow.refresh_power(now=park.now)
        energy.refresh_days(now=park.now)


def _each(devices: Iterable[Device], *values: object) -> Iterator[tuple[object, ...]]:
    return ((device.pk, *values) for device in devices)


def _copy(target: str, rows: Iterable[Iterable[Any]]) -> None:
    """COPY rows as the owner, within the scope of all of it."""
    connection = connections["owner"]
    with (
        open_scope(Scope(_tenant_ids()), using="owner"),
        connection.cursor() as cursor,
        cursor.copy(f"COPY {target} FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(list(row))


def _tenant_ids() -> tuple[int, ...]:
    return tuple(Tenant.objects.using("owner").values_list("pk", flat=True))

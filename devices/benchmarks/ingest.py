"""Durable frames a second, from devices over TLS, bridge, queue and writer to TimescaleDB.

All of it on this machine: real TLS, authentication of devices that the domain's operation has
registered, every check of the bridge, and a generator on the same cores. What counts is what the
database holds at the end, divided by the time from the first frame sent to the last ACK.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

from django.conf import settings
from django.db import connections

from devices.benchmarks.fleet import FleetDevice, FleetOptions
from devices.benchmarks.series import CHANNELS
from devices.benchmarks.stack import Stack, StackError, open_stack
from devices.domain.operations import (
    ChannelSpec,
    create_device_type,
    create_facility,
    register_device,
)
from devices.ingest.ledger import check
from devices.telemetry import status
from tenants.models import Tenant, TenantKind
from tenants.scope import Scope, open_scope


def add_arguments(parser: ArgumentParser) -> None:
    """Size and length of the load."""
    parser.add_argument("--devices", type=int, default=400)
    parser.add_argument("--samples", type=int, default=30, help="samples a frame")
    parser.add_argument("--channels", type=int, default=len(CHANNELS), choices=range(1, 9))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--window", type=int, default=64, help="messages of a device without ACK")
    parser.add_argument("--bridges", type=int, default=1, help="bridges that share the port")
    parser.add_argument("--writers", type=int, default=1, help="writers that share the queue")
    parser.add_argument(
        "--interval",
        type=float,
        metavar="SECONDS",
        help="one frame of each device every so many seconds, instead of as many as can be",
    )
    parser.add_argument("--seed", type=int, default=1)


def run(options: Namespace) -> dict[str, object]:
    """Measure once; `ok` is False when anything is lost, doubled or out of balance."""
    with open_stack() as stack:
        fleet = FleetOptions(
            port=stack.bridge_port,
            ca=str(settings.TLS_DIR / "ca.pem"),
            devices=register_fleet(options.devices, options.channels),
            channels=options.channels,
            samples=options.samples,
            seconds=options.seconds,
            window=options.window,
            interval_s=options.interval,
            seed=options.seed,
        )
        for number in range(options.writers):
            stack.start_writer("writer" if number == 0 else f"writer{number + 1}")
        for number in range(options.bridges):
            stack.start_bridge("bridge" if number == 0 else f"bridge{number + 1}")
        before = stack.cpu_seconds()
        sent = send(stack, fleet)
        after = stack.cpu_seconds()
        cpu = {name: after[name] - before.get(name, 0.0) for name in after}
        cpu["generator"] = sent["cpu_s"]
        return _result(options, sent, cpu, count())


def register_fleet(devices: int, channels: int) -> list[FleetDevice]:
    """A tenant with one facility and `devices` active devices of the generator's type."""
    tenant = Tenant.objects.using("owner").create(
        kind=TenantKind.OPERATOR, name="Benchmark", slug="benchmark"
    )
    with open_scope(Scope((tenant.pk,))):
        facility = create_facility(
            tenant_id=tenant.pk, name="Benchmark", time_zone="UTC", actor_id=None
        )
        device_type = create_device_type(
            tenant_id=tenant.pk,
            code="bench",
            name="Benchmark",
            channels=[
                ChannelSpec(
                    number=number,
                    key=channel.key,
                    name=channel.key,
                    quantity=channel.quantity,
                    resolution=Decimal(channel.resolution),
                    minimum=Decimal(channel.minimum),
                    maximum=Decimal(channel.maximum),
                )
                for number, channel in enumerate(CHANNELS[:channels])
            ],
            actor_id=None,
        )
        registered = [
            register_device(
                tenant_id=tenant.pk,
                facility_id=facility.pk,
                device_type_id=device_type.pk,
                serial=f"bench-{number}",
                name=f"Bench {number}",
                actor_id=None,
            )
            for number in range(devices)
        ]
    return [
        FleetDevice(one.device.serial, one.secret.value.hex(), device_type.code)
        for one in registered
    ]


# Devices with the channels of the one that is there; registered one by one, ten thousand take as
# long as all the rest. A secret is the digest of the serial: these devices live for minutes.
_COPY: Final = """
WITH first AS (SELECT * FROM devices_device WHERE serial = 'bench-0'), made AS (
  INSERT INTO devices_device (tenant_id, facility_id, device_type_id, serial, name, placement,
    state, secret_sha256, hardware_revision, created_at)
  SELECT tenant_id, facility_id, device_type_id, 'bench-' || n, 'Bench ' || n, placement, state,
    sha256(sha256(('bench-' || n)::bytea)), hardware_revision, created_at
  FROM first, generate_series(1, %s) AS n RETURNING id, tenant_id),
cursors AS (
  INSERT INTO device_cursor (device_id, tenant_id) SELECT id, tenant_id FROM made),
links AS (INSERT INTO device_link (device_id, tenant_id) SELECT id, tenant_id FROM made)
INSERT INTO devices_channel (device_id, tenant_id, number, key, name, quantity, unit, resolution,
  minimum, maximum, in_total)
SELECT made.id, made.tenant_id, c.number, c.key, c.name, c.quantity, c.unit, c.resolution,
  c.minimum, c.maximum, c.in_total
FROM made, devices_channel c JOIN first ON first.id = c.device_id
"""


def register_many(devices: int, channels: int) -> list[FleetDevice]:
    """As `register_fleet`, for thousands: the first device is registered, the others are copies."""
    (first,) = register_fleet(1, channels)
    with connections["owner"].cursor() as cursor:
        cursor.execute(_COPY, [devices - 1])
    serials = [f"bench-{number}" for number in range(1, devices)]
    return [
        first,
        *(
            FleetDevice(serial, hashlib.sha256(serial.encode()).hexdigest(), first.device_type)
            for serial in serials
        ),
    ]


def send(stack: Stack, fleet: FleetOptions) -> dict[str, Any]:
    """Run the generator in a process of its own; returns its result."""
    done = subprocess.run(
        [sys.executable, "-m", "devices.benchmarks.fleet"],
        input=json.dumps(asdict(fleet)),
        capture_output=True,
        text=True,
        cwd=settings.BASE_DIR,
        env=stack.environment,
        check=False,
    )
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["it said nothing"]
        raise StackError(f"the generator failed: {reason[0]}\n{stack.tail('bridge')}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def count() -> dict[str, int]:
    """What the database holds, counted in the tables themselves."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT (SELECT count(*) FROM telemetry_frame),"
            " (SELECT count(*) FROM (SELECT DISTINCT device_id, sequence FROM telemetry_frame) AS"
            " one), (SELECT coalesce(sum(value_count), 0) FROM telemetry_frame),"
            " (SELECT coalesce(sum(length(frame)), 0) FROM telemetry_frame),"
            " (SELECT count(*) FROM telemetry_quarantine),"
            " (SELECT coalesce(sum(duplicate), 0) FROM ledger_hour),"
            " (SELECT hypertable_size('telemetry_frame'))"
        )
        row = cursor.fetchone()
        cursor.execute("SELECT array_agg(id) FROM tenants_tenant")
        tenants = cursor.fetchone()
    names = ("stored", "distinct", "values", "bytes", "quarantined", "duplicates", "disk_bytes")
    counted = {name: int(value) for name, value in zip(names, row or (), strict=True)}
    with open_scope(Scope(tuple(tenants[0] if tenants else ()))):
        counted["imbalances"] = len(check(status.balance(connections["default"])))
    return counted


def _result(
    options: Namespace, sent: dict[str, Any], cpu: dict[str, float], counted: dict[str, int]
) -> dict[str, object]:
    wall_s = sent["last_ack_at"] - sent["first_sent_at"]
    stored = counted["stored"]
    ok = (
        stored == counted["distinct"] == sent["acknowledged"] == sent["sent"] > 0
        and counted["quarantined"] == counted["imbalances"] == sent["refused"] == sent["lost"] == 0
    )
    return {
        "ok": ok,
        "devices": options.devices,
        "channels": options.channels,
        "samples": options.samples,
        "seconds": options.seconds,
        "frames_per_s": round(stored / wall_s, 1),
        "values_per_s": round(counted["values"] / wall_s, 1),
        "sent": sent["sent"],
        "acked": sent["acknowledged"],
        "stored": stored,
        "duplicates": counted["duplicates"],
        "doubled": stored - counted["distinct"],
        "quarantined": counted["quarantined"],
        "imbalances": counted["imbalances"],
        "rewinds": sent["rewinds"],
        "refused": sent["refused"],
        "wall_s": round(wall_s, 2),
        "ack_ms": sent["ack_ms"],
        "cpu_s": {name: round(cpu.get(name, 0.0), 2) for name in sorted(cpu)},
        "cpu_us_per_frame": {name: round(cpu[name] / stored * 1e6, 1) for name in sorted(cpu)},
        "bytes_per_frame": round(counted["bytes"] / stored, 1),
        "bytes_per_value": round(counted["bytes"] / counted["values"], 3),
        "sent_bytes_per_frame": round(sent["sent_bytes"] / sent["sent"], 1),
        "disk_bytes_per_frame": round(counted["disk_bytes"] / stored, 1),
    }

"""A look of the telemetry gate at a large park: time, statements and memory.

A park of devices with eight channels has nine days of all that the gate reads: hours of the ledger,
connections, log lines, packed quarters. One in ten is updated. `seconds` is a whole review, from
asking to the verdict kept; `wall_s`, `review` and `postgres` split it.
"""

from __future__ import annotations

import random
import resource
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from devices.benchmarks.rollup import measured, register_devices
from devices.benchmarks.stack import open_stack
from devices.benchmarks.storage import maintain, pack_all
from devices.models import Device
from devices.versions import Version
from firmware.domain import gate_operations
from firmware.gate.limits import GateLimits
from firmware.gate.verdict import GateVerdict
from firmware.models import (
    Artifact,
    ArtifactKind,
    Release,
    Rollout,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    SigningKey,
    TargetState,
)
from firmware.rollout.strategy import Strategy
from tenants.scope import Scope, open_scope

_DAY: Final = timedelta(days=1)
_BEGIN: Final = datetime(2026, 3, 2, tzinfo=UTC)
_WAVE: Final = _BEGIN + 8 * _DAY
_END: Final = _WAVE + _DAY
_HOURS: Final = """
INSERT INTO ledger_hour (device_id, hour, tenant_id, stored, stored_values)
SELECT d.id, h, d.tenant_id, 60, 14400 - floor(random() ^ 8 * 600)
FROM devices_device d, generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour',
  interval '1 hour') h
"""
_EVENTS: Final = """
INSERT INTO device_event (received_at, tenant_id, device_id, occurred_at, kind, data)
SELECT h + interval '1 hour' * random(), d.tenant_id, d.id, h, 'connected',
  jsonb_build_object('boot_count', floor(extract(epoch FROM h - %s::timestamptz) / 864000))
FROM devices_device d, generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour',
  interval '1 hour') h WHERE random() < 0.125
"""
_LOGS: Final = """
INSERT INTO device_log
SELECT h + interval '1 hour' * random(), d.tenant_id, d.id, 1, h,
  2 + floor(random() * 3), 'a line'
FROM devices_device d, generate_series(%s::timestamptz, %s::timestamptz - interval '1 hour',
  interval '1 hour') h WHERE random() < 0.2
"""
_QUARTERS: Final = """
INSERT INTO rollup_15m (starts_at, tenant_id, device_id, channel, n, minimum, maximum, mean, first,
  last, energy_wh, coverage)
SELECT q, %s, %s, c, 450, 100, 900, 500 + floor(100 * random()), 500, 500, 125,
  CASE WHEN random() < 0.05 THEN 0.9 ELSE 1 END
FROM generate_series(%s::timestamptz, %s::timestamptz - interval '15 minutes',
  interval '15 minutes') q, generate_series(0, 7) c
"""
_REPEATED: Final = """
INSERT INTO rollup_packed (starts_at, tenant_id, device_id, body)
SELECT starts_at, d.tenant_id, d.id, body FROM rollup_packed p, devices_device d
WHERE d.id <> p.device_id ORDER BY d.id, starts_at
"""
_PROGRESS: Final = """
INSERT INTO rollup_progress (device_id, tenant_id, sequence, sampled_at)
SELECT id, tenant_id, 0, %s FROM devices_device
ON CONFLICT (device_id) DO UPDATE SET sampled_at = excluded.sampled_at
"""


def add_arguments(parser: ArgumentParser) -> None:
    """How many devices, and what a review may take."""
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--goal-seconds", type=float, default=30.0)


def run(options: Namespace) -> dict[str, object]:
    """Measure one review; `ok` is False when it takes longer than the goal."""
    with open_stack() as stack:
        devices = register_devices(options.devices)
        scope = Scope((devices[0].tenant_id,))
        _fill(devices[0], scope)
        with open_scope(scope):
            wave = _wave(devices, updated=options.devices // 10)
        maintain("ANALYZE")
        verdicts: list[GateVerdict] = []

        def review() -> None:
            with open_scope(scope):
                verdicts.append(
                    gate_operations.review(wave_id=wave.pk, now=_END + timedelta(minutes=30))
                )

        with CaptureQueriesContext(connection) as queries:
            took = measured(stack, review)
    compared = verdicts[0].metrics[0]
    return {
        "ok": took["wall_s"] <= options.goal_seconds,
        "devices": options.devices,
        "updated": compared.updated,
        "control": compared.control,
        "seconds": took["wall_s"],
        "review_cpu_s": took["roller"],
        "postgres_cpu_s": took["postgres"],
        "statements": len(queries),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "outcome": verdicts[0].outcome,
    }


def _fill(one: Device, scope: Scope) -> None:
    """Nine days of every device; the quarters of one, packed by the product, serve for all."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(_HOURS, [_BEGIN, _END])
        cursor.execute(_EVENTS, [_BEGIN, _BEGIN, _END])
        cursor.execute(_LOGS, [_BEGIN, _END])
        cursor.execute(_QUARTERS, [one.tenant_id, one.pk, _BEGIN, _END])
        cursor.execute(_PROGRESS, [_END])
        cursor.execute("UPDATE device_cursor SET last_sample_at = %s", [_END])
    pack_all(scope, _END)
    with connections["owner"].cursor() as cursor:
        cursor.execute(_REPEATED)


def _wave(devices: Sequence[Device], *, updated: int) -> RolloutWave:
    """A wave that is soaked, with every tenth device; its release has no bytes."""
    tenant_id, kind = devices[0].tenant_id, devices[0].device_type
    artifact = Artifact.objects.create(
        tenant_id=tenant_id, sha256="0" * 64, size=1, kind=ArtifactKind.IMAGE, stored_name="none"
    )
    key = SigningKey.objects.create(
        tenant_id=tenant_id, name="Benchmark", public_key=bytes(32), key_id="0" * 16
    )
    release = Release.objects.create(
        tenant_id=tenant_id,
        device_type=kind,
        type_code=kind.code,
        version="2.0.0",
        version_key=Version.parse("2.0.0").key,
        artifact=artifact,
        manifest=b"none",
        signature=bytes(64),
        signing_key=key,
    )
    strategy = Strategy(soak_s=int(_DAY.total_seconds()), gate=GateLimits().to_json())
    rollout = Rollout.objects.create(
        tenant_id=tenant_id,
        name="Benchmark",
        release=release,
        state=RolloutState.RUNNING,
        started_at=_WAVE,
        strategy=strategy.to_json(),
    )
    wave = RolloutWave.objects.create(
        tenant_id=tenant_id,
        rollout=rollout,
        number=1,
        size=updated,
        updated_at=_WAVE,
        soaking_at=_WAVE,
    )
    RolloutTarget.objects.bulk_create(
        RolloutTarget(
            tenant_id=tenant_id,
            rollout=rollout,
            wave=wave,
            device=device,
            release=release,
            update_uid=uuid.uuid4(),
            state=TargetState.SUCCEEDED,
            state_at=_WAVE,
            to_version="2.0.0",
        )
        for device in random.Random(1).sample(devices, updated)
    )
    return wave

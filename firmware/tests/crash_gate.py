"""A roll-out with a gate in a database that a test may kill, made in a process of its own.

`python -m firmware.tests.crash_gate make` keeps a roll-out whose first wave was updated a day ago,
with all that was measured since, and prints what the devices of the second wave need as JSON.
Roll-ups lag, and the gate has said yes once, before the soak was over. `catch_up` is what the
roller does then. Both work on the servers that the environment names. What needs models is imported
once Django is set up.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import django

if TYPE_CHECKING:
    from firmware.tests.gate_fleet import GateFleet

QUARTER: Final = timedelta(minutes=15)
HOUR: Final = timedelta(hours=1)
# Longer than the test takes, so that there are readings of whatever the gate looks at.
MEASURED: Final = timedelta(hours=28)


def make() -> dict[str, object]:
    """A fleet after its first wave."""
    from devices.simulator.catalogue import BATTERY
    from devices.simulator.image import Behaviour
    from firmware.gate.metrics import Metric
    from firmware.tests.gate_fleet import OLD, GateFleet

    ratios = {Metric.GAPS: 1.5, Metric.DRAIN: 1.3}
    fleet = GateFleet.make(Behaviour(), soak=12 * HOUR, ratios=ratios)
    # Devices have told once what they are, and are away.
    _own("UPDATE device_link SET firmware_version = %s, capabilities = 4", OLD)
    fleet.start()
    _measure(fleet)
    _update_first_wave(fleet, fleet.began + QUARTER / 3)
    _rolled_up(fleet.began)
    waiting = fleet.states()[2]
    return {
        "rollout": fleet.rollout_id,
        "devices": [
            {
                "serial": one.device.serial,
                "secret": one.secret.value.hex(),
                "device_type": BATTERY.code,
            }
            for one in fleet.registered
            if one.device.serial in waiting
        ],
        "key": fleet.signer.private.public_key().public_bytes_raw().hex(),
        "image": hashlib.sha256(b"before").hexdigest(),
        "version": OLD,
    }


def catch_up() -> None:
    """Roll-ups reach up to now."""
    from django.utils import timezone

    _rolled_up(timezone.now() + HOUR)


def _measure(fleet: GateFleet) -> None:
    """What all devices have shown since the roll-out began: nothing has changed."""
    import numpy as np

    from firmware.tests.gate_fleet import SOUND
    from firmware.tests.gate_world import Rows

    random = np.random.default_rng(11)
    rows, begin = Rows(charge=1), fleet.began.replace(minute=0)
    for one in fleet.registered:
        rows.add(one.device, SOUND, begin, begin + MEASURED, random)
    rows.store([one.device.pk for one in fleet.registered], begin + MEASURED)


def _update_first_wave(fleet: GateFleet, at: datetime) -> None:
    """It soaks; the gate was asked three hours too early."""
    from firmware.gate.verdict import GateVerdict
    from firmware.models import GateReview, RolloutTarget, RolloutWave, TargetState, WaveState
    from tenants.scope import open_scope

    begins_at, until = fleet.began + QUARTER, fleet.began + 9 * HOUR
    verdict = GateVerdict("pass", (), begins_at, until, look=1, looks=1)
    with open_scope(fleet.scope):
        wave = RolloutWave.objects.get(rollout=fleet.rollout_id, number=1)
        wave.state, wave.started_at = WaveState.SOAKING, fleet.began
        wave.updated_at = wave.soaking_at = at
        wave.save(update_fields=["state", "started_at", "updated_at", "soaking_at"])
        RolloutTarget.objects.filter(wave=wave).update(state=TargetState.SUCCEEDED, state_at=at)
        GateReview.objects.create(
            tenant=fleet.tenant,
            rollout_id=fleet.rollout_id,
            wave=wave,
            look=1,
            at=until + QUARTER,
            begins_at=begins_at,
            evidence_until=until,
            outcome="pass",
            verdict=verdict.to_json(),
        )


def _rolled_up(until: datetime) -> None:
    _own("UPDATE rollup_progress SET sampled_at = %s", until)


def _own(statement: str, value: str | datetime) -> None:
    from django.db import connections

    with connections["owner"].cursor() as cursor:
        cursor.execute(statement, [value])


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    if sys.argv[1] == "make":
        print(json.dumps(make()))
    else:
        catch_up()

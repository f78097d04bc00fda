"""`manage.py ledger` on a real database, balanced and not."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from devices.tests.ingest_park import Owner, ParkDevice, make_park

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])


@pytest.fixture
def park(owner: Owner) -> list[ParkDevice]:
    """Two devices: four messages of the first are accounted for, six produced."""
    park = make_park(owner, 2)
    device = park[0]
    owner.execute(
        "UPDATE device_cursor SET committed = 4, produced = 6 WHERE device_id = %s",
        [device.device_id],
    )
    for hour, stored, duplicate, other in (("10:00", 1, 0, 1), ("11:00", 1, 3, 1)):
        owner.execute(
            "INSERT INTO ledger_hour (device_id, hour, tenant_id, stored, duplicate, other)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [device.device_id, f"2026-01-01 {hour}Z", device.tenant_id, stored, duplicate, other],
        )
    for sequence in (1, 3):
        owner.execute(
            "INSERT INTO telemetry_frame VALUES (now(), %s, %s, %s, now(), now(), 1, '')",
            [device.tenant_id, device.device_id, sequence],
        )
    return park


def ledger(*arguments: str) -> Any:
    out = io.StringIO()
    call_command("ledger", *arguments, stdout=out)
    return out.getvalue()


def test_ledger_prints_what_became_of_every_message(park: list[ParkDevice]) -> None:
    first, second = json.loads(ledger("--json"))["devices"]
    assert first == {
        "serial": park[0].serial,
        "device_id": park[0].device_id,
        "committed": 4,
        "produced": 6,
        "stored": 2,
        "duplicate": 3,
        "quarantined": 0,
        "skipped": 0,
        "other": 2,
        "frames": 2,
        "doubled": 0,
        "sent": 9,
        "under_way": 2,
    }
    assert (second["serial"], second["sent"]) == (park[1].serial, 0)
    text = ledger("--device", park[0].serial)
    assert [line.split()[0] for line in text.splitlines()] == ["device", park[0].serial]


def test_ledger_fails_on_a_frame_too_many(owner: Owner, park: list[ParkDevice]) -> None:
    owner.execute(
        "INSERT INTO telemetry_frame VALUES (now(), %s, %s, 4, now(), now(), 1, '')",
        [park[0].tenant_id, park[0].device_id],
    )
    sentence = f"{park[0].serial}: 2 stored in the ledger, but 3 frames"
    with pytest.raises(CommandError, match=sentence):
        ledger("--json")
    assert json.loads(ledger("--json", "--device", park[1].serial))["ok"] is True


@pytest.mark.usefixtures("park")
def test_ledger_names_a_device_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="there is no device nobody"):
        ledger("--device", "nobody")

"""The history of a channel over the REST API: columns, CSV, bounds, and who gets them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import time_machine
from django.db import connections
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from devices.domain import series_bounds
from devices.models import Channel
from devices.protocol.data import Block, encode_data
from devices.tests import factories
from devices.tests.factories import START, Park
from portal.api import series
from portal.benchmarks import tokens
from portal.charts.history import MEDIA_TYPE
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
START_MS = int(START.timestamp()) * 1000
HOUR = {"start": "2026-03-01T12:00:00Z", "end": "2026-03-01T13:00:00Z"}


@pytest.fixture(scope="module")
def parks(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[tuple[Park, Park]]:
    """Ours and another's, committed once; ours has readings and quarters."""
    with django_db_blocker.unblock():
        ours, theirs = factories.park(), factories.park()
        _store(ours)
        yield ours, theirs
        factories.remove_everything()


@pytest.fixture
def client(parks: tuple[Park, Park]) -> Client:
    """Our manager in a browser."""
    signed_in = Client()
    signed_in.force_login(parks[0].manager)
    return signed_in


def _store(of: Park) -> None:
    """Besides what a park has: three readings of 12:30, and roll-ups of two quarters."""
    device = of.branches[0].device
    at = START + 30 * MINUTE
    times = START_MS + 1_800_000 + np.arange(3) * 2000
    body = encode_data(9, [Block(times, (0,), np.array([[500, -20, 510]]))])
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "INSERT INTO telemetry_frame VALUES (%s, %s, %s, 9, %s, %s, 3, %s)",
            [at, device.tenant_id, device.pk, at, at + timedelta(seconds=4), body],
        )
        cursor.execute("DELETE FROM rollup_15m WHERE device_id = %s", [device.pk])
        cursor.executemany(
            "INSERT INTO rollup_15m VALUES (%s, %s, %s, 0, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                [START, device.tenant_id, device.pk, 2, 100, 101, 100.5, 100, 101, 1.5, 0, 0.5],
                [
                    START + 30 * MINUTE, device.tenant_id, device.pk,
                    0, None, None, 40, None, None, 10, 2, 1,
                ],
            ],
        )  # fmt: skip


def _channel(of: Park, branch: int = 0) -> Channel:
    return of.branches[branch].channel


def _ask(client: Client, channel: Channel, accept: str = "*/*", **query: str) -> Any:
    address = reverse("api:channel-series", args=[channel.pk])
    return client.get(address, query, headers={"Accept": accept})


def test_readings_are_columns(client: Client, parks: tuple[Park, Park]) -> None:
    channel = _channel(parks[0])
    response = _ask(client, channel, **HOUR)
    assert response.status_code == 200
    assert response["Cache-Control"] == "private, no-cache"
    assert {"Accept", "Authorization", "Cookie"} <= set(response["Vary"].split(", "))
    assert response.json() == {
        "channel": channel.pk,
        "device": channel.device_id,
        "key": "active_power",
        "quantity": "active_power",
        "unit": "W",
        "time_zone": "Europe/Berlin",
        "start": "2026-03-01T12:00:00.000Z",
        "end": "2026-03-01T13:00:00.000Z",
        "resolution": "raw",
        "reason": "short",
        "as_of": None,
        "raw": {
            "time_ms": [START_MS + after for after in (0, 2000, 1800000, 1802000, 1804000)],
            "value": [100.0, 101.0, 50.0, -2.0, 51.0],
            "gap_before": [False, False, True, False, False],
        },
        "periods": None,
        "estimates": None,
    }


def test_estimates_are_told_apart_from_what_was_measured(
    client: Client, parks: tuple[Park, Park]
) -> None:
    asked = {"resolution": "quarter", "estimate": "true", **HOUR}
    body = _ask(client, _channel(parks[0]), **asked).json()
    assert body["periods"]["energy_wh"] == [1.5, 10.0]
    nothing: dict[str, list[float]] = {"start_ms": [], "end_ms": [], "wh": [], "share": []}
    gap = {"method": None, "wh": 0.0, "scaled": False, "reason": "too_little_history"}
    periods = (
        ("2026-03-01T12:00:00.000Z", "2026-03-01T12:30:00.000Z"),
        ("2026-03-01T12:45:00.000Z", "2026-03-01T13:00:00.000Z"),
    )
    gaps = [{"start": start, "end": end, **gap} for start, end in periods]
    assert body["estimates"] == {**nothing, "gaps": gaps}
    refused = _ask(client, _channel(parks[0]), "text/csv", **asked)
    assert refused.status_code == 400
    assert b"Estimates come as JSON" in refused.content


def test_periods_are_columns_with_null_for_the_unknown(
    client: Client, parks: tuple[Park, Park]
) -> None:
    body = _ask(client, _channel(parks[0]), resolution="quarter", **HOUR).json()
    assert (body["resolution"], body["reason"], body["raw"]) == ("quarter", "asked", None)
    assert body["periods"] == {
        "start_ms": [START_MS, START_MS + 1_800_000],
        "end_ms": [START_MS + 900_000, START_MS + 2_700_000],
        "n": [2, 0],
        "minimum": [100.0, None],
        "maximum": [101.0, None],
        "mean": [100.5, 40.0],
        "first": [100.0, None],
        "last": [101.0, None],
        "energy_wh": [1.5, 10.0],
        "returned_wh": [0.0, 2.0],
        "coverage": [0.5, 1.0],
        "gap_before": [False, True],
    }
    day = _ask(client, _channel(parks[0]), resolution="day", **HOUR).json()["periods"]
    assert (day["energy_wh"], day["n"], day["coverage"]) == ([11.5], [2], [0.375])


def test_rows_of_csv_say_what_the_columns_do(client: Client, parks: tuple[Park, Park]) -> None:
    response = _ask(client, _channel(parks[0]), "text/csv", resolution="quarter", **HOUR)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    head, *rows = csv.reader(io.StringIO(response.content.decode()))
    assert head == [
        "start", "end", "n", "minimum", "maximum", "mean", "first", "last", "energy_wh",
        "returned_wh", "coverage", "gap_before",
    ]  # fmt: skip
    assert rows[1] == [
        "2026-03-01T12:30:00.000Z", "2026-03-01T12:45:00.000Z", "0", "", "", "40.0", "", "",
        "10.0", "2.0", "1.0", "1",
    ]  # fmt: skip
    raw = _ask(client, _channel(parks[0]), "text/csv", **HOUR).content.decode().splitlines()
    assert raw[0] == "time,value,gap_before"
    assert raw[3] == "2026-03-01T12:30:00.000Z,50.0,1"
    assert len(raw) == 6


def test_what_had_arrived_by_an_instant(client: Client, parks: tuple[Park, Park]) -> None:
    body = _ask(client, _channel(parks[0]), as_of="2026-03-01T12:10:00Z", **HOUR).json()
    assert body["as_of"] == "2026-03-01T12:10:00.000Z"
    assert body["raw"]["value"] == [100.0, 101.0]


def test_the_last_day_is_told_unless_asked_otherwise(
    client: Client, parks: tuple[Park, Park]
) -> None:
    with time_machine.travel(START + timedelta(hours=23), tick=False):
        client.force_login(parks[0].manager)
        body = _ask(client, _channel(parks[0])).json()
    assert body["start"] == "2026-03-01T11:00:00.000Z"
    assert body["end"] == "2026-03-02T11:00:00.000Z"
    # Those of 11:00 are in a segment already.
    assert body["raw"]["value"] == [99.0, 99.5, 100.0, 101.0, 50.0, -2.0, 51.0]


@pytest.mark.parametrize("accept", ["*/*", "text/csv"])
@pytest.mark.parametrize(
    ("query", "parameter", "text"),
    [
        ({"end": HOUR["start"]}, "end", "The period is empty"),
        ({"start": "yesterday"}, "start", "Datetime has wrong format"),
        ({"end": "0001-01-01T00:00:00Z"}, "end", "between the years 1971 and 2100"),
        ({"end": "2050-01-01T00:00:00Z"}, "end", "at most 20 years"),
        ({"end": "2026-06-01T00:00:00Z", "resolution": "raw"}, "end", "ask for a roll-up instead"),
        ({"resolution": "weekly"}, "resolution", "is not a valid choice"),
        ({"points": "9"}, "points", "greater than or equal to 10"),
        ({"points": "20001"}, "points", "less than or equal to 20000"),
        ({"zone": "UTC"}, "zone", "There is no such parameter"),
    ],
)
def test_a_question_at_fault_is_told_what(
    client: Client,
    parks: tuple[Park, Park],
    accept: str,
    query: dict[str, str],
    parameter: str,
    text: str,
) -> None:
    asked = HOUR | query
    if query == {"end": "0001-01-01T00:00:00Z"}:
        del asked["start"]
    response = _ask(client, _channel(parks[0]), accept, **asked)
    assert response.status_code == 400
    assert response["Content-Type"] == "application/problem+json"
    (error,) = response.json()["errors"]
    assert error["parameter"] == parameter
    assert text in error["detail"]


def test_an_answer_that_is_too_long_is_refused(
    client: Client, parks: tuple[Park, Park], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devices.domain.series.MOST_ROWS", 4)
    assert series_bounds.MOST_ROWS == 50_000
    response = _ask(client, _channel(parks[0]), resolution="raw", **HOUR)
    assert response.status_code == 400
    (error,) = response.json()["errors"]
    assert "5 rows, and at most 4 are sent at once" in error["detail"]


def test_an_answer_that_the_caller_has_is_not_sent_again(
    client: Client, parks: tuple[Park, Park]
) -> None:
    address = reverse("api:channel-series", args=[_channel(parks[0]).pk])
    for accept in ("application/json", "text/csv"):
        first = client.get(address, HOUR, headers={"Accept": accept})
        again = client.get(
            address, HOUR, headers={"Accept": accept, "If-None-Match": first["ETag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


def test_what_lies_outside_the_callers_reach_does_not_exist(
    client: Client, parks: tuple[Park, Park]
) -> None:
    ours, theirs = parks
    assert _ask(client, _channel(theirs), **HOUR).status_code == 404
    with open_scope(ours.scope):
        account = tokens.application(
            tenant_id=ours.tenant.pk,
            scopes=("devices:read", "readings:read"),
            service=True,
            facility_ids=[ours.branches[0].facility.pk],
        )
        token, _ = tokens.issue(account, user_id=None)
    caller = Client(headers={"Authorization": f"Bearer {token}"})
    assert len(_ask(caller, _channel(ours), **HOUR).json()["raw"]["value"]) == 5
    assert _ask(caller, _channel(ours, 1), **HOUR).status_code == 404
    consumer = Client()
    consumer.force_login(ours.consumer(0))
    assert _ask(consumer, _channel(ours), **HOUR).status_code == 403
    assert _ask(consumer, _channel(ours, 1), **HOUR).status_code == 403


def test_both_scopes_are_needed(parks: tuple[Park, Park]) -> None:
    ours = parks[0]
    with open_scope(ours.scope):
        account = tokens.application(
            tenant_id=ours.tenant.pk, scopes=("devices:read",), service=True, facility_ids=None
        )
        token, _ = tokens.issue(account, user_id=None)
    refused = _ask(Client(headers={"Authorization": f"Bearer {token}"}), _channel(ours), **HOUR)
    assert refused.status_code == 403
    assert refused.json()["code"] == "insufficient_scope"


# --- Channels of a facility together ----------------------------------------------------------


def _ask_facility(client: Client, of: Park, accept: str = "*/*", **query: str) -> Any:
    address = reverse("api:facility-series", args=[of.branches[0].facility.pk])
    return client.get(address, query, headers={"Accept": accept})


def test_channels_of_a_facility_come_together(client: Client, parks: tuple[Park, Park]) -> None:
    first = _channel(parks[0])
    response = _ask_facility(client, parks[0], channels=f"{first.pk},{first.pk}", **HOUR)
    assert response.status_code == 200
    assert response.json() == {
        "facility": parks[0].branches[0].facility.pk,
        "series": [_ask(client, first, **HOUR).json()],
    }


def test_channels_of_a_facility_come_as_columns_of_bytes(
    client: Client, parks: tuple[Park, Park]
) -> None:
    channel = _channel(parks[0])
    response = _ask_facility(client, parks[0], MEDIA_TYPE, channels=str(channel.pk), **HOUR)
    assert (response.status_code, response["Content-Type"]) == (200, MEDIA_TYPE)
    length = int.from_bytes(response.content[:4], "little")
    (found,) = json.loads(response.content[4 : 4 + length])["channels"]
    kind, place, count = found["columns"]["value"]
    values = np.frombuffer(response.content, f"<{kind}", count, 4 + length + place)
    assert (found["device"], values.tolist()) == (channel.device_id, [1000, 1010, 500, -20, 510])
    again = client.get(
        reverse("api:facility-series", args=[parks[0].branches[0].facility.pk]),
        {"channels": str(channel.pk), **HOUR},
        headers={"Accept": MEDIA_TYPE, "If-None-Match": response["ETag"]},
    )
    assert again.status_code == 304


@pytest.mark.parametrize("branch", [0, 1])
def test_channels_of_another_facility_do_not_exist(
    client: Client, parks: tuple[Park, Park], branch: int
) -> None:
    other = _channel(parks[1 - branch], branch)
    response = _ask_facility(client, parks[0], channels=f"{_channel(parks[0]).pk},{other.pk}")
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("channels", ["", "x", "1,", "1;2", "0", "-1", "9" * 19])
def test_what_names_no_channels_is_told(
    client: Client, parks: tuple[Park, Park], channels: str
) -> None:
    response = _ask_facility(client, parks[0], MEDIA_TYPE, channels=channels)
    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    assert [one["parameter"] for one in response.json()["errors"]] == ["channels"]


def test_an_answer_of_a_facility_is_bounded(
    client: Client, parks: tuple[Park, Park], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series, "MOST_ROWS", 4)
    channel = str(_channel(parks[0]).pk)
    response = _ask_facility(client, parks[0], channels=channel, **HOUR)
    (told,) = response.json()["errors"]
    assert (response.status_code, told["parameter"]) == (400, "channels")
    assert "would have 5 rows, and at most 4" in told["detail"]
    assert _ask_facility(client, parks[0], MEDIA_TYPE, channels=channel, **HOUR).status_code == 200
    many = ",".join(map(str, range(1, 514)))
    response = _ask_facility(client, parks[0], channels=many, **HOUR)
    assert "at most 512 channels" in response.json()["errors"][0]["detail"]


def test_channels_of_a_facility_take_a_fixed_number_of_queries(
    client: Client, parks: tuple[Park, Park], django_assert_max_num_queries: Any
) -> None:
    _ask_facility(client, parks[0], channels=str(_channel(parks[0]).pk), **HOUR)
    with django_assert_max_num_queries(12) as one:
        _ask_facility(client, parks[0], channels=str(_channel(parks[0]).pk), **HOUR)
    assert any("telemetry_frame" in query["sql"] for query in one.captured_queries)

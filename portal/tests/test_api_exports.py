"""Exports over the REST API: small ones at once, others in the background, as whole files."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq
import pytest
from django.test import Client
from django.urls import reverse

from devices import tasks
from devices.models import DataExport
from devices.tests import factories
from devices.tests.factories import Park
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])


@pytest.fixture
def park() -> Iterator[Park]:
    yield factories.park()
    factories.remove_everything()


@pytest.fixture
def client(park: Park) -> Client:
    """The manager in a browser."""
    signed_in = Client(enforce_csrf_checks=False)
    signed_in.force_login(park.manager)
    return signed_in


def _ask(client: Client, **changes: Any) -> Any:
    wanted = {
        "start": "2026-03-01T12:00:00Z",
        "end": "2026-03-01T13:00:00Z",
        "resolution": "raw",
        "format": "csv",
    }
    return client.post(
        reverse("api:export-list"), {**wanted, **changes}, content_type="application/json"
    )


def _channels(park: Park) -> list[int]:
    with open_scope(park.scope):
        rows = park.branches[0].device.channels.filter(derived=False).order_by("number")
        return list(rows.values_list("pk", flat=True))


def _file(client: Client, pk: int, parts: int) -> bytes:
    pieces = []
    for number in range(parts):
        response = client.get(reverse("api:export-part", args=[pk, number]))
        assert (response.status_code, response["Content-Type"]) == (200, "application/octet-stream")
        pieces.append(response.content)
    assert client.get(reverse("api:export-part", args=[pk, parts])).status_code == 404
    return b"".join(pieces)


def test_small_export_is_finished_in_the_answer(client: Client, park: Park) -> None:
    response = _ask(client, channels=_channels(park))
    assert response.status_code == 201
    made = response.json()
    assert (made["state"], made["progress"], made["rows"], made["parts"]) == ("finished", 1.0, 2, 1)
    rows = list(csv.reader(io.StringIO(gzip.decompress(_file(client, made["id"], 1)).decode())))
    assert [row[2:] for row in rows[1:]] == [["100.0", "230.00"], ["101.0", "230.10"]]
    assert client.get(reverse("api:export", args=[made["id"]])).json() == made
    listed = client.get(reverse("api:export-list")).json()["results"]
    assert made in listed


def test_long_export_is_written_in_the_background(client: Client, park: Park) -> None:
    changes = {"end": "2026-03-21T00:00:00Z", "format": "parquet"}
    made = _ask(client, channels=_channels(park), **changes).json()
    assert (made["state"], made["parts"]) == ("waiting", 0)
    assert client.get(reverse("api:export-part", args=[made["id"], 0])).status_code == 404
    tasks.export_history(tenant_id=park.tenant.pk, export_id=made["id"])
    found = client.get(reverse("api:export", args=[made["id"]])).json()
    assert (found["state"], found["rows"], found["parts"]) == ("finished", 2, 1)
    table = pq.read_table(io.BytesIO(_file(client, made["id"], 1)))
    assert table.num_rows == 2
    assert client.delete(reverse("api:export", args=[made["id"]])).status_code == 204
    assert client.get(reverse("api:export", args=[made["id"]])).status_code == 404


def test_waiting_export_is_cancelled(client: Client, park: Park) -> None:
    made = _ask(client, channels=_channels(park), end="2026-03-21T00:00:00Z").json()
    assert client.delete(reverse("api:export", args=[made["id"]])).status_code == 204
    assert client.get(reverse("api:export", args=[made["id"]])).json()["state"] == "cancelled"


def test_what_cannot_be_exported_is_refused_at_its_parameter(client: Client, park: Park) -> None:
    own = _channels(park)
    for changes, parameter in (
        ({"end": "2026-03-01T12:00:00Z"}, "end"),
        ({"channels": []}, "channels"),
        ({"channels": own[:1] * 2}, "channels"),
        ({"format": "xls"}, "format"),
        ({"resolution": "auto"}, "resolution"),
        ({"time_zone": "Nowhere"}, "zone"),
        ({"colour": "red"}, "colour"),
    ):
        response = _ask(client, **{"channels": own, **changes})
        assert response.status_code == 400
        assert response.json()["errors"][0]["parameter"].split(".")[0] == parameter
    assert _ask(client, channels=[10**9]).status_code == 404
    response = client.post(reverse("api:export-list"), "[]", content_type="application/json")
    assert response.status_code == 400


def test_another_tenant_gets_none_of_it(client: Client, park: Park) -> None:
    made = _ask(client, channels=_channels(park)).json()
    other = Client()
    other.force_login(factories.park().manager)
    address = reverse("api:export", args=[made["id"]])
    assert other.get(address).status_code == 404
    assert other.delete(address).status_code == 404
    assert other.get(reverse("api:export-part", args=[made["id"], 0])).status_code == 404
    assert _ask(other, channels=_channels(park)).status_code == 404
    with open_scope(park.scope):
        assert DataExport.objects.filter(pk=made["id"]).exists()

"""Imports and exports of history by pages: from the file to the report, from channels to a file."""

from __future__ import annotations

import csv
import gzip
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries, DjangoCaptureOnCommitCallbacks

from devices import tasks
from devices.models import DataExport, Device, HistoryImport, HistoryState
from portal.tests.registry_world import Place, new_place
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db

NEM12 = (
    "100,NEM12,202601010000,A,B\r\n200,NMI1,E1,E1,E1,N1,S1,kWh,30,\r\n"
    f"300,20260110,{','.join(['1'] * 48)},A,,,20260301000000,\r\n900\r\n"
)
TABLE = "Zeit;Verbrauch (kWh)\n2026-01-10 00:00;1,5\n2026-01-10 00:15;2,5\n2026-01-10 00:30;3\n"


@pytest.fixture
def ours() -> Place:
    return new_place()


def _upload(client: Client, text: str) -> str:
    file = SimpleUploadedFile("file.csv", text.encode(), "text/csv")
    response = client.post(reverse("history-import-create"), {"file": file})
    assert response.status_code == 302
    return response["Location"]


def _run_of(at: Place) -> HistoryImport:
    with open_scope(at.scope):
        return HistoryImport.objects.latest("pk")


def test_file_goes_all_the_way(
    ours: Place, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    client = ours.client
    address = _upload(client, NEM12)
    assert "Column of the file" not in client.get(address).content.decode()
    settings = {"facility": ours.facility.pk, "placement": "mains"}
    response = client.post(address, settings, follow=True)
    html = response.content.decode()
    assert "48000 Wh" in html
    assert "NMI1: 48 new readings, 0 would change, 0 are there already." in html
    run = _run_of(ours)
    with django_capture_on_commit_callbacks() as callbacks:
        client.post(reverse("history-import-run", args=[run.pk]))
    assert len(callbacks) == 1
    progress = client.get(reverse("history-import-progress", args=[run.pk]))
    assert "0 of 1 parts" in progress.content.decode()
    tasks.import_history(tenant_id=ours.tenant.pk, run_id=run.pk)
    progress = client.get(reverse("history-import-progress", args=[run.pk]))
    assert progress["HX-Refresh"] == "true"
    assert "Were there already" in client.get(address).content.decode()
    assert "file.csv" in client.get(reverse("history-import-list")).content.decode()
    response = client.post(address, settings, follow=True)
    assert "The file is being imported or has been." in response.content.decode()
    with open_scope(ours.scope):
        assert Device.objects.get(serial="NMI1").facility_id == ours.facility.pk


def test_table_asks_what_its_columns_are(ours: Place) -> None:
    client = ours.client
    address = _upload(client, TABLE)
    html = client.get(address).content.decode()
    assert "What “Verbrauch (kWh)” is" in html
    wanted: dict[str, Any] = {
        "facility": ours.facility.pk,
        "placement": "mains",
        "time": "Zeit",
        "stamp": "start",
        "zone": "Europe/Vienna",
        "decimal_mark": ",",
        "meter": "AT1",
    }
    response = client.post(address, wanted)
    assert response.status_code == 422
    assert "Say of at least one column what its values are." in response.content.decode()
    response = client.post(address, {**wanted, "column-1": "import"}, follow=True)
    assert "7000 Wh" in response.content.decode()
    assert client.get(f"{address}?settings").status_code == 200
    # A meter that nobody names can be nowhere.
    response = client.post(address, {**wanted, "column-1": "import", "meter": ""}, follow=True)
    assert "does not say which meter it is of" in response.content.decode()
    response = client.post(reverse("history-import-remove", args=[_run_of(ours).pk]), follow=True)
    assert "The file was discarded." in response.content.decode()


def test_file_that_cannot_be_read_says_why(ours: Place) -> None:
    address = _upload(ours.client, "100,NEM99,1\r\n")
    settings = {"facility": ours.facility.pk, "placement": "mains"}
    response = ours.client.post(address, settings, follow=True)
    assert "NEM12 and NEM13 are read." in response.content.decode()
    run = _run_of(ours)
    assert run.state == HistoryState.UPLOADED
    response = ours.client.post(reverse("history-import-run", args=[run.pk]), follow=True)
    assert "The import has gone on meanwhile" in response.content.decode()


def test_too_large_file_is_refused(ours: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.enterprise.history.forms.MAX_UPLOAD", 10)
    file = SimpleUploadedFile("file.csv", b"x" * 11, "text/csv")
    response = ours.client.post(reverse("history-import-create"), {"file": file})
    assert response.status_code == 422


def test_facility_of_another_organisation_is_no_choice(ours: Place) -> None:
    address = _upload(ours.client, NEM12)
    other = new_place()
    response = ours.client.post(address, {"facility": other.facility.pk, "placement": "mains"})
    assert response.status_code == 422


def test_export_is_asked_for_and_downloaded(
    ours: Place, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    client = ours.client
    with open_scope(ours.scope):
        channel = ours.device.channels.order_by("number")[0]
    address = reverse("export-create")
    assert "Channels" not in client.get(address).content.decode().split("<main")[1]
    html = client.get(address, {"facility": ours.facility.pk}).content.decode()
    assert f"{ours.device.name}: Active power (W)" in html
    wanted = {
        "facility": ours.facility.pk,
        "channels": [channel.pk],
        "first": "2026-03-01",
        "last": "2026-03-20",
        "resolution": "raw",
        "format": "csv",
    }
    for changes, sentence in (
        ({"last": "2026-02-01"}, "must not lie before"),
        ({"channels": []}, "required"),
        ({"first": "1950-01-01"}, "between the years"),
    ):
        response = client.post(address, {**wanted, **changes})
        assert response.status_code == 422
        assert sentence in response.content.decode()
    with django_capture_on_commit_callbacks() as callbacks:
        page = client.post(address, wanted)["Location"]
    assert len(callbacks) == 1
    with open_scope(ours.scope):
        export = DataExport.objects.latest("pk")
    progress = reverse("export-progress", args=[export.pk])
    assert "HX-Refresh" not in client.get(progress)
    assert client.get(reverse("export-file", args=[export.pk])).status_code == 404
    tasks.export_history(tenant_id=ours.tenant.pk, export_id=export.pk)
    assert client.get(progress)["HX-Refresh"] == "true"
    assert "Download" in client.get(page).content.decode()
    sent: Any = client.get(reverse("export-file", args=[export.pk]))
    assert ".csv.gz" in sent["Content-Disposition"]
    text = gzip.decompress(b"".join(sent)).decode()
    heading = f"{ours.device.serial} active_power (W)"
    assert next(csv.reader([text])) == ["time_utc", "time_local", heading]
    client.post(reverse("export-cancel", args=[export.pk]))
    assert client.get(page).status_code == 404


def test_lists_take_as_many_queries_for_three_as_for_one(
    ours: Place, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    ours.client.get(reverse("export-list"))  # what is kept of a tenant's look is looked up once
    counts = []
    for _ in range(2):
        _upload(ours.client, NEM12)
        _ask(ours)
        for name in ("history-import-list", "export-list"):
            with django_assert_max_num_queries(40) as found:
                assert ours.client.get(reverse(name)).status_code == 200
            counts.append(len(found))
        _ask(ours)
        _upload(ours.client, TABLE)
    assert counts[:2] == counts[2:]


def _ask(at: Place) -> None:
    with open_scope(at.scope):
        channel = at.device.channels.order_by("number")[0]
    at.client.post(
        reverse("export-create"),
        {
            "facility": at.facility.pk,
            "channels": [channel.pk],
            "first": "2026-03-01",
            "last": "2026-03-01",
            "resolution": "raw",
            "format": "csv",
        },
    )

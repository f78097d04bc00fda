"""Imports by pages: upload, columns, dry run, run, result."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks

from devices import tasks
from devices.domain import imports_operations, imports_queries
from devices.models import Device, DeviceType, Facility, ImportRow, ImportRun
from devices.tests import factories
from portal.enterprise.registry import views_imports
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db


@dataclass
class Office:
    """Where imports are made."""

    tenant: Tenant
    facility: Facility
    kind: DeviceType
    client: Client

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))


def _office() -> Office:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        client = Client()
        client.force_login(factories.member(of, Role.MANAGER).user)
        return Office(of, factories.facility(of), factories.device_type(of), client)


@pytest.fixture
def ours() -> Office:
    return _office()


def _upload(at: Office, text: str, kind: str = "devices") -> Any:
    file = SimpleUploadedFile("park.csv", text.encode("cp1252"), "text/csv")
    return at.client.post(reverse("import-create"), {"kind": kind, "file": file})


def _run_of(at: Office) -> ImportRun:
    with open_scope(at.scope):
        return ImportRun.objects.latest("pk")


def _columns(at: Office, *fields: str, **more: str) -> dict[str, str]:
    chosen = {f"column-{n}": field for n, field in enumerate(fields)}
    options = {
        "facility_id": str(at.facility.pk),
        "device_type_id": str(at.kind.pk),
        "state": "planned",
        "claim_codes": "on",
        "lifetime_days": "30",
    }
    return {**chosen, **options, **more}


def test_a_file_goes_all_the_way(
    ours: Office, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    answer = _upload(ours, "Seriennummer;Bezeichnung;Farbe\nI-1;Küche;rot\nI-1;Zwei;\n-x;;\n")
    run = _run_of(ours)
    page = reverse("import", args=[run.pk])
    assert answer["Location"] == page

    columns = ours.client.get(page)
    assert [column.field for column in columns.context["run"].columns] == ["serial", "name", ""]
    assert "Küche" in columns.content.decode()

    checked = ours.client.post(page, _columns(ours, "serial", "name", ""))
    assert checked["Location"] == page
    rows = ours.client.get(page)
    assert rows.context["work"] == 1
    assert "Line 2 has the same serial" in rows.content.decode()
    with open_scope(ours.scope):
        assert not Device.objects.exists()

    with django_capture_on_commit_callbacks() as enqueued:
        started = ours.client.post(reverse("import-run", args=[run.pk]))
    assert (started["Location"], len(enqueued)) == (page, 1)
    running = ours.client.get(reverse("import-progress", args=[run.pk]))
    assert "2 of 3 rows" in running.content.decode()
    assert "HX-Refresh" not in running

    tasks.run_import(tenant_id=ours.tenant.pk, run_id=run.pk)
    assert ours.client.get(reverse("import-progress", args=[run.pk]))["HX-Refresh"] == "true"
    finished = ours.client.get(page)
    assert "1 new secret waits" in finished.content.decode()
    with open_scope(ours.scope):
        assert Device.objects.get().name == "Küche"

    first, second = _result(ours, run), _result(ours, run)
    assert [row["Outcome"] for row in first] == ["Create", "Refuse", "Refuse"]
    assert len(first[0]["Secret"]) == 52
    assert len(first[0]["Claim code"]) == 19
    assert (second[0]["Secret"], second[0]["Claim code"]) == ("", first[0]["Claim code"])


def _result(at: Office, run: ImportRun) -> list[dict[str, str]]:
    answer = at.client.post(reverse("import-result", args=[run.pk]))
    assert "no-store" in answer["Cache-Control"]
    return list(csv.DictReader(io.StringIO(answer.content.decode().removeprefix("\ufeff"))))


def test_a_list_of_facilities_takes_the_zone_of_the_organisation(ours: Office) -> None:
    _upload(ours, "name,city\nYard,Bonn\n", "facilities")
    page = reverse("import", args=[_run_of(ours).pk])
    form = ours.client.get(page).context["form"]
    assert form["time_zone"].value() == ours.tenant.time_zone
    answer = ours.client.post(
        page,
        {"column-0": "name", "column-1": "city", "kind": "shop", "time_zone": "Europe/Lisbon"},
    )
    assert answer.status_code == 302
    with open_scope(ours.scope):
        (row,) = ImportRow.objects.all()
    assert row.values == {
        "path": ["Yard"],
        "city": "Bonn",
        "kind": "shop",
        "time_zone": "Europe/Lisbon",
    }


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "empty"), ("serial\n", "no row below"), ('serial\n"x', "Line 2")]
)
def test_a_file_that_cannot_be_read_is_refused_at_its_field(
    ours: Office, text: str, sentence: str
) -> None:
    answer = _upload(ours, text)
    assert answer.status_code == 422
    assert sentence in str(answer.context["form"].errors["file"])


def test_a_file_that_is_too_big_is_not_read(ours: Office) -> None:
    answer = _upload(ours, "x" * 5_000_001)
    assert "at most 5 MB" in str(answer.context["form"].errors["file"])
    with open_scope(ours.scope):
        assert not ImportRun.objects.exists()


def test_bad_columns_are_told(ours: Office) -> None:
    _upload(ours, "a;b\n1;2\n")
    page = reverse("import", args=[_run_of(ours).pk])
    for columns, sentence in (
        (("", ""), "No column is chosen for: Serial"),
        (("serial", "serial"), "cannot both be"),
    ):
        answer = ours.client.post(page, _columns(ours, *columns))
        assert answer.status_code == 422
        assert sentence in answer.content.decode()


@pytest.mark.parametrize("field", ["facility_id", "device_type_id"])
def test_ids_of_another_tenant_are_no_choice(ours: Office, field: str) -> None:
    theirs = _office()
    _upload(ours, "serial\nX-1\n")
    page = reverse("import", args=[_run_of(ours).pk])
    foreign = {"facility_id": theirs.facility.pk, "device_type_id": theirs.kind.pk}[field]
    answer = ours.client.post(page, _columns(ours, "serial", **{field: str(foreign)}))
    assert answer.status_code == 422
    assert field in answer.context["form"].errors


def test_an_import_is_started_once(
    ours: Office, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    _upload(ours, "serial\nX-1\n")
    run = _run_of(ours)
    ours.client.post(reverse("import", args=[run.pk]), _columns(ours, "serial"))
    counts = []
    for _ in range(2):
        with django_capture_on_commit_callbacks() as enqueued:
            ours.client.post(reverse("import-run", args=[run.pk]))
        counts.append(len(enqueued))
    assert counts == [1, 0]
    # Nor is one that runs removed, or checked once more.
    ours.client.post(reverse("import-remove", args=[run.pk]))
    ours.client.post(reverse("import", args=[run.pk]), _columns(ours, "serial"))
    with open_scope(ours.scope):
        assert ImportRun.objects.get(pk=run.pk).state == "running"


def test_an_import_is_discarded(ours: Office) -> None:
    _upload(ours, "serial\nX-1\n")
    run = _run_of(ours)
    assert ours.client.post(reverse("import-remove", args=[run.pk])).status_code == 302
    with open_scope(ours.scope):
        assert not ImportRun.objects.exists()


def test_results_hold_no_formulas(ours: Office) -> None:
    _upload(ours, "name\n=1+1\n", "facilities")
    run = _run_of(ours)
    page = reverse("import", args=[run.pk])
    ours.client.post(page, {"column-0": "name", "kind": "site", "time_zone": "UTC"})
    with open_scope(ours.scope):
        imports_operations.start(run_id=run.pk, now=factories.START, actor_id=None)
    tasks.run_import(tenant_id=ours.tenant.pk, run_id=run.pk)
    (row,) = _result(ours, run)
    assert row["Row"] == "'=1+1"


@pytest.mark.parametrize("kind", ["facilities", "devices"])
def test_the_template_file_can_be_imported(ours: Office, kind: str) -> None:
    text = ours.client.get(reverse("import-template"), {"kind": kind}).content.decode()
    assert _upload(ours, text.removeprefix("\ufeff"), kind).status_code == 302
    assert "" not in _run_of(ours).columns


def test_a_run_that_lost_its_worker_is_taken_up(
    ours: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the task itself, which the clock starts."""
    _upload(ours, "serial\nX-1\n")
    run = _run_of(ours)
    ours.client.post(reverse("import", args=[run.pk]), _columns(ours, "serial"))
    with open_scope(ours.scope):
        imports_operations.start(run_id=run.pk, now=factories.START, actor_id=None)
    started: list[dict[str, int]] = []
    monkeypatch.setattr(tasks.run_import, "delay", lambda **kwargs: started.append(kwargs))
    tasks.resume_imports()
    assert started == [{"tenant_id": ours.tenant.pk, "run_id": run.pk}]


def test_labels_of_a_big_import_are_in_the_list(ours: Office) -> None:
    _upload(ours, "serial\nX-1\n")
    with open_scope(ours.scope):
        found = imports_queries.detail(run_id=_run_of(ours).pk)
    few, many = (
        views_imports._labels(_with_codes(found, codes)) for codes in ((4, 5), tuple(range(501)))
    )
    assert few == f"{reverse('code-labels')}?device=4&device=5"
    assert many == f"{reverse('code-list')}?state=open"


def _with_codes(found: Any, codes: tuple[int, ...]) -> Any:
    return replace(found, codes=codes)

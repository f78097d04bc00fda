"""Bulk imports: files as people save them, the dry run, the run, and a run that was killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections

from devices import tasks
from devices.domain import (
    imports_check,
    imports_operations,
    imports_queries,
    imports_reading,
    operations,
)
from devices.domain.imports_check import WrongState
from devices.domain.imports_columns import COLUMNS, guess
from devices.domain.imports_plan import Options
from devices.domain.imports_reading import Unreadable
from devices.domain.imports_values import device_values, facility_values
from devices.domain.secrets import DeviceSecret
from devices.models import (
    ClaimCode,
    Device,
    DeviceType,
    Facility,
    FacilityKind,
    ImportKind,
    ImportRow,
    ImportRun,
    Outcome,
)
from devices.tests import factories
from tenants.models import AuditEntry, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

NOW = datetime.now(UTC)
OPTIONS = Options(time_zone="Europe/Berlin")


# --- reading a file -----------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [";", ",", "\t"])
def test_file_is_read_as_it_was_saved(encoding: str, separator: str) -> None:
    text = f'Name{separator}City\r\n"Müller{separator} Söhne"{separator}Köln\r\n\r\n'
    table = imports_reading.read(text.encode(encoding))
    assert (table.header, table.separator) == (("Name", "City"), separator)
    (line,) = table.lines
    assert (line.number, line.cells) == (2, (f"Müller{separator} Söhne", "Köln"))


def test_lines_are_numbered_as_in_the_file() -> None:
    table = imports_reading.read(b'\nName;Street\n"a\nb";x\n\nc;y\n')
    assert [(line.number, line.cells) for line in table.lines] == [
        (3, ("a\nb", "x")),
        (6, ("c", "y")),
    ]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "empty"),
        (b"name;city\n", "no row below"),
        (b'name\n"open', "Line 2"),
        (b"PK\x03\x04\0\0", "no text file"),
        (b"name\n" + b"x\n" * (imports_reading.MAX_ROWS + 1), "more than 20000 rows"),
        (b"x" * (imports_reading.MAX_BYTES + 1), "5 MB"),
        (b"name\n" + b"x" * 3000, "more than 2000 characters"),
        (b";".join([b"a"] * 61) + b"\n1", "61 columns"),
    ],
)
def test_file_that_cannot_be_read_is_refused_with_a_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(Unreadable, match=sentence):
        imports_reading.read(content)


def test_columns_are_recognised_by_their_names() -> None:
    header = ["Standort", "Straße", "PLZ", "Time Zone", "colour", "Länge", "name"]
    assert guess(ImportKind.FACILITIES, header) == [
        *("name", "street", "postal_code", "time_zone", "", "longitude", ""),
    ]


# --- cells --------------------------------------------------------


def test_degrees_have_a_decimal_point_or_comma() -> None:
    values, problems = facility_values({"name": "x", "latitude": "49,4", "longitude": "8.69"})
    assert (values["latitude"], values["longitude"], problems) == ("49.400000", "8.690000", [])


def test_choices_are_known_by_code_and_name() -> None:
    for text in ("fuel_station", "Fuel station", "FUEL-STATION"):
        assert facility_values({"name": "x", "kind": text})[0]["kind"] == "fuel_station"


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "x", "kind": "castle"}, "kind"),
        ({"name": "x", "country": "Germany"}, "country"),
        ({"name": "x", "time_zone": "Berlin"}, "time_zone"),
        ({"name": "x", "latitude": "91", "longitude": "1"}, "latitude"),
        ({"name": "x", "latitude": "nan", "longitude": "1"}, "latitude"),
        ({"name": "x", "latitude": "1", "longitude": ""}, "latitude"),
    ],
)
def test_bad_cells_of_facilities_are_named(cells: dict[str, str], field: str) -> None:
    _values, problems = facility_values(cells)
    assert field in {problem.field for problem in problems}


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        ({"serial": ""}, "serial"),
        ({"serial": "-x"}, "serial"),
        ({"serial": "x", "placement": "roof"}, "placement"),
        ({"serial": "x", "secret_sha256": "abc"}, "secret_sha256"),
    ],
)
def test_bad_cells_of_devices_are_named(cells: dict[str, str], field: str) -> None:
    _values, problems = device_values(cells)
    assert [problem.field for problem in problems] == [field]


# --- the dry run --------------------------------------------------


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


def _upload(of: Tenant, kind: ImportKind, *lines: str) -> ImportRun:
    return imports_operations.upload(
        tenant_id=of.pk,
        kind=kind,
        file_name="park.csv",
        content="\n".join(lines).encode(),
        language="en",
        actor_id=None,
    )


def _check(run: ImportRun, options: Options = OPTIONS) -> list[ImportRow]:
    imports_check.check(run_id=run.pk, columns=run.columns, options=options, now=NOW)
    return list(ImportRow.objects.filter(run=run).order_by("line"))


def _outcomes(rows: list[ImportRow]) -> list[tuple[int, str]]:
    return [(row.line, row.outcome) for row in rows]


def test_dry_run_tells_row_by_row_and_changes_nothing(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        known = factories.facility(ours)
        changed = factories.facility(ours)
        run = _upload(
            ours,
            ImportKind.FACILITIES,
            "name,parent,city,latitude,longitude",
            "Campus,,Köln,,",
            "House A,Campus,,,",
            f"{known.name},,,,",
            f"{changed.name},,Bonn,,",
            "Attic,House Z,,,",
            "Campus,,,,",
            "Roof,,,91,2",
        )
        rows = _check(run)
        assert _outcomes(rows) == [
            (2, "create"),
            (3, "create"),
            (4, "leave"),
            (5, "change"),
            (6, "refuse"),
            (7, "refuse"),
            (8, "refuse"),
        ]
        texts = [imports_queries.row_text(run.kind, row) for row in rows]
        assert rows[1].label == "Campus › House A"
        assert texts[3] == "City: – → Bonn"
        assert "There is no facility “House Z”" in texts[4]
        assert "Line 2 names the same facility" in texts[5]
        assert texts[6].startswith("Latitude: The degrees must lie")
        assert Facility.objects.count() == 2


def test_dry_run_can_be_repeated_with_other_columns(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        run = _upload(ours, ImportKind.FACILITIES, "what,city", "Campus,Köln")
        assert run.columns == ["", "city"]
        with pytest.raises(ValidationError, match="No column is chosen for: Name"):
            _check(run)
        with pytest.raises(ValidationError, match="cannot both be"):
            imports_check.check(run_id=run.pk, columns=["name", "name"], options=OPTIONS, now=NOW)
        run.columns = ["name", ""]
        for _ in range(2):
            assert _outcomes(_check(run)) == [(2, "create")]


def test_ambiguous_facility_asks_for_its_path(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        kind = factories.device_type(ours)
        for top in (factories.facility(ours), factories.facility(ours)):
            area = factories.facility(ours, top)
            area.name = "Kitchen"
            area.save(update_fields=["name"])
        run = _upload(
            ours,
            ImportKind.DEVICES,
            "serial;facility;type",
            f"A-1;Kitchen;{kind.code}",
            f"A-2;{top.name} > Kitchen;{kind.code}",
        )
        first, second = _check(run)
        assert first.outcome == "refuse"
        assert "Write the path" in first.problems[0]["text"]
        assert (second.outcome, second.values["facility"]) == ("create", area.pk)


def test_devices_are_matched_by_their_serial(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        at, other = factories.facility(ours), factories.facility(ours)
        kind = factories.device_type(ours)
        same, renamed, retyped = (factories.device(at, kind).device for _ in range(3))
        run = _upload(
            ours,
            ImportKind.DEVICES,
            "serial;name;facility;type;placement",
            f"{same.serial};;;;Mains",
            f"{renamed.serial};New name;{other.name};;",
            f"{retyped.serial};;;{factories.device_type(ours).code};",
            "NEW-1;;;;",
            f"NEW-2;;{at.name};nothing;",
            f"NEW-3;;{at.name};{kind.code};",
            f"NEW-3;;{at.name};{kind.code};",
        )
        rows = _check(run)
        assert [row.outcome for row in rows] == [
            *("leave", "change", "refuse", "refuse", "refuse", "create", "refuse"),
        ]
        texts = [imports_queries.row_text(run.kind, row) for row in rows]
        assert "registered with another type" in texts[2]
        assert "none is chosen for all rows" in texts[3]
        assert "no device type with the code “nothing”" in texts[4]
        assert "Line 7 has the same serial" in texts[6]


def test_a_device_that_has_reported_keeps_its_facility(db: None) -> None:
    with open_scope(Scope(((ours := factories.tenant()).pk,))):
        at, other = factories.facility(ours), factories.facility(ours)
        device = factories.device(at).device
        channel = device.channels.get(number=0)
        load = operations.create_load(
            tenant_id=ours.pk, facility_id=at.pk, name="Oven", actor_id=None
        )
        operations.allocate_channel(
            channel_id=channel.pk, load_id=load.pk, starts_at=NOW, actor_id=None
        )
        run = _upload(ours, ImportKind.DEVICES, "serial;facility", f"{device.serial};{other.name}")
        (row,) = _check(run)
        assert row.outcome == "refuse"
        assert "register it anew" in row.problems[0]["text"]


def test_another_tenants_facilities_types_and_devices_do_not_exist(ours: Tenant) -> None:
    theirs = factories.tenant()
    with open_scope(Scope((theirs.pk,))):
        foreign = factories.device(factories.facility(theirs)).device
    with open_scope(Scope((ours.pk, theirs.pk))):  # an operator sees both
        at, kind = factories.facility(ours), factories.device_type(ours)
        run = _upload(
            ours,
            ImportKind.DEVICES,
            "serial;facility;type",
            f"X-1;{foreign.facility.name};{kind.code}",
            f"X-2;{at.name};{foreign.device_type.code}",
        )
        assert [row.outcome for row in _check(run)] == ["refuse", "refuse"]


# --- the run ------------------------------------------------------


def _run(run: ImportRun) -> list[ImportRow]:
    imports_operations.start(run_id=run.pk, now=NOW, actor_id=None)
    while imports_operations.advance(run_id=run.pk, now=NOW, group=2).more:
        pass
    return list(ImportRow.objects.filter(run=run).order_by("line"))


def test_run_makes_facilities_and_those_inside_them(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        run = _upload(
            ours,
            ImportKind.FACILITIES,
            "name;parent;kind;latitude;longitude",
            "Campus;;Site;50,9;6,9",
            "House A;Campus;building;;",
            "Room 1;Campus › House A;area;;",
        )
        _check(run)
        rows = _run(run)
        assert [row.done_at is not None for row in rows] == [True] * 3
        room = Facility.objects.get(name="Room 1")
        assert rows[2].subject_id == room.pk
        assert room.parent is not None
        assert room.parent.parent is not None
        assert (room.kind, room.parent.name, room.parent.parent.name) == (
            FacilityKind.AREA,
            "House A",
            "Campus",
        )
        assert room.time_zone == "Europe/Berlin"
        assert str(room.parent.parent.latitude) == "50.900000"
        finished = AuditEntry.objects.get(action="import.finish")
        assert finished.after == {"create": 3, "change": 0, "leave": 0, "refuse": 0}


def test_what_an_import_does_is_done_by_who_had_it_run(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        uploader, starter = (factories.member(ours, Role.MANAGER).user for _ in range(2))
        run = imports_operations.upload(
            tenant_id=ours.pk,
            kind=ImportKind.FACILITIES,
            file_name="park.csv",
            content=b"name\nCampus",
            language="en",
            actor_id=uploader.pk,
        )
        _check(run)
        imports_operations.start(run_id=run.pk, now=NOW, actor_id=starter.pk)
        imports_operations.advance(run_id=run.pk, now=NOW)
        told = AuditEntry.objects.filter(action__in=["facility.create", "import.finish"])
        assert set(told.values_list("action", "actor")) == {
            ("facility.create", starter.pk),
            ("import.finish", starter.pk),
        }


def test_a_second_import_of_the_same_file_changes_nothing(ours: Tenant) -> None:
    lines = ("name;city;latitude;longitude", "Campus;Köln;50,9;6,9", "Yard;Bonn;;")
    with open_scope(Scope((ours.pk,))):
        first = _upload(ours, ImportKind.FACILITIES, *lines)
        _check(first)
        _run(first)
        second = _upload(ours, ImportKind.FACILITIES, *lines)
        assert [row.outcome for row in _check(second)] == ["leave", "leave"]


def _devices(of: Tenant, *lines: str, options: dict[str, Any] | None = None) -> ImportRun:
    """An import of devices of one type at one facility."""
    chosen = {
        "facility_id": factories.facility(of).pk,
        "device_type_id": factories.device_type(of).pk,
    }
    run = _upload(of, ImportKind.DEVICES, *lines)
    _check(run, Options(**(chosen | (options or {}))))
    return run


def test_planned_devices_get_claim_codes_and_secrets_that_are_shown_once(ours: Tenant) -> None:
    own = DeviceSecret.draw()
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial;secret sha256", f"P-1;{own.sha256.hex()}", "P-2;")
        _run(run)
        one, two = Device.objects.order_by("serial")
        assert bytes(one.secret_sha256) == own.sha256
        assert (one.state, ClaimCode.objects.count()) == ("planned", 2)
        found = imports_queries.detail(run_id=run.pk)
        assert (found.secrets, found.codes) == (1, (one.pk, two.pk))
        secrets = imports_operations.take_secrets(run_id=run.pk, actor_id=None)
        lines = imports_queries.result(run_id=run.pk, secrets=secrets)
        assert [line.secret != "" for line in lines] == [False, True]
        drawn = DeviceSecret.parse(lines[1].secret)
        assert hashlib.sha256(drawn.value).digest() == bytes(two.secret_sha256)
        assert all(len(line.code) == 19 for line in lines)
        assert imports_operations.take_secrets(run_id=run.pk, actor_id=None) == {}
        assert AuditEntry.objects.filter(action="import.fetch_secrets").count() == 1
        assert drawn.text not in str(list(AuditEntry.objects.values_list("after", flat=True)))


def test_secrets_that_nobody_fetches_are_forgotten(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial", "P-1", options={"state": "active"})
        _run(run)
        assert not ClaimCode.objects.exists()
        later = NOW + imports_operations.SEALED_FOR + timedelta(minutes=1)
        assert imports_operations.forget_sealed(now=later) == 1
        assert imports_operations.take_secrets(run_id=run.pk, actor_id=None) == {}


def test_a_row_that_the_database_refuses_holds_up_no_other(ours: Tenant) -> None:
    """The serial is another tenant's, which no dry run of ours may see."""
    theirs = factories.tenant()
    with open_scope(Scope((theirs.pk,))):
        taken = factories.device(factories.facility(theirs)).device.serial
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial", "R-1", taken, "R-3")
        rows = _run(run)
        assert [row.outcome for row in rows] == ["create", "refuse", "create"]
        assert "registered already" in rows[1].problems[0]["text"]
        assert set(Device.objects.values_list("serial", flat=True)) == {"R-1", "R-3"}


def test_a_row_whose_facility_has_gone_is_refused(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial", "G-1")
        row = ImportRow.objects.get(run=run)
        row.values["facility"] = 2**40
        row.save(update_fields=["values"])
        (row,) = _run(run)
        assert row.outcome == "refuse"
        assert "removed since the check" in row.problems[0]["text"]


def test_an_import_starts_once(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial", "S-1")
        imports_operations.start(run_id=run.pk, now=NOW, actor_id=None)
        with pytest.raises(WrongState, match="running"):
            imports_operations.start(run_id=run.pk, now=NOW, actor_id=None)
        with pytest.raises(WrongState):
            _check(run)
        with pytest.raises(WrongState):
            imports_operations.remove(run_id=run.pk, actor_id=None)


def test_a_run_that_stands_still_is_found(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial", "T-1")
        imports_operations.start(run_id=run.pk, now=NOW, actor_id=None)
        assert imports_operations.stalled(now=NOW + timedelta(seconds=30)) == ()
        late = NOW + imports_operations.STALLED + timedelta(seconds=1)
        assert imports_operations.stalled(now=late) == ((ours.pk, run.pk),)


def test_template_columns_read_back() -> None:
    for kind, columns in COLUMNS.items():
        assert guess(kind, [str(column.label) for column in columns]) == [
            column.field for column in columns
        ]


KILLED = """
import django, sys
django.setup()
from devices.tasks import run_import
run_import(tenant_id=int(sys.argv[1]), run_id=int(sys.argv[2]))
"""


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_an_import_that_is_killed_goes_on_and_does_every_row_once() -> None:
    ours = factories.tenant()
    count = 400
    with open_scope(Scope((ours.pk,))):
        run = _devices(ours, "serial", *(f"K-{n:04}" for n in range(count)))
        imports_operations.start(run_id=run.pk, now=NOW, actor_id=None)
    connections["default"].close()

    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(ours.pk), str(run.pk)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "portal.settings"},
    )
    try:
        for _ in range(600):
            with open_scope(Scope((ours.pk,))):
                done = ImportRow.objects.filter(run=run, done_at__isnull=False).count()
            if done >= 50 or worker.poll() is not None:
                break
            time.sleep(0.05)
    finally:
        worker.kill()
        worker.wait()
    assert 50 <= done < count

    tasks.run_import(tenant_id=ours.pk, run_id=run.pk)
    tasks.run_import(tenant_id=ours.pk, run_id=run.pk)
    with open_scope(Scope((ours.pk,))):
        run.refresh_from_db()
        assert run.state == "finished"
        rows = ImportRow.objects.filter(run=run, outcome=Outcome.CREATE)
        assert rows.filter(done_at__isnull=False).count() == count
        assert Device.objects.count() == count
        assert ClaimCode.objects.count() == count
        assert AuditEntry.objects.filter(action="device.register").count() == count
        assert set(rows.values_list("subject_id", flat=True)) == set(
            Device.objects.values_list("pk", flat=True)
        )
        assert DeviceType.objects.count() == 1

"""The audit log: what it shows, what it finds, whose it is, its file."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from asgiref.sync import sync_to_async
from django.db import connection
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils.formats import date_format

from devices.domain import operations as park_operations
from devices.models import DeviceState
from devices.tests import factories
from portal.enterprise.administration import audit_export, audit_pages, words
from portal.settings import BASE_DIR
from tenants.domain import audit, audit_queries
from tenants.domain.audit import Origin
from tenants.domain.audit_queries import AuditFilter
from tenants.models import AuditChannel, AuditEntry, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


@pytest.fixture
def admin(ours: Tenant) -> User:
    with open_scope(Scope((ours.pk,))):
        return factories.member(ours, Role.ADMIN).user


@pytest.fixture
def client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def _tell(of: Tenant, action: str, *, at: datetime = START, **details: Any) -> None:
    """An event of the tenant at a time."""
    with time_machine.travel(at, tick=False):
        audit.record_event(user_id=None, action=action, tenant_ids=(of.pk,), details=details)


def _get(client: Client, **query: str) -> str:
    response = client.get(reverse("audit"), query)
    assert response.status_code == 200
    return response.content.decode()


def _shown(client: Client, **query: str) -> list[str]:
    """The codes of the entries on the page."""
    response = client.get(reverse("audit"), query)
    return [one["code"] for day in response.context["days"] for one in day["entries"]]


def _all(of: Scope, limit: int, **wanted: Any) -> list[audit_queries.EntryFacts]:
    """Every entry, page by page."""
    found: list[audit_queries.EntryFacts] = []
    behind = None
    while True:
        with open_scope(of):
            page = audit_queries.page(wanted=AuditFilter(**wanted), behind=behind, limit=limit)
        assert len(page.entries) <= limit
        found += page.entries
        behind = page.older
        if behind is None:
            return found


# --- what is shown ------------------------------------------------


def test_a_change_is_told_in_words(client: Client, ours: Tenant, admin: User) -> None:
    where = Origin(AuditChannel.PORTAL, "192.0.2.7")
    with open_scope(Scope((ours.pk,))), audit.origin(where):
        device = factories.device(factories.facility(ours), state=DeviceState.ACTIVE).device
        park_operations.change_state(
            device_id=device.pk, state=DeviceState.SUSPENDED, actor_id=admin.pk
        )
    html = _get(client, action="device.suspended")
    assert "Device suspended" in html
    assert f"<del>{DeviceState.ACTIVE.label}</del>" in html
    assert f"<ins>{DeviceState.SUSPENDED.label}</ins>" in html
    assert "192.0.2.7" in html
    assert admin.email in html
    assert html.count("<del>") == 1  # the column that changed, and no other
    assert reverse("device", args=[device.pk]) in html


def test_what_is_referred_to_is_named(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        facility = factories.facility(ours)
        membership = factories.member(ours, Role.CONSUMER)
        park_operations.grant_facility(
            membership_id=membership.pk, facility_id=facility.pk, actor_id=None
        )
    html = _get(client, action="membership.restrict")
    assert f"<ins>{facility.name}</ins>" in html
    html = _get(client, action="membership.grant")
    assert f"<ins>{membership.user.email}</ins>" in html


def test_secrets_are_not_in_the_trail(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        made = factories.device(factories.facility(ours))
        rotated = park_operations.rotate_secret(device_id=made.device.pk, actor_id=None)
    file = client.get(reverse("audit-json")).getvalue().decode()
    for text in (_get(client), file):
        for secret in (made.secret, rotated.secret):
            assert secret.text not in text
            assert secret.sha256.hex() not in text


def test_an_impersonated_change_names_both(client: Client, ours: Tenant, admin: User) -> None:
    support = factories.user()
    where = Origin(AuditChannel.PORTAL, None, support.pk, "Ticket 4711: chart is empty")
    with open_scope(Scope((ours.pk,))), audit.origin(where):
        park_operations.create_facility(
            tenant_id=ours.pk, name="Bakery", time_zone="UTC", actor_id=admin.pk
        )
    _tell(ours, "session.begin")
    html = _get(client, impersonated="on")
    assert f"{support.email} as {admin.email}" in html
    assert "Ticket 4711: chart is empty" in html
    assert _shown(client, impersonated="on") == ["facility.create"]


def test_times_and_days_are_those_of_the_reader(client: Client, admin: User, ours: Tenant) -> None:
    User.objects.filter(pk=admin.pk).update(time_zone="Asia/Tokyo")
    _tell(ours, "session.begin", at=datetime(2026, 3, 1, 20, 30, tzinfo=UTC))
    html = _get(client, until="2026-03-02")
    assert date_format(datetime(2026, 3, 2), "DATE_FORMAT") in html  # noqa: DTZ001 - a day
    assert ">05:30:00</time>" in html
    assert _shown(client, since="2026-03-02", until="2026-03-02") == ["session.begin"]
    assert _shown(client, until="2026-03-01") == []


def _codes() -> set[str]:
    """Every code of an action that stands in the source as the argument `action`."""
    found = set()
    for package in ("tenants", "devices", "portal", "firmware", "billing"):
        for path in (BASE_DIR / package).rglob("*.py"):
            if {"tests", "migrations", "benchmarks"} & set(path.parts):
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.keyword) and node.arg == "action":
                    found |= {
                        part.value
                        for part in ast.walk(node.value)
                        if isinstance(part, ast.Constant) and isinstance(part.value, str)
                    }
    return {code for code in found if re.fullmatch(r"[a-z_]+\.[a-z_]+", code)}


def test_every_action_of_the_source_has_words() -> None:
    codes = _codes()
    assert len(codes) > 40
    assert sorted(codes - words.ACTION_WORDS.keys()) == []


def test_an_action_without_words_is_shown_as_its_code(client: Client, ours: Tenant) -> None:
    _tell(ours, "meter.re_read")
    assert "Meter re read" in _get(client)
    assert _shown(client, action="meter.re_read") == ["meter.re_read"]


def test_history_of_one_row(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        kind = factories.device_type(ours)
        facility = factories.facility(ours)
        one, other = (factories.device(facility, kind).device for _ in range(2))
        for device in (one, other):
            park_operations.change_state(
                device_id=device.pk, state=DeviceState.SUSPENDED, actor_id=None
            )
    subject = f"devices.device:{one.pk}"
    assert _shown(client, subject=subject) == ["device.suspended", "device.register"]
    assert f"History of Device {one.name}" in _get(client, subject=subject)


def test_nothing_yet_and_nothing_found_are_told_apart(client: Client) -> None:
    assert "Nothing matches" in _get(client, q="no such text")
    assert "Nothing matches" in _get(client, person="nobody of this name")


# --- what is found ------------------------------------------------


def test_filters_find_what_they_say(client: Client, ours: Tenant, admin: User) -> None:
    for n, address in enumerate(("192.0.2.7", "192.0.2.80", "2001:db8::1")):
        with audit.origin(Origin(AuditChannel.PORTAL, address)):
            _tell(ours, f"test.{'abc'[n]}", at=START + timedelta(days=n), value=f"Wärme {n} 100%")
    assert _shown(client, address="192.0.2.7") == ["test.a"]
    assert _shown(client, address="192.0.2.0/26") == ["test.a"]
    assert _shown(client, address="192.0.2.0/24") == ["test.b", "test.a"]
    assert _shown(client, address="2001:db8::/32") == ["test.c"]
    assert _shown(client, q="wärme 1") == ["test.b"]
    assert _shown(client, q="100%", until="2026-03-02") == ["test.b", "test.a"]
    assert _shown(client, q="1_0%") == []  # neither sign is a wildcard
    assert _shown(client, since="2026-03-02", until="2026-03-03") == ["test.c", "test.b"]
    assert _shown(client, q="wärme", address="192.0.2.80") == ["test.b"]


def test_person_is_who_acted_and_who_really_acted(client: Client, ours: Tenant) -> None:
    support, actor = factories.user(), factories.user()
    User.objects.filter(pk=support.pk).update(name="Zenobia Quill")
    with open_scope(Scope((ours.pk,))):
        for number, impersonator in enumerate((None, support)):
            reason = "Ticket 4711, a test" if impersonator else ""
            key = impersonator.pk if impersonator else None
            with audit.origin(Origin(AuditChannel.PORTAL, None, key, reason)):
                audit.record(
                    tenant_id=ours.pk, actor_id=actor.pk, action=f"test.{number}", subject=ours
                )
    assert _shown(client, person="zenobia") == ["test.1"]
    assert _shown(client, person=actor.email) == ["test.1", "test.0"]
    assert _shown(client, person=actor.email, impersonated="on") == ["test.1"]


def test_a_group_of_actions_is_all_of_them(client: Client, ours: Tenant) -> None:
    for action in ("session.begin", "session.refused", "export.audit"):
        _tell(ours, action)
    assert sorted(_shown(client, action="group:0")) == ["session.begin", "session.refused"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"address": "nonsense"}, "Write an IP address"),
        ({"address": "192.0.2.7/99"}, "Write an IP address"),
        ({"since": "2026-13-01"}, "Enter a valid date"),
        ({"since": "2026-03-02", "until": "2026-03-01"}, "must not end before it begins"),
        ({"subject": "1;DROP"}, "does not name anything"),
        ({"action": "<script>"}, "Select a valid choice"),
        ({"action": "group:99"}, "Select a valid choice"),
    ],
)
def test_a_bad_search_says_what_is_wrong(
    client: Client, query: dict[str, str], sentence: str
) -> None:
    assert sentence in _get(client, **query)
    assert client.get(reverse("audit-csv"), query).status_code == 400


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
@pytest.mark.parametrize("wanted", [{}, {"text": "value"}, {"actions": ("test.a", "test.b")}])
def test_pages_hold_every_entry_once_and_in_order(
    ours: Tenant, limit: int, wanted: dict[str, Any]
) -> None:
    other = factories.tenant()
    for n in range(12):
        # Several entries of one instant: the key decides then.
        of = other if n % 3 == 0 else ours
        _tell(of, f"test.{'ab'[n % 2]}", at=START + timedelta(hours=n // 4), value=n)
    both = Scope((ours.pk, other.pk))
    found = [one for one in _all(both, limit, **wanted) if one.action.startswith("test.")]
    assert len({one.id for one in found}) == len(found) == 12
    keys = [(one.at, one.id) for one in found]
    assert keys == sorted(keys, reverse=True)
    assert found == [one for one in _all(both, 100, **wanted) if one.action.startswith("test.")]


def test_looking_through_entries_goes_on_where_it_stopped(
    ours: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(10):
        _tell(ours, "test.a", at=START + timedelta(minutes=n), value="needle" if n == 2 else "hay")
    monkeypatch.setattr(audit_queries, "SCANNED", 3)
    wanted = AuditFilter(text="needle")
    stops: list[audit_queries.Cursor] = []
    found: list[audit_queries.EntryFacts] = []
    behind: audit_queries.Cursor | None = None
    with open_scope(Scope((ours.pk,))):
        total = AuditEntry.objects.count()
        while True:
            page = audit_queries.page(wanted=wanted, behind=behind, limit=50)
            found += page.entries
            behind = page.older
            if behind is None:
                break
            assert page.looked_back_to == behind.at
            stops.append(behind)
    assert [one.at for one in found] == [START + timedelta(minutes=2)]
    assert len(stops) == total // 3


def test_many_tenants_are_read_in_one_walk(ours: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [factories.tenant() for _ in range(3)]
    scope = Scope(tuple(sorted(tenant.pk for tenant in (ours, *others))))
    for n, of in enumerate((ours, *others) * 2):
        _tell(of, "test.a", at=START + timedelta(minutes=n))
    merged = _all(scope, 3)
    monkeypatch.setattr(audit_queries, "MERGED_TENANTS", 1)
    assert _all(scope, 3) == merged
    assert {one.tenant_id for one in merged} == set(scope.tenant_ids)


@pytest.mark.parametrize("text", ["", "x", "2026-03-01_x", "2026-03-01T00:00:00_" + "0" * 32])
def test_a_place_that_is_none_leads_to_the_newest(text: str) -> None:
    assert audit_pages.cursor_of(text) is None


def test_a_place_survives_the_address(ours: Tenant) -> None:
    (entry, *_rest) = _all(Scope((ours.pk,)), 10)
    assert audit_pages.cursor_of(audit_pages.cursor_text(entry.cursor)) == entry.cursor


def test_older_entries_are_a_part_of_the_page(
    client: Client, ours: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_queries, "PAGE_ENTRIES", 2)
    for n in range(3):
        _tell(ours, f"test.{'abc'[n]}", at=datetime.now(UTC) + timedelta(minutes=n))
    first = client.get(reverse("audit"))
    older = first.context["older"]
    assert "Show older entries" in first.content.decode()
    part = client.get(
        reverse("audit") + older, headers={"HX-Request": "true", "HX-Target": "trail-older"}
    )
    assert "<html" not in part.content.decode()
    codes = [one["code"] for day in part.context["days"] for one in day["entries"]]
    assert codes[0] == "test.a"


def test_the_page_costs_a_fixed_number_of_queries(client: Client, ours: Tenant) -> None:
    def cost(entries: int) -> int:
        with CaptureQueriesContext(connection) as context:
            assert _shown(client, action="facility.create") == ["facility.create"] * entries
        return len(context)

    for n in range(3):
        with open_scope(Scope((ours.pk,))):
            factories.facility(ours)
        if n == 0:
            cost(1)  # what is looked up once is looked up
            one = cost(1)
    assert cost(3) == one <= 16


# --- whose it is --------------------------------------------------


def test_the_trail_of_another_tenant_is_out_of_reach(client: Client, ours: Tenant) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        facility = factories.facility(other)
    for query in ({}, {"subject": f"devices.facility:{facility.pk}"}, {"q": facility.name}):
        assert facility.name not in _get(client, **query).replace(f'value="{facility.name}"', "")
        file = client.get(reverse("audit-json"), query).getvalue().decode()
        assert facility.name not in file


def test_the_trail_of_a_tenant_below_is_seen_from_above(client: Client, ours: Tenant) -> None:
    below = factories.tenant(ours)
    _tell(below, "session.begin")
    html = _get(client, action="session.begin")
    assert below.name in html


# --- the file -----------------------------------------------------


def test_files_hold_what_the_search_leaves(
    client: Client, ours: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_export, "CHUNK", 2)
    for n in range(5):
        _tell(ours, "session.begin", at=START + timedelta(minutes=n), value=n)
    query = {"action": "session.begin"}
    response = client.get(reverse("audit-csv"), query)
    assert response["Content-Disposition"].startswith('attachment; filename="audit-')
    text = response.getvalue().decode()
    assert text.startswith("\N{BYTE ORDER MARK}")
    rows = list(csv.DictReader(io.StringIO(text[1:])))
    assert [json.loads(row["after"]) for row in rows] == [{"value": n} for n in (4, 3, 2, 1, 0)]
    assert rows[0]["at"] == "2026-03-01T12:04:00Z"
    entries = json.loads(client.get(reverse("audit-json"), query).getvalue())
    assert [one["after"]["value"] for one in entries] == [4, 3, 2, 1, 0]
    query = {"q": "nothing", "until": "2026-03-01"}
    assert json.loads(client.get(reverse("audit-json"), query).getvalue()) == []


def test_json_stays_sound_where_a_chunk_is_empty(
    client: Client, ours: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_queries, "SCANNED", 2)
    for n in range(8):
        value = "needle" if n in (0, 5) else "hay"
        _tell(ours, "test.a", at=START + timedelta(minutes=n), value=value)
    entries = json.loads(
        client.get(reverse("audit-json"), {"q": "needle", "until": "2026-03-02"}).getvalue()
    )
    assert [one["at"] for one in entries] == ["2026-03-01T12:05:00Z", "2026-03-01T12:00:00Z"]


def test_a_formula_in_the_file_is_harmless(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        park_operations.create_facility(
            tenant_id=ours.pk, name="=HYPERLINK(1)", time_zone="UTC", actor_id=None
        )
    text = client.get(reverse("audit-csv"), {"action": "facility.create"}).getvalue().decode()
    assert ",'=HYPERLINK(1)," in text
    assert ",=HYPERLINK" not in text


def test_taking_the_file_is_told_in_the_trail(client: Client, ours: Tenant, admin: User) -> None:
    client.get(reverse("audit-csv"), {"q": "meter"}).getvalue()
    with open_scope(Scope((ours.pk,))):
        entry = AuditEntry.objects.get(action="export.audit")
    assert (entry.actor_id, entry.after) == (admin.pk, {"kind": "csv", "filter": "q=meter"})
    assert (entry.channel, entry.address) == ("portal", "127.0.0.1")


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
async def test_the_file_streams_without_blocking_the_server() -> None:
    def make() -> tuple[Tenant, User]:
        of = factories.tenant()
        with open_scope(Scope((of.pk,))):
            return of, factories.member(of, Role.ADMIN).user

    _of, user = await sync_to_async(make)()
    client = AsyncClient()
    await client.aforce_login(user)
    response: Any = await client.get(reverse("audit-json"))
    assert response.is_async
    body = b"".join([part async for part in response])
    assert {one["action"] for one in json.loads(body)} >= {"tenant.create", "export.audit"}


def test_taking_a_list_as_a_file_is_told_in_the_trail(
    client: Client, ours: Tenant, admin: User
) -> None:
    client.get(reverse("applications"), {"export": "csv", "state": "active"})
    with open_scope(Scope((ours.pk,))):
        entry = AuditEntry.objects.get(action="export.list")
    assert (entry.actor_id, entry.address) == (admin.pk, "127.0.0.1")
    assert entry.after == {
        "list": "applications",
        "rows": 0,
        "filter": "export=csv&state=active",
    }


def test_objects_lead_to_their_history_for_whoever_may_see_it(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        facility = factories.facility(ours)
        device = factories.device(facility).device
        manager = factories.member(ours, Role.MANAGER).user
    pages = {
        reverse("facility", args=[facility.pk]): f"devices.facility:{facility.pk}",
        reverse("device", args=[device.pk]): f"devices.device:{device.pk}",
        reverse("facility-edit", args=[facility.pk]): f"devices.facility:{facility.pk}",
        reverse("device-edit", args=[device.pk]): f"devices.device:{device.pk}",
    }
    other = Client()
    other.force_login(manager)
    for path, subject in pages.items():
        link = f'href="{reverse("audit")}?subject={subject}"'
        assert link in client.get(path).content.decode()
        assert link not in other.get(path).content.decode()

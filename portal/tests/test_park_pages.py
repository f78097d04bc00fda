"""Facility and device: the day, flow of power, loads, configuration, log and history in pages."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import translation
from pytest_django import DjangoDbBlocker

from devices.domain import operations, sites
from devices.domain.energy import SETTLING, Energy, Quarter
from devices.domain.secrets import DeviceSecret
from devices.models import Device, DevicePower, DeviceState, Facility, Placement
from devices.protocol.codes import LogLevel
from devices.telemetry import history
from devices.telemetry.history import Place
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_reads import quarter_of
from devices.tests import factories
from devices.tests.factories import Park
from portal.charts import day, live
from tenants.models import AuditEntry
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(databases=["default", "owner"])


@pytest.fixture(scope="module")
def park(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Park]:
    """Committed once for the module, because telemetry comes by another connection."""
    with django_db_blocker.unblock():
        made = factories.park()
        _lines(made.branches[0].device)
        yield made
        factories.remove_everything()


def _lines(device: Device) -> None:
    """Two pages and a half of log lines and events; of each ten lines one is an error."""
    with connections["owner"].cursor() as cursor:
        for number in range(125):
            at = factories.START + timedelta(minutes=number // 2)
            level = LogLevel.ERROR if number % 10 == 0 else LogLevel.INFO
            cursor.execute(
                "INSERT INTO device_log VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [at, device.tenant_id, device.pk, 100 + number, at, level, f"line {number:03}"],
            )
            cursor.execute(
                "INSERT INTO device_event VALUES (%s, %s, %s, %s, %s, %s, '{}')",
                [at, device.tenant_id, device.pk, 1000 + number, at, f"kind-{number:03}"],
            )


@pytest.fixture
def client(park: Park) -> Client:
    return _client(park, Role.MANAGER)


def _client(park: Park, role: Role) -> Client:
    signed_in = Client()
    with open_scope(park.scope):
        signed_in.force_login(factories.member(park.tenant, role).user)
    return signed_in


def _text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def _page(html: str) -> Any:
    found = re.search(r'<script id="page" type="application/json">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


# --- facility -----------------------------------------------------------------------------------


def _equipped(park: Park) -> tuple[Facility, dict[Placement, Device]]:
    """A facility with mains, generation and storage whose power is known."""
    now = datetime.now(UTC)
    watts = {Placement.MAINS: -1_500.0, Placement.GENERATION: 4_000.0, Placement.STORAGE: 2_000.0}
    with open_scope(park.scope):
        at = factories.facility(park.tenant)
        kind = factories.device_type(park.tenant)
        devices = {
            placement: factories.device(at, kind, placement=placement).device for placement in watts
        }
        for placement, device in devices.items():
            DevicePower.objects.create(
                tenant=park.tenant,
                device=device,
                power_w=watts[placement],
                measured_at=now,
                sampled_at=now,
            )
    return at, devices


def _count(at: Facility, starts_at: datetime, **values: float) -> None:
    columns: dict[str, Any] = {
        "starts_at": starts_at,
        "tenant_id": at.tenant_id,
        "facility_id": at.pk,
        "covered": 1,
    }
    columns |= values
    with open_scope_of(at), connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO facility_15m ({', '.join(columns)})"
            f" VALUES ({', '.join(['%s'] * len(columns))})",
            list(columns.values()),
        )


def open_scope_of(at: Facility) -> Any:
    return open_scope(Scope((at.tenant_id,)))


def test_power_flows_between_the_nodes_that_a_facility_has(client: Client, park: Park) -> None:
    at, devices = _equipped(park)
    html = client.get(reverse("facility", args=[at.pk])).content.decode()
    nodes = re.findall(
        r'class="wl-node" data-node="(\w+)" data-flow="([^"]+)" data-direction="(\w+)"', html
    )
    mains, pv, battery = (f"{devices[p].pk}/0" for p in devices)
    assert nodes == [
        ("grid", mains, "minus"),
        ("home", f"{mains} {pv} -{battery}", "plus"),
        ("generation", pv, "plus"),
        ("storage", battery, "plus"),
    ]
    text = _text(html)
    assert "Grid 1.50 kW drawing feeding in" in text
    assert "Loads 500 W using" in text


def test_a_facility_with_mains_alone_has_no_flow(client: Client, park: Park) -> None:
    html = client.get(reverse("facility", args=[park.branches[0].facility.pk])).content.decode()
    assert "wl-flow" not in html


def test_the_day_is_counted_and_drawn_by_quarters(client: Client, park: Park) -> None:
    at, _devices = _equipped(park)
    running = quarter_of(datetime.now(UTC))
    _count(at, running, import_wh=100.0, export_wh=40.0, generation_wh=1_000.0, charge_wh=200.0)
    html = client.get(reverse("facility", args=[at.pk])).content.decode()
    spec = _page(html)["day"]
    assert spec["starts"] == [round(running.timestamp() * 1000)]
    assert [(bar["name"], bar["pale"], bar["values"]) for bar in spec["bars"]] == [
        ("From the grid", False, [100.0]),
        ("Generated", False, [1_000.0]),
        ("From the battery", False, [None]),
        ("Into the battery", True, [-200.0]),
        ("To the grid", True, [-40.0]),
    ]
    text = _text(html)
    # 100 - 40 + 1000 - 200
    assert "Used today 860 Wh" in text
    assert "Generated today 1.00 kWh" in text
    assert "From own generation 100 % 40 Wh to the grid" in text


def test_loads_are_told_with_what_measures_them(client: Client, park: Park) -> None:
    branch = park.branches[0]
    html = client.get(reverse("facility", args=[branch.facility.pk])).content.decode()
    loads = html[html.index('id="loads"') : html.index('id="devices"')]
    assert branch.load.name in loads
    assert f'<a href="/devices/{branch.device.pk}/">{branch.device.name}</a>' in loads


def test_a_day_without_energy_has_no_bars() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert day.day_spec((), begins_at=at, ends_at=at) is None
    assert day.day_spec((Quarter(at, Energy(), 0.0),), begins_at=at, ends_at=at) is None


def test_a_facility_without_generation_has_what_it_used() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    spec = day.day_spec((Quarter(at, Energy(12.34), 1.0),), begins_at=at, ends_at=at + QUARTER)
    assert spec is not None
    assert [(bar["name"], bar["values"]) for bar in spec["bars"]] == [("Used", [12.3])]


def test_charts_speak_the_language_of_the_page() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    with translation.override("de"):
        spec = day.day_spec((Quarter(at, Energy(12.34), 1.0),), begins_at=at, ends_at=at + QUARTER)
        (chart,) = live.chart_per_quantity([("current", "A", live.Line("L1", (), 0.01))])
        drawn = live.browser_spec(chart)
    assert spec is not None
    assert [bar["name"] for bar in spec["bars"]] == ["Verbraucht"]
    assert chart.title == "Strom"
    assert (spec["layout"]["separators"], drawn["layout"]["separators"]) == (",.", ",.")


@pytest.mark.parametrize(
    ("language", "shown"), [("en", ">2 Nov, 09:05:07<"), ("de", ">2. Nov, 09:05:07<")]
)
def test_lines_of_a_device_have_the_dates_of_the_language(language: str, shown: str) -> None:
    line = {"at": datetime(2026, 11, 2, 8, 5, 7, tzinfo=UTC), "title": "", "tone": "", "text": ""}
    values = {"lines": [line], "facility": {"zone": "Europe/Berlin"}}
    with translation.override(language):
        assert shown in render_to_string("enterprise/device_lines.html", values)


@pytest.mark.parametrize("count", [1, 3])
def test_a_facility_takes_a_fixed_number_of_queries(park: Park, count: int) -> None:
    with open_scope(park.scope):
        at = factories.facility(park.tenant)
        kind = factories.device_type(park.tenant)
        for _ in range(count):
            device = factories.device(at, kind, placement=Placement.SUBMETER).device
            load = operations.create_load(
                tenant_id=park.tenant.pk,
                facility_id=at.pk,
                name=f"Load {factories.number()}",
                actor_id=None,
            )
            operations.allocate_channel(
                channel_id=device.channels.get(number=0).pk,
                load_id=load.pk,
                starts_at=factories.START,
                actor_id=None,
            )
        with CaptureQueriesContext(connection) as queries:
            found = sites.site(facility_id=at.pk, now=datetime.now(UTC))
    assert (len(found.loads), len(queries)) == (count, 12)


def test_voltages_of_different_ranges_have_charts_of_their_own() -> None:
    def line(name: str, maximum: float) -> live.Line:
        return live.Line(name, (live.Source(1, 0),), 0.1, maximum=maximum)

    made = live.chart_per_quantity(
        [
            ("voltage", "V", line("mains", 300)),
            ("voltage", "V", line("battery", 60)),
            ("voltage", "V", line("other mains", 280)),
            ("active_power", "W", line("mains", 20_000)),
            ("active_power", "W", line("battery", 5_000)),
        ]
    )
    assert [(chart.key, [one.name for one in chart.lines]) for chart in made] == [
        ("chart-active-power", ["mains", "battery"]),
        ("chart-voltage", ["battery"]),
        ("chart-voltage-1", ["other mains", "mains"]),
    ]
    assert made[1].title.replace("\N{NO-BREAK SPACE}", " ") == "Voltage, rated up to 60 V"


# --- device -------------------------------------------------------------------------------------


def test_the_log_goes_on_page_by_page(client: Client, park: Park) -> None:
    seen = _through(client, park, "log", r'class="wl-mono">(line \d+)<', "log-more")
    assert seen == [f"line {number:03}" for number in reversed(range(125))]


def test_the_history_goes_on_page_by_page(client: Client, park: Park) -> None:
    seen = _through(client, park, "events", r">(kind-\d+)<", "events-more")
    assert seen == [f"kind-{number:03}" for number in reversed(range(125))]


def _through(client: Client, park: Park, name: str, pattern: str, target: str) -> list[str]:
    """All lines, by the link to older ones: the first page in full, the others as parts."""
    path = reverse("device", args=[park.branches[0].device.pk])
    html = client.get(path).content.decode()
    seen = re.findall(pattern, html)
    while found := re.search(rf'hx-get="\?{name}=([^"&]+)', html):
        headers = {"HX-Request": "true", "HX-Target": target}
        html = client.get(
            path, {name: found[1].replace("%3A", ":")}, headers=headers
        ).content.decode()
        assert "<html" not in html
        seen += re.findall(pattern, html)
    return seen


def test_the_log_is_narrowed_to_a_level(client: Client, park: Park) -> None:
    path = reverse("device", args=[park.branches[0].device.pk])
    headers = {"HX-Request": "true", "HX-Target": "log"}
    html = client.get(path, {"level": int(LogLevel.ERROR)}, headers=headers).content.decode()
    assert re.findall(r'class="wl-mono">(line \d+)<', html) == [
        f"line {number:03}" for number in reversed(range(0, 125, 10))
    ]
    assert f'<option value="{int(LogLevel.ERROR)}" selected>' in html
    assert html.startswith("<section") or html.strip().startswith("<section")


@pytest.mark.parametrize("text", ["", "x", "1", "1.x.", "9" * 40 + ".1.", "1.-1.a", "1.1.\0"])
def test_a_broken_place_is_none(text: str) -> None:
    assert Place.parse(text) is None


def test_a_place_survives_its_text() -> None:
    place = Place(datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC), 42, "a.b")
    assert Place.parse(str(place)) == place


def test_what_was_delivered_comes_from_the_ledger(client: Client, park: Park) -> None:
    device = park.branches[0].device
    with open_scope(park.scope):
        found = history.delivered_since(connection, device.pk, factories.START)
        later = history.delivered_since(connection, device.pk, factories.START + timedelta(hours=1))
    assert found == history.Delivered(1, 4, 0, 1)
    assert later == history.Delivered(0, 0, 0, 0)


def test_a_device_takes_a_fixed_number_of_queries(park: Park) -> None:
    device = park.branches[0].device
    with open_scope(park.scope), CaptureQueriesContext(connection) as queries:
        found = sites.device_page(device_id=device.pk, now=datetime.now(UTC))
    assert found.loads == {0: park.branches[0].load.name}
    assert (len(found.log.items), len(found.events.items)) == (sites.LINES, sites.LINES)
    assert len(queries) == 10


def test_a_day_of_a_device_is_as_complete_as_its_roll_ups(park: Park) -> None:
    device = park.branches[1].device
    with open_scope(park.scope):
        Device.objects.filter(pk=device.pk).update(created_at=factories.START - timedelta(days=1))
        found = sites.device_page(device_id=device.pk, now=factories.START + 2 * SETTLING)
        Device.objects.filter(pk=device.pk).update(created_at=factories.START)
        later = sites.device_page(device_id=device.pk, now=factories.START + 4 * SETTLING)
    # Its two samples of 13:00 local time hold for four seconds of thirteen hours.
    assert found.coverage == pytest.approx(4 / (13 * 3_600 + 300), rel=1e-6)
    # Registered at 13:00, fifteen minutes are expected of it.
    assert later.coverage == pytest.approx(4 / 900, rel=1e-6)


# --- changes ------------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Devices whose connections the bridges were told to drop."""
    dropped: list[int] = []

    def publish(evictions: list[operations.Eviction]) -> None:
        dropped.extend(eviction.device_id for eviction in evictions)

    monkeypatch.setattr("portal.enterprise.registry.notices._publish", publish)
    return dropped


def _fresh(park: Park) -> Device:
    with open_scope(park.scope):
        return factories.device(factories.facility(park.tenant)).device


def _state(park: Park, device: Device) -> str:
    with open_scope(park.scope):
        return Device.objects.get(pk=device.pk).state


def test_a_device_is_suspended_activated_and_revoked(
    client: Client,
    park: Park,
    told: list[int],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    device = _fresh(park)
    path = reverse("device-state", args=[device.pk])
    for state in (DeviceState.SUSPENDED, DeviceState.ACTIVE, DeviceState.REVOKED):
        with django_capture_on_commit_callbacks(execute=True):
            answer = client.post(path, {"state": state})
        assert answer["Location"] == reverse("device", args=[device.pk])
        assert _state(park, device) == state
    assert told == [device.pk] * 3
    with open_scope(park.scope):
        actions = AuditEntry.objects.filter(subject_type="devices.device", subject_id=device.pk)
        assert sorted(actions.values_list("action", flat=True)) == [
            "device.active",
            "device.register",
            "device.revoked",
            "device.suspended",
        ]


@pytest.mark.parametrize("state", ["active", "planned", "nonsense", ""])
def test_a_change_that_is_not_possible_is_told(client: Client, park: Park, state: str) -> None:
    device = _fresh(park)
    answer = client.post(reverse("device-state", args=[device.pk]), {"state": state}, follow=True)
    assert answer.status_code == 200
    assert 'data-tone="error"' in answer.content.decode()
    assert _state(park, device) == DeviceState.ACTIVE


def test_a_new_secret_is_shown_once_and_is_the_one_that_works(
    client: Client,
    park: Park,
    told: list[int],
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    device = _fresh(park)
    with django_capture_on_commit_callbacks(execute=True):
        answer = client.post(reverse("device-secret", args=[device.pk]))
    found = re.search(r'id="secret">([^<]+)<', answer.content.decode())
    assert found is not None
    assert "no-store" in answer["Cache-Control"]
    with open_scope(park.scope):
        stored = bytes(Device.objects.get(pk=device.pk).secret_sha256)
    assert DeviceSecret.parse(found[1]).sha256 == stored
    assert told == [device.pk]


def test_a_revoked_device_gets_no_secret(client: Client, park: Park) -> None:
    device = _fresh(park)
    with open_scope(park.scope):
        operations.change_state(device_id=device.pk, state=DeviceState.REVOKED, actor_id=None)
    answer = client.post(reverse("device-secret", args=[device.pk]), follow=True)
    assert "The device is revoked: register it anew instead." in answer.content.decode()


def test_buttons_are_for_those_who_may(park: Park) -> None:
    path = reverse("device", args=[park.branches[0].device.pk])
    may = _client(park, Role.TECHNICIAN).get(path).content.decode()
    may_not = _client(park, Role.ANALYST).get(path).content.decode()
    buttons = re.findall(r'name="state" value="(\w+)"', may)
    assert buttons == [DeviceState.SUSPENDED, DeviceState.REVOKED]
    assert "New secret" in may
    assert 'name="state"' not in may_not
    assert "New secret" not in may_not

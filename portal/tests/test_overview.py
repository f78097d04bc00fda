"""The park at a glance: figures, the list of facilities, its order, filters and cost."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import flow
from devices.domain.overview import Rank, overview, recent_power
from devices.models import Device, DeviceState, Facility, FacilityNow
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_reads import quarter_of
from devices.tests import factories
from portal.charts import spark
from portal.enterprise.park import figures
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenant() -> Tenant:
    return factories.tenant()


@pytest.fixture
def client(tenant: Tenant) -> Client:
    signed_in = Client()
    with open_scope(Scope((tenant.pk,))):
        signed_in.force_login(factories.member(tenant, Role.MANAGER).user)
    return signed_in


def _facility(tenant: Tenant, name: str, **now: Any) -> Facility:
    """A facility whose power and day are known, as the background tasks keep them."""
    moment = datetime.now(UTC)
    with open_scope(Scope((tenant.pk,))):
        at = factories.facility(tenant)
        Facility.objects.filter(pk=at.pk).update(name=name, city="Bremen")
        values = {
            "devices": 2, "connected": 2, "known_until": moment + timedelta(minutes=3),
            "measured_at": moment, "counted_at": moment, "home_w": 1_240.0, "grid_w": 1_240.0,
            "used_wh": 5_000.0, "used_same_wh": 4_000.0, "coverage": 0.99, "mains": 1,
        }  # fmt: skip
        FacilityNow.objects.create(tenant=tenant, facility=at, **(values | now))
    return at


def _get(client: Client, query: str = "") -> str:
    response = client.get(reverse("overview") + query)
    assert response.status_code == 200
    text: str = response.getvalue().decode()
    return text


def _names(html: str) -> list[str]:
    return re.findall(r'<a href="/facilities/\d+/">([^<]+)', html)


def _text(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


# --- the page -----------------------------------------------------------------------------------


def test_facilities_that_need_attention_come_first(client: Client, tenant: Tenant) -> None:
    _facility(tenant, "Beta")
    _facility(tenant, "Alpha")
    _facility(tenant, "Gaps", coverage=0.7)
    _facility(tenant, "Half", connected=1)
    _facility(tenant, "Silent", connected=0)
    _facility(tenant, "Empty", devices=0, connected=0)
    html = _get(client)
    assert _names(html) == ["Silent", "Half", "Gaps", "Alpha", "Beta", "Empty"]
    states = re.findall(r'class="wl-state" data-state="(\w+)">([^<]+)<', html)
    assert states == [
        ("offline", "Offline"),
        ("partly", "Partly online"),
        ("partly", "Readings missing"),
        ("online", "Online"),
        ("online", "Online"),
        ("none", "No devices"),
    ]


def test_the_figures_are_sums_over_the_facilities(client: Client, tenant: Tenant) -> None:
    _facility(tenant, "One", home_w=800.0, used_wh=3_000.0, used_same_wh=2_000.0)
    _facility(tenant, "Two", home_w=1_700.0, connected=1, used_wh=3_000.0, coverage=0.5)
    text = _text(_get(client))
    assert "Power now 2.50 kW" in text
    assert "Used today 6.00 kWh ±0 % against yesterday" in text or "as yesterday" in text
    assert "Devices offline 1 of 4" in text
    assert "Completeness today 74.5 %" in text


def test_what_is_not_known_any_more_is_not_shown(client: Client, tenant: Tenant) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    _facility(tenant, "Old", known_until=long_ago, counted_at=long_ago)
    text = _text(_get(client))
    assert "Power now – 0 of 1 facilities report" in text
    assert "Used today –" in text
    assert "Completeness today –" in text


def test_generation_and_what_goes_to_the_grid_are_told(client: Client, tenant: Tenant) -> None:
    _facility(tenant, "Sunny", home_w=600.0, grid_w=-2_400.0, generation_w=3_000.0)
    text = _text(_get(client))
    assert "600 W 3.00 kW generated, 2.40 kW to the grid" in text


def test_generation_stands_for_use_in_a_plant_alone(tenant: Tenant) -> None:
    """While the meter at the mains is silent, what is generated behind it is not what is used."""
    running = quarter_of(datetime.now(UTC)) - QUARTER
    made = {
        "home_w": None, "grid_w": None, "generation_w": 3_000.0, "used_wh": None,
        "used_same_wh": None, "generation_wh": 9_000.0, "generation_same_wh": 9_000.0,
    }  # fmt: skip
    for name, mains in (("Plant", 0), ("Silent mains", 1)):
        at = _facility(tenant, name, mains=mains, **made)
        with open_scope(Scope((tenant.pk,))), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO facility_15m (starts_at, tenant_id, facility_id, generation_wh,"
                " covered) VALUES (%s, %s, %s, 700, 1)",
                [running, tenant.pk, at.pk],
            )
    with open_scope(Scope((tenant.pk,))):
        rows = overview(now=datetime.now(UTC)).rows.order_by("name")
        found = [
            (row.name, row.power_w, row.energy_wh, row.energy_same_wh, row.recent[0][1])
            for row in rows
        ]
    assert found == [
        ("Plant", 3_000.0, 9_000.0, 9_000.0, 2_800.0),
        ("Silent mains", None, None, None, None),
    ]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?q=alp", ["Alpha"]),
        ("?q=bremen+bet", ["Beta"]),
        ("?q=nowhere", []),
        ("?state=trouble", ["Silent"]),
        ("?state=well", ["Alpha", "Beta"]),
        ("?kind=shop", []),
        ("?sort=-power_w", ["Beta", "Alpha", "Silent"]),
        ("?sort=name", ["Alpha", "Beta", "Silent"]),
        ("?sort=energy_wh", ["Silent", "Alpha", "Beta"]),
    ],
)
def test_the_list_is_searched_filtered_and_sorted(
    client: Client, tenant: Tenant, query: str, names: list[str]
) -> None:
    _facility(tenant, "Alpha", home_w=100.0)
    _facility(tenant, "Beta", home_w=900.0, used_wh=9_000.0)
    _facility(tenant, "Silent", connected=0, home_w=None, used_wh=1.0)
    assert _names(_get(client, query)) == names


def test_the_export_has_plain_figures(client: Client, tenant: Tenant) -> None:
    _facility(tenant, "Alpha")
    lines = _get(client, "?export=csv").splitlines()
    assert lines[0].endswith("Facility,State,Power now,Today,Complete,Kind")
    assert lines[1] == "Alpha,Online,1240.0,5000.0,0.99,Site"


def test_the_overview_takes_as_many_queries_for_one_facility_as_for_three(
    client: Client, tenant: Tenant
) -> None:
    counts = []
    for more in (1, 2):
        for number in range(more):
            _facility(tenant, f"Site {more} {number}")
        _get(client)
        with CaptureQueriesContext(connection) as queries:
            _get(client)
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("count", [1, 3])
def test_figures_and_rows_take_a_query_each(tenant: Tenant, count: int) -> None:
    for number in range(count):
        _facility(tenant, f"Site {number}")
    with open_scope(Scope((tenant.pk,))), CaptureQueriesContext(connection) as queries:
        found = overview(now=datetime.now(UTC))
        assert (found.park.facilities, len(found.rows)) == (count, count)
    assert len(queries) == 2


def test_the_overview_of_a_newcomer_is_empty() -> None:
    newcomer = Client()
    newcomer.force_login(factories.user())
    assert "No facilities" in _get(newcomer)


# --- counts and the small line ----------------------------------------------------------------


def test_the_refresh_counts_active_and_connected_devices(tenant: Tenant) -> None:
    now = datetime.now(UTC)
    with open_scope(Scope((tenant.pk,))):
        at = factories.facility(tenant)
        kind = factories.device_type(tenant)
        devices = [factories.device(at, kind).device for _ in range(3)]
        factories.device(at, kind, state=DeviceState.SUSPENDED)
        factories.facility(tenant)
        _connect(devices[:2])
        flow.refresh_power(now=now)
        found = overview(now=now)
        counts = [(row.devices_active, row.online, row.rank) for row in found.rows]
    assert counts == [(3, 2, Rank.PARTLY), (0, 0, Rank.WELL)]
    park = found.park
    assert (park.facilities, park.devices, park.online, park.troubled) == (2, 3, 2, 1)


def _connect(devices: list[Device]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE device_link SET connected = true WHERE device_id = ANY(%s)",
            [[device.pk for device in devices]],
        )


def test_the_small_line_shows_the_quarters_that_are_over() -> None:
    now = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)
    newest = quarter_of(now) - QUARTER
    line = recent_power(
        [[newest.timestamp(), 5.0], [(newest - 95 * QUARTER).timestamp(), 1.0]], now=now
    )
    assert len(line) == 96
    assert (line[0], line[1], line[-2], line[-1]) == (1.0, None, None, 5.0)
    assert recent_power(None, now=now) == [None] * 96


def test_a_small_line_breaks_where_nothing_is_known() -> None:
    assert spark.path([None, None]) == ""
    assert spark.path([0.0, 10.0, None, 5.0]) == "M0.0 26.0L40.0 2.0M120.0 14.0h0.1"
    assert spark.path([-10.0, 10.0]) == "M0.0 26.0L120.0 2.0"
    assert spark.path([0.0, 0.0]) == "M0.0 26.0L120.0 26.0"


# --- figures in words -----------------------------------------------------------------------


def test_a_share_is_never_rounded_up_to_the_whole() -> None:
    shares = (0.0, 0.5, 0.999, 1.0, None)
    assert [_plain(figures.completeness(share)) for share in shares] == [
        "0 %",
        "50 %",
        "99 %",
        "100 %",
        "–",
    ]
    assert _plain(figures.completeness(0.9999, 1)) == "99.9 %"


def test_todays_energy_is_compared_with_yesterdays() -> None:
    assert _plain(figures.compared(12.0, 10.0)) == "+20 % against yesterday"
    assert _plain(figures.compared(5.0, 10.0)) == "−50 % against yesterday"
    assert figures.compared(10.01, 10.0) == "as yesterday"
    assert figures.compared(1_000.0, 10.0) == "more than ten times yesterday"
    assert figures.compared(None, 10.0) == ""
    assert figures.compared(10.0, 0.0) == ""


def test_a_reading_is_a_number_and_a_unit() -> None:
    assert figures.readable(1_240.0, "W") == ("1.24", "kW")
    assert figures.readable(None, "W") == ("–", "")
    assert _plain(str(figures.readable(-312.0, "W"))) == "−312 W"


def _plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")

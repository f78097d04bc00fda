"""The pages of a facility manager: what they show, and at what cost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoDbBlocker

from devices.domain import operations
from devices.models import Placement
from devices.protocol.codes import LogLevel
from devices.telemetry.history import Event, LogLine
from devices.tests import factories
from devices.tests.factories import Park
from portal.charts import live as charts
from portal.charts.theme import COLOURWAYS, templates
from portal.charts.window import MAX_DEVICES
from portal.enterprise.park import pages_device
from tenants.permissions import Role
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def park(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Park]:
    """Committed once for the module, because telemetry comes by another connection."""
    with django_db_blocker.unblock():
        yield factories.park()
        factories.remove_everything()


@pytest.fixture
def client(park: Park) -> Client:
    signed_in = Client()
    signed_in.force_login(park.manager)
    return signed_in


def page_data(html: str) -> Any:
    """What the live page reads of itself."""
    found = re.search(r'<script id="page" type="application/json">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


def get(client: Client, name: str, pk: int | None = None) -> str:
    response = client.get(reverse(name, args=[] if pk is None else [pk]))
    assert response.status_code == 200
    return response.content.decode()


# --- every page ---------------------------------------------------


def test_pages_have_neither_inline_scripts_nor_styles(client: Client, park: Park) -> None:
    branch = park.branches[0]
    htmls = [
        get(client, "overview"),
        get(client, "facility", branch.facility.pk),
        get(client, "device", branch.device.pk),
        Client().get(reverse("login")).content.decode(),
        client.get("/nothing-here/").content.decode(),
    ]
    for html in htmls:
        assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", html) == []
        scripts = re.findall(r"<script([^>]*)>(.*?)</script>", html, re.DOTALL)
        inline = [attributes for attributes, text in scripts if text.strip()]
        assert [a for a in inline if 'type="application/json"' not in a] == []


def test_pages_carry_the_strict_policy(client: Client) -> None:
    policy = client.get(reverse("overview"))["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy


def test_pages_are_not_kept_by_caches(client: Client) -> None:
    assert "no-store" in client.get(reverse("overview"))["Cache-Control"]


def test_somebody_who_is_not_signed_in_comes_back_after_signing_in(park: Park) -> None:
    address = reverse("facility", args=[park.branches[0].facility.pk])
    response = Client().get(address)
    assert response.status_code == 302
    assert response["Location"] == f"{reverse('login')}?next={address}"


def test_a_wrong_password_is_told_without_saying_which(park: Park) -> None:
    form = {"login": park.manager.email, "password": "wrong"}
    response = Client().post(reverse("login"), form)
    assert "E-mail address and password do not match" in response.content.decode()


# --- cost ---------------------------------------------------------


def queries_of(client: Client, name: str, pk: int | None = None) -> int:
    with CaptureQueriesContext(connection) as captured:
        get(client, name, pk)
    return len(captured)


def test_the_cost_of_a_page_does_not_grow_with_what_it_lists(client: Client, park: Park) -> None:
    with open_scope(park.scope):
        small = factories.facility(park.tenant)
        kind = factories.device_type(park.tenant)
        factories.device(small, kind)
    get(client, "overview")  # the session is in the cache from here on
    before = queries_of(client, "overview"), queries_of(client, "facility", small.pk)
    with open_scope(park.scope):
        for _ in range(2):
            factories.device(factories.facility(park.tenant), kind)
            factories.device(small, kind)
    after = queries_of(client, "overview"), queries_of(client, "facility", small.pk)
    assert after == before


# --- facility -----------------------------------------------------


def test_a_facility_has_its_total_and_a_chart_for_each_quantity(client: Client, park: Park) -> None:
    branch = park.branches[0]
    html = get(client, "facility", branch.facility.pk)
    data = page_data(html)
    assert data["target"] == {"facility": branch.facility.pk}
    assert data["zone"] == "Europe/Berlin"
    assert data["window_ms"] == 900_000
    assert [chart["key"] for chart in data["charts"]] == [
        "chart-total",
        "chart-active-power",
        "chart-voltage",
    ]
    for chart in data["charts"]:
        assert html.count(f'id="{chart["key"]}"') == 1
    assert data["charts"][0]["lines"][0]["sources"] == [[branch.device.pk, 0]]
    # What is computed is drawn with what is measured.
    device = branch.device
    assert data["charts"][2]["lines"] == [
        {
            "name": name,
            "sources": [[device.pk, number]],
            "resolution": 0.01,
            "shown": True,
        }
        for name, number in ((device.name, 1), (f"{device.name} · Doubled", 255))
    ]


def test_the_total_is_of_the_mains_alone(client: Client, park: Park) -> None:
    with open_scope(park.scope):
        at = factories.facility(park.tenant)
        kind = factories.device_type(park.tenant)
        mains = [factories.device(at, kind).device.pk for _ in range(2)]
        for placement in (Placement.SUBMETER, Placement.GENERATION, Placement.STORAGE):
            factories.device(at, kind, placement=placement)
    total = page_data(get(client, "facility", at.pk))["charts"][0]
    assert total["key"] == "chart-total"
    assert sorted(total["lines"][0]["sources"]) == [[pk, 0] for pk in mains]


def test_a_facility_without_a_mains_meter_has_no_total(client: Client, park: Park) -> None:
    with open_scope(park.scope):
        at = factories.facility(park.tenant)
        factories.device(at, placement=Placement.SUBMETER)
    html = get(client, "facility", at.pk)
    assert "No device measures the mains" in html
    assert [chart["key"] for chart in page_data(html)["charts"]] == [
        "chart-active-power",
        "chart-voltage",
    ]


def test_a_facility_without_devices_says_so(client: Client, park: Park) -> None:
    with open_scope(park.scope):
        at = factories.facility(park.tenant)
    html = get(client, "facility", at.pk)
    assert "No devices yet" in html
    assert "plotly" not in html


def test_a_facility_with_many_devices_shows_the_first_live(client: Client, park: Park) -> None:
    with open_scope(park.scope):
        at = factories.facility(park.tenant)
        kind = factories.device_type(park.tenant)
        for _ in range(MAX_DEVICES + 2):
            factories.device(at, kind, placement=Placement.SUBMETER)
        mains = factories.device(at, kind).device.pk
    html = get(client, "facility", at.pk)
    data = page_data(html)
    assert len(data["devices"]) == MAX_DEVICES
    assert data["devices"][0]["id"] == mains
    power = next(chart for chart in data["charts"] if chart["key"] == "chart-active-power")
    assert len(power["lines"]) == charts.MAX_LINES
    assert sum(line["shown"] for line in power["lines"]) == charts.SHOWN_LINES
    assert f"{MAX_DEVICES - charts.MAX_LINES} more lines" in html


def test_a_consumer_gets_no_links_to_devices(park: Park) -> None:
    consumer = Client()
    consumer.force_login(park.consumer(0))
    html = get(consumer, "facility", park.branches[0].facility.pk)
    assert park.branches[0].device.name in html
    assert "/devices/" not in html


# --- device -------------------------------------------------------


def test_a_device_shows_its_log_and_history(client: Client, park: Park) -> None:
    device = park.branches[0].device
    html = get(client, "device", device.pk)
    assert "Firmware log" in html
    assert re.search(r'data-tone="warn">Warning</span></span>\s*<span class="wl-mono">line<', html)
    assert "reboot" in html
    assert page_data(html)["target"] == {"device": device.pk}


def test_the_firmware_log_is_for_those_who_diagnose(park: Park) -> None:
    with open_scope(park.scope):
        analyst = factories.member(park.tenant, Role.ANALYST).user
    reader = Client()
    reader.force_login(analyst)
    assert "Firmware log" not in get(reader, "device", park.branches[0].device.pk)


def test_events_are_told_in_words(park: Park) -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)

    def told(kind: str, data: dict[str, Any]) -> tuple[str, str]:
        shown = pages_device.event(Event(at, at, None, kind, data))
        return shown["title"], shown["text"]

    assert told("connected", {"firmware_version": "2.4.1"}) == ("Connected", "Firmware 2.4.1")
    assert told("connected", {}) == ("Connected", "")
    assert told("disconnected", {"code": "idle", "text": "silent for 90 s"}) == (
        "Disconnected",
        "silent for 90 s",
    )
    assert told("reboot", {"cause": "brownout", "count": 3}) == (
        "reboot",
        "cause brownout, count 3",
    )


def test_a_level_of_a_newer_firmware_is_shown_as_its_number() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    assert pages_device.log_line(LogLine(at, at, 99, "text"))["title"] == "99"
    assert pages_device.log_line(LogLine(at, at, LogLevel.ERROR, "text"))["title"] == "Error"


def test_times_on_the_page_of_a_device_are_those_of_the_facility(
    client: Client, park: Park
) -> None:
    html = get(client, "device", park.branches[0].device.pk)
    assert factories.START.hour == 12
    assert ">1 Mar, 13:00:00</time>" in html  # Berlin in winter


# --- charts -------------------------------------------------------


def line(name: str, *, secondary: bool = False) -> charts.Line:
    return charts.Line(name, (charts.Source(1, 0),), 0.1, secondary=secondary)


def test_charts_come_in_the_order_of_reading() -> None:
    made = charts.chart_per_quantity(
        [
            ("energy_import", "Wh", line("a")),
            ("temperature", "°C", line("b")),
            ("voltage", "V", line("c")),
            ("active_power", "W", line("d")),
            ("voltage", "V", line("e")),
        ]
    )
    assert [(chart.key, [one.name for one in chart.lines]) for chart in made] == [
        ("chart-active-power", ["d"]),
        ("chart-voltage", ["c", "e"]),
        ("chart-temperature", ["b"]),
        ("chart-energy-import", ["a"]),
    ]


def test_a_quantity_in_two_units_has_two_charts() -> None:
    made = charts.chart_per_quantity(
        [("active_power", "W", line("a")), ("active_power", "kW", line("b"))]
    )
    assert [chart.key for chart in made] == ["chart-active-power", "chart-active-power-1"]


def test_phases_wait_in_the_legend_beside_their_sum() -> None:
    (chart,) = charts.chart_per_quantity(
        [("active_power", "W", line("L1", secondary=True)), ("active_power", "W", line("sum"))]
    )
    assert [(one.name, shown) for one, shown in chart.drawn_lines] == [("sum", True), ("L1", False)]


def test_registers_are_drawn_as_growth() -> None:
    (chart,) = charts.chart_per_quantity([("energy_import", "Wh", line("a"))])
    assert chart.note == "since the left edge"
    assert charts.browser_spec(chart)["register"] is True


def test_both_themes_have_all_colours() -> None:
    made = templates()
    assert set(made) == {"light", "dark"}
    for theme, template in made.items():
        assert tuple(template["layout"]["colorway"]) == COLOURWAYS[theme]
    assert len(COLOURWAYS["light"]) == len(COLOURWAYS["dark"])
    json.dumps(made)


def test_a_facility_that_was_not_granted_does_not_exist(park: Park) -> None:
    consumer = Client()
    consumer.force_login(park.consumer(0))
    with open_scope(park.scope):
        other = operations.create_facility(
            tenant_id=park.tenant.pk, name="Elsewhere", time_zone="UTC", actor_id=None
        )
    assert consumer.get(reverse("facility", args=[other.pk])).status_code == 404

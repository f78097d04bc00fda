"""The live page of a facility in a real browser, fed by a recording over TLS."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from django.conf import settings
from django.db import connection, connections
from playwright.sync_api import Browser, BrowserContext, Page, expect
from redis import Redis

from devices.domain import queries
from devices.domain.queries import DeviceFacts
from devices.ingest import queue
from devices.protocol.data import decode_data
from devices.telemetry.corrected_reads import read_columns
from portal.tests.browser.conftest import PASSWORD, SPEED, Copy, eventually
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.browser,
    # Reading only; what the processes of the module's copy have committed is seen at once.
    pytest.mark.django_db(databases=["default", "owner"]),
]

STEP_S = 3 / SPEED
# A chart is drawn in the prefix that fits; here are its values in the channel's unit.
_POINTS = """key => {
    const {data, layout} = document.querySelector(`#${key} .wl-plot`);
    const plain = (value) => (value === null ? null : value * layout.meta.factor);
    return (data ?? []).map(({name, x, y}) => ({name, x: [...x], y: [...y].map(plain)}));
}"""


@dataclass
class Visit:
    """A signed-in manager's browser, and everything that went wrong in it."""

    context: BrowserContext
    page: Page
    copy: Copy
    troubles: list[str] = field(default_factory=list)

    def open_facility(self) -> None:
        """From the sign-in page to the facility of the recording."""
        page = self.page
        page.goto(f"{self.copy.url}/")
        page.get_by_label("E-mail address").fill(self.copy.manager.email)
        page.get_by_role("button", name="Continue").click()
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
        # The overview is taken anew every ten seconds: it need not be loaded again.
        page.get_by_role("link", name=re.compile("Recording")).click(timeout=30_000)
        self.expect_state("Live")

    def expect_state(self, state: str, seconds: float = 20) -> None:
        """Wait for the line about the connection."""
        found = self.page.locator('[data-show="state"]')
        expect(found).to_have_text(state, timeout=seconds * 1000)

    def points(self, chart: str) -> list[dict[str, Any]]:
        """The points that a chart shows, one dictionary of x and y for each line."""
        points: list[dict[str, Any]] = self.page.evaluate(_POINTS, chart)
        return points

    def count(self, chart: str) -> int:
        """How many readings the first line of a chart shows."""
        lines = self.points(chart)  # none before the chart is drawn for the first time
        return sum(value is not None for value in lines[0]["y"]) if lines else 0


@pytest.fixture
def visit(browser: Browser, copy: Copy) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    made = Visit(context, context.new_page(), copy)

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            made.troubles.append(message.text)

    made.page.on("console", console)
    made.page.on("pageerror", lambda error: made.troubles.append(str(error)))
    made.page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " event => console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`))"
    )
    yield made
    context.close()


def the_device(copy: Copy) -> DeviceFacts:
    with open_scope(Scope((copy.tenant.pk,))):
        (device,) = queries.devices()
    return device


def stored(copy: Copy, channel: int, first_ms: float, last_ms: float) -> dict[int, float]:
    """Readings of a channel in the database by time (ms), both ends included."""
    device = the_device(copy)
    resolution = {c.number: c.resolution for c in device.channels}[channel]
    start, end = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (first_ms, last_ms))
    with open_scope(Scope((copy.tenant.pk,))):
        columns = read_columns(
            connection,
            device.device_id,
            {channel: resolution},
            start,
            end + timedelta(milliseconds=1),
        )
    column = columns[channel]
    present = ~np.isnan(column.values)
    times = column.times[present].tolist()
    assert len(set(times)) == len(times)
    return dict(zip(times, column.values[present].tolist(), strict=True))


def assert_seamless(visit: Visit) -> int:
    """What the chart of active power shows is what the database holds: no seam, no double point.

    Returns the number of points compared.
    """
    compared = 0
    offset = visit.page.evaluate("JSON.parse(document.getElementById('page').textContent).zone")
    assert offset == "UTC"  # so that the axis needs no shift to be compared
    lines = visit.points("chart-active-power")
    for place, line in enumerate(lines[:3]):
        shown = [(x, y) for x, y in zip(line["x"], line["y"], strict=True) if y is not None]
        times = [x for x, _ in shown]
        assert times == sorted(set(times))
        eventually(
            lambda last=times[-1], place=place: last in stored(visit.copy, place, last, last),  # type: ignore[misc]
            "the last reading on the screen is in the database",
        )
        expected = stored(visit.copy, place, times[0], times[-1])
        assert [x for x, _ in shown] == list(expected)
        assert [y for _, y in shown] == pytest.approx(list(expected.values()))
        compared += len(shown)
    return compared


def test_a_manager_sees_the_recording_move(visit: Visit) -> None:
    visit.open_facility()
    eventually(lambda: visit.count("chart-total") >= 1, "the first point")
    before = visit.count("chart-total")
    eventually(lambda: visit.count("chart-total") >= before + 3, "three new points", seconds=10)
    expect(visit.page.locator('[data-show="live"]')).to_have_text("1")
    expect(visit.page.locator('[data-show="latency"]')).to_have_text(re.compile(r"^\d+ ms$"))
    expect(visit.page.locator('[data-sum="chart-total"] span')).to_have_text(
        re.compile(r"^[\d.]+$")
    )
    assert assert_seamless(visit) >= 12
    assert visit.troubles == []


def test_the_total_is_the_sum_of_the_mains(visit: Visit) -> None:
    visit.open_facility()
    eventually(lambda: visit.count("chart-total") >= 3, "three points")
    total, circuits = visit.page.evaluate(
        f"() => ['chart-total', 'chart-active-power'].map({_POINTS})"
    )
    mains = [line for line in circuits if "Mains" in line["name"]]
    assert len(mains) == 2
    by_time = [dict(zip(line["x"], line["y"], strict=True)) for line in mains]
    common = [x for x, y in zip(total[0]["x"], total[0]["y"], strict=True) if y is not None]
    common = [x for x in common if all(x in line for line in by_time)]
    assert len(common) >= 3
    values = dict(zip(total[0]["x"], total[0]["y"], strict=True))
    assert [values[x] for x in common] == pytest.approx(
        [sum(line[x] for line in by_time) for x in common]
    )


def test_the_device_is_live_while_a_page_is_open_and_batches_again_after(visit: Visit) -> None:
    device = the_device(visit.copy)
    visit.open_facility()
    expect(visit.page.locator('[data-show="live"]')).to_have_text("1", timeout=30_000)
    with Redis.from_url(settings.REDIS_URL) as redis:
        assert redis.zscore(queue.INTEREST_KEY, str(device.device_id)) is not None
        assert latest_samples(device.device_id) == 1
        visit.page.close()
        eventually(lambda: redis.zcard(queue.INTEREST_KEY) == 0, "the lease ends")
    eventually(
        lambda: latest_samples(device.device_id) > 1,
        "a frame of several samples",
        seconds=3 * device.samples * STEP_S,
    )


def latest_samples(device_id: int) -> int:
    """Samples of the frame that was stored last."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT frame FROM telemetry_frame WHERE device_id = %s ORDER BY sequence DESC LIMIT 1",
            [device_id],
        )
        row = cursor.fetchone()
    assert row is not None
    return len(decode_data(bytes(row[0])).blocks[0].times)


def test_the_page_of_a_device_shows_its_channels_and_history(visit: Visit) -> None:
    visit.open_facility()
    visit.page.get_by_role("table").get_by_role("link").first.click()
    visit.expect_state("Live")
    device = the_device(visit.copy)
    expect(visit.page.get_by_text(device.serial, exact=True)).to_be_visible()
    latest = visit.page.locator(f'[data-latest="{device.device_id}/0"]')
    expect(latest).to_have_text(re.compile(r"^[\d.]+ k?W$"), timeout=20_000)
    expect(visit.page.get_by_text("Connected", exact=True).first).to_be_visible()
    assert visit.troubles == []


def test_a_visitor_chooses_the_theme_and_it_stays(visit: Visit) -> None:
    visit.open_facility()
    html = visit.page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "light")
    visit.page.get_by_role("button", name="Switch between light and dark").click()
    expect(html).to_have_attribute("data-bs-theme", "dark")
    visit.page.reload()
    expect(html).to_have_attribute("data-bs-theme", "dark")
    assert visit.troubles == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_are_accessible(visit: Visit, theme: Literal["light", "dark"]) -> None:
    axe = settings.BASE_DIR / "node_modules" / "axe-core" / "axe.min.js"
    visit.page.emulate_media(color_scheme=theme)
    visit.page.goto(f"{visit.copy.url}/accounts/login/")
    found = {"login": violations(visit.page, axe)}
    visit.open_facility()
    eventually(lambda: visit.count("chart-total") >= 1, "the first point")
    found["facility"] = violations(visit.page, axe)
    for name, path in (("device", f"/devices/{the_device(visit.copy).device_id}/"), ("home", "/")):
        visit.page.goto(f"{visit.copy.url}{path}")
        found[name] = violations(visit.page, axe)
    assert {name: broken for name, broken in found.items() if broken} == {}


def violations(page: Page, axe: Path) -> list[str]:
    """What axe-core finds against WCAG 2.2 AA."""
    page.evaluate(axe.read_text(encoding="utf-8"))
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
    found = page.evaluate("tags => axe.run({runOnly: tags})", rules)["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("width", [390, 768, 1280, 1920])
def test_no_page_is_wider_than_the_screen(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.open_facility()
    eventually(lambda: visit.count("chart-total") >= 1, "the first point")
    device = the_device(visit.copy)
    for path in (None, f"/devices/{device.device_id}/", "/"):
        if path:
            visit.page.goto(f"{visit.copy.url}{path}")
        over = visit.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert (path, over) == (path, 0)


def test_the_page_comes_back_after_the_web_process_was_restarted(visit: Visit) -> None:
    visit.open_facility()
    eventually(lambda: visit.count("chart-total") >= 5, "five points")
    visit.copy.stop("web")
    visit.expect_state("Reconnecting")
    time.sleep(3)
    visit.copy.start_web()
    visit.expect_state("Live", seconds=40)
    before = visit.count("chart-total")
    eventually(lambda: visit.count("chart-total") >= before + 3, "new points after the restart")
    assert assert_seamless(visit) >= 15
    # That the server was away is said by the browser itself; nothing else may be.
    assert [text for text in visit.troubles if "ERR_CONNECTION_REFUSED" not in text] == []

"""Going back in time on the pages of a facility and of a device, in a real browser.

Two facilities: that of the recording, which reports live, and one in Berlin's time zone whose
readings, one a minute, are a week old and around the last day of 25 hours.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from django.conf import settings
from django.db import connections
from playwright.sync_api import Browser, Locator, Page, Response, expect
from pytest_django import DjangoDbBlocker

from devices.domain import operations
from devices.domain.operations import ChannelSpec
from devices.domain.series import SeriesResult, read_series
from devices.models import Device
from devices.protocol.data import Block, encode_data
from devices.telemetry.periods import Resolution
from devices.tests import factories
from portal.tests.browser.conftest import PASSWORD, Copy, eventually
from portal.tests.browser.test_live_page import violations
from tenants.scope import Scope, open_scope

pytestmark = [
    pytest.mark.browser,
    # Reading only; what the processes of the module's copy have committed is seen at once.
    pytest.mark.django_db(databases=["default", "owner"]),
]

BERLIN = ZoneInfo("Europe/Berlin")
MINUTE_MS = 60_000
_POWER = ChannelSpec(
    number=0, key="active_power", name="Active power", quantity="active_power",
    resolution=Decimal("0.1"), minimum=Decimal(-20_000), maximum=Decimal(20_000),
)  # fmt: skip
_ENERGY = ChannelSpec(
    number=1, key="energy_import", name="Energy imported", quantity="energy_import",
    resolution=Decimal(1), minimum=Decimal(0), maximum=Decimal(10**9),
)  # fmt: skip
_WORK = "from devices.tasks import refresh_power, roll_up; roll_up(); refresh_power()"
_FRAME = 720


@dataclass(frozen=True)
class House:
    """The facility with a past."""

    tenant_id: int
    facility: int
    device: int
    long_day: date
    now: datetime

    def series(
        self, channel: int, start: datetime, end: datetime, resolution: Resolution
    ) -> SeriesResult:
        """What `read_series` says."""
        with open_scope(Scope((self.tenant_id,))):
            return read_series(
                channels=[(self.device, channel)], start=start, end=end, resolution=resolution
            )


def long_day_before(now: datetime) -> date:
    """The last day of 25 hours in Berlin that is over for two days."""
    for year in (now.year, now.year - 1):
        last = date(year, 10, 31)
        sunday = last - timedelta(days=(last.weekday() + 1) % 7)
        if sunday < now.date() - timedelta(days=2):
            return sunday
    raise AssertionError("there is one each year")


def midnight(day: date) -> datetime:
    """Where a local day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=BERLIN).astimezone(UTC)


@pytest.fixture(scope="module")
def house(copy: Copy, django_db_blocker: DjangoDbBlocker) -> House:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    long_day = long_day_before(now)
    with django_db_blocker.unblock():
        with open_scope(Scope((copy.tenant.pk,))):
            at = factories.facility(copy.tenant)
            kind = operations.create_device_type(
                tenant_id=copy.tenant.pk, code="minute-meter", name="Minute meter",
                channels=[_POWER, _ENERGY], actor_id=None, step_ms=MINUTE_MS,
            )  # fmt: skip
            device = factories.device(at, kind).device
        _store(
            device,
            [
                (midnight(long_day - timedelta(days=1)), midnight(long_day + timedelta(days=2))),
                (midnight(now.astimezone(BERLIN).date() - timedelta(days=8)), now),
            ],
        )
    copy.start("work", "manage.py", "shell", "--no-imports", "-c", _WORK)
    assert copy.processes.pop("work").wait(120) == 0, copy.log("work")
    return House(copy.tenant.pk, at.pk, device.pk, long_day, now)


def _store(device: Device, spans: list[tuple[datetime, datetime]]) -> None:
    """A reading a minute, as the writer leaves them."""
    sequence, register = 0, 0
    rows: list[list[Any]] = []
    for start, end in spans:
        first, last = (int(at.timestamp()) * 1000 for at in (start, end))
        times = np.arange(first, last, MINUTE_MS, dtype=np.int64)
        minutes = times // MINUTE_MS
        watts = 1_000 + 40 * (minutes // 60 % 24) + minutes % 60 * 3
        energy = register + np.cumsum(watts) // 60
        register = int(energy[-1])
        for at in range(0, len(times), _FRAME):
            part = slice(at, at + _FRAME)
            sequence += 1
            values = np.stack([watts[part] * 10, energy[part]])
            body = encode_data(sequence, [Block(times[part], (0, 1), values)])
            began, ended = (_moment(time) for time in (times[part][0], times[part][-1]))
            rows.append(
                [end, device.tenant_id, device.pk, sequence, began, ended, values.size, body]
            )
    with connections["owner"].cursor() as cursor:
        cursor.executemany("INSERT INTO telemetry_frame VALUES (%s,%s,%s,%s,%s,%s,%s,%s)", rows)
        cursor.execute(
            "UPDATE device_cursor SET committed = %s, produced = %s, last_received_at = %s,"
            " last_sample_at = %s WHERE device_id = %s",
            [sequence, sequence, rows[-1][0], rows[-1][5], device.pk],
        )


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


@dataclass
class Visit:
    """A signed-in manager's browser, what went wrong in it, and what it asked of history."""

    page: Page
    copy: Copy
    troubles: list[str] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    def open(self, facility: int, query: str = "") -> None:
        """The page of a facility."""
        self.page.goto(f"{self.copy.url}/facilities/{facility}/{query}")
        expect(self.page.locator('[data-time="state"]')).to_be_visible()

    def choose(self, preset: str) -> None:
        """A preset of the period."""
        self.page.get_by_label("Period", exact=True).select_option(preset)

    @property
    def state(self) -> Locator:
        """Where the page is in time."""
        return self.page.locator('[data-time="state"]')

    def expect_resolution(self, resolution: str) -> None:
        """Wait until the charts have become as fine as this."""
        expect(self.page.locator("body")).to_have_attribute("data-resolution", resolution)

    def table(self, chart: str) -> list[tuple[str, list[float | None]]]:
        """The rows of a chart's table: time and values."""
        card = self.page.locator(f"#{chart}")
        if card.locator(".wl-chart-table").is_hidden():
            card.locator(".wl-chart-menu summary").click()
            card.get_by_role("button", name="Show as a table").click()
        self.page.wait_for_timeout(900)  # the table follows what stands still
        rows: list[tuple[str, list[float | None]]] = card.locator("tbody tr").evaluate_all(
            "rows => rows.map((row) => [row.cells[0].textContent, [...row.cells].slice(1)"
            ".map((cell) => cell.dataset.value === undefined ? null : Number(cell.dataset.value))])"
        )
        return [(time, values) for time, values in rows]

    def asked(self) -> list[dict[str, str]]:
        """The questions about history so far."""
        return [
            {name: values[0] for name, values in parse_qs(urlsplit(answer.url).query).items()}
            for answer in self.answers
        ]

    def until(self, ready: Callable[[], bool], what: str) -> None:
        """Wait, while the browser is heard, until `ready`."""
        for _ in range(200):
            if ready():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"not within 20 s: {what}")

    def query(self) -> dict[str, str]:
        """What the address of the page says."""
        found = self.page.evaluate("Object.fromEntries(new URLSearchParams(location.search))")
        return dict(found)

    def days(self) -> float:
        """How long the period of the address is."""
        query = self.query()
        return (int(query["to"]) - int(query["from"])) / 86_400_000

    def plot(self, chart: str) -> dict[str, float]:
        """The box of a chart, brought into sight."""
        element = self.page.locator(f"#{chart} .wl-chart")
        element.evaluate(
            "element => element.scrollIntoView({block: 'center', behavior: 'instant'})"
        )
        box = element.bounding_box()
        assert box is not None
        return {"x": box["x"], "y": box["y"], "width": box["width"]}


@pytest.fixture
def visit(browser: Browser, copy: Copy) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    made = Visit(context.new_page(), copy)
    page = made.page

    def console(message: Any) -> None:
        if message.type in ("error", "warning"):
            made.troubles.append(message.text)

    def answered(response: Response) -> None:
        if "/history/?" in response.url:
            made.answers.append(response)

    page.on("console", console)
    page.on("pageerror", lambda error: made.troubles.append(str(error)))
    page.on("response", answered)
    page.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " event => console.error(`CSP ${event.violatedDirective} ${event.blockedURI}`))"
    )
    page.goto(f"{copy.url}/")
    page.get_by_label("E-mail address").fill(copy.manager.email)
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    yield made
    context.close()


# --- periods ------------------------------------------------------------------------------------


def _days(house: House, first: int, last: int) -> tuple[datetime, datetime]:
    """Local days before and after today."""
    today = house.now.astimezone(BERLIN).date()
    return midnight(today + timedelta(days=first)), midnight(today + timedelta(days=last))


@pytest.mark.parametrize(
    ("preset", "name", "resolution", "rows"),
    [
        ("yesterday", "Yesterday", "raw", 24 * 60),
        ("7d", "7 days", "quarter", None),
        ("30d", "30 days", "hour", None),
        ("year", "This year", "day", None),
        ("last-year", "Last year", "day", None),
    ],
)
def test_each_preset_shows_its_period(
    visit: Visit, house: House, preset: str, name: str, resolution: str, rows: int | None
) -> None:
    visit.open(house.facility)
    visit.choose(preset)
    expect(visit.state).to_have_text(name)
    if preset != "last-year":
        visit.expect_resolution(resolution)
    assert visit.query() == {"period": preset}
    visit.until(lambda: len(visit.answers) > 0, "history answers")
    question = visit.asked()[-1]
    year = house.now.astimezone(BERLIN).year
    spans = {
        "yesterday": _days(house, -1, 0),
        "7d": _days(house, -6, 1),
        "30d": _days(house, -29, 1),
        "year": (midnight(date(year, 1, 1)), midnight(date(year + 1, 1, 1))),
        "last-year": (midnight(date(year - 1, 1, 1)), midnight(date(year, 1, 1))),
    }
    start, end = spans[preset]
    assert int(question["from"]) <= start.timestamp() * 1000
    assert int(question["to"]) >= end.timestamp() * 1000
    if rows is not None:
        # Of many readings those that make the curve are drawn; the first and the last are there.
        assert 100 < len(visit.table("chart-active-power")) <= rows
    assert visit.troubles == []


def test_values_are_those_of_read_series(visit: Visit, house: House) -> None:
    start, end = _days(house, -6, 0)
    window = f"?from={start.timestamp() * 1000:.0f}&to={end.timestamp() * 1000:.0f}"
    visit.open(house.facility, window)
    visit.expect_resolution("quarter")
    (channel,) = house.series(0, start, end, Resolution.QUARTER).channels
    assert channel.periods is not None
    expected = np.stack(
        [channel.periods.mean, channel.periods.minimum, channel.periods.maximum], axis=1
    )
    shown = np.array([values for _, values in visit.table("chart-active-power")], np.float64)
    assert len(expected) == 6 * 96
    np.testing.assert_array_equal(shown, expected)
    assert visit.troubles == []


def test_energy_is_shown_as_bars_of_its_periods(visit: Visit, house: House) -> None:
    start, end = _days(house, -6, 0)
    visit.open(
        house.facility,
        f"?from={start.timestamp() * 1000:.0f}&to={end.timestamp() * 1000:.0f}",
    )
    visit.expect_resolution("quarter")
    (channel,) = house.series(1, start, end, Resolution.QUARTER).channels
    assert channel.periods is not None
    shown = [values[0] for _, values in visit.table("chart-energy-import")]
    assert shown == channel.periods.energy.tolist()


def test_a_day_of_25_hours_has_25_hours(visit: Visit, house: House) -> None:
    start = midnight(house.long_day)
    end = midnight(house.long_day + timedelta(days=1))
    assert end - start == timedelta(hours=25)
    visit.open(house.facility)
    visit.page.get_by_label("Period", exact=True).select_option("custom")
    # As a person writes it, in the facility's time.
    visit.page.get_by_label("From", exact=True).fill(f"{house.long_day}T00:00")
    visit.page.get_by_label("To", exact=True).fill(f"{house.long_day + timedelta(days=1)}T00:00")
    visit.page.get_by_role("button", name="Show", exact=True).click()
    visit.expect_resolution("raw")
    assert visit.days() * 24 == 25
    assert int(visit.query()["from"]) == int(start.timestamp()) * 1000
    with visit.page.expect_download() as saved:
        _save(visit, "chart-active-power", "Download as CSV")
    rows = list(csv.reader(Path(saved.value.path()).read_text("utf-8").splitlines()))
    times = [datetime.fromisoformat(row[0]) for row in rows[1:]]
    # Of many readings those that make the curve are drawn.
    assert start <= times[0] < start + timedelta(minutes=30)
    assert end - timedelta(minutes=30) < times[-1] < end
    assert times == sorted(set(times))
    twice = [at for at in times if at.hour == 2]
    assert {at.utcoffset() for at in twice} == {timedelta(hours=2), timedelta(hours=1)}
    visit.page.get_by_role("button", name="Period after").click()
    assert int(visit.query()["from"]) == int(end.timestamp()) * 1000
    assert visit.days() == 1
    assert visit.troubles == []


def _save(visit: Visit, chart: str, action: str) -> None:
    card = visit.page.locator(f"#{chart}")
    card.locator(".wl-chart-menu summary").click()
    card.get_by_role("button", name=action).click()


def test_a_chart_is_taken_along_as_csv_and_as_a_picture(visit: Visit, house: House) -> None:
    start, end = _days(house, -2, -1)
    visit.open(
        house.facility,
        f"?from={start.timestamp() * 1000:.0f}&to={(end.timestamp() + 6 * 86_400) * 1000:.0f}",
    )
    visit.expect_resolution("quarter")
    with visit.page.expect_download() as saved:
        _save(visit, "chart-active-power", "Download as CSV")
    rows = list(csv.reader(Path(saved.value.path()).read_text("utf-8").splitlines()))
    (channel,) = house.series(0, start, house.now, Resolution.QUARTER).channels
    assert channel.periods is not None
    assert [float(row[2]) for row in rows[1:]] == channel.periods.mean.tolist()
    assert [datetime.fromisoformat(row[0]) for row in rows[1:]] == [
        _moment(at) for at in channel.periods.starts
    ]
    with visit.page.expect_download() as saved:
        _save(visit, "chart-active-power", "Download as a picture")
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    assert saved.value.suggested_filename.endswith(".png")


# --- nearer, further, along ---------------------------------------------------------------------


def test_looking_nearer_loads_the_finer(visit: Visit, house: House) -> None:
    visit.open(house.facility, "?period=30d")
    visit.expect_resolution("hour")
    box = visit.plot("chart-active-power")
    day = house.now - timedelta(days=3)
    span = _days(house, -29, 1)
    part = (day - span[0]) / (span[1] - span[0])
    x = box["x"] + 58 + part * (box["width"] - 74)
    visit.page.mouse.move(x, box["y"] + 80)
    resolutions = ["hour"]
    visit.page.keyboard.down("Control")
    for _ in range(16):
        visit.page.mouse.wheel(0, -150)
        visit.page.wait_for_timeout(300)
        found = visit.page.locator("body").get_attribute("data-resolution")
        # Something is drawn all the time: the coarser stays until the finer has come.
        assert found
        if found != resolutions[-1]:
            resolutions.append(found)
    visit.page.keyboard.up("Control")
    assert resolutions == ["hour", "quarter", "raw"]
    query = visit.query()
    start, end = _moment(query["from"]), _moment(query["to"])
    # A pixel of thirty days is an hour and a half.
    assert start - timedelta(hours=2) < day < end + timedelta(hours=2)
    assert end - start < timedelta(hours=6)
    (channel,) = house.series(0, start, end, Resolution.RAW).channels
    assert channel.curve is not None
    expected = [[value] for value in channel.curve.values.tolist()]
    visit.until(
        lambda: [values for _, values in visit.table("chart-active-power")] == expected,
        "every reading is there",
    )
    visit.page.mouse.dblclick(x, box["y"] + 80)
    expect(visit.state).to_have_text("30 days")
    assert visit.troubles == []


def test_a_question_that_is_overtaken_is_dropped(visit: Visit, house: House) -> None:
    failed: list[str] = []
    visit.page.on("requestfailed", lambda request: failed.append(request.url))

    def slow(route: Any) -> None:
        visit.page.wait_for_timeout(600)
        route.continue_()

    visit.open(house.facility, "?period=yesterday")
    visit.expect_resolution("raw")
    visit.page.route("**/history/?*", lambda route: slow(route))
    before = len(visit.answers)
    for preset in ("30d", "year"):
        visit.choose(preset)
        visit.page.wait_for_timeout(150)
    visit.expect_resolution("day")
    assert len(failed) == 1
    assert len(visit.answers) - before == 1
    assert visit.troubles == []


def test_keys_move_along_and_back(visit: Visit, house: House) -> None:
    start, end = _days(house, -3, -2)
    visit.open(
        house.facility,
        f"?from={start.timestamp() * 1000:.0f}&to={end.timestamp() * 1000:.0f}",
    )
    visit.expect_resolution("raw")
    visit.page.locator("#chart-active-power .wl-chart").focus()

    def span() -> tuple[float, float]:
        query = visit.query()
        return (
            (int(query["from"]) / 1000 - start.timestamp()) / 86_400,
            (int(query["to"]) / 1000 - start.timestamp()) / 86_400,
        )

    seen = []
    for key in ("ArrowLeft", "ArrowRight", "+", "-", "ArrowRight"):
        visit.page.keyboard.press(key)
        seen.append(span())
    expected = [(-0.2, 0.8), (0, 1), (0.1875, 0.8125), (0, 1), (0.2, 1.2)]
    assert [value for pair in seen for value in pair] == pytest.approx(
        [value for pair in expected for value in pair], abs=1e-6
    )
    visit.page.keyboard.press("Home")
    assert span() == (0, 1)
    assert visit.troubles == []


def test_a_drag_moves_along_and_shift_chooses(visit: Visit, house: House) -> None:
    start, end = _days(house, -3, -2)
    visit.open(
        house.facility,
        f"?from={start.timestamp() * 1000:.0f}&to={end.timestamp() * 1000:.0f}",
    )
    visit.expect_resolution("raw")
    box = visit.plot("chart-active-power")
    room = box["width"] - 74
    left, y = box["x"] + 58, box["y"] + 90
    mouse = visit.page.mouse
    mouse.move(left + room * 0.25, y)
    mouse.down()
    mouse.move(left + room * 0.75, y, steps=8)
    mouse.up()
    moved = (start.timestamp() * 1000 - int(visit.query()["from"])) / 86_400_000
    assert moved == pytest.approx(0.5, abs=0.02)
    visit.page.keyboard.down("Shift")
    mouse.move(left + room * 0.5, y)
    mouse.down()
    mouse.move(left + room * 0.75, y, steps=8)
    mouse.up()
    visit.page.keyboard.up("Shift")
    assert visit.days() == pytest.approx(0.25, abs=0.01)
    assert visit.troubles == []


def test_two_fingers_look_nearer_on_a_phone(visit: Visit, house: House) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    start, end = _days(house, -3, -2)
    visit.open(
        house.facility,
        f"?from={start.timestamp() * 1000:.0f}&to={end.timestamp() * 1000:.0f}",
    )
    visit.expect_resolution("raw")
    assert visit.page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    box = visit.plot("chart-active-power")
    devtools = visit.page.context.new_cdp_session(visit.page)
    middle, y = box["x"] + 58 + (box["width"] - 74) / 2, box["y"] + 90

    def touch(kind: str, *places: float) -> None:
        points = [{"x": x, "y": y, "id": n} for n, x in enumerate(places)]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", middle - 40)
    touch("touchStart", middle - 40, middle + 40)
    for apart in (50, 60, 70, 80):
        touch("touchMove", middle - apart, middle + apart)
    touch("touchEnd")
    visit.until(lambda: visit.days() < 0.75, "less of time is shown")
    assert visit.days() == pytest.approx(0.5, abs=0.1)
    assert visit.troubles == []


# --- the address --------------------------------------------------------------------------------


def test_the_address_brings_the_view_back(visit: Visit, house: House) -> None:
    visit.open(house.facility)
    visit.choose("yesterday")
    visit.expect_resolution("raw")
    visit.choose("30d")
    visit.expect_resolution("hour")
    visit.page.go_back()
    expect(visit.state).to_have_text("Yesterday")
    visit.expect_resolution("raw")
    visit.page.go_back()
    expect(visit.state).to_have_text("Live")
    visit.page.go_forward()
    expect(visit.state).to_have_text("Yesterday")
    visit.page.get_by_role("button", name="Compare").click()
    legend = visit.page.locator("#chart-active-power .wl-legend button")
    legend.first.click()
    assert visit.query() == {
        "period": "yesterday", "compare": "1", "off": f"{house.device}.0",
    }  # fmt: skip
    address = str(visit.page.evaluate("location.href"))
    other = visit.page.context.new_page()
    other.goto(address)
    expect(other.locator('[data-time="state"]')).to_have_text("Yesterday")
    expect(other.locator("#chart-active-power .wl-legend button").first).to_have_attribute(
        "aria-pressed", "false"
    )
    expect(other.get_by_role("button", name="Compare")).to_have_attribute("aria-pressed", "true")
    assert visit.troubles == []


def test_the_period_before_lies_behind(visit: Visit, house: House) -> None:
    visit.open(house.facility, "?period=yesterday")
    visit.expect_resolution("raw")
    visit.page.get_by_role("button", name="Compare").click()
    start, end = _days(house, -2, -1)
    visit.until(
        lambda: any(
            int(one["from"]) <= start.timestamp() * 1000
            and int(one["to"]) < (end + timedelta(hours=12)).timestamp() * 1000
            for one in visit.asked()
        ),
        "the day before is asked for",
    )
    box = visit.plot("chart-active-power")
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 90)
    rows = visit.page.locator("#chart-active-power .wl-tip-row")
    expect(rows).to_have_count(2)
    expect(rows.last).to_contain_text("before")
    assert visit.troubles == []


# --- live, paused, replayed ---------------------------------------------------------------------


def _recorded(copy: Copy) -> tuple[int, int]:
    """Facility and device of the recording."""

    def found() -> Device | None:
        with open_scope(Scope((copy.tenant.pk,))):
            return Device.objects.filter(facility__name__startswith="Recording").first()

    eventually(lambda: found() is not None, "the recorded house is registered")
    device = found()
    assert device is not None
    return device.facility_id, device.pk


_LIVE_POINTS = """() => {
  const {data} = document.querySelector("#chart-total .wl-plot");
  return data ? [...data[0].x].filter((_, i) => data[0].y[i] !== null) : [];
}"""


def test_a_pause_keeps_and_live_goes_on_without_a_hole(visit: Visit) -> None:
    facility, _device = _recorded(visit.copy)
    visit.open(facility)
    eventually(lambda: len(visit.page.evaluate(_LIVE_POINTS)) >= 5, "five points", seconds=60)
    visit.page.get_by_role("button", name="Pause").click()
    expect(visit.state).to_have_text(re.compile(r"^Paused at \d\d:\d\d:\d\d$"))
    said = visit.state.text_content()
    figure = visit.page.locator('[data-sum="chart-total"]')
    # The figures follow at most a quarter of a second later.
    visit.page.wait_for_timeout(600)
    kept = (figure.text_content(), visit.table("chart-total"))
    visit.page.wait_for_timeout(5_000)
    assert (figure.text_content(), visit.table("chart-total")) == kept
    assert visit.state.text_content() == said
    visit.page.get_by_role("button", name="Back to live").click()
    expect(visit.state).to_have_text("Live")
    points: list[float] = []

    def steady() -> bool:
        points[:] = visit.page.evaluate(_LIVE_POINTS)
        return len(points) >= 12

    eventually(steady, "the frames of the pause are there")
    # A sample a second: what came during the pause has no hole before what came after it.
    assert np.diff(points[-10:]).max() < 2_500
    assert visit.troubles == []


def test_rewound_and_replayed_the_page_shows_the_values_of_that_instant(
    visit: Visit, house: House
) -> None:
    start, end = _days(house, -3, -2)
    at = start + timedelta(hours=5, minutes=30, seconds=20)
    window = f"?from={start.timestamp() * 1000:.0f}&to={end.timestamp() * 1000:.0f}"
    visit.open(house.facility, f"{window}&at={at.timestamp() * 1000:.0f}")
    expect(visit.state).to_contain_text("05:30:20")
    # Near enough that every reading is there.
    visit.open(
        house.facility,
        f"?from={(at - timedelta(minutes=15)).timestamp() * 1000:.0f}"
        f"&to={at.timestamp() * 1000:.0f}&at={at.timestamp() * 1000:.0f}",
    )
    visit.expect_resolution("raw")
    output = visit.page.locator("#chart-active-power .wl-legend output").first
    (channel,) = house.series(
        0, at - timedelta(hours=1), at + timedelta(hours=3), Resolution.RAW
    ).channels
    assert channel.curve is not None
    times, values = channel.curve.times, channel.curve.values

    def expected(moment: datetime) -> str:
        place = np.searchsorted(times, moment.timestamp() * 1000, side="right") - 1
        return f"{values[place] / 1000:.2f} kW"

    assert output.text_content() == expected(at)
    tile = visit.page.locator('[data-sum="chart-total"]')
    visit.until(lambda: tile.text_content() == expected(at), "the figure follows")
    visit.page.get_by_label("Speed of the replay").select_option("600")
    visit.page.get_by_role("button", name="Replay").click()
    expect(visit.state).to_have_text("Replay 600×")
    visit.page.wait_for_timeout(3_000)
    visit.page.get_by_role("button", name="Pause").click()
    expect(visit.state).to_have_text(re.compile("^Paused at"))
    text = visit.state.text_content() or ""
    then = datetime.strptime(text.removeprefix("Paused at "), "%d %b %Y, %H:%M:%S").replace(
        tzinfo=BERLIN
    )
    # Three seconds and what the machine took for them, 600 times as fast.
    assert at < then < at + timedelta(hours=3)
    assert output.text_content() == expected(then.astimezone(UTC))
    assert visit.troubles == []


def test_the_slider_rewinds(visit: Visit, house: House) -> None:
    visit.open(house.facility)
    slider = visit.page.get_by_label("Rewind")
    slider.evaluate(
        "element => { element.value = '-36000';"
        " for (const name of ['input', 'change']) element.dispatchEvent(new Event(name)); }"
    )
    visit.expect_resolution("raw")
    expect(visit.state).to_have_text(re.compile("^Paused at"))
    expect(visit.page.locator(".wl-now").first).to_be_visible()
    back = visit.page.get_by_role("button", name="Back to live")
    back.click()
    expect(visit.state).to_have_text("Live")
    expect(back).to_be_disabled()
    expect(visit.page.locator(".wl-now").first).to_be_hidden()
    assert visit.query() == {}
    assert visit.troubles == []


def test_the_page_of_a_device_has_a_past_too(visit: Visit, house: House) -> None:
    visit.page.goto(f"{visit.copy.url}/devices/{house.device}/?period=yesterday")
    visit.expect_resolution("raw")
    expect(visit.state).to_have_text("Yesterday")
    latest = visit.page.locator(f'[data-latest="{house.device}/0"]')
    expect(latest).to_have_text(re.compile(r"^[\d.]+ kW$"))
    assert visit.troubles == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_past_is_accessible(
    visit: Visit, house: House, theme: Literal["light", "dark"]
) -> None:
    visit.page.emulate_media(color_scheme=theme)
    visit.open(house.facility, "?period=7d&compare=1")
    visit.expect_resolution("quarter")
    assert len(visit.table("chart-active-power")) > 96
    visit.page.get_by_label("Period", exact=True).select_option("custom")
    axe = settings.BASE_DIR / "node_modules" / "axe-core" / "axe.min.js"
    assert violations(visit.page, axe) == []
    assert visit.troubles == []


def test_what_is_live_is_taken_along_as_well(visit: Visit) -> None:
    facility, _device = _recorded(visit.copy)
    visit.open(facility)
    visit.until(lambda: len(visit.page.evaluate(_LIVE_POINTS)) >= 5, "five points")
    with visit.page.expect_download() as saved:
        _save(visit, "chart-total", "Download as CSV")
    rows = list(csv.reader(Path(saved.value.path()).read_text("utf-8").splitlines()))
    assert len(rows) >= 5
    with visit.page.expect_download() as saved:
        _save(visit, "chart-total", "Download as a picture")
    assert Path(saved.value.path()).stat().st_size > 2_000
    expect(visit.state).to_have_text("Live")
    assert visit.troubles == []


def test_what_is_not_theirs_is_not_found(visit: Visit, house: House) -> None:
    """A member for another facility, in the very session of the browser."""
    with connections["owner"].cursor() as cursor:
        cursor.execute("SELECT id FROM devices_facility WHERE id <> %s LIMIT 1", [house.facility])
        (other,) = cursor.fetchone() or (None,)
    assert other is not None
    address = f"/facilities/{other}/history/?channels={house.device}.0&from=0&to=900000"
    answer = visit.page.evaluate("async (address) => (await fetch(address)).status", address)
    assert answer == 400  # before 1971
    address = address.replace("from=0&to=900000", "from=1772366400000&to=1772370000000")
    answer = visit.page.evaluate("async (address) => (await fetch(address)).status", address)
    assert answer == 404

"""Figures, sentences and the chart of the consumer view, without a database."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import translation
from PIL import Image, ImageChops

from devices.domain.energy import DayEnergy, Energy, Quarter, local_day
from devices.domain.home import Home
from devices.domain.queries import FacilityFacts
from portal.consumer import figures, pages
from portal.consumer.chart import day_chart
from portal.devstack import app_icons

QUARTER = timedelta(minutes=15)


@pytest.mark.parametrize(
    ("watts", "text"),
    [
        (0, "0 W"),
        (-0.2, "0 W"),
        (840.4, "840 W"),
        (999.4, "999 W"),
        (999.6, "1.00 kW"),
        (1_240, "1.24 kW"),
        (9_995, "10.0 kW"),
        (12_440, "12.4 kW"),
        (124_400, "124 kW"),
        (-2_150, "−2.15 kW"),
        (3_200_000, "3.20 MW"),
    ],
)
def test_power_has_three_digits_and_its_prefix(watts: float, text: str) -> None:
    assert str(figures.power(watts)).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("watt_hours", "text"), [(0, "0.00 kWh"), (420, "0.42 kWh"), (12_440, "12.4 kWh")]
)
def test_energy_is_told_in_kilowatt_hours(watt_hours: float, text: str) -> None:
    assert str(figures.energy(watt_hours)).replace("\N{NO-BREAK SPACE}", " ") == text


def test_figures_follow_the_readers_language() -> None:
    with translation.override("de"):
        assert figures.power(1_240).number == "1,24"


def home_of(zone: str, now: datetime, quarters: dict[int, float]) -> Home:
    """A home whose quarters of today (number since midnight) used so many Wh."""
    midnight, end = local_day(zone=zone, now=now)
    previous, _ = local_day(zone=zone, now=midnight - timedelta(hours=1))
    facility = FacilityFacts(1, 1, None, "Home", "household", "", zone, Decimal(0), Decimal(0))
    day = DayEnergy(date(2026, 1, 1), Energy(), Energy(), Energy(), None)
    found = tuple(
        Quarter(midnight + index * QUARTER, Energy(imported_wh=used), 1.0)
        for index, used in quarters.items()
    )
    return Home(facility, (), (), None, day, found, (), previous, midnight, end)


@pytest.mark.parametrize(
    ("day", "quarters", "noon"),
    [
        (datetime(2026, 3, 29, 12, tzinfo=UTC), 92, 44),
        (datetime(2026, 6, 1, 12, tzinfo=UTC), 96, 48),
        (datetime(2026, 10, 25, 12, tzinfo=UTC), 100, 52),
    ],
)
def test_chart_of_a_short_and_a_long_day_fills_its_width(
    day: datetime, quarters: int, noon: int
) -> None:
    home = home_of("Europe/Berlin", day, {0: 100, quarters - 1: 200})
    chart = day_chart(home)
    assert chart is not None
    step = 384 / quarters
    first, last = chart["bars"]
    assert first["x"] == pytest.approx(0.12 * step, abs=0.01)
    assert last["x"] + last["width"] == pytest.approx(384 - 0.12 * step, abs=0.02)
    hours = {hour["label"]: hour["x"] for hour in chart["hours"]}
    assert list(hours) == ["00:00", "06:00", "12:00", "18:00"]
    assert hours["12:00"] == pytest.approx(noon * step, abs=0.01)


def test_chart_is_scaled_by_average_power_and_empty_without_anything() -> None:
    now = datetime(2026, 6, 1, 12, tzinfo=UTC)
    chart = day_chart(home_of("UTC", now, {0: 500, 4: 125, 5: -3}))
    assert chart is not None
    assert chart["scale"] == "2.00\N{NO-BREAK SPACE}kW"
    heights = [bar["height"] for bar in chart["bars"]]
    assert heights == [84.0, 21.0, 0.0]
    assert day_chart(home_of("UTC", now, {})) is None


@pytest.mark.parametrize(
    ("used", "before", "tone", "text"),
    [
        (5_000, 4_000, "more", "1.00 kWh (25 %) more than yesterday at this time."),
        (3_000, 4_000, "less", "1.00 kWh (25 %) less than yesterday at this time."),
        (4_050, 4_000, "same", "About as much as yesterday at this time (4.00 kWh)."),
        (1_000, 0, "more", "1.00 kWh more than yesterday at this time."),
        (0, 0, "same", "About as much as yesterday at this time (0.00 kWh)."),
    ],
)
def test_day_is_compared_in_words(used: float, before: float, tone: str, text: str) -> None:
    day = DayEnergy(
        date(2026, 1, 1), Energy(imported_wh=used), Energy(imported_wh=before), Energy(), 1.0
    )
    found = pages._comparison(day)
    assert found is not None
    assert (found["tone"], found["text"].replace("\N{NO-BREAK SPACE}", " ")) == (tone, text)


def test_nothing_is_compared_with_a_day_that_was_not_measured() -> None:
    day = DayEnergy(date(2026, 1, 1), Energy(imported_wh=1), Energy(), Energy(), 1.0)
    assert pages._comparison(day) is None


@pytest.mark.parametrize("parts", [[], ["grid"], ["grid", "generation"], ["grid", "storage"]])
def test_flow_shows_what_exists_and_the_home(parts: list[str]) -> None:
    flow = pages._flow(parts)
    assert {node["key"] for node in flow["nodes"]} == {*parts, "home"}
    _, top, _, height = map(int, flow["box"].split())
    for node in flow["nodes"]:
        assert top <= node["y"] - flow["radius"]
        assert node["y"] + flow["radius"] <= top + height


@pytest.mark.parametrize("name", app_icons.PICTURES)
def test_pictures_in_the_repository_are_those_that_are_drawn(name: str) -> None:
    drawn = app_icons.draw(*app_icons.PICTURES[name])
    with Image.open(app_icons.FOLDER / name) as kept:
        assert kept.size == drawn.size
        difference = ImageChops.difference(kept.convert("RGBA"), drawn)
        assert difference.point(lambda level: max(0, level - 2)).getbbox() is None

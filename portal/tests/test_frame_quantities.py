"""Numbers, quantities and times as readers of a language write them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.template import Context, Template
from django.utils import translation

from devices.quantities import QUANTITIES
from portal.frame import quantities

_SUMMER = datetime(2025, 7, 1, 22, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("watts", "shown"),
    [
        (0, "0 W"),
        (312, "312 W"),
        (-312, "−312 W"),
        (1000, "1.00 kW"),
        (4213, "4.21 kW"),
        (42_130, "42.1 kW"),
        (421_300, "421 kW"),
        (1_234_567, "1.23 MW"),
        (Decimal(-2500000000), "−2.50 GW"),
        (None, "–"),
    ],
)
def test_power_takes_the_prefix_that_keeps_it_short(watts: int | None, shown: str) -> None:
    assert quantities.power(watts).replace("\N{NO-BREAK SPACE}", " ") == shown


def test_volts_of_a_building_take_no_prefix() -> None:
    assert quantities.quantity(1229.84, "V", 1) == "1,229.8\N{NO-BREAK SPACE}V"
    assert quantities.quantity(0.98, "1", 2) == "0.98"


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert quantities.number(-0.004, 2) == "0.00"


def test_numbers_follow_the_language() -> None:
    with translation.override("de"):
        assert quantities.number(1234567.5, 1) == "1.234.567,5"
        assert quantities.energy(1_234_567) == "1,23\N{NO-BREAK SPACE}MWh"
    with translation.override("en"):
        assert quantities.number(1234567.5, 1) == "1,234,567.5"


def test_every_quantity_has_its_name_in_both_languages() -> None:
    with translation.override("en"):
        told = {code: quantities.quantity_name(code) for code in QUANTITIES}
    assert told == {code: quantity.name for code, quantity in QUANTITIES.items()}
    with translation.override("de"):
        assert quantities.quantity_name("active_power") == "Wirkleistung"
        assert quantities.quantity_name("current") == "Strom"


def test_a_channel_is_told_by_its_quantity_where_its_name_is() -> None:
    with translation.override("de"):
        assert quantities.channel_name("Voltage L1", "voltage") == "Spannung L1"
        assert quantities.channel_name("Voltage", "voltage") == "Spannung"
        assert quantities.channel_name("Current, total", "current") == "Current, total"
        assert quantities.channel_name("Currents", "current") == "Currents"
        assert quantities.channel_name("String current", "current") == "String current"


def test_exact_numbers_have_no_zeros_behind_them() -> None:
    with translation.override("de"):
        assert quantities.exact(Decimal("0.100000000")) == "0,1"
        assert quantities.exact(Decimal("-150000.000")) == "−150.000"
        assert quantities.exact(Decimal("1E+3")) == "1.000"


def test_times_are_those_of_the_facility() -> None:
    with translation.override("en"):
        assert quantities.local_time(_SUMMER, "Europe/Berlin") == "2 Jul 2025, 00:30"
        assert quantities.local_time(_SUMMER, "America/New_York") == "1 Jul 2025, 18:30"
    with translation.override("de"):
        assert quantities.local_time(_SUMMER, "Europe/Berlin") == "2. Juli 2025 00:30"


def test_filters_of_templates_show_the_same() -> None:
    source = (
        '{% load frame %}{{ w|power }}|{{ w|unit:"W" }}|{{ e|energy }}|{{ r|percent:1 }}'
        '|{{ n|number }}|{{ at|local_date:"Europe/Berlin" }}|{{ at|local_clock:"Europe/Berlin" }}'
        '|{% moment at "Europe/Berlin" %}|{% moment None "Europe/Berlin" %}'
    )
    context = Context({"w": 4213, "e": 12_300, "r": 0.973, "n": 10_000, "at": _SUMMER})
    shown = Template(source).render(context).replace("\N{NO-BREAK SPACE}", " ").split("|")
    assert shown == [
        "4.21 kW",
        "4.21 kW",
        "12.3 kWh",
        "97.3 %",
        "10,000",
        "2 Jul 2025",
        "00:30",
        '<time datetime="2025-07-01T22:30:00+00:00" title="Europe/Berlin">2 Jul 2025, 00:30</time>',
        "–",
    ]

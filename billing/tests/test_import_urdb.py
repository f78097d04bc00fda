"""URDB records as documents: what is used, kept as a note, and refused with the field."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest

from billing.tariffs.importing import Imported, Refused
from billing.tariffs.urdb import import_urdb

FLAT = [[0] * 24] * 12
EVENINGS = [[0] * 17 + [1] * 4 + [0] * 3] * 12
SUMMER = [0] * 5 + [1] * 4 + [0] * 3


def record(**fields: Any) -> dict[str, Any]:
    return {
        "utility": "Valley",
        "name": "G-1",
        "energyratestructure": [[{"rate": 0.1, "unit": "kWh"}]],
        "energyweekdayschedule": FLAT,
        "energyweekendschedule": FLAT,
    } | fields


def document(**fields: Any) -> dict[str, Any]:
    imported = import_urdb(record(**fields))
    assert isinstance(imported, Imported), imported
    return dict(imported.documents[0].document)


def refused(**fields: Any) -> str:
    answer = import_urdb(record(**fields))
    assert isinstance(answer, Refused), answer
    return answer.reason


def test_a_flat_rate_needs_no_schedule() -> None:
    assert document() == {
        "tariff": 1,
        "name": "Valley – G-1",
        "currency": "USD",
        "components": [{"name": "energy", "kind": "energy", "prices": "0.1"}],
    }


def test_periods_of_weekdays_become_a_schedule() -> None:
    made = document(
        energyratestructure=[[{"rate": 0.1}], [{"rate": 0.3, "adj": 0.01}]],
        energyweekdayschedule=EVENINGS,
    )

    week = ["mon", "tue", "wed", "thu", "fri"]
    assert made["schedules"] == {
        "energy": [
            {"period": "period_1", "days": week, "from": "00:00", "to": "17:00"},
            {"period": "period_2", "days": week, "from": "17:00", "to": "21:00"},
            {"period": "period_1", "days": week, "from": "21:00", "to": "24:00"},
            {"period": "period_1", "days": ["sat", "sun"]},
        ]
    }
    assert made["components"][0]["prices"] == {"period_1": "0.1", "period_2": "0.31"}
    assert "seasons" not in made


def test_months_that_differ_become_seasons_with_the_leap_day() -> None:
    made = document(
        flatdemandstructure=[[{"rate": 9}], [{"max": 50, "rate": 12}, {"max": 1e38, "rate": 11}]],
        flatdemandmonths=[0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0],
        demandwindow=30,
    )

    assert made["seasons"] == {
        "nov_to_feb": ["01-01..02-29", "11-01..12-31"],
        "mar_to_oct": ["03-01..10-31"],
    }
    assert made["schedules"] == {
        "flat_demand": [
            {"period": "period_1", "seasons": ["nov_to_feb"]},
            {"period": "period_2", "seasons": ["mar_to_oct"]},
        ]
    }
    assert made["components"][1] == {
        "name": "flat_demand",
        "kind": "demand",
        "window_min": 30,
        "schedule": "flat_demand",
        "prices": {
            "period_1": "9",
            "period_2": [{"up_to": "50", "price": "12"}, {"price": "11"}],
        },
    }


@pytest.mark.parametrize(
    ("unit", "tiers"),
    [
        ("kWh", {"per": "month", "unit": "kWh"}),
        ("kWh daily", {"per": "average_day", "unit": "kWh"}),
        ("kWh/kW", {"per": "month", "unit": "kWh/kW", "window_min": 15}),
        ("kWh/kW daily", {"per": "average_day", "unit": "kWh/kW", "window_min": 15}),
    ],
)
def test_limits_of_tiers_keep_their_unit(unit: str, tiers: dict[str, Any]) -> None:
    rates = [{"max": 300, "rate": 0.1, "unit": unit}, {"rate": 0.2, "unit": unit}]

    energy = document(energyratestructure=[rates])["components"][0]

    assert energy["tiers"] == tiers | {"shared": "proportional"}
    assert energy["prices"] == [{"up_to": "300", "price": "0.1"}, {"price": "0.2"}]


def test_charges_of_the_month_come_first_and_the_minimum_last() -> None:
    components = document(
        fixedchargefirstmeter=1.25,
        fixedchargeunits="$/day",
        minmonthlycharge=20,
        annualmincharge=240,
    )["components"]

    assert [component["name"] for component in components] == ["fixed", "energy", "minimum"]
    assert components[0] == {"name": "fixed", "kind": "standing", "amount": "1.25", "per": "day"}
    assert components[2] == {"name": "minimum", "kind": "minimum", "amount": "20", "of": "all"}


def test_net_metering_nets_within_the_periods_of_the_month() -> None:
    components = document(
        dgrules="Net Metering",
        energyratestructure=[[{"rate": 0.1}], [{"rate": 0.3}]],
        energyweekdayschedule=EVENINGS,
    )["components"]

    assert components[0]["flow"] == "net"
    assert components[1] == {
        "name": "netting",
        "kind": "netting",
        "within": "period",
        "carry": "energy",
        "schedule": "energy",
        "sell_price": "0",
    }


def test_a_sell_rate_becomes_feed_in() -> None:
    components = document(energyratestructure=[[{"rate": 0.1, "sell": 0.04}]])["components"]

    assert components[1] == {"name": "sold", "kind": "energy", "flow": "export", "prices": "0.04"}


def test_fuel_adjustments_become_a_price_by_month() -> None:
    components = document(fueladjustmentsmonthly=[0.01] * 6 + [-0.002] * 6)["components"]

    assert components[1] == {
        "name": "fuel",
        "kind": "energy",
        "schedule": "fuel",
        "prices": {"fuel_1": "0.01", "fuel_7": "-0.002"},
    }


def test_a_look_back_becomes_a_ratchet() -> None:
    demand = document(flatdemandstructure=[[{"rate": 9}]], lookbackPercent=0.8, lookbackRange=11)[
        "components"
    ][1]

    assert demand["ratchet"] == {"percent": "80", "months": 11}


def test_versions_are_put_in_order_of_their_days() -> None:
    answer = import_urdb(
        json.dumps(
            [
                record(startdate="2016-03-01T00:00:00.000Z"),
                record(startdate=1451606400, enddate="2016-02-29T23:59:59.000Z"),
            ]
        )
    )

    assert isinstance(answer, Imported)
    assert [(one.first, one.end) for one in answer.documents] == [
        (date(2016, 1, 1), date(2016, 3, 1)),
        (date(2016, 3, 1), None),
    ]


def test_the_names_of_the_bulk_file_are_known() -> None:
    bulk = {
        "_id": {"$oid": "5"},
        "utilityName": "Valley",
        "rateName": "G-1",
        "effectiveDate": {"$date": 1451606400000},
        "energyRateStrux": [{"energyRateTiers": [{"rate": 0.1, "unit": "kWh"}]}],
        "energyWeekdaySched": FLAT,
        "energyWeekendSched": FLAT,
        "fixedChargeFirstMeter": 3,
        "fixedChargeUnits": "$/month",
    }

    answer = import_urdb(bulk)

    assert isinstance(answer, Imported), answer
    (dated,) = answer.documents
    assert dated.first == date(2016, 1, 1)
    assert dated.document["name"] == "Valley – G-1"
    assert [one["name"] for one in dated.document["components"]] == ["fixed", "energy"]


def test_what_says_nothing_about_prices_is_a_note() -> None:
    answer = import_urdb(record(sector="Commercial", phasewiring="", fixedattrs=[{"Meter": "$1"}]))

    assert isinstance(answer, Imported)
    assert [str(note) for note in answer.notes] == [
        "fixedattrs: kept as a description: [{'Meter': '$1'}]",
        "sector: kept as a description: Commercial",
    ]


def test_more_places_than_documents_have_are_rounded_with_a_note() -> None:
    answer = import_urdb(record(energyratestructure=[[{"rate": 0.07076899707317352}]]))

    assert isinstance(answer, Imported)
    assert answer.documents[0].document["components"][0]["prices"] == "0.0707689971"
    assert [str(note) for note in answer.notes] == [
        "energyratestructure[0][0].rate: 0.07076899707317352 is rounded to 0.0707689971."
    ]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"surprise": 1}, "surprise: is a field that this import does not know"),
        ({"energyratestructure": []}, "points to period 0, which has no rates"),
        ({"energyweekendschedule": None}, "energyweekendschedule: is missing"),
        ({"energyweekdayschedule": [[0] * 23] * 12}, "has not one period for each of 24 hours"),
        ({"energyweekdayschedule": [[0] * 24] * 11}, "has not one value for each month"),
        (
            {"energyratestructure": [[{"rate": 1, "max": 5}]]},
            "energyratestructure[0][0].max: leaves what is above 5 without a price",
        ),
        ({"energyratestructure": [[{"rate": 1}, {"rate": 2}]]}, "is missing before the last tier"),
        (
            {"energyratestructure": [[{"rate": 1, "max": 5}, {"rate": 1, "max": 5}, {"rate": 2}]]},
            "is 5, not above 5",
        ),
        (
            {
                "energyratestructure": [
                    [{"rate": 1, "max": 5, "unit": "kWh/kW"}, {"rate": 2, "unit": "kWh"}]
                ]
            },
            "has tiers in kwh and kwh/kw",
        ),
        ({"energyratestructure": [[{"rate": "much"}]]}, "is no number: 'much'"),
        ({"energyratestructure": [[{"rate": 1, "bonus": 2}]]}, "energyratestructure[0][0].bonus"),
        ({"fixedchargeunits": "$/week", "fixedchargefirstmeter": 1}, "is $/week"),
        ({"fixedchargeeaaddl": 2}, "fixedchargeeaaddl: is a charge for each further meter"),
        ({"demandreactivepowercharge": 0.5}, "demandreactivepowercharge: is a charge per kvar"),
        ({"coincidentratestructure": [[{"rate": 1}]]}, "coincidentratestructure: prices demand"),
        ({"demandunits": "kVA"}, "demandunits: is kVA"),
        ({"demandwindow": 5}, "demandwindow: is 5 minutes"),
        ({"annualmincharge": 100}, "annualmincharge: is 100 a year"),
        ({"annualmincharge": 240.01, "minmonthlycharge": 20}, "annualmincharge: is 240.01 a year"),
        ({"mincharge": 1, "minchargeunits": "$/day"}, "minchargeunits: is $/day"),
        ({"dgrules": "Buy All Sell All"}, "dgrules: is buy all sell all"),
        ({"demandratchetpercentage": [50] * 12}, "demandratchetpercentage: does not say"),
        ({"startdate": "soon"}, "startdate: is no date: 'soon'"),
        ({"flatdemandstructure": [[{"rate": 1}], [{"rate": 2}]]}, "flatdemandmonths: is missing"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_field(fields: dict[str, Any], reason: str) -> None:
    assert reason in refused(**fields)


@pytest.mark.parametrize("source", ["", "[", "[]", "3", '"text"', "[3]", "[" * 100_000])
def test_what_is_no_record_is_refused(source: str) -> None:
    assert isinstance(import_urdb(source), Refused)


def test_two_versions_for_a_day_are_refused() -> None:
    version = record(startdate="2016-01-01", enddate="2016-12-31")

    answer = import_urdb([version, version | {"startdate": "2016-12-31"}])

    assert isinstance(answer, Refused)
    assert answer.reason == ("startdate: 2016-12-31 has two versions; import one of them alone.")

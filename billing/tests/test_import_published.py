"""Published plans as documents: what is used, and what is refused with the field."""

from __future__ import annotations

from typing import Any

import pytest

from billing.tariffs.australian import import_network, import_retail
from billing.tariffs.importing import Imported, Refused
from billing.tariffs.published import import_plan

YEAR = list(range(1, 13))


def plan(**tariff: Any) -> dict[str, Any]:
    return {
        "meta": {"provider": "Radius", "plan": "C", "currency": "DKK", "timezone": "Europe/Oslo"},
        "tariff": {
            "kind": "tou",
            "import": {
                "bands": [
                    {"id": "a", "name": "Low", "rate": 0.1},
                    {"id": "b", "name": "Peak", "rate": 0.4, "role": "peak"},
                ],
                "schedule": [
                    {"days": "all", "from": "21:00", "to": "17:00", "band": "a"},
                    {"days": "all", "from": "17:00", "to": "21:00", "band": "b"},
                ],
            },
        }
        | tariff,
    }


def test_bands_become_periods() -> None:
    answer = import_plan(plan(supply={"daily": 1.2}, validFrom="2026-04-01"))

    assert isinstance(answer, Imported), answer
    (dated,) = answer.documents
    assert str(dated.first) == "2026-04-01"
    assert dated.document == {
        "tariff": 1,
        "name": "Radius – C",
        "currency": "DKK",
        "schedules": {
            "import": [
                {"period": "Low", "from": "00:00", "to": "17:00"},
                {"period": "Peak", "from": "17:00", "to": "21:00"},
                {"period": "Low", "from": "21:00", "to": "24:00"},
            ]
        },
        "components": [
            {"name": "supply", "kind": "standing", "amount": "1.2", "per": "day"},
            {
                "name": "import",
                "kind": "energy",
                "flow": "import",
                "schedule": "import",
                "prices": {"Low": "0.1", "Peak": "0.4"},
            },
        ],
    }
    assert [note.field for note in answer.notes] == [
        "meta.timezone",
        "tariff.import.bands[1].role",
    ]


def test_a_band_with_prices_by_season_is_a_period_in_each() -> None:
    record = plan(
        seasons=[
            {"id": "summer", "name": "Summer", "from": 4, "to": 9},
            {"id": "winter", "name": "Winter", "from": 10, "to": 3},
        ]
    )
    record["tariff"]["import"]["bands"][1]["seasonRates"] = {"winter": 0.6}

    answer = import_plan(record)

    assert isinstance(answer, Imported), answer
    document = answer.documents[0].document
    assert document["seasons"] == {
        "nov_to_apr": ["01-01..04-30", "11-01..12-31"],
        "may_to_oct": ["05-01..10-31"],
    }
    assert document["components"][0]["prices"] == {
        "Low": "0.1",
        "Peak summer": "0.4",
        "Peak winter": "0.6",
    }


def test_a_flat_plan_with_feed_in_needs_no_schedule() -> None:
    record = plan(kind="flat", export={"flatRate": 0.05})
    record["tariff"]["import"] = {"flatRate": 0.2}

    answer = import_plan(record)

    assert isinstance(answer, Imported), answer
    assert answer.documents[0].document["components"] == [
        {"name": "import", "kind": "energy", "flow": "import", "prices": "0.2"},
        {"name": "export", "kind": "energy", "flow": "export", "prices": "0.05"},
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"to": "16:00"}, "tariff.import.schedule mon: 16:00 has no price."),
        ({"to": "17:15"}, "tariff.import.schedule mon: 17:00 has two prices: a, b."),
        ({"to": "18:00"}, "tariff.import.schedule mon: 17:00 has two prices: a, b."),
        ({"days": "never"}, "tariff.import.schedule[0].days: never are no days."),
        ({"band": "z"}, "tariff.import.schedule[0].band: z is no band of the plan."),
        ({"from": "25:00"}, "tariff.import.schedule[0]: is no time of day like 07:30: '25:00'."),
        ({"colour": "red"}, "tariff.import.schedule[0].colour: is a field that this import"),
    ],
)
def test_a_faulty_window_is_refused(change: dict[str, Any], reason: str) -> None:
    record = plan()
    record["tariff"]["import"]["schedule"][0] |= change

    answer = import_plan(record)

    assert isinstance(answer, Refused)
    assert answer.reason.startswith(reason)


@pytest.mark.parametrize(
    ("tariff", "reason"),
    [
        ({"controlledLoad": [{"id": "1"}]}, "tariff.controlledLoad: needs a meter"),
        ({"demand": [{"rate": 1}]}, "tariff.demand: needs a meter"),
        ({"seasons": [{"id": "s", "from": 0, "to": 5}]}, "tariff.seasons: do not have every month"),
        ({"validFrom": "spring"}, "tariff.validFrom: is no date: 'spring'."),
    ],
)
def test_a_plan_beyond_the_form_is_refused(tariff: dict[str, Any], reason: str) -> None:
    answer = import_plan(plan(**tariff))

    assert isinstance(answer, Refused)
    assert answer.reason.startswith(reason)


def retail(**parameters: Any) -> dict[str, Any]:
    return {
        "Provider": "Origin",
        "Name": "Origin Flat",
        "State": "ACT",
        "Year": 2019,
        "Parameters": {"Daily": {"Value": 1.25, "Unit": "$/day"}} | parameters,
    }


def entry(value: float, start: str, end: str, **more: Any) -> dict[str, Any]:
    return {
        "Value": value,
        "Unit": "$/kWh",
        "Month": YEAR,
        "Weekday": True,
        "Weekend": True,
        "TimeIntervals": {"T1": [start, end]},
    } | more


def components_of(answer: Imported | Refused) -> list[dict[str, Any]]:
    assert isinstance(answer, Imported), answer
    return list(answer.documents[0].document["components"])


def reason_of(answer: Imported | Refused) -> str:
    assert isinstance(answer, Refused), answer
    return answer.reason


def test_blocks_of_a_day_become_tiers() -> None:
    blocks = {
        "Second-Block": {"Value": 0.3, "Unit": "$/kWh", "HighBound": "Infinity"},
        "First-Block": {"Value": 0.32, "Unit": "$/kWh", "HighBound": 300},
    }

    components = components_of(
        import_retail(retail(BlockDaily=blocks, FiT={"Value": 0.1, "Unit": "$/kWh"}))
    )

    assert components == [
        {"name": "supply", "kind": "standing", "amount": "1.25", "per": "day"},
        {
            "name": "energy",
            "kind": "energy",
            "prices": [{"up_to": "300", "price": "0.32"}, {"price": "0.3"}],
            "tiers": {"per": "day", "unit": "kWh", "shared": "chronological"},
        },
        {"name": "feed_in", "kind": "energy", "flow": "export", "prices": "0.1"},
    ]


def test_a_window_past_midnight_belongs_to_the_days_it_names() -> None:
    answer = import_retail(
        retail(
            TOU={
                "Night": entry(0.1, "22:00", "07:00", Weekend=False),
                "Day": entry(0.3, "07:00", "22:00", Weekend=False),
                "Weekend and public holidays": entry(0.2, "00:00", "00:00", Weekday=False),
            }
        )
    )

    assert isinstance(answer, Imported), answer
    document = answer.documents[0].document
    week = ["mon", "tue", "wed", "thu", "fri"]
    assert document["holidays"] == "AU-ACT"
    assert document["schedules"]["energy"] == [
        {"period": "Night", "days": week, "from": "00:00", "to": "07:00"},
        {"period": "Day", "days": week, "from": "07:00", "to": "22:00"},
        {"period": "Night", "days": week, "from": "22:00", "to": "24:00"},
        {"period": "Weekend and public holidays", "days": ["sat", "sun", "holiday"]},
    ]


def network(**demand: Any) -> dict[str, Any]:
    peak = entry(5, "15:00", "21:30") | {
        "Unit": "$/kW/Month",
        "Number of Peaks": 1,
        "Demand Window Length": 1,
        "Min Demand (kW)": 1.5,
        "Min Demand Charge ($)": 0,
        "Day Average": False,
    }
    whole = retail(FlatRate={"Value": 0.1, "Unit": "$/kWh"}, Demand={"Peak": peak | demand})
    part = {"Daily": {"Value": 0.4, "Unit": "$/day"}}
    return whole | {
        "Discount (%)": 0,
        "Parameters": {"NUOS": whole["Parameters"], "DUOS": part},
    }


def test_demand_is_free_outside_of_its_windows() -> None:
    answer = import_network(network())

    assert components_of(answer)[2] == {
        "name": "demand_peak",
        "kind": "demand",
        "window_min": 30,
        "schedule": "demand_peak",
        "minimum_kw": "1.5",
        "prices": {"measured": "5"},
    }
    assert isinstance(answer, Imported)
    assert answer.documents[0].document["schedules"]["demand_peak"] == [
        {"period": "free", "from": "00:00", "to": "15:00"},
        {"period": "measured", "from": "15:00", "to": "21:30"},
        {"period": "free", "from": "21:30", "to": "24:00"},
    ]


@pytest.mark.parametrize(
    ("demand", "reason"),
    [
        ({"Unit": "$/kW/Day"}, "Peak.Unit: is a price per kW and day"),
        ({"Number of Peaks": 4}, "Peak.Number of Peaks: is the mean of several peaks"),
        ({"Day Average": True}, "Peak.Day Average: is the mean of a day's window"),
        ({"Based on Network Peak": True}, "Peak.Based on Network Peak: is the demand at"),
        ({"Min Demand Charge ($)": 5}, "Peak.Min Demand Charge ($): is a least amount"),
        ({"Demand Window Length": 3}, "Peak.Demand Window Length: is 90 minutes"),
        ({"Month": [1, 2, 1]}, "Peak.Month: has month 1 twice"),
        ({"Month": [13]}, "Peak.Month: has a month that is none"),
        (
            {"TimeIntervals": {"T1": ["00: 00", "24:00"]}},
            "Peak.TimeIntervals.T1: is no time",
        ),
    ],
)
def test_demand_that_no_component_measures_is_refused(demand: dict[str, Any], reason: str) -> None:
    answer = import_network(network(**demand))

    assert isinstance(answer, Refused)
    assert answer.reason.startswith(f"Parameters.NUOS.Demand.{reason}")


def test_a_charge_of_a_year_entered_for_a_day_is_refused() -> None:
    dear = {"Value": 99, "Unit": "$/day"}
    assert "is 99 a day, more than any small customer pays" in reason_of(
        import_retail(retail(Daily=dear))
    )

    record = network()
    record["Parameters"]["DUOS"]["Daily"] = dear
    assert "is 99 a day, and the whole of which it is a part 1.25" in reason_of(
        import_network(record, part="DUOS")
    )


@pytest.mark.parametrize("kind", ["BlockQuarterly", "BlockAnnual"])
def test_blocks_of_longer_than_a_month_are_refused(kind: str) -> None:
    answer = import_retail(retail(**{kind: {"First": {"Value": 1}}}))

    assert isinstance(answer, Refused)
    assert answer.reason.startswith(f"Parameters.{kind}: has blocks of longer than a month")


def test_a_discount_and_a_missing_part_are_refused() -> None:
    assert "does not say on what" in reason_of(import_network(network() | {"Discount (%)": 5}))
    assert reason_of(import_network(network(), part="TUOS")) == "Parameters.TUOS: is not there."

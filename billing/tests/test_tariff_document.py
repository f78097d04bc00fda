"""Documents of tariffs: what is read, what is refused and with which sentence; and the schema."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator, meta

from billing.tariffs import form
from billing.tariffs.document import TariffError, canonical, load, read, sha256_of
from billing.tariffs.shapes import Problems

TEXT = """
tariff: 1
name: Everything
currency: EUR
description: |
  All there is.
holidays: [DE-BY, 2027-12-31, 12-24]
interval_min: 15
seasons:
  summer: [04-01..10-31]
  winter: [11-01..03-31]
schedules:
  tou:
    - {period: peak, seasons: [summer], days: [mon, tue, wed, thu, fri], from: 08:00, to: 20:00}
    - {period: low, seasons: [summer], days: [mon, tue, wed, thu, fri], to: 08:00}
    - {period: low, seasons: [summer], days: [mon, tue, wed, thu, fri], from: 20:00, to: 24:00}
    - {period: low, seasons: [summer], days: [sat, sun, holiday]}
    - {period: low, seasons: [winter]}
components:
  - {kind: standing, name: base, label: Base price, amount: 9.90, per: month}
  - kind: energy
    name: energy
    schedule: tou
    prices: {peak: [{up_to: 100, price: 0.41}, {price: 0.45}], low: 0.20}
    tiers: {per: month, unit: kWh, pro_rated: false, shared: chronological, window_min: 30}
  - {kind: energy, name: net_energy, flow: net, prices: 0.02}
  - {kind: dynamic, name: spot, series: epex, factor: 1.1, adder: -0.01, floor: 0, flow: export}
  - kind: demand
    name: demand
    window_min: 30
    schedule: tou
    prices: {peak: 11.5}
    minimum_kw: 5
    ratchet: {percent: 80, months: 11, of_months: [6, 7, 8]}
  - {kind: power_factor, name: pf, target: 0.9, of: [demand], surcharge: {percent: 1, step: 0.01}}
  - {kind: power_factor, name: pf2, target: 0.9, of: [demand], surcharge: ratio}
  - kind: netting
    name: net
    within: interval
    schedule: tou
    carry: money
    settle_month: 3
    sell_price: {peak: 0.10, low: 0.05}
  - {kind: minimum, name: least, amount: 20, per: month, of: all}
  - {kind: discount, name: online, percent: 2.5, of: [energy]}
  - {kind: discount, name: bonus, amount: 3, per: day, of: [base, energy]}
  - {kind: levy, name: duty, per_kWh: 0.0205}
  - {kind: levy, name: city, percent: 2, of: all}
  - {kind: tax, name: vat, percent: 19, of: all}
rounding: {step: 0.01, mode: half_even, at: line, total_step: 0.05}
"""


DOCUMENT = load(TEXT)


def _problems(document: dict[str, Any] | str) -> dict[str, str]:
    with pytest.raises(TariffError) as refused:
        read(document)
    return dict(refused.value.problems)


def _changed(path: str, value: Any) -> dict[str, Any]:
    """The document with another value at a path such as components.1.prices."""
    made = copy.deepcopy(DOCUMENT)
    *steps, last = path.split(".")
    at: Any = made
    for step in steps:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[int(last) if isinstance(at, list) else last] = value
    return made


def test_a_text_is_read_as_it_is_written() -> None:
    tariff = read(TEXT)

    assert [one.name for one in tariff.components][:3] == ["base", "energy", "net_energy"]
    assert tariff.schedules[0].periods == ("peak", "low")
    assert (tariff.schedules[0].rules[0].start, tariff.schedules[0].rules[0].end) == (480, 1200)
    assert tariff.rounding.step == Decimal("0.01")
    assert tariff.components[1].label == "Energy"


def test_yaml_json_and_the_mapping_say_the_same() -> None:
    document = load(TEXT)
    stored = json.loads(json.dumps(document))

    assert read(TEXT) == read(json.dumps(document)) == read(stored)
    assert canonical(stored) == canonical(document)
    assert read(TEXT).sha256 == sha256_of(stored)


def test_a_float_is_the_number_it_was_written_as() -> None:
    written = _changed("components.0.amount", 9.9)
    text = _changed("components.0.amount", "9.9")

    assert canonical(written) == canonical(text)
    assert canonical(_changed("components.0.amount", 12.0)) == canonical(
        _changed("components.0.amount", 12)
    )


def test_another_price_is_another_hash() -> None:
    assert sha256_of(_changed("components.0.amount", "9.91")) != sha256_of(load(TEXT))


@pytest.mark.parametrize(
    ("path", "value", "where", "sentence"),
    [
        ("tariff", 2, "tariff", "2 is not one of: 1."),
        ("name", "", "name", "Here is a label of 1 to 120 characters expected, not “”."),
        ("currency", "Euro", "currency", "of 1 to 3 characters expected, not “Euro”"),
        ("currency", "eur", "currency", "“eur” is not a currency such as EUR."),
        ("more", 1, "more", "There is no such key here; known are: tariff, name"),
        ("components", [], "components", "A list of 1 to 60 is expected, this has 0."),
        ("components.0.kind", "fee", "components[0].kind", "“fee” is not one of: standing"),
        ("components.0.amount", "1,5", "components[0].amount", "“1,5” is not a number such as"),
        ("components.0.amount", True, "components[0].amount", "True is not a number such as"),
        (
            "components.0.amount",
            "0.12345678901",
            "components[0].amount",
            "at most 10 decimal places",
        ),
        ("components.0.amount", 0.12345678901, "components[0].amount", "at most 10 decimal places"),
        ("components.0.amount", 10**10, "components[0].amount", "at most 1000000000 and"),
        ("components.0.name", "Base", "components[0].name", "is not a name of small letters"),
        ("components.1.prices.peak.0.up_to", 0, "components[1].prices.peak[0].up_to", "0 is not"),
        ("components.1.prices.night", 1, "components[1].prices.night", "“tou” has no such period"),
        ("components.1.prices", 1, "components[1].prices", "a price for each period of “tou”"),
        ("components.1.schedule", "x", "components[1].schedule", "There is no schedule “x”."),
        ("components.1.prices.peak.1.up_to", 90, "components[1].prices.peak[1]", "no up_to"),
        ("components.4.ratchet.months", 0, "components[4].ratchet.months", "not from 1 to 36"),
        ("components.5.of", ["net"], "components[5].of[0]", "no component “net” before this"),
        ("components.7.carry", "none", "components[7].settle_month", "Nothing is carried"),
        ("components.7.sell_price", {"peak": 1}, "components[7].sell_price", "has no price"),
        ("components.9.name", "base", "components[9].name", "another component “base”"),
        ("components.9.amount", 5, "components[9]", "Exactly one of these is expected"),
        ("schedules.tou.0.from", "8:00", "schedules.tou[0].from", "is not a time such as 07:30"),
        ("schedules.tou.0.from", "08:10", "schedules.tou[0].from", "a multiple of 15 minutes"),
        ("schedules.tou.0.to", "07:00", "schedules.tou[0]", "write two rules for a time past"),
        ("schedules.tou.0.seasons", ["dry"], "schedules.tou[0].seasons[0]", "no season “dry”"),
        ("seasons.winter", ["11-01..03-30"], "seasons", "03-31 is in no season."),
        ("seasons.winter", ["10-31..03-31"], "seasons.winter[0]", "10-31 is in winter and in"),
        ("seasons.winter", ["11-31..03-31"], "seasons.winter[0]", "a day that no month has"),
        ("holidays", "DE-XX", "holidays", "neither a region such as DE-BY nor a date"),
        ("holidays", ["02-30"], "holidays[0]", "neither a region such as DE-BY nor a date"),
        ("rounding.step", 0, "rounding.step", "0 is not more than 0."),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    path: str, value: Any, where: str, sentence: str
) -> None:
    assert sentence in _problems(_changed(path, value))[where]


def test_all_problems_are_told_at_once() -> None:
    wrong = _changed("components.0.amount", "much")
    wrong["currency"] = "€"
    del wrong["components"][1]["prices"]

    assert list(_problems(wrong)) == ["currency", "components[0].amount", "components[1].prices"]


@pytest.mark.parametrize(
    ("change", "where", "sentence"),
    [
        ({"within": None}, "components[2].flow", "needs a component of kind netting"),
        ({"within": "period"}, "components[2].schedule", "periods of another schedule"),
    ],
)
def test_net_energy_needs_a_netting_that_fits(
    change: dict[str, Any], where: str, sentence: str
) -> None:
    document = load(TEXT)
    if change["within"] is None:
        del document["components"][7]
    else:
        document["components"][7] |= change

    assert sentence in _problems(document)[where]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tariff: 1\nname: [", "This is no YAML in line"),
        ("tariff: 1\ntariff: 1", "tariff is given twice, in line 2"),
        ("a: &x 1\nb: *x", "references (*name) are not read"),
        ("- tariff", "A tariff is a mapping"),
        ("", "A tariff is a mapping"),
        ("!!python/object/apply:os.system [ls]", "This is no YAML"),
        ("a: " + "[" * 5000, "This is"),
        ("a: " + "x" * 300_000, "at most 256 KiB"),
        ("a: \x00", "This is no YAML"),
    ],
)
def test_a_text_that_is_no_document_is_refused(text: str, sentence: str) -> None:
    assert sentence in _problems(text)[""]


@pytest.mark.parametrize("number", ["1e999999999", "-1e-999999999", "0e999999999", "1e99", "NaN"])
def test_a_number_without_bounds_fills_no_memory(number: str) -> None:
    (sentence,) = _problems(f'{{"tariff": {number}}}').values()
    assert sentence == "This is no number that a tariff can have."


def test_a_document_has_few_levels() -> None:
    (sentence,) = _problems("a: " + "[" * 20 + "]" * 20).values()

    assert sentence == "This is nested too deeply for a tariff."


def test_words_that_older_yaml_changes_stay_words() -> None:
    assert load("a: no\nb: 08:00\nc: 2027-12-24\nd: 010\ne: 1_000\nf: .5\ng: 1e3") == {
        "a": "no",
        "b": "08:00",
        "c": "2027-12-24",
        "d": 10,
        "e": "1_000",
        "f": "0.5",
        "g": 1000,
    }


def test_the_published_schema_is_that_of_the_reader() -> None:
    """Else run python -m billing.tariffs.form."""
    assert form.SCHEMA_FILE.read_text() == form.schema_text()


VALIDATOR = Draft202012Validator(form.schema())
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 13, 61, 10**10, "1", "0.5", "-0.5", "x", "", "all", "ratio", "A" * 200,
    [], ["all"], {}, {"x": 1}, {"peak": "0.1"}, [{"price": 1}],
)  # fmt: skip


def test_the_schema_is_one() -> None:
    meta.validate(form.schema())


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _places(one, (*path, key))


def _agree(document: dict[str, Any]) -> None:
    problems = Problems()
    form.DOCUMENT.read(document, "", problems)

    assert VALIDATOR.is_valid(document) == (not problems.shape), problems.shape


def test_schema_and_reader_take_the_example() -> None:
    document = load(TEXT)

    assert VALIDATOR.is_valid(document)
    _agree(document)


@pytest.mark.parametrize("place", list(_places(DOCUMENT)), ids=str)
def test_schema_and_reader_agree_on_every_change(place: tuple[Any, ...]) -> None:
    *steps, last = place
    for value in (*VALUES, ...):
        document = copy.deepcopy(DOCUMENT)
        at: Any = document
        for step in steps:
            at = at[step]
        if value is ...:
            del at[last]
        else:
            at[last] = copy.deepcopy(value)
        _agree(document)
        if isinstance(at, dict) and value is not ...:
            del at[last]
            at[f"{last}_"] = value
            _agree(document)


@given(
    st.recursive(
        st.sampled_from(VALUES),
        lambda inner: st.dictionaries(
            st.sampled_from(["kind", "name", "prices", "of", "percent", "per_kWh", "tiers"]), inner
        ),
    )
)
def test_schema_and_reader_agree_on_any_component(component: Any) -> None:
    if isinstance(component, dict):
        for kind in form.COMPONENTS:
            _agree(DOCUMENT | {"components": [component | {"kind": kind, "name": "x"}]})
    else:
        _agree(DOCUMENT | {"components": [component]})

"""What the engines refuse, said in the reader's language."""

from __future__ import annotations

import json
import pickle
from datetime import date

import pytest
from django.utils import translation

from billing.dispatch.battery import Battery, BatteryError
from billing.domain.sentences import spoken, spoken_of
from billing.tariffs import document
from billing.tariffs.calendar import CoverageError
from billing.tariffs.check import check
from billing.tariffs.importing import Refused
from billing.tariffs.recognising import import_any
from billing.tariffs.sentences import sentence

GAP = """\
tariff: 1
name: Night
currency: EUR
schedules:
  times: [{period: night, to: "06:00"}]
components: [{name: energy, kind: energy, schedule: times, prices: {night: 0.2}}]
"""


def _gap() -> CoverageError:
    with pytest.raises(CoverageError) as caught:
        check(
            document.read(GAP), zone="Europe/Berlin", first=date(2026, 3, 1), end=date(2026, 4, 1)
        )
    return caught.value


def test_a_gap_is_told_in_german_with_its_instant() -> None:
    error = _gap()
    with translation.override("de"):
        told = spoken_of(error)
    assert told == "Bestandteil „energy“: kein Preis am 2026-03-01 06:00 (Europe/Berlin)."
    with translation.override("en"):
        assert spoken_of(error) == str(error)


def test_a_sentence_that_was_kept_as_text_is_told_in_german() -> None:
    kept = json.loads(json.dumps(str(_gap())))
    with translation.override("de"):
        assert spoken(kept) == spoken_of(_gap())
        assert spoken("These days are billed already.") == "Diese Tage sind schon abgerechnet."
        assert spoken("Nobody has marked this.") == "Nobody has marked this."
        assert spoken("") == ""


def test_all_that_is_wrong_of_a_document_is_told_in_german() -> None:
    wrong = GAP.replace("Night", "x" * 200).replace("EUR", "euro").replace("tariff: 1", "tariff: 2")
    with pytest.raises(document.TariffError) as caught:
        document.read(wrong)
    with translation.override("de"):
        told = {path: spoken(text) for path, text in caught.value.problems}
    assert told == {
        "tariff": "2 ist keines von: 1.",
        "name": f"Hier wird eine Bezeichnung mit 1 bis 120 Zeichen erwartet, nicht “{'x' * 39}….",
        "currency": "Hier wird eine Währung wie EUR mit 1 bis 3 Zeichen erwartet, nicht “euro”.",
    }


def test_why_a_published_tariff_is_not_taken_is_told_in_german() -> None:
    answer = import_any('{"energyratestructure": [], "enddate": "soon"}')
    assert isinstance(answer, Refused)
    with translation.override("de"):
        assert [spoken(one.text) for one in answer.problems] == ["ist kein Datum: 'soon'."]


def test_a_battery_that_cannot_be_is_told_in_german() -> None:
    with pytest.raises(BatteryError) as caught:
        Battery(-1, 1)
    with translation.override("de"):
        assert spoken_of(caught.value).startswith("Die Kapazität ist -1: Geben Sie eine Zahl von 0")


def test_a_sentence_stays_what_it_is_on_its_way_through_a_worker() -> None:
    said = sentence("%(day)s is in no season.", day="02-29")
    back = pickle.loads(pickle.dumps(said))
    assert (back, back.template, back.values) == (said, said.template, said.values)

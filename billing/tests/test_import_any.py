"""Published tariffs in any form: recognised, written as YAML, taken in as drafts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.tariffs_imports import import_tariff
from billing.models import Tariff, TariffVersion, VersionState
from billing.tariffs import document, parts
from billing.tariffs.importing import Imported, Refused
from billing.tariffs.recognising import Form, Wishes, form_of, import_any
from billing.tariffs.writing import yaml_of
from billing.tests.recordings import json_of, needs_recordings, text
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

FLAT = [[0] * 24] * 12
URDB = {
    "utility": "Valley",
    "name": "G-1",
    "sector": "Commercial",
    "startdate": "2026-01-01",
    "energyratestructure": [[{"max": 300, "rate": 0.1}, {"rate": 0.2}]],
    "energyweekdayschedule": FLAT,
    "energyweekendschedule": FLAT,
}
PLAN = {
    "meta": {"id": "a", "provider": "P", "plan": "Flat", "currency": "EUR"},
    "tariff": {"kind": "flat", "import": {"flatRate": 0.3}},
}
RETAIL = {
    "Provider": "Origin",
    "Name": "Flat",
    "Parameters": {"FlatRate": {"Value": 0.3, "Unit": "$/kWh"}},
}
NETWORK = {"Provider": "N", "Name": "N", "Parameters": {"NUOS": RETAIL["Parameters"]}}


def _retail(**parameters: Any) -> dict[str, Any]:
    return {**RETAIL, "Parameters": parameters}


def _demand(months: Any) -> dict[str, Any]:
    peak = {"Value": 1, "Unit": "$/kW/Month", "Month": months}
    return _retail(Demand={"Peak": peak})


def _window(start: str) -> dict[str, Any]:
    bands = [{"id": "all", "rate": 0.3}]
    schedule = [{"band": "all", "from": start, "to": "24:00"}]
    return {**PLAN, "tariff": {"import": {"bands": bands, "schedule": schedule}}}


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (_retail(BlockDaily={}), "has no blocks"),
        (_demand([1.0]), "month that is none"),
        (_demand(["1"]), "month that is none"),
        (_window("\u00b2:00"), "no time of day"),
        (_window("9" * 5000 + ":00"), "no time of day"),
        ({**URDB, "lookbackpercent": 50, "lookbackrange": float("inf")}, "no number of a tariff"),
        ({**URDB, "enddate": "9999-12-31"}, "no date"),
        ({**URDB, "energyratestructure": [[{"rate": "Infinity", "adj": "-Infinity"}]]}, "number"),
        ({**PLAN, "tariff": {"seasons": [{"id": "a", "from": float("inf"), "to": 1}]}}, "number"),
        ({**URDB, "description": "\ud800"}, "half a character"),
    ],
)
def test_a_record_that_means_harm_is_refused_with_a_sentence(
    record: dict[str, Any], says: str
) -> None:
    answer = import_any(json.dumps(record))
    assert isinstance(answer, Refused)
    assert says in answer.reason


def test_a_description_ends_no_comment() -> None:
    text = yaml_of({"tariff": 1}, ["one\u2028name: two\x85currency: XXX\x00"])
    assert text == "# one name: two currency: XXX\ntariff: 1\n"


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


@pytest.mark.parametrize(
    ("record", "form"),
    [
        (URDB, Form.URDB),
        ([URDB, URDB], Form.URDB),
        ({"items": [URDB]}, Form.URDB),
        (PLAN, Form.PLAN),
        (RETAIL, Form.RETAIL),
        (NETWORK, Form.NETWORK),
        ({"tariff": 1}, None),
        ([], None),
        ([1], None),
        ("text", None),
    ],
)
def test_a_form_is_recognised_by_its_fields(record: Any, form: Form | None) -> None:
    assert form_of(record) == form
    answer = import_any(json.dumps(record))
    assert isinstance(answer, Imported) or record == [URDB, URDB] or form is None


def test_of_several_tariffs_one_is_chosen_by_name_or_id() -> None:
    other = json.loads(json.dumps(PLAN))
    other["meta"] |= {"id": "b", "plan": "Other"}
    both = json.dumps([PLAN, other])

    for name in ("b", "Other"):
        answer = import_any(both, Wishes(name=name))
        assert isinstance(answer, Imported)
        assert answer.documents[0].document["name"] == "P – Other"
    assert str_of(import_any(both)) == "record: has 2 tariffs: name one, such as a, b."
    assert str_of(import_any(both, Wishes(name="z"))) == "record: has no tariff “z”."


def str_of(answer: Imported | Refused) -> str:
    assert isinstance(answer, Refused), answer
    return answer.reason


def test_what_is_too_long_is_refused() -> None:
    assert str_of(import_any(" " * (4 * 1024 * 1024 + 1))) == "record: is longer than 4 MiB."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)


@given(name=st.sampled_from(sorted(URDB)), value=JSON)
def test_whatever_a_field_says_it_is_imported_or_refused(name: str, value: Any) -> None:
    answer = import_any(json.dumps({**URDB, name: value}))

    if isinstance(answer, Imported):
        document.read(answer.documents[0].document)


@given(path=st.sampled_from(["Parameters", "TOU", "Demand", "Peak", "Month", "T"]), value=JSON)
def test_whatever_a_plan_says_it_is_imported_or_refused(path: str, value: Any) -> None:
    entry = {"Value": 1, "Unit": "$/kWh", "Month": [1], "TimeIntervals": {"T": ["00:00", "24:00"]}}
    record: dict[str, Any] = json.loads(
        json.dumps({"Parameters": {"TOU": {"Peak": entry}, "Demand": {"Peak": entry}}})
    )
    put(record, path, value)

    assert isinstance(import_any(json.dumps(record)), Imported | Refused)


@given(path=st.sampled_from(["meta", "tariff", "import", "bands", "schedule", "days"]), value=JSON)
def test_whatever_an_open_plan_says_it_is_imported_or_refused(path: str, value: Any) -> None:
    record = json.loads(json.dumps(PLAN))
    record["tariff"]["import"] = {
        "bands": [{"id": "a", "name": "A", "rate": 1}],
        "schedule": [{"days": "all", "from": "00:00", "to": "24:00", "band": "a"}],
    }
    put(record, path, value)

    assert isinstance(import_any(json.dumps(record)), Imported | Refused)


def put(record: Any, key: str, value: Any) -> None:
    """Puts a value in place of each of a key."""
    if isinstance(record, dict):
        for name, inner in record.items():
            if name == key:
                record[name] = value
            else:
                put(inner, key, value)
    elif isinstance(record, list):
        for inner in record:
            put(inner, key, value)


def meaning(source: Any) -> parts.Tariff:
    """What a document says, however its numbers are written."""
    return replace(document.read(source), sha256="")


def test_yaml_is_read_back_as_the_same_document() -> None:
    made = {
        "tariff": 1,
        "name": "1.5",
        "currency": "EUR",
        "schedules": {"hours": [{"period": "2", "to": "12:00"}, {"period": "no", "from": "12:00"}]},
        "components": [
            {
                "kind": "energy",
                "name": "energy",
                "schedule": "hours",
                "prices": {"2": "0.10", "no": [{"up_to": "300", "price": "-1"}, {"price": "2.5"}]},
            }
        ],
    }

    written = yaml_of(made, ["sector: kept as a description: Commercial"])

    assert meaning(written) == meaning(made)
    assert written == (
        """\
# sector: kept as a description: Commercial
tariff: 1
name: '1.5'
currency: EUR
schedules:
  hours:
  - {period: '2', to: '12:00'}
  - {period: 'no', from: '12:00'}
components:
- kind: energy
  name: energy
  schedule: hours
  prices: {'2': 0.10, 'no': [{up_to: 300, price: -1}, {price: 2.5}]}
"""
    )


@needs_recordings
def test_every_published_tariff_is_written_and_read_back() -> None:
    for plan in json_of("tariffs-open/time_of_use_plans.json"):
        answer = import_any(json.dumps(plan))
        assert isinstance(answer, Imported)
        for dated in answer.documents:
            written = yaml_of(dated.document, map(str, answer.notes))
            assert meaning(written) == meaning(dated.document)


@pytest.mark.django_db
def test_a_record_becomes_a_tariff_with_drafts(here: Tenant) -> None:
    later = URDB | {"startdate": "2026-07-01", "name": "G-2"}
    record = json.dumps([later, URDB | {"enddate": "2026-06-30"}])

    taken = import_tariff(tenant_id=here.pk, content=record, actor_id=None)

    assert (taken.tariff.name, taken.tariff.currency) == ("Valley – G-2", "USD")
    drafts = list(TariffVersion.objects.filter(tariff=taken.tariff).order_by("valid_from"))
    assert [(one.valid_from, one.state) for one in drafts] == [
        (date(2026, 1, 1), VersionState.DRAFT),
        (date(2026, 7, 1), VersionState.DRAFT),
    ]
    assert drafts[0].source.startswith(
        "# [1].sector: kept as a description: Commercial\n# It holds until 2026-07-01, exclusive.\n"
    )
    assert drafts[0].document["components"][0]["tiers"]["per"] == "month"
    actions = AuditEntry.objects.filter(action__startswith="tariff.")
    assert sorted(one.action for one in actions) == [
        "tariff.create",
        "tariff.draft",
        "tariff.draft",
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("two\nlines\x00", "Valley – two lines"),
        ("\u2028", "Valley –"),
        ("long " * 40, f"Valley – {'long ' * 22}l"),
    ],
)
def test_a_name_is_made_fit_for_a_tariff(here: Tenant, name: str, kept: str) -> None:
    taken = import_tariff(
        tenant_id=here.pk, content=json.dumps(URDB | {"name": name}), actor_id=None
    )

    assert taken.tariff.name == kept
    assert taken.versions[0].document["name"] == kept


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("record", "valid_from", "field"),
    [
        (PLAN, None, "valid_from"),
        ([URDB, URDB | {"startdate": "2027-01-01"}], date(2026, 1, 1), "valid_from"),
        (URDB | {"surprise": 1}, None, "content"),
    ],
)
def test_what_is_refused_leaves_nothing(
    here: Tenant, record: Any, valid_from: date | None, field: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        import_tariff(
            tenant_id=here.pk, content=json.dumps(record), valid_from=valid_from, actor_id=None
        )

    assert list(refused.value.message_dict) == [field]
    assert not Tariff.objects.exists()


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_the_command_prints_and_keeps_a_tariff(here: Tenant, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(PLAN))
    printed, kept = StringIO(), StringIO()

    call_command("import_tariff", str(file), stdout=printed)
    assert document.load(printed.getvalue())["name"] == "P – Flat"
    assert not Tariff.objects.exists()

    call_command(
        "import_tariff", str(file), tenant=here.slug, valid_from=date(2026, 5, 1), stdout=kept
    )
    (version,) = TariffVersion.objects.all()
    assert kept.getvalue() == (
        f"tariff {version.tariff_id}: P – Flat\ndraft {version.pk}: from 2026-05-01\n"
    )

    file.write_text(json.dumps(PLAN | {"more": 1}))
    with pytest.raises(CommandError, match="more: is a field that this import does not know"):
        call_command("import_tariff", str(file))


@needs_recordings
@pytest.mark.django_db
def test_a_recorded_tariff_with_eight_versions_is_kept(here: Tenant) -> None:
    content = text("billing-urdb-commercial/tariffs/PGE-E-19.json")

    taken = import_tariff(tenant_id=here.pk, content=content, actor_id=None)

    assert len(taken.versions) == 8
    assert TariffVersion.objects.filter(tariff=taken.tariff).count() == 8

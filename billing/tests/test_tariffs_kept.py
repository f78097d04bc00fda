"""Tariffs as data: drafts, what is checked before they are published, and who sees them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from billing.domain import prices_operations
from billing.domain import tariffs_operations as operations
from billing.domain import tariffs_queries as queries
from billing.domain.tariffs_queries import TariffNotFound, VersionNotFound
from billing.models import Tariff, TariffVersion, VersionState
from billing.tariffs import document
from devices.models import Facility
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NEXT = date(2026, 4, 1)
FLAT = """\
tariff: 1
name: Flat
currency: EUR
components:
  - {name: energy, label: Energy, kind: energy, flow: import, prices: 0.30}
"""
NIGHT = """\
tariff: 1
name: Night
currency: EUR
schedules:
  clock:
    - {period: day, from: "06:00", to: "22:00"}
    - {period: night, from: "00:00", to: "06:00"}
components:
  - {name: energy, label: Energy, kind: energy, schedule: clock, prices: {day: 0.40, night: 0.20}}
"""
DYNAMIC = """\
tariff: 1
name: Dynamic
currency: EUR
components:
  - {name: market, kind: dynamic, series: day-ahead}
"""


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


def _tariff(here: Tenant, name: str = "Household") -> Tariff:
    return operations.create_tariff(tenant_id=here.pk, name=name, currency="EUR", actor_id=None)


def _draft(of: Tariff, source: str = FLAT, **values: Any) -> TariffVersion:
    wanted: dict[str, Any] = {"valid_from": NEXT, "source": source, "actor_id": None}
    return operations.draft_version(tariff_id=of.pk, **wanted | values)


def _publish(version: TariffVersion) -> TariffVersion:
    return operations.publish_version(version_id=version.pk, now=NOW, actor_id=None)


def _refused(call: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as refused:
        call()
    return refused.value.message_dict


def test_a_version_is_drafted_written_anew_and_published(here: Tenant) -> None:
    made = _draft(_tariff(here))
    assert made.document["components"][0]["prices"] == "0.3"
    assert made.sha256 == document.sha256_of(made.document)
    changed = operations.change_draft(
        version_id=made.pk,
        valid_from=date(2026, 5, 1),
        source=FLAT.replace("0.30", "0.35"),
        actor_id=None,
    )
    assert changed.sha256 != made.sha256
    published = _publish(changed)
    assert (published.state, published.published_at) == (VersionState.PUBLISHED, NOW)
    told = AuditEntry.objects.get(action="tariff.publish").after
    assert told is not None
    assert told["hash"] == changed.sha256
    with pytest.raises(ValidationError, match="published and stays"):
        _publish(published)
    with pytest.raises(ValidationError, match="published and stays"):
        operations.delete_draft(version_id=made.pk, actor_id=None)


def test_a_source_that_is_no_tariff_is_told_with_every_problem(here: Tenant) -> None:
    made = _tariff(here)
    refused = _refused(lambda: _draft(made, "tariff: 1\nname: x\ncolour: red\n"))
    assert any("colour" in sentence for sentence in refused["source"])
    assert any("components" in sentence for sentence in refused["source"])
    refused = _refused(lambda: _draft(made, FLAT.replace("EUR", "USD")))
    assert refused == {"source": ["currency: The prices are in USD, but the tariff is in EUR."]}
    assert list(_refused(lambda: _draft(made, valid_from=date(1900, 1, 1)))) == ["valid_from"]
    assert not TariffVersion.objects.exists()


def test_an_instant_without_a_price_is_named_in_the_calendar_of_a_facility(here: Tenant) -> None:
    facility(here)
    made = _draft(_tariff(here), NIGHT)
    found = queries.check_version(version_id=made.pk, now=NOW)
    assert [one.zone for one in found.problems] == ["Europe/Berlin"]
    [sentence] = _refused(lambda: _publish(made))["source"]
    assert "2026-04-01 22:00 (Europe/Berlin)" in sentence
    full = NIGHT.replace(
        "components:", '    - {period: night, from: "22:00", to: "24:00"}\ncomponents:'
    )
    operations.change_draft(version_id=made.pk, valid_from=NEXT, source=full, actor_id=None)
    assert queries.check_version(version_id=made.pk, now=NOW).problems == ()
    _publish(made)


def test_a_tariff_is_tried_in_each_time_zone_of_the_tenant(here: Tenant) -> None:
    assert queries.check_source(tenant_id=here.pk, source=FLAT, valid_from=NEXT, now=NOW).zones == (
        "Europe/Berlin",
    )
    for zone in ("Africa/Nairobi", "Africa/Nairobi", "America/New_York"):
        Facility.objects.filter(pk=facility(here).pk).update(time_zone=zone)
    found = queries.check_source(tenant_id=here.pk, source=NIGHT, valid_from=NEXT, now=NOW)
    assert found.zones == ("Africa/Nairobi", "America/New_York")
    assert [one.zone for one in found.problems] == list(found.zones)


def test_a_series_of_prices_must_be_there(here: Tenant) -> None:
    made = _draft(_tariff(here), DYNAMIC)
    [sentence] = _refused(lambda: _publish(made))["source"]
    assert sentence == "“market”: there is no series of prices “day-ahead”."
    prices_operations.create_series(
        tenant_id=here.pk, name="day-ahead", currency="USD", actor_id=None
    )
    [sentence] = _refused(lambda: _publish(made))["source"]
    assert sentence == "“market”: the prices of “day-ahead” are in USD."


@pytest.mark.parametrize("name", ["step", "total_step"])
def test_amounts_finer_than_bills_keep_them_are_refused(here: Tenant, name: str) -> None:
    for step, wrong in (("0.0001", False), ("0.00005", True), ("0.00015", True)):
        source = FLAT + f"rounding: {{{name}: {step}}}\n"
        found = queries.check_source(tenant_id=here.pk, valid_from=NEXT, source=source, now=NOW)
        sentences = [one.sentence for one in found.problems]
        assert any("four decimal places" in one for one in sentences) == wrong
        assert [one.path for one in found.problems] == [f"rounding.{name}"] * wrong


def test_what_changes_the_past_or_a_published_version_asks_for_a_reason(here: Tenant) -> None:
    of = _tariff(here)
    past = _draft(of, valid_from=date(2026, 3, 9))
    assert list(_refused(lambda: _publish(past))) == ["reason"]
    operations.change_draft(
        version_id=past.pk,
        valid_from=past.valid_from,
        source=FLAT,
        reason="The price was wrong",
        actor_id=None,
    )
    _publish(past)
    # Today is not over.
    _publish(_draft(of, valid_from=NOW.date()))
    _publish(_draft(of))
    again = _draft(of)
    assert again.revision == 2
    assert list(_refused(lambda: _publish(again))) == ["reason"]


def test_the_latest_revision_that_was_known_holds(here: Tenant) -> None:
    of = _tariff(here)
    first = _publish(_draft(of))
    second = _draft(of, reason="Wrong price")
    later = datetime(2026, 3, 11, tzinfo=UTC)
    operations.publish_version(version_id=second.pk, now=later, actor_id=None)
    third = _publish(_draft(of, valid_from=date(2026, 6, 1)))

    def held(day: date, known_at: datetime | None = None) -> int | None:
        found = queries.version_on(tariff_id=of.pk, day=day, known_at=known_at)
        return None if found is None else found.pk

    assert held(date(2026, 3, 31)) is None
    assert [held(NEXT), held(date(2026, 5, 31)), held(date(2026, 6, 1))] == [
        second.pk,
        second.pk,
        third.pk,
    ]
    assert held(NEXT, NOW) == first.pk


def test_a_version_is_duplicated_as_the_next_draft(here: Tenant) -> None:
    of = _tariff(here)
    first = _publish(_draft(of))
    copy = operations.duplicate_version(
        version_id=first.pk, valid_from=date(2027, 1, 1), actor_id=None
    )
    assert (copy.state, copy.source, copy.sha256) == ("draft", FLAT, first.sha256)
    operations.delete_draft(version_id=copy.pk, actor_id=None)
    assert queries.version_page(tariff_id=of.pk, limit=5).items == (first,)


def test_tariffs_are_named_once_archived_and_brought_back(here: Tenant) -> None:
    made = _tariff(here)
    assert list(_refused(lambda: _tariff(here))) == ["name"]
    operations.archive_tariff(tariff_id=made.pk, now=NOW, actor_id=None)
    assert not queries.tariff_rows(archived=False)
    with pytest.raises(ValidationError, match="archived already"):
        operations.archive_tariff(tariff_id=made.pk, now=NOW, actor_id=None)
    operations.restore_tariff(tariff_id=made.pk, actor_id=None)
    assert [one.pk for one in queries.tariff_rows(search="house", archived=False)] == [made.pk]
    other = _tariff(here, "Other")
    refused = _refused(
        lambda: operations.change_tariff(tariff_id=other.pk, name="Household", actor_id=None)
    )
    assert list(refused) == ["name"]


def test_others_neither_see_nor_change_a_tariff(here: Tenant) -> None:
    of = _tariff(here)
    made = _draft(of)
    place = facility(here)
    for scope in (Scope((tenant().pk,)), Scope((here.pk,), (place.pk,))):
        with open_scope(scope):
            assert not queries.tariff_rows()
            with pytest.raises(TariffNotFound):
                queries.tariff(tariff_id=of.pk)
            with pytest.raises(TariffNotFound):
                _draft(of)
            with pytest.raises(VersionNotFound):
                _publish(made)
            with pytest.raises(VersionNotFound):
                queries.check_version(version_id=made.pk, now=NOW)
    assert TariffVersion.objects.get().state == VersionState.DRAFT

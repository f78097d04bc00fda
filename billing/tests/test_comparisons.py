"""Comparisons of tariffs that are asked for, computed in turns and kept for a week."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from billing.dispatch.battery import Battery
from billing.domain import comparison_checks
from billing.domain import comparisons_operations as operations
from billing.domain import comparisons_queries as queries
from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.comparison_values import (
    ABSENT,
    PLACE,
    PROBLEM,
    Days,
    Panels,
    Question,
    Sums,
    Whose,
    last_year,
)
from billing.domain.pages_queries import NotThere
from billing.models import Agreement, ComparisonState, TariffComparison
from billing.tests import factories
from billing.tests.readings import DOCUMENT, meter, power, quarters
from devices.domain.operations import grant_facility
from devices.models import Facility
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import member, tenant

pytestmark = pytest.mark.django_db

MARCH = Days(date(2026, 3, 1), date(2026, 4, 1))
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
NOW = datetime(2026, 4, 2, tzinfo=UTC)
QUARTERS = 743 * 4
USE_WH = 100.0


def _document(price: str) -> dict[str, Any]:
    energy = {"name": "energy", "kind": "energy", "prices": price}
    return {**DOCUMENT, "components": [energy]}


def billed(here: Tenant, price: str = "0.40", **fields: Any) -> Agreement:
    """An agreement at a new facility that used the same in each quarter of an hour of a March."""
    at = facility(here)
    Facility.objects.filter(pk=at.pk).update(latitude=48, longitude=11)
    at.refresh_from_db()
    channel = power(at)
    quarters(channel, BEGIN, [USE_WH] * QUARTERS)
    made = factories.agreement(at, by=factories.tariff(here, _document(price)), **fields)
    meter(made, channel, BEGIN)
    return made


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


def ask(here: Tenant, whose: Whose, **values: Any) -> TariffComparison:
    """What March would have cost."""
    given: dict[str, Any] = {"days": MARCH, "question": Question(), "now": NOW, "actor_id": None}
    return operations.ask(tenant_id=here.pk, whose=whose, **given | values)


def work(row: TariffComparison, turns: int = 100) -> bool:
    """A worker that has time for so many agreements."""
    left = iter([True] * turns)
    return operations.work(
        tenant_id=row.tenant_id,
        comparison_id=row.pk,
        go_on=lambda: next(left, False),
        clock=lambda: NOW,
    )


KWH = Decimal("297.2")


def test_one_agreement_is_compared_at_once(here: Tenant) -> None:
    agreement = billed(here)
    cheap = factories.tariff(here, _document("0.30"))
    row = ask(here, Whose(agreement_id=agreement.pk))
    assert (row.state, row.done, row.facility_id) == ("done", 1, agreement.facility_id)
    row.refresh_from_db()
    sums = Sums.read(row.sums)
    assert sums.current is not None
    assert (sums.count, sums.current.total) == (1, KWH * Decimal("0.40"))
    assert [(one.name, one.total) for one in sums.ranked()] == [
        (cheap.name, KWH * Decimal("0.30")),
        (sums.current.name, KWH * Decimal("0.40")),
    ]
    assert sums.ranked()[0].months == {MARCH.first: KWH * Decimal("0.30")}
    assert sums.energies.imported == KWH
    assert sums.peak_kw == Decimal("0.4")
    entry = AuditEntry.objects.get(action="comparison.ask")
    assert entry.after == {"agreements": 1, "from": "2026-03-01", "to": "2026-04-01"}


def test_many_agreements_are_added_up_by_workers_in_turns(here: Tenant) -> None:
    customer = factories.customer(here)
    for price in ("0.40", "0.50", "0.60"):
        billed(here, price, of=customer)
    billed(here)
    tariffs = (factories.tariff(here, _document("0.45")).pk,)
    row = ask(here, Whose(customer_id=customer.pk), question=Question(tariff_ids=tariffs))
    assert (row.state, row.done, row.facility_id) == ("waiting", 0, None)
    assert work(row, turns=1)
    row.refresh_from_db()
    assert (row.state, row.done) == ("waiting", 1)
    assert not work(row)
    row.refresh_from_db()
    assert (row.state, row.done) == ("done", 3)
    sums = Sums.read(row.sums)
    assert sums.current is not None
    assert sums.current.total == KWH * Decimal("1.50")
    # Each has its own tariff, too: of these none is of all.
    assert [(one.tariff_id, one.total) for one in sums.ranked()] == [
        (tariffs[0], KWH * Decimal("1.35"))
    ]
    assert not work(row)


def test_only_the_last_worker_writes(here: Tenant) -> None:
    for _ in range(3):
        billed(here)
    row = ask(here, Whose(currency="EUR"))

    def overtaken() -> bool:
        TariffComparison.objects.filter(pk=row.pk).update(turn=7)
        return True

    assert not operations.work(
        tenant_id=here.pk, comparison_id=row.pk, go_on=overtaken, clock=lambda: NOW
    )
    row.refresh_from_db()
    assert (row.done, row.sums) == (0, {})


def test_what_has_been_tried_too_often_is_given_up(here: Tenant) -> None:
    row = factories.comparison(billed(here), turn=operations.MOST_TURNS)
    assert not work(row)
    row.refresh_from_db()
    assert row.state == ComparisonState.FAILED


def test_a_draft_is_compared_as_if_it_held(here: Tenant) -> None:
    agreement = billed(here)
    own = agreement.tariffs.get().tariff
    draft = factories.version(own, _document("0.10"), valid_from=date(2027, 1, 1), published=False)
    row = ask(here, Whose(agreement_id=agreement.pk), question=Question(draft_ids=(draft.pk,)))
    first = Sums.read(row.sums).ranked()[0]
    assert (first.version_id, first.total) == (draft.pk, KWH / 10)
    published = factories.version(own, _document("0.10"), valid_from=date(2027, 2, 1))
    with pytest.raises(ValidationError, match="no such draft"):
        ask(here, Whose(agreement_id=agreement.pk), question=Question(draft_ids=(published.pk,)))
    with pytest.raises(ValidationError, match="no such tariff"):
        ask(here, Whose(agreement_id=agreement.pk), question=Question(tariff_ids=(2**40,)))


def test_panels_and_battery_change_what_is_billed(here: Tenant) -> None:
    agreement = billed(here)
    question = Question(panels=Panels(5), battery=Battery(5, 2.5))
    row = ask(here, Whose(agreement_id=agreement.pk), question=question)
    assert Question.read(row.question) == question
    energies = Sums.read(row.sums).energies
    assert energies.generated > 0
    assert energies.loaded == energies.unloaded + energies.lost + energies.left
    # What was drawn, less what came from the roof or the battery.
    from_roof = energies.generated - energies.loaded - energies.exported
    assert energies.imported == KWH - from_roof - energies.unloaded


def test_a_battery_keeps_the_peak_low(here: Tenant) -> None:
    at = facility(here)
    channel = power(at)
    use = [USE_WH] * QUARTERS
    use[1000] = 1000.0
    quarters(channel, BEGIN, use)
    agreement = factories.agreement(at, by=factories.tariff(here, DOCUMENT))
    meter(agreement, channel, BEGIN)
    whose = Whose(agreement_id=agreement.pk)
    plain = Sums.read(ask(here, whose).sums)
    shaved = Sums.read(
        ask(here, whose, question=Question(battery=Battery(2, 4), lowest_peak=True)).sums
    )
    assert plain.peak_kw == 4
    assert shaved.peak_kw < 1
    assert shaved.current is not None
    assert plain.current is not None
    # A peak costs 5 for each kW, and the tax; what was loaded from the grid costs a little.
    saved = (plain.peak_kw - shaved.peak_kw) * 5 * Decimal("1.19")
    assert 0 < saved - (plain.current.total - shaved.current.total) < 1


def test_a_place_that_is_not_known_is_asked_for(here: Tenant) -> None:
    known, unknown = billed(here), billed(here)
    Facility.objects.filter(pk=unknown.facility_id).update(latitude=None, longitude=None)
    question = Question(panels=Panels(1))
    with pytest.raises(ValidationError, match="latitude and longitude"):
        ask(here, Whose(agreement_id=unknown.pk), question=question)
    sums = Sums.read(ask(here, Whose(currency="EUR"), question=question).sums)
    assert sums.count == 1
    assert [(one.agreement_id, one.code) for one in sums.left_out] == [(unknown.pk, PLACE)]
    assert known.pk != unknown.pk


def test_agreements_that_cannot_be_computed_are_left_out(here: Tenant) -> None:
    sound, gone = billed(here), billed(here)
    broken = factories.agreement(facility(here), by=factories.tariff(here, {"tariff": 1}))
    rows = ask(here, Whose(currency="EUR"))
    Agreement.objects.filter(pk=gone.pk).update(starts_on=date(2027, 1, 1))
    assert not work(rows)
    rows.refresh_from_db()
    sums = Sums.read(rows.sums)
    assert sums.count == 1
    assert {one.agreement_id: one.code for one in sums.left_out} == {
        gone.pk: ABSENT,
        broken.pk: PROBLEM,
    }
    assert sound.pk in rows.agreements


def test_what_cannot_be_asked_is_said(here: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _two, _three = (billed(here) for _ in range(3))
    billed(here, currency="CHF")
    with pytest.raises(ValidationError, match="CHF, EUR"):
        ask(here, Whose())
    with pytest.raises(ValidationError, match="No agreement holds"):
        ask(here, Whose(currency="USD"))
    with pytest.raises(ValidationError, match="one day to two years"):
        ask(here, Whose(agreement_id=one.pk), days=Days(MARCH.first, MARCH.first))
    with pytest.raises(ValidationError, match="which one"):
        ask(here, Whose(agreement_id=one.pk), question=Question(lowest_peak=True))
    monkeypatch.setattr(comparison_checks, "MOST_AGREEMENTS", 2)
    with pytest.raises(ValidationError, match="more than 2 agreements"):
        ask(here, Whose(currency="EUR"))
    monkeypatch.setattr(operations, "MOST_WAITING", 1)
    factories.comparison(one)
    with pytest.raises(ValidationError, match="Try again in some minutes"):
        ask(here, Whose(agreement_id=one.pk))


def _person(here: Tenant, at: Facility) -> User:
    """A consumer who has a facility."""
    made = member(here, Role.CONSUMER)
    grant_facility(membership_id=made.pk, facility_id=at.pk, actor_id=None)
    return made.user


def test_a_customer_is_told_of_the_own_tariff_and_those_on_offer(here: Tenant) -> None:
    agreement = billed(here)
    user = _person(here, agreement.facility)
    Agreement.objects.filter(pk=agreement.pk).update(user=user)
    offered, hidden = (factories.tariff(here, _document(price)) for price in ("0.30", "0.20"))
    type(offered).objects.filter(pk=offered.pk).update(offered=True)
    whose = Whose(agreement_id=agreement.pk)
    with open_scope(Scope((here.pk,), (agreement.facility_id,))):
        row = ask(here, whose, user_id=user.pk, actor_id=user.pk)
        with pytest.raises(ValidationError, match="tariffs that are offered"):
            ask(here, whose, question=Question(tariff_ids=(hidden.pk,)), user_id=user.pk)
        assert queries.comparison(comparison_id=row.pk, user_id=user.pk) == row
    assert row.state == ComparisonState.WAITING
    assert not work(row)
    row.refresh_from_db()
    sums = Sums.read(row.sums)
    own = agreement.tariffs.get().tariff_id
    assert [one.tariff_id for one in sums.ranked()] == [offered.pk, own]


def test_nobody_compares_or_sees_what_is_of_others(
    here: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    agreement, other = billed(here), billed(here)
    user = _person(here, agreement.facility)
    Agreement.objects.filter(pk=agreement.pk).update(user=user)
    kept = factories.comparison(agreement)
    elsewhere = Scope((here.pk,), (other.facility_id,))
    with open_scope(elsewhere):
        assert list(TariffComparison.objects.all()) == []
        assert TariffComparison.objects.update(done=1) == 0
        with pytest.raises(AgreementNotFound):
            ask(here, Whose(agreement_id=agreement.pk))
    both = Scope((here.pk,), (agreement.facility_id, other.facility_id))
    with open_scope(both), pytest.raises(ValidationError, match="one agreement at a time"):
        ask(here, Whose(currency="EUR"))
    # At the same facility, but made out to nobody.
    with open_scope(Scope((here.pk,), (agreement.facility_id,))), pytest.raises(NotThere):
        queries.comparison(comparison_id=kept.pk, user_id=user.pk)
    with pytest.raises(AgreementNotFound):
        ask(here, Whose(agreement_id=other.pk), user_id=user.pk)
    with open_scope(Scope((tenant().pk,))):
        assert TariffComparison.objects.count() == 0
        with pytest.raises(AgreementNotFound):
            ask(here, Whose(agreement_id=agreement.pk))
    monkeypatch.setattr(operations, "MOST_OF_PERSON", 0)
    with pytest.raises(ValidationError, match="Try again in some days"):
        ask(here, Whose(agreement_id=agreement.pk), user_id=user.pk)


def test_old_ones_are_removed_and_lost_ones_taken_up(here: Tenant) -> None:
    agreement = billed(here)
    lost = factories.comparison(agreement)
    fresh = factories.comparison(agreement)
    over = factories.comparison(agreement)
    rows = TariffComparison.objects
    rows.filter(pk=fresh.pk).update(advanced_at=NOW)
    rows.filter(pk=over.pk).update(expires_at=NOW - timedelta(seconds=1))
    assert operations.tend(now=NOW) == [(here.pk, lost.pk)]
    assert set(rows.values_list("pk", flat=True)) == {lost.pk, fresh.pk}


def test_the_last_year_ends_with_the_last_month() -> None:
    assert last_year(date(2026, 3, 31)) == Days(date(2025, 3, 1), date(2026, 3, 1))


def test_asking_takes_the_same_queries_for_more_agreements(
    here: Tenant, django_assert_num_queries: Any
) -> None:
    customers = [factories.customer(here) for _ in range(2)]
    for customer, count in zip(customers, (3, 5), strict=True):
        for _ in range(count):
            factories.agreement(facility(here), of=customer)
    for customer in customers:
        with django_assert_num_queries(7):
            ask(here, Whose(customer_id=customer.pk))

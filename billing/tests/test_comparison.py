"""An agreement's own use by other tariffs, with photovoltaics or a battery."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError

from billing.dispatch.battery import Battery
from billing.dispatch.solar import Photovoltaics
from billing.domain import comparison_queries, drafts
from billing.domain.agreements_queries import AgreementNotFound
from billing.domain.comparison_queries import Candidates, Changed, Comparison
from billing.models import Agreement
from billing.tests import factories
from billing.tests.readings import DOCUMENT, meter, power, quarters
from devices.tests.factories import facility
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

MARCH, MAY = date(2026, 3, 1), date(2026, 5, 1)
BEGIN = datetime(2026, 2, 28, 23, tzinfo=UTC)
NOW = datetime(2026, 5, 2, tzinfo=UTC)
QUARTERS = (743 + 720) * 4


def _document(price: str, **component: Any) -> dict[str, Any]:
    energy = {"name": "energy", "kind": "energy", "prices": price}
    return {**DOCUMENT, "components": [energy | component]}


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


@pytest.fixture
def agreement(here: Tenant) -> Agreement:
    at = facility(here)
    channel = power(at)
    quarters(channel, BEGIN, np.random.default_rng(3).uniform(0, 400, QUARTERS).tolist())
    made = factories.agreement(at, by=factories.tariff(here, DOCUMENT))
    meter(made, channel, BEGIN)
    return made


def _compare(agreement: Agreement, **values: Any) -> Comparison:
    given: dict[str, Any] = {"first": MARCH, "end": MAY, "now": NOW}
    return comparison_queries.compare(agreement_id=agreement.pk, **given | values)


def test_tariffs_are_ranked_and_the_own_one_costs_what_its_bills_do(
    here: Tenant, agreement: Agreement
) -> None:
    cheap, dear = (factories.tariff(here, _document(price)) for price in ("0.01", "9"))
    unreadable = factories.tariff(here, {"tariff": 1})
    unpriced = factories.tariff(here, _document("1", kind="dynamic", series="none"))
    factories.tariff(here, _document("0.02"), currency="CHF")
    found = _compare(agreement)
    own = agreement.tariffs.get().tariff_id
    assert [one.tariff_id for one in found.tariffs[:3]] == [cheap.pk, own, dear.pk]
    assert {one.tariff_id for one in found.tariffs[3:]} == {unreadable.pk, unpriced.pk}
    assert all(one.problem for one in found.tariffs[3:])
    first, second, third = found.tariffs[:3]
    assert (first.current, second.current, second.difference) == (False, True, Decimal(0))
    bills = [
        drafts.compute(agreement.pk, first=day, end=end, known=drafts.known_now(NOW)).rating.total
        for day, end in ((MARCH, date(2026, 4, 1)), (date(2026, 4, 1), MAY))
    ]
    assert second.costs is not None
    assert [month.total for month in second.costs.months] == bills
    assert first.costs is not None
    assert third.difference is not None
    assert first.difference == first.costs.total - sum(bills) < 0 < third.difference


def test_panels_and_a_battery_draw_less_from_the_grid(agreement: Agreement) -> None:
    plain = _compare(agreement)
    panels = Photovoltaics(kwp=3, latitude=52.5, longitude=13.4)
    sunny = _compare(agreement, changed=Changed(panels))
    both = _compare(agreement, changed=Changed(panels, Battery(5, 3)))
    assert plain.exported_kwh == plain.generated_kwh == 0
    assert both.generated_kwh == sunny.generated_kwh > 0
    assert plain.imported_kwh > sunny.imported_kwh > both.imported_kwh
    assert sunny.exported_kwh > both.exported_kwh
    # What is generated is used, given away or lost, and nothing else.
    own = plain.imported_kwh - sunny.imported_kwh
    assert own + sunny.exported_kwh == sunny.generated_kwh
    assert both.battery is not None
    assert both.battery.unloaded > 0


def test_chosen_tariffs_are_compared_with_the_own_one(here: Tenant, agreement: Agreement) -> None:
    chosen, _other = (factories.tariff(here, _document(price)) for price in ("0.01", "9"))
    found = _compare(agreement, candidates=Candidates((chosen.pk,)))
    assert len(found.tariffs) == 2
    assert found.tariffs[0].tariff_id == chosen.pk


def test_what_cannot_be_compared_is_told(here: Tenant, agreement: Agreement) -> None:
    with pytest.raises(ValidationError, match="one day to two years"):
        _compare(agreement, end=MARCH)
    with pytest.raises(ValidationError, match="does not hold"):
        _compare(agreement, first=date(2025, 1, 1), end=date(2025, 2, 1))
    with open_scope(Scope((tenant().pk,))), pytest.raises(AgreementNotFound):
        _compare(agreement)


def test_queries_do_not_grow_with_tariffs(
    here: Tenant, agreement: Agreement, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(12):
        _compare(agreement)
    for _ in range(3):
        factories.tariff(here, _document("0.5"))
    with django_assert_max_num_queries(12):
        assert len(_compare(agreement).tariffs) == 4

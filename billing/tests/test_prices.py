"""Series of prices: entered, entered again, imported; gaps are named."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from billing.domain import prices_operations as operations
from billing.domain import prices_queries as queries
from billing.domain.prices_files import PriceFile, read_csv
from billing.domain.prices_operations import Entered
from billing.domain.prices_queries import Gap, Price, SeriesNotFound
from billing.models import PriceSeries, PriceValue
from devices.tests.factories import facility
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


@pytest.fixture
def series(here: Tenant) -> PriceSeries:
    return operations.create_series(
        tenant_id=here.pk, name="day-ahead", currency="EUR", actor_id=None
    )


def _price(hour: int, price: str) -> Price:
    return Price(START + hour * HOUR, Decimal(price))


def _enter(series: PriceSeries, *prices: Price, now: datetime = NOW) -> Entered:
    return operations.append_prices(series_id=series.pk, prices=prices, now=now, actor_id=None)


def _refused(call: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as refused:
        call()
    return refused.value.message_dict


def test_prices_are_added_and_the_latest_holds(series: PriceSeries) -> None:
    assert _enter(series, _price(0, "0.1"), _price(1, "-0.02")) == Entered(2, 0)
    assert _enter(series, _price(0, "0.1"), _price(1, "0.03"), now=NOW + HOUR) == Entered(1, 1)
    window: dict[str, Any] = {"series_id": series.pk, "start": START, "end": START + 2 * HOUR}
    now_held = queries.prices_of(**window)
    assert [one.price for one in now_held.prices] == [Decimal("0.1"), Decimal("0.03")]
    before = queries.prices_of(**window, known_at=NOW)
    assert [one.price for one in before.prices] == [Decimal("0.1"), Decimal("-0.02")]
    told = AuditEntry.objects.filter(action="prices.enter")
    assert sorted((one.after or {})["changed"] for one in told) == [0, 1]


def test_gaps_are_named(series: PriceSeries) -> None:
    _enter(series, _price(1, "1"), _price(4, "1"))
    found = queries.prices_of(series_id=series.pk, start=START, end=START + 6 * HOUR)
    assert found.gaps == (
        Gap(START, START + HOUR),
        Gap(START + 2 * HOUR, START + 4 * HOUR),
        Gap(START + 5 * HOUR, START + 6 * HOUR),
    )


def test_what_is_no_price_of_the_series_is_refused(series: PriceSeries) -> None:
    half_past = Price(START + HOUR / 2, Decimal(1))
    for prices, sentence in (
        ((), "There are no prices."),
        ((half_past,), "2026-03-01T00:30:00+00:00 is no beginning of a step of the series."),
        ((_price(0, "1"), _price(0, "2")), "2026-03-01T00:00:00+00:00 is there twice."),
    ):
        assert _refused(lambda p=prices: _enter(series, *p)) == {"prices": [sentence]}
    last = Price(datetime(9999, 12, 31, 23, tzinfo=UTC), Decimal(1))
    [sentence] = _refused(lambda: _enter(series, last))["prices"]
    assert sentence == "9999-12-31T23:00:00+00:00 lies too far away."
    [sentence] = _refused(lambda: _enter(series, _price(0, "0.1234567890123")))["prices"]
    assert "12 decimal places" in sentence
    assert not PriceValue.objects.exists()


@pytest.mark.parametrize(
    ("values", "field"),
    [({"name": " "}, "name"), ({"currency": "?"}, "currency"), ({"step_s": 60}, "step_s")],
)
def test_what_is_wrong_of_a_series_is_told_at_its_field(
    here: Tenant, values: dict[str, Any], field: str
) -> None:
    wanted = {"name": "spot", "currency": "EUR", "actor_id": None} | values
    refused = _refused(lambda: operations.create_series(tenant_id=here.pk, **wanted))
    assert list(refused) == [field]


def test_a_file_of_an_exchange_is_imported(series: PriceSeries) -> None:
    text = "\ufeffstarts_at;price;zone\n2026-03-01T01:00+01:00;85,5;DE\n\n2026-03-01 01:00Z;-3;DE\n"
    file = PriceFile(text.encode(), unit="MWh")
    entered = operations.import_prices(series_id=series.pk, file=file, now=NOW, actor_id=None)
    assert entered == Entered(2, 0)
    found = queries.prices_of(series_id=series.pk, start=START, end=START + 2 * HOUR)
    assert [one.price for one in found.prices] == [Decimal("0.0855"), Decimal("-0.003")]
    assert found.gaps == ()


@pytest.mark.parametrize(
    ("content", "unit", "field", "sentence"),
    [
        (b"starts_at,price\n", "GWh", "unit", "Prices are for a kWh or a MWh."),
        (b"time,price\n", "kWh", "file", "The first line names the columns starts_at and price"),
        (b"\xff", "kWh", "file", "The file is no text in UTF-8."),
        (b"starts_at,price\n2026-03-01T00:00,1\n", "kWh", "file", "Line 2: give the offset"),
        (b"starts_at,price\n2026-03-01T00:00Z,x\n", "kWh", "file", "Line 2 has no instant"),
        (b"starts_at,price\n2026-03-01T00:00Z\n", "kWh", "file", "Line 2 has no instant"),
        (b"starts_at,price\n2026-03-01T00:00Z,NaN\n", "kWh", "file", "Line 2 has no instant"),
        (b"starts_at,price\n0001-01-01T00:00+14:00,1\n", "kWh", "file", "Line 2: 0001-01-01T00"),
    ],
)
def test_a_file_that_is_none_of_prices_is_refused_with_its_line(
    content: bytes, unit: str, field: str, sentence: str
) -> None:
    refused = _refused(lambda: read_csv(PriceFile(content, unit)))
    assert list(refused) == [field]
    assert refused[field][0].startswith(sentence)


def test_others_neither_see_nor_enter_prices(here: Tenant, series: PriceSeries) -> None:
    place = facility(here)
    for scope in (Scope((tenant().pk,)), Scope((here.pk,), (place.pk,))):
        with open_scope(scope):
            assert queries.series_page(limit=5).items == ()
            with pytest.raises(SeriesNotFound):
                queries.series(series_id=series.pk)
            with pytest.raises(SeriesNotFound):
                _enter(series, _price(0, "1"))
    assert not PriceValue.objects.exists()

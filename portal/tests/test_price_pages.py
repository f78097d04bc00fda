"""Pages of price series: the chart of the last days with its gaps, files, prices by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.domain import prices_operations
from billing.domain.prices_queries import Price
from billing.models import PriceSeries, PriceValue
from devices.domain import operations
from portal.tests.test_billing_pages import Books, keep, signed_in
from tenants.permissions import Role
from tenants.scope import open_scope
from tenants.tests import factories

pytestmark = pytest.mark.django_db

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _series(books: Books, prices: int = 0, name: str = "spot") -> PriceSeries:
    """Hourly, with so many prices from BEGIN on."""
    with open_scope(books.scope):
        made = prices_operations.create_series(
            tenant_id=books.tenant.pk, name=name, currency="EUR", actor_id=None
        )
        if prices:
            prices_operations.append_prices(
                series_id=made.pk,
                prices=[Price(BEGIN + n * HOUR, Decimal(n) / 100) for n in range(prices)],
                now=BEGIN,
                actor_id=None,
            )
    return made


def _sent(client: Client, of: PriceSeries, text: str) -> Any:
    file = SimpleUploadedFile("prices.csv", text.encode())
    address = reverse("price-import", args=[of.pk])
    return client.post(address, {"file": file, "unit": "MWh"})


def test_a_series_is_made_and_its_name_taken_once() -> None:
    client = keep().browser()
    address = reverse("price-series-create")
    given = {"name": "day-ahead", "currency": "eur", "step_s": "900"}
    made = client.post(address, given)
    assert made.status_code == 302
    text = client.get(made["Location"]).content.decode()
    assert "It has no prices yet." in text
    again = client.post(address, given)
    assert "name" in again.context["form"].errors
    assert "day-ahead" in client.get(reverse("price-series-list")).content.decode()


def test_a_file_is_entered_and_what_is_wrong_told_line_by_line() -> None:
    books = keep()
    of = _series(books)
    client = books.browser()
    wrong = "starts_at,price\n2026-03-01T00:00Z,80\n2026-03-01T01:00,80\nx,1\n2026-03-01T02:00Z,\n"
    errors = _sent(client, of, wrong).context["form"].errors["file"]
    assert [text[:7] for text in errors] == ["Line 3:", "Line 4 ", "Line 5 "]
    text = "starts_at,price\n2026-03-01T00:00Z,80\n2026-03-01T01:00Z,-5\n"
    assert _sent(client, of, text).status_code == 302
    again = _sent(client, of, text)
    followed = client.get(again["Location"]).content.decode()
    assert "0 prices were entered. 2 were there already." in followed
    with open_scope(books.scope):
        values = PriceValue.objects.filter(series=of).order_by("starts_at")
        assert [one.price for one in values] == [Decimal("0.08"), Decimal("-0.005")]


def test_a_price_is_entered_by_hand_for_several_steps() -> None:
    books = keep()
    of = _series(books)
    client = books.browser()
    address = reverse("price-enter", args=[of.pk])
    given = {"starts_at": "2026-03-01T10:00", "steps": "3", "price": "90", "unit": "MWh"}
    assert client.post(address, {**given, "starts_at": "2026-03-01T10:30"}).status_code == 422
    assert client.post(address, given).status_code == 302
    with open_scope(books.scope):
        rows = list(PriceValue.objects.filter(series=of).order_by("starts_at"))
    assert [one.price for one in rows] == [Decimal("0.09")] * 3
    assert rows[2].starts_at - rows[0].starts_at == 2 * HOUR


def test_a_series_shows_its_last_days_and_the_gaps_of_the_month() -> None:
    books = keep()
    of = _series(books, prices=100)
    with open_scope(books.scope):
        prices_operations.append_prices(
            series_id=of.pk,
            prices=[Price(BEGIN + 102 * HOUR, Decimal(1))],
            now=BEGIN,
            actor_id=None,
        )
    context = books.browser().get(reverse("price-series", args=[of.pk])).context
    states = [bar.state for bar in context["chart"].bars]
    assert len(states) == 72
    assert states[-4:] == ["", "missing", "missing", ""]
    # Before the first price nobody expects any.
    assert context["gap_count"] == 1


@pytest.mark.parametrize(
    ("hour", "current", "bars", "ended"),
    [(50.5, "0.50", 72, ""), (98, "0.98", 72, ""), (100, "–", 72, "5 Mar 2026"), (-9, "–", 48, "")],
)
def test_a_series_tells_the_price_of_now_and_when_its_prices_ended(
    hour: float, current: str, bars: int, ended: str
) -> None:
    books = keep()
    of = _series(books, prices=100)
    with time_machine.travel(BEGIN + hour * HOUR, tick=False):
        answer = books.browser().get(reverse("price-series", args=[of.pk]))
    context = answer.context
    assert context["current"] == (current if current == "–" else f"{current}\N{NO-BREAK SPACE}EUR")
    # Prices are shown as far as two days ahead.
    assert len(context["chart"].bars) == bars
    assert context["ended"].startswith(ended)
    assert ("It has no prices since" in answer.content.decode()) is bool(ended)


def test_prices_are_the_tenants_alone() -> None:
    books = keep()
    of = _series(books, prices=2)
    with open_scope(books.scope):
        member = factories.member(books.tenant, Role.MANAGER)
        operations.grant_facility(
            membership_id=member.pk, facility_id=books.facilities[0].pk, actor_id=None
        )
    for client in (signed_in(member), keep().browser()):
        assert client.get(reverse("price-series", args=[of.pk])).status_code == 404
        assert ">spot</a>" not in client.get(reverse("price-series-list")).content.decode()
    assert _sent(keep().browser(), of, "starts_at,price\n2026-03-01T00:00Z,80\n").status_code == 404
    assert _sent(books.browser(Role.MANAGER), of, "starts_at,price\n").status_code == 403


@pytest.mark.parametrize("count", [1, 3])
def test_pages_take_the_same_queries_however_much_there_is(
    count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    books = keep()
    made = [_series(books, prices=24 * count, name=f"spot {n}") for n in range(count)]
    client = books.browser()
    client.get(reverse("price-series-list"))
    for address in (reverse("price-series-list"), reverse("price-series", args=[made[0].pk])):
        with django_assert_max_num_queries(13):
            assert client.get(address).status_code == 200

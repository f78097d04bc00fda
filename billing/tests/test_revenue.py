"""Revenue, what is owed, and energy that is not billed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext

from billing.domain import (
    cost_centres_queries,
    drafts,
    finalising,
    ledger_operations,
    revenue_queries,
    unbilled_operations,
)
from billing.domain.ledger_queries import open_items
from billing.domain.revenue_values import Asked, By
from billing.models import (
    Agreement,
    AgreementTariff,
    Bill,
    EntryKind,
    Mode,
    UnbilledAccount,
    UnbilledDay,
)
from billing.tests import factories, readings
from devices.tests.factories import facility
from tenants.models import Tenant
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 4, 12, 12, tzinfo=UTC)
YEAR: dict[str, Any] = {"first": date(2026, 1, 1), "end": date(2027, 1, 1), "currency": "EUR"}
FLAT: dict[str, Any] = {
    "tariff": 1,
    "name": "Flat",
    "currency": "EUR",
    "components": [
        {"name": "base", "kind": "standing", "amount": "10.00", "per": "month"},
        {"name": "energy", "kind": "energy", "prices": "0.30"},
        {"name": "demand", "kind": "demand", "window_min": 15, "prices": "2.00"},
        {"name": "vat", "kind": "tax", "percent": "19", "of": "all"},
    ],
}


@pytest.fixture
def here() -> Iterator[Tenant]:
    made = tenant()
    with open_scope(Scope((made.pk,))):
        yield made


def these(*values: Any) -> Any:
    """Values that are compared as numbers, whatever their types."""
    return values


def metered(here: Tenant, days: int = 42, **fields: Any) -> Agreement:
    """An agreement whose meter counts 1 kWh in each hour from FIRST on, for some days."""
    at = facility(here)
    at.time_zone = "UTC"
    at.save(update_fields=["time_zone"])
    channel = readings.power(at)
    readings.quarters(channel, factories.START, [250.0] * (96 * days))
    return factories.agreement(at, by=factories.tariff(here, FLAT), channels=(channel,), **fields)


def billed(of: Agreement, first: date, end: date, issued_on: date) -> Bill:
    """A final bill as it is made from readings."""
    known = drafts.known_now(NOW)
    draft = drafts.compute(of.pk, first=first, end=end, known=known)
    (bill,) = drafts.store([draft], run_id=None)
    finalising.finalise([bill.pk], issued_on=issued_on, now=NOW)
    bill.refresh_from_db()
    return bill


def march(of: Agreement) -> Bill:
    """The bill of the first month, dated in April."""
    return billed(of, factories.FIRST, factories.END, date(2026, 4, 2))


# --- revenue -----------------------------------------------------------------------------


def test_revenue_is_told_by_month_kind_tariff_centre_facility_and_rate(here: Tenant) -> None:
    first = march(metered(here, cost_centre="North"))
    second = march(metered(here))
    told = revenue_queries.revenue(Asked(**YEAR), on=date(2026, 4, 12))
    (month,) = told.months
    assert month.first == date(2026, 4, 1)
    assert month.kinds == {"standing": 20, "energy": Decimal("446.4"), "demand": 4}
    assert told.net == first.net + second.net
    assert told.tax == first.tax + second.tax
    assert [(one.percent, one.base, one.tax) for one in told.taxes] == [
        these(19, told.net, told.tax)
    ]
    assert {(one.name, one.net) for one in told.cost_centres} == {
        ("North", first.net),
        ("", second.net),
    }
    assert {(one.key, one.net) for one in told.facilities} == {
        (one.facility_id, one.net) for one in (first, second)
    }
    assert told.others == 0
    tariffs = set(AgreementTariff.objects.values_list("tariff_id", "tariff__name"))
    assert {(one.key, one.name) for one in told.tariffs} == tariffs
    assert (told.known.kwh, told.known.estimated_share, told.known.missing_share) == these(
        1488, 0, 0
    )


def test_revenue_by_supply_counts_in_the_month_of_the_line(here: Tenant) -> None:
    made = metered(here, days=61, cycle="quarter")
    bill = billed(made, factories.FIRST, date(2026, 5, 1), date(2026, 5, 4))
    told = revenue_queries.revenue(Asked(**YEAR, by=By.SUPPLY), on=date(2026, 5, 4))
    sums = {one.first.month: one.net for one in told.months}
    assert sums == {3: 10 + 2 + Decimal("223.2"), 4: 10 + 2 + Decimal(216)}
    assert sum(sums.values()) == bill.net
    asked = Asked(date(2026, 4, 1), date(2026, 5, 1), "EUR", By.SUPPLY)
    assert revenue_queries.revenue(asked, on=date(2026, 5, 4)).net == sums[4]
    # By date of issue all of it is of May.
    assert revenue_queries.revenue(Asked(**YEAR), on=date(2026, 5, 4)).months[0].first.month == 5


def test_what_was_taken_back_comes_to_nothing(here: Tenant) -> None:
    bill = march(metered(here))
    (note,) = finalising.take_back(
        [bill.pk], cause="Wrong", issued_on=date(2026, 5, 5), now=NOW, actor_id=None
    )
    told = revenue_queries.revenue(Asked(**YEAR), on=date(2026, 5, 5))
    assert [(one.first.month, one.net) for one in told.months] == [(4, bill.net), (5, note.net)]
    assert (told.net, told.tax, told.known.kwh) == these(0, 0, 0)
    assert [(one.percent, one.base, one.tax) for one in told.taxes] == [these(19, 0, 0)]


def test_revenue_is_filtered_and_a_draft_is_none(here: Tenant) -> None:
    north, south = metered(here, cost_centre="North"), metered(here)
    mine, other = march(north), march(south)
    factories.bill(metered(here), final=False)
    factories.bill(metered(here, currency="CHF"))

    def net(**more: Any) -> Decimal:
        return revenue_queries.revenue(Asked(**{**YEAR, **more}), on=date(2026, 4, 12)).net

    assert net() == mine.net + other.net
    assert net(cost_centre="North") == mine.net
    assert net(cost_centre="") == other.net
    assert net(tariff_id=south.tariffs.get().tariff_id) == other.net
    assert net(first=date(2026, 4, 3)) == 0
    assert net(currency="CHF") == 100


def test_a_bill_keeps_the_cost_centre_that_it_names(here: Tenant) -> None:
    made = metered(here, cost_centre="North")
    march(made)
    Agreement.objects.filter(pk=made.pk).update(cost_centre="South")
    told = revenue_queries.revenue(Asked(**YEAR), on=date(2026, 4, 12))
    assert [one.name for one in told.cost_centres] == ["North"]


# --- open items --------------------------------------------------------------------------


def test_open_items_are_told_by_their_age(here: Tenant) -> None:
    made = factories.agreement(facility(here), cost_centre="North")
    on = date(2026, 7, 1)
    dues = {
        date(2026, 7, 1): "current",
        date(2026, 6, 30): "days_1_30",
        date(2026, 6, 1): "days_1_30",
        date(2026, 5, 31): "days_31_60",
        date(2026, 5, 2): "days_31_60",
        date(2026, 5, 1): "days_61_90",
        date(2026, 4, 2): "days_61_90",
        date(2026, 4, 1): "over_90",
    }
    wanted = dict.fromkeys((code for code, *_ in revenue_queries.AGES), Decimal(0))
    for n, (due_on, code) in enumerate(dues.items()):
        factories.entry(made, Decimal(10**n), EntryKind.FEE, due_on=due_on)
        wanted[code] += 10**n
    found = revenue_queries.receivables(on=on, currency="EUR")
    assert found.ages == wanted
    assert revenue_queries.receivables(on=on, currency="EUR", cost_centre="").owed == 0


def test_days_of_sales_outstanding_follow_the_formula_and_the_ledger(here: Tenant) -> None:
    made = factories.agreement(facility(here))
    bill = factories.bill(made)
    factories.entry(made, bill.total, EntryKind.BILL, bill=bill)
    factories.entry(made, Decimal(-200), EntryKind.PAYMENT)
    on = date(2026, 4, 30)
    before = revenue_queries.receivables(on=on, currency="EUR")
    assert (before.owed, before.credit, before.billed) == these(119, 200, 119)
    ledger_operations.allocate([made.pk])
    after = revenue_queries.receivables(on=on, currency="EUR")
    assert (after.owed, after.credit) == these(0, 81)
    assert after.days_outstanding == Decimal(-81) / 119 * 90
    items = open_items(agreement_ids=[made.pk])[made.pk]
    assert sum(one.open for one in items) == after.owed - after.credit
    assert revenue_queries.receivables(on=date(2026, 7, 1), currency="EUR").days_outstanding is None


# --- unbilled energy ---------------------------------------------------------------------


def test_unbilled_energy_is_what_a_bill_would_come_to(here: Tenant) -> None:
    made = metered(here)
    march(made)
    unbilled_operations.value(agreement_ids=[made.pk], now=NOW)
    row = UnbilledAccount.objects.get()
    assert (row.first_on, row.valued_from, row.end_on) == (
        factories.END, factories.END, date(2026, 4, 12),
    )  # fmt: skip
    draft = drafts.compute(
        made.pk, first=factories.END, end=row.end_on, known=drafts.known_now(NOW)
    )
    assert row.net == draft.rating.net.quantize(Decimal("0.0001"))
    assert row.imported_kwh == 11 * 24
    assert (row.estimated_kwh, row.missing_intervals, row.problem) == these(0, 0, "")
    found = revenue_queries.unbilled(currency="EUR")
    assert (found.accounts, found.imported_kwh, found.age(date(2026, 4, 12))) == these(1, 264, 11)


def test_days_that_were_taken_back_are_unbilled_again(here: Tenant) -> None:
    made = metered(here)
    bill = march(made)
    billed(made, factories.END, date(2026, 4, 12), date(2026, 4, 12))
    unbilled_operations.value(agreement_ids=[made.pk], now=NOW)
    assert UnbilledAccount.objects.get().first_on is None
    finalising.take_back(
        [bill.pk], cause="Wrong", issued_on=date(2026, 4, 12), now=NOW, actor_id=None
    )
    unbilled_operations.value(agreement_ids=[made.pk], now=NOW)
    row = UnbilledAccount.objects.get()
    assert (row.first_on, row.imported_kwh, row.net) == these(factories.FIRST, 744, bill.net)


def test_what_cannot_be_rated_says_why_and_the_rest_is_valued(here: Tenant) -> None:
    whole, without = metered(here), metered(here)
    AgreementTariff.objects.filter(agreement=without).update(ends_on=factories.END)
    unbilled_operations.value(agreement_ids=[whole.pk, without.pk], now=NOW)
    row = UnbilledAccount.objects.get(agreement=without)
    assert "no published tariff" in row.problem
    assert row.imported_kwh == 744
    assert UnbilledAccount.objects.get(agreement=whole).imported_kwh == 744 + 264
    assert revenue_queries.unbilled(currency="EUR").problems == 1


def test_days_far_back_are_told_by_their_age_and_not_rated(here: Tenant) -> None:
    made = metered(here, starts_on=date(2020, 1, 1))
    unbilled_operations.value(agreement_ids=[made.pk], now=NOW)
    row = UnbilledAccount.objects.get()
    assert row.first_on == date(2020, 1, 1)
    assert (row.end_on - (row.valued_from or row.end_on)).days == unbilled_operations.MOST_DAYS


def test_accounts_are_due_each_day_and_after_a_bill(here: Tenant) -> None:
    made = metered(here)
    over = metered(here, ends_on=factories.END)
    factories.agreement(facility(here), mode=Mode.PAYG)
    march(over)

    def due(now: datetime) -> list[int]:
        return list(unbilled_operations.due_accounts(now=now).values_list("pk", flat=True))

    assert due(NOW) == [made.pk, over.pk]
    later = datetime(2026, 4, 12, 13, tzinfo=UTC)
    unbilled_operations.value(agreement_ids=[made.pk, over.pk], now=later)
    assert due(later) == []
    # What is billed to its end is not looked at again.
    assert due(datetime(2026, 4, 13, tzinfo=UTC)) == [made.pk]
    march(made)
    assert due(later) == []
    unbilled_operations.value(agreement_ids=[made.pk], now=datetime(2026, 4, 12, 11, tzinfo=UTC))
    assert due(later) == [made.pk]


def test_a_day_is_kept_by_currency_once(here: Tenant) -> None:
    made = metered(here)
    other = metered(here, currency="CHF")
    unbilled_operations.value(agreement_ids=[made.pk, other.pk], now=NOW)
    for _ in range(2):
        unbilled_operations.keep_day(tenant_id=here.pk, now=NOW)
    rows = {row.currency: row for row in UnbilledDay.objects.all()}
    assert set(rows) == {"EUR", "CHF"}
    sums = UnbilledAccount.objects.filter(currency="EUR").aggregate(Sum("net"))
    assert (rows["EUR"].net, rows["EUR"].accounts) == these(sums["net__sum"], 1)
    # The tariff is in another currency.
    assert (rows["CHF"].problems, rows["CHF"].net) == these(1, 0)


def test_many_accounts_are_valued_in_the_same_queries(here: Tenant) -> None:
    ids = [metered(here).pk for _ in range(4)]

    def queries(of: list[int]) -> int:
        with CaptureQueriesContext(connection) as found:
            unbilled_operations.value(agreement_ids=of, now=NOW)
        return len(found)

    assert queries(ids[:1]) == queries(ids[1:])


# --- cost centres ------------------------------------------------------------------------


def test_cost_centres_are_told_beside_the_month_and_the_year_before(here: Tenant) -> None:
    north = [metered(here, days=61, cost_centre="North") for _ in range(2)]
    south = metered(here, days=61)
    for one in north:
        march(one)
    april = date(2026, 4, 1), date(2026, 5, 1), date(2026, 5, 2)
    latest = [billed(one, *april) for one in (*north, south)]
    found = cost_centres_queries.cost_centres(month=date(2026, 4, 1), currency="EUR")
    first, second = found.centres
    assert (first.name, second.name) == these("North", "")
    assert (first.now.sites, first.now.kwh, first.now.peak_kw) == these(2, 1440, 1)
    assert (first.before.sites, first.before.kwh, first.year_before.sites) == these(2, 1488, 0)
    assert (second.before.net, second.now.net) == these(0, latest[2].net)
    assert found.net == sum(one.net for one in latest)
    assert found.share(first) == Decimal(2) / 3


def test_work_values_what_is_due_and_keeps_the_day(here: Tenant) -> None:
    made = [metered(here) for _ in range(2)]

    def work(now: datetime, *turns: bool) -> int:
        left = iter(turns)
        return unbilled_operations.work(tenant_id=here.pk, now=now, go_on=lambda: next(left, True))

    # Whoever is out of time leaves the rest to the next.
    assert work(NOW, True, False) == 2
    assert not UnbilledDay.objects.exists()
    assert work(NOW) == 0
    assert UnbilledDay.objects.get().accounts == len(made)
    march(made[0])
    assert work(datetime(2026, 4, 13, 1, tzinfo=UTC)) == 2
    assert [one.on.day for one in UnbilledDay.objects.order_by("on")] == [12, 13]

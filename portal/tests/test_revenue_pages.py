"""Revenue and cost centres, as pages and over the API; who sees which."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.domain import unbilled_operations
from billing.models import Agreement
from billing.tests import factories as billing
from devices.domain import operations
from portal.benchmarks import tokens
from portal.tests.test_billing_pages import Books, keep, signed_in
from tenants.models import AuditEntry, Membership
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 5, 10, 12, tzinfo=UTC)
DAYS = {"since": "2026-01-01", "until": "2027-01-01", "currency": "EUR"}
MONTHS = {"first": "2026-01", "last": "2026-12"}
MARCH = {"month": "2026-03"}


@pytest.fixture(autouse=True)
def _may() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def books(count: int = 2) -> Books:
    """Bills of 100.00 net for March, each of a cost centre of its own, with 30.00 unbilled."""
    made = keep(count)
    with open_scope(made.scope):
        for n, one in enumerate(made.agreements):
            Agreement.objects.filter(pk=one.pk).update(cost_centre=f"Centre {n}")
            billing.unbilled(one)
        unbilled_operations.keep_day(tenant_id=made.tenant.pk, now=NOW)
    return made


def granted(of: Books) -> Membership:
    """A manager who sees the first facility alone."""
    with open_scope(of.scope):
        member = factories.member(of.tenant, Role.MANAGER)
        operations.grant_facility(
            membership_id=member.pk, facility_id=of.facilities[0].pk, actor_id=None
        )
    return member


def headers(of: Membership) -> dict[str, str]:
    """An access token with every scope."""
    scopes = frozenset(ACCESS_SCOPES) - PERSONAL_SCOPES
    with open_scope(Scope((of.tenant_id,))):
        made = tokens.application(tenant_id=of.tenant_id, scopes=scopes)
        value, _row = tokens.issue(made, user_id=of.user_id, scopes=scopes)
    return {"Authorization": f"Bearer {value}"}


def test_revenue_shows_what_was_billed_is_owed_and_waits() -> None:
    found = books()
    page = found.browser().get(reverse("revenue"), MONTHS)
    told = page.context["found"]
    assert (told.net, told.unbilled.net, told.unbilled.age(date(2026, 5, 10))) == (200, 60, 39)
    text = page.content.decode()
    for shown in ("200.00\N{NO-BREAK SPACE}EUR", "60.00\N{NO-BREAK SPACE}EUR", "39 days",
                  "April 2026", found.tariff.name, "Centre 0", "Centre 1",
                  found.facilities[1].name):  # fmt: skip
        assert shown in text
    # Each owes 119.00, due at the end of the month, and has 19.00 open in return.
    assert told.receivables.ages["days_31_60"] == 238
    assert told.receivables.days_outstanding == Decimal(200) / 238 * 90
    assert [(one.on, one.net) for one in told.unbilled_days] == [(date(2026, 5, 10), 60)]


def test_revenue_is_narrowed_by_what_is_asked() -> None:
    client = books().browser()

    def net(**asked: str) -> Decimal:
        told: Decimal = client.get(reverse("revenue"), MONTHS | asked).context["found"].net
        return told

    assert net(cost_centre="=Centre 1") == 100
    assert net(cost_centre="=") == 0
    assert net(first="2026-05") == 0
    assert net(by="supply", last="2026-03") == 200
    assert net(by="issue", last="2026-03") == 0


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"first": "2026-05", "last": "2026-04"}, "last"),
        ({"first": "2010-01", "last": "2026-04"}, "last"),
        ({"first": "yesterday"}, "first"),
        ({"currency": "XXX"}, "currency"),
        ({"tariff": "9"}, "tariff"),
    ],
)
def test_what_cannot_be_asked_is_told_at_its_field(asked: dict[str, str], field: str) -> None:
    page = books().browser().get(reverse("revenue"), asked)
    assert page.status_code == 422
    assert list(page.context["form"].errors) == [field]


def test_the_file_has_the_same_sum_and_is_in_the_audit_log() -> None:
    made = books()
    with open_scope(made.scope):
        Agreement.objects.filter(pk=made.agreements[0].pk).update(cost_centre="=1+1")
    answer: Any = made.browser().get(reverse("revenue"), MONTHS | {"export": "csv"})
    lines = b"".join(answer.streaming_content).decode().removeprefix("\ufeff").splitlines()
    cells = [line.split(",") for line in lines]
    assert cells[0][:2] == ["Month", "Kind"]
    assert sum(Decimal(one[5]) for one in cells[1:]) == 200
    assert [one[3] for one in cells[1:]] == ["'=1+1", "Centre 1"]
    with open_scope(made.scope):
        assert AuditEntry.objects.filter(action="export.revenue").count() == 1


def test_cost_centres_show_the_month() -> None:
    page = books().browser().get(reverse("cost-centres"), MARCH)
    assert [one["name"] for one in page.context["rows"]] == ["Centre 0", "Centre 1"]
    assert [one["share"] for one in page.context["rows"]] == ["50.0\N{NO-BREAK SPACE}%"] * 2
    assert made_none(page.context["rows"][0])
    empty = books().browser().get(reverse("cost-centres"), {"month": "2026-02"})
    assert "No final bill begins in this month." in empty.content.decode()


def made_none(row: dict[str, Any]) -> bool:
    """Nothing to compare with."""
    return bool(row["before"] == {"net": "–", "kwh": "–"} == row["year_before"])


def test_who_is_granted_one_facility_sees_its_money_alone() -> None:
    made, _other = books(), books()
    member = granted(made)
    client = signed_in(member)
    told = client.get(reverse("revenue"), MONTHS).context["found"]
    assert (told.net, told.receivables.owed, told.unbilled.net) == (100, 119, 30)
    assert told.unbilled_days == ()
    assert [one.name for one in told.facilities] == [made.facilities[0].name]
    text = client.get(reverse("revenue"), MONTHS).content.decode()
    for hidden in (made.tariff.name, made.facilities[1].name, "Centre 1"):
        assert hidden not in text
    rows = client.get(reverse("cost-centres"), MARCH).context["rows"]
    assert [one["name"] for one in rows] == ["Centre 0"]
    answer: Any = client.get(reverse("revenue"), MONTHS | {"export": "csv"})
    taken = b"".join(answer.streaming_content).decode()
    assert made.facilities[0].name in taken
    assert made.facilities[1].name not in taken
    over_api = Client().get(reverse("api:revenue"), DAYS, headers=headers(member)).json()
    assert (over_api["net"], over_api["unbilled"]["net"]) == ("100", "30.00")


def test_another_tenant_sees_nothing_of_it() -> None:
    made, other = books(), keep(0)
    client = other.browser()
    told = client.get(reverse("revenue"), MONTHS).context["found"]
    assert (told.net, told.receivables.owed, told.unbilled.net, told.months) == (0, 0, 0, ())
    assert client.get(reverse("cost-centres"), MARCH).context["rows"] == []
    assert "Centre 0" not in client.get(reverse("revenue"), MONTHS).content.decode()
    assert made.browser().get(reverse("revenue"), MONTHS).context["found"].net == 200


def test_the_api_tells_the_same() -> None:
    made = books()
    with open_scope(made.scope):
        admin = headers(factories.member(made.tenant, Role.ADMIN))
    told = Client().get(reverse("api:revenue"), DAYS, headers=admin).json()
    assert (told["net"], told["months"][0]["month"]) == ("200", "2026-04-01")
    assert told["months"][0]["kinds"] == {"energy": "200"}
    assert told["receivables"]["ages"]["days_31_60"] == "238.00"
    assert told["receivables"]["days_outstanding"] == "75.6"
    assert told["unbilled"]["oldest_on"] == "2026-04-01"
    assert [one["net"] for one in told["unbilled_days"]] == ["60.00"]
    narrowed: dict[str, Any] = DAYS | {"cost_centre": "Centre 1", "tariff": made.tariff.pk}
    assert Client().get(reverse("api:revenue"), narrowed, headers=admin).json()["net"] == "100"
    centres = (
        Client()
        .get(reverse("api:cost-centres"), {"month": "2026-03-01", "currency": "EUR"}, headers=admin)
        .json()
    )
    assert [(one["name"], one["share"]) for one in centres["results"]] == [
        ("Centre 0", "0.500000"),
        ("Centre 1", "0.500000"),
    ]


@pytest.mark.parametrize(
    ("route", "asked", "parameter"),
    [
        ("revenue", DAYS | {"until": "2026-01-01"}, "until"),
        ("revenue", DAYS | {"currency": "euro"}, "currency"),
        ("cost-centres", {"month": "2026-03-02", "currency": "EUR"}, "month"),
    ],
)
def test_the_api_names_what_is_wrong(route: str, asked: dict[str, str], parameter: str) -> None:
    made = keep()
    with open_scope(made.scope):
        admin = headers(factories.member(made.tenant, Role.ADMIN))
    answer = Client().get(reverse(f"api:{route}"), asked, headers=admin)
    assert answer.status_code == 400
    assert [one["parameter"] for one in answer.json()["errors"]] == [parameter]


@pytest.mark.parametrize(("route", "asked"), [("revenue", MONTHS), ("cost-centres", MARCH)])
def test_pages_take_the_same_queries_however_much_there_is(
    route: str, asked: dict[str, str]
) -> None:
    counts = []
    for count in (1, 3):
        client = books(count).browser()
        client.get(reverse(route), asked)
        with CaptureQueriesContext(connection) as found:
            assert client.get(reverse(route), asked).status_code == 200
        counts.append(len(found))
    assert counts[0] == counts[1]

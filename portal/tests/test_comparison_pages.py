"""Comparing tariffs: in the portal, at home and over the API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from billing.models import Agreement, Tariff, TariffComparison
from billing.tests import factories as billing
from billing.tests.test_comparisons import billed
from devices.domain.operations import grant_facility
from devices.models import Facility
from portal.tests import home
from tenants.models import Membership, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import member, tenant

pytestmark = pytest.mark.django_db

FORM = {"first": "2026-03-01", "last": "2026-03-31"}


@dataclass(frozen=True)
class Shop:
    """A tenant with two customers and a cheaper tariff."""

    tenant: Tenant
    agreements: tuple[Agreement, ...]
    cheap: Tariff
    operator: Client

    @property
    def scope(self) -> Scope:
        return Scope((self.tenant.pk,))

    def ask(self, **values: Any) -> Any:
        """Send the form."""
        return self.operator.post(reverse("comparison-create"), FORM | values)


def _cheap(of: Tenant) -> Tariff:
    energy = {"name": "energy", "kind": "energy", "prices": "0.30"}
    return billing.tariff(
        of, {"tariff": 1, "name": "Cheap", "currency": "EUR", "components": [energy]}
    )


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    made, client = tenant(), Client()
    with open_scope(Scope((made.pk,))):
        agreements = tuple(billed(made) for _ in range(3))
        client.force_login(member(made, Role.OPERATOR).user)
        yield Shop(made, agreements, _cheap(made), client)


def _member_at(shop: Shop, role: Role, at: Facility) -> Membership:
    made = member(shop.tenant, role)
    grant_facility(membership_id=made.pk, facility_id=at.pk, actor_id=None)
    return made


def test_the_form_begins_with_the_agreement_and_last_year(shop: Shop) -> None:
    [first, *_others] = shop.agreements
    page = shop.operator.get(reverse("agreement", args=[first.pk])).content.decode()
    address = f"{reverse('comparison-create')}?agreement={first.pk}"
    assert f'href="{address}"' in page
    form = shop.operator.get(address)
    assert form.context["form"].initial["whose"] == f"agreement:{first.pk}"
    first_day, last_day = (form.context["form"].initial[name] for name in ("first", "last"))
    assert (last_day - first_day).days in {364, 365}
    assert f'<option value="agreement:{first.pk}" selected>' in form.content.decode()


def test_an_agreement_is_compared_with_tariffs_and_a_battery(shop: Shop) -> None:
    whose = f"agreement:{shop.agreements[0].pk}"
    sent = shop.ask(whose=whose, capacity_kwh="5", kwp="3", lowest_peak="on")
    row = TariffComparison.objects.get()
    address = reverse("comparison", args=[row.pk])
    assert (sent.status_code, sent["Location"]) == (302, address)
    text = shop.operator.get(address).content.decode()
    assert shop.cheap.name in text
    assert "118.88\N{NO-BREAK SPACE}EUR" not in text
    assert "Lost in the battery" in text
    assert "<svg" in text
    assert "March 2026" in text
    assert "60 % come through clouds" in text
    again = shop.operator.get(f"{reverse('comparison-create')}?again={row.pk}")
    assert again.context["form"].initial["capacity_kwh"] == 5
    assert address in again.content.decode()
    missing = shop.operator.get(f"{reverse('comparison-create')}?again={2**40}")
    assert missing.status_code == 404


def test_all_agreements_are_computed_by_a_worker(
    shop: Shop, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        shop.ask(whose="all:EUR")
    row = TariffComparison.objects.get()
    address = reverse("comparison", args=[row.pk])
    waiting = shop.operator.get(address).content.decode()
    assert "0 of 3 agreements are computed." in waiting
    assert "data-refresh=" in waiting
    for callback in callbacks:
        callback()
    done = shop.operator.get(address).content.decode()
    # 3 × 297.2 kWh at 0.40, and at 0.30.
    assert "356.64\N{NO-BREAK SPACE}EUR" in done
    assert "\N{MINUS SIGN}89.16\N{NO-BREAK SPACE}EUR" in done
    assert "data-refresh=" not in done


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"whose": ""}, "This field is required."),
        ({"last": "2026-02-01"}, "The last day is before the first."),
        ({"first": "2020-03-01"}, "Choose a time of one day to two years."),
        ({"lowest_peak": "on"}, "A battery is to lower the peak: which one?"),
        ({"kwp": "-1"}, "greater than or equal to 0.001"),
    ],
)
def test_what_is_wrong_is_told_at_the_form(
    shop: Shop, values: dict[str, str], sentence: str
) -> None:
    answer = shop.ask(**{"whose": f"agreement:{shop.agreements[0].pk}"} | values)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()


def test_coordinates_that_are_missing_are_asked_for(shop: Shop) -> None:
    of = shop.agreements[0]
    Facility.objects.filter(pk=of.facility_id).update(latitude=None, longitude=None)
    answer = shop.ask(whose=f"agreement:{of.pk}", kwp="3")
    assert answer.status_code == 422
    assert "its latitude and longitude are entered" in answer.content.decode()


def _queries(client: Client, address: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert client.get(address).status_code == 200
    return len(found)


def test_pages_take_the_same_queries_for_more_of_everything(shop: Shop) -> None:
    form = reverse("comparison-create")
    shop.ask(whose=f"agreement:{shop.agreements[0].pk}")
    address = reverse("comparison", args=[TariffComparison.objects.get().pk])
    # The session is known afterwards.
    shop.operator.get(form)
    before = _queries(shop.operator, form), _queries(shop.operator, address)
    for _ in range(3):
        billing.comparison(billed(shop.tenant))
        _cheap(shop.tenant)
    shop.ask(whose=f"agreement:{shop.agreements[0].pk}")
    newest = reverse("comparison", args=[TariffComparison.objects.latest("asked_at").pk])
    assert (_queries(shop.operator, form), _queries(shop.operator, newest)) == before


def test_a_tariff_is_offered_to_customers(shop: Shop) -> None:
    address = reverse("tariff-edit", args=[shop.cheap.pk])
    shop.operator.post(address, {"name": shop.cheap.name, "offered": "on"})
    page = shop.operator.get(reverse("tariff", args=[shop.cheap.pk])).content.decode()
    assert "Offered to customers" in page
    shop.operator.post(address, {"name": shop.cheap.name})
    shop.cheap.refresh_from_db()
    assert shop.cheap.offered is False


def test_a_customer_compares_the_own_agreement_at_home(
    shop: Shop, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    mine, others, _third = shop.agreements
    me = _member_at(shop, Role.CONSUMER, mine.facility)
    neighbour = _member_at(shop, Role.CONSUMER, mine.facility)
    Agreement.objects.filter(pk=mine.pk).update(user=me.user)
    # What is on offer, and something that is not.
    Tariff.objects.filter(pk=shop.cheap.pk).update(offered=True)
    hidden = _cheap(shop.tenant)
    browser = home.signed_in(me.user)
    assert reverse("consumer:compare") in browser.get("/home/bills/").content.decode()
    page = browser.get("/home/compare/").content.decode()
    assert f'name="agreement" value="{mine.pk}"' in page
    assert browser.post("/home/compare/", {"agreement": others.pk}).status_code == 404
    wrong = browser.post("/home/compare/", {"agreement": mine.pk, "kwp": "many", "kwh": "2,5"})
    assert wrong.status_code == 422
    said = wrong.content.decode()
    assert "Give a size as a number" in said
    # What was typed is there to be mended.
    assert ('name="kwp" value="many"' in said, 'name="kwh" value="2,5"' in said) == (True, True)
    with django_capture_on_commit_callbacks() as callbacks:
        sent = browser.post("/home/compare/", {"agreement": mine.pk, "kwh": "2,5"})
    row = TariffComparison.objects.get()
    # The last twelve months are those of the clock: here it is March that has been measured.
    TariffComparison.objects.update(first_on=date(2025, 4, 1), end_on=date(2026, 4, 1))
    assert "being computed" in browser.get(sent["Location"]).content.decode()
    for callback in callbacks:
        callback()
    text = browser.get(sent["Location"]).content.decode()
    assert f"With “{shop.cheap.name}” you would have paid 29.72\N{NO-BREAK SPACE}EUR less." in text
    assert "with a battery of 2.5 kWh" in text
    # The agreement has begun in March: the sums are no year's.
    assert ("March 2026" in text, "Twelve months" in text) == (True, False)
    assert "your tariff" in text
    assert hidden.name not in text
    assert row.title in browser.get("/home/compare/").content.decode()
    # Who lives there as well has not asked, and has no agreement.
    other = home.signed_in(neighbour.user)
    assert other.get(sent["Location"]).status_code == 404
    assert other.post("/home/compare/", {"agreement": mine.pk}).status_code == 404
    assert "no agreement in your name" in other.get("/home/compare/").content.decode()


def test_the_api_compares(shop: Shop) -> None:
    of = shop.agreements[0]
    body: dict[str, Any] = {
        "agreement": of.pk,
        "tariffs": [shop.cheap.pk],
        "first_on": "2026-03-01",
        "end_on": "2026-04-01",
        "battery": {"capacity_kwh": 5, "power_kw": 2.5},
    }
    address = reverse("api:comparison-list")
    asked = shop.operator.post(address, body, content_type="application/json")
    assert asked.status_code == 201, asked.content
    told = asked.json()
    assert (told["state"], told["current_total"]) == ("done", "118.88")
    assert [(one["tariff"], one["total"], one["difference"]) for one in told["candidates"]] == [
        (shop.cheap.pk, "89.16", "-29.72"),
        (of.tariffs.get().tariff_id, "118.88", "0.00"),
    ]
    assert told["candidates"][0]["months"] == [{"first_on": "2026-03-01", "total": "89.16"}]
    assert told["energy_kwh"]["imported"] == "297.2"
    assert told["peak_kw"] == "0.4"
    fetched = shop.operator.get(reverse("api:comparison", args=[told["id"]]))
    assert fetched.json() == told
    for wrong, name in (
        ({"end_on": "2020-01-01"}, "end_on"),
        ({"tariffs": [2**40]}, "tariffs"),
        ({"battery": {"capacity_kwh": -1, "power_kw": 1}}, "battery"),
    ):
        refused = shop.operator.post(address, body | wrong, content_type="application/json")
        assert refused.status_code == 400
        assert name in {one["parameter"] for one in refused.json()["errors"]}


def test_who_reaches_one_facility_compares_what_is_there(shop: Shop) -> None:
    here, elsewhere, _third = shop.agreements
    client = Client()
    client.force_login(_member_at(shop, Role.MANAGER, here.facility).user)
    page = client.get(reverse("comparison-create"))
    assert here.number in page.content.decode()
    assert elsewhere.number not in page.content.decode()
    assert page.context["form"].fields.keys().isdisjoint({"tariffs", "drafts"})
    sent = client.post(reverse("comparison-create"), FORM | {"whose": f"agreement:{here.pk}"})
    assert sent.status_code == 302
    assert client.get(sent["Location"]).status_code == 200
    theirs = billing.comparison(elsewhere)
    assert client.get(reverse("comparison", args=[theirs.pk])).status_code == 404
    refused = client.post(
        reverse("comparison-create"), FORM | {"whose": f"agreement:{elsewhere.pk}"}
    )
    assert refused.status_code == 422

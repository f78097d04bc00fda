"""Billing against whoever sends what nobody should, and reads what is not theirs."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from billing.models import BillFile
from billing.tests import factories as billing
from portal.tests import home
from portal.tests.test_api_billing import World
from portal.tests.test_api_billing import _faults as faults
from portal.tests.test_api_billing import _send as send
from portal.tests.test_api_billing import world as world
from portal.tests.test_billing_pages import keep
from tenants.scope import open_scope

pytestmark = pytest.mark.django_db

_FAR = ("0001-01-01", "9999-12-31")


@pytest.mark.parametrize("day", _FAR)
@pytest.mark.parametrize(
    ("route", "names"),
    [
        ("bill-journal", ("first", "last")),
        ("revenue", ("first", "last")),
        ("cost-centres", ("month",)),
    ],
)
def test_a_page_asked_for_days_that_nobody_means_is_answered(
    route: str, names: tuple[str, ...], day: str
) -> None:
    client = keep().browser()
    value = day if route == "bill-journal" else day[:7]
    asked: dict[str, str] = dict.fromkeys(names, value)
    answer = client.get(reverse(route), asked)
    assert set(answer.context["form"].errors) == set(names)
    assert "between the years 1971 and 2199" in answer.content.decode()


@pytest.mark.parametrize("day", _FAR)
def test_a_preview_of_a_month_that_nobody_means_is_answered(day: str) -> None:
    books = keep()
    with open_scope(books.scope):
        version = billing.version(books.tariff, {}, revision=2, published=False)
    asked = {"agreement": str(books.agreements[0].pk), "month": day[:7]}
    answer = books.browser().get(reverse("tariff-version-preview", args=[version.pk]), asked)
    assert list(answer.context["form"].errors) == ["month"]


@pytest.mark.parametrize("at", [f"{_FAR[0]}T00:00", f"{_FAR[1]}T23:45"])
def test_a_meter_from_an_instant_that_nobody_means_is_refused(at: str) -> None:
    books = keep()
    address = reverse("agreement-meter-add", args=[books.agreements[0].pk])
    answer = books.browser().post(address, {"starts_at": at})
    assert answer.status_code == 422
    assert "between the years" in str(answer.context["form"].errors["starts_at"])


@pytest.mark.parametrize("day", _FAR)
@pytest.mark.parametrize(
    ("method", "route", "parameter", "body"),
    [
        ("POST", "payment-list", "received_on", {"amount": "1", "currency": "EUR"}),
        ("POST", "customer-protection", "until", {"protected": True, "reason": "x"}),
        ("POST", "bill-run-list", "first_on", {}),
    ],
)
def test_a_request_with_days_that_nobody_means_is_refused(
    world: World, client: Client, method: str, route: str, parameter: str, body: Any, day: str
) -> None:
    with open_scope(world.scope):
        made = billing.agreement(world.facility)
    if route == "payment-list":
        body = {**body, "agreement": made.pk, "request_key": "k"}
    key = (made.customer_id,) if route == "customer-protection" else ()
    if key:
        method = "PUT"
    answer = send(client, world.admin, method, route, *key, **{**body, parameter: day})
    assert faults(answer) == [parameter]
    assert "between the years" in answer.json()["errors"][0]["detail"]


def test_half_a_character_is_refused_with_the_parameter(world: World, client: Client) -> None:
    answer = send(client, world.admin, "POST", "customer-list", name="Ada", kind="\ud800")
    assert faults(answer) == ["kind"]
    answer = send(client, world.admin, "POST", "customer-list", **{"name": "Ada", "\ud800": 1})
    assert faults(answer) == ["?"]


def test_a_document_that_cannot_be_shown_is_told_to_the_customer(world: World) -> None:
    with open_scope(world.scope):
        billed = billing.bill(billing.agreement(world.facility, user=world.consumer_user))
        BillFile.objects.create(
            tenant=world.tenant,
            bill=billed,
            facility=world.facility,
            kind="pdf",
            sha256="0" * 64,
            size=1,
            created_at=billing.START,
        )
    browser = home.signed_in(world.consumer_user)
    answer = browser.get(reverse("consumer:bill-pdf", args=[billed.pk]))
    assert answer.status_code == 409
    assert "This document cannot be shown" in answer.content.decode()

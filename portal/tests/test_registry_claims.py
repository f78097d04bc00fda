"""Claiming by pages: codes issued, printed, scanned, guessed."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from pytest_django import Settings
from redis import Redis

from devices.domain import operations
from devices.domain.claims_code import Code
from devices.ingest.queue import EVICT, EVICT_CHANNEL, decode_rows
from devices.models import ClaimCode, Device, DeviceState, Facility
from devices.tests import factories
from portal.enterprise.registry import guesses, labels
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import operator

pytestmark = pytest.mark.django_db


@dataclass
class Stock:
    """A maker with planned devices, and a client below it with a facility and people."""

    maker: Tenant
    devices: list[Device]
    keeper: User
    client: Tenant
    facility: Facility
    technician: User

    @property
    def at_maker(self) -> Client:
        """Whoever keeps the stock."""
        return _signed_in(self.keeper)

    @property
    def at_client(self) -> Client:
        """Whoever installs."""
        return _signed_in(self.technician)


def _signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def stock() -> Stock:
    cache.clear()  # guesses of other tests
    maker = operator()
    client = factories.tenant(maker)
    with open_scope(Scope((maker.pk,))):
        at, kind = factories.facility(maker), factories.device_type(maker)
        devices = [factories.device(at, kind, state=DeviceState.PLANNED).device for _ in range(3)]
        keeper = factories.member(maker, Role.TECHNICIAN).user
    with open_scope(Scope((client.pk,))):
        place = factories.facility(client)
        technician = factories.member(client, Role.TECHNICIAN).user
    return Stock(maker, devices, keeper, client, place, technician)


def _issue(stock: Stock) -> list[str]:
    ids = [str(device.pk) for device in stock.devices]
    answer = stock.at_maker.post(reverse("code-issue"), {"device": ids, "days": "30"})
    assert answer.status_code == 200
    return [one["code"] for one in answer.context["issued"]]


def _claim(client: Client, code: str, facility: Facility, **changes: str) -> Any:
    form = {"facility": str(facility.pk), "name": "Mains", "placement": "mains", **changes}
    return client.post(reverse("claim-code", args=[code]), form)


def test_a_code_is_issued_printed_scanned_and_used(stock: Stock) -> None:
    codes = _issue(stock)
    ids = [device.pk for device in stock.devices]
    sheet = stock.at_maker.get(reverse("code-labels"), {"device": ids})
    text = sheet.content.decode()
    assert all(code in text for code in codes)
    assert text.count("<svg") >= 3
    assert re.findall(r"<style|\sstyle=|<script(?![^>]*\ssrc=)", text) == []

    offer = stock.at_client.get(reverse("claim-code", args=[codes[0]]))
    shown = html.unescape(offer.content.decode())
    assert stock.devices[0].serial in shown
    assert stock.maker.name in shown
    answer = _claim(stock.at_client, codes[0], stock.facility)
    assert answer["Location"] == reverse("device", args=[stock.devices[0].pk])
    with open_scope(Scope((stock.client.pk,))):
        device = Device.objects.get(pk=stock.devices[0].pk)
        assert (device.state, device.facility_id) == ("active", stock.facility.pk)
    again = stock.at_client.get(reverse("claim-code", args=[codes[0]]))
    assert again.status_code == 404
    assert "has been used" in again.content.decode()


def test_a_label_leads_to_the_claim_page(settings: Settings) -> None:
    settings.PUBLIC_URL = "https://energy.example.org"
    code = Code.draw().text
    assert labels.claim_address(code) == f"https://energy.example.org/claim/{code}"
    assert "style" not in labels.qr(labels.claim_address(code))


def test_somebody_who_scans_signs_in_first(stock: Stock) -> None:
    address = reverse("claim-code", args=[_issue(stock)[0]])
    assert Client().get(address)["Location"] == f"{reverse('login')}?next={address}"


def test_a_typed_code_leads_on_and_a_mistyped_one_costs_nothing(stock: Stock) -> None:
    code = _issue(stock)[0]
    typed = code.lower().replace("-", " ")
    answer = stock.at_client.post(reverse("claim"), {"code": typed})
    assert answer["Location"] == reverse("claim-code", args=[code])
    wrong = ("0" if code[0] != "0" else "1") + code[1:]
    for _ in range(2 * guesses.USER.guesses):
        answer = stock.at_client.post(reverse("claim"), {"code": wrong})
        assert "mistyped" in str(answer.context["form"].errors["code"])
    assert stock.at_client.get(reverse("claim-code", args=[code])).status_code == 200


def test_guessing_comes_to_an_end(stock: Stock) -> None:
    code = _issue(stock)[0]
    statuses = [
        stock.at_client.get(reverse("claim-code", args=[Code.draw().text])).status_code
        for _ in range(guesses.USER.guesses + 1)
    ]
    assert statuses == [*[404] * guesses.USER.guesses, 429]
    assert stock.at_client.get(reverse("claim-code", args=[code])).status_code == 429
    # Others at other places are not held up by it.
    assert stock.at_maker.get(reverse("claim-code", args=[code])).status_code == 200


def test_a_code_says_nothing_to_a_stranger(stock: Stock) -> None:
    code = _issue(stock)[0]
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        facility = factories.facility(other)
        stranger = _signed_in(factories.member(other, Role.ADMIN).user)
    for answer in (
        stranger.get(reverse("claim-code", args=[code])),
        _claim(stranger, code, facility),
    ):
        assert answer.status_code == 404
        assert stock.devices[0].serial not in answer.content.decode()


def test_another_tenants_facility_is_no_choice(stock: Stock) -> None:
    code = _issue(stock)[0]
    foreign = Facility(pk=stock.devices[0].facility_id)  # the maker's own
    answer = _claim(stock.at_client, code, foreign)
    assert answer.status_code == 422
    assert "no such facility" in str(answer.context["form"].errors["facility"])
    assert "required" in str(_claim(stock.at_client, code, stock.facility, name="").content)


def test_a_consumer_claims_into_the_own_home(stock: Stock) -> None:
    code = _issue(stock)[0]
    with open_scope(Scope((stock.client.pk,))):
        other = factories.facility(stock.client)
        member = factories.member(stock.client, Role.CONSUMER)
        operations.grant_facility(
            membership_id=member.pk, facility_id=stock.facility.pk, actor_id=None
        )
    consumer = _signed_in(member.user)
    page = consumer.get(reverse("claim-code", args=[code])).content.decode()
    assert other.name not in page
    assert _claim(consumer, code, other).status_code == 422
    assert _claim(consumer, code, stock.facility)["Location"] == reverse("overview")
    with open_scope(Scope((stock.client.pk,))):
        assert Device.objects.get(pk=stock.devices[0].pk).facility_id == stock.facility.pk


def test_who_has_no_facility_yet_is_told(stock: Stock) -> None:
    code = _issue(stock)[0]
    empty = factories.tenant(stock.maker)
    with open_scope(Scope((empty.pk,))):
        user = factories.member(empty, Role.ADMIN).user
    page = _signed_in(user).get(reverse("claim-code", args=[code]))
    assert "You have no facility" in page.content.decode()


def test_codes_are_withdrawn(stock: Stock) -> None:
    code = _issue(stock)[0]
    with open_scope(Scope((stock.maker.pk,))):
        row = ClaimCode.objects.get(device=stock.devices[0])
    listed = stock.at_maker.get(reverse("code-list")).content.decode()
    assert row.ending in listed
    assert code not in listed
    answer = stock.at_maker.post(reverse("code-withdraw"), {"code": str(row.pk)})
    assert answer["Location"] == reverse("code-list")
    refused = stock.at_client.get(reverse("claim-code", args=[code]))
    assert "withdrawn" in refused.content.decode()
    # A client's technician withdraws nothing of the maker's.
    assert stock.at_client.post(reverse("code-withdraw"), {"code": str(row.pk)}).status_code == 404


def test_codes_of_another_tenants_devices_are_neither_issued_nor_printed(stock: Stock) -> None:
    codes = _issue(stock)
    ids = [str(device.pk) for device in stock.devices]
    answer = stock.at_client.post(reverse("code-issue"), {"device": ids, "days": "30"})
    assert answer.context["issued"] == []
    sheet = stock.at_client.get(reverse("code-labels"), {"device": ids}).content.decode()
    assert not any(code in sheet for code in codes)
    assert "None of the chosen codes" in sheet


def test_nothing_chosen_leads_back_to_the_list(stock: Stock) -> None:
    for form in ({"days": "30"}, {"days": "31", "device": "1"}, {"days": "30", "device": "x"}):
        answer = stock.at_maker.post(reverse("code-issue"), form)
        assert answer["Location"] == reverse("device-list")


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_bridges_hear_of_a_claimed_device_after_the_commit(
    stock: Stock, settings: Settings
) -> None:
    code = _issue(stock)[0]
    with Redis.from_url(settings.REDIS_URL) as redis, redis.pubsub() as heard:
        heard.subscribe(EVICT_CHANNEL)
        heard.get_message(timeout=5)
        assert _claim(stock.at_client, code, stock.facility).status_code == 302
        message = heard.get_message(timeout=5)
    assert message is not None
    (row,) = decode_rows(message["data"], EVICT)
    assert int(row["device_id"]) == stock.devices[0].pk

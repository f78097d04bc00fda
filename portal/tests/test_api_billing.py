"""Billing over the REST API: from a tariff to an account, and what a consumer sees of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pytest_django import Settings

from billing.domain import drafts, finalising
from billing.domain.drafts import Known
from billing.domain.runs_listing_operations import list_more
from billing.models import (
    Agreement,
    BillingSettings,
    BillRun,
    BillRunItem,
    EntryKind,
    ItemState,
    PriceValue,
    RunState,
    TariffVersion,
)
from billing.tariffs import document
from billing.tests import factories, readings
from devices.domain import operations as park
from devices.models import Channel, Facility
from devices.tests.factories import device, facility, member
from portal.benchmarks import tokens
from tenants.models import Tenant, User
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories as people

TEXT = """\
tariff: 1
name: Flat
currency: EUR
components:
  - {name: energy, kind: energy, prices: 0.30}
"""


@dataclass(frozen=True)
class World:
    """A tenant with a facility and its meter; the headers of an administrator, of another one, and
    of a consumer of the facility.
    """

    tenant: Tenant
    facility: Facility
    channel: Channel
    admin: dict[str, str]
    second: dict[str, str]
    consumer: dict[str, str]
    consumer_user: User

    @property
    def scope(self) -> Scope:
        return Scope((self.tenant.pk,))


def _headers(tenant: Tenant, user: User) -> dict[str, str]:
    scopes = frozenset(ACCESS_SCOPES) - PERSONAL_SCOPES
    made = tokens.application(tenant_id=tenant.pk, scopes=scopes)
    value, _row = tokens.issue(made, user_id=user.pk, scopes=scopes)
    return {"Authorization": f"Bearer {value}"}


@pytest.fixture
def world(db: None) -> World:
    """Without a scope: each request opens its own."""
    tenant = people.tenant()
    with open_scope(Scope((tenant.pk,))):
        at = facility(tenant)
        admin, second = (member(tenant, Role.ADMIN).user for _ in range(2))
        consuming = member(tenant, Role.CONSUMER)
        park.grant_facility(membership_id=consuming.pk, facility_id=at.pk, actor_id=None)
        return World(
            tenant,
            at,
            device(at).device.channels.get(number=0),
            _headers(tenant, admin),
            _headers(tenant, second),
            _headers(tenant, consuming.user),
            consuming.user,
        )


def _send(
    client: Client, headers: Mapping[str, str], method: str, route: str, *key: int, **body: Any
) -> Any:
    path = reverse(f"api:{route}", args=key)
    return client.generic(method, path, json.dumps(body), "application/json", headers=headers)


def _faults(answer: Any) -> list[str]:
    assert answer.status_code == 400, answer.content
    return [error["parameter"] for error in answer.json()["errors"]]


def _published(client: Client, world: World) -> int:
    """The id of a tariff with prices."""
    made = _send(
        client, world.admin, "POST", "tariff-list", name="Household", currency="EUR"
    ).json()
    draft = _send(
        client,
        world.admin,
        "POST",
        "version-list",
        made["id"],
        valid_from="2020-01-01",
        text=TEXT,
        reason="From the beginning",
    ).json()
    assert draft["state"] == "draft"
    done = _send(client, world.admin, "POST", "version-publish", draft["id"])
    assert done.json()["state"] == "published"
    found: int = made["id"]
    return found


def test_a_tariff_lives_over_the_api(world: World, client: Client) -> None:
    key = _published(client, world)
    [listed] = client.get(reverse("api:version-list", args=[key]), headers=world.admin).json()[
        "results"
    ]
    whole = client.get(reverse("api:version", args=[listed["id"]]), headers=world.admin).json()
    assert (whole["text"], whole["document"]["currency"]) == (TEXT, "EUR")
    copy = _send(
        client, world.admin, "POST", "version-duplicate", whole["id"], valid_from="2099-01-01"
    ).json()
    assert (copy["state"], copy["sha256"]) == ("draft", whole["sha256"])
    changed = _send(
        client,
        world.admin,
        "PUT",
        "version",
        copy["id"],
        valid_from="2099-01-01",
        text=TEXT.replace("0.30", "0.40"),
    ).json()
    assert changed["sha256"] != whole["sha256"]
    gone = _send(client, world.admin, "DELETE", "version", copy["id"])
    assert gone.status_code == 204
    kept = _send(client, world.admin, "DELETE", "version", whole["id"])
    assert _faults(kept) == [""]
    archived = _send(client, world.admin, "POST", "tariff-archive", key).json()
    assert archived["archived_at"] is not None
    query = {"archived": "false"}
    left = client.get(reverse("api:tariff-list"), query, headers=world.admin).json()
    assert left["results"] == []


def test_what_is_no_tariff_is_told_and_not_kept(world: World, client: Client) -> None:
    made = _send(client, world.admin, "POST", "tariff-list", name="New", currency="EUR").json()
    draft = {"valid_from": "2030-01-01", "text": TEXT.replace("prices", "price")}
    answer = _send(client, world.admin, "POST", "version-list", made["id"], **draft)
    assert "components[0].prices: This is missing" in str(answer.json()["errors"])
    assert set(_faults(answer)) == {"text"}
    tried = _send(client, world.admin, "POST", "tariff-check", **draft).json()
    assert "components[0].prices" in [one["path"] for one in tried["problems"]]
    fine = _send(client, world.admin, "POST", "tariff-check", **draft | {"text": TEXT}).json()
    assert (fine["problems"], fine["zones"]) == ([], ["Europe/Berlin"])
    with open_scope(world.scope):
        assert not TariffVersion.objects.exists()


def test_prices_are_entered_once_and_gaps_are_told(world: World, client: Client) -> None:
    made = _send(
        client, world.admin, "POST", "price-series-list", name="day-ahead", currency="EUR"
    ).json()
    sent = {"prices": [{"starts_at": "2026-03-01T01:00:00Z", "price": "-0.0125"}]}
    for entered in (1, 0):
        answer = _send(client, world.admin, "POST", "price-list", made["id"], **sent)
        assert answer.json() == {"entered": entered, "unchanged": 1 - entered}
    window = {"start": "2026-03-01T00:00:00Z", "end": "2026-03-01T02:00:00Z"}
    found = client.get(
        reverse("api:price-list", args=[made["id"]]), window, headers=world.admin
    ).json()
    assert found == {
        "prices": [{"starts_at": "2026-03-01T01:00:00Z", "price": "-0.0125"}],
        "gaps": [{"starts_at": "2026-03-01T00:00:00Z", "ends_at": "2026-03-01T01:00:00Z"}],
    }
    off = {"prices": [{"starts_at": "2026-03-01T01:07:00Z", "price": "1"}]}
    refused = _send(client, world.admin, "POST", "price-list", made["id"], **off)
    assert _faults(refused) == ["prices"]
    with open_scope(world.scope):
        assert PriceValue.objects.count() == 1


def _agreement(client: Client, world: World, **values: Any) -> Any:
    customer = _send(
        client,
        world.admin,
        "POST",
        "customer-list",
        name="Ada Byron",
        user=world.consumer_user.pk,
    ).json()
    body = {
        "customer": customer["id"],
        "facility": world.facility.pk,
        "starts_on": "2026-03-01",
        "tariff": _published(client, world),
        "meters": [{"channel": world.channel.pk}],
    }
    return _send(client, world.admin, "POST", "agreement-list", **body | values)


def test_an_agreement_lives_over_the_api(world: World, client: Client) -> None:
    made = _agreement(client, world)
    assert made.status_code == 201
    body = made.json()
    assert (body["number"], body["currency"]) == ("A00001", "EUR")
    [meter] = body["meters"]
    assert (meter["share"], meter["starts_at"]) == ("1", "2026-02-28T23:00:00Z")
    key = body["id"]
    changed = _send(client, world.admin, "PATCH", "agreement", key, cost_centre="4711").json()
    assert (changed["cost_centre"], changed["payment_days"]) == ("4711", 14)
    halved = _send(
        client,
        world.admin,
        "POST",
        "agreement-meter",
        key,
        meter["id"],
        at="2026-04-01T00:15:00+02:00",
        share="0.5",
    ).json()
    assert halved.get("errors") is None
    assert [one["share"] for one in halved["meters"]] == ["1", "0.5"]
    too_much = _send(
        client,
        world.admin,
        "POST",
        "agreement-meters",
        key,
        channel=world.channel.pk,
        share="0.6",
        starts_at="2026-05-01T00:00:00Z",
    )
    assert _faults(too_much) == ["share"]
    newcomer = _send(client, world.admin, "POST", "customer-list", name="Bob").json()
    moved = _send(
        client,
        world.admin,
        "POST",
        "agreement-move-out",
        key,
        ends_on="2026-06-01",
        successor={"customer": newcomer["id"]},
    ).json()
    assert moved["ended"]["ends_on"] == "2026-06-01"
    assert moved["successor"]["customer"] == newcomer["id"]
    # Each has a half of the meter.
    again = _send(client, world.admin, "POST", "agreement-reopen", key).json()
    assert again["ends_on"] is None


def test_what_does_not_fit_is_told_by_member(world: World, client: Client) -> None:
    customer = _send(client, world.admin, "POST", "customer-list", name="Ada Byron").json()
    body = {
        "customer": customer["id"],
        "facility": world.facility.pk,
        "starts_on": "2026-03-01",
        "tariff": _published(client, world),
    }
    for values, member_ in (
        ({"customer": 2**40}, "customer"),
        ({"facility": 2**40}, "facility"),
        ({"tariff": 2**40}, "tariff"),
        ({"starts_on": "soon"}, "starts_on"),
        ({"meters": [{"channel": 2**40}]}, "channel"),
        ({"colour": "red"}, "colour"),
        ({"mode": "free"}, "mode"),
    ):
        answer = _send(client, world.admin, "POST", "agreement-list", **body | values)
        assert _faults(answer) == [member_]
    with open_scope(world.scope):
        assert not Agreement.objects.exists()


def test_a_consumer_sees_the_own_agreements_and_bills_alone(world: World, client: Client) -> None:
    with open_scope(world.scope):
        former = factories.agreement(world.facility)
        own = factories.agreement(
            world.facility, user=world.consumer_user, starts_on=date(2026, 4, 1)
        )
        theirs, mine = factories.bill(former), factories.bill(own)
        draft = factories.bill(
            factories.agreement(world.facility, user=world.consumer_user), final=False
        )
        factories.entry(own, Decimal("12.5"), EntryKind.BILL, bill=mine)

    def ids(headers: Mapping[str, str], route: str) -> list[int]:
        found = client.get(reverse(f"api:{route}"), headers=headers).json()["results"]
        return [one["id"] for one in found]

    assert ids(world.admin, "bill-list") == [theirs.pk, mine.pk, draft.pk]
    assert ids(world.consumer, "bill-list") == [mine.pk]
    assert former.pk not in ids(world.consumer, "agreement-list")
    assert own.pk in ids(world.consumer, "agreement-list")
    for route, key in (
        ("bill", theirs.pk),
        ("bill", draft.pk),
        ("agreement", former.pk),
        ("agreement-account", former.pk),
        ("agreement-entries", former.pk),
    ):
        path = reverse(f"api:{route}", args=[key])
        assert client.get(path, headers=world.consumer).status_code == 404
        assert client.get(path, headers=world.admin).status_code == 200
    shown = client.get(reverse("api:bill", args=[mine.pk]), headers=world.consumer).json()
    assert (shown["bill"]["total"], shown["bill"]["net"]) == ("119.00", "100.00")
    assert [line["amount"] for line in shown["lines"]] == ["100"]
    account = client.get(
        reverse("api:agreement-account", args=[own.pk]), headers=world.consumer
    ).json()
    assert account["balance"]["owed"] == "12.50"
    assert [one["open"] for one in account["open_items"]] == ["12.50"]
    # What concerns the organisation as a whole is not a consumer's.
    for route in ("customer-list", "tariff-list", "payment-list", "bill-run-list"):
        assert ids(world.consumer, route) == []


def test_a_session_of_a_consumer_is_held_to_the_same(world: World, client: Client) -> None:
    with open_scope(world.scope):
        former = factories.bill(factories.agreement(world.facility))
        own = factories.bill(factories.agreement(world.facility, user=world.consumer_user))
    client.force_login(world.consumer_user)
    found = client.get(reverse("api:bill-list")).json()["results"]
    assert [one["id"] for one in found] == [own.pk]
    assert client.get(reverse("api:bill", args=[former.pk])).status_code == 404


def test_a_run_is_begun_decided_about_and_approved_by_another(world: World, client: Client) -> None:
    made = _agreement(client, world, starts_on="2026-01-01", meters=[])
    run = _send(client, world.admin, "POST", "bill-run-list", first_on="2026-01-01").json()
    assert (run["state"], run["counts"], run["end_on"]) == ("rating", {}, "2026-02-01")
    with open_scope(world.scope):
        assert list_more(run["id"]) == 1
        BillRun.objects.filter(pk=run["id"]).update(state=RunState.CHECKING)
        BillRunItem.objects.filter(run_id=run["id"]).update(
            state=ItemState.HELD, findings=[{"code": "zero"}]
        )
    path = reverse("api:bill-run-items", args=[run["id"]])
    [item] = client.get(path, {"state": "held"}, headers=world.admin).json()["results"]
    assert (item["agreement"], item["findings"]) == (made.json()["id"], [{"code": "zero"}])
    day = {"issued_on": "2026-02-01"}
    early = _send(client, world.second, "POST", "bill-run-approve", run["id"], **day)
    assert _faults(early) == [""]
    nobody = {"decision": "leave_out", "reason": "Empty"}
    refused = _send(client, world.admin, "POST", "bill-run-items", run["id"], **nobody)
    assert _faults(refused) == ["items"]
    accepted = _send(
        client, world.admin, "POST", "bill-run-items", run["id"], decision="accept", reason="Right"
    ).json()
    assert accepted["counts"] == {"drafted": 1}
    own = _send(client, world.admin, "POST", "bill-run-approve", run["id"], **day)
    assert _faults(own) == [""]
    done = _send(client, world.second, "POST", "bill-run-approve", run["id"], **day).json()
    assert (done["state"], done["issued_on"]) == ("approved", "2026-02-01")
    late = _send(client, world.admin, "POST", "bill-run-cancel", run["id"], reason="No")
    assert _faults(late) == [""]


def test_a_payment_is_entered_once_and_settles(world: World, client: Client) -> None:
    with open_scope(world.scope):
        owed = factories.agreement(world.facility)
        billed = factories.bill(owed)
        factories.entry(owed, billed.total, EntryKind.BILL, bill=billed)
        unknown = factories.payment(world.tenant, Decimal(19))
    body = {
        "agreement": owed.pk,
        "amount": "100",
        "currency": "EUR",
        "received_on": "2026-04-02",
        "request_key": "till 7",
    }
    first, again = (
        _send(client, world.admin, "POST", "payment-list", **body).json() for _ in range(2)
    )
    assert first == again
    account = reverse("api:agreement-account", args=[owed.pk])
    assert client.get(account, headers=world.admin).json()["balance"]["balance"] == "19.00"
    query = {"assigned": "false"}
    left = client.get(reverse("api:payment-list"), query, headers=world.admin).json()["results"]
    assert [one["id"] for one in left] == [unknown.pk]
    given = _send(client, world.admin, "POST", "payment-assign", unknown.pk, agreement=owed.pk)
    assert given.json()["agreement"] == owed.pk
    assert client.get(account, headers=world.admin).json()["open_items"] == []
    entries = client.get(
        reverse("api:agreement-entries", args=[owed.pk]), headers=world.admin
    ).json()["results"]
    assert [one["amount"] for one in entries] == ["119.00", "-100.00", "-19.00"]
    for amount in ("-1", "1000000001"):
        wrong = _send(client, world.admin, "POST", "payment-list", **body | {"amount": amount})
        assert _faults(wrong) == ["amount"]
    assert "at most 1000000000" in wrong.json()["errors"][0]["detail"]


def test_a_key_is_good_for_one_payment(world: World, client: Client) -> None:
    with open_scope(world.scope):
        one, other = (factories.agreement(world.facility) for _ in range(2))
    body = {
        "agreement": one.pk,
        "amount": "100",
        "currency": "EUR",
        "received_on": "2026-04-02",
        "request_key": "till 7",
    }
    assert _send(client, world.admin, "POST", "payment-list", **body).status_code == 201
    for values in ({"agreement": other.pk}, {"amount": "90"}):
        refused = _send(client, world.admin, "POST", "payment-list", **body | values)
        assert _faults(refused) == ["request_key"]


def test_a_tariff_is_tried_on_what_was_used(world: World, client: Client) -> None:
    made = _agreement(client, world).json()
    body = {
        "agreement": made["id"],
        "first_on": "2026-03-01",
        "end_on": "2026-04-01",
        "text": TEXT + "  - {name: base, kind: standing, amount: 10, per: month}\n",
    }
    found = _send(client, world.admin, "POST", "tariff-preview", **body).json()
    assert (found["total"], found["currency"], found["imported_kwh"]) == ("10", "EUR", "0")
    assert found["agreed_total"] == "0"
    assert [line["component"] for line in found["lines"]][-1] == "base"
    for values, member_ in (
        ({"text": "no"}, "text"),
        ({"end_on": "2026-03-01"}, "end_on"),
        ({"first_on": "2025-01-01", "end_on": "2025-02-01"}, "first_on"),
    ):
        refused = _send(client, world.admin, "POST", "tariff-preview", **body | values)
        assert _faults(refused) == [member_]


def test_a_line_opens_to_its_intervals_and_a_bill_to_its_documents(
    world: World, client: Client, settings: Settings, tmp_path: Path
) -> None:
    kept = {
        "BACKEND": "firmware.artifacts.storage.FolderStorage",
        "OPTIONS": {"location": tmp_path / "bills"},
    }
    settings.STORAGES = {**settings.STORAGES, "bills": kept}
    begin = datetime(2026, 2, 28, 23, tzinfo=UTC)
    now = datetime(2026, 4, 2, tzinfo=UTC)
    with open_scope(world.scope):
        BillingSettings.objects.create(
            tenant=world.tenant, legal_name="Stadtwerke", country="DE", vat_id="DE136695976"
        )
        by = factories.tariff(world.tenant, document.load(TEXT))
        made = factories.agreement(world.facility, by=by, user=world.consumer_user)
        channel = readings.power(world.facility)
        readings.meter(made, channel, begin)
        # March in Berlin has an hour less.
        readings.quarters(channel, begin, [250.0] * 743 * 4)
        draft = drafts.compute(
            made.pk, first=factories.FIRST, end=factories.END, known=Known(now, 0)
        )
        [stored] = drafts.store([draft], run_id=None)
        [bill] = finalising.finalise([stored.pk], issued_on=factories.END, now=now)
    shown = client.get(reverse("api:bill", args=[bill.pk]), headers=world.consumer).json()
    assert len(shown["bill"]["evidence_sha256"]) == 64
    [line] = shown["lines"]
    path = reverse("api:bill-line-intervals", args=[bill.pk, line["position"]])
    opened = client.get(path, headers=world.consumer).json()
    assert len(opened["kwh"]) == len(opened["quality"]) == 743 * 4
    assert opened["starts_at"][0] == "2026-02-28T23:00:00Z"
    assert set(opened["quality"]) == {"measured"}
    assert sum(map(Decimal, opened["kwh"])) == Decimal(line["quantity"])
    assert sum(map(Decimal, opened["amount"])) == Decimal(line["amount"])
    other = reverse("api:bill-line-intervals", args=[bill.pk, 99])
    assert client.get(other, headers=world.consumer).status_code == 404
    file = reverse("api:bill-file", args=[bill.pk])
    for query, kind, start in (
        ({}, "application/pdf", b"%PDF-"),
        ({"kind": "ubl"}, "application/xml", b"<?xml"),
    ):
        got = client.get(file, query, headers=world.consumer)
        assert (got.status_code, got["Content-Type"]) == (200, kind)
        assert got.content.startswith(start)
        assert bill.number in got["Content-Disposition"]
    assert client.get(file, {"kind": "doc"}, headers=world.consumer).status_code == 400


def test_settings_are_empty_until_they_are_set(world: World, client: Client) -> None:
    path = reverse("api:billing-settings")
    assert client.get(path, headers=world.admin).json()["legal_name"] == ""
    wrong = _send(client, world.admin, "PUT", "billing-settings", legal_name="F", iban="DE00")
    assert _faults(wrong) == ["iban"]
    _send(client, world.admin, "PUT", "billing-settings", legal_name="Fennel GmbH")
    assert client.get(path, headers=world.admin).json()["legal_name"] == "Fennel GmbH"


@pytest.mark.parametrize("route", ["bill-list", "agreement-list", "customer-list", "bill-run-list"])
def test_lists_take_a_fixed_number_of_queries(world: World, client: Client, route: str) -> None:
    def ask() -> int:
        return len(client.get(reverse(f"api:{route}"), headers=world.admin).json()["results"])

    def more(count: int) -> None:
        with open_scope(world.scope):
            for _ in range(count):
                BillRun.objects.create(
                    tenant=world.tenant,
                    first_on=factories.FIRST,
                    end_on=factories.END,
                    known_at=factories.START,
                )
                factories.bill(factories.agreement(world.facility, channels=(world.channel,)))

    more(1)
    ask()  # the token is known from then on
    with CaptureQueriesContext(connection) as first:
        assert ask() == 1
    more(2)
    with CaptureQueriesContext(connection) as second:
        assert ask() == 3
    assert len(first) == len(second)


def test_a_bill_that_is_no_einvoice_is_told_so(world: World, client: Client) -> None:
    with open_scope(world.scope):
        bill = factories.bill(factories.agreement(world.facility))
    route = reverse("api:bill-file", args=[bill.pk])
    assert client.get(route, {"kind": "pdf"}, headers=world.admin).status_code == 200
    refused = client.get(route, {"kind": "ubl"}, headers=world.admin)
    assert _faults(refused) == ["kind"]
    assert "An e-invoice names the seller's country" in refused.content.decode()

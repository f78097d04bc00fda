"""Wallets, pay-as-you-go units, restatements, refunds and imports over the REST API."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.accounts.tokens import Keys
from billing.models import (
    Agreement,
    Bill,
    BillDelivery,
    BillFile,
    BillingSettings,
    BillLine,
    Mode,
    PaygToken,
    PaygUnit,
    Restatement,
    RestatementState,
    TokenRequest,
)
from billing.tests import factories
from devices.models import Command
from portal.tests.test_api_billing import World, _faults, _send, world
from tenants.models import AuditEntry
from tenants.scope import open_scope

__all__ = ["world"]

KEY = "0123456789abcdef0123456789abcdef"


def _get(client: Client, world: World, route: str, *key: int, who: str = "admin") -> Any:
    return client.get(reverse(f"api:{route}", args=key), headers=getattr(world, who))


def _unit(client: Client, world: World) -> int:
    """A unit that is registered over the API, of the consumer."""
    with open_scope(world.scope):
        agreement = factories.agreement(world.facility, mode=Mode.PAYG, user=world.consumer_user)
        device = world.channel.device_id
    body = {
        "agreement": agreement.pk,
        "device": device,
        "key": KEY,
        "starting_code": 123456789,
        "price_per_day": "0.50",
    }
    answer = _send(client, world.admin, "POST", "payg-unit-list", **body)
    assert answer.status_code == 201, answer.content
    assert KEY not in answer.content.decode()
    assert "starting_code" not in answer.json()
    found: int = answer.json()["id"]
    return found


def test_a_unit_is_registered_and_its_keys_are_never_told(world: World, client: Client) -> None:
    unit = _unit(client, world)
    with open_scope(world.scope):
        row = PaygUnit.objects.get(pk=unit)
        assert row.open_keys() == Keys(KEY, 123456789)
        assert KEY not in row.sealed_keys
        assert all(KEY not in json.dumps(one.after) for one in AuditEntry.objects.all())
    wrong = _send(
        client,
        world.admin,
        "POST",
        "payg-unit-list",
        agreement=row.agreement_id,
        device=row.device_id,
        key="z" * 32,
        starting_code=1,
        price_per_day="1",
    )
    assert _faults(wrong) == ["key"]
    changed = _send(client, world.admin, "PATCH", "payg-unit", unit, price_per_day="0.75")
    assert changed.json()["price_per_day"] == "0.75"
    assert _get(client, world, "payg-unit", unit, who="consumer").json()["price_per_day"] == "0.75"


def test_a_token_without_a_payment_takes_two_persons(world: World, client: Client) -> None:
    unit = _unit(client, world)
    asked = _send(
        client,
        world.admin,
        "POST",
        "payg-unit-tokens",
        unit,
        kind="add_time",
        days="3",
        reason="Storm",
    )
    assert (asked.status_code, asked.json()["state"]) == (201, "waiting")
    pk = asked.json()["id"]
    own = _send(client, world.admin, "POST", "payg-request-decide", pk, decision="issue")
    assert own.status_code == 400
    with open_scope(world.scope):
        assert not PaygToken.objects.exists()
    given = _send(client, world.second, "POST", "payg-request-decide", pk, decision="issue").json()
    assert (given["state"], given["token"]["days"]) == ("issued", "3")
    again = _send(client, world.second, "POST", "payg-request-decide", pk, decision="issue")
    assert again.status_code == 400
    listed = _get(client, world, "payg-unit-tokens", unit, who="consumer").json()["results"]
    assert [one["token"] for one in listed] == [given["token"]["token"]]
    # A consumer sees the own tokens, and not what support asks for.
    assert _get(client, world, "payg-request-list", who="consumer").status_code == 403
    with open_scope(world.scope):
        assert PaygToken.objects.count() == 1
        acts = list(AuditEntry.objects.filter(action__startswith="payg.").values_list("action"))
    assert sorted(acts) == [("payg.ask_token",), ("payg.issue_token",), ("payg.register",)]


def test_a_token_is_refused_or_issued_at_once_where_one_person_is_enough(
    world: World, client: Client
) -> None:
    unit = _unit(client, world)
    body: dict[str, Any] = {"kind": "add_time", "days": "1", "reason": "Goodwill"}
    pk = _send(client, world.admin, "POST", "payg-unit-tokens", unit, **body).json()["id"]
    silent = _send(client, world.second, "POST", "payg-request-decide", pk, decision="refuse")
    assert _faults(silent) == ["reason"]
    no = {"decision": "refuse", "reason": "Paid already"}
    refused = _send(client, world.second, "POST", "payg-request-decide", pk, **no)
    assert (refused.json()["state"], refused.json()["token"]) == ("refused", None)
    half = _send(client, world.admin, "POST", "payg-unit-tokens", unit, **{**body, "days": "0.5"})
    assert _faults(half) == ["days"]
    with open_scope(world.scope):
        BillingSettings.objects.create(
            tenant=world.tenant, legal_name="Fennel", second_person=False
        )
    done = _send(client, world.admin, "POST", "payg-unit-tokens", unit, **body).json()
    assert (done["state"], done["token"]["reason"]) == ("issued", "Goodwill")
    sent = _send(client, world.admin, "POST", "payg-token-send", done["token"]["id"])
    assert sent.status_code == 200, sent.content
    with open_scope(world.scope):
        command = Command.objects.get(pk=sent.json()["command"])
        assert command.kind == "enter_token"
        assert PaygToken.objects.get().delivery == "wire"
        assert TokenRequest.objects.count() == 2


def test_a_wallet_tells_how_it_stands_and_is_kept(world: World, client: Client) -> None:
    with open_scope(world.scope):
        agreement = factories.agreement(world.facility, mode=Mode.PREPAID, user=world.consumer_user)
        other = factories.agreement(world.facility, mode=Mode.PREPAID)
        factories.wallet(agreement)
        factories.wallet(other)
    put = {"amount": "7.50", "reason": "Goodwill", "request_key": "a"}
    for _again in range(2):
        made = _send(client, world.admin, "POST", "wallet-adjust", agreement.pk, **put)
        assert (made.status_code, made.json()["balance"]) == (200, "7.50")
    for values, member in (({"amount": "8"}, "request_key"), ({"amount": "1000001"}, "amount")):
        refused = _send(client, world.admin, "POST", "wallet-adjust", agreement.pk, **put | values)
        assert _faults(refused) == [member]
    limits = {"low_balance": "3", "friendly_from": "18:00"}
    wrong = _send(client, world.admin, "PUT", "wallet", agreement.pk, **limits)
    assert _faults(wrong) == ["friendly_to"]
    right = {**limits, "friendly_to": "08:00", "holidays": "DE-BY"}
    kept = _send(client, world.admin, "PUT", "wallet", agreement.pk, **right).json()
    assert (kept["low_balance"], kept["holidays"], kept["days_left"]) == ("3.00", "DE-BY", None)
    moved = _get(client, world, "wallet-movements", agreement.pk, who="consumer").json()["results"]
    assert [(one["kind"], one["amount"]) for one in moved] == [("entry", "7.50")]
    own = _get(client, world, "wallet-list", who="consumer").json()["results"]
    assert [one["agreement"] for one in own] == [agreement.pk]
    assert _get(client, world, "wallet", other.pk, who="consumer").status_code == 404
    assert len(_get(client, world, "wallet-list").json()["results"]) == 2


def test_lists_take_as_many_queries_for_three_as_for_one(world: World, client: Client) -> None:
    def queries(route: str) -> int:
        with CaptureQueriesContext(connection) as counted:
            assert _get(client, world, route).status_code == 200
        return len(counted)

    def more() -> None:
        with open_scope(world.scope):
            made: Agreement = factories.agreement(world.facility, mode=Mode.PREPAID)
            factories.wallet(made)
            billed = factories.bill(made)
            factories.restatement(billed)

    unit = _unit(client, world)
    routes = ("wallet-list", "restatement-list", "payg-request-list")
    counts = []
    for count in (1, 2):
        for _one in range(count):
            more()
            with open_scope(world.scope):
                factories.token_request(PaygUnit.objects.get(pk=unit))
        for route in routes:
            queries(route)
        counts.append([queries(route) for route in routes])
    assert counts[0] == counts[1]
    for route in routes:
        assert len(_get(client, world, route).json()["results"]) == 3


def test_a_restatement_shows_both_bills_and_is_let_stand(world: World, client: Client) -> None:
    with open_scope(world.scope):
        agreement = factories.agreement(world.facility, user=world.consumer_user)
        old = factories.bill(agreement)
        draft = factories.bill(factories.agreement(world.facility), final=False)
        # The draft of the same days.
        Bill.objects.filter(pk=draft.pk).update(agreement=agreement, revision=2)
        BillLine.objects.filter(bill=draft, position=1).update(amount=80)
        row = factories.restatement(old)
        Restatement.objects.filter(pk=row.pk).update(
            state=RestatementState.DRAFTED, new_bill=draft, difference=-20
        )
    told = _get(client, world, "restatement", row.pk).json()
    line = told["lines"][0]
    assert (line["old"]["amount"], line["new"]["amount"], line["difference"]) == (
        "100",
        "80",
        "-20",
    )
    assert _get(client, world, "restatement", row.pk, who="consumer").status_code == 403
    no = _send(client, world.admin, "POST", "restatement-dismiss", row.pk, reason="Known")
    assert (no.status_code, no.json()["state"]) == (200, "dismissed")
    late = _send(client, world.admin, "POST", "restatement-settle", row.pk, issued_on="2026-05-01")
    assert late.status_code == 404
    after = _get(client, world, "restatement", row.pk).json()["lines"]
    assert all(one["new"] is None for one in after)


def test_a_payment_goes_back_once_however_often_it_is_asked(world: World, client: Client) -> None:
    with open_scope(world.scope):
        factories.agreement(world.facility)
        paid = factories.payment(world.tenant, Decimal(20))
    body = {"amount": "5", "refunded_on": "2026-05-01", "reason": "Twice", "request_key": "k"}
    first, second = (
        _send(client, world.admin, "POST", "payment-refund", paid.pk, **body) for _once in range(2)
    )
    assert (first.status_code, first.json()["amount"]) == (201, "-5.00")
    assert first.json()["id"] == second.json()["id"]
    more = {**body, "amount": "16", "request_key": "l"}
    assert _faults(_send(client, world.admin, "POST", "payment-refund", paid.pk, **more)) == [
        "amount"
    ]
    missing = _send(client, world.admin, "POST", "payment-refund", first.json()["id"], **more)
    assert missing.status_code == 404


def test_damaged_evidence_and_files_are_told_in_a_sentence(world: World, client: Client) -> None:
    with open_scope(world.scope):
        billed = factories.bill(factories.agreement(world.facility))
        BillFile.objects.create(
            tenant=world.tenant,
            bill=billed,
            facility=world.facility,
            kind="pdf",
            sha256="0" * 64,
            size=1,
            created_at=factories.START,
        )
        BillDelivery.objects.create(
            tenant=world.tenant,
            bill=billed,
            facility=world.facility,
            key="final:1",
            to="a@example.org",
            language="en",
            due_at=factories.START,
            created_at=factories.START,
        )
    for route, key, sentence in (
        ("bill-line-intervals", (billed.pk, 1), "computed from is damaged"),
        ("bill-file", (billed.pk,), "not in the store"),
    ):
        answer = _get(client, world, route, *key)
        assert (answer.status_code, answer.json()["code"]) == (409, "damaged")
        assert sentence in answer.json()["detail"]
    [sent] = _get(client, world, "bill-deliveries", billed.pk).json()["deliveries"]
    assert (sent["to"], sent["state"]) == ("a@example.org", "waiting")
    assert _get(client, world, "bill-deliveries", billed.pk, who="consumer").status_code == 404


def test_a_published_tariff_is_taken_in(world: World, client: Client) -> None:
    record = {
        "label": "x",
        "utility": "Fennel Power",
        "name": "Residential",
        "startdate": 1577836800,
        "energyratestructure": [[{"rate": 0.12}]],
        "energyweekdayschedule": [[0] * 24] * 12,
        "energyweekendschedule": [[0] * 24] * 12,
    }
    made = _send(
        client, world.admin, "POST", "tariff-import", record=json.dumps(record), name="Taken"
    )
    assert made.status_code == 201, made.content
    assert made.json()["tariff"]["name"] == "Taken"
    assert [one["state"] for one in made.json()["versions"]] == ["draft"]
    broken = _send(client, world.admin, "POST", "tariff-import", record="{}")
    assert _faults(broken) == ["record"]


def test_why_a_unit_is_dark_is_told(world: World, client: Client) -> None:
    unit = _unit(client, world)
    with open_scope(world.scope):
        device = PaygUnit.objects.get(pk=unit).device_id
    told = _get(client, world, "device-outage", device).json()
    assert told["device"] == device
    assert told["supply"] in ("on", "off", "unknown")
    assert [one["number"] for one in told["accounts"]] != []
    assert _get(client, world, "device-outage", device, who="consumer").status_code == 403
    assert _get(client, world, "device-outage", 2**40).status_code == 404


@pytest.mark.parametrize("route", ["payg-unit", "payg-unit-tokens"])
def test_another_consumer_sees_no_unit(world: World, client: Client, route: str) -> None:
    unit = _unit(client, world)
    with open_scope(world.scope):
        agreement = PaygUnit.objects.get(pk=unit).agreement
        agreement.user = None
        agreement.save(update_fields=["user"])
    assert _get(client, world, route, unit, who="consumer").status_code == 404

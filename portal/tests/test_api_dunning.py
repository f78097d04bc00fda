"""Dunning, plans of payments and statements over the REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from billing.models import (
    Agreement,
    DunningEvent,
    DunningKind,
    EntryKind,
    InstalmentPlan,
    Payment,
    PlanState,
)
from billing.tests import factories
from billing.tests.test_statements import entry, statement, transaction
from portal.tests.test_api_billing import World
from portal.tests.test_api_billing import world as world
from tenants.scope import open_scope


def _send(
    client: Client, headers: Mapping[str, str], method: str, route: str, *key: int, **body: Any
) -> Any:
    path = reverse(f"api:{route}", args=key)
    return client.generic(method, path, json.dumps(body), "application/json", headers=headers)


def _owing(world: World, **fields: Any) -> Agreement:
    """119 EUR since 1 April 2026."""
    with open_scope(world.scope):
        made = factories.agreement(world.facility, **fields)
        billed = factories.bill(made)
        factories.entry(made, billed.total, EntryKind.BILL, bill=billed)
    return made


def _parts(*amounts: str) -> list[dict[str, str]]:
    first = datetime.now(UTC).date() + timedelta(days=7)
    return [
        {"due_on": (first + timedelta(days=30 * n)).isoformat(), "amount": amount}
        for n, amount in enumerate(amounts)
    ]


def test_instalments_are_agreed_listed_and_cancelled(world: World, client: Client) -> None:
    owed = _owing(world)
    wrong = {"agreement": owed.pk, "instalments": _parts("100", "18")}
    refused = _send(client, world.admin, "POST", "plan-list", **wrong)
    assert refused.status_code == 400
    [fault] = refused.json()["errors"]
    assert (fault["parameter"], "119" in fault["detail"]) == ("instalments", True)
    right = {**wrong, "instalments": _parts("100", "19"), "reason": "By phone"}
    made = _send(client, world.admin, "POST", "plan-list", **right)
    assert (made.status_code, made.json()["state"]) == (201, "active")
    query = {"agreement": str(owed.pk), "state": "active"}
    path = reverse("api:plan-list")
    listed = client.get(path, query, headers=world.admin).json()["results"]
    assert listed == [made.json()]
    pk = made.json()["id"]
    ended = _send(client, world.admin, "POST", "plan-cancel", pk)
    assert ended.json()["state"] == "cancelled"
    assert _send(client, world.admin, "POST", "plan-cancel", pk).status_code == 404
    with open_scope(world.scope):
        assert InstalmentPlan.objects.get().state == PlanState.CANCELLED


def test_a_consumer_sees_the_own_cases_and_plans_alone(world: World, client: Client) -> None:
    own, other = _owing(world, user=world.consumer_user), _owing(world)
    with open_scope(world.scope):
        mine, theirs = factories.dunned(own), factories.dunned(other)
    for route in ("dunning-case-list", "plan-list"):
        path = reverse(f"api:{route}")
        found = client.get(path, headers=world.consumer).json()["results"]
        assert [one["agreement"] for one in found] == [own.pk]
        everybody = client.get(path, headers=world.admin).json()["results"]
        assert [one["agreement"] for one in everybody] == [own.pk, other.pk]
    case = client.get(reverse("api:dunning-case", args=[mine.pk]), headers=world.consumer).json()
    assert [one["kind"] for one in case["events"]] == ["reminder"]
    hidden = reverse("api:dunning-case", args=[theirs.pk])
    assert client.get(hidden, headers=world.consumer).status_code == 404
    over = client.get(reverse("api:dunning-case-list"), {"open": "false"}, headers=world.admin)
    assert over.json()["results"] == []


def test_a_consumer_does_not_read_the_notes_of_those_who_bill(world: World, client: Client) -> None:
    owed = _owing(world, user=world.consumer_user)
    with open_scope(world.scope):
        case = factories.dunned(owed)
        DunningEvent.objects.create(
            tenant=world.tenant,
            case=case,
            agreement=owed,
            facility=world.facility,
            kind=DunningKind.SPARED,
            at=factories.START,
            overdue=1,
            currency="EUR",
            text="Dialysis at home",
        )
        InstalmentPlan.objects.update(reason="Lost her job")
        factories.entry(owed, Decimal(-19), EntryKind.WRITE_OFF, text="Not worth a lawyer")
        factories.entry(owed, Decimal(5), EntryKind.REFUND, text="Threatened us")
        factories.entry(owed, Decimal(7), EntryKind.FEE, text="Dunning fee")
    asked = (
        reverse("api:dunning-case", args=[case.pk]),
        reverse("api:plan-list"),
        reverse("api:agreement-entries", args=[owed.pk]),
        reverse("api:agreement-account", args=[owed.pk]),
    )
    notes = ("Dialysis at home", "Lost her job", "Not worth a lawyer", "Threatened us")

    def read(headers: Mapping[str, str]) -> str:
        return "".join(client.get(path, headers=headers).content.decode() for path in asked)

    own = read(world.consumer)
    assert [note for note in notes if note in own] == []
    assert "Dunning fee" in own
    everything = read(world.admin)
    assert [note for note in notes if note in everything] == list(notes)


def test_a_statement_is_taken_once_and_a_bad_one_refused(world: World, client: Client) -> None:
    owed = _owing(world)
    path = reverse("api:payment-import")
    data = statement(entry("19.00", transaction("19.00", text=f"for {owed.number}")))

    def sent(content: bytes) -> Any:
        file = SimpleUploadedFile("april.xml", content)
        return client.post(path, {"file": file}, headers=world.admin)

    first, again = sent(data), sent(data)
    assert (first.status_code, first.json()["taken"], first.json()["matched"]) == (201, 1, 1)
    assert again.json() == first.json()
    refused = sent(b"date;amount\nsoon;1,00")
    assert refused.status_code == 400
    [fault] = refused.json()["errors"]
    assert fault["parameter"] == "file"
    assert fault["detail"].startswith("Line 2: ")
    with open_scope(world.scope):
        assert Payment.objects.get().agreement_id == owed.pk


@pytest.mark.parametrize("route", ["plan-list", "payment-import"])
def test_a_consumer_changes_nothing(world: World, client: Client, route: str) -> None:
    assert _send(client, world.consumer, "POST", route).status_code == 403

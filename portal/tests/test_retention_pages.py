"""The pages about retention and legal holds: plain words, a preview, and nobody else's data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import holds, retention
from devices.domain.retention import Own
from devices.models import DataClass, Device, Hold, Retention
from devices.telemetry import segment_store
from devices.tests import factories
from tenants.models import AuditEntry, Tenant, User
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import custom_role

pytestmark = pytest.mark.django_db

NOW = datetime.now(UTC)
OLD = (NOW - timedelta(days=500)).replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def ours() -> Tenant:
    return factories.tenant()


@pytest.fixture
def admin(ours: Tenant) -> User:
    with open_scope(Scope((ours.pk,))):
        return factories.member(ours, Role.ADMIN).user


@pytest.fixture
def client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def _measured(of: Tenant) -> Device:
    """A device with two readings of an hour 500 days ago."""
    with open_scope(Scope((of.pk,))):
        device = factories.device(factories.facility(of)).device
        segment_store.keep(connection, [factories.segment(device, OLD, {0: [1, 2]})])
    return device


def _own(of: Tenant) -> dict[str, int | None]:
    with open_scope(Scope((of.pk,))):
        return dict(Retention.objects.values_list("data_class", "days"))


def test_the_page_says_what_counts(client: Client, ours: Tenant) -> None:
    text = client.get(reverse("retention")).content.decode()
    assert "Readings as measured" in text
    assert "As above: for ever" in text
    assert "As above: 90 days" in text
    with open_scope(Scope((ours.pk,))):
        wanted: dict[DataClass, Own | None] = {DataClass.READINGS: Own(400)}
        retention.set_rules(tenant_id=ours.pk, wanted=wanted, actor_id=None)
    text = client.get(reverse("retention")).content.decode()
    assert '<option value="400" selected>400 days</option>' in text


def test_a_shorter_rule_is_shown_with_what_it_removes_before_it_counts(
    client: Client, ours: Tenant, admin: User
) -> None:
    device = _measured(ours)
    with open_scope(Scope((ours.pk,))):
        held = holds.Held(OLD, device_id=device.pk)
        holds.hold(tenant_id=ours.pk, held=held, reason="A dispute", now=NOW, actor_id=None)
    sent = {"readings": "366", "logs": "31", "events": "inherit", "quarantine": "inherit"}
    answer = client.post(reverse("retention"), sent)
    text = answer.content.decode()
    assert answer.status_code == 200
    assert "This removes 2 readings before" in text
    assert "of 1 device." in text
    assert "Kept for ever until now, 1 month (31 days) from now on." in text
    assert "What 1 legal hold covers of it stays." in text
    assert _own(ours) == {}
    answer = client.post(reverse("retention"), {**sent, "confirmed": "1"}, follow=True)
    assert "The rules have been changed." in answer.content.decode()
    assert _own(ours) == {"readings": 366, "logs": 31}
    with open_scope(Scope((ours.pk,))):
        entries = AuditEntry.objects.filter(action="retention.set")
        assert set(entries.values_list("actor_id", flat=True)) == {admin.pk}


def test_a_longer_rule_counts_at_once(client: Client, ours: Tenant) -> None:
    assert client.post(reverse("retention"), {"quarantine": "731"}).status_code == 302
    assert _own(ours) == {"quarantine": 731}
    assert client.post(reverse("retention"), {"quarantine": "inherit"}).status_code == 200
    answer = client.post(reverse("retention"), {"quarantine": "inherit", "confirmed": "1"})
    assert (answer.status_code, _own(ours)) == (302, {})


@pytest.mark.parametrize("value", ["7", "soon", "-1"])
def test_what_is_no_choice_is_refused(client: Client, ours: Tenant, value: str) -> None:
    answer = client.post(reverse("retention"), {"readings": value, "confirmed": "1"})
    assert (answer.status_code, _own(ours)) == (422, {})


def test_data_is_held_and_released(client: Client, ours: Tenant, admin: User) -> None:
    device = _measured(ours)
    sent = {"serial": device.serial, "since": "2026-03-01", "until": "2026-03-31"}
    refused = client.post(reverse("hold-new"), sent)
    assert refused.status_code == 422
    answer = client.post(reverse("hold-new"), {**sent, "reason": "A dispute"}, follow=True)
    text = answer.content.decode()
    assert "The data is held." in text
    assert device.serial in text
    assert "A dispute" in text
    with open_scope(Scope((ours.pk,))):
        made = Hold.objects.get()
        assert (made.device_id, made.facility_id) == (device.pk, device.facility_id)
        assert made.created_by_id == admin.pk
        assert made.ends_at == made.starts_at + timedelta(days=31)
    answer = client.post(reverse("hold-release", args=[made.pk]), follow=True)
    assert "The hold is released." in answer.content.decode()
    with open_scope(Scope((ours.pk,))):
        made.refresh_from_db()
        assert made.released_by_id == admin.pk
        told = AuditEntry.objects.filter(subject_type="devices.hold")
        assert set(told.values_list("action", flat=True)) == {"hold.make", "hold.release"}


def test_a_hold_that_cannot_be_made_says_why(client: Client, ours: Tenant) -> None:
    other = _measured(factories.tenant())
    for sent, message in (
        ({"serial": other.serial}, "There is no such device."),
        ({"until": "2026-02-01"}, "The end must be after the beginning."),
        ({"facility": other.facility_id}, "Select a valid choice."),
    ):
        answer = client.post(reverse("hold-new"), {"since": "2026-03-01", "reason": "Why", **sent})
        assert answer.status_code == 422
        assert message in answer.content.decode()


@pytest.mark.parametrize("count", [1, 3])
def test_the_list_takes_as_many_queries_for_three_holds_as_for_one(
    client: Client, ours: Tenant, admin: User, count: int
) -> None:
    device = _measured(ours)
    with open_scope(Scope((ours.pk,))):
        for number in range(count):
            holds.hold(
                tenant_id=ours.pk,
                held=holds.Held(OLD, device_id=device.pk),
                reason=f"Dispute {number}",
                now=NOW,
                actor_id=admin.pk,
            )
    client.get(reverse("holds"))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        text = client.get(reverse("holds")).content.decode()
    assert text.count("Dispute ") == count
    assert sum("devices_hold" in query["sql"] for query in queries) == 1
    assert sum("devices_device" in query["sql"] for query in queries) == 1


def test_who_may_set_rules_need_not_be_who_may_hold(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        rules, keeper = (
            factories.member(ours, custom_role(ours, permission).pk).user
            for permission in (Permission.RETENTION_CHANGE, Permission.HOLDS_CHANGE)
        )
    for user, retention_status, holds_status in ((rules, 200, 403), (keeper, 403, 200)):
        client = Client()
        client.force_login(user)
        assert client.get(reverse("retention")).status_code == retention_status
        assert client.get(reverse("holds")).status_code == holds_status

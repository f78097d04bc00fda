"""The pages of derived channels: list, editor with its check, versions, ready-made ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from devices.domain import derived_queries
from devices.models import Channel
from devices.tests import factories
from portal.tests.registry_world import Place, ours
from tenants.permissions import Role
from tenants.scope import open_scope

__all__ = ["ours"]

NOW = datetime.now(UTC)


def _post(place: Place, text: str = "2 * voltage", **values: str) -> str:
    answer = place.client.post(
        f"/devices/{place.device.pk}/derived/new/",
        {"name": "Twice", "key": "twice", "quantity": "voltage", "text": text, **values},
    )
    return unescape(answer.content.decode()) if answer.status_code == 422 else ""


def _derived(place: Place) -> Channel:
    with open_scope(place.scope):
        return Channel.objects.get(device=place.device, key="twice")


@pytest.mark.django_db
def test_a_channel_is_derived_and_its_formula_changed_with_a_reason(ours: Place) -> None:
    assert _post(ours) == ""
    listed = ours.client.get(f"/devices/{ours.device.pk}/derived/").content.decode()
    assert "Twice" in listed
    assert "2 * voltage" in listed
    channel = _derived(ours)
    path = f"/channels/{channel.pk}/formula/"
    refused = ours.client.post(path, {"text": "3 * voltage"})
    assert refused.status_code == 422
    changed = {"text": "3 * voltage", "reason": "Another meter", "valid_from": "2026-03-01T12:00"}
    assert ours.client.post(path, changed).status_code == 302
    page = ours.client.get(path).content.decode()
    assert "Another meter" in page
    assert ours.user.email in page
    with open_scope(ours.scope):
        dates = [version.valid_from for version in channel.versions.order_by("pk")]
    # Noon on the clock of Berlin.
    assert dates[1] == datetime(2026, 3, 1, 11, tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"text": "voltag"}, "voltag"),
        ({"text": "active_power"}, "shall be in V"),
        ({"key": "Not a key"}, "A key has small letters"),
        ({"key": "voltage"}, "has a channel with this key already"),
        ({"valid_from": "2026-03-01T12:07"}, "quarter of an hour"),
    ],
)
def test_what_cannot_be_is_said_at_its_field(
    ours: Place, values: dict[str, str], sentence: str
) -> None:
    assert sentence in _post(ours, **values)


@pytest.mark.django_db
def test_a_formula_is_checked_while_it_is_written(ours: Place) -> None:
    path = f"/devices/{ours.device.pk}/derived/check/"
    for text, quantity, told in (
        ("", "voltage", "Write a formula"),
        ("voltage*2", "voltage", "voltage * 2"),
        ("voltage * 2", "current", "shall be in A"),
        ("voltage +* 2", "voltage", 'data-position="9"'),
    ):
        answer = ours.client.post(path, {"text": text, "quantity": quantity})
        assert answer.status_code == 200
        assert told in answer.content.decode()
    answer = ours.client.post(path, {"text": "voltage", "quantity": "voltage"})
    assert "There are no readings yet" in answer.content.decode()


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_the_check_draws_the_last_day_and_keeps_nothing(ours: Place) -> None:
    start = factories.START
    for text in ("2 * voltage", "today(max(active_power, 0))"):
        with open_scope(ours.scope):
            nothing = derived_queries.preview(
                device_id=ours.device.pk, text=text, quantity="", now=NOW
            )
        assert (nothing.error, nothing.curve) == ("", None)
    factories.store_frame(ours.device, 1, start, [[1000] * 60, [23000] * 60], step_ms=60_000)
    with open_scope(ours.scope):
        twice = derived_queries.preview(
            device_id=ours.device.pk, text="2 * voltage", quantity="voltage", now=NOW
        )
        energy = derived_queries.preview(
            device_id=ours.device.pk,
            text="today(max(active_power, 0))",
            quantity="energy_import",
            now=NOW,
        )
        assert not Channel.objects.filter(device=ours.device, derived=True).exists()
    assert twice.curve is not None
    assert set(twice.curve.values.tolist()) == {460.0}
    assert len(twice.curve.times) == 60
    assert energy.curve is not None
    assert energy.curve.values[-1] == pytest.approx(100 * 59 / 60, abs=0.1)
    answer = ours.client.post(
        f"/devices/{ours.device.pk}/derived/check/",
        {"text": "2 * voltage", "quantity": "voltage"},
    ).content.decode()
    assert '<path d="M0.0' in answer
    assert "highest 460" in answer
    factories.remove_everything()


@pytest.mark.django_db
def test_what_suits_the_device_is_offered_and_made(ours: Place) -> None:
    page = ours.client.get(f"/devices/{ours.device.pk}/derived/").content.decode()
    assert "Energy today" in page
    answer = ours.client.post(f"/devices/{ours.device.pk}/derived/add/", {"key": "energy_today"})
    assert answer.status_code == 302
    with open_scope(ours.scope):
        made = Channel.objects.get(device=ours.device, key="energy_today")
        assert (made.derived, made.unit) == (True, "Wh")
    for refused in ({"key": "energy_today"}, {"key": "state_of_charge", "cells": "-1"}, {}):
        answer = ours.client.post(f"/devices/{ours.device.pk}/derived/add/", refused, follow=True)
        assert answer.status_code == 200
    with open_scope(ours.scope):
        assert Channel.objects.filter(device=ours.device, derived=True).count() == 1


@pytest.mark.django_db
def test_whoever_may_not_change_devices_sees_no_way_to(ours: Place) -> None:
    with open_scope(ours.scope):
        analyst = factories.member(ours.tenant, Role.ANALYST).user
    reader = Place(ours.tenant, ours.facility, ours.device, analyst)
    _post(ours)
    page = reader.client.get(f"/devices/{ours.device.pk}/derived/").content.decode()
    assert "Twice" in page
    assert "/derived/new/" not in page
    assert "/formula/" not in page


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 3])
def test_lists_take_as_many_queries_for_many_channels_as_for_one(ours: Place, count: int) -> None:
    for at in range(count):
        _post(ours, key=f"twice_{at}", name=f"Twice {at}")
    with open_scope(ours.scope), CaptureQueriesContext(connection) as found:
        page = derived_queries.derived_channels(
            device_id=ours.device.pk, now=NOW + timedelta(minutes=1)
        )
    assert len(page.channels) == count
    assert len(found) == 7

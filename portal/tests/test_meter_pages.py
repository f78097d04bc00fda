"""The pages of the meter tree."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from devices.domain import meters_operations, rollups
from devices.models import Device, Placement
from devices.tests import factories
from portal.tests.registry_world import Place, edit_form, ours, text_of, theirs
from tenants.scope import open_scope

__all__ = ["ours", "theirs"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

# The factories' day, on the clock of Berlin.
DAY = {"period": "custom", "first": "2026-03-01", "last": "2026-03-01"}


def _meter(place: Place, name: str, raw: int, placement: Placement) -> Device:
    with open_scope(place.scope):
        device = factories.device(place.facility, placement=placement).device
        Device.objects.filter(pk=device.pk).update(name=name)
    for minute in range(60):
        started = factories.START + minute * timedelta(minutes=1)
        factories.store_frame(device, minute + 1, started, [[raw] * 30, [2300] * 30])
    return device


def _read(place: Place, **query: str) -> str:
    answer = place.client.get(reverse("facility-meters", args=[place.facility.pk]), query)
    assert answer.status_code == 200
    return text_of(answer)


def test_the_tree_shows_energy_and_what_is_left(ours: Place) -> None:
    _meter(ours, "Hall", 100_000, Placement.MAINS)
    oven = _meter(ours, "Oven", 40_000, Placement.SUBMETER)
    with open_scope(ours.scope):
        rollups.roll_up()
    html = _read(ours, **DAY)
    names = [name for name in ("Hall", "Oven", "No meter of its own") if name in html]
    assert names == ["Hall", "Oven", "No meter of its own"]
    assert html.index("Hall") < html.index("Oven") < html.index("No meter of its own")
    # An hour of a day: what is missing shows.
    assert "4%" in html.replace("\N{NO-BREAK SPACE}", "")
    with open_scope(ours.scope):
        assert Device.objects.get(pk=oven.pk).behind_id is None


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"period": "custom", "first": "2026-03-01"}, "Give the first and the last day."),
        ({**DAY, "last": "2026-02-01"}, "The last day lies before the first one."),
        ({**DAY, "first": "1999-01-01"}, "Readings begin after the year 2000."),
        ({**DAY, "last": "soon"}, "Enter a valid date."),
        ({"period": "eternity"}, "Select a valid choice."),
    ],
)
def test_a_period_that_cannot_be_is_told(ours: Place, query: dict[str, str], sentence: str) -> None:
    assert sentence in _read(ours, **query)


@pytest.mark.parametrize(
    "period", ["today", "yesterday", "week", "month", "last-month", "year", "custom"]
)
def test_every_period_is_answered(ours: Place, period: str) -> None:
    days = DAY if period == "custom" else {"period": period}
    assert "errorlist" not in _read(ours, **days)


def test_meters_are_arranged(ours: Place) -> None:
    oven = _meter(ours, "Oven", 1, Placement.SUBMETER)
    hood = _meter(ours, "Hood", 1, Placement.SUBMETER)
    address = reverse("meters-arrange", args=[ours.facility.pk])
    form = edit_form(ours.client, address)
    answer = ours.client.post(address, {**form, str(hood.pk): str(oven.pk)})
    assert answer.status_code == 302
    with open_scope(ours.scope):
        assert Device.objects.get(pk=hood.pk).behind_id == oven.pk
    # The same form once more was opened before.
    answer = ours.client.post(address, {**form, str(hood.pk): "mains"})
    assert answer.status_code == 422
    assert "Somebody else has arranged these meters meanwhile." in text_of(answer)
    form = edit_form(ours.client, address)
    answer = ours.client.post(address, {**form, str(oven.pk): str(hood.pk)})
    assert answer.status_code == 422
    assert "They would lie behind each other" in text_of(answer)


def test_a_stranger_cannot_be_chosen(ours: Place, theirs: Place) -> None:
    oven = _meter(ours, "Oven", 1, Placement.SUBMETER)
    address = reverse("meters-arrange", args=[ours.facility.pk])
    form = edit_form(ours.client, address)
    answer = ours.client.post(address, {**form, str(oven.pk): str(theirs.device.pk)})
    assert answer.status_code == 422
    assert theirs.client.get(address).status_code == 404
    with open_scope(ours.scope):
        meters_operations.arrange(
            facility_id=ours.facility.pk, behind={oven.pk: None}, based_on=None, actor_id=None
        )
        assert Device.objects.get(pk=oven.pk).behind_id is None

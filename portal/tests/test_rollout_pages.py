"""Pages of roll-outs: list, wizard with dry run, live page, steps, and the firmware of a device."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from devices.domain.commands_policy import SYSTEM
from devices.domain.selection import Selection
from firmware.domain import policy_operations, rollout_plan
from firmware.domain.policy_operations import Change
from firmware.gate.limits import GateLimits
from firmware.models import Rollout, RolloutState, RolloutTarget
from firmware.rollout.strategy import MOST_WINDOWS, Strategy
from firmware.tests.rollout_park import RolloutPark
from portal.enterprise.rollouts import words
from portal.enterprise.rollouts.durations import DurationField, written
from portal.enterprise.rollouts.forms_strategy import StrategyForm
from portal.enterprise.rollouts.presets import PRESETS
from tenants.models import User
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])


@pytest.fixture
def park() -> RolloutPark:
    return RolloutPark.make()


def _browser(park: RolloutPark, person: int = 0) -> Client:
    client = Client()
    client.force_login(User.objects.get(pk=park.people[person]))
    return client


def _fields(form: StrategyForm) -> dict[str, Any]:
    """What a browser sends of a form that nobody has changed."""
    sent: dict[str, Any] = {}
    for bound in form:
        value = bound.value()
        if value is None or value is False:
            continue
        sent[bound.html_name] = "on" if value is True else value
    return sent


def _form(park: RolloutPark, preset: str = "urgent", **changes: Any) -> dict[str, Any]:
    return {
        **_fields(StrategyForm(of=PRESETS[preset].strategy)),
        "name": "Spring",
        "release": park.releases["2.0.0"].pk,
        "priority": 0,
        "who": "everything",
        **changes,
    }


@pytest.mark.parametrize("code", PRESETS)
def test_a_preset_goes_through_the_form_unchanged(code: str) -> None:
    wanted = PRESETS[code].strategy
    data = QueryDict(mutable=True)
    for name, value in _fields(StrategyForm(of=wanted)).items():
        data.setlist(name, [str(one) for one in value] if isinstance(value, list) else [str(value)])
    form = StrategyForm(data)
    assert form.errors == {}
    assert Strategy.from_json(form.strategy()) == wanted


@pytest.mark.parametrize("seconds", [0, 1, 90, 1800, 21_600, 86_400, 100_000])
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert DurationField().clean(written(seconds)) == seconds


def test_a_draft_is_made_looked_at_and_started(park: RolloutPark) -> None:
    client = _browser(park)
    page = client.get(reverse("rollout-create"))
    assert page.status_code == 200
    assert b"id_groups_named" not in page.content  # there are none
    untouched = client.post(reverse("rollout-preview"), _form(park, release="")).content.decode()
    assert "Choose a release and who is meant." in untouched
    assert "required" not in untouched
    preview = client.post(reverse("rollout-preview"), _form(park, name="")).content.decode()
    assert '<b class="wl-number">3</b> of 3 devices' in preview
    answer = client.post(reverse("rollout-create"), _form(park))
    with open_scope(park.scope):
        row = Rollout.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, reverse("rollout", args=[row.pk]))
    assert row.state == RolloutState.DRAFT
    assert Strategy.from_json(row.strategy) == PRESETS["urgent"].strategy

    text = client.get(answer["Location"]).content.decode()
    assert all(device.serial in text for device in park.devices)
    assert "Nothing has been sent to any device." in text
    listed = client.get(answer["Location"], {"export": "csv"}).content.decode()
    assert listed.count("2.0.0 (image") == 3

    step = reverse("rollout-step", args=[row.pk, "start"])
    assert "3 devices get it in 2 waves" in client.get(step).content.decode()
    with open_scope(park.scope):
        assert not RolloutTarget.objects.exists()
    client.post(step)
    assert park.fresh(row).state == RolloutState.RUNNING
    assert park.states(row) == ["pending"] * 3
    assert "Spring" in client.get(reverse("rollout-list")).content.decode()


def test_a_draft_is_changed_by_the_form_that_made_it(park: RolloutPark) -> None:
    client = _browser(park)
    row = park.draft(windows=[{"weekdays": [0, 4], "start": "22:00", "end": "05:00"}])
    page = client.get(reverse("rollout-edit", args=[row.pk]))
    sent = {
        **{b.html_name: b.value() for b in page.context["form"] if b.value() not in (None, "")},
        **_fields(page.context["strategy"]),
        "name": "Autumn",
        "who": "chosen",
        "serials": f"{park.devices[0].serial}, {park.devices[2].serial}",
    }
    assert client.post(reverse("rollout-edit", args=[row.pk]), sent).status_code == 302
    changed = park.fresh(row)
    assert (changed.name, changed.strategy) == ("Autumn", row.strategy)
    chosen = [park.devices[0].pk, park.devices[2].pk]
    assert changed.selection == {"devices": sorted(chosen)}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"waves": "10 %, 5 %"}, "each must reach more than the one"),
        ({"waves": "some"}, "is no wave"),
        ({"soak_s": "a while"}, "Write a duration"),
        ({"who": "chosen"}, "Choose a group, fill in a condition"),
        ({"who": "chosen", "serials": "nobody"}, "No device has this serial number: nobody"),
        ({"who": "chosen", "rule-firmware": "newer"}, "is no range of versions"),
        ({"release": ""}, "This field is required"),
        ({"window_0_start": "22:00"}, "A window has weekdays, a beginning and an end"),
        ({"window_0_days": 1, "window_0_start": "25:00", "window_0_end": "26:00"}, "HH:MM"),
        ({"retry_flash_limit": 2, "retry_flash_delay": ""}, "Say how long to wait"),
        ({"gate": "on", "looks": 99}, "less than or equal to 24"),
        ({"window_13_start": "22:00"}, "A window has weekdays, a beginning and an end"),
    ],
)
def test_what_cannot_be_is_told_and_not_kept(
    park: RolloutPark, changes: dict[str, Any], said: str
) -> None:
    answer = _browser(park).post(reverse("rollout-create"), _form(park, **changes))
    assert answer.status_code == 422
    assert said in answer.content.decode()
    with open_scope(park.scope):
        assert not Rollout.objects.exists()


def test_a_new_rollout_has_room_for_all_windows(park: RolloutPark) -> None:
    windows: dict[str, Any] = {
        f"window_{number}_{part}": value
        for number in range(MOST_WINDOWS)
        for part, value in (("days", str(number % 7)), ("start", "01:00"), ("end", "02:00"))
    }
    answer = _browser(park).post(reverse("rollout-create"), _form(park, **windows))
    assert answer.status_code == 302
    with open_scope(park.scope):
        assert len(Rollout.objects.get().strategy["windows"]) == MOST_WINDOWS


def test_chosen_devices_come_along(park: RolloutPark) -> None:
    sent = {"device": [one.pk for one in park.devices[:2]]}
    page = _browser(park).post(reverse("rollout-create"), sent)
    form = page.context["form"]
    wanted = sorted(one.serial for one in park.devices[:2])
    assert (form["who"].value(), form["serials"].value().split()) == ("chosen", wanted)


def test_a_second_person_approves_where_that_is_demanded(park: RolloutPark) -> None:
    with open_scope(park.scope):
        policy_operations.change(
            actor=SYSTEM, tenant_id=park.tenant.pk, wanted=Change(second_person=True)
        )
    row = park.draft()
    mine, theirs = _browser(park), _browser(park, 1)
    approve = reverse("rollout-approval", args=[row.pk, "approve"])
    text = mine.get(reverse("rollout", args=[row.pk])).content.decode()
    assert "Another person has to approve it" in text
    assert approve not in text
    mine.post(approve)
    assert park.fresh(row).approved_by_id is None
    assert approve in theirs.get(reverse("rollout", args=[row.pk])).content.decode()
    theirs.post(approve)
    assert park.fresh(row).approved_by_id == park.people[1]
    mine.post(reverse("rollout-step", args=[row.pk, "start"]))
    assert park.fresh(row).state == RolloutState.RUNNING


def test_a_running_rollout_is_watched_and_steered(park: RolloutPark) -> None:
    client = _browser(park)
    row = park.start()
    park.tick(2)
    page = reverse("rollout", args=[row.pk])
    text = client.get(page).content.decode()
    assert "0 of 3 updated, 0 failed" in text
    pause = reverse("rollout-step", args=[row.pk, "pause"])
    assert pause in text
    client.post(pause, {"note": "Storm ahead"})
    assert park.fresh(row).state == RolloutState.PAUSED
    assert "By a person: Storm ahead" in client.get(page).content.decode()
    client.post(reverse("rollout-step", args=[row.pk, "resume"]))
    park.obey()
    park.tick(3)
    told = client.get(reverse("rollout-step", args=[row.pk, "rollback"])).content.decode()
    assert "1 devices get what they ran before" in told
    answer = client.post(reverse("rollout-step", args=[row.pk, "rollback"]))
    with open_scope(park.scope):
        back = Rollout.objects.get(parent=row)
    assert answer["Location"] == reverse("rollout", args=[back.pk])
    assert park.fresh(row).state == RolloutState.ABORTED
    assert back.name in client.get(page).content.decode()
    refused = client.post(reverse("rollout-step", args=[row.pk, "pause"]), follow=True)
    assert "It was aborted." in refused.content.decode()


def test_why_a_wave_is_overruled_has_to_be_said(park: RolloutPark) -> None:
    row = park.start(retries={})
    park.tick(2)
    client = _browser(park)
    client.post(reverse("rollout-step", args=[row.pk, "pause"]))
    address = reverse("rollout-approval", args=[row.pk, "advance"])
    assert client.post(address, {"note": " "}).status_code == 422
    assert park.fresh(row).state == RolloutState.PAUSED
    assert client.post(address, {"note": "Known fault"}).status_code == 302
    assert park.fresh(row).state == RolloutState.RUNNING


def test_failures_lead_to_devices_and_what_happened_to_them(park: RolloutPark) -> None:
    row = park.start(waves=[{"percent": 100}], retries={}, error_percent=100, success_percent=0)
    park.tick(2)
    offers = park.offers()
    bad = park.devices[1]
    uid = UUID(bytes=offers[bad.pk].update_id)
    park.say(bad, "failed", uid, code="flash", detail="<i>Worn out</i>")
    park.tick(2)
    client = _browser(park)
    text = client.get(reverse("rollout", args=[row.pk])).content.decode()
    assert "state=failed&amp;code=flash" in text
    listed = client.get(reverse("rollout-devices", args=[row.pk]), {"code": "flash"})
    assert [one.device_id for one in listed.context["table"].page.object_list.data] == [bad.pk]
    with open_scope(park.scope):
        target = RolloutTarget.objects.get(rollout=row, device=bad)
    told = client.get(reverse("rollout-target", args=[row.pk, target.pk])).content.decode()
    assert "The device could not write it. · &lt;i&gt;Worn out&lt;/i&gt;" in told
    page = client.get(reverse("device-firmware", args=[bad.pk])).content.decode()
    assert "The device could not write it." in page
    panel = client.get(
        reverse("device-firmware", args=[bad.pk]),
        headers={"HX-Request": "true", "HX-Target": "device-firmware"},
    ).content.decode()
    assert "<html" not in panel
    assert "1.0.0" in panel


def test_a_plan_reaches_the_tenant_of_the_rollout_alone(park: RolloutPark) -> None:
    """Also when somebody starts it whose scope holds more."""
    other = RolloutPark.make(1)
    with open_scope(Scope((park.tenant.pk, other.tenant.pk))):
        plan = rollout_plan.plan(
            release_id=park.releases["2.0.0"].pk,
            selection=Selection(everything=True),
            strategy=Strategy(),
            tenant_id=park.tenant.pk,
        )
    assert [one.device_id for one in plan.devices] == [one.pk for one in park.devices]


@pytest.mark.parametrize("count", [1, 3])
def test_pages_take_the_same_queries_however_many_devices(
    count: int, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    park = RolloutPark.make(count)
    client = _browser(park)
    draft, row = park.draft(), park.start()
    for address, most in (
        (reverse("rollout-list"), 16),
        (reverse("rollout", args=[draft.pk]), 40),
        (reverse("rollout", args=[row.pk]), 22),
        (reverse("rollout-devices", args=[row.pk]), 17),
        (reverse("device-firmware", args=[park.devices[0].pk]), 18),
    ):
        with django_assert_max_num_queries(most):
            assert client.get(address).status_code == 200


def test_the_page_says_after_which_wave_the_gate_is_not_asked(park: RolloutPark) -> None:
    client = _browser(park)
    said = "The gate is not asked after this wave"
    gate = GateLimits().to_json()
    row = park.start(gate=gate)
    text = client.get(reverse("rollout", args=[row.pk])).content.decode()
    assert text.count(said) == 1
    assert text.index("Wave 2</a>") < text.index(said)
    assert "never asked" not in text
    plain = RolloutPark.make()
    row = plain.start()
    assert said not in _browser(plain).get(reverse("rollout", args=[row.pk])).content.decode()
    row = RolloutPark.make().draft(gate=gate, waves=[{"percent": 100}])
    with open_scope(Scope((row.tenant_id,))):
        facts = dict(words.strategy(Strategy.from_json(row.strategy)))
    assert facts["Telemetry gate"] == "never asked: no wave follows the only one"

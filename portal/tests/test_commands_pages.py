"""The pages of commands: asked of one device and of many, watched, approved, taken back."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.domain import control_queries
from devices.models import Command, CommandBatch, Device, DeviceState
from devices.telemetry import control_store
from devices.tests import factories
from tenants.models import Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db


class _Park:
    def __init__(self) -> None:
        self.of: Tenant = factories.tenant()
        with open_scope(self.scope):
            self.manager = factories.member(self.of, Role.MANAGER).user
            self.technician = factories.member(self.of, Role.TECHNICIAN).user
            self.support = factories.member(self.of, Role.SUPPORT).user
            at = factories.facility(self.of)
            kind = factories.device_type(self.of)
            states = (DeviceState.ACTIVE, DeviceState.ACTIVE, DeviceState.REVOKED)
            self.devices: list[Device] = [
                factories.device(at, kind, state=state).device for state in states
            ]

    @property
    def scope(self) -> Scope:
        return Scope((self.of.pk,))

    @property
    def url(self) -> str:
        return reverse("device-control", args=[self.devices[0].pk])

    def commands(self) -> list[tuple[str, object, str]]:
        with open_scope(self.scope):
            rows = Command.objects.order_by("pk")
            return list(rows.values_list("kind", "arguments", "state"))


@pytest.fixture
def park() -> _Park:
    return _Park()


def _client(user: object) -> Client:
    client = Client()
    client.force_login(user)  # type: ignore[arg-type]
    return client


def _text(html: bytes) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.decode()))


@pytest.mark.parametrize(
    ("sent", "kind", "arguments"),
    [
        ({"kind": "reboot"}, "reboot", {}),
        ({"kind": "set_output", "output": "1"}, "set_output", {"output": 1}),
        (
            {"kind": "set_power_limit", "power": "limited", "watts": "1500"},
            "set_power_limit",
            {"power_limit_w": 1500},
        ),
        ({"kind": "set_power_limit", "power": "none"}, "set_power_limit", {"power_limit_w": -1}),
        ({"kind": "set_reporting", "samples": "10"}, "set_reporting", {"samples": 10}),
        ({"kind": "set_display", "message": "Hi"}, "set_display", {"display.message": "Hi"}),
        (
            {"kind": "send_logs", "lines": "50", "level": "3"},
            "send_logs",
            {"lines": 50, "level": 3},
        ),
        ({"kind": "live", "seconds": "60"}, "live", {"seconds": 60}),
        ({"kind": "identify", "seconds": "5"}, "identify", {"seconds": 5}),
        (
            {"kind": "enter_token", "token_digits": "123 456 789"},
            "enter_token",
            {"token": "123456789"},
        ),
    ],
)
def test_a_form_asks_for_what_it_says(
    park: _Park, sent: dict[str, str], kind: str, arguments: object
) -> None:
    answer = _client(park.manager).post(park.url, sent)
    assert answer.status_code == 302
    assert park.commands() == [(kind, arguments, "queued")]


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        ({"kind": "set_output", "output": "0"}, "Say why it is to be switched off"),
        ({"kind": "set_output"}, "This field is required"),
        ({"kind": "set_power_limit", "power": "limited"}, "Give the most"),
        ({"kind": "set_reporting"}, "Fill in at least one"),
        ({"kind": "live", "seconds": "90000"}, "less than or equal to 3600"),
        ({"kind": "set_display", "message": "ü" * 100}, "at most 160 bytes"),
    ],
)
def test_what_does_not_do_is_told_and_nothing_is_asked(
    park: _Park, sent: dict[str, str], sentence: str
) -> None:
    answer = _client(park.manager).post(park.url, sent)
    assert answer.status_code == 422
    assert sentence in _text(answer.content)
    assert park.commands() == []


def test_switching_off_takes_a_second_person(park: _Park) -> None:
    asking, deciding = _client(park.technician), _client(park.manager)
    answer = asking.post(
        park.url, {"kind": "set_output", "output": "0", "reason": "Not paid"}, follow=True
    )
    assert "somebody else has to approve it" in _text(answer.content)
    ((_, _, state),) = park.commands()
    assert state == "awaiting_approval"
    with open_scope(park.scope):
        pk = Command.objects.get().pk

    assert "1 command waits for a second person" in _text(
        deciding.get(reverse("command-list")).content
    )
    page = _text(deciding.get(reverse("command", args=[pk])).content)
    assert "Your decision" in page
    assert "Not paid" in page
    deciding.post(reverse("command-approve", args=[pk]))

    assert [state for _, _, state in park.commands()] == ["queued"]
    page = _text(_client(park.support).get(park.url).content)
    assert "The output is off" in page
    assert "Not paid" in page
    assert "The device has not said yet how its output is" in page


def test_nobody_approves_what_they_have_asked_for(park: _Park) -> None:
    with open_scope(park.scope):
        made = factories.command(
            park.devices[0],
            state="awaiting_approval",
            queued_at=None,
            asked_by=park.manager,
            expires_at="2100-01-01T00:00:00Z",
        )
    client = _client(park.manager)
    answer = client.post(reverse("command-approve", args=[made.pk]), follow=True)
    assert "You have asked for this yourself" in _text(answer.content)
    assert "Your decision" not in _text(answer.content)
    assert [state for _, _, state in park.commands()] == ["awaiting_approval"]


def test_refusing_needs_a_reason(park: _Park) -> None:
    _client(park.technician).post(
        park.url, {"kind": "set_output", "output": "0", "reason": "Not paid"}
    )
    with open_scope(park.scope):
        pk = Command.objects.get().pk
    client = _client(park.manager)
    answer = client.post(reverse("command-refuse", args=[pk]), {"reason": " "}, follow=True)
    assert "Say why" in _text(answer.content)
    answer = client.post(reverse("command-refuse", args=[pk]), {"reason": "Paid"}, follow=True)
    assert "Refused" in _text(answer.content)
    assert "Paid" in _text(answer.content)
    assert [state for _, _, state in park.commands()] == ["cancelled"]


def test_who_only_watches_sees_no_form(park: _Park) -> None:
    client = _client(park.support)
    assert "What shall the device do" not in client.get(park.url).content.decode()
    assert client.post(park.url, {"kind": "reboot"}).status_code == 403
    assert park.commands() == []


def test_what_the_device_says_of_its_output_counts(park: _Park) -> None:
    client = _client(park.manager)
    client.post(park.url, {"kind": "set_output", "output": "1"})
    with open_scope(park.scope):
        device_id = park.devices[0].pk
        control_store.open_rows(connection, [device_id])
        control_store.keep_reports(connection, [(device_id, {"output": 0}, factories.START)])
    page = _text(client.get(park.url).content)
    assert "The output is off" in page
    assert "it has not done yet what is wanted" in page


def test_many_are_asked_after_a_preview(park: _Park) -> None:
    client = _client(park.manager)
    url = reverse("command-many")
    sent = {
        "device": [str(one.pk) for one in park.devices],
        "kind": "set_power_limit",
        "power": "limited",
        "watts": "900",
    }
    page = client.post(url, {**sent, "step": "preview"})
    text = _text(page.content)
    assert "Limit the power (Power limit: 900 W)" in text
    assert "Are told, at once or when they are connected 2" in text
    assert "only an active one can be given commands. 1" in text
    assert park.commands() == []
    # Other values than those of the preview are previewed first.
    shown = re.search(r'name="shown" value="(\w+)"', page.content.decode())
    assert shown is not None
    other = client.post(url, {**sent, "watts": "800", "step": "apply", "shown": shown[1]})
    assert "have changed since the preview" in _text(other.content)
    assert park.commands() == []

    answer = client.post(url, {**sent, "step": "apply", "shown": shown[1]}, follow=True)

    text = _text(answer.content)
    assert "0 of 2 have come to their end" in text
    assert "Queued 2" in text
    assert "Not asked 1" in text
    assert park.commands() == [("set_power_limit", {"power_limit_w": 900}, "queued")] * 2


def test_failed_ones_are_tried_again_and_unsent_ones_cancelled(park: _Park) -> None:
    client = _client(park.manager)
    with open_scope(park.scope):
        failed = factories.command(park.devices[0], batch=True, state="failed")
        waiting = factories.command(park.devices[1], batch=True)
    client.post(reverse("batch-retry", args=[failed.batch_id]))
    client.post(reverse("batch-cancel", args=[waiting.batch_id]))
    assert [state for _, _, state in park.commands()] == ["failed", "cancelled", "queued"]
    with open_scope(park.scope):
        again = CommandBatch.objects.order_by("-pk")[0]
        assert again.retry_of_id == failed.batch_id
    page = _text(client.get(reverse("command-batch", args=[again.pk])).content)
    assert "tries the failed ones of an earlier request again" in page


@pytest.mark.parametrize("route", ["command-list", "batch-list"])
def test_lists_take_as_many_queries_whatever_they_hold(park: _Park, route: str) -> None:
    client = _client(park.manager)
    counts = []
    client.get(reverse(route))  # what a session asks for once
    for _ in range(2):
        with open_scope(park.scope):
            for device in park.devices[:2]:
                factories.command(device, batch=True)
        with CaptureQueriesContext(connection) as queries:
            assert client.get(reverse(route)).status_code == 200
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.parametrize(
    ("state", "offered"),
    [("queued", True), ("sent", True), ("acknowledged", False), ("failed", False)],
)
def test_what_cannot_be_cancelled_any_more_is_not_offered_so(
    park: _Park, state: str, offered: bool
) -> None:
    with open_scope(park.scope):
        made = factories.command(park.devices[0], state=state)
    page = _client(park.manager).get(reverse("command", args=[made.pk])).content.decode()
    assert (reverse("command-cancel", args=[made.pk]) in page) == offered


def test_a_long_list_begins_with_the_newest_and_searches_all(
    park: _Park, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_queries, "MOST_LISTED", 2)
    client, at = _client(park.manager), reverse("command-list")
    hint = "These are the newest 2."
    with open_scope(park.scope):
        made = [factories.command(park.devices[0]) for _ in range(2)]
    assert hint not in _text(client.get(at).content)
    with open_scope(park.scope):
        made += [factories.command(park.devices[0], state="failed") for _ in range(2)]

    def shown(query: str) -> list[bool]:
        page = client.get(at + query).content.decode()
        return [f'href="{reverse("command", args=[one.pk])}"' in page for one in made]

    assert hint in _text(client.get(at).content)
    assert shown("") == [False, False, True, True]
    assert shown("?state=queued") == [True, True, False, False]
    assert shown(f"?q={park.devices[0].serial}") == [True] * 4
    file = client.get(at + "?export=csv").getvalue().decode()
    assert file.count(park.devices[0].serial) == 4


def test_lists_are_files_too(park: _Park) -> None:
    client = _client(park.manager)
    with open_scope(park.scope):
        factories.command(park.devices[0], batch=True)
    lines = b"".join(client.get(reverse("command-list") + "?export=csv").streaming_content)  # type: ignore[attr-defined]
    assert park.devices[0].serial in lines.decode()
    lines = b"".join(client.get(reverse("batch-list") + "?export=csv").streaming_content)  # type: ignore[attr-defined]
    assert "Show itself" in lines.decode()


def test_the_list_tells_when_in_the_readers_time_zone(park: _Park) -> None:
    _client(park.manager).post(park.url, {"kind": "reboot"})
    with open_scope(park.scope):
        Command.objects.update(asked_at=datetime(2026, 3, 1, 22, 30, tzinfo=UTC))
    for zone, shown in (("Asia/Tokyo", "2 Mar 2026, 07:30"), ("UTC", "1 Mar 2026, 22:30")):
        park.manager.time_zone = zone
        park.manager.save(update_fields=["time_zone"])
        assert shown in _text(_client(park.manager).get(reverse("command-list")).content)

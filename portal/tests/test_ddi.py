"""hawkBit's DDI interface as devices use it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from pytest_django import Settings

from devices.domain import claims_operations as claims
from devices.domain.links import bridges
from devices.models import Device, DeviceState, Placement
from devices.telemetry import status
from devices.tests import factories as devices
from firmware.artifacts import places
from firmware.ddi.tokens import read_authorization
from firmware.domain import ddi_actions, ddi_doors, ddi_downloads, ddi_keys
from firmware.domain.ddi_actions import MOST_FEEDBACKS
from firmware.domain.ddi_doors import Controller
from firmware.models import DdiAction, DdiTarget, RolloutTarget, TargetState
from portal.ddi import limits, views_files
from portal.tests.ddi_world import (
    Ddi,
    ddi_type,
    number_in,
    offered,
    set_state,
    speaking,
    state_of,
    whole,
)
from tenants.models import AuditEntry, Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

IMAGE = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def store(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """A store of its own, and nothing counted yet."""
    kept = places.in_folder(tmp_path / "firmware")
    settings.STORAGES = {**settings.STORAGES, "firmware": kept}
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ddi() -> Ddi:
    """A device."""
    return speaking()


@pytest.fixture
def target(ddi: Ddi) -> RolloutTarget:
    """Something for it."""
    return offered(ddi, IMAGE, form="swu")


def _action(ddi: Ddi) -> int:
    return number_in(ddi.links()["deploymentBase"])


def _begun(ddi: Ddi) -> int:
    """The action, which the device has looked at."""
    action = _action(ddi)
    assert ddi.ask(f"/deploymentBase/{action}").status_code == 200
    return action


# What a device goes through


def test_device_updates_from_polling_to_success(ddi: Ddi, target: RolloutTarget) -> None:
    first = ddi.ask().json()
    assert first["config"] == {"polling": {"sleep": "00:00:30"}}
    assert sorted(first["_links"]) == ["configData", "deploymentBase"]
    action = _action(ddi)

    told = ddi.ask(first["_links"]["deploymentBase"]["href"]).json()
    assert told["id"] == str(action)
    (chunk,) = told["deployment"]["chunks"]
    (file,) = chunk["artifacts"]
    assert chunk["version"] == "1.1.0"
    assert file["size"] == len(IMAGE)
    assert file["hashes"] == {
        "sha1": hashlib.sha1(IMAGE).hexdigest(),
        "md5": hashlib.md5(IMAGE).hexdigest(),
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    }
    assert file["filename"].endswith("-1.1.0.swu")

    ddi.feedback(action, "proceeding", "none", "Installing Update Chunk Artifacts.")
    fetched = ddi.ask(file["_links"]["download-http"]["href"])
    assert whole(fetched) == IMAGE
    checksum = ddi.ask(file["_links"]["md5sum-http"]["href"]).content.decode()
    assert checksum == f"{file['hashes']['md5']}  {file['filename']}"
    assert state_of(ddi, target) == TargetState.DOWNLOADING
    assert ddi.feedback(action, "closed", "success", "Done").status_code == 200

    assert ddi.events(target) == [("accepted", "", ""), ("succeeded", "", "")]
    assert state_of(ddi, target) == TargetState.SUCCEEDED
    after = ddi.ask().json()
    assert after["config"] == {"polling": {"sleep": "00:05:00"}}
    assert sorted(after["_links"]) == ["configData", "installedBase"]
    installed = ddi.ask(after["_links"]["installedBase"]["href"]).json()
    assert installed["deployment"] == told["deployment"]


def test_failure_is_told_with_its_reason(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    lines = ("ERROR : HASH mismatch", "Image invalid or corrupted.")
    assert ddi.feedback(action, "closed", "failure", *lines).status_code == 200
    # Whether the device tries again is for the roll-out's strategy to say.
    assert ddi.events(target)[-1] == ("retry", "digest", lines[0])
    assert "deploymentBase" not in ddi.links()


def test_another_attempt_is_another_action(ddi: Ddi, target: RolloutTarget) -> None:
    first = _begun(ddi)
    ddi.feedback(first, "closed", "failure")
    set_state(ddi, target, TargetState.OFFERED, again=True)
    second = _begun(ddi)
    assert second != first
    # What was said of the former attempt is not taken for this one.
    assert ddi.feedback(first, "closed", "success").status_code == 410
    assert ddi.feedback(second, "proceeding").status_code == 200


def test_update_that_is_taken_back_unseen_is_forgotten(ddi: Ddi, target: RolloutTarget) -> None:
    action = _action(ddi)
    set_state(ddi, target, TargetState.CANCELLED)
    assert "cancelAction" not in ddi.links()
    assert ddi.ask(f"/deploymentBase/{action}").status_code == 404
    assert ddi.feedback(action, "closed", "success").status_code == 410


def test_update_that_is_taken_back_while_it_is_shown_is_one_or_the_other(
    ddi: Ddi, target: RolloutTarget
) -> None:
    """Of two requests at once, one wins: forgotten, or shown and then to be stopped."""
    with open_scope(ddi.scope):
        now = datetime.now(UTC)
        ddi.links()
        early, late = DdiAction.objects.get(), DdiAction.objects.get()
        assert ddi_actions.retrieve(early, now)
        set_state(ddi, target, TargetState.CANCELLED)
        assert "cancelAction" in ddi.links()
        DdiAction.objects.update(retrieved_at=None)
        assert "cancelAction" not in ddi.links()
        assert not ddi_actions.retrieve(late, now)


def test_update_that_is_taken_back_is_to_be_stopped(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    assert ddi.ask(f"/cancelAction/{action}").status_code == 404
    set_state(ddi, target, TargetState.CANCELLED)

    links = ddi.links()
    assert ("cancelAction" in links, "deploymentBase" in links) == (True, False)
    stop = ddi.ask(links["cancelAction"]).json()
    assert stop == {"id": str(action), "cancelAction": {"stopId": str(action)}}
    assert ddi.feedback(action, "proceeding", of="cancelAction").status_code == 200
    assert "cancelAction" in ddi.links()
    answer = ddi.feedback(action, "closed", "success", "Stopped", of="cancelAction")
    assert answer.status_code == 200
    assert "cancelAction" not in ddi.links()
    assert ("ignored", "withdrawn", "Stopped") in ddi.events(target)
    assert state_of(ddi, target) == TargetState.CANCELLED
    again = ddi.feedback(action, "closed", "success", of="cancelAction")
    assert again.status_code == 410


def test_device_may_refuse_to_stop_and_is_heard_on(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    set_state(ddi, target, TargetState.CANCELLED)
    answer = ddi.feedback(action, "rejected", "none", "Too late", of="cancelAction")
    assert answer.status_code == 200
    assert "cancelAction" not in ddi.links()
    assert ddi.feedback(action, "closed", "success").status_code == 200
    # What the device runs is what it says, whatever was wanted meanwhile.
    assert ddi.events(target)[-1] == ("succeeded", "late", "")
    assert state_of(ddi, target) == TargetState.SUCCEEDED


def test_next_update_follows_after_the_stop(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    set_state(ddi, target, TargetState.CANCELLED)
    offered(ddi, b"another", version="1.2.0")
    assert "deploymentBase" not in ddi.links()
    ddi.feedback(action, "closed", "none", of="cancelAction")
    assert _action(ddi) > action


def test_device_tells_of_itself(ddi: Ddi) -> None:
    assert "configData" in ddi.links()
    sent = {"data": {"hw": "2", "firmware_version": "1.0.7"}}
    assert ddi.tell("/configData", sent, "PUT").status_code == 200
    assert "configData" not in ddi.links()
    ddi.tell("/configData", {"mode": "remove", "data": {"hw": ""}}, "PUT")
    with open_scope(ddi.scope):
        row = DdiTarget.objects.get(device=ddi.device)
        link = status.links(connection, [ddi.device.pk])[ddi.device.pk]
    assert row.attributes == {"firmware_version": "1.0.7"}
    assert link.firmware_version == "1.0.7"


# Consent at the device


def _demand_consent(ddi: Ddi) -> None:
    with open_scope(ddi.scope):
        ddi_keys.change_settings(
            tenant_id=ddi.tenant.pk, values={"confirmation": True}, actor_id=None
        )


def test_update_waits_for_consent(ddi: Ddi, target: RolloutTarget) -> None:
    _demand_consent(ddi)
    links = ddi.links()
    assert "deploymentBase" not in links
    action = number_in(links["confirmationBase"])
    asked = ddi.ask(links["confirmationBase"]).json()
    assert asked["confirmation"]["chunks"][0]["version"] == "1.1.0"
    assert ddi.ask(f"/deploymentBase/{action}").status_code == 404
    assert ddi.feedback(action, "closed", "success").status_code == 404

    base = ddi.ask("/confirmationBase").json()
    assert base["autoConfirm"] == {"active": False}
    assert base["_links"]["confirmationBase"]["href"] == links["confirmationBase"]
    path = f"/confirmationBase/{action}/feedback"
    assert ddi.tell(path, {"confirmation": "confirmed"}).status_code == 200
    assert ddi.tell(path, {"confirmation": "confirmed"}).status_code == 404
    # Nothing has begun yet.
    assert state_of(ddi, target) == TargetState.OFFERED
    assert _begun(ddi) == action


def test_declined_update_ends_the_attempt(ddi: Ddi, target: RolloutTarget) -> None:
    _demand_consent(ddi)
    action = number_in(ddi.links()["confirmationBase"])
    said = {"confirmation": "denied", "details": ["Not now"]}
    assert ddi.tell(f"/confirmationBase/{action}/feedback", said).status_code == 200
    assert ddi.events(target)[-1] == ("retry", "busy", "Not now")
    assert "confirmationBase" not in ddi.links()


def test_consent_in_advance_opens_all_updates(ddi: Ddi, target: RolloutTarget) -> None:
    _demand_consent(ddi)
    said = {"initiator": "Ada", "remark": "At night"}
    assert ddi.tell("/confirmationBase/activateAutoConfirm", said).status_code == 200
    base = ddi.ask("/confirmationBase").json()
    assert base["autoConfirm"]["initiator"] == "Ada"
    assert "deploymentBase" in ddi.links()
    assert ddi.tell("/confirmationBase/deactivateAutoConfirm", b"").status_code == 200
    assert "confirmationBase" in ddi.links()
    with open_scope(ddi.scope):
        trail = AuditEntry.objects.filter(action="device.ddi_consent")
        assert [(entry.channel, entry.actor_id) for entry in trail] == [("api", None)] * 2


# Who may ask


@pytest.mark.parametrize(
    "header", ["", "TargetToken wrong", "GatewayToken wrong", "Bearer x", "TargetToken \0é"]
)
def test_without_its_token_nobody_learns_anything(ddi: Ddi, header: str) -> None:
    for root in (ddi.root, ddi.root + "x", ddi.root.replace("/controller", "x/controller")):
        answer = Client().get(root, headers={"authorization": header})
        assert (answer.status_code, answer.content) == (401, b"")


def test_gateway_token_opens_the_devices_of_its_tenant(ddi: Ddi) -> None:
    other = speaking()
    with open_scope(ddi.scope):
        gateway = ddi_keys.issue_gateway_token(tenant_id=ddi.tenant.pk, actor_id=None)
        second = devices.device(devices.facility(ddi.tenant), ddi.kind).device
        plain = devices.device(devices.facility(ddi.tenant)).device
    headers = {"authorization": f"GatewayToken {gateway}"}

    def status_of(root: str) -> int:
        return Client().get(root, headers=headers).status_code

    base = f"/{ddi.tenant.slug}/controller/v1"
    assert status_of(ddi.root) == status_of(f"{base}/{second.serial}") == 200
    # Not updated over DDI; of another tenant; not there at all.
    assert status_of(f"{base}/{plain.serial}") == 404
    assert status_of(f"{base}/{other.device.serial}") == 404
    assert status_of(f"{base}/no-such") == 404
    assert status_of(other.root) == 401
    with open_scope(ddi.scope):
        assert ddi_keys.withdraw_gateway_token(tenant_id=ddi.tenant.pk, actor_id=None)
    assert status_of(ddi.root) == 401


def test_new_token_takes_the_place_of_the_former(ddi: Ddi) -> None:
    assert ddi.ask().status_code == 200
    with open_scope(ddi.scope):
        token = ddi_keys.issue_target_token(device_id=ddi.device.pk, actor_id=None)
    assert ddi.ask().status_code == 401
    ddi.token = token
    assert ddi.ask().status_code == 200
    with open_scope(ddi.scope):
        row = DdiTarget.objects.get(device=ddi.device)
        assert bytes(row.token_sha256 or b"") == hashlib.sha256(token.encode()).digest()
        assert ddi_keys.withdraw_target_token(device_id=ddi.device.pk, actor_id=None)
        told = str(list(AuditEntry.objects.values("before", "after")))
    assert ddi.ask().status_code == 401
    assert token not in told


@pytest.mark.parametrize("state", [DeviceState.SUSPENDED, DeviceState.REVOKED])
def test_device_that_is_not_active_is_refused(ddi: Ddi, state: DeviceState) -> None:
    with open_scope(ddi.scope):
        Device.objects.filter(pk=ddi.device.pk).update(state=state)
    answer = ddi.ask()
    assert answer.status_code == 403
    assert answer.json()["errorCode"] == "wattline.error.deviceNotActive"


def test_plain_http_is_refused_where_there_is_tls(ddi: Ddi, settings: Settings) -> None:
    settings.HTTPS = settings.SECURE_SSL_REDIRECT = True
    assert ddi.ask().status_code == 403
    secure = ddi.client.get(
        ddi.root, secure=True, headers={"authorization": f"TargetToken {ddi.token}"}
    )
    assert secure.status_code == 200


def test_another_devices_actions_are_not_there(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    same_tenant = speaking(ddi.tenant, ddi.kind)
    for other in (same_tenant, speaking()):
        for path in ("deploymentBase", "installedBase", "cancelAction", "confirmationBase"):
            assert other.ask(f"/{path}/{action}").status_code == 404
        for path in ("deploymentBase", "cancelAction"):
            assert other.feedback(action, "closed", "success", of=path).status_code == 404
        said = {"confirmation": "denied"}
        assert other.tell(f"/confirmationBase/{action}/feedback", said).status_code == 404
        assert other.ask(f"/softwaremodules/{target.release_id}/artifacts").status_code == 404
    assert [kind for kind, _, _ in ddi.events(target)] == ["accepted"]


def test_claimed_device_has_no_token_of_its_former_tenant() -> None:
    client = devices.tenant()
    assert client.parent_id is not None
    with open_scope(Scope((client.parent_id,))):
        maker = Tenant.objects.get(pk=client.parent_id)
        kind = ddi_type(maker)
        planned = devices.device(devices.facility(maker), kind, state=DeviceState.PLANNED).device
        token = ddi_keys.issue_target_token(device_id=planned.pk, actor_id=None)
        (issued,) = claims.issue_codes(
            device_ids=[planned.pk],
            lifetime=timedelta(days=1),
            now=datetime.now(UTC),
            actor_id=None,
        )
    assert issued.code is not None
    with open_scope(Scope((client.pk,))):
        claims.claim(
            code=issued.code.text,
            facility_id=devices.facility(client).pk,
            name="Claimed",
            placement=Placement.MAINS,
            actor_id=None,
        )
        device = Device.objects.get(pk=planned.pk)
    former, now = (
        Ddi(maker, device, kind, token, Client()),
        Ddi(client, device, kind, token, Client()),
    )
    assert former.ask().status_code == now.ask().status_code == 401
    with open_scope(now.scope):
        now.token = ddi_keys.issue_target_token(device_id=device.pk, actor_id=None)
    assert now.ask().status_code == 200


# Hostile controllers


def test_wrong_tokens_are_stopped_for_one_device_and_not_for_its_neighbour(ddi: Ddi) -> None:
    neighbour = speaking(ddi.tenant, ddi.kind)
    wrong = {"authorization": "TargetToken wrong"}
    codes = [Client().get(ddi.root, headers=wrong).status_code for _ in range(7)]
    assert codes == [401] * limits.PAIR.most + [429] * 2
    assert ddi.ask().status_code == 429
    assert neighbour.ask().status_code == 200


def test_wrong_tokens_do_not_shut_out_who_was_let_in_before(ddi: Ddi) -> None:
    """Many devices share the address of a router or of a mobile network."""
    assert ddi.ask().status_code == 200
    wrong = {"authorization": "TargetToken wrong"}
    for _ in range(limits.PAIR.most):
        Client().get(ddi.root, headers=wrong)
    assert Client().get(ddi.root, headers=wrong).status_code == 429
    assert ddi.ask().status_code == 200
    with open_scope(ddi.scope):
        assert ddi_keys.withdraw_target_token(device_id=ddi.device.pk, actor_id=None)
    assert [ddi.ask().status_code for _ in range(2)] == [401, 429]


def test_flood_of_requests_is_stopped(ddi: Ddi, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.set(f"ddi:requests:{ddi.device.pk}", limits.REQUESTS.most - 1, 60)
    assert ddi.ask().status_code == 200
    answer = ddi.ask()
    assert (answer.status_code, answer["Retry-After"]) == (429, "60")


def test_flood_of_feedback_is_stopped_but_not_its_end(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    with open_scope(ddi.scope):
        DdiAction.objects.filter(pk=action).update(feedbacks=MOST_FEEDBACKS)
    answer = ddi.feedback(action, "proceeding")
    assert answer.status_code == 403
    assert answer.json()["errorCode"] == "hawkbit.server.error.quota.tooManyEntries"
    assert ddi.feedback(action, "closed", "success").status_code == 200


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[" * 30_000, 400),
        (b"\xff\xfe", 400),
        (b"{}", 400),
        (b'{"status": {"execution": "closed", "result": {"finished": "perhaps"}}}', 400),
        (b" " * 70_000, 413),
    ],
)
def test_bad_bodies_get_a_sentence(ddi: Ddi, target: RolloutTarget, body: bytes, code: int) -> None:
    action = _begun(ddi)
    answer = ddi.tell(f"/deploymentBase/{action}/feedback", body)
    assert answer.status_code == code
    assert sorted(answer.json()) == ["errorCode", "exceptionClass", "message"]


def test_replayed_feedback_changes_nothing(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    assert ddi.feedback(action, "closed", "success").status_code == 200
    told = ddi.events(target)
    assert ddi.feedback(action, "closed", "success").status_code == 410
    assert ddi.feedback(action, "closed", "failure").status_code == 410
    assert ddi.events(target) == told


def test_success_that_was_never_asked_for_is_none(ddi: Ddi, target: RolloutTarget) -> None:
    action = _action(ddi)
    assert ddi.feedback(action, "closed", "success").status_code == 404
    assert state_of(ddi, target) == TargetState.OFFERED


@pytest.mark.parametrize("name", ["a%00b", "%FF", "x" * 500, "%F0%9F%94%8C", "-", "..", "a b"])
def test_names_that_no_device_has(ddi: Ddi, name: str) -> None:
    headers = {"authorization": f"TargetToken {ddi.token}"}
    answer = Client().get(f"/{ddi.tenant.slug}/controller/v1/{name}", headers=headers)
    assert answer.status_code in (401, 404)


def test_devices_update_while_nothing_can_be_counted(
    ddi: Ddi, target: RolloutTarget, settings: Settings
) -> None:
    nowhere = {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    wrong = {"authorization": "TargetToken x"}
    with override_settings(CACHES={"default": nowhere}):
        assert whole(ddi.ask(_file(ddi))) == IMAGE
        assert Client().get(ddi.root, headers=wrong).status_code == 401


@pytest.mark.parametrize("number", [0, 2**31, 2**63, 10**40])
def test_numbers_that_name_nothing(ddi: Ddi, number: int) -> None:
    assert ddi.ask(f"/deploymentBase/{number}").status_code == 404
    assert ddi.ask(f"/softwaremodules/{number}/artifacts").status_code == 404
    assert ddi.feedback(number, "closed", "success").status_code == 404


def test_lines_of_any_kind_are_kept_or_cut(ddi: Ddi, target: RolloutTarget) -> None:
    action = _begun(ddi)
    lines = ["a\0b", "\ud800", "x" * 5_000, *("line" for _ in range(90))]
    assert ddi.feedback(action, "proceeding", "none", *lines).status_code == 200


# Files


def _file(ddi: Ddi) -> str:
    action = _begun(ddi)
    told = ddi.ask(f"/deploymentBase/{action}").json()
    link: str = told["deployment"]["chunks"][0]["artifacts"][0]["_links"]["download-http"]["href"]
    return link


@pytest.mark.parametrize(
    ("header", "code", "part"),
    [
        ("bytes=0-9", 206, IMAGE[:10]),
        ("bytes=10000-", 206, IMAGE[10_000:]),
        ("bytes=-5", 206, IMAGE[-5:]),
        (f"bytes=0-{len(IMAGE)}", 200, IMAGE),
        ("bytes=0-1,4-5", 200, IMAGE),
        ("bytes=99999-", 416, b""),
    ],
)
def test_file_is_served_in_parts(
    ddi: Ddi, target: RolloutTarget, header: str, code: int, part: bytes
) -> None:
    answer = ddi.ask(_file(ddi), range=header)
    assert (answer.status_code, whole(answer)) == (code, part)
    assert answer["Content-Length"] == str(len(part))
    if code == 206:
        start = len(IMAGE) - 5 if header == "bytes=-5" else int(header[6:].partition("-")[0])
        found = f"bytes {start}-{start + len(part) - 1}/{len(IMAGE)}"
        assert answer["Content-Range"] == found
    assert answer["ETag"] == f'"{target.payload_sha256}"'


def test_file_is_resumed_only_when_it_is_the_same(ddi: Ddi, target: RolloutTarget) -> None:
    link = _file(ddi)
    first = ddi.ask(link)
    tag = first["ETag"]
    assert whole(first) == IMAGE
    part = ddi.ask(link, range="bytes=5-", if_range=tag)
    assert (part.status_code, whole(part)) == (206, IMAGE[5:])
    other = ddi.ask(link, range="bytes=5-", if_range='"other"')
    assert (other.status_code, whole(other)) == (200, IMAGE)
    assert ddi.ask(link, if_none_match=tag).status_code == 304
    assert ddi.ask(link, if_match='"other"').status_code == 412


def test_head_tells_the_size(ddi: Ddi, target: RolloutTarget) -> None:
    path = _file(ddi).removeprefix("http://testserver")
    answer = ddi.client.head(path, headers={"authorization": f"TargetToken {ddi.token}"})
    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(IMAGE)))
    assert answer.content == b""


def test_file_needs_the_token_and_the_update(ddi: Ddi, target: RolloutTarget) -> None:
    link = _file(ddi)
    assert Client().get(link.removeprefix("http://testserver")).status_code == 401
    assert ddi.ask(link + "x").status_code == 404
    action = number_in(ddi.links()["deploymentBase"])
    ddi.feedback(action, "closed", "failure")
    assert ddi.ask(link).status_code == 404


def test_device_is_sent_a_file_a_few_times_at_once(ddi: Ddi, target: RolloutTarget) -> None:
    link = _file(ddi)
    begun = [ddi.ask(link) for _ in range(views_files.AT_ONCE)]
    refused = ddi.ask(link)
    assert (refused.status_code, refused["Retry-After"]) == (429, "30")
    assert whole(begun.pop()) == IMAGE
    assert whole(ddi.ask(link, range="bytes=0-9")) == IMAGE[:10]
    assert [whole(answer) for answer in begun] == [IMAGE] * len(begun)


def test_parts_of_a_file_share_the_pace_of_their_device(ddi: Ddi, target: RolloutTarget) -> None:
    link = _file(ddi)
    with open_scope(ddi.scope):
        RolloutTarget.objects.filter(pk=target.pk).update(rate=10**9)
    assert b"".join(whole(ddi.ask(link, range=f"bytes={at}-{at}")) for at in range(3)) == IMAGE[:3]
    # However small the parts are that a device asks for, one waits for those before it.
    pace = views_files.sending.pace(ddi.device.pk, 10**9)
    now = time.monotonic()
    pace.spend(10 * 10**9, now)
    assert views_files.sending.pace(ddi.device.pk, 10**9).wait_s(now) > 9
    assert views_files.sending.pace(ddi.device.pk + 1, 10**9).wait_s(now) == 0


@pytest.mark.parametrize("state", [TargetState.DOWNLOADING, TargetState.CANCELLED])
def test_file_comes_as_fast_as_is_granted_and_slowly_once_nothing_is(
    ddi: Ddi, target: RolloutTarget, state: TargetState
) -> None:
    link = _file(ddi)
    with open_scope(ddi.scope):
        RolloutTarget.objects.filter(pk=target.pk).update(rate=9_000_000, state=state)
        action = DdiAction.objects.get()
        controller = _controller(ddi)
        granted = ddi_downloads.downloading(
            controller=controller, module=target.release_id or 0, offset=0, now=action.created_at
        )
    expected = {TargetState.DOWNLOADING: 9_000_000, TargetState.CANCELLED: ddi_downloads.LEFT_RATE}
    assert granted == expected[state]
    assert whole(ddi.ask(link)) == IMAGE


def _controller(ddi: Ddi) -> Controller:
    presented = read_authorization(f"TargetToken {ddi.token}")
    assert presented is not None
    return ddi_doors.admit(
        tenant=ddi.tenant.slug, controller=ddi.device.serial, presented=presented
    )


def test_file_that_is_lost_is_told(ddi: Ddi, target: RolloutTarget, settings: Settings) -> None:
    link = _file(ddi)
    for path in Path(settings.STORAGES["firmware"]["OPTIONS"]["location"]).rglob("*"):
        if path.is_file():
            path.unlink()
    cache.clear()  # its checksums, too
    action = number_in(ddi.links()["deploymentBase"])
    for where in (link, f"/deploymentBase/{action}"):
        answer = ddi.ask(where)
        assert answer.status_code == 404
        assert "not in the store" in answer.json()["message"]


def test_parts_tell_the_roll_out_how_far_the_download_is(ddi: Ddi, target: RolloutTarget) -> None:
    link = _file(ddi)

    def fetched(start: int) -> int:
        whole(ddi.ask(link, range=f"bytes={start}-{start + 63}"))
        with open_scope(ddi.scope):
            return RolloutTarget.objects.get(pk=target.pk).offset

    # Not each part is news.
    told = [fetched(start) for start in (0, 64, 500, 600, 10_000)]
    assert told == [0, 0, 564, 564, 10_000]
    assert state_of(ddi, target) == TargetState.DOWNLOADING


def test_update_that_rests_is_shown_again(ddi: Ddi, target: RolloutTarget) -> None:
    """A device that did not ask for long gives its place to others, and keeps its attempt."""
    action = _begun(ddi)
    set_state(ddi, target, TargetState.WAITING)
    assert not {"deploymentBase", "cancelAction"} & set(ddi.links())
    assert ddi.ask(f"/deploymentBase/{action}").status_code == 404
    assert ddi.ask(f"/cancelAction/{action}").status_code == 404
    set_state(ddi, target, TargetState.OFFERED)
    assert _action(ddi) == action


# The device among the others


def test_polling_shows_the_device_alive(ddi: Ddi) -> None:
    def link() -> Any:
        with open_scope(ddi.scope):
            return status.links(connection, [ddi.device.pk])[ddi.device.pk]

    assert (link().connected, link().last_seen_at) == (False, None)
    ddi.ask()
    first = link()
    assert first.connected
    ddi.ask()
    assert link().last_seen_at > first.last_seen_at
    assert link().changed_at == first.changed_at
    with open_scope(ddi.scope):
        # No bridge has it, so none that is lost takes it along.
        assert bridges() == frozenset()


def test_polling_takes_a_fixed_number_of_queries(ddi: Ddi, target: RolloutTarget) -> None:
    ddi.ask()
    with CaptureQueriesContext(
        connection,
    ) as found:
        ddi.ask()
    texts = [query["sql"] for query in found if not query["sql"].startswith(("SAVEPOINT", "REL"))]
    assert len(texts) == 9, "\n".join(texts)


def test_answers_are_not_sent_twice(ddi: Ddi) -> None:
    tag = ddi.ask()["ETag"]
    again = ddi.ask(if_none_match=tag)
    assert (again.status_code, again.content) == (304, b"")
    hal = ddi.ask(accept="application/hal+json")
    assert hal["Content-Type"] == "application/hal+json"
    assert ddi.ask(accept="*/*")["Content-Type"] == "application/json"


def test_tenant_sets_intervals_and_handling(ddi: Ddi, target: RolloutTarget) -> None:
    values = {"polling_s": 3600, "busy_polling_s": 60, "handling": "attempt"}
    with open_scope(ddi.scope):
        assert ddi_keys.change_settings(tenant_id=ddi.tenant.pk, values=values, actor_id=None)
        assert not ddi_keys.change_settings(tenant_id=ddi.tenant.pk, values=values, actor_id=None)
    assert ddi.ask().json()["config"]["polling"]["sleep"] == "00:01:00"
    told = ddi.ask(f"/deploymentBase/{_action(ddi)}").json()
    assert told["deployment"]["update"] == "attempt"


def test_type_without_ddi_gets_no_token() -> None:
    tenant = devices.tenant()
    with open_scope(Scope((tenant.pk,))):
        device = devices.device(devices.facility(tenant)).device
        with pytest.raises(ValidationError):
            ddi_keys.issue_target_token(device_id=device.pk, actor_id=None)
        assert ddi_type(tenant).capabilities == ["ddi"]

"""Payloads over HTTP by a signed link (RFC 9110, section 14), paced, and told of."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.http import StreamingHttpResponse
from django.test import AsyncClient, Client
from pytest_django import Settings

from devices.ingest.limits import BucketTable, Pace
from devices.tests.factories import device, facility
from firmware.artifacts import places, store
from firmware.domain import downloads
from firmware.models import RolloutTarget, RolloutWave, TargetState, UpdateEvent
from firmware.tests.factories import release, rollout
from firmware.tests.factories import target as a_target
from portal.downloads import paced, views
from portal.downloads.sending import Sending
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner"])

PAYLOAD = bytes(range(251)) * 2_000
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()
ETAG = f'"{DIGEST}"'


@dataclass(frozen=True)
class World:
    scope: Scope
    target: RolloutTarget
    url: str

    def change(self, **values: object) -> None:
        with open_scope(self.scope):
            RolloutTarget.objects.filter(pk=self.target.pk).update(**values)

    def events(self) -> list[tuple[str, Any]]:
        with open_scope(self.scope):
            return list(UpdateEvent.objects.values_list("kind", "data"))

    def offset(self) -> int:
        with open_scope(self.scope):
            return RolloutTarget.objects.get(pk=self.target.pk).offset


@pytest.fixture
def world(db: None, tmp_path: Path, settings: Settings) -> World:
    settings.STORAGES = {**settings.STORAGES, "firmware": places.in_folder(tmp_path / "firmware")}
    store.write(PAYLOAD, sha256=DIGEST)
    of = tenant()
    scope = Scope((of.pk,))
    with open_scope(scope):
        meter = device(facility(of)).device
        to = release(of, meter.device_type)
        wave = RolloutWave.objects.create(tenant=of, rollout=rollout(of, to), number=1, size=1)
        target = a_target(wave, meter)
        target.payload_sha256, target.payload_size = DIGEST, len(PAYLOAD)
        target.state, target.attempts = TargetState.OFFERED, 1
        target.save()
    link = downloads.url_for(
        tenant_id=of.pk, device_id=meter.pk, update_uid=target.update_uid, sha256=DIGEST
    )
    parts = urlsplit(link)
    return World(scope, target, f"{parts.path}?{parts.query}")


def get(url: str, **headers: str) -> Any:
    return Client().get(url, headers=headers)


def body(response: Any) -> bytes:
    """What was sent; the answer is closed, as the server closes it."""
    with closing(response):
        return b"".join(response.streaming_content) if response.streaming else response.content


def test_whole_payload_comes_with_its_digest(world: World) -> None:
    response = get(world.url)
    assert (response.status_code, body(response)) == (200, PAYLOAD)
    assert response["ETag"] == ETAG
    assert response["Accept-Ranges"] == "bytes"
    assert response["Content-Length"] == str(len(PAYLOAD))
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-Accel-Buffering"] == "no"
    assert "Set-Cookie" not in response


@pytest.mark.parametrize(
    ("range_", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299", 100, 300),
        ("bytes=400000-", 400_000, len(PAYLOAD)),
        ("bytes=-5", len(PAYLOAD) - 5, len(PAYLOAD)),
        ("bytes=501999-999999999", len(PAYLOAD) - 1, len(PAYLOAD)),
    ],
)
def test_one_range_is_served(world: World, range_: str, start: int, end: int) -> None:
    response = get(world.url, range=range_)
    assert (response.status_code, body(response)) == (206, PAYLOAD[start:end])
    assert response["Content-Range"] == f"bytes {start}-{end - 1}/{len(PAYLOAD)}"
    assert response["Content-Length"] == str(end - start)


def test_range_beyond_the_end_is_refused(world: World) -> None:
    response = get(world.url, range=f"bytes={len(PAYLOAD)}-")
    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{len(PAYLOAD)}"


def test_resuming_is_for_the_same_payload_alone(world: World) -> None:
    same = get(world.url, range="bytes=9-", if_range=ETAG)
    assert (same.status_code, body(same)) == (206, PAYLOAD[9:])
    other = get(world.url, range="bytes=9-", if_range='"another"')
    assert (other.status_code, body(other)) == (200, PAYLOAD)


def test_head_tells_without_sending(world: World) -> None:
    response = Client().head(world.url, headers={"range": "bytes=10-19"})
    assert (response.status_code, response.content) == (206, b"")
    assert response["Content-Length"] == "10"
    assert world.events() == []


def test_payload_is_whole_after_any_breaks(world: World) -> None:
    got = b""
    for cut in (1, 65_536, 65_537, 300_000, len(PAYLOAD)):
        response = get(world.url, range=f"bytes={len(got)}-", if_range=ETAG)
        part = b""
        for piece in response.streaming_content:
            part += piece
            if len(got) + len(part) >= cut:
                break
        response.close()
        got += part[: cut - len(got)]
    assert got == PAYLOAD


def test_refusals_are_problems_that_say_what_to_do(world: World) -> None:
    changed = get(world.url.replace("signature=", "signature=x"))
    assert (changed.status_code, changed.json()["code"]) == (403, "link_invalid")
    assert changed["Content-Type"] == "application/problem+json"
    world.change(state=TargetState.INSTALLING)
    ended = get(world.url)
    assert (ended.status_code, ended.json()["code"]) == (410, "download_ended")
    assert Client().post(world.url).status_code == 405


def test_payload_that_the_store_has_lost_is_told_to_come_again(world: World) -> None:
    store.remove(DIGEST)
    response = get(world.url)
    assert (response.status_code, response.json()["code"]) == (503, "not_stored")
    assert response["Retry-After"] == "30"


def test_one_link_is_served_a_few_times_at_once(world: World) -> None:
    open_answers = [get(world.url) for _ in range(4)]
    refused = get(world.url)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many")
    open_answers[0].close()
    assert body(get(world.url, range="bytes=0-9")) == PAYLOAD[:10]
    for one in open_answers[1:]:
        one.close()


def test_link_is_asked_for_a_bounded_number_of_times(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing comes back while the test runs, however long it takes.
    monkeypatch.setattr(views, "_requests", BucketTable(3, 1e9))
    assert [Client().head(world.url).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = get(world.url)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_often")
    # Another link is not concerned.
    assert get(world.url.replace("signature=", "signature=x")).status_code == 403


def test_nothing_is_counted_once_all_have_ended(world: World) -> None:
    for _ in range(6):
        body(get(world.url))
    assert views._sending.count(world.target.update_uid) == 0


def test_answer_that_nobody_has_any_more_is_not_counted() -> None:
    sending = Sending(1)
    answer = StreamingHttpResponse(_pieces())
    sending.begin("receiver", answer)
    assert sending.is_full("receiver")
    del answer
    gc.collect()
    assert not sending.is_full("receiver")


def test_how_far_it_is_is_told(world: World) -> None:
    body(get(world.url, range="bytes=0-99999"))
    assert world.offset() == 100_000
    body(get(world.url, range="bytes=100000-"))
    assert world.offset() == len(PAYLOAD)


async def test_asynchronous_server_sends_the_same(world: World) -> None:
    response: Any = await AsyncClient().get(world.url, headers={"range": "bytes=7-400006"})
    got = b"".join([piece async for piece in response.streaming_content])
    assert (response.status_code, got) == (206, PAYLOAD[7:400_007])


# --- The pace ---------------------------------------------------------------------------------


def _pieces() -> Iterator[bytes]:
    for start in range(0, 30_000, 20_000):
        yield PAYLOAD[start : min(30_000, start + 20_000)]


async def _async_pieces() -> AsyncIterator[bytes]:
    for piece in _pieces():
        yield piece


def test_answer_is_no_faster_than_its_rate_and_says_how_far_it_is() -> None:
    told: list[int] = []
    response = StreamingHttpResponse(_pieces())
    paced.pace(response, pace=Pace(100_000), size=30_000, tell=told.append)
    began = time.monotonic()
    assert body(response) == PAYLOAD[:30_000]
    assert told == [30_000]
    assert time.monotonic() >= began


def test_asynchronous_answer_is_cut_to_a_second_of_its_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    told: list[int] = []

    async def main() -> list[int]:
        response = StreamingHttpResponse(_async_pieces())
        paced.pace(response, pace=Pace(4_000), size=30_000, tell=told.append)
        return [len(part) async for part in response.streaming_content]  # type: ignore[union-attr]

    sizes = asyncio.run(main())
    assert (max(sizes), sum(sizes)) == (4_000, 30_000)
    # Each part waits until those before it are paid for.
    assert slept[0] == 0
    assert all(seconds > 0.5 for seconds in slept[2:])
    assert told == [30_000]

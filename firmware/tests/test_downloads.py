"""Links to payloads: good for one device, one update, one digest, a time, and nothing else."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

import pytest

from devices.models import Device, DeviceState
from devices.tests.factories import device, facility
from firmware.domain import downloads
from firmware.domain.downloads import (
    LIFETIME_S,
    Download,
    DownloadEnded,
    DownloadRefused,
    LinkExpired,
    opened,
    url_for,
)
from firmware.models import RolloutTarget, RolloutWave, TargetState
from firmware.tests.factories import release, rollout
from firmware.tests.factories import target as a_target
from tenants.scope import Scope, open_scope
from tenants.tests.factories import tenant

PAYLOAD = bytes(range(251)) * 100
DIGEST = hashlib.sha256(PAYLOAD).hexdigest()
NOW = 1_800_000_000.0


def link_to(target: RolloutTarget, now: float) -> str:
    return url_for(
        tenant_id=target.tenant_id,
        device_id=target.device_id,
        update_uid=target.update_uid,
        sha256=DIGEST,
        now=now,
    )


@dataclass(frozen=True)
class World:
    scope: Scope
    target: RolloutTarget

    def link(self, now: float = NOW) -> tuple[str, dict[str, str]]:
        """Digest and query of the link to the payload."""
        parts = urlsplit(link_to(self.target, now))
        assert parts.path.startswith(downloads.PATH)
        return parts.path.removeprefix(downloads.PATH), dict(parse_qsl(parts.query))

    def change(self, **values: object) -> None:
        with open_scope(self.scope):
            RolloutTarget.objects.filter(pk=self.target.pk).update(**values)


@pytest.fixture
def world(db: None) -> World:
    of = tenant()
    scope = Scope((of.pk,))
    with open_scope(scope):
        meter = device(facility(of)).device
        to = release(of, meter.device_type)
        wave = RolloutWave.objects.create(tenant=of, rollout=rollout(of, to), number=1, size=1)
        target = a_target(wave, meter)
    made = World(scope, target)
    made.change(
        payload_sha256=DIGEST,
        payload_size=len(PAYLOAD),
        rate=5_000,
        state=TargetState.OFFERED,
    )
    return made


def test_link_opens_the_payload_of_its_update(world: World) -> None:
    digest, query = world.link()
    assert opened(digest, query, now=NOW) == Download(
        world.target.tenant_id,
        world.target.device_id,
        world.target.update_uid,
        DIGEST,
        len(PAYLOAD),
        5_000,
    )


def test_link_fits_the_field_of_an_offer(world: World) -> None:
    assert len(link_to(world.target, NOW)) < 400


def test_link_expires(world: World) -> None:
    digest, query = world.link()
    opened(digest, query, now=NOW + LIFETIME_S - 1)
    with pytest.raises(LinkExpired):
        opened(digest, query, now=NOW + LIFETIME_S)


@pytest.mark.parametrize("name", ["tenant", "device", "update", "expires", "signature"])
def test_no_part_of_a_link_may_be_changed(world: World, name: str) -> None:
    digest, query = world.link()
    for value in ("", "0", "1:2", query[name] + "0", "é\N{SNOWMAN}"):
        with pytest.raises(DownloadRefused) as caught:
            opened(digest, query | {name: value}, now=NOW)
        assert caught.value.code == "link_invalid"
    with pytest.raises(DownloadRefused):
        opened(digest, {key: query[key] for key in query if key != name}, now=NOW)


def test_link_is_for_one_digest(world: World) -> None:
    _, query = world.link()
    with pytest.raises(DownloadRefused):
        opened("0" * 64, query, now=NOW)


@pytest.mark.parametrize(
    "state", sorted(set(TargetState) - {TargetState.OFFERED, TargetState.DOWNLOADING})
)
def test_link_ends_with_the_download(world: World, state: TargetState) -> None:
    digest, query = world.link()
    world.change(state=state)
    with pytest.raises(DownloadEnded):
        opened(digest, query, now=NOW)


def test_link_ends_when_another_payload_or_attempt_is_offered(world: World) -> None:
    digest, query = world.link()
    world.change(payload_sha256="0" * 64)
    with pytest.raises(DownloadEnded):
        opened(digest, query, now=NOW)
    world.change(payload_sha256=DIGEST, update_uid="0" * 32)
    with pytest.raises(DownloadEnded):
        opened(digest, query, now=NOW)


def test_link_ends_with_the_device(world: World) -> None:
    digest, query = world.link()
    with open_scope(world.scope):
        Device.objects.filter(pk=world.target.device_id).update(state=DeviceState.SUSPENDED)
    with pytest.raises(DownloadEnded):
        opened(digest, query, now=NOW)


def test_link_of_one_tenant_opens_nothing_of_another(world: World) -> None:
    """A link that our own code made with a foreign tenant stops at the wall."""
    world.target.tenant = tenant()
    digest, query = world.link()
    with pytest.raises(DownloadEnded):
        opened(digest, query, now=NOW)

"""What is sent to devices: the offer of a release, its payload, and the bytes of it where bridges
find them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError

from devices.ingest import artifacts
from devices.protocol import encode_message
from devices.protocol.codes import Capability, OfferFlag, PayloadKind
from devices.protocol.firmware import MAX_CHUNK, Offer
from firmware.artifacts import store
from firmware.domain import downloads, release_queries
from firmware.domain.release_queries import Payload
from firmware.models import ArtifactKind, Release, RolloutTarget
from firmware.rollout.eligibility import runs
from firmware.rollout.values import DDI, NO_LINK, Link, Target

logger = logging.getLogger(__name__)

# A device asks for so much at a time when its download is not paced; else for what comes in a few
# seconds, so that a slow link carries readings in between.
_CHUNK: Final = 16 * 1024
_LEAST_CHUNK: Final = 512
_SECONDS_A_CHUNK: Final = 2
# Staged artifacts last for so long after the last tick that needed them.
_STAGED_S: Final = 3600
# What could not be staged is read again after so long, and not at each tick: it may be large.
_AGAIN_S: Final = 30
_UNSTAGED_KEY: Final = "firmware:unstaged:{digest}"
# After these a patch is not tried again: the whole image is.
_PATCH_FAILED: Final = frozenset({"base", "digest"})


@dataclass(frozen=True, slots=True)
class Chosen:
    """The payload of a target, and what the device ran when it was chosen."""

    target: Target
    payload: Payload
    link: Link


def choose(targets: Sequence[Target], links: dict[int, Link]) -> list[Chosen]:
    """A payload for each of some targets; two queries a release."""
    releases = {
        row.pk: row
        for row in Release.objects.filter(
            pk__in={target.goal.release_id for target in targets}
        ).select_related("artifact")
    }
    patches = {pk: release_queries.payloads_of(row) for pk, row in releases.items()}
    found = []
    for target in targets:
        link = links.get(target.device_id, NO_LINK)
        release_id = target.goal.release_id
        payload = release_queries.whole(releases[release_id])
        if _takes_patch(target, link):
            payload = patches[release_id].get(link.image, payload)
        found.append(Chosen(target, payload, link))
    return found


def _takes_patch(target: Target, link: Link) -> bool:
    return (
        target.medium != DDI
        and bool((link.capabilities or 0) & Capability.FIRMWARE_DELTA)
        and target.failure not in _PATCH_FAILED
    )


def keep(chosen: Iterable[Chosen]) -> None:
    """Note the payloads with the targets: whatever is offered again is the same. One statement for
    all that get the same and ran the same.

    A device that is tried again may run the release already, on trial: what it came from, which a
    roll-back gives it, is what it ran before.
    """
    alike: dict[tuple[Payload, tuple[str, str] | None], list[int]] = {}
    for one in chosen:
        ran = (one.link.version[:64], one.link.image[:64])
        came = None if runs(one.target.goal, one.link) else ran
        alike.setdefault((one.payload, came), []).append(one.target.target_id)
    for (payload, came), target_ids in alike.items():
        former = {} if came is None else {"from_version": came[0], "from_image": came[1]}
        RolloutTarget.objects.filter(pk__in=target_ids).update(
            payload_kind=payload.kind,
            payload_sha256=payload.sha256,
            payload_size=payload.size,
            base_sha256=payload.base_sha256 or "",
            **former,
        )


def messages(
    targets: Sequence[Target], links: Mapping[int, Link], *, confirm_within_s: int
) -> list[tuple[int, bytes]]:
    """The offers of targets whose payload is kept, each for its device; two queries. Devices that
    can fetch over HTTP are told where."""
    wired = {target.target_id: target for target in targets if target.medium != DDI}
    signed = {
        row[0]: (bytes(row[1]), bytes(row[2]))
        for row in Release.objects.filter(
            pk__in={target.goal.release_id for target in wired.values()}
        ).values_list("pk", "manifest", "signature")
    }
    rows = RolloutTarget.objects.filter(pk__in=wired).values_list(
        "pk", "payload_kind", "payload_sha256", "payload_size", "base_sha256"
    )
    found = []
    for pk, kind, sha256, size, base in rows:
        target = wired[pk]
        manifest, signature = signed[target.goal.release_id]
        offer = Offer(
            update_id=target.uid.bytes,
            manifest=manifest,
            signature=signature,
            payload_sha256=bytes.fromhex(sha256),
            payload_size=size,
            payload_kind=PayloadKind.DELTA if kind == ArtifactKind.DELTA else PayloadKind.IMAGE,
            base_sha256=bytes.fromhex(base),
            rate=target.rate,
            chunk=_chunk(target.rate),
            confirm_within_s=confirm_within_s,
            flags=OfferFlag.LOWER_VERSION if target.goal.lower else OfferFlag(0),
            url=_url(target, links.get(target.device_id, NO_LINK), sha256),
        )
        found.append((target.device_id, encode_message(offer)))
    return found


def _url(target: Target, link: Link, sha256: str) -> str:
    if not (link.capabilities or 0) & Capability.FIRMWARE_HTTP:
        return ""
    return downloads.url_for(
        tenant_id=target.tenant_id,
        device_id=target.device_id,
        update_uid=target.uid,
        sha256=sha256,
    )


def _chunk(rate: int) -> int:
    if not rate:
        return _CHUNK
    return max(_LEAST_CHUNK, min(_CHUNK, MAX_CHUNK, rate * _SECONDS_A_CHUNK))


def stage(digests: Collection[str]) -> None:
    """Put payloads where bridges read them, and keep them there. What cannot be put there now, for
    want of room or of Redis, is tried again by a later tick; devices ask again meanwhile.
    """
    try:
        with Redis.from_url(settings.REDIS_URL) as redis:
            for digest in sorted(digests):
                _stage(redis, digest)
    except RedisError as error:
        logger.warning("firmware.not_staged artifacts=%d reason=%r", len(digests), str(error))


def _stage(redis: Redis, digest: str) -> None:
    """One payload; one that has no room, or is lost, holds up no other."""
    sha256 = bytes.fromhex(digest)
    unstaged = _UNSTAGED_KEY.format(digest=digest)
    if artifacts.keep(redis, sha256, _STAGED_S) or redis.exists(unstaged):
        return
    try:
        artifacts.stage(redis, sha256, store.read(digest), _STAGED_S)
    except artifacts.StagingError as error:
        logger.warning("firmware.not_staged artifact=%s reason=%r", digest, str(error))
    except (store.ArtifactMissingError, store.ArtifactDamagedError):
        logger.exception("firmware.artifact_lost artifact=%s", digest)
    else:
        return
    redis.set(unstaged, 1, ex=_AGAIN_S)

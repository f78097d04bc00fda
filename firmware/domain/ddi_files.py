"""The files of releases as DDI tells of them: names and digests."""

from __future__ import annotations

import hashlib
import logging
import re
from contextlib import suppress
from typing import Final

from django.core.cache import cache
from redis.exceptions import RedisError

from firmware.artifacts import store
from firmware.artifacts.store import ArtifactMissingError
from firmware.ddi.answers import File, Part
from firmware.ddi.errors import DdiError, ErrorCode
from firmware.models import Artifact, Release

logger = logging.getLogger(__name__)

# SWUpdate takes files of this ending alone.
_ENDINGS: Final = {"swu": "swu"}
_PLAIN: Final = re.compile(r"[^A-Za-z0-9._+-]+")
_DIGESTS_KEY: Final = "firmware:digests:{sha256}"
_DIGESTS_S: Final = 30 * 24 * 3600
_PIECE: Final = 1024 * 1024


def file_of(release: Release) -> File:
    """The file of a release. Its SHA-1 and MD5, which clients of DDI ask for, say nothing that its
    SHA-256 does not; they are computed once and kept in the cache.

    Raises DdiError NOT_FOUND while the store has lost the file.
    """
    artifact = release.artifact
    try:
        sha1, md5 = _digests(artifact)
    except ArtifactMissingError:
        logger.exception("ddi_file_missing release=%d", release.pk)
        raise lost(file_name(release)) from None
    return File(
        name=file_name(release), size=artifact.size, sha1=sha1, md5=md5, sha256=artifact.sha256
    )


def lost(name: str) -> DdiError:
    """The file is to be served and is not there."""
    return DdiError(ErrorCode.NOT_FOUND, f"The file {name} is not in the store at present.")


def part_of(release: Release) -> Part:
    """What the file of a release is: an image for MCUboot is what Zephyr's client installs."""
    image = release.artifact.header.get("format") == "mcuboot"
    return Part.APPLICATION if image else Part.SYSTEM


def file_name(release: Release) -> str:
    """The name of a release's file, for the address and for the device."""
    ending = _ENDINGS.get(str(release.artifact.header.get("format")), "bin")
    plain = _PLAIN.sub("_", f"{release.type_code}-{release.version}")
    return f"{plain}.{ending}"


def _digests(artifact: Artifact) -> tuple[str, str]:
    key = _DIGESTS_KEY.format(sha256=artifact.sha256)
    # While Redis is away they are computed each time.
    with suppress(RedisError):
        known = cache.get(key)
        if known is not None:
            return known[0], known[1]
    found = _computed(artifact)
    with suppress(RedisError):
        cache.set(key, found, _DIGESTS_S)
    return found


def _computed(artifact: Artifact) -> tuple[str, str]:
    sha1 = hashlib.sha1(usedforsecurity=False)
    md5 = hashlib.md5(usedforsecurity=False)
    with store.open(artifact.sha256) as file:
        while piece := file.read(_PIECE):
            sha1.update(piece)
            md5.update(piece)
    return sha1.hexdigest(), md5.hexdigest()

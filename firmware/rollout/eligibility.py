"""Whether a device gets a release at all, and if not, why: asked by the dry run, by the start and
again before each offer, so that all three say the same.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from devices.versions import Range, Version, VersionError
from firmware.rollout.values import DDI, Goal, Link

# Bit 2 of the capabilities in HELLO: firmware updates over the device protocol.
UPDATES: Final = 0x04

# Codes of why not, in the order in which they are asked.
REASONS: Final = ("state", "type", "medium", "hardware", "already", "older", "from_version")


def unfit(goal: Goal, *, device_type: str, active: bool, medium: str, link: Link) -> str:
    """Why the device does not get it: a code of REASONS, or '' when it does.

    What a device has not told yet (a version, its hardware) is not held against it: it decides
    itself, by the signed manifest.
    """
    if not active:
        return "state"
    if device_type != goal.device_type:
        return "type"
    if medium != DDI and link.capabilities is not None and not link.capabilities & UPDATES:
        return "medium"
    if goal.hardware and link.hardware and link.hardware not in goal.hardware:
        return "hardware"
    if runs(goal, link):
        return "already"
    if not goal.lower and link.version and _older(goal.version, link.version):
        return "older"
    if goal.from_versions and not _allowed(goal.from_versions, link.version):
        return "from_version"
    return ""


def runs(goal: Goal, link: Link) -> bool:
    """Whether the device says that it runs exactly this: the version, and where both tell it, the
    image.
    """
    if link.version != goal.version:
        return False
    return not link.image or not goal.image or link.image == goal.image


@lru_cache(maxsize=4096)
def _older(version: str, running: str) -> bool:
    """Whether `version` is before `running`. One that is no semantic version has no order."""
    try:
        return Version.parse(version).key < Version.parse(running).key
    except VersionError:
        return False


@lru_cache(maxsize=4096)
def _allowed(from_versions: str, running: str) -> bool:
    return Range.parse(from_versions).holds_text(running)

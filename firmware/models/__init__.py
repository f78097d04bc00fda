"""Firmware: artifacts, the keys that sign them, releases and patches between these."""

from firmware.models.artifact import Artifact, ArtifactKind, Delta, DeltaState
from firmware.models.release import Release, ReleaseState
from firmware.models.signing import SigningKey

__all__ = [
    "Artifact",
    "ArtifactKind",
    "Delta",
    "DeltaState",
    "Release",
    "ReleaseState",
    "SigningKey",
]

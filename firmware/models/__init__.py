"""Firmware: artifacts, the keys that sign them, releases and patches between these; roll-outs, and
the reviews of their gate.
"""

from firmware.models.artifact import Artifact, ArtifactKind, Delta, DeltaState
from firmware.models.ddi import DdiAction, DdiHandling, DdiOutcome, DdiSettings, DdiTarget
from firmware.models.gate import GateOutcome, GateReview
from firmware.models.release import Release, ReleaseState
from firmware.models.rollout import (
    HOLDING,
    OPEN,
    FirmwarePolicy,
    Medium,
    Rollout,
    RolloutKind,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    TargetState,
    UpdateEvent,
    WaveState,
)
from firmware.models.signing import SigningKey

__all__ = [
    "HOLDING",
    "OPEN",
    "Artifact",
    "ArtifactKind",
    "DdiAction",
    "DdiHandling",
    "DdiOutcome",
    "DdiSettings",
    "DdiTarget",
    "Delta",
    "DeltaState",
    "FirmwarePolicy",
    "GateOutcome",
    "GateReview",
    "Medium",
    "Release",
    "ReleaseState",
    "Rollout",
    "RolloutKind",
    "RolloutState",
    "RolloutTarget",
    "RolloutWave",
    "SigningKey",
    "TargetState",
    "UpdateEvent",
    "WaveState",
]

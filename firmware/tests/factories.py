"""Releases and roll-outs for tests. Call them inside an open scope that contains the tenant."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import uuid4

from devices.models import Device, DeviceType
from devices.tests.factories import Park, member, number
from devices.versions import Version
from firmware.gate.verdict import GateVerdict
from firmware.models import (
    Artifact,
    ArtifactKind,
    DdiAction,
    DdiSettings,
    DdiTarget,
    Delta,
    DeltaState,
    FirmwarePolicy,
    GateOutcome,
    GateReview,
    Release,
    ReleaseState,
    Rollout,
    RolloutState,
    RolloutTarget,
    RolloutWave,
    SigningKey,
    UpdateEvent,
)
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import open_scope

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def artifact(
    of: Tenant, kind: ArtifactKind = ArtifactKind.IMAGE, *, image: bytes | None = None
) -> Artifact:
    """A row without a file in the store."""
    digest = f"{number():064x}" if image is None else hashlib.sha256(image).hexdigest()
    return Artifact.objects.create(
        tenant=of,
        sha256=digest,
        size=1024 if image is None else len(image),
        kind=kind,
        stored_name=digest,
        header={"format": "raw"},
    )


def signing_key(of: Tenant) -> SigningKey:
    """A key that signed nothing."""
    n = number()
    return SigningKey.objects.create(
        tenant=of, name=f"Key {n:06}", public_key=n.to_bytes(32, "big"), key_id=f"{n:016x}"
    )


def release(
    of: Tenant,
    kind: DeviceType,
    version: str = "1.0.0",
    *,
    state: ReleaseState = ReleaseState.APPROVED,
    by: User | None = None,
    image: bytes | None = None,
    made: Artifact | None = None,
) -> Release:
    """A release without a file in the store, whose signature is none; its digest is that of `image`
    if one is given. `made` is its artifact where there is one already.
    """
    approved = state is not ReleaseState.DRAFT
    return Release.objects.create(
        tenant=of,
        device_type=kind,
        type_code=kind.code,
        version=version,
        version_key=Version.parse(version).key,
        artifact=made or artifact(of, image=image),
        manifest=b"manifest",
        signature=bytes(64),
        signing_key=signing_key(of),
        state=state,
        created_by=by or member(of, Role.ADMIN).user,
        approved_by=member(of, Role.ADMIN).user if approved else None,
        approved_at=START if approved else None,
        retired_at=START if state is ReleaseState.RETIRED else None,
    )


def firmware_of(park: Park) -> None:
    """A row in every table of the app, for a park that is committed."""
    with open_scope(park.scope):
        kind = DeviceType.objects.filter(tenant=park.tenant)[0]
        one, other = release(park.tenant, kind), release(park.tenant, kind, "1.1.0")
        Delta.objects.create(
            tenant=park.tenant,
            base=one.artifact,
            target=other.artifact,
            patch=artifact(park.tenant, ArtifactKind.DELTA),
            state=DeltaState.READY,
        )
        FirmwarePolicy.objects.create(tenant=park.tenant)
        wave = RolloutWave.objects.create(
            tenant=park.tenant, rollout=rollout(park.tenant, other), number=1, size=2
        )
        DdiSettings.objects.create(tenant=park.tenant)
        for branch in park.branches:
            one_target = target(wave, branch.device)
            event(one_target)
            DdiTarget.objects.create(tenant=park.tenant, device=branch.device)
            action(one_target)
        gate_review(wave)


def rollout(of: Tenant, to: Release) -> Rollout:
    """A roll-out that is running and has no wave yet."""
    return Rollout.objects.create(
        tenant=of,
        name=f"Roll-out {number():06}",
        release=to,
        selection={"everything": True},
        state=RolloutState.RUNNING,
        started_at=START,
    )


def target(wave: RolloutWave, of: Device) -> RolloutTarget:
    """A device of a wave whose turn has not come."""
    return RolloutTarget.objects.create(
        tenant_id=of.tenant_id,
        rollout=wave.rollout,
        wave=wave,
        device=of,
        release=wave.rollout.release,
        update_uid=uuid4(),
        state_at=START,
    )


def action(of: RolloutTarget) -> DdiAction:
    """What a device that speaks DDI was shown of a target."""
    return DdiAction.objects.create(
        tenant_id=of.tenant_id,
        device_id=of.device_id,
        target=of,
        update_uid=of.update_uid,
        created_at=START,
    )


def event(of: RolloutTarget) -> UpdateEvent:
    """Something that a device said."""
    return UpdateEvent.objects.create(
        tenant_id=of.tenant_id, target=of, device_id=of.device_id, at=START, kind="accepted"
    )


def gate_review(of: RolloutWave, *, look: int = 1) -> GateReview:
    """A look that decided nothing."""
    return GateReview.objects.create(
        tenant_id=of.tenant_id,
        rollout=of.rollout,
        wave=of,
        look=look,
        at=START,
        begins_at=START,
        evidence_until=START,
        outcome=GateOutcome.WAIT,
        verdict=GateVerdict("wait", (), START, START, look, 4).to_json(),
    )

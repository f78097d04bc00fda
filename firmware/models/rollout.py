"""Roll-outs: which devices get which release, in which waves, and what came of it."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from devices.models import Device
from firmware.models.release import Release
from tenants.models import TenantOwned, TwoPersonsRule


class RolloutKind(models.TextChoices):
    """UPDATE: devices get one release. ROLLBACK: devices get back what they came from."""

    UPDATE = "update", _("Update")
    ROLLBACK = "rollback", _("Roll-back")


class RolloutState(models.TextChoices):
    """How a roll-out stands. Completed and aborted are final; an aborted one may still wait for
    devices that had begun to install (`ended_at` is empty until the last of them has answered).
    """

    DRAFT = "draft", _("Draft")
    RUNNING = "running", _("Running")
    PAUSED = "paused", _("Paused")
    AWAITING_APPROVAL = "awaiting_approval", _("Awaiting approval")
    COMPLETED = "completed", _("Completed")
    ABORTED = "aborted", _("Aborted")


class WaveState(models.TextChoices):
    """RUNNING: its devices are updated. SOAKING: they are left alone for a while, and watched.
    JUDGED: the soak is over, and what follows is being decided. DONE: the next wave may begin.
    """

    PENDING = "pending", _("Pending")
    RUNNING = "running", _("Running")
    SOAKING = "soaking", _("Soaking")
    JUDGED = "judged", _("Judged")
    DONE = "done", _("Done")


class TargetState(models.TextChoices):
    """How far a device has come. The states of HOLDING hold the device: no other roll-out may have
    it meanwhile. SKIPPED devices were selected and get nothing; `failure_code` says why.
    """

    PENDING = "pending", _("Not yet its turn")
    WAITING = "waiting", _("Waiting")
    OFFERED = "offered", _("Offered")
    DOWNLOADING = "downloading", _("Downloading")
    INSTALLING = "installing", _("Installing")
    SUCCEEDED = "succeeded", _("Updated")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    SKIPPED = "skipped", _("Left out")


class Medium(models.TextChoices):
    """How a device is reached: over the device protocol, or because it asks by itself (DDI)."""

    WIRE = "wire", _("Device protocol")
    DDI = "ddi", _("DDI")


HOLDING: Final = (
    TargetState.WAITING,
    TargetState.OFFERED,
    TargetState.DOWNLOADING,
    TargetState.INSTALLING,
)
# A device of these states has not come to its end.
OPEN: Final = (TargetState.PENDING, *HOLDING)


class FirmwarePolicy(TwoPersonsRule):
    """What a tenant demands of its roll-outs, and how much they may load its links together.

    `bytes_per_s` and `max_downloads` are those of all roll-outs of the tenant at once; null: it
    sets none. What the tenants above demand counts as well (`policy_queries`).
    """

    second_person = models.BooleanField(default=False)
    max_downloads = models.PositiveIntegerField(null=True, blank=True)
    bytes_per_s = models.PositiveBigIntegerField(null=True, blank=True)

    class Meta:
        ordering = ["tenant"]
        verbose_name_plural = "firmware policies"
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="firmware_firmwarepolicy_once"),
            models.CheckConstraint(
                condition=models.Q(max_downloads__isnull=True) | models.Q(max_downloads__gt=0),
                name="firmware_firmwarepolicy_downloads_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(bytes_per_s__isnull=True) | models.Q(bytes_per_s__gt=0),
                name="firmware_firmwarepolicy_rate_positive",
            ),
            models.CheckConstraint(
                condition=models.Q(off_asked_by__isnull=True, off_asked_at__isnull=True)
                | models.Q(
                    second_person=True, off_asked_by__isnull=False, off_asked_at__isnull=False
                ),
                name="firmware_firmwarepolicy_off_asked",
            ),
        ]

    def __str__(self) -> str:
        return f"firmware policy of tenant {self.tenant_id}"


class Rollout(TenantOwned):
    """An update of many devices, of the tenant and of those below it.

    `selection` is a `devices.domain.selection.Selection`, `strategy` a
    `firmware.rollout.strategy.Strategy`, both as JSON. A roll-back has no release of its own: each
    of its targets has one. `state_reason` is a code and `state_data` the numbers of its sentence
    (`rollout_words.reason`). Of two roll-outs the one with the higher `priority` gets a
    device that is still waiting.
    """

    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=8, choices=RolloutKind, default=RolloutKind.UPDATE)
    release = models.ForeignKey(
        Release, on_delete=models.PROTECT, null=True, blank=True, related_name="rollouts"
    )
    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="rollbacks"
    )
    selection = models.JSONField(default=dict)
    strategy = models.JSONField(default=dict)
    priority = models.SmallIntegerField(default=0)
    state = models.CharField(max_length=20, choices=RolloutState, default=RolloutState.DRAFT)
    state_reason = models.CharField(max_length=32, blank=True)
    state_data = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    # Who changed the draft last, if anybody did.
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    # Counted by `rollout_queries.rollouts` alone.
    devices: int
    succeeded: int
    failed: int
    waiting: int

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "id"], name="firmware_rollout_tenant_id"),
            models.CheckConstraint(
                condition=models.Q(state__in=RolloutState.values),
                name="firmware_rollout_state_known",
            ),
            models.CheckConstraint(
                condition=models.Q(kind=RolloutKind.UPDATE, release__isnull=False)
                | models.Q(kind=RolloutKind.ROLLBACK, release__isnull=True),
                name="firmware_rollout_release_told",
            ),
            models.CheckConstraint(
                condition=models.Q(state=RolloutState.DRAFT, started_at__isnull=True)
                | (~models.Q(state=RolloutState.DRAFT) & models.Q(started_at__isnull=False)),
                name="firmware_rollout_start_told",
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="firmware_rollout_named"),
            models.UniqueConstraint(
                fields=["parent"],
                condition=models.Q(parent__isnull=False, ended_at__isnull=True),
                name="firmware_rollout_one_rollback",
            ),
        ]
        indexes = [
            # What the driver has to look at.
            models.Index(
                fields=["-priority", "id"],
                condition=models.Q(started_at__isnull=False, ended_at__isnull=True),
                name="firmware_rollout_driven",
            )
        ]

    def __str__(self) -> str:
        return self.name

    def is_of(self, user_id: int | None) -> bool:
        """Whether a person has made or changed it, and so is not the one who approves it."""
        return user_id is not None and user_id in (self.created_by_id, self.changed_by_id)


class RolloutWave(TenantOwned):
    """A part of a roll-out's devices that is updated before the next one begins.

    `size` is how many devices it had when it was planned. `updated_at` is when the last of its
    devices confirmed. `accepted_failures` are those that a person knew of when the roll-out was
    resumed; `overruled`: a person lets the next wave begin whatever became of this one.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="waves")
    number = models.PositiveSmallIntegerField()
    size = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=WaveState, default=WaveState.PENDING)
    started_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(null=True)
    soaking_at = models.DateTimeField(null=True)
    judged_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    accepted_failures = models.PositiveIntegerField(default=0)
    overruled = models.BooleanField(default=False)
    approved_at = models.DateTimeField(null=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )

    class Meta:
        ordering = ["rollout", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "number"], name="firmware_rolloutwave_number_unique"
            ),
            # Target of the composite foreign key that keeps a review in tenant and roll-out.
            models.UniqueConstraint(
                fields=["tenant", "rollout", "id"], name="firmware_rolloutwave_tenant_rollout_id"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=WaveState.values),
                name="firmware_rolloutwave_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"wave {self.number} of roll-out {self.rollout_id}"


class RolloutTarget(TenantOwned):
    """A device of a roll-out: what it gets, and how far it has come.

    `tenant` is the device's, so that who owns the device sees its history without seeing the
    roll-out; version and priority are repeated for the same reason. `update_uid` names the present
    attempt on the wire. `connection` is the one over which the last offer went. `rate` is what was
    granted to the download (bytes/s; 0: not paced). `offset` is how far the download is.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="targets")
    wave = models.ForeignKey(
        RolloutWave, on_delete=models.PROTECT, null=True, related_name="targets"
    )
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, null=True, related_name="+")
    update_uid = models.UUIDField(unique=True)
    medium = models.CharField(max_length=8, choices=Medium, default=Medium.WIRE)
    state = models.CharField(max_length=12, choices=TargetState, default=TargetState.PENDING)
    state_at = models.DateTimeField()
    priority = models.SmallIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0)
    failure_code = models.CharField(max_length=16, blank=True)
    next_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    connection = models.BigIntegerField(default=0)
    rate = models.PositiveBigIntegerField(default=0)
    offset = models.PositiveBigIntegerField(default=0)
    payload_kind = models.CharField(max_length=8, blank=True)
    payload_sha256 = models.CharField(max_length=64, blank=True)
    payload_size = models.PositiveBigIntegerField(default=0)
    base_sha256 = models.CharField(max_length=64, blank=True)
    from_version = models.CharField(max_length=64, blank=True)
    from_image = models.CharField(max_length=64, blank=True)
    to_version = models.CharField(max_length=64, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["rollout", "device"], name="firmware_rollouttarget_device_once"
            ),
            # Whatever happens, a device is in one roll-out at a time.
            models.UniqueConstraint(
                fields=["device"],
                condition=models.Q(state__in=HOLDING),
                name="firmware_rollouttarget_device_held",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=TargetState.values),
                name="firmware_rollouttarget_state_known",
            ),
            models.CheckConstraint(
                condition=models.Q(state=TargetState.SKIPPED)
                | models.Q(wave__isnull=False, release__isnull=False),
                name="firmware_rollouttarget_gets_release",
            ),
        ]
        indexes = [
            models.Index(fields=["rollout", "state", "id"], name="firmware_target_by_state"),
            models.Index(fields=["device", "-id"], name="firmware_target_by_device"),
            models.Index(
                fields=["rollout"],
                condition=models.Q(state__in=(TargetState.OFFERED, TargetState.DOWNLOADING)),
                name="firmware_target_loading",
            ),
        ]

    def __str__(self) -> str:
        return f"device {self.device_id} in roll-out {self.rollout_id}"


class UpdateEvent(TenantOwned):
    """What happened to a target, told by the device or decided by the server; append-only.

    `kind` of a device's word are those of the protocol (accepted, progress, …); those of the server
    are claimed, offered, resent, withdrawn, timeout, retry, released, succeeded, failed, cancelled,
    skipped, late, ignored.
    """

    target = models.ForeignKey(RolloutTarget, on_delete=models.PROTECT, related_name="events")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    kind = models.CharField(max_length=16)
    code = models.CharField(max_length=16, blank=True)
    detail = models.CharField(max_length=400, blank=True)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["target", "at", "id"], name="firmware_event_of_target")]

    def __str__(self) -> str:
        return f"{self.kind} of target {self.target_id}"

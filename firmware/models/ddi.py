"""Devices that speak hawkBit's DDI: what a tenant set for them, and what is known of each."""

from __future__ import annotations

from typing import Final

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from devices.models import Device
from firmware.models.rollout import RolloutTarget
from tenants.models import TenantOwned

# The capability of device types that ask for their updates over the DDI interface.
DDI: Final = "ddi"

LEAST_POLLING_S: Final = 5
# The interval travels as HH:MM:SS, and clients read it as a time of day.
MOST_POLLING_S: Final = 24 * 3600 - 1
POLLING_S: Final = 300
BUSY_POLLING_S: Final = 30

_POLLING: Final = [MinValueValidator(LEAST_POLLING_S), MaxValueValidator(MOST_POLLING_S)]


class DdiHandling(models.TextChoices):
    """How an update is put to a device."""

    FORCED = "forced", _("The device updates at once")
    ATTEMPT = "attempt", _("The device chooses the moment")


class DdiSettings(TenantOwned):
    """What a tenant set for its devices; without a row the defaults hold.

    The gateway token lets a gateway speak for every device of the tenant. It is stored as its
    SHA-256: it has 192 random bits, so that a slow hash would add nothing.
    """

    polling_s = models.PositiveIntegerField(default=POLLING_S, validators=_POLLING)
    busy_polling_s = models.PositiveIntegerField(default=BUSY_POLLING_S, validators=_POLLING)
    handling = models.CharField(max_length=8, choices=DdiHandling, default=DdiHandling.FORCED)
    # Whether somebody at the device has to agree to an update before it begins.
    confirmation = models.BooleanField(default=False)
    gateway_sha256 = models.BinaryField(max_length=32, null=True, blank=True)
    gateway_issued_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="firmware_ddisettings_one_per_tenant"),
            models.CheckConstraint(
                condition=models.Q(
                    polling_s__gte=LEAST_POLLING_S,
                    polling_s__lte=MOST_POLLING_S,
                    busy_polling_s__gte=LEAST_POLLING_S,
                    busy_polling_s__lte=MOST_POLLING_S,
                ),
                name="firmware_ddisettings_polling_range",
            ),
            models.CheckConstraint(
                condition=models.Q(handling__in=DdiHandling.values),
                name="firmware_ddisettings_handling_known",
            ),
            models.CheckConstraint(
                condition=models.Q(gateway_sha256__isnull=True, gateway_issued_at__isnull=True)
                | (Exact(Length("gateway_sha256"), 32) & models.Q(gateway_issued_at__isnull=False)),
                name="firmware_ddisettings_gateway_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"DDI of tenant {self.tenant_id}"


class DdiTarget(TenantOwned):
    """What is known of one device: its token (as SHA-256, see `DdiSettings`), what it told of
    itself, and whether somebody there has agreed to updates in advance.

    A device that another tenant has claimed is another target: the row of the former tenant stays
    with it, and its token opens nothing any more (`door_ddi`).
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    token_sha256 = models.BinaryField(max_length=32, null=True, blank=True)
    token_issued_at = models.DateTimeField(null=True, blank=True)
    # Names and texts as the device sent them (configData).
    attributes = models.JSONField(default=dict, blank=True)
    attributes_at = models.DateTimeField(null=True, blank=True)
    attributes_wanted = models.BooleanField(default=True)
    auto_confirm_at = models.DateTimeField(null=True, blank=True)
    auto_confirm_by = models.CharField(max_length=64, blank=True)
    auto_confirm_remark = models.CharField(max_length=512, blank=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "device"], name="firmware_dditarget_one_per_device"
            ),
            models.CheckConstraint(
                condition=models.Q(token_sha256__isnull=True, token_issued_at__isnull=True)
                | (Exact(Length("token_sha256"), 32) & models.Q(token_issued_at__isnull=False)),
                name="firmware_dditarget_token_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"DDI of device {self.device_id}"


class DdiOutcome(models.TextChoices):
    """How an action ended for the device. UNTOLD: it was over before the device had seen it."""

    SUCCESS = "success", _("Success")
    FAILURE = "failure", _("Failure")
    CANCELED = "canceled", _("Cancelled")
    DENIED = "denied", _("Declined")
    UNTOLD = "untold", _("Not asked for")


class DdiAction(TenantOwned):
    """One attempt of a roll-out's target as the device sees it: its id is the action's id.

    `update_uid` is that of the attempt, so that what a device says late of an earlier attempt is
    never taken for the present one. While the attempt is over and the device has been told of it,
    the device is asked to stop, until it answers (`closed_at`) or refuses (`refused_at`).
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="+")
    target = models.ForeignKey(RolloutTarget, on_delete=models.CASCADE, related_name="+")
    update_uid = models.UUIDField(unique=True)
    created_at = models.DateTimeField()
    retrieved_at = models.DateTimeField(null=True)
    agreed_at = models.DateTimeField(null=True)
    refused_at = models.DateTimeField(null=True)
    feedbacks = models.PositiveIntegerField(default=0)
    # The errors that the device told last, before it says how the attempt ended.
    trouble = models.CharField(max_length=400, blank=True)
    closed_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=8, choices=DdiOutcome, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(outcome__in=["", *DdiOutcome.values]),
                name="firmware_ddiaction_outcome_known",
            ),
            models.CheckConstraint(
                condition=models.Q(closed_at__isnull=True, outcome="")
                | (models.Q(closed_at__isnull=False) & ~models.Q(outcome="")),
                name="firmware_ddiaction_closed_whole",
            ),
        ]
        indexes = [
            models.Index(
                fields=["device", "id"],
                condition=models.Q(closed_at__isnull=True),
                name="firmware_ddiaction_open",
            ),
            models.Index(
                fields=["device", "-id"],
                condition=models.Q(outcome="success"),
                name="firmware_ddiaction_installed",
            ),
        ]

    def __str__(self) -> str:
        return f"action {self.pk} of device {self.device_id}"

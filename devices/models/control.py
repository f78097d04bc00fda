"""Groups of devices, and how devices are set up: as wanted and as they say.

The database removes such rows with their device and with their group: foreign keys of the
migration, which see past the scope.
"""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _

from devices.models.command import REASON_LENGTH
from devices.models.device import Device
from tenants.models import TenantOwned


class DeviceGroup(TenantOwned):
    """Devices under one name: its members or, with a rule, whichever devices satisfy it.

    It holds devices of its tenant and of those below. `rule` is the JSON of
    `devices.domain.selection.Rule`; null where the members are named one by one.
    """

    name = models.CharField(max_length=80)
    description = models.CharField(max_length=400, blank=True)
    rule = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name"], name="devices_devicegroup_name_unique"
            ),
            models.CheckConstraint(condition=~models.Q(name=""), name="devices_devicegroup_named"),
        ]

    def __str__(self) -> str:
        return self.name


class DeviceGroupMember(TenantOwned):
    """A device that is named in a group. `tenant` is the device's."""

    group = models.ForeignKey(
        DeviceGroup, on_delete=models.DO_NOTHING, db_constraint=False, related_name="members"
    )
    device = models.ForeignKey(
        Device, on_delete=models.DO_NOTHING, db_constraint=False, related_name="group_members"
    )
    added_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["group", "device"], name="devices_devicegroupmember_once"
            ),
        ]

    def __str__(self) -> str:
        return f"device {self.device_id} in group {self.group_id}"


class Drift(models.TextChoices):
    """Why a device is not set up as wanted although it was told."""

    NONE = "", _("None")
    REFUSED = "refused", _("The device refused the setting")
    UNANSWERED = "unanswered", _("The device did not answer")
    NOT_KEPT = "not_kept", _("The device took the setting and did not keep it")
    UNSUPPORTED = "unsupported", _("The device does not have the setting")


class DeviceConfiguration(TenantOwned):
    """Settings of a device by key (`devices.configuration`), as wanted and as it says.

    A key that is missing in `desired` is wanted by nobody: the device keeps what it has, or what
    its type says. `reported` is null until the device has told its settings. `version` rises with
    each change of `desired`. The other fields are those of
    `devices.configuration.reconciliation.Standing`; `next_at` is null when there is nothing to do.
    """

    device = models.OneToOneField(
        Device,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        primary_key=True,
        related_name="configuration",
    )
    desired = models.JSONField(default=dict, blank=True)
    version = models.PositiveIntegerField(default=0)
    desired_at = models.DateTimeField(null=True)
    desired_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    reported = models.JSONField(null=True)
    reported_at = models.DateTimeField(null=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    drift = models.CharField(max_length=16, choices=Drift, default=Drift.NONE, blank=True)
    drift_detail = models.CharField(max_length=400, blank=True)

    class Meta:
        ordering = ["pk"]
        indexes = [
            models.Index(
                fields=["next_at"],
                condition=models.Q(next_at__isnull=False),
                name="devices_deviceconfig_due",
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(drift__in=Drift.values), name="devices_deviceconfiguration_drift"
            ),
        ]

    def __str__(self) -> str:
        return f"configuration of device {self.device_id}"


class ConfigurationChange(TenantOwned):
    """A change of what is wanted of a device; rows are only ever added.

    `before` and `after` hold the keys that changed, null where nobody wants anything; `origin` is
    that of the command that the change made.
    """

    device = models.ForeignKey(
        Device,
        on_delete=models.DO_NOTHING,
        db_constraint=False,
        related_name="configuration_changes",
    )
    version = models.PositiveIntegerField()
    changed_at = models.DateTimeField()
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    origin = models.CharField(max_length=16)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    before = models.JSONField()
    after = models.JSONField()

    class Meta:
        ordering = ["-version", "-pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["device", "version"], name="devices_configurationchange_version_once"
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.version} of the configuration of device {self.device_id}"

"""Devices and their channels."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from devices.models.device_type import (
    SERIAL_PATTERN,
    DeviceType,
    Measurement,
    measurement_constraints,
)
from devices.models.facility import Facility
from tenants.models import TenantOwned


class DeviceState(models.TextChoices):
    """Whether a device may connect: only an active one may. Revoked is final."""

    PLANNED = "planned", _("Planned")
    ACTIVE = "active", _("Active")
    SUSPENDED = "suspended", _("Suspended")
    REVOKED = "revoked", _("Revoked")


class Placement(models.TextChoices):
    """Where in the facility's circuit a device measures.

    A facility's total of a quantity is the sum over its mains devices alone; sub-meters, generators
    and batteries lie behind them and are already contained.
    """

    MAINS = "mains", _("Mains")
    SUBMETER = "submeter", _("Sub-meter")
    GENERATION = "generation", _("Generation")
    STORAGE = "storage", _("Storage")
    SENSOR = "sensor", _("Sensor")


class Device(TenantOwned):
    """A sensor or meter. What changes with every message lives in narrow tables of its own.

    The secret is stored as its SHA-256: it has 256 random bits, so that a slow hash would add
    nothing, and the bridge checks it on every connection. The facility belongs to the same tenant,
    the type to it or to all. Once the device has reported, its facility is final: readings carry
    the device alone, so whoever may see the new facility would see what was measured in the old
    one. A device that is moved is registered anew.
    """

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="devices")
    device_type = models.ForeignKey(DeviceType, on_delete=models.PROTECT, related_name="devices")
    serial = models.CharField(max_length=64)
    name = models.CharField(max_length=120)
    placement = models.CharField(max_length=16, choices=Placement, default=Placement.SUBMETER)
    # The meter of the same facility that its electricity passes first; None: the mains, or nothing.
    behind = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, blank=True, related_name="feeds"
    )
    state = models.CharField(max_length=16, choices=DeviceState, default=DeviceState.PLANNED)
    secret_sha256 = models.BinaryField(max_length=32)
    certificate_sha256 = models.BinaryField(max_length=32, null=True, blank=True)
    hardware_revision = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["serial"], name="devices_device_serial_unique"),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_device_tenant_id"),
            models.UniqueConstraint(fields=["facility", "id"], name="devices_device_facility_id"),
            models.CheckConstraint(
                condition=models.Q(behind__isnull=True) | ~models.Q(behind=models.F("id")),
                name="devices_device_behind_another",
            ),
            models.CheckConstraint(
                condition=models.Q(behind__isnull=True) | ~models.Q(placement=Placement.MAINS),
                name="devices_device_mains_first",
            ),
            models.CheckConstraint(
                condition=models.Q(serial__regex=SERIAL_PATTERN), name="devices_device_serial_form"
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=DeviceState.values), name="devices_device_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(placement__in=Placement.values),
                name="devices_device_placement_known",
            ),
            models.CheckConstraint(
                condition=Exact(Length("secret_sha256"), 32), name="devices_device_secret_length"
            ),
            models.CheckConstraint(
                condition=models.Q(certificate_sha256__isnull=True)
                | Exact(Length("certificate_sha256"), 32),  # type: ignore[arg-type]
                name="devices_device_certificate_length",
            ),
        ]

    def __str__(self) -> str:
        return self.serial


class Channel(TenantOwned, Measurement):
    """One quantity of a device: measured by it or, where `derived`, computed by a formula (its
    versions are `FormulaVersion` rows; no device can report it).

    Everything that stored integers rest on (number, quantity, unit, resolution, limits) cannot be
    changed afterwards, nor the channel deleted once its device has reported: triggers refuse it.
    """

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="channels")
    derived = models.BooleanField(default=False, db_default=False)
    # Whether it was ever corrected: a trigger sets it with the first correction, so that who reads
    # the others need not ask for corrections.
    corrected = models.BooleanField(default=False, db_default=False, editable=False)

    class Meta:
        ordering = ["device", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["device", "number"], name="devices_channel_number_unique"
            ),
            models.UniqueConstraint(fields=["device", "key"], name="devices_channel_key_unique"),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_channel_tenant_id"),
            *measurement_constraints("devices_channel"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.key}"

"""Loads, and which channel measures them from when to when."""

from __future__ import annotations

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import DateTimeRangeField, RangeBoundary, RangeOperators
from django.db import models
from django.utils.translation import gettext_lazy as _

from devices.models.device import Channel
from devices.models.facility import Facility
from tenants.models import TenantOwned


class LoadCategory(models.TextChoices):
    """What a load uses electricity for."""

    GENERAL = "general", _("General")
    LIGHTING = "lighting", _("Lighting")
    REFRIGERATION = "refrigeration", _("Refrigeration")
    HVAC = "hvac", _("Heating, ventilation, air conditioning")
    COOKING = "cooking", _("Cooking and baking")
    WASHING = "washing", _("Washing")
    HOT_WATER = "hot_water", _("Hot water")
    VEHICLES = "vehicles", _("Vehicle charging")
    PUMPS = "pumps", _("Pumps")
    IT = "it", _("Information technology")
    GENERATION = "generation", _("Generation")
    STORAGE = "storage", _("Storage")


class Load(TenantOwned):
    """A consumer of electricity in a facility: a cold store, the lighting, a charging point."""

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="loads")
    name = models.CharField(max_length=120)
    category = models.CharField(max_length=16, choices=LoadCategory, default=LoadCategory.GENERAL)

    class Meta:
        ordering = ["name", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["facility", "name"], name="devices_load_name_unique"),
            # Target of the composite foreign key that keeps an allocation in tenant and facility.
            models.UniqueConstraint(
                fields=["tenant", "facility", "id"], name="devices_load_tenant_facility_id"
            ),
            models.CheckConstraint(
                condition=models.Q(category__in=LoadCategory.values),
                name="devices_load_category_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Allocation(TenantOwned):
    """A channel measures a load during [starts_at, ends_at); without an end, until further notice.

    A channel measures one load at a time. `facility` repeats the load's facility for the wall; the
    channel's device stands in the same one.
    """

    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="+")
    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="allocations")
    load = models.ForeignKey(Load, on_delete=models.PROTECT, related_name="allocations")
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["channel", "starts_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(ends_at__isnull=True)
                | models.Q(ends_at__gt=models.F("starts_at")),
                name="devices_allocation_period_ordered",
            ),
            ExclusionConstraint(
                name="devices_allocation_no_overlap",
                expressions=[
                    ("channel", RangeOperators.EQUAL),
                    (
                        models.Func(
                            "starts_at",
                            "ends_at",
                            RangeBoundary(),
                            function="TSTZRANGE",
                            output_field=DateTimeRangeField(),
                        ),
                        RangeOperators.OVERLAPS,
                    ),
                ],
            ),
        ]

    def __str__(self) -> str:
        return f"channel {self.channel_id} to load {self.load_id} from {self.starts_at:%Y-%m-%d}"

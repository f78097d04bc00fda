"""Device types: what a model of device measures, and how its integers are to be read."""

from __future__ import annotations

from decimal import Decimal

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models.lookups import LessThanOrEqual

from devices.quantities import QUANTITIES
from tenants.models import Tenant

# Readings travel and are stored as 64-bit integers: limit ÷ resolution must fit.
LARGEST_RAW = 2**63 - 1
# Caps of the protocol: samples in a block, milliseconds of a step, channel numbers.
MAX_SAMPLES = 3600
MAX_STEP_MS = 86_400_000
MAX_CHANNEL_NUMBER = 255

# The capability of types whose devices never connect: their readings come from meter data files,
# and each stands for one step and no longer.
FROM_FILES = "meter_files"

SERIAL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


def _fits(bound: str) -> LessThanOrEqual:
    # Written as products: a division in a constraint could fail on the resolution it guards.
    largest = models.Value(
        Decimal(LARGEST_RAW), output_field=models.DecimalField(max_digits=40, decimal_places=9)
    )
    product = models.ExpressionWrapper(
        models.F("resolution") * largest,
        output_field=models.DecimalField(max_digits=60, decimal_places=9),
    )
    value = models.Func(models.F(bound), function="ABS", output_field=models.DecimalField())
    return LessThanOrEqual(value, product)


def measurement_constraints(table: str) -> list[models.BaseConstraint]:
    """The named constraints of a table with the columns of `Measurement`."""
    return [
        models.CheckConstraint(
            condition=models.Q(number__gte=0, number__lte=MAX_CHANNEL_NUMBER),
            name=f"{table}_number_range",
        ),
        models.CheckConstraint(
            condition=models.Q(key__regex=r"^[a-z][a-z0-9_]*$"), name=f"{table}_key_form"
        ),
        models.CheckConstraint(
            condition=models.Q(quantity__in=sorted(QUANTITIES)), name=f"{table}_quantity_known"
        ),
        models.CheckConstraint(
            condition=models.Q(resolution__gt=0), name=f"{table}_resolution_positive"
        ),
        models.CheckConstraint(
            condition=models.Q(minimum__lt=models.F("maximum")), name=f"{table}_limits_ordered"
        ),
        models.CheckConstraint(condition=_fits("minimum"), name=f"{table}_minimum_fits"),
        models.CheckConstraint(condition=_fits("maximum"), name=f"{table}_maximum_fits"),
    ]


class Measurement(models.Model):
    """What one channel measures: physical value = stored integer times `resolution`, in `unit`.

    `minimum` and `maximum` are the physical limits: a reading outside is quarantined. `in_total`
    says whether the channel counts into the facility's total of its quantity when the device
    measures the facility's mains (a meter that reports the phases *and* their sum
    sets it on one of the two).
    """

    number = models.PositiveSmallIntegerField(validators=[MaxValueValidator(MAX_CHANNEL_NUMBER)])
    key = models.CharField(max_length=40, help_text="Stable code, for example active_power_l1.")
    name = models.CharField(max_length=80)
    quantity = models.CharField(
        max_length=32, choices=[(code, quantity.name) for code, quantity in QUANTITIES.items()]
    )
    unit = models.CharField(max_length=16)
    resolution = models.DecimalField(max_digits=20, decimal_places=9)
    minimum = models.DecimalField(max_digits=30, decimal_places=9)
    maximum = models.DecimalField(max_digits=30, decimal_places=9)
    in_total = models.BooleanField(default=False)

    class Meta:
        abstract = True


class DeviceType(models.Model):
    """A model of device. Without a tenant it serves all tenants and only set-up may change it.

    `step_ms` and `samples` are the reporting defaults when nobody is watching: samples in a frame
    and the time between two of them.
    """

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    code = models.CharField(max_length=64)
    version = models.CharField(max_length=32, default="1")
    manufacturer = models.CharField(max_length=80, blank=True)
    name = models.CharField(max_length=120)
    step_ms = models.PositiveIntegerField(default=2000)
    samples = models.PositiveSmallIntegerField(default=30)
    capabilities = ArrayField(
        models.CharField(max_length=32),
        default=list,
        blank=True,
        help_text="Codes such as live, switch, firmware.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["code", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "code"],
                name="devices_devicetype_code_unique",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                condition=models.Q(code__regex=SERIAL_PATTERN), name="devices_devicetype_code_form"
            ),
            models.CheckConstraint(
                condition=models.Q(step_ms__gte=1, step_ms__lte=MAX_STEP_MS),
                name="devices_devicetype_step_range",
            ),
            models.CheckConstraint(
                condition=models.Q(samples__gte=1, samples__lte=MAX_SAMPLES),
                name="devices_devicetype_samples_range",
            ),
        ]

    def __str__(self) -> str:
        return self.code


class DeviceTypeChannel(Measurement):
    """A channel that every device of the type has; copied to the device when it is registered.

    `tenant` repeats the type's tenant for the wall; a trigger keeps it the same.
    """

    tenant = models.ForeignKey(
        Tenant, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    device_type = models.ForeignKey(DeviceType, on_delete=models.CASCADE, related_name="channels")

    class Meta:
        ordering = ["device_type", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["device_type", "number"], name="devices_devicetypechannel_number_unique"
            ),
            models.UniqueConstraint(
                fields=["device_type", "key"], name="devices_devicetypechannel_key_unique"
            ),
            *measurement_constraints("devices_devicetypechannel"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.key}"

"""Sites, and the areas in them."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils.translation import gettext_lazy as _

from tenants.models import Membership, TenantOwned
from tenants.models.fields import TimeZoneField


class FacilityKind(models.TextChoices):
    """What a facility is."""

    SITE = "site", _("Site")
    BUILDING = "building", _("Building")
    AREA = "area", _("Area")
    SHOP = "shop", _("Shop")
    FUEL_STATION = "fuel_station", _("Fuel station")
    HOUSEHOLD = "household", _("Household")
    PLANT = "plant", _("Generating plant")


class Facility(TenantOwned):
    """A place with electricity, perhaps an area of a larger one; calendars follow its time zone.

    The parent belongs to the same tenant, and the database refuses a cycle.
    """

    parent = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="areas"
    )
    name = models.CharField(max_length=120)
    kind = models.CharField(max_length=16, choices=FacilityKind, default=FacilityKind.SITE)
    street = models.CharField(max_length=120, blank=True)
    postal_code = models.CharField(max_length=16, blank=True)
    city = models.CharField(max_length=80, blank=True)
    region = models.CharField(max_length=80, blank=True)
    country = models.CharField(
        max_length=2, blank=True, help_text="ISO 3166-1 alpha-2, for example DE."
    )
    latitude = models.DecimalField(
        max_digits=8,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(-90), MaxValueValidator(90)],
        help_text="Degrees north, WGS 84.",
    )
    longitude = models.DecimalField(
        max_digits=9,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[MinValueValidator(-180), MaxValueValidator(180)],
        help_text="Degrees east, WGS 84.",
    )
    time_zone = TimeZoneField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name", "pk"]
        verbose_name_plural = "facilities"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "parent", "name"],
                name="devices_facility_name_unique",
                nulls_distinct=False,
            ),
            # Target of composite foreign keys that keep related rows in one tenant.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_facility_tenant_id"),
            models.CheckConstraint(
                condition=~models.Q(name="") & ~models.Q(time_zone=""),
                name="devices_facility_named",
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=FacilityKind.values),
                name="devices_facility_kind_known",
            ),
            models.CheckConstraint(
                condition=models.Q(country="") | models.Q(country__regex=r"^[A-Z]{2}$"),
                name="devices_facility_country_code",
            ),
            models.CheckConstraint(
                condition=models.Q(latitude__isnull=True, longitude__isnull=True)
                | models.Q(
                    # Said in full: a comparison with null would pass.
                    latitude__isnull=False,
                    longitude__isnull=False,
                    latitude__gte=-90,
                    latitude__lte=90,
                    longitude__gte=-180,
                    longitude__lte=180,
                ),
                name="devices_facility_on_earth",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class FacilityAccess(TenantOwned):
    """A facility, with all areas in it, that a narrowed membership reaches; several rows add up.

    Whether a membership is narrowed it says itself (`Membership.narrowed`): one that is and has no
    such row reaches no facility.
    """

    membership = models.ForeignKey(
        Membership, on_delete=models.CASCADE, related_name="facility_accesses"
    )
    # Protected: who loses a facility by its deletion should not learn it by looking for it.
    facility = models.ForeignKey(Facility, on_delete=models.PROTECT, related_name="accesses")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["pk"]
        verbose_name_plural = "facility accesses"
        constraints = [
            models.UniqueConstraint(
                fields=["membership", "facility"], name="devices_facilityaccess_unique"
            ),
        ]

    def __str__(self) -> str:
        return f"membership {self.membership_id} to facility {self.facility_id}"

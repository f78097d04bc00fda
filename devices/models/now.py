"""What the park does now: narrow rows that background tasks rewrite and pages sort by.

Everything here is derived from readings and can be computed again.
"""

from __future__ import annotations

from django.db import models

from devices.models.device import Device
from devices.models.facility import Facility
from tenants.models import TenantOwned


class DevicePower(TenantOwned):
    """The last power of a device: the sum of its active-power channels with `in_total`, in W.

    Null where it has none or has not reported. `measured_at` is the oldest of the readings summed;
    `sampled_at` the newest sample that had been stored when the row was made.
    """

    device = models.OneToOneField(
        Device, on_delete=models.CASCADE, primary_key=True, related_name="power"
    )
    power_w = models.FloatField(null=True)
    measured_at = models.DateTimeField(null=True)
    sampled_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"power of device {self.device_id}"


class FacilityNow(TenantOwned):
    """Power (W) and the energy of today and yesterday (Wh) of a facility.

    `devices` may connect, `connected` of them are, `mains` of them measure the mains. Power is null
    where nothing measures it, and not known after `known_until`; energy is null where nothing was
    measured. `used` is what its loads drew, whatever it came from. `day` is the local day that
    "today" was when the row was counted; `_same` is yesterday until the same time of day.
    `coverage` 0 … 1.
    """

    facility = models.OneToOneField(
        Facility, on_delete=models.CASCADE, primary_key=True, related_name="now"
    )
    devices = models.PositiveIntegerField(default=0)
    connected = models.PositiveIntegerField(default=0)
    mains = models.PositiveIntegerField(default=0)
    measured_at = models.DateTimeField(null=True)
    known_until = models.DateTimeField(null=True)
    grid_w = models.FloatField(null=True)
    generation_w = models.FloatField(null=True)
    storage_w = models.FloatField(null=True)
    home_w = models.FloatField(null=True)
    counted_at = models.DateTimeField(null=True)
    day = models.DateField(null=True)
    used_wh = models.FloatField(null=True)
    used_same_wh = models.FloatField(null=True)
    used_yesterday_wh = models.FloatField(null=True)
    import_wh = models.FloatField(null=True)
    export_wh = models.FloatField(null=True)
    generation_wh = models.FloatField(null=True)
    generation_same_wh = models.FloatField(null=True)
    coverage = models.FloatField(null=True)

    def __str__(self) -> str:
        return f"facility {self.facility_id} now"

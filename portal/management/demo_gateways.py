"""Edge gateways of the demo, which ask for their updates over hawkBit's DDI, and their tokens."""

from __future__ import annotations

from typing import Any, Final

from devices.domain.operations import Eviction
from devices.management import provision
from devices.management.provision import WantedDevice
from devices.models import Device, Facility, Placement
from devices.simulator.park import GATEWAYS
from firmware.ddi import tokens
from firmware.domain import ddi_keys
from firmware.models import DdiSettings, DdiTarget
from tenants.models import Tenant

# Often enough that who looks sees them ask.
POLLING: Final = {"polling_s": 30, "busy_polling_s": 5}


def ensure_gateways(tenant: Tenant, state: dict[str, Any]) -> list[Eviction]:
    """Complete gateways in the open scope, and `state["ddi_tokens"]` (serial → target token).

    A gateway whose token is not known any more gets a new one. Returns notices for the bridges.
    """
    evictions: list[Eviction] = []
    for name, device in GATEWAYS:
        facility = Facility.objects.get(tenant=tenant, name=name, parent=None)
        wanted = WantedDevice(device.serial, device.name, device.type, Placement(device.placement))
        evictions += provision.ensure_devices(facility, [wanted], state["devices"])
    if not DdiSettings.objects.filter(tenant=tenant).exists():
        ddi_keys.change_settings(tenant_id=tenant.pk, values=POLLING, actor_id=None)
    known: dict[str, str] = state.setdefault("ddi_tokens", {})
    serials = [device.serial for _name, device in GATEWAYS]
    digests = {
        target.device_id: target.token_sha256
        for target in DdiTarget.objects.filter(tenant=tenant, device__serial__in=serials)
    }
    for device_id, serial in Device.objects.filter(serial__in=serials).values_list("pk", "serial"):
        kept = digests.get(device_id)
        if kept is None or tokens.digest(known.get(serial, "")) != bytes(kept):
            known[serial] = ddi_keys.issue_target_token(device_id=device_id, actor_id=None)
    return evictions

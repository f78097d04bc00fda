"""What pages show of devices that are updated over DDI. Needs an open scope."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection

from devices.models import Device
from devices.telemetry import status
from firmware.models import DdiAction, DdiSettings, DdiTarget
from firmware.models.ddi import DDI
from tenants.models import Tenant


@dataclass(frozen=True, slots=True)
class DdiDevice:
    """A device, and what is known of it; `speaks`: its type is updated over DDI.

    `action` and `version`: what it is shown at present; `told_at`: since when it knows of it.
    """

    device_id: int
    name: str
    serial: str
    time_zone: str
    tenant_slug: str
    speaks: bool
    token_issued_at: datetime | None
    attributes: Mapping[str, str]
    attributes_at: datetime | None
    agreed_at: datetime | None
    agreed_by: str
    last_seen_at: datetime | None
    action: int | None
    version: str
    told_at: datetime | None


def settings_of(*, tenant_id: int) -> DdiSettings:
    """What the tenant set; the defaults, not saved, where it set nothing."""
    return DdiSettings.objects.filter(tenant_id=tenant_id).first() or DdiSettings(
        tenant_id=tenant_id
    )


def slug_of(*, tenant_id: int) -> str:
    """The tenant's short name, which stands in the addresses of its devices."""
    return Tenant.objects.values_list("slug", flat=True).get(pk=tenant_id)


def device(*, device_id: int) -> DdiDevice:
    """A device; raises Device.DoesNotExist."""
    row = Device.objects.select_related("device_type", "facility", "tenant").get(pk=device_id)
    known = DdiTarget.objects.filter(device=row).first() or DdiTarget(device=row)
    action = (
        DdiAction.objects.select_related("target")
        .filter(device=row, closed_at__isnull=True)
        .order_by("-pk")
        .first()
    )
    link = status.links(connection, [device_id]).get(device_id)
    return DdiDevice(
        device_id=row.pk,
        name=row.name,
        serial=row.serial,
        time_zone=row.facility.time_zone,
        tenant_slug=row.tenant.slug,
        speaks=DDI in row.device_type.capabilities,
        token_issued_at=known.token_issued_at,
        attributes=known.attributes,
        attributes_at=known.attributes_at,
        agreed_at=known.auto_confirm_at,
        agreed_by=known.auto_confirm_by,
        last_seen_at=link.last_seen_at if link else None,
        action=action.pk if action else None,
        version=action.target.to_version if action else "",
        told_at=action.retrieved_at if action else None,
    )

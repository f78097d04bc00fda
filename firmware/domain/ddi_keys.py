"""Tokens of DDI devices and gateways, and what a tenant sets for them; each change is audited.

Every function needs an open scope that contains the tenant; `actor_id` is the user who acts, None
for the system. A token is returned once: what is kept is its SHA-256.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from devices.models import Device
from firmware.ddi import tokens
from firmware.models import DdiSettings, DdiTarget
from firmware.models.ddi import DDI
from tenants.domain import audit


def issue_target_token(*, device_id: int, actor_id: int | None) -> str:
    """A new token of a device; the former one opens nothing from now on.

    Raises Device.DoesNotExist, and ValidationError for a device that is not updated over DDI.
    """
    device = Device.objects.select_related("device_type").get(pk=device_id)
    if DDI not in device.device_type.capabilities:
        raise ValidationError(
            _(
                "Devices of this type are not updated over hawkBit's DDI interface. Give the type"
                " the capability “ddi”."
            )
        )
    token = tokens.draw()
    _change_target(device, token, actor_id=actor_id, action="device.ddi_token")
    return token


def withdraw_target_token(*, device_id: int, actor_id: int | None) -> bool:
    """The token of a device opens nothing from now on; returns whether it had one."""
    device = Device.objects.get(pk=device_id)
    return _change_target(device, None, actor_id=actor_id, action="device.ddi_token_withdraw")


def issue_gateway_token(*, tenant_id: int, actor_id: int | None) -> str:
    """A new token for the gateways of a tenant, which speak for all its DDI devices; the former one
    opens nothing from now on.
    """
    token = tokens.draw()
    values = {"gateway_sha256": tokens.digest(token), "gateway_issued_at": datetime.now(UTC)}
    _change_settings(tenant_id, values, actor_id=actor_id, action="ddi.gateway_token")
    return token


def withdraw_gateway_token(*, tenant_id: int, actor_id: int | None) -> bool:
    """The gateway token opens nothing from now on; returns whether there was one."""
    values = {"gateway_sha256": None, "gateway_issued_at": None}
    return _change_settings(
        tenant_id, values, actor_id=actor_id, action="ddi.gateway_token_withdraw"
    )


def change_settings(*, tenant_id: int, values: Mapping[str, object], actor_id: int | None) -> bool:
    """Set `polling_s`, `busy_polling_s`, `handling`, `confirmation`; returns whether anything
    changed. Raises ValidationError.
    """
    return _change_settings(tenant_id, values, actor_id=actor_id, action="ddi.settings_change")


def _change_settings(
    tenant_id: int, values: Mapping[str, object], *, actor_id: int | None, action: str
) -> bool:
    with transaction.atomic():
        row, _new = DdiSettings.objects.select_for_update().get_or_create(tenant_id=tenant_id)
        return audit.update(row, values, actor_id=actor_id, action=action)


def _change_target(device: Device, token: str | None, *, actor_id: int | None, action: str) -> bool:
    values = {
        "token_sha256": None if token is None else tokens.digest(token),
        "token_issued_at": None if token is None else datetime.now(UTC),
    }
    with transaction.atomic():
        row, _new = DdiTarget.objects.select_for_update().get_or_create(
            tenant_id=device.tenant_id, device=device
        )
        return audit.update(row, values, actor_id=actor_id, action=action)

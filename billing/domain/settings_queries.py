"""Who a tenant is on its bills. Needs an open scope; one narrowed to facilities sees nothing."""

from __future__ import annotations

from billing.models import BillingSettings


def settings_of(*, tenant_id: int) -> BillingSettings | None:
    """What a tenant has set, None before it has; one query."""
    return BillingSettings.objects.filter(tenant_id=tenant_id).first()


def settings_or_empty(*, tenant_id: int) -> BillingSettings:
    """The same, of a tenant that has set nothing a row that is not stored; one query."""
    return settings_of(tenant_id=tenant_id) or BillingSettings(tenant_id=tenant_id)

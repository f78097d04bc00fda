"""The tenants that a user may switch to, for the switcher."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest

from portal.frame.permissions import access_of
from tenants.domain.queries import reachable_tenants

# A search field comes with more tenants than one sees at a glance.
_SEARCHED: Final = 8
_SHOWN: Final = 50


def choices(request: HttpRequest, *, user_id: int, text: str = "") -> dict[str, Any]:
    """What the switcher shows: tenants in whose name every word of `text` occurs."""
    access = access_of(request)
    reachable = reachable_tenants(user_id=user_id)
    words = text.casefold().split()
    found = [
        tenant for tenant in reachable if all(word in tenant.name.casefold() for word in words)
    ]
    return {
        "reachable": reachable,
        "found": found[:_SHOWN],
        "left_out": max(0, len(found) - _SHOWN),
        "current": access.tenant.tenant_id if access else None,
        "searched": len(reachable) > _SEARCHED,
        "text": text,
    }

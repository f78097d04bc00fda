"""The look of tenants: what applies to one, its files, and changing it.

Reading goes through doors, because a tenant's look comes from those above it and is shown before
anybody has signed in; a look is nothing secret. Changing needs a scope that holds the tenant.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from tenants.domain import audit
from tenants.models import Branding


@dataclass(frozen=True, slots=True)
class BrandFile:
    """Where a style sheet or logo comes from: the tenant that set it, and its version."""

    tenant_id: int
    version: str


@dataclass(frozen=True, slots=True)
class Brand:
    """What applies to a tenant, each part from the nearest tenant that has set it."""

    name: str = ""
    colours: BrandFile | None = None
    logo: BrandFile | None = None


@dataclass(frozen=True, slots=True)
class BrandFiles:
    """What one tenant has set itself; `logo` is a PNG."""

    accent_light: str
    accent_dark: str
    logo: bytes | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a tenant wants; empty parts come from the tenant above. Accents come together."""

    name: str = ""
    accent_light: str = ""
    accent_dark: str = ""


def brand_of(*, tenant_id: int) -> Brand:
    """What applies to a tenant; one query. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_brand_of(%s)", [tenant_id])
        row = cursor.fetchone()
    name, *colours, logo_of, logo_version = row
    return Brand(name or "", _file(*colours), _file(logo_of, logo_version))


def _file(tenant_id: int | None, version: str) -> BrandFile | None:
    return None if tenant_id is None else BrandFile(tenant_id, version)


def brand_files(*, tenant_id: int, version: str) -> BrandFiles | None:
    """What a tenant has set, None unless `version` is the present one. Needs no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM door_brand_files(%s, %s)", [tenant_id, version])
        row = cursor.fetchone()
    if row is None or row[0] is None:
        return None
    return BrandFiles(row[0], row[1], None if row[2] is None else bytes(row[2]))


def look_of(*, tenant_id: int) -> Look:
    """What a tenant of the scope has set itself; one query."""
    row = Branding.objects.defer("logo").filter(tenant_id=tenant_id).first()
    return Look() if row is None else Look(row.name, row.accent_light, row.accent_dark)


@transaction.atomic
def set_look(
    *,
    tenant_id: int,
    look: Look,
    logo: bytes | None = None,
    remove_logo: bool = False,
    actor_id: int | None,
) -> None:
    """Give a tenant a look; the logo stays unless there is a new one or it is to be removed.

    Raises ValidationError for what is no colour. Contrast is the caller's matter, who knows the
    surfaces.
    """
    row = Branding.objects.select_for_update().filter(tenant_id=tenant_id).first()
    values: dict[str, Any] = {
        "name": look.name,
        "accent_light": look.accent_light,
        "accent_dark": look.accent_dark,
        "version": secrets.token_urlsafe(12),
    }
    if logo is not None or remove_logo:
        values["logo"] = logo
    if row is None:
        row = Branding(tenant_id=tenant_id, **values)
        row.full_clean(validate_unique=False, validate_constraints=False)
        audit.insert(row, actor_id=actor_id, action="branding.set")
    else:
        audit.update(row, values, actor_id=actor_id, action="branding.change")

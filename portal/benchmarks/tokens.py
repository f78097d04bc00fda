"""Access tokens as the provider issues them, without its pages: for the benchmark and for tests."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from oauth2_provider.models import set_token_value

from tenants.models import AccessToken, Application


def application(
    *,
    tenant_id: int,
    scopes: Collection[str],
    service: bool = False,
    facility_ids: list[int] | None = None,
) -> Application:
    """A registered application, or a service account; needs an open scope with the tenant."""
    grant = (
        Application.GRANT_CLIENT_CREDENTIALS if service else Application.GRANT_AUTHORIZATION_CODE
    )
    return Application.objects.create(
        tenant_id=tenant_id,
        name="Third party",
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=grant,
        redirect_uris="" if service else "https://third-party.example/callback",
        allowed_scopes=list(scopes),
        facility_ids=facility_ids,
        client_secret=secrets.token_urlsafe(32),
    )


def issue(
    of: Application,
    *,
    user_id: int | None,
    scopes: Collection[str] | None = None,
    lifetime: timedelta = timedelta(minutes=10),
) -> tuple[str, AccessToken]:
    """A new access token and its row; by default with every scope of the application."""
    token = secrets.token_urlsafe(32)
    row = AccessToken(
        tenant_id=of.tenant_id,
        application=of,
        user_id=user_id,
        scope=" ".join(of.allowed_scopes if scopes is None else scopes),
        expires=datetime.now(UTC) + lifetime,
    )
    set_token_value(row, token)
    row.save(force_insert=True)
    return token, row

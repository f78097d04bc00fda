"""Changes to consents and to what was issued under them.

All need an open scope; what lies outside it does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from oauth2_provider.models import clear_expired

from tenants import token_cache
from tenants.domain import audit
from tenants.domain.audit import record, snapshot
from tenants.models import (
    AccessToken,
    Application,
    Consent,
    DeviceGrant,
    Grant,
    RefreshToken,
    SignOn,
)


@dataclass(frozen=True, slots=True)
class LogoutNotice:
    """One application that must be told that somebody signed out (back-channel logout)."""

    uri: str
    client_id: str
    user_id: int
    sid: UUID


@transaction.atomic
def give_consent(
    *, application: Application, user_id: int, tenant_id: int, scopes: Sequence[str]
) -> Consent:
    """Remember that the user allows the application `scopes`, beside those allowed before."""
    consent, _created = Consent.objects.select_for_update().get_or_create(
        application=application,
        user_id=user_id,
        tenant_id=tenant_id,
        defaults={"application_name": application.name, "scopes": []},
    )
    consent.scopes = sorted({*consent.scopes, *scopes})
    consent.application_name, consent.granted_at = application.name, timezone.now()
    consent.save(update_fields=["scopes", "application_name", "granted_at"])
    record(
        tenant_id=tenant_id,
        actor_id=user_id,
        action="consent.give",
        subject=consent,
        after=snapshot(consent),
    )
    return consent


@transaction.atomic
def revoke_consent(
    *, consent_id: int, actor_id: int, own_only: bool, application_id: int | None = None
) -> None:
    """Take back what a user allowed, and end all tokens that were issued for it.

    With `own_only` a consent of somebody else does not exist, with `application_id` one for another
    application: raises Consent.DoesNotExist.
    """
    consents = Consent.objects.select_for_update()
    if application_id is not None:
        consents = consents.filter(application=application_id)
    if own_only:
        consents = consents.filter(user_id=actor_id)
    consent = consents.get(pk=consent_id)
    revoke_tokens(
        application_id=consent.application_id,
        user_id=consent.user_id,
        tenant_id=consent.tenant_id,
    )
    audit.delete(consent, actor_id=actor_id, action="consent.revoke")


def revoke_tokens(**condition: int) -> None:
    """End the matching tokens, and codes that could still become tokens."""
    Grant.objects.filter(**condition).delete()
    DeviceGrant.objects.filter(**condition).delete()
    RefreshToken.revoke_where(**condition)
    AccessToken.revoke_where(**condition)


def sign_on(
    *,
    sid: UUID,
    application: Application,
    user_id: int,
    tenant_id: int,
    authenticated_at: datetime,
    methods: Sequence[str] = (),
) -> SignOn:
    """Note that a session of a browser uses an application.

    `methods`: how the person signed in (`authentication_context.py`).
    """
    row, _created = SignOn.objects.update_or_create(
        sid=sid,
        application=application,
        tenant_id=tenant_id,
        defaults={
            "user_id": user_id,
            "authenticated_at": authenticated_at,
            "methods": list(methods),
            "ended_at": None,
        },
    )
    return row


@transaction.atomic
def end_sign_on(*, sid: UUID) -> tuple[LogoutNotice, ...]:
    """End a browser's session in all applications; returns whom to tell, after commit."""
    found = SignOn.objects.select_for_update(of=("self",)).select_related("application")
    rows = list(found.filter(sid=sid, ended_at__isnull=True))
    keys = [row.pk for row in rows]
    Grant.objects.filter(sign_on__in=keys).delete()
    RefreshToken.revoke_where(sign_on__in=keys)
    AccessToken.revoke_where(sign_on__in=keys)
    SignOn.objects.filter(pk__in=keys).update(ended_at=timezone.now())
    return tuple(
        LogoutNotice(
            row.application.backchannel_logout_uri, row.application.client_id, row.user_id, sid
        )
        for row in rows
        if row.application.backchannel_logout_uri
    )


def access_changed(*, user_id: int) -> None:
    """A user's roles or facilities changed: what is known of the user's tokens is looked up again.

    Called by the entry point that changed them, in the scope of the change.
    """
    token_cache.forget(
        AccessToken.objects.filter(user_id=user_id, expires__gt=timezone.now()).values_list(
            "token_checksum", flat=True
        )
    )


def remove_expired(*, before: datetime) -> None:
    """Delete codes, tokens, device codes and ended sessions that expired; daily.

    Codes are kept until then to notice a replay.
    """
    clear_expired()
    DeviceGrant.objects.filter(expires__lt=before).delete()
    SignOn.objects.filter(ended_at__lt=before).delete()


def waiting_device(*, user_code: str, now: datetime) -> DeviceGrant | None:
    """The request of the device that shows this code, if it still waits for an answer.

    Locked, and with its application.
    """
    waiting = DeviceGrant.objects.select_for_update(of=("self",)).select_related("application")
    return waiting.filter(
        user_code=user_code,
        status=DeviceGrant.AUTHORIZATION_PENDING,
        expires__gt=now,
        application__is_active=True,
    ).first()


@transaction.atomic
def allow_device(*, grant: DeviceGrant, user_id: int, tenant_id: int) -> None:
    """The user allows the device what it asked for, in one tenant."""
    give_consent(
        application=grant.application,
        user_id=user_id,
        tenant_id=tenant_id,
        scopes=grant.scope.split(),
    )
    grant.user_id, grant.tenant_id = user_id, tenant_id
    grant.status = DeviceGrant.AUTHORIZED
    grant.save(update_fields=["user", "tenant", "status"])


def deny_device(*, grant: DeviceGrant) -> None:
    """The user refuses the device."""
    grant.status = DeviceGrant.DENIED
    grant.save(update_fields=["status"])

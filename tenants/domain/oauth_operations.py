"""Changes to applications, consents and what was issued under them.

All need an open scope; what lies outside it does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone
from django.utils.crypto import get_random_string
from oauth2_provider.models import clear_expired

from tenants import token_cache
from tenants.domain import audit, authority
from tenants.domain.audit import record, snapshot
from tenants.models import (
    AccessToken,
    Application,
    ApplicationKind,
    Consent,
    DeviceGrant,
    Grant,
    RefreshToken,
    SignOn,
)
from tenants.permissions import Permission, permissions_of_scopes

_SECRET_LENGTH = 64


class FirstParty(Exception):  # noqa: N818 - it reads as what happened
    """The application asks nobody for consent: it is changed at the command line alone, since
    whoever changes its addresses gets tokens of people who have allowed nothing.
    """


class NoSecret(Exception):  # noqa: N818 - it reads as what happened
    """The application is of a kind that cannot keep a secret."""


@dataclass(frozen=True, slots=True)
class LogoutNotice:
    """One application that must be told that somebody signed out (back-channel logout)."""

    uri: str
    client_id: str
    user_id: int
    sid: UUID


@transaction.atomic
def register_application(application: Application, *, actor_id: int | None) -> str:
    """Save a new application; returns its secret, which is not stored, '' for a public client.

    Raises ValidationError for addresses or scopes that do not fit.
    """
    secret = ""
    if application.client_type == Application.CLIENT_CONFIDENTIAL:
        secret = get_random_string(_SECRET_LENGTH)
    application.client_secret = secret
    application.algorithm = Application.RS256_ALGORITHM
    application.full_clean(exclude=["tenant", "client_secret"])
    _require_power(application, actor_id=actor_id)
    audit.insert(application, actor_id=actor_id, action="application.register")
    return secret


@transaction.atomic
def change_application(
    *, application_id: int, values: Mapping[str, Any], actor_id: int | None
) -> bool:
    """Change name, addresses, scopes or facilities of an application; False when nothing changed.

    Tokens that may do what the application may not any more are ended with the change. Raises
    Application.DoesNotExist, FirstParty, ValidationError, NotAllowed for a service account that
    may do more than the actor.
    """
    application = _to_be_changed(application_id)
    narrowed = not set(application.allowed_scopes) <= set(
        values.get("allowed_scopes", application.allowed_scopes)
    ) or (values.get("facility_ids", application.facility_ids) != application.facility_ids)
    if not audit.update(application, values, actor_id=actor_id, action="application.change"):
        return False
    _require_power(application, actor_id=actor_id)
    if narrowed:
        _revoke_tokens(application_id=application.pk)
    return True


@transaction.atomic
def rotate_application_secret(*, application_id: int, actor_id: int | None) -> str:
    """Give an application a new secret, which is not stored; the old one stops working at once.

    Raises Application.DoesNotExist, FirstParty, NoSecret for a kind that cannot keep one.
    """
    application = _to_be_changed(application_id)
    if application.client_type != Application.CLIENT_CONFIDENTIAL:
        raise NoSecret
    _require_power(application, actor_id=actor_id)
    secret = get_random_string(_SECRET_LENGTH)
    audit.update(
        application,
        {"client_secret": secret},
        actor_id=actor_id,
        action="application.rotate_secret",
        validate=False,
    )
    return secret


@transaction.atomic
def deactivate_application(*, application_id: int, actor_id: int | None) -> None:
    """Refuse an application from now on and end all its tokens; raises Application.DoesNotExist."""
    application = Application.objects.select_for_update().get(pk=application_id)
    audit.update(
        application, {"is_active": False}, actor_id=actor_id, action="application.deactivate"
    )
    _revoke_tokens(application_id=application.pk)


@transaction.atomic
def activate_application(*, application_id: int, actor_id: int | None) -> None:
    """Let an application in again; raises Application.DoesNotExist, FirstParty."""
    application = _to_be_changed(application_id)
    audit.update(application, {"is_active": True}, actor_id=actor_id, action="application.activate")


@transaction.atomic
def revoke_application_tokens(*, application_id: int, actor_id: int | None) -> None:
    """End everything that was issued to an application; what people allowed stays allowed.

    Raises Application.DoesNotExist.
    """
    application = Application.objects.select_for_update().get(pk=application_id)
    _revoke_tokens(application_id=application.pk)
    record(
        tenant_id=application.tenant_id,
        actor_id=actor_id,
        action="application.revoke_tokens",
        subject=application,
    )


def _require_power(application: Application, *, actor_id: int | None) -> None:
    """Raises NotAllowed when the actor would get more by a service account than by the own role."""
    authority.require(
        actor_id=actor_id,
        tenant_id=application.tenant_id,
        to=Permission.APPLICATIONS_CHANGE,
        over=permissions_of_scopes(frozenset(application.allowed_scopes))
        if application.kind is ApplicationKind.SERVICE
        else frozenset(),
    )


def _to_be_changed(application_id: int) -> Application:
    application = Application.objects.select_for_update().get(pk=application_id)
    if application.skip_authorization:
        raise FirstParty
    return application


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
    _revoke_tokens(
        application_id=consent.application_id,
        user_id=consent.user_id,
        tenant_id=consent.tenant_id,
    )
    audit.delete(consent, actor_id=actor_id, action="consent.revoke")


def _revoke_tokens(**condition: int) -> None:
    """End tokens, and codes that could still become tokens."""
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
) -> SignOn:
    """Note that a session of a browser uses an application."""
    row, _created = SignOn.objects.update_or_create(
        sid=sid,
        application=application,
        tenant_id=tenant_id,
        defaults={"user_id": user_id, "authenticated_at": authenticated_at, "ended_at": None},
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

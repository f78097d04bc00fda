"""Changes to applications: register, change, replace the secret, refuse, let in again.

All need an open scope; what lies outside it does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db import transaction
from django.utils.crypto import get_random_string

from tenants.domain import audit, authority
from tenants.domain.audit import record
from tenants.domain.oauth_operations import revoke_tokens
from tenants.models import Application, ApplicationKind
from tenants.permissions import Permission, permissions_of_scopes

_SECRET_LENGTH: Final = 64


class FirstParty(Exception):  # noqa: N818 - it reads as what happened
    """The application asks nobody for consent: it is changed at the command line alone, since
    whoever changes its addresses gets tokens of people who have allowed nothing.
    """


class NoSecret(Exception):  # noqa: N818 - it reads as what happened
    """The application is of a kind that cannot keep a secret."""


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
        revoke_tokens(application_id=application.pk)
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
    revoke_tokens(application_id=application.pk)


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
    revoke_tokens(application_id=application.pk)
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

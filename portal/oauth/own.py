"""The applications that belong to the installation itself: the consumer view and the interactive
reference of the API.

Applications belong to a tenant and serve it and all below, so there is one of each for every root
of the tenant tree. Their identifiers follow from the tenant, their addresses from `WATTLINE_URL`,
their secrets from `SECRET_KEY`: nothing is to be stored twice or typed. `manage.py
own_applications` (part of every set-up) makes them and follows what has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.urls import reverse
from django.utils.crypto import salted_hmac

from tenants.domain.home_queries import own_applications
from tenants.domain.own_operations import keep_application, root_tenants
from tenants.models import Application


@dataclass(frozen=True, slots=True)
class Own:
    """One kind of own application; the fields with addresses hold names of routes."""

    prefix: str
    name: str
    scopes: tuple[str, ...]
    callback: str
    confidential: bool
    asks_consent: bool
    signed_out: str | None = None
    backchannel: str | None = None


HOME: Final = Own(
    prefix="wattline-home-",
    name="Wattline Home",
    scopes=("openid", "profile", "facilities:read", "readings:read", "bills:read"),
    callback="consumer:callback",
    confidential=True,
    asks_consent=False,
    signed_out="consumer:signed-out",
    backchannel="consumer:backchannel-logout",
)
# A page in a browser keeps no secret; it may ask for everything that the API offers.
REFERENCE: Final = Own(
    prefix="wattline-reference-",
    name="API reference",
    scopes=("openid", "profile", "email", "facilities:read", "devices:read", "readings:read"),
    callback="api:reference-callback",
    confidential=False,
    asks_consent=True,
)
OWN: Final = (HOME, REFERENCE)


def address(route: str) -> str:
    """The address of a route as everybody outside knows it."""
    return settings.PUBLIC_URL + reverse(route)


def secret_of(client_id: str) -> str:
    """The secret of an own confidential application: another one with another `SECRET_KEY`."""
    return salted_hmac("wattline.own-application", client_id, algorithm="sha256").hexdigest()


def is_own(own: Own, client_id: str) -> bool:
    """Whether `client_id` has the form of such an application."""
    return client_id.startswith(own.prefix) and client_id.removeprefix(own.prefix).isdecimal()


def client_for(own: Own, *, user_id: int | None) -> str | None:
    """The application that serves a person; for nobody (None) the only one that there is.

    None when there is none, or when several might be meant: then the person has to sign in first.
    """
    found = own_applications(prefix=own.prefix, user_id=user_id)
    if user_id is not None and found:
        return found[0]
    return found[0] if len(found) == 1 else None


def keep_all() -> int:
    """Make or follow up the own applications of every root tenant; returns how many changed."""
    return sum(_keep(own, tenant_id) for tenant_id in root_tenants() for own in OWN)


def _keep(own: Own, tenant_id: int) -> bool:
    client_id = f"{own.prefix}{tenant_id}"
    values: dict[str, Any] = {
        "name": own.name,
        "client_type": (
            Application.CLIENT_CONFIDENTIAL if own.confidential else Application.CLIENT_PUBLIC
        ),
        "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
        "redirect_uris": address(own.callback),
        "post_logout_redirect_uris": address(own.signed_out) if own.signed_out else "",
        "backchannel_logout_uri": address(own.backchannel) if own.backchannel else "",
        "allowed_scopes": list(own.scopes),
        "skip_authorization": not own.asks_consent,
    }
    secret = secret_of(client_id) if own.confidential else ""
    return keep_application(tenant_id=tenant_id, client_id=client_id, secret=secret, values=values)

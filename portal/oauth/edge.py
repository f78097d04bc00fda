"""The scope of a request to the provider, before anybody is known."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import wraps
from urllib.parse import unquote_plus

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from oauth2_provider.utils import parse_bearer_token

from tenants.domain.oauth_queries import (
    UnknownToken,
    access_token,
    checksum_of,
    scope_of_application,
)
from tenants.domain.queries import reaches
from tenants.scope import Scope, open_scope

View = Callable[[HttpRequest], HttpResponse]


def client_id_of(request: HttpRequest) -> str:
    """The application that a request names, by HTTP Basic or a parameter.

    '' when it names none, or two: then nobody could say which of them was authenticated.
    """
    parameters = request.POST if request.method == "POST" else request.GET
    named = str(parameters.get("client_id", ""))
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return named
    try:
        name = unquote_plus(base64.b64decode(value).decode().partition(":")[0])
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return name if named in {"", name} else ""


def in_scope_of_application(view: View) -> View:
    """Run the view in the scope of the application that the request names.

    That is its tenant and all below it. An unknown application gets the empty scope, in which the
    toolkit finds no application and answers so.
    """

    @wraps(view)
    def scoped(request: HttpRequest) -> HttpResponse:
        return _run(view, scope_of_application(client_id=client_id_of(request)), request)

    return scoped


def in_scope_of_token(view: View) -> View:
    """Run the view in the scope of the access token that the request carries.

    A token of somebody who is no member of its tenant any more is none.
    """

    @wraps(view)
    def scoped(request: HttpRequest) -> HttpResponse:
        return _run(view, _scope_of_token(request), request)

    return scoped


def _scope_of_token(request: HttpRequest) -> Scope:
    token = parse_bearer_token(request.headers.get("Authorization"))
    try:
        facts = access_token(checksum=checksum_of(token or ""))
    except UnknownToken:
        return Scope(())
    if facts.user_id is None or not reaches(user_id=facts.user_id, tenant_id=facts.tenant_id):
        return Scope(())
    return Scope(tuple(sorted({facts.tenant_id, facts.application_tenant_id})))


def _run(view: View, scope: Scope, request: HttpRequest) -> HttpResponse:
    with open_scope(scope):
        response = view(request)
        # Refused requests change things too: a replayed code ends what came of it.
        if response.status_code >= 500:
            transaction.set_rollback(True)
        return response

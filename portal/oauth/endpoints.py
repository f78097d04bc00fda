"""What applications call: token, revocation, introspection, userinfo, device authorization."""

from __future__ import annotations

import json
import secrets
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST
from oauth2_provider.oauth2_backends import get_oauthlib_core
from oauthlib.common import urlencode
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from oauthlib.oauth2.rfc8628.endpoints import DeviceAuthorizationEndpoint

from portal.oauth.edge import client_id_of, in_scope_of_application, in_scope_of_token
from tenants.domain.oauth_queries import checksum_of
from tenants.domain.oauth_validator import (
    DEVICE_CODE_LIFETIME,
    Validator,
    active_application,
)
from tenants.domain.queries import reaches
from tenants.models import AccessToken, Application, DeviceGrant, RefreshToken, User

# Without vowels no code spells a word, and nothing in it looks like something else (RFC 8628, 6.1).
USER_CODE_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"
USER_CODE_LENGTH: Final = 8


def _answer(headers: dict[str, str], body: str | None, status: int) -> HttpResponse:
    response = HttpResponse(body or "", status=status)
    for name, value in headers.items():
        response[name] = value
    return response


@csrf_exempt
@require_POST
@never_cache
@in_scope_of_application
def token(request: HttpRequest) -> HttpResponse:
    """The token endpoint (RFC 6749, section 3.2): codes, refresh, client credentials, devices."""
    _, headers, body, status = get_oauthlib_core().create_token_response(request)
    return _answer(headers, body, status)


@csrf_exempt
@require_POST
@never_cache
@in_scope_of_application
def revoke(request: HttpRequest) -> HttpResponse:
    """Revocation by the application that holds the token (RFC 7009)."""
    _, headers, body, status = get_oauthlib_core().create_revocation_response(request)
    return _answer(headers, body, status)


@csrf_exempt
@require_POST
@never_cache
@in_scope_of_application
def introspect(request: HttpRequest) -> HttpResponse:
    """What a token of the asking application is worth (RFC 7662); to others it does not exist."""
    application = _authenticated(request)
    if application is None:
        response = JsonResponse({"error": "invalid_client"}, status=401)
        response["WWW-Authenticate"] = 'Basic realm="wattline"'
        return response
    if not (presented := request.POST.get("token")):
        return JsonResponse({"error": "invalid_request"}, status=400)
    return JsonResponse(_introspected(application, presented))


def _authenticated(request: HttpRequest) -> Application | None:
    """The confidential application that sent its secret along."""
    application = active_application(client_id_of(request))
    if application is None or application.client_type != Application.CLIENT_CONFIDENTIAL:
        return None
    return application if get_oauthlib_core().authenticate_client(request) else None


def _introspected(application: Application, presented: str) -> dict[str, Any]:
    mine = {"application": application, "token_checksum": checksum_of(presented)}
    common = {"active": True, "client_id": application.client_id, "iss": settings.PUBLIC_URL}
    access = AccessToken.objects.select_related("user").filter(**mine).first()
    if access is not None and not access.is_expired():
        if access.user is not None and not _may_act(access.user, access.tenant_id):
            return {"active": False}
        return {
            **common,
            "token_type": "Bearer",
            "scope": access.scope,
            "exp": int(access.expires.timestamp()),
            "iat": int(access.created.timestamp()),
            **({"sub": str(access.user_id)} if access.user_id else {}),
        }
    refresh = RefreshToken.objects.filter(
        **mine, revoked__isnull=True, access_token__isnull=False, user__is_active=True
    ).first()
    if refresh is not None and _may_act(refresh.user, refresh.tenant_id):
        return {
            **common,
            "sub": str(refresh.user_id),
            "iat": int(refresh.created.timestamp()),
        }
    return {"active": False}


def _may_act(user: User, tenant_id: int) -> bool:
    return user.is_active and reaches(user_id=user.pk, tenant_id=tenant_id)


@csrf_exempt
@require_http_methods(["GET", "POST"])
@never_cache
@in_scope_of_token
def userinfo(request: HttpRequest) -> HttpResponse:
    """Claims about the person who signed in (OpenID Connect Core, section 5.3)."""
    _, headers, body, status = get_oauthlib_core().create_userinfo_response(request)
    return _answer(headers, body, status)


@csrf_exempt
@require_POST
@never_cache
@in_scope_of_application
def device_authorization(request: HttpRequest) -> HttpResponse:
    """A device without a keyboard asks for a code that a person allows elsewhere (RFC 8628)."""
    application = active_application(client_id_of(request))
    if application is None:
        return JsonResponse({"error": "invalid_client"}, status=401)
    if application.authorization_grant_type != Application.GRANT_DEVICE_CODE:
        return JsonResponse({"error": "unauthorized_client"}, status=400)
    core = get_oauthlib_core()
    page = settings.PUBLIC_URL + reverse("oauth:device")
    endpoint = DeviceAuthorizationEndpoint(
        Validator(),
        verification_uri=page,
        verification_uri_complete=page + "?user_code={user_code}",
        expires_in=int(DEVICE_CODE_LIFETIME.total_seconds()),
        interval=5,
        user_code_generator=new_user_code,
    )
    try:
        _, answer, status = endpoint.create_device_authorization_response(
            request.build_absolute_uri(),
            "POST",
            urlencode(core.extract_body(request)),
            core.extract_headers(request),
        )
    except OAuth2Error as error:
        return _answer(
            {**error.headers, "Content-Type": "application/json"}, error.json, error.status_code
        )
    DeviceGrant.objects.create(
        tenant_id=application.tenant_id,
        application=application,
        client_id=application.client_id,
        device_code=answer["device_code"],
        user_code=answer["user_code"],
        scope=answer.pop("scope", ""),
        interval=answer["interval"],
        expires=timezone.now() + DEVICE_CODE_LIFETIME,
    )
    return HttpResponse(json.dumps(answer), status=status, content_type="application/json")


def new_user_code() -> str:
    """Eight letters in two groups, to be read from a display and typed."""
    letters = "".join(secrets.choice(USER_CODE_LETTERS) for _ in range(USER_CODE_LENGTH))
    return f"{letters[:4]}-{letters[4:]}"

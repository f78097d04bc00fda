"""What the provider announces of itself: metadata and keys, open to everybody."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from tenants import oidc_keys
from tenants.domain.authentication_context import CLASSES
from tenants.permissions import ACCESS_SCOPES

PROMPTS: Final = ("none", "login", "consent", "select_account")
# Applications may keep what they read for an hour; a rotation announces its key a rotation ahead.
_MAX_AGE_S: Final = 3600
_CLIENT_AUTHENTICATION: Final = ["client_secret_basic", "client_secret_post"]


def metadata() -> dict[str, Any]:
    """OpenID Connect Discovery 1.0 and RFC 8414 in one: they share their names."""

    def url(name: str) -> str:
        return settings.PUBLIC_URL + reverse(f"oauth:{name}")

    return {
        "issuer": settings.PUBLIC_URL,
        "authorization_endpoint": url("authorize"),
        "token_endpoint": url("token"),
        "userinfo_endpoint": url("userinfo"),
        "jwks_uri": url("jwks"),
        "introspection_endpoint": url("introspect"),
        "revocation_endpoint": url("revoke"),
        "device_authorization_endpoint": url("device-authorization"),
        "end_session_endpoint": url("logout"),
        "service_documentation": f"{settings.PUBLIC_URL}/api/",
        "scopes_supported": list(ACCESS_SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": [
            "authorization_code",
            "refresh_token",
            "client_credentials",
            "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": list(PROMPTS),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [oidc_keys.ALGORITHM],
        "token_endpoint_auth_methods_supported": [*_CLIENT_AUTHENTICATION, "none"],
        "revocation_endpoint_auth_methods_supported": [*_CLIENT_AUTHENTICATION, "none"],
        "introspection_endpoint_auth_methods_supported": _CLIENT_AUTHENTICATION,
        "claims_supported": [
            *("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "at_hash"),
            *("amr", "acr"),
            *("name", "locale", "zoneinfo", "email"),
        ],
        "acr_values_supported": list(CLASSES),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "authorization_response_iss_parameter_supported": True,
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "ui_locales_supported": [code for code, _name in settings.LANGUAGES],
    }


def _public(document: dict[str, Any]) -> HttpResponse:
    response = JsonResponse(document)
    response["Access-Control-Allow-Origin"] = "*"
    return response


@require_safe
@cache_control(public=True, max_age=_MAX_AGE_S)
def configuration(request: HttpRequest) -> HttpResponse:
    """`/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`."""
    del request
    return _public(metadata())


@require_safe
@cache_control(public=True, max_age=_MAX_AGE_S)
def jwks(request: HttpRequest) -> HttpResponse:
    """The public keys (RFC 7517): of now, of the next and of the last rotation."""
    del request
    return _public({"keys": oidc_keys.published()})

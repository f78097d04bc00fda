"""How views become the OpenAPI description (`docs/openapi.yaml`)."""

from __future__ import annotations

from typing import Any, Final

from django.conf import settings
from django.urls import reverse
from django.utils import translation
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, inline_serializer
from rest_framework import serializers

from portal.api.access import PUBLIC, Requires, declaration_of
from portal.api.problems import MEDIA_TYPE
from portal.api.serializers import ProblemSerializer
from portal.handler import API_PREFIX
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES

OAUTH2: Final = "oauth2"
SESSION: Final = "session"

_MEANING: Final = {
    400: "A parameter cannot be understood; `errors` names it.",
    401: "No valid access token.",
    403: "The role or the access token does not reach this.",
    404: "There is no such resource within reach of the caller.",
    409: "What was kept is damaged; `detail` says what.",
    429: "Too many requests in this minute; `Retry-After` says how many seconds to wait.",
}


def problems(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """The responses of these statuses, as problem details."""
    return {
        (status, MEDIA_TYPE): OpenApiResponse(ProblemSerializer, _MEANING[status])
        for status in statuses
    }


def list_of(item: type[serializers.Serializer[Any]]) -> serializers.Serializer[Any]:
    """The shape of a page of `item`."""
    name = item.__name__.removesuffix("Serializer")
    return inline_serializer(
        f"{name}Page",
        {
            "next": serializers.URLField(
                allow_null=True, help_text="The next page; null at the end."
            ),
            "next_cursor": serializers.CharField(allow_null=True),
            "results": item(many=True),
        },
    )


class DeclaredSchema(AutoSchema):
    """Security of each operation as its view declares it; bodies of answers alone."""

    def get_auth(self) -> list[dict[str, list[str]]]:
        """The scopes that a token needs; a session needs none."""
        required = declaration_of(self.view).get(self.method, PUBLIC)
        if not isinstance(required, Requires):
            return [{}]
        return [{OAUTH2: list(required.scopes)}, {SESSION: []}]


def api_alone(endpoints: list[Any]) -> list[Any]:
    """Preprocessing hook: the operations below /api/, whatever else is a view of the framework."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(API_PREFIX)]


def describe_security(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Postprocessing hook: how a caller identifies itself, with every scope in words."""
    with translation.override("en"):
        scopes = {name: f"May {scope.label}" for name, scope in ACCESS_SCOPES.items()}
    token_url = reverse("oauth:token")
    flows = {
        "authorizationCode": {
            "authorizationUrl": reverse("oauth:authorize"),
            "tokenUrl": token_url,
            "refreshUrl": token_url,
            "scopes": scopes,
        },
        "clientCredentials": {
            "tokenUrl": token_url,
            "scopes": {
                name: words for name, words in scopes.items() if name not in PERSONAL_SCOPES
            },
        },
    }
    result["components"]["securitySchemes"] = {
        OAUTH2: {"type": "oauth2", "flows": flows},
        SESSION: {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME},
    }
    return result

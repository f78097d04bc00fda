"""How views become the OpenAPI description (`docs/openapi.yaml`)."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiResponse, inline_serializer
from rest_framework import serializers

from portal.api.access import PUBLIC, Requires, declaration_of
from portal.api.problems import MEDIA_TYPE
from portal.api.serializers import ProblemSerializer
from portal.handler import API_PREFIX

OAUTH2: Final = "oauth2"
SESSION: Final = "session"

_MEANING: Final = {
    400: "A parameter cannot be understood; `errors` names it.",
    401: "No valid access token.",
    403: "The role or the access token does not reach this.",
    404: "There is no such resource within reach of the caller.",
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

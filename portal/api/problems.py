"""Every error of the API as problem details (RFC 9457), made in one place.

`type` is about:blank throughout, hence `title` is the phrase of the status. Extension members:
`code`, a stable word for programs, and with 400 `errors`, one entry for each parameter at fault.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.defaults import bad_request as bad_request_page
from django.views.defaults import page_not_found as not_found_page
from django.views.defaults import server_error as server_error_page
from rest_framework.exceptions import (
    APIException,
    NotAuthenticated,
    NotFound,
    ValidationError,
)
from rest_framework.exceptions import PermissionDenied as ApiPermissionDenied
from rest_framework.response import Response
from rest_framework.views import exception_handler

from portal.api.access import InsufficientScope
from portal.handler import API_PREFIX

MEDIA_TYPE: Final = "application/problem+json"


def problem(status: int, code: str, detail: str, **members: object) -> dict[str, object]:
    """The body of a problem."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **members,
    }


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """The exception handler of the framework: None for what only Django's 500 answers."""
    error = _translated(error)
    response = exception_handler(error, context)
    if response is None or not isinstance(error, APIException):
        return None
    # The middleware commits what a view has done unless it learns that the view failed.
    context["request"]._request.failed = True  # noqa: SLF001
    response.data = problem(response.status_code, _code(error), _detail(error), **_members(error))
    response.content_type = MEDIA_TYPE
    if isinstance(error, InsufficientScope):
        # RFC 6750, section 3.
        scope = " ".join(error.scopes)
        response["WWW-Authenticate"] = (
            f'Bearer realm="wattline", error="insufficient_scope", scope="{scope}"'
        )
    return response


def _translated(error: Exception) -> Exception:
    """Django's own errors as those of the framework."""
    if isinstance(error, Http404):
        return NotFound()
    if isinstance(error, PermissionDenied):
        return ApiPermissionDenied()
    return error


def _code(error: APIException) -> str:
    if isinstance(error, ValidationError):
        return "invalid_parameter"
    codes = error.get_codes()
    return codes if isinstance(codes, str) else error.default_code


def _detail(error: APIException) -> str:
    if isinstance(error, ValidationError):
        return "The request cannot be understood: see errors."
    if isinstance(error, NotAuthenticated):
        return "Send an access token in the header Authorization: Bearer …"
    return str(error.detail)


def _members(error: APIException) -> dict[str, object]:
    if not isinstance(error, ValidationError):
        return {}
    found = error.detail if isinstance(error.detail, dict) else {"": error.detail}
    return {
        "errors": [
            {"parameter": _sendable(name), "detail": _sendable(text)}
            for name, texts in found.items()
            for text in (texts if isinstance(texts, list) else [texts])
        ]
    }


def _sendable(told: object) -> str:
    """A text that quotes what was sent: JSON can name half a character, UTF-8 cannot hold it."""
    return str(told).encode("utf-8", "replace").decode()


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django answers where no route leads: a problem to programs, a page to people."""
    if not request.path.startswith(API_PREFIX):
        return not_found_page(request, exception)
    text = "There is no such address; those of the API begin with /api/v1/ and end with a slash."
    return JsonResponse(problem(404, "not_found", text), status=404, content_type=MEDIA_TYPE)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """What Django answers to a request that it takes for an attack, or cannot read."""
    if not request.path.startswith(API_PREFIX):
        return bad_request_page(request, exception)
    body = problem(400, "bad_request", "The request cannot be understood.")
    return JsonResponse(body, status=400, content_type=MEDIA_TYPE)


def server_error(request: HttpRequest) -> HttpResponse:
    """What Django answers when a view has failed: a problem to programs, a page to people."""
    if not request.path.startswith(API_PREFIX):
        return server_error_page(request)
    body = problem(500, "error", "Something went wrong on our side; it has been logged.")
    return JsonResponse(body, status=500, content_type=MEDIA_TYPE)

"""What every DDI view shares: who asks, in what scope, how bodies are read and answers written."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from http import HTTPStatus
from typing import Concatenate, Final, ParamSpec

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt

from firmware.ddi.errors import DdiError, ErrorCode, Refusal
from firmware.ddi.requests import MOST_BODY
from firmware.ddi.tokens import read_authorization
from firmware.domain import ddi_doors
from firmware.domain.ddi_actions import ActionOver
from firmware.domain.ddi_doors import Controller
from portal.ddi import limits
from portal.middleware import client_address
from tenants.domain import audit
from tenants.models import AuditChannel
from tenants.scope import open_scope

logger = logging.getLogger(__name__)

_JSON: Final = "application/json"
_HAL: Final = "application/hal+json"
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_RETRY_S: Final = str(limits.WINDOW_S)
_DEFAULT: Final = "DEFAULT"

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, Controller, P], HttpResponseBase]


def ddi_view(
    *methods: str, limit: limits.Limit = limits.REQUESTS
) -> Callable[[View[P]], Callable[..., HttpResponseBase]]:
    """A view of the DDI interface: `view(request, controller, …)`, called in the device's scope.

    Nobody but the holder of a token learns whether a tenant or a device exists.
    """

    def decorate(view: View[P]) -> Callable[..., HttpResponseBase]:
        @csrf_exempt
        @wraps(view)
        def answered(
            request: HttpRequest, tenant: str, controller: str, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if request.method not in methods:
                return _not_allowed(methods)
            admitted = _admit(request, tenant, controller)
            if isinstance(admitted, HttpResponse):
                return admitted
            if not limits.admits(limit, admitted.device_id):
                return too_many(_RETRY_S)
            try:
                # What a device changes is told of as what comes in by the API.
                origin = replace(audit.current_origin(), channel=AuditChannel.API)
                with audit.origin(origin), open_scope(admitted.scope):
                    response = view(request, admitted, *args, **kwargs)
            except DdiError as error:
                return refused(error.refusal)
            except ActionOver:
                return HttpResponse(status=HTTPStatus.GONE)
            add_never_cache_headers(response)
            return response

        return answered

    return decorate


def body_of(request: HttpRequest, *, optional: bool = False) -> object:
    """The body of a request, read; None for an empty one where it is `optional`.

    Raises DdiError for what is too large, or no JSON.
    """
    length = request.headers.get("Content-Length", "0")
    if not _COUNT.fullmatch(length) or int(length) > MOST_BODY or len(request.body) > MOST_BODY:
        raise DdiError(ErrorCode.TOO_LARGE, f"Send at most {MOST_BODY} bytes.")
    if optional and not request.body.strip():
        return None
    try:
        found: object = json.loads(request.body)
    except (ValueError, RecursionError):
        raise DdiError(ErrorCode.UNREADABLE, "The body is no JSON.") from None
    return found


def answer(request: HttpRequest, found: object) -> HttpResponse:
    """An answer in JSON with an entity tag; 304 to whoever has it already."""
    content = json.dumps(found, separators=(",", ":")).encode()
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    known = [word.strip() for word in request.headers.get("If-None-Match", "").split(",")]
    if tag in known:
        response = HttpResponse(status=HTTPStatus.NOT_MODIFIED)
    else:
        accepted = request.headers.get("Accept", "")
        hal = _HAL in accepted and _JSON not in accepted.replace(_HAL, "")
        response = HttpResponse(content, content_type=_HAL if hal else _JSON)
    response["ETag"] = tag
    response["Vary"] = "Accept, Authorization"
    return response


def done() -> HttpResponse:
    """What was told has been taken."""
    return HttpResponse(status=HTTPStatus.OK)


def refused(refusal: Refusal) -> HttpResponse:
    """An error body as hawkBit's."""
    content = json.dumps(refusal.body())
    return HttpResponse(content, content_type=_JSON, status=refusal.code.status)


def root_of(request: HttpRequest, controller: Controller) -> str:
    """The address of the controller on the host that it asked, on which every link is built."""
    tenant = controller.tenant
    # As hawkBit writes its own: Zephyr's client before 4.1 asks for one and looks for the other.
    if tenant == _DEFAULT.lower():
        tenant = _DEFAULT
    path = f"/{tenant}/controller/v1/{controller.serial}"
    return request.build_absolute_uri(path)


def _admit(request: HttpRequest, tenant: str, controller: str) -> Controller | HttpResponse:
    """Who asks; or the refusal."""
    if settings.HTTPS and not request.is_secure():
        return refused(
            Refusal(ErrorCode.INSECURE, "Ask over HTTPS: the token would be read by others.")
        )
    presented = read_authorization(request.headers.get("Authorization", ""))
    if presented is None:
        return _unknown()
    address = client_address(request) or ""
    token = presented.value
    standing = limits.standing(address=address, controller=controller, token=token)
    if standing.refused and not standing.known:
        return too_many(_RETRY_S)
    try:
        admitted = ddi_doors.admit(tenant=tenant, controller=controller, presented=presented)
    except ddi_doors.NotAdmitted:
        limits.failed(address=address, controller=controller, token=token)
        logger.info("ddi_not_admitted address=%s", address)
        return _unknown()
    except ddi_doors.UnknownController:
        text = f"The tenant has no device {controller} that is updated over DDI."
        return refused(Refusal(ErrorCode.NOT_FOUND, text))
    except ddi_doors.InactiveController:
        return refused(Refusal(ErrorCode.INACTIVE, "The device is not active."))
    if not standing.known:
        limits.let_in(controller=controller, token=token)
    return admitted


def _unknown() -> HttpResponse:
    response = HttpResponse(status=HTTPStatus.UNAUTHORIZED)
    response["WWW-Authenticate"] = 'TargetToken realm="wattline"'
    return response


def _not_allowed(methods: tuple[str, ...]) -> HttpResponse:
    response = HttpResponse(status=HTTPStatus.METHOD_NOT_ALLOWED)
    response["Allow"] = ", ".join(methods)
    return response


def too_many(retry_s: str) -> HttpResponse:
    """Come again, after so many seconds."""
    response = HttpResponse(status=HTTPStatus.TOO_MANY_REQUESTS)
    response["Retry-After"] = retry_s
    return response

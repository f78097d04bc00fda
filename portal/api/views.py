"""The resources of the API; each view makes one domain call."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.decorators import method_decorator
from django.views.decorators.http import conditional_page
from django.views.generic import View
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from devices.domain import catalogue, corrections_queries, latest, queries
from devices.domain.catalogue import Page
from devices.domain.latest import LatestValue
from devices.domain.series_bounds import SeriesRefusedError
from portal.api import serializers as shapes
from portal.api.access import (
    PUBLIC,
    Declaration,
    Requires,
    access_of,
    declaration_of,
    scopes_of,
    tenant_of,
)
from portal.api.authentication import BadToken, find_bearer
from portal.api.schema import list_of, problems
from portal.oauth import own
from tenants.domain.queries import user_and_tenant
from tenants.models import User
from tenants.permissions import Permission
from tenants.scope import open_scope

FACILITIES: Final = Requires((Permission.FACILITIES_VIEW,), ("facilities:read",))
DEVICES: Final = Requires((Permission.DEVICES_VIEW,), ("devices:read",))
FACILITY_READINGS: Final = Requires(
    (Permission.FACILITIES_VIEW, Permission.READINGS_VIEW), ("facilities:read", "readings:read")
)
DEVICE_READINGS: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.READINGS_VIEW), ("devices:read", "readings:read")
)

_MISSING: Final = (
    queries.FacilityNotFound,
    queries.DeviceNotFound,
    catalogue.ChannelNotFound,
    corrections_queries.CorrectionNotFound,
)


def next_of(request: Request, page: Page[Any]) -> dict[str, str | None]:
    """Where the page behind a page is: `next` and `next_cursor`, None at the end."""
    if page.next_after is None:
        return {"next": None, "next_cursor": None}
    cursor = shapes.cursor_after(page.next_after)
    wanted = request.query_params.copy()
    wanted["cursor"] = cursor
    url = request.build_absolute_uri(f"{request.path}?{wanted.urlencode()}")
    return {"next": url, "next_cursor": cursor}


@method_decorator(conditional_page, name="dispatch")
class ApiView(APIView):
    """The base of every view: declared access, headers of quota and caching, ETag.

    An answer without an ETag of its own gets one of its content; a caller that has it already is
    answered 304.
    """

    access: ClassVar[Declaration] = {}

    @property
    def allowed_methods(self) -> list[str]:
        """For the header Allow, and for the schema."""
        declared = list(declaration_of(self))
        return [*declared, "HEAD"] if "GET" in declared else declared

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer in the scope of the token; without one, in that of the session."""
        try:
            bearer = request.bearer = find_bearer(request)  # type: ignore[attr-defined]
        except BadToken as refusal:
            bearer, request.bearer = None, refusal  # type: ignore[attr-defined]
        if bearer is None:
            return super().dispatch(request, *args, **kwargs)
        with open_scope(bearer.scope):
            response = super().dispatch(request, *args, **kwargs)
            if getattr(response, "exception", False):
                transaction.set_rollback(True)
            return response

    def handle_exception(self, exc: Exception) -> Response:
        """What the scope does not hold does not exist; a period out of bounds is a parameter."""
        if isinstance(exc, _MISSING):
            exc = NotFound()
        elif isinstance(exc, SeriesRefusedError):
            exc = ValidationError({exc.parameter: [str(exc)]})
        return super().handle_exception(exc)

    def finalize_response(
        self, request: Request, response: Any, *args: Any, **kwargs: Any
    ) -> Response:
        """Adds the headers that every answer carries."""
        answer = super().finalize_response(request, response, *args, **kwargs)
        quota = getattr(request, "quota", None)
        if quota is not None:
            for name, value in quota.headers().items():
                answer[name] = value
        # Kept by nobody but the caller, and asked for anew each time.
        patch_cache_control(answer, private=True, no_cache=True)
        patch_vary_headers(answer, ("Authorization", "Cookie"))
        return answer

    def parameters(self, shape: type[shapes.Query], request: Request) -> Mapping[str, Any]:
        """The query's values; raises ValidationError."""
        query = shape(data=request.query_params)
        query.is_valid(raise_exception=True)
        values: Mapping[str, Any] = query.validated_data
        return values

    def page(
        self, request: Request, page: Page[Any], shape: type[serializers.Serializer[Any]]
    ) -> Response:
        """A page of a list, with the address of the next one."""
        rows = shape(page.items, many=True, context={"request": request})
        return Response({**next_of(request, page), "results": rows.data})


class FacilityList(ApiView):
    """The facilities that the caller may see, by id."""

    access = {"GET": FACILITIES}

    @extend_schema(
        operation_id="facilities",
        tags=["Facilities"],
        parameters=[shapes.FacilityQuery],
        responses={200: list_of(shapes.FacilitySerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of facilities."""
        wanted = self.parameters(shapes.FacilityQuery, request)
        found = catalogue.facility_page(
            limit=wanted["limit"],
            after=wanted.get("after", 0),
            kind=wanted.get("kind"),
            parent_id=wanted.get("parent"),
            name=wanted.get("name"),
        )
        return self.page(request, found, shapes.FacilitySerializer)


class FacilityDetail(ApiView):
    """One facility."""

    access = {"GET": FACILITIES}

    @extend_schema(
        operation_id="facility",
        tags=["Facilities"],
        responses={200: shapes.FacilitySerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """A facility."""
        found = catalogue.facility_entry(facility_id=pk)
        return Response(shapes.FacilitySerializer(found).data)


class FacilityLatest(ApiView):
    """The latest values of a facility."""

    access = {"GET": FACILITY_READINGS}

    @extend_schema(
        operation_id="facility_latest",
        tags=["Readings"],
        responses={200: shapes.LatestSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """The last reading of every channel of the facility's devices.

        Areas inside the facility are facilities of their own. Revoked devices are left out.
        """
        return _latest(latest.latest_of_facility(facility_id=pk))


class DeviceList(ApiView):
    """The devices that the caller may see, by id."""

    access = {"GET": DEVICES}

    @extend_schema(
        operation_id="devices",
        tags=["Devices"],
        parameters=[shapes.DeviceQuery],
        responses={200: list_of(shapes.DeviceSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of devices."""
        wanted = self.parameters(shapes.DeviceQuery, request)
        found = catalogue.device_page(
            limit=wanted["limit"],
            after=wanted.get("after", 0),
            facility_id=wanted.get("facility"),
            state=wanted.get("state"),
            placement=wanted.get("placement"),
            serial=wanted.get("serial"),
        )
        return self.page(request, found, shapes.DeviceSerializer)


class DeviceDetail(ApiView):
    """One device."""

    access = {"GET": DEVICES}

    @extend_schema(
        operation_id="device",
        tags=["Devices"],
        responses={200: shapes.DeviceSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """A device."""
        return Response(shapes.DeviceSerializer(catalogue.device_entry(device_id=pk)).data)


class DeviceLatest(ApiView):
    """The latest values of a device."""

    access = {"GET": DEVICE_READINGS}

    @extend_schema(
        operation_id="device_latest",
        tags=["Readings"],
        responses={200: shapes.LatestSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """The last reading of every channel of the device."""
        return _latest(latest.latest_of_device(device_id=pk))


class ChannelList(ApiView):
    """The channels of the devices that the caller may see, by id."""

    access = {"GET": DEVICES}

    @extend_schema(
        operation_id="channels",
        tags=["Devices"],
        parameters=[shapes.ChannelQuery],
        responses={200: list_of(shapes.ChannelSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of channels."""
        wanted = self.parameters(shapes.ChannelQuery, request)
        found = catalogue.channel_page(
            limit=wanted["limit"],
            after=wanted.get("after", 0),
            facility_id=wanted.get("facility"),
            device_id=wanted.get("device"),
            quantity=wanted.get("quantity"),
        )
        return self.page(request, found, shapes.ChannelSerializer)


class ChannelDetail(ApiView):
    """One channel."""

    access = {"GET": DEVICES}

    @extend_schema(
        operation_id="channel",
        tags=["Devices"],
        responses={200: shapes.ChannelSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """A channel."""
        return Response(shapes.ChannelSerializer(catalogue.channel_entry(channel_id=pk)).data)


class Me(ApiView):
    """The caller itself."""

    access = {"GET": Requires()}

    @extend_schema(
        operation_id="me",
        tags=["Caller"],
        responses={200: shapes.MeSerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Who the caller is, in which tenant it acts, and what it may do there."""
        access, scopes = access_of(request), scopes_of(request)
        assert access is not None  # DeclaredAccess lets nobody else in
        user, tenant = user_and_tenant(user_id=request.user.pk, tenant_id=tenant_of(access))
        body = {
            "user": None if user is None else _user(user, scopes),
            "tenant": tenant,
            "permissions": sorted(access.permissions),
            "scopes": None if scopes is None else sorted(scopes),
        }
        return Response(shapes.MeSerializer(body).data)


class Schema(ApiView):
    """The OpenAPI description of this API."""

    access = {"GET": PUBLIC}
    schema = None

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """One form for everybody: whoever asks for YAML must not be refused for it."""
        return super().perform_content_negotiation(request, force=True)

    def get(self, request: Request) -> HttpResponse:
        """The committed description; a test keeps it true."""
        del request
        return HttpResponse(_schema(), content_type="application/yaml")


class Unknown(ApiView):
    """Everything else below /api/v1/."""

    access = dict.fromkeys(("GET", "POST", "PUT", "PATCH", "DELETE"), PUBLIC)
    schema = None

    def get(self, request: Request, path: str) -> Response:
        """404 as a problem instead of a page."""
        raise NotFound("There is no such resource; every address of the API ends with a slash.")

    post = put = patch = delete = get


class Reference(View):
    """The interactive reference: Swagger UI over the description above."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """The page; its script reads from it where the description is, and how to get a token.

        Without an application of its own (several root tenants, nobody signed in) the person names
        one.
        """
        person = request.user.pk if request.user.is_authenticated else None
        context = {
            "client_id": own.client_for(own.REFERENCE, user_id=person),
            "callback": own.address(own.REFERENCE.callback),
            "scopes": " ".join(own.REFERENCE.scopes),
        }
        return render(request, "api/reference.html", context)


class ReferenceCallback(View):
    """Where the provider sends the reference's own window: its script hands the code over."""

    http_method_names = ["get", "head"]

    def get(self, request: HttpRequest) -> HttpResponse:
        """A page of nothing but that script."""
        return render(request, "api/reference_callback.html")


@lru_cache(1)
def _schema() -> bytes:
    return (settings.BASE_DIR / "docs" / "openapi.yaml").read_bytes()


def _user(user: User, scopes: frozenset[str] | None) -> dict[str, object]:
    def may(scope: str) -> bool:
        return scopes is None or scope in scopes

    return {
        "id": user.pk,
        "name": user.name if may("profile") else None,
        "email": user.email if may("email") else None,
    }


def _latest(values: Sequence[LatestValue]) -> Response:
    """Made by hand: a serializer costs as much as everything else of this answer."""
    now = datetime.now(UTC)
    body = [
        {
            "device": value.device_id,
            "channel": value.channel_id,
            "key": value.key,
            "quantity": value.quantity,
            "unit": value.unit,
            "in_total": value.in_total,
            "value": value.value,
            "time": value.time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "age_s": round((now - value.time).total_seconds(), 3),
        }
        for value in values
    ]
    # Weak: the age goes on while the reading stays the same.
    readings = [(item["channel"], item["time"], item["value"]) for item in body]
    digest = hashlib.sha256(repr(readings).encode()).hexdigest()[:32]
    return Response({"values": body}, headers={"ETag": f'W/"{digest}"'})

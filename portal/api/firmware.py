"""Releases of firmware over the REST API: list, upload, approve, retire, image; signing keys."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as Refused
from django.db import transaction
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.parsers import JSONParser, MultiPartParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from firmware.domain import key_operations, release_operations, release_queries
from firmware.domain.key_operations import SigningKeyNotFound
from firmware.domain.release_checks import Draft
from firmware.domain.release_queries import ReleaseNotFound
from firmware.tasks import make_deltas
from portal.api import serializers as shapes
from portal.api.access import Requires, access_of, tenant_of
from portal.api.exports import PartRenderer
from portal.api.firmware_shapes import (
    ReleaseBody,
    ReleaseQuery,
    ReleaseSerializer,
    SigningKeyBody,
    SigningKeySerializer,
)
from portal.api.schema import list_of, problems
from portal.api.views import ApiView
from portal.frame.streaming import Chunks, stream
from tenants.permissions import Permission

SEEING: Final = Requires((Permission.FIRMWARE_VIEW,), ("firmware:read",))
CHANGING: Final = Requires(
    (Permission.FIRMWARE_VIEW, Permission.FIRMWARE_CHANGE), ("firmware:read", "firmware:write")
)
APPROVING: Final = Requires(
    (Permission.FIRMWARE_VIEW, Permission.FIRMWARE_APPROVE), ("firmware:read", "firmware:write")
)


class FirmwareView(ApiView):
    """What does not exist, or is a tenant's above, is 404 to whoever would change it."""

    def handle_exception(self, exc: Exception) -> Response:
        """Releases and keys beyond the scope."""
        if isinstance(exc, (ReleaseNotFound, SigningKeyNotFound)):
            exc = NotFound()
        return super().handle_exception(exc)


@contextmanager
def _told() -> Iterator[None]:
    """What the domain refuses, at the members that it concerns."""
    try:
        yield
    except Refused as error:
        by_field = getattr(error, "message_dict", None) or {NON_FIELD_ERRORS: error.messages}
        raise ValidationError(
            {"" if name == NON_FIELD_ERRORS else name: texts for name, texts in by_field.items()}
        ) from error


def _person_id(request: Request) -> int:
    """Who answers for an upload: a service account could be of the person who approves."""
    if request.user.pk is None:
        message = (
            "A release is uploaded in the name of a person: use an application that"
            " somebody has allowed to act for him, not a service account."
        )
        raise ValidationError({"": [message]})
    return request.user.pk


def _tenant_id(request: Request) -> int:
    access = access_of(request)
    assert access is not None, "the declared access lets nobody in without"
    return tenant_of(access)


class ReleaseList(FirmwareView):
    """The releases that serve the caller's tenant."""

    access = {"GET": SEEING, "POST": CHANGING}
    parser_classes = [MultiPartParser]

    @extend_schema(
        operation_id="releases",
        tags=["Firmware"],
        parameters=[ReleaseQuery],
        responses={200: list_of(ReleaseSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of releases, also of tenants above."""
        wanted = self.parameters(ReleaseQuery, request)
        return self.page(request, release_queries.release_page(**wanted), ReleaseSerializer)

    @extend_schema(
        operation_id="releases_upload",
        tags=["Firmware"],
        request={"multipart/form-data": ReleaseBody},
        responses={201: ReleaseSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A draft: another person approves it. What does not fit together is refused, not kept."""
        body = ReleaseBody(data=request.data)
        body.is_valid(raise_exception=True)
        given = body.validated_data
        with _told():
            made = release_operations.create_release(
                tenant_id=_tenant_id(request),
                draft=Draft(
                    device_type_id=0,
                    type_code=given["device_type"],
                    image=given["image"],
                    signature=given["signature"],
                    version=given.get("version", ""),
                    from_versions=given.get("from_versions", ""),
                    notes=given.get("notes", ""),
                ),
                actor_id=_person_id(request),
            )
        return Response(ReleaseSerializer(made).data, status=201)


class ReleaseDetail(FirmwareView):
    """A release."""

    access = {"GET": SEEING, "DELETE": CHANGING}

    @extend_schema(
        operation_id="release",
        tags=["Firmware"],
        responses={200: ReleaseSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With what was signed, and what the image says about itself."""
        del request
        return Response(ReleaseSerializer(release_queries.release(release_id=pk)).data)

    @extend_schema(
        operation_id="release_delete",
        tags=["Firmware"],
        responses={204: None, **problems(400, 401, 403, 404, 429)},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """A draft; what was approved is retired instead."""
        with _told():
            release_operations.delete_draft(release_id=pk, actor_id=request.user.pk)
        return Response(status=204)


class ReleaseApproval(FirmwareView):
    """The approval of a release."""

    access = {"POST": APPROVING}

    @extend_schema(
        operation_id="release_approve",
        tags=["Firmware"],
        request=None,
        responses={200: ReleaseSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """By another person than the one who uploaded it. Patches are made in the background."""
        with _told():
            made = release_operations.approve_release(
                release_id=pk, actor_id=request.user.pk, now=datetime.now(UTC)
            )
        transaction.on_commit(partial(make_deltas.delay, tenant_id=made.tenant_id))
        return Response(ReleaseSerializer(made).data)


class ReleaseRetirement(FirmwareView):
    """The end of a release."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="release_retire",
        tags=["Firmware"],
        request=None,
        responses={200: ReleaseSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """No new roll-out begins with it; those that run go on."""
        with _told():
            made = release_operations.retire_release(
                release_id=pk, actor_id=request.user.pk, now=datetime.now(UTC)
            )
        return Response(ReleaseSerializer(made).data)


class ReleaseImage(FirmwareView):
    """The image of a release."""

    access = {"GET": SEEING}
    renderer_classes = [PartRenderer, JSONRenderer]

    @extend_schema(
        operation_id="release_image",
        tags=["Firmware"],
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            **problems(401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int) -> HttpResponseBase:
        """The bytes as they were uploaded."""
        found = release_queries.image(release_id=pk)
        answer = stream(
            request._request,  # noqa: SLF001 - documented by the framework
            Chunks(found.piece),
            content_type="application/octet-stream",
            file_name=found.file_name,
        )
        answer["ETag"] = f'"{found.sha256}"'
        return answer


class SigningKeyList(FirmwareView):
    """Whose signatures are accepted."""

    access = {"GET": SEEING, "POST": CHANGING}
    parser_classes = [JSONParser]

    @extend_schema(
        operation_id="signing_keys",
        tags=["Firmware"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(SigningKeySerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of keys, retired ones too."""
        wanted = self.parameters(shapes.PageQuery, request)
        return self.page(request, release_queries.key_page(**wanted), SigningKeySerializer)

    @extend_schema(
        operation_id="signing_keys_add",
        tags=["Firmware"],
        request=SigningKeyBody,
        responses={201: SigningKeySerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Accept what a key signs, from now on."""
        if not isinstance(request.data, dict):
            raise ValidationError(["Send a JSON object."])
        body = SigningKeyBody(data=request.data)
        body.is_valid(raise_exception=True)
        with _told():
            made = key_operations.add_key(
                tenant_id=_tenant_id(request),
                name=body.validated_data["name"],
                pem=body.validated_data["public_key"].encode(),
                actor_id=request.user.pk,
            )
        return Response(SigningKeySerializer(made).data, status=201)


class SigningKeyRetirement(FirmwareView):
    """The end of a key."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="signing_key_retire",
        tags=["Firmware"],
        request=None,
        responses={200: SigningKeySerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Nothing new that it signs is accepted; what is approved stays so."""
        with _told():
            made = key_operations.retire_key(
                key_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(SigningKeySerializer(made).data)

"""Exports of history over the REST API: ask, watch, fetch in parts, cancel."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django.db import transaction
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain import exports
from devices.domain.export_reading import MOST_CHANNELS
from devices.domain.exports import ExportNotFound, Question, TooManyExportsError
from devices.models import ExportFormat, ExportResolution, ExportState
from devices.tasks import export_history
from devices.telemetry.export_formats import PIECE
from portal.api import serializers as shapes
from portal.api.access import Requires
from portal.api.schema import list_of, problems
from portal.api.views import ApiView
from tenants.permissions import Permission

EXPORTING: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.READINGS_VIEW, Permission.READINGS_EXPORT),
    ("devices:read", "readings:read", "readings:export"),
)


class ExportBody(shapes.Body):
    """An export that is asked for."""

    channels = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=shapes.MAX_ID),
        min_length=1,
        max_length=MOST_CHANNELS,
    )
    start = serializers.DateTimeField(default_timezone=UTC)
    end = serializers.DateTimeField(default_timezone=UTC, help_text="Not part of the period.")
    resolution = serializers.ChoiceField(ExportResolution.choices)
    format = serializers.ChoiceField(ExportFormat.choices)
    as_of = serializers.DateTimeField(
        required=False, default_timezone=UTC, help_text="What had arrived by this instant."
    )
    time_zone = serializers.CharField(
        required=False,
        max_length=64,
        help_text="Of local times and days; that of the first channel's facility.",
    )


class ExportSerializer(serializers.Serializer[Any]):
    """An export and how far it has come."""

    id = serializers.IntegerField(source="pk")
    channels = serializers.ListField(child=serializers.IntegerField())
    start = serializers.DateTimeField(source="starts_at")
    end = serializers.DateTimeField(source="ends_at")
    resolution = serializers.ChoiceField(ExportResolution.choices)
    format = serializers.ChoiceField(ExportFormat.choices)
    as_of = serializers.DateTimeField(allow_null=True)
    time_zone = serializers.CharField()
    state = serializers.ChoiceField(ExportState.choices)
    progress = serializers.FloatField(help_text="Part of the period that is done, 0 to 1.")
    rows = serializers.IntegerField(source="row_count")
    size = serializers.IntegerField(help_text="Bytes of the file so far.")
    parts = serializers.IntegerField(
        source="part_count", help_text="How many parts a finished file has."
    )
    problem = serializers.CharField(help_text="Why it failed.")
    created_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True, help_text="When it is removed.")


class PartRenderer(BaseRenderer):
    """The bytes of a part."""

    media_type = "application/octet-stream"
    format = "bin"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """A problem, as JSON: parts are answered without it."""
        del accepted_media_type, renderer_context
        rendered: bytes = JSONRenderer().render(data)
        return rendered


class ExportView(ApiView):
    """What does not exist is 404."""

    def handle_exception(self, exc: Exception) -> Response:
        """Exports beyond the scope, and limits of the tenant."""
        if isinstance(exc, ExportNotFound):
            exc = NotFound()
        elif isinstance(exc, TooManyExportsError):
            exc = ValidationError({"": [str(exc)]})
        return super().handle_exception(exc)


class ExportList(ExportView):
    """The exports that the caller may see, by id."""

    access = {"GET": EXPORTING, "POST": EXPORTING}

    @extend_schema(
        operation_id="exports",
        tags=["Exports"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(ExportSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of exports."""
        wanted = self.parameters(shapes.PageQuery, request)
        return self.page(request, exports.page(**wanted), ExportSerializer)

    @extend_schema(
        operation_id="exports_ask",
        tags=["Exports"],
        request=ExportBody,
        responses={201: ExportSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """What is small is finished in the answer, the rest is written in the background."""
        if not isinstance(request.data, dict):
            raise ValidationError(["Send a JSON object."])
        body = ExportBody(data=request.data)
        body.is_valid(raise_exception=True)
        export = exports.ask(
            question=_question(body.validated_data),
            now=datetime.now(UTC),
            actor_id=request.user.pk,
        )
        if export.state == ExportState.WAITING:
            transaction.on_commit(
                partial(export_history.delay, tenant_id=export.tenant_id, export_id=export.pk)
            )
        return Response(ExportSerializer(export).data, status=201)


def _question(values: Mapping[str, Any]) -> Question:
    return Question(
        channels=tuple(values["channels"]),
        start=values["start"],
        end=values["end"],
        resolution=ExportResolution(values["resolution"]),
        format=ExportFormat(values["format"]),
        as_of=values.get("as_of"),
        zone=values.get("time_zone"),
    )


class ExportDetail(ExportView):
    """An export."""

    access = {"GET": EXPORTING, "DELETE": EXPORTING}

    @extend_schema(
        operation_id="export",
        tags=["Exports"],
        responses={200: ExportSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """How far it has come."""
        del request
        return Response(ExportSerializer(exports.entry(export_id=pk)).data)

    @extend_schema(
        operation_id="export_cancel",
        tags=["Exports"],
        responses={204: None, **problems(401, 403, 404, 429)},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Cancel it, or remove one that has ended, with its file."""
        exports.cancel(export_id=pk, now=datetime.now(UTC), actor_id=request.user.pk)
        return Response(status=204)


class ExportPart(ExportView):
    """A part of a finished export's file."""

    access = {"GET": EXPORTING}
    renderer_classes = [PartRenderer, JSONRenderer]

    @extend_schema(
        operation_id="export_part",
        tags=["Exports"],
        description=f"Bytes of the file, about {PIECE // 1_000_000} MB; all parts in their order "
        "are the file.",
        responses={
            (200, "application/octet-stream"): OpenApiTypes.BINARY,
            **problems(401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int, number: int) -> HttpResponse:
        """The bytes as they are."""
        del request
        _export, content = exports.numbered_part(export_id=pk, number=number)
        return HttpResponse(content, content_type="application/octet-stream")

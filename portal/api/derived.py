"""Derived channels over the REST API: list, make, preview; their formulas in versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as Refused
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain import derived_made, derived_queries
from devices.domain.derived_operations import Derivation
from devices.domain.derived_queries import Preview
from devices.formulas.grammar import MAX_LENGTH
from devices.quantities import QUANTITIES
from portal.api import serializers as shapes
from portal.api.access import Requires
from portal.api.schema import list_of, problems
from portal.api.views import DEVICE_READINGS, ApiView
from tenants.permissions import Permission

DERIVING: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.READINGS_VIEW, Permission.DEVICES_CHANGE),
    ("devices:read", "readings:read", "devices:derive"),
)


class FormulaBody(shapes.Body):
    """Another formula for a derived channel."""

    text = serializers.CharField(
        max_length=MAX_LENGTH, allow_blank=True, help_text="Empty: nothing is computed."
    )
    valid_from = serializers.DateTimeField(
        required=False,
        default_timezone=UTC,
        help_text="For readings from this quarter of an hour on; all that there are, unless given.",
    )
    reason = serializers.CharField(max_length=200)


class DerivedBody(shapes.Body):
    """A derived channel that is to be made."""

    key = serializers.CharField(max_length=40, help_text="By which other formulas call it.")
    name = serializers.CharField(max_length=80)
    quantity = serializers.ChoiceField(sorted(QUANTITIES))
    text = serializers.CharField(max_length=MAX_LENGTH, help_text="Its formula.")
    resolution = serializers.DecimalField(
        max_digits=20,
        decimal_places=9,
        required=False,
        help_text="Smallest step of its values; the usual one of the quantity, unless given.",
    )
    valid_from = serializers.DateTimeField(
        required=False,
        default_timezone=UTC,
        help_text="For readings from this quarter of an hour on; all that there are, unless given.",
    )
    reason = serializers.CharField(max_length=200, required=False, default="")


class PreviewBody(shapes.Body):
    """A formula that is to be tried."""

    text = serializers.CharField(max_length=MAX_LENGTH)
    quantity = serializers.ChoiceField(
        sorted(QUANTITIES),
        required=False,
        help_text="Without it the unit follows from the formula.",
    )


class DerivedSerializer(serializers.Serializer[Any]):
    """A derived channel, and the formula that holds now."""

    channel = serializers.IntegerField(source="channel_id")
    key = serializers.CharField()
    name = serializers.CharField()
    quantity = serializers.ChoiceField(sorted(QUANTITIES))
    unit = serializers.CharField()
    text = serializers.CharField(help_text="As its channels are called today; empty for none.")
    valid_from = serializers.DateTimeField(source="since", allow_null=True)
    due = serializers.ListField(
        child=serializers.DateTimeField(),
        allow_null=True,
        help_text="From when to when its roll-ups are still to be computed.",
    )


class VersionSerializer(serializers.Serializer[Any]):
    """A version of a formula."""

    id = serializers.IntegerField(source="version_id")
    valid_from = serializers.DateTimeField(help_text="For readings from then on.")
    known_at = serializers.DateTimeField(help_text="From when on reads as of an instant see it.")
    author = serializers.CharField(help_text="Empty for a service account and the system.")
    reason = serializers.CharField()
    text = serializers.CharField()
    counts = serializers.BooleanField(help_text="No later version with this date has replaced it.")


class FormulaPreviewSerializer(serializers.Serializer[Any]):
    """What a formula would give in the last day with readings, in at most 400 points."""

    text = serializers.CharField(help_text="As it would be kept.")
    unit = serializers.CharField()
    error = serializers.CharField(help_text="What is wrong with it; empty if nothing is.")
    position = serializers.IntegerField(
        allow_null=True, help_text="Where in the text that is, from 0."
    )
    times_ms = serializers.SerializerMethodField()
    values = serializers.SerializerMethodField()

    def get_times_ms(self, of: Preview) -> list[int]:
        """In ms since the Unix epoch."""
        return [] if of.curve is None else of.curve.times.tolist()

    def get_values(self, of: Preview) -> list[float]:
        """In the unit."""
        return [] if of.curve is None else of.curve.values.tolist()


class DerivedList(ApiView):
    """The derived channels of a device."""

    access = {"GET": DEVICE_READINGS, "POST": DERIVING}

    @extend_schema(
        operation_id="derived_list",
        tags=["Derived channels"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(DerivedSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Those that are switched off, too."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = derived_queries.derived_page(device_id=pk, now=datetime.now(UTC), **wanted)
        return self.page(request, found, DerivedSerializer)

    @extend_schema(
        operation_id="derived_make",
        tags=["Derived channels"],
        request=DerivedBody,
        responses={201: DerivedSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Compute a new channel by a formula; roll-ups follow within minutes."""
        values = _body(DerivedBody, request)
        with _told():
            entry = derived_made.derive(
                device_id=pk,
                values=Derivation(
                    key=values["key"],
                    name=values["name"],
                    quantity=values["quantity"],
                    text=values["text"],
                    resolution=values.get("resolution"),
                ),
                valid_from=values.get("valid_from"),
                reason=values["reason"],
                actor_id=_actor_id(request),
                now=datetime.now(UTC),
            )
        return Response(DerivedSerializer(entry).data, status=201)


class DerivedPreview(ApiView):
    """What a formula would give."""

    access = {"POST": DERIVING}

    @extend_schema(
        operation_id="derived_preview",
        tags=["Derived channels"],
        request=PreviewBody,
        responses={200: FormulaPreviewSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Nothing is kept."""
        values = _body(PreviewBody, request)
        found = derived_queries.preview(
            device_id=pk,
            text=values["text"],
            quantity=values.get("quantity", ""),
            now=datetime.now(UTC),
        )
        return Response(FormulaPreviewSerializer(found).data)


class FormulaList(ApiView):
    """The versions of a derived channel's formula."""

    access = {"GET": DEVICE_READINGS, "POST": DERIVING}

    @extend_schema(
        operation_id="formulas_list",
        tags=["Derived channels"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(VersionSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """In the order in which they became known."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = derived_queries.version_page(channel_id=pk, now=datetime.now(UTC), **wanted)
        return self.page(request, found, VersionSerializer)

    @extend_schema(
        operation_id="formulas_make",
        tags=["Derived channels"],
        request=FormulaBody,
        responses={201: VersionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Compute the channel otherwise from a date on; history before stays as it is."""
        values = _body(FormulaBody, request)
        with _told():
            entry = derived_made.change(
                channel_id=pk,
                text=values["text"],
                valid_from=values.get("valid_from"),
                reason=values["reason"],
                actor_id=_actor_id(request),
                now=datetime.now(UTC),
            )
        return Response(VersionSerializer(entry).data, status=201)


@contextmanager
def _told() -> Iterator[None]:
    """What an operation refuses, at the fields of the body."""
    try:
        yield
    except Refused as error:
        by_field = getattr(error, "message_dict", None) or {"": error.messages}
        raise ValidationError(
            {"" if name == NON_FIELD_ERRORS else name: texts for name, texts in by_field.items()}
        ) from error


def _body(shape: type[shapes.Body], request: Request) -> Mapping[str, Any]:
    body = shape(data=request.data)
    body.is_valid(raise_exception=True)
    values: Mapping[str, Any] = body.validated_data
    return values


def _actor_id(request: Request) -> int | None:
    """None for a service account."""
    return request.user.pk

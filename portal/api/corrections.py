"""Corrections of readings over the REST API: list, preview, make, withdraw."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as Refused
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain import corrections_operations as operations
from devices.domain import corrections_queries as queries
from devices.domain.corrections_checks import MOST_READINGS, Draft
from devices.domain.corrections_preview import Preview, preview
from devices.models.correction import REASON_LENGTH, Kind
from portal.api import serializers as shapes
from portal.api.access import Requires
from portal.api.schema import list_of, problems
from portal.api.views import DEVICE_READINGS, ApiView
from tenants.permissions import Permission

CORRECTING: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.READINGS_VIEW, Permission.READINGS_CORRECT),
    ("devices:read", "readings:read", "readings:correct"),
)
# The fields of a draft that are called otherwise outside.
_OUTSIDE: Final = {"starts_at": "start", "ends_at": "end", "shift": "shift_s", NON_FIELD_ERRORS: ""}


class GivenReading(serializers.Serializer[Any]):
    """A reading that is to stand in place of others."""

    time = serializers.DateTimeField(default_timezone=UTC)
    value = serializers.DecimalField(
        max_digits=24, decimal_places=10, help_text="In the unit of the channel."
    )


class DraftBody(shapes.Body):
    """A correction that is asked for."""

    kind = serializers.ChoiceField(Kind.choices, help_text="What is done in the period.")
    start = serializers.DateTimeField(default_timezone=UTC)
    end = serializers.DateTimeField(
        default_timezone=UTC, help_text="Not part of the period; it must be over."
    )
    factor = serializers.DecimalField(
        max_digits=20, decimal_places=10, required=False, help_text="scale: reading × factor."
    )
    offset = serializers.DecimalField(
        max_digits=24,
        decimal_places=10,
        required=False,
        help_text="scale: added after the factor, in the unit of the channel. Without it nothing; "
        "of a register what makes it go on from its first reading.",
    )
    shift_s = serializers.DecimalField(
        max_digits=12,
        decimal_places=3,
        required=False,
        help_text="shift: by how many seconds readings move, backwards if negative.",
    )
    readings = GivenReading(many=True, required=False, help_text="replace: what stands there.")
    holds = serializers.BooleanField(
        default=True,
        help_text="replace: whether each reading holds until the next one (of a register: lies on "
        "a line to it), a reading for each minute.",
    )


class CorrectionBody(DraftBody):
    """A correction that is to be made."""

    reason = serializers.CharField(max_length=REASON_LENGTH)


class WithdrawalBody(shapes.Body):
    """Why a correction is withdrawn."""

    reason = serializers.CharField(max_length=REASON_LENGTH)


class WithdrawalSerializer(serializers.Serializer[Any]):
    """That a correction counts no more."""

    reason = serializers.CharField()
    author = serializers.CharField(help_text="Empty for a service account.")
    known_at = serializers.DateTimeField(help_text="From when on it does not count.")


class CorrectionSerializer(serializers.Serializer[Any]):
    """A correction of a channel."""

    id = serializers.IntegerField(source="correction_id")
    channel = serializers.IntegerField(source="channel_id")
    device = serializers.IntegerField(source="device_id")
    kind = serializers.ChoiceField(Kind.choices)
    start = serializers.DateTimeField(source="starts_at")
    end = serializers.DateTimeField(source="ends_at")
    factor = serializers.DecimalField(max_digits=20, decimal_places=10, allow_null=True)
    offset = serializers.DecimalField(max_digits=24, decimal_places=10, allow_null=True)
    shift_s = serializers.SerializerMethodField()
    reading_count = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField()
    author = serializers.CharField(help_text="Empty for a service account.")
    known_at = serializers.DateTimeField(help_text="From when on reads as of an instant see it.")
    withdrawal = WithdrawalSerializer(allow_null=True)

    def get_shift_s(self, of: queries.CorrectionEntry) -> float | None:
        """In seconds."""
        return None if of.shift is None else of.shift.total_seconds()


class DayChangeSerializer(serializers.Serializer[Any]):
    """A day of the facility's calendar, or what of it is shown."""

    start = serializers.DateTimeField(source="starts_at")
    end = serializers.DateTimeField(source="ends_at")
    value_before = serializers.FloatField(allow_null=True)
    value_after = serializers.FloatField(allow_null=True)
    coverage_before = serializers.FloatField()
    coverage_after = serializers.FloatField()


class PreviewSerializer(serializers.Serializer[Any]):
    """What a correction would change, in the period that is shown: at most 31 days."""

    channel = serializers.IntegerField(source="channel_id")
    start = serializers.DateTimeField(source="starts_at")
    end = serializers.DateTimeField(source="ends_at")
    cut = serializers.BooleanField(help_text="Whether more would change than is shown.")
    unit = serializers.CharField(help_text="Of the values: Wh of energy, else the channel's mean.")
    offset = serializers.FloatField(allow_null=True, help_text="What the offset comes to.")
    readings_before = serializers.IntegerField()
    readings_after = serializers.IntegerField()
    changed = serializers.IntegerField(help_text="Readings that change, come or go.")
    value_before = serializers.FloatField(allow_null=True)
    value_after = serializers.FloatField(allow_null=True)
    days = DayChangeSerializer(many=True)


@contextmanager
def _told() -> Iterator[None]:
    """What the domain refuses, at the parameters that it is called by outside."""
    try:
        yield
    except Refused as error:
        by_field = getattr(error, "message_dict", None) or {NON_FIELD_ERRORS: error.messages}
        raise ValidationError(
            {_OUTSIDE.get(name, name): texts for name, texts in by_field.items()}
        ) from error


def _body(shape: type[shapes.Body], request: Request) -> Mapping[str, Any]:
    if not isinstance(request.data, dict):
        raise ValidationError(["Send a JSON object."])
    given = request.data.get("readings")
    if isinstance(given, list) and len(given) > MOST_READINGS:
        raise ValidationError({"readings": [f"Give at most {MOST_READINGS} readings."]})
    body = shape(data=request.data)
    body.is_valid(raise_exception=True)
    values: Mapping[str, Any] = body.validated_data
    return values


def _draft(channel_id: int, values: Mapping[str, Any]) -> Draft:
    shift: Decimal | None = values.get("shift_s")
    return Draft(
        channel_id=channel_id,
        kind=Kind(values["kind"]),
        starts_at=values["start"],
        ends_at=values["end"],
        factor=values.get("factor"),
        offset=values.get("offset"),
        shift=None if shift is None else timedelta(milliseconds=int(shift * 1000)),
        readings=[(one["time"], one["value"]) for one in values.get("readings", ())],
        holds=values["holds"],
    )


def _actor_id(request: Request) -> int | None:
    """None for a service account."""
    return request.user.pk


class CorrectionList(ApiView):
    """The corrections of a channel."""

    access = {"GET": DEVICE_READINGS, "POST": CORRECTING}

    @extend_schema(
        operation_id="corrections_list",
        tags=["Corrections"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(CorrectionSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """In the order in which they were made, withdrawn ones too."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = queries.correction_page(channel_id=pk, **wanted)
        return self.page(request, found, CorrectionSerializer)

    @extend_schema(
        operation_id="corrections_make",
        tags=["Corrections"],
        request=CorrectionBody,
        responses={201: CorrectionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Lay a correction over what was measured; roll-ups follow within minutes."""
        values = _body(CorrectionBody, request)
        with _told():
            entry = operations.make_entry(
                draft=_draft(pk, values),
                reason=values["reason"],
                now=datetime.now(UTC),
                actor_id=_actor_id(request),
            )
        return Response(CorrectionSerializer(entry).data, status=201)


class CorrectionPreview(ApiView):
    """What a correction would change."""

    access = {"POST": CORRECTING}

    @extend_schema(
        operation_id="corrections_preview",
        tags=["Corrections"],
        request=DraftBody,
        responses={200: PreviewSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Computed as it would be read; nothing is written."""
        values = _body(DraftBody, request)
        with _told():
            found: Preview = preview(draft=_draft(pk, values), now=datetime.now(UTC))
        return Response(PreviewSerializer(found).data)


class CorrectionDetail(ApiView):
    """A correction."""

    access = {"GET": DEVICE_READINGS}

    @extend_schema(
        operation_id="correction",
        tags=["Corrections"],
        responses={200: CorrectionSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Who corrected what, when and why; and whether it was withdrawn."""
        del request
        return Response(CorrectionSerializer(queries.correction_entry(correction_id=pk)).data)


class CorrectionWithdraw(ApiView):
    """The withdrawal of a correction."""

    access = {"POST": CORRECTING}

    @extend_schema(
        operation_id="corrections_withdraw",
        tags=["Corrections"],
        request=WithdrawalBody,
        responses={201: CorrectionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """From now on the correction counts no more; as of earlier instants it still does."""
        values = _body(WithdrawalBody, request)
        with _told():
            entry = operations.withdraw_entry(
                correction_id=pk, reason=values["reason"], actor_id=_actor_id(request)
            )
        return Response(CorrectionSerializer(entry).data, status=201)

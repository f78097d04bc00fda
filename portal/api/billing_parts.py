"""What a bill is made of and sent as, over the REST API: intervals of its lines, documents."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import documents_operations, documents_queries, lines_queries
from billing.domain.lines_queries import LinePage
from billing.models import FileKind
from billing.tariffs.values import Quality
from portal.api import serializers as shapes
from portal.api.access import own_alone
from portal.api.billing import BILLS, BillingView
from portal.api.billing_bills_shapes import BillDeliveriesSerializer
from portal.api.exports import PartRenderer
from portal.api.schema import problems

_QUALITIES: Final = {quality.value: quality.name.lower() for quality in Quality}


class LineIntervalsSerializer(serializers.Serializer[Any]):
    """The intervals that a line is made of: columns of one length."""

    step_s = serializers.IntegerField(help_text="How long an interval is, or a demand's window.")
    starts_at = serializers.ListField(child=serializers.DateTimeField())
    kwh = serializers.ListField(child=serializers.CharField(), help_text="What falls in the line.")
    price = serializers.ListField(
        child=serializers.CharField(), help_text="Empty where the line is no sum of intervals."
    )
    amount = serializers.ListField(child=serializers.CharField(), help_text="Not rounded.")
    quality = serializers.ListField(
        child=serializers.ChoiceField(list(_QUALITIES.values())),
    )


def intervals_of(found: LinePage) -> dict[str, Any]:
    """The columns of a line, as text where they are decimals."""
    opened = found.intervals
    return {
        "step_s": found.step_s,
        "starts_at": [datetime.fromtimestamp(at, UTC) for at in opened.starts.tolist()],
        "kwh": [_text(Decimal(one).scaleb(-6)) for one in opened.milliwh.tolist()],
        "price": [_text(one) for one in opened.prices],
        "amount": [_text(one) for one in opened.amounts],
        "quality": [_QUALITIES[one] for one in found.qualities.tolist()],
    }


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"


class FileQuery(shapes.Query):
    """Which file of a bill."""

    kind = serializers.ChoiceField(
        FileKind.choices,
        required=False,
        default=FileKind.PDF.value,
        help_text="The PDF has the Factur-X invoice inside; cii and ubl are EN 16931 as XML.",
    )


class BillLineIntervals(BillingView):
    """The intervals of a line."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="bill_line_intervals",
        tags=["Bills"],
        responses={200: LineIntervalsSerializer, **problems(401, 403, 404, 409, 429)},
    )
    def get(self, request: Request, pk: int, position: int) -> Response:
        """As the bill was computed from, for ever. None for a line that is made of time or of other
        lines.
        """
        found = lines_queries.line_page(bill_id=pk, position=position, user_id=own_alone(request))
        return Response(LineIntervalsSerializer(intervals_of(found)).data)


class BillFile(BillingView):
    """A document of a bill."""

    access = {"GET": BILLS}
    renderer_classes = [PartRenderer, JSONRenderer]

    @extend_schema(
        operation_id="bill_file",
        tags=["Bills"],
        parameters=[FileQuery],
        responses={
            (200, "application/pdf"): OpenApiTypes.BINARY,
            (200, "application/xml"): OpenApiTypes.BINARY,
            **problems(400, 401, 403, 404, 409, 429),
        },
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        """The PDF, or the invoice as XML; a draft has none. It never changes."""
        wanted = self.parameters(FileQuery, request)
        found = documents_operations.download(
            bill_id=pk,
            kind=FileKind(wanted["kind"]),
            now=datetime.now(UTC),
            user_id=own_alone(request),
        )
        headers = {"Content-Disposition": f'attachment; filename="{found.name}"'}
        return HttpResponse(found.data, content_type=found.media_type, headers=headers)


class BillDeliveries(BillingView):
    """To whom a bill went."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="bill_deliveries",
        tags=["Bills"],
        responses={200: BillDeliveriesSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Whether and when a bill was sent by e-mail; a draft goes nowhere."""
        found = documents_queries.deliveries_of_bill(bill_id=pk, user_id=own_alone(request))
        return Response(BillDeliveriesSerializer({"deliveries": found}).data)

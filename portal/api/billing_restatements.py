"""Restatements over the REST API: final bills that may not be right any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import restatement_operations as operations
from billing.domain import restatement_queries as queries
from billing.models import RestatementState
from portal.api import serializers as shapes
from portal.api.access import Requires
from portal.api.billing import BILLS_APPROVE, BillingView, ExactField, IdField, MoneyField, told
from portal.api.billing_bills_shapes import LINE_KINDS, RunReasonBody
from portal.api.commands import body_of
from portal.api.schema import list_of, problems
from tenants.permissions import Permission

# Drafts are nothing for customers, who may see their own final bills alone.
RESTATEMENTS: Final = Requires(
    (Permission.BILLS_VIEW, Permission.DEVICES_VIEW), ("bills:read", "devices:read")
)


class RestatementQuery(shapes.PageQuery):
    """Which restatements."""

    state = serializers.ChoiceField(RestatementState.choices, required=False)
    agreement = IdField(required=False, source="agreement_id")


class RestatementCauseSerializer(serializers.Serializer[Any]):
    """What has changed since the bill was made, for the local days [first, end)."""

    code = serializers.CharField()
    first = serializers.DateField()
    end = serializers.DateField()


class RestatementSerializer(serializers.Serializer[Any]):
    """That a final bill may not be right any more, and what became of it."""

    id = serializers.IntegerField(source="pk")
    bill = serializers.IntegerField(source="bill_id")
    number = serializers.CharField(source="bill.number")
    agreement = serializers.IntegerField(source="bill.agreement_id")
    facility = serializers.IntegerField(source="facility_id")
    state = serializers.ChoiceField(RestatementState.choices)
    causes = RestatementCauseSerializer(many=True)
    currency = serializers.CharField(source="bill.currency")
    difference = MoneyField(allow_null=True, help_text="The new total less the old one.")
    new_bill = serializers.IntegerField(source="new_bill_id", allow_null=True)
    credit_note = serializers.IntegerField(source="credit_note_id", allow_null=True)
    problem = serializers.CharField(help_text="Why it cannot be computed.")
    reason = serializers.CharField(help_text="Why the bill was let stand.")
    found_at = serializers.DateTimeField()
    computed_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class RestatedSideSerializer(serializers.Serializer[Any]):
    """A line of one of the bills."""

    position = serializers.IntegerField()
    quantity = ExactField()
    price = ExactField(allow_null=True)
    amount = ExactField()
    estimated = ExactField()


class RestatedLineSerializer(serializers.Serializer[Any]):
    """A line as it was billed beside how it comes out now."""

    component = serializers.CharField(source="any.component")
    kind = serializers.ChoiceField(LINE_KINDS, source="any.kind")
    text = serializers.CharField(source="any.label")
    period = serializers.CharField(source="any.period")
    tier = serializers.IntegerField(source="any.tier")
    unit = serializers.CharField(source="any.unit")
    old = RestatedSideSerializer(allow_null=True)
    new = RestatedSideSerializer(allow_null=True)
    difference = ExactField()


class RestatementDetailSerializer(serializers.Serializer[Any]):
    """A restatement with the lines of both bills beside each other."""

    restatement = RestatementSerializer()
    lines = RestatedLineSerializer(many=True)


class SettleBody(shapes.Body):
    """The date of credit notes and new bills."""

    issued_on = shapes.DayField()


class SettledSerializer(serializers.Serializer[Any]):
    """What became of a bill."""

    restatement = serializers.IntegerField(source="restatement_id")
    credit_note = serializers.IntegerField(source="credit_note.pk")
    new_bill = serializers.IntegerField(source="new_bill.pk", allow_null=True, default=None)


class SettlementSerializer(serializers.Serializer[Any]):
    """All bills of the agreement that were settled, in the order of their periods."""

    settled = SettledSerializer(many=True)


class RestatementList(BillingView):
    """Final bills that may not be right any more."""

    access = {"GET": RESTATEMENTS}

    @extend_schema(
        operation_id="restatements",
        tags=["Bills"],
        parameters=[RestatementQuery],
        responses={200: list_of(RestatementSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Of the facilities within reach: `state=drafted` are those that wait to be settled."""
        wanted = self.parameters(RestatementQuery, request)
        return self.page(request, queries.restatement_page(**wanted), RestatementSerializer)


class RestatementOne(BillingView):
    """A restatement."""

    access = {"GET": RESTATEMENTS}

    @extend_schema(
        operation_id="restatement",
        tags=["Bills"],
        responses={200: RestatementDetailSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Old and new lines side by side; without a new bill the old ones alone."""
        del request
        found = queries.compared(restatement_id=pk)
        return Response(RestatementDetailSerializer(found).data)


class RestatementSettle(BillingView):
    """The settlement of restatements."""

    access = {"POST": BILLS_APPROVE}

    @extend_schema(
        operation_id="restatements_settle",
        tags=["Bills"],
        request=SettleBody,
        responses={200: SettlementSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """By credit notes and new bills: of all bills of its agreement that are drafted, since one
        may rest on another.
        """
        values = body_of(SettleBody, request)
        with told():
            settled = operations.settle_with(
                restatement_id=pk,
                issued_on=values["issued_on"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(SettlementSerializer({"settled": settled}).data)


class RestatementDismiss(BillingView):
    """A bill that stands as it is."""

    access = {"POST": BILLS_APPROVE}

    @extend_schema(
        operation_id="restatements_dismiss",
        tags=["Bills"],
        request=RunReasonBody,
        responses={200: RestatementSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """With a reason; its draft is removed."""
        values = body_of(RunReasonBody, request)
        with told():
            made = operations.dismiss(
                restatement_id=pk,
                reason=values["reason"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(RestatementSerializer(made).data)

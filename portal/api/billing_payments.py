"""Payments and accounts over the REST API."""

from __future__ import annotations

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import bills_queries as queries
from billing.domain import payments_operations as operations
from billing.domain import payments_refunds_operations
from billing.payments.values import Received
from portal.api import billing_bills_shapes as forms
from portal.api import serializers as shapes
from portal.api.access import own_alone
from portal.api.billing import PAYMENTS, PAYMENTS_CHANGE, BillingView, told
from portal.api.commands import body_of
from portal.api.schema import list_of, problems


class PaymentList(BillingView):
    """The payments of the caller's tenant."""

    access = {"GET": PAYMENTS, "POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payments",
        tags=["Payments"],
        parameters=[forms.PaymentQuery],
        responses={200: list_of(forms.PaymentSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Payments concern the organisation as a whole: an access to some facilities sees none."""
        wanted = self.parameters(forms.PaymentQuery, request)
        return self.page(request, queries.payment_page(**wanted), forms.PaymentSerializer)

    @extend_schema(
        operation_id="payments_enter",
        tags=["Payments"],
        request=forms.PaymentBody,
        responses={201: forms.PaymentSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """For an agreement; it settles what was due first. What was switched off for want of it is
        switched on again.
        """
        values = dict(body_of(forms.PaymentBody, request))
        with told():
            made = operations.enter(
                agreement_id=values.pop("agreement"),
                received=Received(external_id=f"api:{values.pop('request_key')}", **values),
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.PaymentSerializer(made).data, status=201)


class PaymentAssign(BillingView):
    """Whose a payment is."""

    access = {"POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payments_assign",
        tags=["Payments"],
        request=forms.AssignBody,
        responses={200: forms.PaymentSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Of a payment that nobody has assigned yet."""
        values = body_of(forms.AssignBody, request)
        with told():
            made = operations.assign(
                payment_id=pk,
                agreement_id=values["agreement"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.PaymentSerializer(made).data)


class PaymentRefund(BillingView):
    """A payment that goes back, or a part of it."""

    access = {"POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payments_refund",
        tags=["Payments"],
        request=forms.RefundBody,
        responses={201: forms.PaymentSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Noted, not sent: the bank or the service sends it. What the payment had settled is owed
        again.
        """
        values = body_of(forms.RefundBody, request)
        with told(on="refunded_on"):
            made = payments_refunds_operations.refund(
                payment_id=pk,
                amount=values["amount"],
                reason=values["reason"],
                on=values["refunded_on"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
                key=f"api:{values['request_key']}",
            )
        return Response(forms.PaymentSerializer(made).data, status=201)


class AgreementAccount(BillingView):
    """The account of an agreement."""

    access = {"GET": PAYMENTS}

    @extend_schema(
        operation_id="agreement_account",
        tags=["Payments"],
        responses={200: forms.AccountSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Its balance today and what is open, due first."""
        found = queries.account(
            agreement_id=pk, on=datetime.now(UTC).date(), user_id=own_alone(request)
        )
        return Response(forms.AccountSerializer(found, context={"request": request}).data)


class AgreementEntries(BillingView):
    """What moved the account of an agreement."""

    access = {"GET": PAYMENTS}

    @extend_schema(
        operation_id="agreement_entries",
        tags=["Payments"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(forms.AccountEntrySerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Bills, credit notes, payments, refunds, fees: added, and never changed."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = queries.entry_page(agreement_id=pk, user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.AccountEntrySerializer)

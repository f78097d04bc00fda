"""Customers over the REST API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import customers_operations as operations
from billing.domain import customers_queries as queries
from billing.domain.customers_operations import CustomerValues, Protection
from portal.api import billing_agreements_shapes as forms
from portal.api.billing import BILLS, BILLS_CHANGE, BillingView, tenant_id_of, told
from portal.api.commands import body_of
from portal.api.schema import list_of, problems


class CustomerList(BillingView):
    """The customers of the caller's tenant."""

    access = {"GET": BILLS, "POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="customers",
        tags=["Agreements"],
        parameters=[forms.CustomerQuery],
        responses={200: list_of(forms.CustomerSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Customers concern the organisation as a whole: an access to some facilities sees none."""
        wanted = self.parameters(forms.CustomerQuery, request)
        return self.page(request, queries.customer_page(**wanted), forms.CustomerSerializer)

    @extend_schema(
        operation_id="customers_create",
        tags=["Agreements"],
        request=forms.CustomerBody,
        responses={201: forms.CustomerSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A new customer; an agreement says what is billed."""
        with told():
            made = operations.create_customer(
                tenant_id=tenant_id_of(request),
                values=_values(request),
                actor_id=request.user.pk,
            )
        return Response(forms.CustomerSerializer(made).data, status=201)


class CustomerOne(BillingView):
    """A customer."""

    access = {"GET": BILLS, "PUT": BILLS_CHANGE}

    @extend_schema(
        operation_id="customer",
        tags=["Agreements"],
        responses={200: forms.CustomerSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Who is billed."""
        del request
        return Response(forms.CustomerSerializer(queries.customer(customer_id=pk)).data)

    @extend_schema(
        operation_id="customers_change",
        tags=["Agreements"],
        request=forms.CustomerBody,
        responses={200: forms.CustomerSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def put(self, request: Request, pk: int) -> Response:
        """All anew but the protection; final bills keep whom they were made out to."""
        with told():
            made = operations.change_customer(
                customer_id=pk, values=_values(request), actor_id=request.user.pk
            )
        return Response(forms.CustomerSerializer(made).data)


class CustomerProtection(BillingView):
    """Whether a customer must not be cut off."""

    access = {"PUT": BILLS_CHANGE}

    @extend_schema(
        operation_id="customers_protect",
        tags=["Agreements"],
        request=forms.ProtectionBody,
        responses={200: forms.CustomerSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def put(self, request: Request, pk: int) -> Response:
        """For medical or legal reasons. Both the beginning and the end have a reason."""
        values = body_of(forms.ProtectionBody, request)
        with told():
            made = operations.set_protection(
                customer_id=pk, wanted=Protection(**values), actor_id=request.user.pk
            )
        return Response(forms.CustomerSerializer(made).data)


def _values(request: Request) -> CustomerValues:
    values: dict[str, Any] = dict(body_of(forms.CustomerBody, request))
    return CustomerValues(user_id=values.pop("user"), **values)

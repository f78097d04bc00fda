"""Bills over the REST API."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import bills_queries as queries
from billing.domain.bills_queries import BillFilter
from portal.api import billing_bills_shapes as forms
from portal.api.access import own_alone
from portal.api.billing import BILLS, BillingView
from portal.api.schema import list_of, problems


class BillList(BillingView):
    """Bills and credit notes within reach."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="bills",
        tags=["Bills"],
        parameters=[forms.BillQuery],
        responses={200: list_of(forms.BillSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Of the facilities within reach; a consumer sees those made out to it, and no drafts."""
        wanted = dict(self.parameters(forms.BillQuery, request))
        found = queries.bill_page(
            limit=wanted.pop("limit"),
            after=wanted.pop("after", 0),
            wanted=BillFilter(**wanted),
            user_id=own_alone(request),
        )
        return self.page(request, found, forms.BillSerializer)


class BillOne(BillingView):
    """A bill."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="bill",
        tags=["Bills"],
        responses={200: forms.BillDetailSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With its lines. A final bill never changes, but for becoming void."""
        found = queries.bill(bill_id=pk, user_id=own_alone(request))
        return Response(forms.BillDetailSerializer(found).data)

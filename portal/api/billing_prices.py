"""Series of prices over the REST API."""

from __future__ import annotations

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import prices_operations as operations
from billing.domain import prices_queries as queries
from billing.domain.prices_queries import Price
from portal.api import billing_tariffs_shapes as forms
from portal.api.billing import TARIFFS, TARIFFS_CHANGE, BillingView, tenant_id_of, told
from portal.api.commands import body_of
from portal.api.schema import list_of, problems


class SeriesList(BillingView):
    """The series of prices of the caller's tenant."""

    access = {"GET": TARIFFS, "POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="price_series",
        tags=["Tariffs"],
        parameters=[forms.SeriesQuery],
        responses={200: list_of(forms.PriceSeriesSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Prices concern the organisation as a whole: an access to some facilities sees none."""
        wanted = self.parameters(forms.SeriesQuery, request)
        return self.page(request, queries.series_page(**wanted), forms.PriceSeriesSerializer)

    @extend_schema(
        operation_id="price_series_create",
        tags=["Tariffs"],
        request=forms.PriceSeriesBody,
        responses={201: forms.PriceSeriesSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A new series, under the name that tariffs call it by."""
        values = body_of(forms.PriceSeriesBody, request)
        with told():
            made = operations.create_series(
                tenant_id=tenant_id_of(request), actor_id=request.user.pk, **values
            )
        return Response(forms.PriceSeriesSerializer(made).data, status=201)


class SeriesPrices(BillingView):
    """The prices of a series."""

    access = {"GET": TARIFFS, "POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="prices",
        tags=["Tariffs"],
        parameters=[forms.PricesQuery],
        responses={200: forms.PricesSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Of [`start`, `end`), a year and a bit at most; `gaps` are the times without prices."""
        wanted = self.parameters(forms.PricesQuery, request)
        with told():
            found = queries.prices_of(series_id=pk, **wanted)
        return Response(forms.PricesSerializer(found).data)

    @extend_schema(
        operation_id="prices_enter",
        tags=["Tariffs"],
        request=forms.PricesBody,
        responses={200: forms.EnteredPricesSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Of those that are there already only what differs is entered, and holds from now on:
        bills of its time are restated. Sent again nothing happens.
        """
        values = body_of(forms.PricesBody, request)
        with told():
            made = operations.append_prices(
                series_id=pk,
                prices=[Price(**one) for one in values["prices"]],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.EnteredPricesSerializer(made).data)

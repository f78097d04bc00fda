"""Customers, agreements and billing settings over the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import agreements_operations as operations
from billing.domain import agreements_queries as queries
from billing.domain import agreements_terms_operations as terms
from billing.domain import settings_operations, settings_queries
from billing.domain.agreements_queries import AgreementFilter
from billing.domain.agreements_values import (
    AgreementValues,
    Change,
    MeterChange,
    MeterValues,
    Successor,
    TariffValues,
)
from billing.domain.settings_operations import SettingsValues
from portal.api import billing_agreements_shapes as forms
from portal.api.access import own_alone
from portal.api.billing import BILLS, BILLS_CHANGE, BillingView, tenant_id_of, told
from portal.api.commands import body_of
from portal.api.schema import list_of, problems


class AgreementList(BillingView):
    """The agreements within reach."""

    access = {"GET": BILLS, "POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreements",
        tags=["Agreements"],
        parameters=[forms.AgreementQuery],
        responses={200: list_of(forms.AgreementSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Of the facilities within reach; a consumer sees the own ones alone."""
        wanted = dict(self.parameters(forms.AgreementQuery, request))
        found = queries.agreement_page(
            limit=wanted.pop("limit"),
            after=wanted.pop("after", 0),
            wanted=AgreementFilter(**wanted),
            user_id=own_alone(request),
        )
        return self.page(request, found, forms.AgreementSerializer)

    @extend_schema(
        operation_id="agreements_create",
        tags=["Agreements"],
        request=forms.AgreementBody,
        responses={201: forms.AgreementSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """With the meters and the tariff that it begins with. Shares of a meter are at most 1
        together at any instant, of all agreements.
        """
        values = dict(body_of(forms.AgreementBody, request))
        with told():
            made = operations.create_agreement(
                tenant_id=tenant_id_of(request),
                tariff=TariffValues(values.pop("tariff_id"), values.pop("contracted_kw")),
                meters=[MeterValues(**one) for one in values.pop("meters")],
                values=AgreementValues(**values),
                actor_id=request.user.pk,
            )
        return Response(forms.AgreementSerializer(made).data, status=201)


class AgreementOne(BillingView):
    """An agreement."""

    access = {"GET": BILLS, "PATCH": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreement",
        tags=["Agreements"],
        responses={200: forms.AgreementSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With its meters and tariffs, former ones and planned ones too."""
        found = queries.agreement(agreement_id=pk, user_id=own_alone(request))
        return Response(forms.AgreementSerializer(found).data)

    @extend_schema(
        operation_id="agreements_change",
        tags=["Agreements"],
        request=forms.AgreementChangeBody,
        responses={200: forms.AgreementSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """For the bills to come; final bills keep what they were made with."""
        values = body_of(forms.AgreementChangeBody, request)
        with told():
            made = operations.change_agreement(
                agreement_id=pk, change=Change(**values), actor_id=request.user.pk
            )
        return Response(forms.AgreementSerializer(made).data)


class AgreementMoveOut(BillingView):
    """The end of an agreement."""

    access = {"POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreements_move_out",
        tags=["Agreements"],
        request=forms.MoveOutBody,
        responses={200: forms.MovedSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """At a local midnight, with its meters and tariffs. A `successor` moves in then, at the
        same facility and by the same meters.
        """
        values = body_of(forms.MoveOutBody, request)
        with told():
            made = operations.move_out(
                agreement_id=pk,
                ends_on=values["ends_on"],
                successor=_successor(values["successor"]),
                reason=values["reason"],
                actor_id=request.user.pk,
            )
        return Response(forms.MovedSerializer(made).data)


class AgreementReopen(BillingView):
    """An end taken back."""

    access = {"POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreements_reopen",
        tags=["Agreements"],
        request=forms.RestateBody,
        responses={200: forms.AgreementSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Meters and tariff that went until then go on."""
        values = body_of(forms.RestateBody, request)
        with told():
            made = operations.reopen(
                agreement_id=pk, reason=values["reason"], actor_id=request.user.pk
            )
        return Response(forms.AgreementSerializer(made).data)


class AgreementMeters(BillingView):
    """The meters of an agreement."""

    access = {"POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreement_meters_add",
        tags=["Agreements"],
        request=forms.NewMeterBody,
        responses={201: forms.AgreementMeterSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Bill by another channel as well: one that tells energy, of the agreement's facility."""
        values = dict(body_of(forms.NewMeterBody, request))
        with told():
            made = terms.add_meter(
                agreement_id=pk,
                reason=values.pop("reason"),
                values=MeterValues(**values),
                actor_id=request.user.pk,
            )
        return Response(forms.AgreementMeterSerializer(made).data, status=201)


class AgreementMeterOne(BillingView):
    """A meter of an agreement."""

    access = {"POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreement_meters_change",
        tags=["Agreements"],
        request=forms.MeterChangeBody,
        responses={200: forms.AgreementSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int, meter: int) -> Response:
        """From `at` on another channel (a new meter) or another share, or with neither its end."""
        values = body_of(forms.MeterChangeBody, request)
        with told():
            made = terms.alter_meter(
                agreement_id=pk,
                meter_id=meter,
                wanted=MeterChange(**values),
                actor_id=request.user.pk,
            )
        return Response(forms.AgreementSerializer(made).data)


class AgreementTariffs(BillingView):
    """The tariffs of an agreement."""

    access = {"POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="agreement_tariffs_change",
        tags=["Agreements"],
        request=forms.TariffChangeBody,
        responses={201: forms.AgreementTariffSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Another tariff or contracted power, until the next change that is planned already."""
        values = body_of(forms.TariffChangeBody, request)
        with told(starts_on="on"):
            made = terms.change_tariff(
                agreement_id=pk,
                values=TariffValues(values["tariff_id"], values["contracted_kw"]),
                on=values["on"],
                reason=values["reason"],
                actor_id=request.user.pk,
            )
        return Response(forms.AgreementTariffSerializer(made).data, status=201)


class Settings(BillingView):
    """Who the caller's organisation is on its bills."""

    access = {"GET": BILLS, "PUT": BILLS_CHANGE}

    @extend_schema(
        operation_id="billing_settings",
        tags=["Agreements"],
        responses={200: forms.BillingSettingsSerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Empty until they have been set, and for an access to some facilities alone."""
        found = settings_queries.settings_or_empty(tenant_id=tenant_id_of(request))
        return Response(forms.BillingSettingsSerializer(found).data)

    @extend_schema(
        operation_id="billing_settings_set",
        tags=["Agreements"],
        request=forms.BillingSettingsBody,
        responses={200: forms.BillingSettingsSerializer, **problems(400, 401, 403, 429)},
    )
    def put(self, request: Request) -> Response:
        """All anew; what is not sent is as at first. Final bills keep what they say."""
        values = body_of(forms.BillingSettingsBody, request)
        with told():
            made = settings_operations.change_settings(
                tenant_id=tenant_id_of(request),
                values=SettingsValues(**values),
                actor_id=request.user.pk,
            )
        return Response(forms.BillingSettingsSerializer(made).data)


def _successor(values: Mapping[str, Any] | None) -> Successor | None:
    if values is None:
        return None
    tariff = values["tariff"]
    chosen = None if tariff is None else TariffValues(tariff, values["contracted_kw"])
    return Successor(values["customer_id"], values["number"], chosen)

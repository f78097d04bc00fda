"""Prepaid wallets and pay-as-you-go units over the REST API, and why a unit is dark."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from django.core.exceptions import ValidationError as Refused
from django.utils.translation import gettext as _
from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from billing.accounts.tokens import Keys, Kind, TokenError
from billing.domain import (
    outage_queries,
    payg_operations,
    payg_queries,
    payg_requests_operations,
    wallet_entries,
    wallet_queries,
)
from billing.domain.payg_operations import UnitTerms
from billing.domain.wallet_entries import Adjustment
from billing.domain.wallet_operations import WalletRules
from devices.domain.commands_policy import NotAllowedError
from portal.api import billing_prepaid_shapes as forms
from portal.api import serializers as shapes
from portal.api.access import Requires, own_alone
from portal.api.billing import PAYMENTS, PAYMENTS_CHANGE, BillingView, told
from portal.api.commands import actor_of, body_of
from portal.api.schema import list_of, problems
from tenants.permissions import Permission

# Who decides about tokens sees what others have asked for; customers see their tokens alone.
REQUESTS: Final = Requires(
    (Permission.BILLS_VIEW, Permission.DEVICES_VIEW), ("payments:read", "devices:read")
)
OUTAGE: Final = Requires(
    (Permission.BILLS_VIEW, Permission.DEVICES_VIEW), ("bills:read", "devices:read")
)
SEND: Final = Requires(
    (*PAYMENTS_CHANGE.permissions, Permission.DEVICES_CONTROL),
    (*PAYMENTS_CHANGE.scopes, "commands:write"),
)


class WalletList(BillingView):
    """Prepaid wallets within reach."""

    access = {"GET": PAYMENTS}

    @extend_schema(
        operation_id="wallets",
        tags=["Prepaid"],
        parameters=[forms.WalletQuery],
        responses={200: list_of(forms.WalletSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """How each stands; a consumer sees the own ones."""
        wanted = self.parameters(forms.WalletQuery, request)
        found = wallet_queries.wallet_page(user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.WalletSerializer)


class AgreementWallet(BillingView):
    """The wallet of an agreement."""

    access = {"GET": PAYMENTS, "PUT": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="agreement_wallet",
        tags=["Prepaid"],
        responses={200: forms.WalletDetailSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """What is left, and how long that lasts."""
        found = wallet_queries.wallet_there(
            agreement_id=pk, now=datetime.now(UTC), user_id=own_alone(request)
        )
        return Response(forms.WalletDetailSerializer(found).data)

    @extend_schema(
        operation_id="agreement_wallet_limits",
        tags=["Prepaid"],
        request=forms.WalletLimitsBody,
        responses={200: forms.WalletDetailSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def put(self, request: Request, pk: int) -> Response:
        """All limits anew; how the wallet stands by them is seen at once."""
        rules = WalletRules(**body_of(forms.WalletLimitsBody, request))
        with told():
            found = wallet_entries.set_rules(
                agreement_id=pk, rules=rules, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(forms.WalletDetailSerializer(found).data)


class WalletMovements(BillingView):
    """What moved the wallet of an agreement."""

    access = {"GET": PAYMENTS}

    @extend_schema(
        operation_id="agreement_wallet_movements",
        tags=["Prepaid"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(forms.MovementSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Payments, fees, use, and what bills have settled: added, and never changed."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = wallet_queries.movement_page(agreement_id=pk, user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.MovementSerializer)


class WalletAdjust(BillingView):
    """A change of a balance that nobody has paid."""

    access = {"POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="agreement_wallet_adjust",
        tags=["Prepaid"],
        request=forms.AdjustBody,
        responses={200: forms.WalletDetailSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """With a reason, which stands in the account. A payment is entered as such instead."""
        values = body_of(forms.AdjustBody, request)
        with told():
            found = wallet_entries.adjust(
                agreement_id=pk,
                wanted=Adjustment(values["amount"], values["reason"], values["request_key"]),
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.WalletDetailSerializer(found).data)


class UnitList(BillingView):
    """Pay-as-you-go units within reach."""

    access = {"GET": PAYMENTS, "POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payg_units",
        tags=["Prepaid"],
        parameters=[forms.UnitQuery],
        responses={200: list_of(forms.PaygUnitSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Until when each is paid by the tokens issued; a consumer sees the own ones."""
        wanted = self.parameters(forms.UnitQuery, request)
        found = payg_queries.unit_page(user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.PaygUnitSerializer)

    @extend_schema(
        operation_id="payg_units_register",
        tags=["Prepaid"],
        request=forms.PaygUnitBody,
        responses={201: forms.PaygUnitSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """With its key and starting code, which are sealed and never told again."""
        values = dict(body_of(forms.PaygUnitBody, request))
        with told():
            made = payg_operations.register(
                agreement_id=values.pop("agreement"),
                device_id=values.pop("device"),
                keys=_keys(values.pop("key"), values.pop("starting_code")),
                terms=UnitTerms(**values),
                actor_id=request.user.pk,
            )
        return Response(forms.PaygUnitSerializer(made).data, status=201)


class UnitOne(BillingView):
    """A pay-as-you-go unit."""

    access = {"GET": PAYMENTS, "PATCH": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payg_unit",
        tags=["Prepaid"],
        responses={200: forms.PaygUnitSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Without its keys, which nobody is told."""
        found = payg_queries.unit(unit_id=pk, user_id=own_alone(request))
        return Response(forms.PaygUnitSerializer(found).data)

    @extend_schema(
        operation_id="payg_units_change",
        tags=["Prepaid"],
        request=forms.PaygPriceBody,
        responses={200: forms.PaygUnitSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """Another price of a day; tokens that were issued keep their days."""
        values = body_of(forms.PaygPriceBody, request)
        with told():
            made = payg_operations.set_price(
                unit_id=pk, price_per_day=values["price_per_day"], actor_id=request.user.pk
            )
        return Response(forms.PaygUnitSerializer(made).data)


class UnitTokens(BillingView):
    """The tokens of a unit."""

    access = {"GET": PAYMENTS, "POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payg_unit_tokens",
        tags=["Prepaid"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(forms.PaygTokenSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """All that were issued, as they are typed in."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = payg_queries.token_page(unit_id=pk, user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.PaygTokenSerializer)

    @extend_schema(
        operation_id="payg_unit_tokens_ask",
        tags=["Prepaid"],
        request=forms.AskTokenBody,
        responses={201: forms.TokenRequestSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """A token that nobody has paid for. Where the billing settings want a second person, it
        waits for one; else `token` is there at once.
        """
        values = body_of(forms.AskTokenBody, request)
        with told():
            made = payg_requests_operations.ask(
                unit_id=pk,
                kind=Kind(values["kind"]),
                days=values["days"],
                reason=values["reason"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.TokenRequestSerializer(made).data, status=201)


class TokenRequests(BillingView):
    """Tokens that were asked for without a payment."""

    access = {"GET": REQUESTS}

    @extend_schema(
        operation_id="payg_token_requests",
        tags=["Prepaid"],
        parameters=[forms.TokenRequestQuery],
        responses={200: list_of(forms.TokenRequestSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """With what became of them: `state=waiting` are those to be decided."""
        wanted = self.parameters(forms.TokenRequestQuery, request)
        found = payg_queries.request_page(**wanted)
        return self.page(request, found, forms.TokenRequestSerializer)


class TokenRequestDecide(BillingView):
    """The decision about a token without a payment."""

    access = {"POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="payg_token_requests_decide",
        tags=["Prepaid"],
        request=forms.DecideTokenBody,
        responses={200: forms.TokenRequestSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """By another person than who has asked, unless the billing settings do without; who has
        asked may refuse it.
        """
        values = body_of(forms.DecideTokenBody, request)
        now, by = datetime.now(UTC), request.user.pk
        with told():
            if values["decision"] == "issue":
                made = payg_requests_operations.agree(request_id=pk, now=now, actor_id=by)
            else:
                made = payg_requests_operations.refuse(
                    request_id=pk, reason=values["reason"], now=now, actor_id=by
                )
        return Response(forms.TokenRequestSerializer(made).data)


class TokenSend(BillingView):
    """A token entered at its unit over its connection."""

    access = {"POST": SEND}

    @extend_schema(
        operation_id="payg_tokens_send",
        tags=["Prepaid"],
        request=None,
        responses={200: forms.TokenSentSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """By a command, which waits for its unit; asked again, it is the same command."""
        try:
            with told():
                command = payg_operations.send_to_unit(
                    actor_of(request), token_id=pk, now=datetime.now(UTC)
                )
        except NotAllowedError as error:
            raise PermissionDenied(str(error)) from error
        return Response(forms.TokenSentSerializer({"command": command}).data)


class DeviceOutage(BillingView):
    """Why a unit is dark."""

    access = {"GET": OUTAGE}

    @extend_schema(
        operation_id="device_outage",
        tags=["Prepaid"],
        responses={200: forms.OutageSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Whether it is on, since when, and the causes with what speaks for each."""
        del request
        found = outage_queries.explain_unit(device_id=pk, now=datetime.now(UTC))
        return Response(forms.OutageSerializer(found).data)


def _keys(secret: str, starting_code: int) -> Keys:
    try:
        return Keys(secret, starting_code)
    except TokenError as error:
        raise Refused({"key": [_("The key of a unit has 32 hexadecimal digits.")]}) from error

"""Dunning, plans of payments and files of payments over the REST API."""

from __future__ import annotations

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import dunning_pages_queries as queries
from billing.domain import dunning_settings, payments_imports, plans_pages_queries
from billing.domain.payments_imports import Upload
from billing.domain.sentences import in_words
from billing.payments.values import StatementError
from portal.api import billing_dunning_shapes as forms
from portal.api.access import own_alone
from portal.api.billing import PAYMENTS, PAYMENTS_CHANGE, BillingView, tenant_id_of, told
from portal.api.commands import body_of
from portal.api.schema import list_of, problems


class CaseList(BillingView):
    """The cases of dunning."""

    access = {"GET": PAYMENTS}

    @extend_schema(
        operation_id="dunning_cases",
        tags=["Payments"],
        parameters=[forms.DunningCaseQuery],
        responses={200: list_of(forms.DunningCaseSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Accounts that are, or were, behind; of facilities that the caller sees."""
        wanted = self.parameters(forms.DunningCaseQuery, request)
        found = queries.case_list(user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.DunningCaseSerializer)


class CaseOne(BillingView):
    """A case of dunning."""

    access = {"GET": PAYMENTS}

    @extend_schema(
        operation_id="dunning_case",
        tags=["Payments"],
        responses={200: forms.DunningCaseDetailSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With everything that happened in it, in order."""
        found = queries.case_events(case_id=pk, user_id=own_alone(request))
        shown = forms.DunningCaseDetailSerializer(found, context={"request": request})
        return Response(shown.data)


class PlanList(BillingView):
    """Plans by which accounts pay what they owe in parts."""

    access = {"GET": PAYMENTS, "POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="instalment_plans",
        tags=["Payments"],
        parameters=[forms.InstalmentPlanQuery],
        responses={200: list_of(forms.InstalmentPlanSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Running and over; of facilities that the caller sees."""
        wanted = self.parameters(forms.InstalmentPlanQuery, request)
        found = plans_pages_queries.plan_list(user_id=own_alone(request), **wanted)
        return self.page(request, found, forms.InstalmentPlanSerializer)

    @extend_schema(
        operation_id="instalment_plans_agree",
        tags=["Payments"],
        request=forms.InstalmentPlanBody,
        responses={201: forms.InstalmentPlanSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """Instalments that add up to what is overdue, or to all that is owed; one is a promise.
        What dunning has cut is given back at once.
        """
        values = body_of(forms.InstalmentPlanBody, request)
        with told(parts="instalments"):
            made = dunning_settings.agree_plan(
                agreement_id=values["agreement"],
                parts=[(one["due_on"], one["amount"]) for one in values["instalments"]],
                reason=values["reason"],
                grace_days=values["grace_days"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.InstalmentPlanSerializer(made).data, status=201)


class PlanCancel(BillingView):
    """The end of a plan."""

    access = {"POST": PAYMENTS_CHANGE}

    @extend_schema(
        operation_id="instalment_plans_cancel",
        tags=["Payments"],
        request=None,
        responses={200: forms.InstalmentPlanSerializer, **problems(401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Of one that is running: dunning goes on."""
        made = dunning_settings.cancel_plan(
            plan_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
        )
        return Response(forms.InstalmentPlanSerializer(made).data)


class StatementImport(BillingView):
    """Files of payments."""

    access = {"POST": PAYMENTS_CHANGE}
    parser_classes = [MultiPartParser]

    @extend_schema(
        operation_id="payments_import",
        tags=["Payments"],
        request={"multipart/form-data": forms.StatementBody},
        responses={201: forms.PaymentImportSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A bank statement (CAMT.053) or CSV, all or nothing. The same file again changes nothing
        and gives the former import.
        """
        body = forms.StatementBody(data=request.data)
        body.is_valid(raise_exception=True)
        file = body.validated_data["file"]
        try:
            made = payments_imports.import_statement(
                tenant_id=tenant_id_of(request),
                upload=Upload(file.name, file.read()),
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        except StatementError as error:
            raise ValidationError({"file": [in_words(error)]}) from error
        return Response(forms.PaymentImportSerializer(made).data, status=201)

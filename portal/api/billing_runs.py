"""Bill runs over the REST API: begun, decided about, approved."""

from __future__ import annotations

from datetime import UTC, datetime

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import runs_entries as entries
from billing.domain import runs_queries as queries
from billing.domain.runs_entries import Decision
from portal.api import billing_bills_shapes as forms
from portal.api.billing import (
    BILLS,
    BILLS_APPROVE,
    BILLS_CHANGE,
    BillingView,
    tenant_id_of,
    told,
)
from portal.api.commands import body_of
from portal.api.schema import list_of, problems


class RunList(BillingView):
    """The bill runs of the caller's tenant."""

    access = {"GET": BILLS, "POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="bill_runs",
        tags=["Bills"],
        parameters=[forms.RunQuery],
        responses={200: list_of(forms.BillRunSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Runs concern the organisation as a whole: an access to some facilities sees none."""
        wanted = self.parameters(forms.RunQuery, request)
        return self.page(request, queries.run_page(**wanted), forms.BillRunSerializer)

    @extend_schema(
        operation_id="bill_runs_start",
        tags=["Bills"],
        request=forms.BillRunBody,
        responses={201: forms.BillRunSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Drafts are made in the background: ask until `state` is `checking`."""
        values = dict(body_of(forms.BillRunBody, request))
        with told():
            made = entries.start(
                tenant_id=tenant_id_of(request),
                agreement_ids=values.pop("agreements"),
                now=datetime.now(UTC),
                actor_id=request.user.pk,
                **values,
            )
        return Response(forms.BillRunSerializer(made).data, status=201)


class RunOne(BillingView):
    """A bill run."""

    access = {"GET": BILLS}

    @extend_schema(
        operation_id="bill_run",
        tags=["Bills"],
        responses={200: forms.BillRunSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """How far it has come."""
        del request
        return Response(forms.BillRunSerializer(queries.run_entry(run_id=pk)).data)


class RunItems(BillingView):
    """The accounts of a bill run."""

    access = {"GET": BILLS, "POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="bill_run_items",
        tags=["Bills"],
        parameters=[forms.ItemQuery],
        responses={200: list_of(forms.BillRunItemSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With their drafts; of those that are held, what the checklist has found."""
        wanted = self.parameters(forms.ItemQuery, request)
        return self.page(
            request, queries.item_page(run_id=pk, **wanted), forms.BillRunItemSerializer
        )

    @extend_schema(
        operation_id="bill_run_items_decide",
        tags=["Bills"],
        request=forms.DecideItemsBody,
        responses={200: forms.BillRunSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Let accounts that are held go on, or leave accounts out of the run."""
        values = body_of(forms.DecideItemsBody, request)
        decision = Decision(values["decision"], values["reason"], values["items"])
        with told():
            made = entries.decide(
                run_id=pk, decision=decision, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(forms.BillRunSerializer(made).data)


class RunApprove(BillingView):
    """The approval of a bill run."""

    access = {"POST": BILLS_APPROVE}

    @extend_schema(
        operation_id="bill_runs_approve",
        tags=["Bills"],
        request=forms.ApproveRunBody,
        responses={200: forms.BillRunSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Its drafts become final in the background: ask until `state` is `finished`. By another
        person than who asked for it, unless the billing settings do without.
        """
        values = body_of(forms.ApproveRunBody, request)
        with told():
            made = entries.approve(
                run_id=pk,
                issued_on=values["issued_on"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.BillRunSerializer(made).data)


class RunCancel(BillingView):
    """The end of a bill run."""

    access = {"POST": BILLS_CHANGE}

    @extend_schema(
        operation_id="bill_runs_cancel",
        tags=["Bills"],
        request=forms.RunReasonBody,
        responses={200: forms.BillRunSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Its drafts are removed. One whose bills become final cannot be cancelled any more."""
        values = body_of(forms.RunReasonBody, request)
        with told():
            made = entries.cancel(
                run_id=pk,
                reason=values["reason"],
                now=datetime.now(UTC),
                actor_id=request.user.pk,
            )
        return Response(forms.BillRunSerializer(made).data)

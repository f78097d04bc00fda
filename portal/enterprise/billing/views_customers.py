"""Customers: the list, one, and their forms."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing.domain import choices_queries, customers_operations, pages_queries
from billing.models import Customer
from portal.enterprise.billing import pages
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import CustomerForm, ProtectForm, ReasonForm
from portal.enterprise.billing.tables import CustomerFilter, CustomerTable
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import BILLING_OFFICE, may, requires
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def customer_list(request: HttpRequest) -> HttpResponseBase:
    """Who is billed."""
    return render_list(
        request,
        table_class=CustomerTable,
        rows=pages_queries.customers(),
        filterset_class=CustomerFilter,
        template="enterprise/billing/customers.html",
        context={"may_change": may(request, Permission.BILLS_CHANGE)},
    )


@require_safe
@never_cache
@requires(*BILLING_OFFICE)
def customer(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A customer with its agreements."""
    try:
        found = pages_queries.customer_page(customer_id=pk)
    except pages_queries.NotThere as error:
        raise Http404 from error
    changes = may(request, Permission.BILLS_CHANGE)
    context = pages.customer(found) | {"may_change": changes}
    return render(request, "enterprise/billing/customer.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def create(request: HttpRequest) -> HttpResponse:
    """A new customer."""
    tenant_id = own_tenant_id(request)
    accounts = choices_queries.accounts(tenant_id=tenant_id)
    form = CustomerForm(posted(request), accounts=accounts)

    def do() -> Done:
        made = customers_operations.create_customer(
            tenant_id=tenant_id, values=form.values(), actor_id=actor_id(request)
        )
        said = _("“%(name)s” was created.") % {"name": made.name}
        return Done(said, reverse("customer", args=[made.pk]))

    parents = ((_("Customers"), reverse("customer-list")),)
    return answer(request, form, FormPage(_("New customer"), parents, _("Create")), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change a customer."""
    row = _row(pk)
    accounts = choices_queries.accounts(tenant_id=row.tenant_id)
    form = CustomerForm(posted(request), accounts=accounts, initial=CustomerForm.initial_of(row))

    def do() -> Done:
        customers_operations.change_customer(
            customer_id=pk, values=form.values(), actor_id=actor_id(request)
        )
        return Done(_("The changes were saved."), reverse("customer", args=[pk]))

    note = _("Bills that are final keep whom they were made out to.")
    return answer(request, form, FormPage(row.name, _parents(row), _("Save"), note), do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def protect(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Never cut this customer off."""
    row = _row(pk)
    form = ProtectForm(posted(request))

    def do() -> Done:
        customers_operations.protect_customer(
            customer_id=pk,
            reason=form.cleaned_data["reason"],
            until=form.cleaned_data["until"],
            actor_id=actor_id(request),
        )
        return Done(_("The customer is protected."), reverse("customer", args=[pk]))

    note = _("Units of a protected customer are neither limited nor switched off for a debt.")
    page = FormPage(_("Protect"), _parents(row), _("Protect"), note)
    return answer(request, form, page, do)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*BILLING_OFFICE, Permission.BILLS_CHANGE)
def unprotect(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End the protection of a customer."""
    row = _row(pk)
    form = ReasonForm(posted(request))

    def do() -> Done:
        customers_operations.unprotect_customer(
            customer_id=pk, reason=form.cleaned_data["reason"], actor_id=actor_id(request)
        )
        return Done(_("The customer is no longer protected."), reverse("customer", args=[pk]))

    page = FormPage(_("End the protection"), _parents(row), _("End the protection"), danger=True)
    return answer(request, form, page, do)


def _row(pk: int) -> Customer:
    try:
        return pages_queries.customer_page(customer_id=pk).customer
    except pages_queries.NotThere as error:
        raise Http404 from error


def _parents(row: Customer) -> tuple[tuple[str, str], ...]:
    return (
        (_("Customers"), reverse("customer-list")),
        (row.name, reverse("customer", args=[row.pk])),
    )

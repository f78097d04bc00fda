"""Who a tenant is on its bills, and how it bills."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from billing.domain import settings_operations, settings_queries
from portal.enterprise.billing.forming import Done, FormPage, answer
from portal.enterprise.billing.forms import SettingsForm
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.permissions import requires
from tenants.permissions import Permission


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.BILLS_CHANGE)
def billing_settings(request: HttpRequest) -> HttpResponse:
    """The settings of the tenant that the person works in."""
    tenant_id = own_tenant_id(request)
    row = settings_queries.settings_of(tenant_id=tenant_id)
    form = SettingsForm(posted(request), initial=SettingsForm.initial_of(row))

    def do() -> Done:
        settings_operations.change_settings(
            tenant_id=tenant_id, values=form.values(), actor_id=actor_id(request)
        )
        return Done(_("The changes were saved."), reverse("billing-settings"))

    parents = ((_("Bills"), reverse("bill-list")),)
    note = _("Bills that are final keep the seller as it was.")
    return answer(request, form, FormPage(_("Billing settings"), parents, _("Save"), note), do)
